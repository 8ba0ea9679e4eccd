"""What most tests of the Ledger API begin with: a small market in memory, and a client of it."""

import pytest

from tests.prices import ITEMS, MARKET, World
from tests.webclient import browsing


@pytest.fixture
async def world():
    """A `World` of currencies and items, loaded; a file whose tests need another has its own."""
    world = World(MARKET, items=ITEMS)
    await world.load()
    return world


@pytest.fixture
async def client(world):
    """A client of the public application over ``world``."""
    async with browsing(world.deps()) as client:
        yield client

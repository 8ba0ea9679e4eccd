"""Open engines on empty databases. What asks for ``each_engine`` is to pass on every engine there is.

``embedded``; ``server``: asynch over TCP to the native front; ``real``: the server LEDGERD_TEST_CLICKHOUSE_URL names
(clickhouse://user:password@host:9000), where databases named ``ledgerd_test_…`` are made and dropped.
"""

import os
from contextlib import asynccontextmanager

import pytest

from ledgerd.store.embedded import EmbeddedEngine
from tests.store.front_process import REAL, FrontProcess, real_server, server

MEMORY_BYTES_MAX = 1_000_000_000


@pytest.fixture
async def engine(tmp_path):
    async with embedded(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="session")
def front(tmp_path_factory):
    """One front for all tests; whoever orders a fault takes it back."""
    pytest.importorskip("chdb")
    process = FrontProcess(tmp_path_factory.mktemp("front"))
    yield process
    process.kill()


@pytest.fixture(params=["embedded", "server", *(["real"] if REAL in os.environ else [])])
async def each_engine(request, tmp_path):
    """An engine of each kind, on an empty database of its own."""
    if request.param == "embedded":
        opening = embedded(tmp_path)
    elif request.param == "server":
        opening = server(request.getfixturevalue("front").url())
    else:
        opening = real_server()
    async with opening as opened:
        yield opened


@asynccontextmanager
async def embedded(folder):
    pytest.importorskip("chdb")
    engine = EmbeddedEngine(folder / "store", database="poe", memory_bytes_max=MEMORY_BYTES_MAX)
    await engine.open()
    yield engine
    await engine.close()

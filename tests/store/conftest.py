"""An open engine on an empty directory; both engines are to pass everything that asks for ``engine``."""

import pytest

from ledgerd.store.embedded import EmbeddedEngine

MEMORY_BYTES_MAX = 1_000_000_000


@pytest.fixture
async def engine(tmp_path):
    pytest.importorskip("chdb")
    embedded = EmbeddedEngine(tmp_path / "store", database="poe", memory_bytes_max=MEMORY_BYTES_MAX)
    await embedded.open()
    yield embedded
    await embedded.close()

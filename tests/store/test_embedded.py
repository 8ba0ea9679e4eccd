"""What only the embedded engine can get wrong: a missing library, a directory taken or unusable."""

import asyncio
import sys

import pytest

from ledgerd.errors import CannotStart, StoreLocked, StoreUnavailable
from ledgerd.store.embedded import EmbeddedEngine

MEMORY_BYTES_MAX = 1_000_000_000

HOLD = """
import asyncio, sys
from pathlib import Path
from ledgerd.store.embedded import EmbeddedEngine

async def hold():
    engine = EmbeddedEngine(Path(sys.argv[1]), database="poe", memory_bytes_max=1_000_000_000)
    await engine.open()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await engine.close()

asyncio.run(hold())
"""


def embedded(path):
    return EmbeddedEngine(path, database="poe", memory_bytes_max=MEMORY_BYTES_MAX)


async def test_a_directory_another_process_owns_is_locked_and_free_again_when_it_ends(tmp_path):
    pytest.importorskip("chdb")
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, tmp_path, stdin=pipe, stdout=pipe)
    assert await other.stdout.readline() == b"open\n"
    with pytest.raises(StoreLocked, match=f"in use by process {other.pid}") as caught:
        await embedded(tmp_path).open()
    await other.communicate(b"")
    engine = embedded(tmp_path)
    await engine.open()
    await engine.close()

    assert "ledgerd status" in caught.value.hint
    assert other.returncode == 0


async def test_a_missing_chdb_is_one_sentence_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "chdb.session", None)
    with pytest.raises(CannotStart, match="not installed") as caught:
        await embedded(tmp_path).open()

    assert "pip install 'ledgerd[embedded]'" in caught.value.hint


async def test_a_second_directory_in_one_process_cannot_be_opened(engine, tmp_path):
    with pytest.raises(CannotStart, match="already initialized"):
        await embedded(tmp_path / "second").open()

    assert await engine.rows("SELECT 1") == [(1,)]


@pytest.mark.parametrize("name", ["file", "file/below", "what?"])
async def test_an_unusable_directory_cannot_start(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="data directory"):
        await embedded(tmp_path / name).open()


@pytest.mark.parametrize("name", ["with space", "per%20cent", "a&b=c", "h#sh", "émoji🎉"])
async def test_a_directory_with_a_strange_name_opens(tmp_path, name):
    pytest.importorskip("chdb")
    engine = embedded(tmp_path / name)
    await engine.open()
    found = await engine.rows("SELECT path FROM system.disks")
    await engine.close()

    assert found == [(f"{tmp_path / name}/",)]


async def test_an_engine_that_was_never_opened_is_unavailable_and_closes(tmp_path):
    engine = embedded(tmp_path)
    with pytest.raises(StoreUnavailable):
        await engine.rows("SELECT 1")
    with pytest.raises(StoreUnavailable):
        _ = engine.info
    await engine.close()


async def test_the_memory_limit_reaches_the_engine(engine):
    sql = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'"

    assert await engine.rows(sql) == [(str(MEMORY_BYTES_MAX),)]

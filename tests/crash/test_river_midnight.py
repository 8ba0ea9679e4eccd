"""A batch sealed before midnight and carried again after it, by a process whose clock says the next day."""

import asyncio
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime

import pytest

from tests.crash.carrying import STASHES_A_PAGE
from tests.daemon import ROOT, TEST_S

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

PAGES = 4
MIDNIGHT_S = time.time() // 86_400 * 86_400
DAY_BEFORE = datetime.fromtimestamp(MIDNIGHT_S - 1, UTC).strftime("%Y%m%d")


async def carried(folder, now_s, pages, failpoint):
    """Run the program; its exit code and what it printed."""
    env = {**os.environ, "LEDGERD_FAILPOINT": failpoint}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.carrying", str(folder), str(now_s), str(pages),
        cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode, out


@pytest.mark.parametrize("point", ["batch_sealed", "insert_sent", "insert_acked", "committed"])
async def test_a_batch_killed_before_midnight_is_stored_once_and_on_the_day_it_was_retrieved(tmp_path, point):
    killed, _ = await carried(tmp_path, MIDNIGHT_S - 1, PAGES, f"{point}:1")
    code, out = await carried(tmp_path, MIDNIGHT_S + 1, 0, "")

    assert (killed, code) == (-signal.SIGKILL, 0)
    rows = PAGES * STASHES_A_PAGE
    assert json.loads(out) == [rows, rows, [DAY_BEFORE], rows, [DAY_BEFORE], 1]

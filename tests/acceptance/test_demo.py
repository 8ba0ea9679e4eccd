"""The demo as a person runs it: one command, prices within seconds, Ctrl-C, and again on the same data."""

import asyncio
import re
import sys
import time
from contextlib import asynccontextmanager
from datetime import datetime
from signal import SIGHUP, SIGINT

import aiohttp
import pytest

from tests.daemon import ROOT, TEST_S, WAIT_S

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

PRICED_WITHIN_S = 30.0
STOPPED_WITHIN_S = 5.0
READY_S = 3.0
"""What a start takes where these hold: a machine that needs twice as long for it may take twice as long for them."""


@asynccontextmanager
async def demo(data_dir):
    """A running demo, and a function that GETs from it once its address is known."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledgerd", "demo", "--port", "0", "--data-dir", str(data_dir),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as session:
            url = None
            while not url:
                line = (await process.stdout.readline()).decode()
                assert line, "it ended without an address"
                url = re.search(r"Open\s+(http://127\.0\.0\.1:[1-9]\d*)/", line)

            async def get(path, status=200):
                async with session.get(url[1] + path) as response:
                    assert response.status == status, await response.text()
                    is_json = response.content_type == "application/json"
                    return await response.json() if is_json else await response.text()

            async with asyncio.timeout(None):
                yield process, get
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def priced(get, condition=lambda realms: True):
    """What /v1/realms says once every realm has prices and ``condition`` holds of them."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                realms = await get("/v1/realms")
                if all(realm["leagues"] for realm in realms["realms"]) and condition(realms):
                    return realms
            except AssertionError:
                pass  # 503: not yet
            await asyncio.sleep(0.05)


async def slowness_of(get, began_s):
    """How many times READY_S it took since ``began_s`` until the engine was open and everything ran; at least 1."""
    async with asyncio.timeout(WAIT_S):
        while (await get("/status"))["state"] == "starting":  # noqa: ASYNC110  it is another process that gets there
            await asyncio.sleep(0.05)
    return max(1.0, (time.monotonic() - began_s) / READY_S)


async def stopped(process, within_s):
    began_s = time.monotonic()
    process.send_signal(SIGINT)
    code = await asyncio.wait_for(process.wait(), within_s)
    print(f"Ctrl-C to the end: {time.monotonic() - began_s:.1f} s")
    return code


def newest(realms):
    return datetime.fromisoformat(realms["as_of"])


async def test_the_demo_prices_within_seconds_stops_at_ctrl_c_and_goes_on_where_it_was(tmp_path):
    began_s = time.monotonic()
    async with demo(tmp_path / "demo") as (process, get):
        slowness = await slowness_of(get, began_s)
        first = await priced(get)
        took_s = time.monotonic() - began_s
        print(f"demo: priced {took_s:.1f} s after the process started (target 15 s)")
        assert took_s < PRICED_WITHIN_S * slowness
        assert "ledgerd" in await get("/")
        assert (await get("/status"))["version"]

        process.send_signal(SIGHUP)
        later = await priced(get, lambda realms: newest(realms) > newest(first))
        assert (await get("/status"))["config"]["last_reload_error"] is None
        assert await stopped(process, STOPPED_WITHIN_S * slowness) == 0

    async with demo(tmp_path / "demo") as (process, get):
        again = await priced(get)
        assert newest(again) >= newest(later)
        await priced(get, lambda realms: newest(realms) > newest(later))
        assert await stopped(process, STOPPED_WITHIN_S * slowness) == 0

"""A client of the stand-in's river, for tests: it has a token, follows change ids and reads the stand-in's books."""

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import orjson

from ledgerd.sim import delivery
from ledgerd.sim.server import SimOptions, running
from ledgerd.sim.world import builtin_ids
from tests.clocks import ManualClock

NOW_S = 1_787_088_600
"""2026-08-18T21:30:00Z, when mods are objects."""
CLIENT = {"client_id": "ledgerd", "client_secret": "stand-in"}
GRANT = {**CLIENT, "grant_type": "client_credentials", "scope": "service:psapi"}
AGENT = "OAuth ledgerd/1.0 (contact: test@example.org)"
SMALL = {"river_stashes": 600, "river_rate": 5.0}
"""A world small enough to be walked from end to end."""
POLICY = "public-stash-tabs-request-limit-pc"


class RiverClient:
    """Asks one stand-in; every answer comes as status, decompressed body, headers."""

    def __init__(self, url, session, clock):
        self.url, self.session, self.clock = url, session, clock
        self.token = None

    async def send(self, method, path, *, authorized=True, **kwargs):
        headers = {"User-Agent": AGENT, **kwargs.pop("headers", {})}
        if authorized and self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        async with self.session.request(method, self.url + path, headers=headers, **kwargs) as response:
            body = await response.read()
            return SimpleNamespace(status=response.status, body=body, headers=response.headers)

    async def grant(self, **form):
        answer = await self.send("POST", "/oauth/token", authorized=False, data={**GRANT, **form})
        if answer.status == 200:
            self.token = orjson.loads(answer.body)["access_token"]
        return answer

    async def page(self, change_id=None, realm="", wait_s=1.0, **kwargs):
        """One page, after ``wait_s`` seconds of the clock, so that no limit is met."""
        self.clock.jump(wait_s)
        path = "/public-stash-tabs" + (f"/{realm}" if realm else "")
        return await self.send("GET", path, params={} if change_id is None else {"id": change_id}, **kwargs)

    async def walk(self, change_id, pages_max=1000):
        """The decoded pages from an id to the end of the stream, and the id there."""
        pages = []
        for _ in range(pages_max):
            page = orjson.loads((await self.page(change_id, wait_s=1e-9)).body)
            if not page["stashes"]:
                return pages, change_id
            pages.append(page)
            change_id = page["next_change_id"]
        raise AssertionError("no end of the stream")

    async def sim(self, path, value=None):
        """What the stand-in tells below ``/_sim/``, or the answer to an order."""
        if value is None:
            return orjson.loads((await self.send("GET", f"/_sim/{path}")).body)
        answer = await self.send("POST", f"/_sim/{path}", data=orjson.dumps(value))
        return orjson.loads(answer.body)

    async def lines(self, path):
        return [orjson.loads(line) for line in (await self.send("GET", f"/_sim/{path}")).body.splitlines()]

    async def head(self, realm="pc"):
        return (await self.sim("state"))["river"]["head"][realm]

    async def unlimited(self):
        """Lift the river's limit."""
        await self.sim("limits", {"policy": POLICY, "rules": {"Ip": "1000000:1:60"}})


def hanging(monkeypatch, of):
    """An event that is set when a stand-in begins to hang; ``of``: the module that delivers the answer."""
    begun = asyncio.Event()

    async def deliver(sim, request, answer, fault):
        if fault == "hang":
            begun.set()
        return await delivery.deliver(sim, request, answer, fault)

    monkeypatch.setattr(of, "deliver", deliver)
    return begun


@asynccontextmanager
async def river(*, granted=True, at_s=NOW_S, **options):
    """A stand-in whose clock stands at ``at_s``, and a client of it with a token."""
    clock = ManualClock(at_s)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "few.tsv"
        table.write_text("metadata_id\tgame\n" + "".join(f"{c}\tboth\n" for c in builtin_ids("poe1")[:25]))
        whole = SimOptions(**{"ids_path": table, **options})
        async with running(whole, clock) as url, aiohttp.ClientSession() as session:
            client = RiverClient(url, session, clock)
            if granted:
                await client.grant()
            yield client

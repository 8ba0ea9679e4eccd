"""A river that tests fill page by page, and what ETL makes of it."""

import gzip
import json
import time
from contextlib import asynccontextmanager

from ledgerd.clock import SystemClock
from ledgerd.harvest.river_landing import RiverLanding
from ledgerd.spool.spool import Page, Spool
from ledgerd.spool.writer import SealRules, Writer
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Heart
from tests.clocks import ManualClock
from tests.store.refining import runner

SOURCE = "river-pc"
NOW_MS = int(time.time() * 1000)
"""Retrieved just now: the engine drops rows that are older than their TTL as it takes them."""


class River:
    """A chain of pages carried into bronze."""

    def __init__(self, engine, spool, clock):
        self.engine = engine
        self.clock = clock
        self.lanes = ("*",)
        self.stream = spool.stream(SOURCE)
        landing = RiverLanding(SOURCE, "pc", lambda _: self.lanes, 64 << 20)
        rules = SealRules(8, 1 << 30, 1)
        self.commits = []
        self.writer = Writer(self.stream, landing, engine, rules=rules, clock=clock, on_commit=self.commits.append)
        self.asked = 0

    async def carry(self, *bodies, encoding="identity", at_ms=NOW_MS):
        """Freeze ``bodies``, retrieved a millisecond apart from ``at_ms`` on, as one batch and commit it."""
        for n, body in enumerate(bodies):
            asked, self.asked = self.asked, self.asked + 1
            packed = gzip.compress(body, mtime=0) if encoding == "gzip" else body
            await self.stream.freeze(Page(f"{asked}", f"{asked + 1}", at_ms + n, 200, encoding, packed))
        await self.writer.flush(Heart(self.clock))

    async def payloads(self):
        """(stash id, payload) of everything stored."""
        return await self.engine.rows("SELECT stash_id, payload FROM bronze_raw_stashes ORDER BY ALL")

    async def quarantined(self):
        return await self.engine.rows("SELECT reason, payload FROM bronze_quarantine ORDER BY ALL")

    async def show(self, *pages, at_s=0.0):
        """Carry pages given as lists of stashes, one batch, ``at_s`` seconds after the first moment; refine it."""
        bodies = [json.dumps({"next_change_id": "1-2-3-4-5", "stashes": page}).encode() for page in pages]
        await self.carry(*bodies, at_ms=NOW_MS + int(at_s * 1000))
        await self.refine()

    async def refine(self):
        """Everything that is committed, through every step."""
        etl = runner(self.engine)
        while await etl.run_once():
            pass
        assert [status.last_error for status in etl.status() if status.last_error] == []


@asynccontextmanager
async def flowing(engine, folder):
    """A river into ``engine``, whose database is made first."""
    await Migrator(engine, SystemClock()).apply()
    clock = ManualClock(NOW_MS / 1000)
    spool = Spool(folder / "spool", bytes_max=1 << 30, retain_s=3600, clock=clock)
    spool.open()
    yield River(engine, spool, clock)
    spool.close()


def item(name, note="", **facts):
    """An item of the river; its id is its name, and it is a stack of Chaos Orbs unless ``facts`` say otherwise."""
    orb = {"typeLine": "Chaos Orb", "baseType": "Chaos Orb", "frameType": 5, "identified": True, "ilvl": 0}
    return {"id": name, "name": "", **orb, **({"note": note} if note else {}), **facts}


def stash(name, *items, league="Standard", tab="shop", account="seller"):
    """A public stash."""
    facts = {"accountName": account, "stash": tab, "stashType": "PremiumStash", "league": league}
    return {"id": name, "public": True, **facts, "items": list(items)}


def tombstone(name):
    """What is left of a stash that is public no more."""
    facts = {"accountName": None, "stash": None, "stashType": "PremiumStash", "league": None}
    return {"id": name, "public": False, **facts, "items": []}

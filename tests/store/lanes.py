"""A river that is only books: batches by the leagues they hold, and two steps that write down what they were asked."""

import random
import time
from dataclasses import replace

from ledgerd.chaos_scale.reference import Reference
from ledgerd.etl.plan import Step, ordered
from ledgerd.etl.runner import Runner
from tests.clocks import ManualClock

SOURCE, REALM = "river-pc", "pc"
NOW_S = float(int(time.time()) // 3600 * 3600)
"""A whole hour just over: the engine drops what is older than its TTL."""
TABLES = ("silver_seen", "silver_state", "gold_seen")
REFERENCE = Reference([])
SEEN = """
SELECT league, {batch_id:String} AS batch_id
FROM (SELECT arrayJoin({leagues:Array(String)}) AS league)
WHERE throwIf(league IN (SELECT league FROM broken WHERE name = '<step>'), 'this league breaks <step>') = 0
"""
WINDOW = """
SELECT arrayJoin({leagues:Array(String)}) AS league, {batch_id:String} AS batch_id,
    {window_from:DateTime64(3, 'UTC')} AS since, {window_to:DateTime64(3, 'UTC')} AS until,
    {at:DateTime64(3, 'UTC')} AS at
"""


def step(name, reads, **more):
    columns = ("league", "batch_id", "since", "until", "at") if more.get("every") else ("league", "batch_id")
    sql = WINDOW if more.get("every") else SEEN.replace("<step>", name)
    return Step(name, 1, (reads,), name, "river", columns, sql, keeps=True, **more)


SILVER, STATE, GOLD = STEPS = ordered(
    [
        step("silver_seen", "bronze_raw_stashes"),
        step("silver_state", "silver_seen"),
        step("gold_seen", "silver_state", every="interval"),
    ]
)


class Recording:
    """An engine that writes down what steps have done."""

    def __init__(self, engine, done):
        self._engine, self._done = engine, done
        self.rows, self.insert = engine.rows, engine.insert

    async def execute(self, sql, params=None, **options):
        await self._engine.execute(sql, params, **options)
        if sql.startswith("INSERT INTO "):
            self._done.append((sql.split()[2], params["batch_id"], " ".join(params["leagues"]).strip()))


class Lanes:
    """The books of one river in a migrated database, and a runner over them that can be started again."""

    def __init__(self, db, clock=None):
        self.db = db
        self.clock = clock or ManualClock(NOW_S)
        self.seq = 0
        self.done = []
        self.etl = None

    async def open(self):
        kept = (
            "ENGINE = ReplacingMergeTree ORDER BY (league, batch_id) SETTINGS non_replicated_deduplication_window = 100"
        )
        times = ", ".join(f"{name} DateTime64(3, 'UTC')" for name in ("since", "until", "at"))
        for table in TABLES:
            more = f", {times}" if table == GOLD.writes else ""
            await self.db.execute(f"CREATE TABLE {table} (league String, batch_id String{more}) {kept}")
        await self.db.execute("CREATE TABLE broken (league String, name String) ENGINE = Memory")
        self.start()
        return self

    def start(self, db=None, **options):
        """The process begins."""
        options = {"steps": STEPS, "interval_s": 300.0, **options}
        self.etl = Runner(
            Recording(db or self.db, self.done), reference=REFERENCE, clock=self.clock, rng=random.Random(0), **options
        )

    async def commit(self, *leagues, at_s=None, named=()):
        """A batch with changes of ``leagues``, fetched two seconds after the last; ``named`` were asked for by name."""
        seq, self.seq = self.seq, self.seq + 1
        at_s = NOW_S + seq * 2 if at_s is None else at_s
        await self._checkpoint(SOURCE, seq, f"b{seq}", at_s, rows=5 * len(leagues), named=named)
        counts = [(REALM, league, f"b{seq}", 0, 5, 9, True, at_s) for league in leagues]
        columns = ("realm", "league", "batch_id", "page_seq", "stashes", "items", "stored", "retrieved_at")
        await self.db.insert("bronze_river_counts", columns, counts, token=f"n{seq}")

    async def commit_hour(self, seq, at_s):
        """A batch of the exchange of the same realm, fetched at ``at_s``."""
        await self._checkpoint("exchange-pc", seq, f"e{seq}", at_s, rows=9)

    async def _checkpoint(self, source, seq, batch_id, at_s, *, rows, named=()):
        row = (source, REALM, seq, batch_id, rows, ["*", *named], at_s, at_s)
        columns = ("source", "realm", "seq", "batch_id", "rows", "leagues", "retrieved_at", "committed_at")
        await self.db.insert("bronze_ingest_checkpoints", columns, [row], token=batch_id)

    async def breaks(self, league, name="silver_seen"):
        await self.db.insert("broken", ("league", "name"), [(league, name)], token=f"{league}{name}")

    async def mend(self):
        await self.db.execute("TRUNCATE TABLE broken")

    async def refine(self):
        """Everything that can be done now."""
        while await self.etl.run_once():
            pass

    async def later(self, wait_s=120):
        """All back-offs are over."""
        self.clock.jump(wait_s)
        await self.refine()

    async def seen(self, table="silver_state"):
        """The batches each league has been through, by their numbers."""
        rows = await self.db.rows(f"SELECT league, arraySort(groupUniqArray(batch_id)) FROM {table} GROUP BY league")
        return {
            league: [int(name[1:]) for name in sorted(names, key=lambda name: int(name[1:]))] for league, names in rows
        }

    def asked(self, name="silver_seen"):
        """Batch and leagues of what a step has done, in its order."""
        return [(batch_id, leagues) for table, batch_id, leagues in self.done if table == name]

    def states(self, name="silver_seen"):
        """League to state and error of a step."""
        return {one.league: (one.state.value, one.last_error) for one in self.etl.status() if one.step == name}


def newer(one, version):
    """The steps, one of them changed."""
    return [replace(each, version=version) if each.name == one else each for each in STEPS]

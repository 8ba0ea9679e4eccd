"""Item prices and likely sales of stand-in markets on seeds nothing was fitted to. Prints; no judgement.

Each market is harvested for twenty hours without the wire: every stash is seen once in a quarter of an hour, as the
stand-in's are, and what is seen goes straight into the tables of silver; the exchange's hours go through the steps that
refine them. The step gold_item_prices runs at the end of each of the last twelve hours. Nothing of the stand-in's own
knowledge goes in: prices are read from the notes sellers write. Then the CPU of runs over ten million listings, the
whole process's; merges wait meanwhile. A quarter of an hour; seeds as arguments leave out the last part.

Run: python -m tests.bench.item_truth [SEED …]
"""

import asyncio
import itertools
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ledgerd.chaos_scale.normalise import Tick, normalise
from ledgerd.clock import SystemClock
from ledgerd.etl.plan import Batch, Task, parse_step
from ledgerd.etl.tasks import run_task
from ledgerd.sim.goods import catalogue
from ledgerd.sim.hashes import uniform
from ledgerd.sim.market import Market
from ledgerd.sim.noise import key_of
from ledgerd.sim.notes import note
from ledgerd.sim.sellers import BY_TAB, HONEST
from ledgerd.sim.stash_market import Listings, StashMarket, note_keys
from ledgerd.sim.world import CHAOS, DIVINE, anchors, codes_of
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.engine import Engine
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import schema_root
from tests.bench.norm_hours import FIELDS
from tests.store.refining import NORM_COLUMNS, SCALE

SEEDS = (7101, 7102)
STASHES = 24_000
FIRST_S = 1_787_040_000
WARM_HOURS, RUN_HOURS = 8, 12
ROUND_S, DELAY_S, HOUR_S = 900, 300, 3600
LEAGUES = 3  # of the realm's; the last one is private
SURE, LIMIT, HONEST_LEAST = 0.8, 0.15, 5
BANDS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)
ETL = schema_root() / "etl"

KINDS = catalogue()
KEYS = np.array([key_of(kind.key) for kind in KINDS], dtype=np.uint64)
IS_KEYED = np.array([kind.price > 0 for kind in KINDS])
CODES = {code: currency for currency, code in codes_of(anchors("poe1"), "poe1").items()}
SPELT = {
    "chaos": ("c", "choas"),
    "divine": ("div",),
    "exalted": ("exa", "ex"),
    "fusing": ("fuse",),
    "jewellers": ("jew",),
}
WORDS = {word: code for code, words in SPELT.items() for word in words}
NOTE = re.compile(
    r"~(?:price|b/o|c/o|gb/o) (?P<number>[0-9]+(?:[.,][0-9]{1,2})?)(?:/(?P<pile>[0-9]+))? (?!offer)(?P<word>[a-z]+)"
)

EVENT_COLUMNS = (
    "realm", "league", "batch_id", "stash_id", "item", "page_seq", "event", "at", "account", "key", "amount",
    "currency", "stack", "chaos_value", "listed_at", "changed_at", "repriced", "stood_s",
)  # fmt: skip
STATE_COLUMNS = (
    "realm", "stash_id", "league", "account", "public", "item_count", "first_seen", "last_seen", "batch_id",
    "item", "key", "amount", "currency", "stack", "listed_at", "changed_at", "repriced",
)  # fmt: skip


def read(text: str) -> tuple[float, str]:
    """Amount of one and currency of a note as the stand-in writes them; nothing where it cannot be read."""
    found = NOTE.match(text)
    if not found:
        return 0.0, ""
    number, pile, word = found.groups()
    return float(number.replace(",", ".")) / float(pile or 1), CODES.get(WORDS.get(word, word), "")


@dataclass(slots=True)
class Slots:
    """What is known of every place of every stash, as columns; ``item`` 0: nothing with a key and a price."""

    item: Any
    league: Any
    kind: Any
    ask: Any
    amount: Any
    currency: Any
    listed_s: Any
    changed_s: Any
    repriced: Any

    @classmethod
    def empty(cls, n: int) -> "Slots":
        whole, real = (lambda: np.zeros(n, np.int64)), (lambda: np.zeros(n))
        return cls(
            np.zeros(n, np.uint64), whole(), whole(), real(), real(), np.full(n, "", object), real(), real(), whole()
        )


@dataclass
class Harvest:
    """A market's stashes as a harvester comes to know them, one round of all stashes after another."""

    market: StashMarket
    stashes: int
    now_s: float = FIRST_S
    events: list[tuple[Any, ...]] = field(default_factory=list)
    sales: dict[int, float] = field(default_factory=dict)  # item → when it was really sold
    slots: Slots | None = None
    before: tuple[Listings, Any] | None = None

    def __post_init__(self) -> None:
        cold = round(0.85 * self.stashes)
        parts = [np.arange(cold), (1 << 40) + np.arange(self.stashes - cold)]
        self.numbers = np.concatenate(parts).astype(np.uint64)
        self.phase_s = ROUND_S * uniform(
            self.market.sellers.tabs(self.numbers, np.full(self.stashes, self.now_s)).key, 77
        )

    def round(self) -> None:
        """See every stash once, each at its own moment of the quarter of an hour."""
        self.tabs = tabs = self.market.sellers.tabs(self.numbers, self.now_s - DELAY_S + self.phase_s)
        found = self.market.listings(tabs)
        self.tab = tab = found.tab
        is_traded = IS_KEYED[found.kind] & ~(tabs.hidden | tabs.homeless)[tab] & (tabs.league[tab] < LEAGUES)
        self.note_sales(found, is_traded)
        item = np.where(found.alive & is_traded & (found.noted | (tabs.style[tab] == BY_TAB)), found.key, 0)
        ask = np.where(found.noted, found.ask_chaos, tabs.tab_chaos[tab])
        self.slots = known = self.slots or Slots.empty(len(tab))
        stays = (item == known.item) & (tabs.league[tab] == known.league)
        gone, new = np.flatnonzero((known.item != 0) & ~stays), np.flatnonzero((item != 0) & ~stays)
        asked_anew = np.flatnonzero((item != 0) & stays & (ask != known.ask))
        seen_s = (tabs.at_s + DELAY_S)[tab]
        self.tell("gone", gone, seen_s)
        known.item[gone] = 0
        for column, values in ((known.item, item), (known.league, tabs.league[tab]), (known.kind, found.kind)):
            column[new] = values[new]
        known.listed_s[new], known.repriced[new] = seen_s[new], 0
        known.repriced[asked_anew] += 1
        changed = np.concatenate([new, asked_anew])
        known.changed_s[changed], known.ask[changed] = seen_s[changed], ask[changed]
        for n in changed.tolist():
            known.amount[n], known.currency[n] = self.price(found, n, float(ask[n]))
        self.tell("listed", new, seen_s)
        self.now_s += ROUND_S

    def price(self, found: Listings, n: int, ask: float) -> tuple[float, str]:
        """What the seller asks, as written and read again."""
        if not found.noted[n]:
            return ask, CHAOS
        rates = self.market.rates(int(self.tabs.home[self.tab[n]]), float(found.start_s[n]))
        return read(note(ask, rates, int(note_keys(found.key[n : n + 1], int(found.reprice[n]))[0]))[0])

    def note_sales(self, found: Listings, is_traded: Any) -> None:
        """The sales since the round before."""
        for listings, traded in filter(None, (self.before, (found, is_traded))):
            until_s = self.tabs.at_s[self.tab]
            sold = traded & listings.sold & (listings.end_s > until_s - ROUND_S) & (listings.end_s <= until_s)
            self.sales |= zip(listings.key[sold].tolist(), listings.end_s[sold].tolist(), strict=True)
        self.before = (found, is_traded)

    def tell(self, event: str, at: Any, seen_s: Any) -> None:
        """Write down what happened to some places."""
        known, tab = self.slots, self.tab[at]
        columns = (
            known.league[at], tab, known.item[at], seen_s[at], self.tabs.seller[tab], known.kind[at],
            known.amount[at], known.currency[at], known.listed_s[at], known.changed_s[at], known.repriced[at],
        )  # fmt: skip
        self.events += [(event, *row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def standing(self) -> Iterator[tuple[int, Any]]:
        """Stash → the places of it where something stands."""
        ends = np.cumsum(self.tabs.places)
        for tab, (end, places) in enumerate(zip(ends.tolist(), self.tabs.places.tolist(), strict=True)):
            yield tab, end - places + np.flatnonzero(self.slots.item[end - places : end])


async def write_listings(db: Engine, harvest: Harvest, batch: str) -> None:
    """The state of every stash and what happened since the last call, as silver has them."""
    leagues, tabs, known = harvest.market.leagues, harvest.tabs, harvest.slots
    rates = await rates_at(db, harvest.now_s)
    events = [
        ("pc", leagues[league], batch, f"{tab}", item, n, event, at_s, f"{seller}", int(KEYS[kind]), amount, currency,
         1, amount * rates.get((leagues[league], currency), 0.0) or None, listed_s, changed_s, repriced,
         int(at_s - listed_s))
        for n, (event, league, tab, item, at_s, seller, kind, amount, currency, listed_s, changed_s, repriced)
        in enumerate(harvest.events)
    ]  # fmt: skip
    await db.insert("silver_listing_events", EVENT_COLUMNS, events, token=f"events {batch}")
    harvest.events.clear()
    seen_s = (tabs.at_s + DELAY_S).tolist()
    states = [
        ("pc", f"{tab}", leagues[tabs.league[tab]], f"{tabs.seller[tab]}", bool(~tabs.hidden[tab]), len(at),
         FIRST_S + harvest.phase_s[tab].item(), seen_s[tab], batch,
         *(column[at].tolist() for column in (known.item, KEYS[known.kind], known.amount, known.currency)),
         [1] * len(at), *(column[at].tolist() for column in (known.listed_s, known.changed_s, known.repriced)))
        for tab, at in harvest.standing()
    ]  # fmt: skip
    await db.execute("TRUNCATE TABLE silver_canonical_stashes")
    await db.insert("silver_canonical_stashes", STATE_COLUMNS, states, token=f"states {batch}")


def parts() -> dict[str, str]:
    """The common parts, by name."""
    return {file.stem: file.read_text() for file in (ETL / "parts").iterdir()}


async def asked(db: Engine, sql: str, *names: str, at_s: float) -> list[tuple[Any, ...]]:
    """The rows of a SELECT that may use the parts of those names, as a step at that moment would see them."""
    header = {"step": "a", "version": "1", "reads": "a", "writes": "a", "watermark": "river", "columns": "a"}
    head = "".join(f"-- {key}: {value}\n" for key, value in (header | {"uses": ", ".join(names)}).items())
    step = parse_step(f"{head}{sql}", "bench", parts())
    leagues = [row[0] for row in await db.rows("SELECT DISTINCT league FROM silver_currency_rates")]
    return await db.rows(step.sql, {"realm": "pc", "leagues": leagues, "at": at_s, "batch_id": ""})


async def rates_at(db: Engine, at_s: float) -> dict[tuple[str, str], float]:
    """(league, currency) → chaos, as a step at that moment reads it."""
    rows = await asked(db, "SELECT league, currency, rate FROM rates", "rates", at_s=at_s)
    return {row[:2]: row[2] for row in rows}


async def run_step(db: Engine, name: str, batch: Batch, leagues: Sequence[str] = ("",)) -> None:
    """One step on one batch."""
    [text] = [file.read_text() for file in ETL.glob("*/*.sql") if file.stem.endswith(name)]
    await run_task(db, Task(parse_step(text, name, parts()), batch, tuple(leagues)), SCALE)


async def write_rates(db: Engine, seed: int, leagues: Sequence[str], last_s: int, hours_n: int = RUN_HOURS) -> None:
    """The exchange's ``hours_n`` hours and one up to ``last_s`` through the product's own steps."""
    exchange, hours = Market(seed, "pc"), range(last_s - (hours_n + 1) * HOUR_S, last_s, HOUR_S)
    reference = [
        ("poe1", CHAOS, "Chaos Orb", "chaos", "currency"),
        ("poe1", DIVINE, "Divine Orb", "divine", "currency"),
    ]
    await db.insert(
        "reference_currencies", ("game", "metadata_id", "name", "trade_tag", "category"), reference, token="x"
    )
    rows = []
    for hour_s in hours:
        ticks = defaultdict(list)
        for market in exchange.hour(hour_s)["markets"]:
            numbers = [market[of][side] for of in FIELDS for side in market["market_pair"]]
            ticks[market["league"]].append(Tick(*market["market_pair"], *numbers))
        norms = (
            (league, norm) for league in leagues for norm in normalise(ticks[league], chaos={CHAOS}, divine={DIVINE})
        )
        rows += [("pc", league, hour_s, *astuple(norm), "x", hour_s + HOUR_S + 60) for league, norm in norms]
    await db.insert("silver_currency_norm", NORM_COLUMNS, rows, token="norms")
    for name in ("silver_currency_price", "silver_currency_rates"):
        await run_step(db, name, Batch("exchange-pc", "pc", 0, "x", hours[0], last_s))


@dataclass(frozen=True, slots=True)
class Priced:
    """One key's last row beside the truth, the plain median and the lowest listing, all in chaos."""

    true: float
    value: float | None
    confidence: float
    sellers: int
    rests_on: int
    median: float
    lowest: float
    honest: int

    def error(self, value: float | None) -> float:
        return abs(value / self.true - 1.0) if value else float("inf")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one market."""

    priced: list[Priced]
    likely: int
    right: int
    real: int
    shown: int
    found: int
    counted: int


@asynccontextmanager
async def database() -> Any:
    """An empty database in the embedded engine."""
    with tempfile.TemporaryDirectory() as folder:
        db = EmbeddedEngine(Path(folder) / "store", database="bench", memory_bytes_max=3_000_000_000)
        await db.open()
        await Migrator(db, SystemClock()).apply()
        yield db
        await db.close()


async def play(seed: int, hostile: float, *, stashes: int = STASHES, hours: int = RUN_HOURS) -> Outcome:
    """Harvest one market, price it hour by hour, and compare."""
    harvest = Harvest(StashMarket(seed, "pc", hostile_share=hostile), stashes)
    leagues = harvest.market.leagues[:LEAGUES]
    shown, likely = set(), set()
    async with database() as db:
        await write_rates(db, seed, leagues, FIRST_S + (WARM_HOURS + hours) * HOUR_S, hours)
        names = [(int(KEYS[n]), kind.key, kind.pool, kind.key) for n, kind in enumerate(KINDS)]
        await db.insert("silver_item_keys", ("key", "item_key", "category", "name"), names, token="names")
        for hour in range(WARM_HOURS + hours):
            for _ in range(HOUR_S // ROUND_S):
                harvest.round()
            shown |= {row[3] for row in harvest.events if row[0] == "gone"}
            if hour < WARM_HOURS:
                continue
            await write_listings(db, harvest, f"b{hour}")
            batch = Batch("river-pc", "pc", hour, f"b{hour}", 0, 0, harvest.now_s, harvest.now_s - HOUR_S)
            await run_step(db, "gold_item_prices", batch, leagues)
            likely |= {item for (item,) in await asked(db, LIKELY, "earlier_prices", "quick_ends", at_s=harvest.now_s)}
        priced = await compare(db, harvest)
        [(counted,)] = await db.rows(
            "SELECT sum(sales_total) FROM gold_item_prices FINAL WHERE as_of = {at:DateTime64(3, 'UTC')}",
            {"at": harvest.now_s},
        )
    since_s, until_s = FIRST_S + WARM_HOURS * HOUR_S, harvest.now_s - HOUR_S - ROUND_S - DELAY_S
    real = {item for item, sold_s in harvest.sales.items() if since_s < sold_s <= until_s}
    right = sum(item in harvest.sales for item in likely)
    return Outcome(priced, len(likely), right, len(real), len(real & shown), len(real & likely), counted)


LIKELY = """
SELECT item
FROM quick_ends
INNER JOIN gold_item_prices AS price FINAL ON price.league = quick_ends.league AND price.key = quick_ends.key
WHERE is_new
    AND price.as_of = {at:DateTime64(3, 'UTC')}
    AND chaos >= price.chaos_value * 0.8
    AND chaos <= price.chaos_value * 1.25
"""


async def compare(db: Engine, harvest: Harvest) -> list[Priced]:
    """The last hour's rows of everything listed."""
    rows = await db.rows(
        "SELECT league, key, chaos_value, confidence, sellers, rests_on_sellers FROM gold_item_prices FINAL"
        " WHERE as_of = {at:DateTime64(3, 'UTC')} AND listings > 0",
        {"at": harvest.now_s},
    )
    rates = await rates_at(db, harvest.now_s)
    known, tabs, honest, asks = harvest.slots, harvest.tabs, defaultdict(set), defaultdict(list)
    for n in np.flatnonzero((known.item != 0) & (known.amount > 0)).tolist():
        league, tab = harvest.market.leagues[known.league[n]], harvest.tab[n]
        of = league, int(KEYS[known.kind[n]])
        if rate := rates.get((league, known.currency[n])):
            asks[of].append(known.amount[n] * rate)
        if tabs.temper[tab] == HONEST or tabs.style[tab] == BY_TAB:
            honest[of].add(int(tabs.seller[tab]))
    truths = {
        (league, key_of(key)): true
        for league in harvest.market.leagues[:LEAGUES]
        for key, _, true in harvest.market.truths(league, harvest.now_s)
    }
    return [
        Priced(truths[row[:2]], *row[2:], statistics.median(asks[row[:2]]), min(asks[row[:2]]), len(honest[row[:2]]))
        for row in rows
    ]


def share(errors: Sequence[float]) -> float:
    return 100 * sum(error <= LIMIT for error in errors) / max(1, len(errors))


def show(title: str, outcomes: Sequence[Outcome]) -> None:
    """The tables of some markets together."""
    priced = [row for outcome in outcomes for row in outcome.priced]
    sure = [row for row in priced if row.confidence >= SURE]
    many = [row for row in priced if row.honest >= HONEST_LEAST]
    print(f"{title}: {len(outcomes)} markets, {len(priced) / len(outcomes):.0f} keys each")
    for name, rows in (("at confidence ≥ 0.8", sure), ("≥ 5 honest sellers", many), ("all", priced)):
        for method, of in (("ours", "value"), ("plain median", "median"), ("lowest listing", "lowest")):
            errors = [row.error(getattr(row, of)) for row in rows]
            print(f"  {name:20} {len(rows):6} {method:15} median {100 * statistics.median(errors):5.1f} %", end="")
            print(f"  95 % within {100 * np.quantile(errors, 0.95):7.1f} %  within 15 % {share(errors):5.1f} %")
    reach = 100 * sum(row.confidence >= SURE for row in many) / len(many)
    unpriced = sum(row.value is None for row in priced)
    print(f"  of keys with ≥ 5 honest sellers {reach:.1f} % reach 0.8; {unpriced} keys have no price")
    print(f"  {'confidence':>12} {'count':>6} {'stated':>7} {'within 15 %':>12} {'median error':>13}")
    for low, high in itertools.pairwise(BANDS):
        band = [row for row in priced if row.value and low <= row.confidence < high]
        if band:
            errors = [row.error(row.value) for row in band]
            stated, middle = statistics.fmean(row.confidence for row in band), 100 * statistics.median(errors)
            print(f"  {low:5.2f}–{high:5.2f} {len(band):7} {stated:7.2f} {share(errors) / 100:12.2f} {middle:11.1f} %")
    likely, right, real, seen, found = (
        sum(getattr(outcome, name) for outcome in outcomes) for name in ("likely", "right", "real", "shown", "found")
    )
    print(f"  likely sales {likely}: precision {100 * right / likely:.1f} %", end="")
    print(f"; of {real} real sales {100 * found / real:.1f} % found ({100 * seen / real:.1f} % were ever seen to end)")


STATES = """
INSERT INTO silver_canonical_stashes
    (realm, stash_id, league, account, public, item_count, first_seen, last_seen, item, key, amount, currency, stack)
SELECT
    'pc', hex(SHA256(toString(number))), leagues[league_n], toString(intDiv(number, 6)), true, 30,
    {at:DateTime64(3, 'UTC')} - INTERVAL 2 DAY, {at:DateTime64(3, 'UTC')} - INTERVAL 1 HOUR,
    arraySort(arrayMap(n -> sipHash64(number, n), range(30))) AS item,
    arrayMap(one -> sipHash64(league_n, toUInt32(20000 * pow(one % 1000003 / 1000003, 3))), item) AS key,
    arrayMap((one, of) -> exp(of % 1000 / 150) * exp(one % 997 / 4000 - 0.125), item, key),
    arrayMap(one -> currencies[if(one % 17 < 10, 1, if(one % 17 < 14, 2, 1 + one % 5))], item),
    arrayMap(one -> one % 3 + 1, item)
FROM
(
    SELECT
        number,
        1 + intDiv(sipHash64(number, 1) % 10, 4) AS league_n,
        ['Standard', 'Allflame', 'Hardcore Allflame'] AS leagues,
        {currencies:Array(String)} AS currencies
    FROM numbers({first:UInt64}, 55000)
)
"""
NAMES = """
INSERT INTO silver_item_keys (key, item_key, category, name)
SELECT sipHash64(league_n, toUInt32(number)) AS key, concat('unique|Thing ', toString(key)), 'unique', toString(key)
FROM (SELECT number, arrayJoin([1, 2, 3]) AS league_n FROM numbers(20000))
"""
ENDS = """
INSERT INTO silver_listing_events
    (realm, league, batch_id, stash_id, item, event, at, account, key, chaos_value, listed_at, stood_s)
SELECT
    'pc', league, 'b', stash_id, sipHash64(one), arrayJoin(['listed', 'gone']) AS event,
    if(event = 'gone', ended_at, ended_at - INTERVAL 50 MINUTE), account, one, amount,
    ended_at - INTERVAL 50 MINUTE, if(event = 'gone', 3000, 0)
FROM
(
    SELECT
        league, stash_id, account, key[1] AS one, amount[1] AS amount,
        {at:DateTime64(3, 'UTC')} + toIntervalSecond(item[1] % 7200) - INTERVAL 2 HOUR AS ended_at
    FROM silver_canonical_stashes
    LIMIT 100000
)
"""


async def cost() -> None:
    """CPU of three runs over 330,000 stashes of 30 listings, 60,000 keys of 3 leagues, 50,000 ends an hour."""
    leagues, at_s = ("Standard", "Allflame", "Hardcore Allflame"), FIRST_S + 20 * HOUR_S
    async with database() as db:
        await write_rates(db, 1, leagues, at_s, 1)
        await db.execute("SYSTEM STOP MERGES")
        params = {"at": at_s, "currencies": [CHAOS, DIVINE, CODES["exalted"], CODES["alch"], CODES["fusing"]]}
        for first in range(0, 330_000, 55_000):
            await db.execute(STATES, params | {"first": first}, timeout_s=300)
        for statement in (NAMES, ENDS):
            await db.execute(statement, params, timeout_s=300)
        for seq, now_s in enumerate((at_s + 60, at_s + HOUR_S, at_s + HOUR_S + 300)):
            batch = Batch("river-pc", "pc", seq, f"b{seq}", 0, 0, now_s, now_s - 300)
            start_s = time.process_time()
            await run_step(db, "gold_item_prices", batch, leagues)
            print(f"run {seq + 1} over 9.9 million listings: {time.process_time() - start_s:.2f} CPU-s", flush=True)


async def main() -> None:
    """Print the tables."""
    seeds = [int(seed) for seed in sys.argv[1:]]
    show("20 % hostile sellers", [await play(seed, 0.2) for seed in seeds or SEEDS])
    show("no hostile sellers", [await play(seed, 0.0) for seed in seeds or SEEDS])
    if not seeds:
        await cost()


if __name__ == "__main__":
    asyncio.run(main())

"""What tests of the gold of items share: silver and gold as made by hand, and one step run on a batch."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ledgerd.etl.plan import Batch, Task, parse_step
from ledgerd.etl.tasks import run_task
from ledgerd.store.engine import Engine
from ledgerd.store.queries import schema_root
from tests.store.exchange_rows import CHAOS, DIVINE
from tests.store.refining import SCALE

MIDNIGHT_S = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp())
"""Where a month ends, too; the tests count from here."""
LEAGUES = ("Allflame", "Standard")


def at(hours: float, seconds: float = 0.0) -> float:
    """Unix seconds, counted from `MIDNIGHT_S`."""
    return MIDNIGHT_S + hours * 3600 + seconds


def hour(hours: int) -> datetime:
    """The beginning of an hour, counted from `MIDNIGHT_S`, as the engine answers it."""
    return datetime.fromtimestamp(at(hours), UTC)


async def refine(
    db: Engine,
    name: str,
    now_s: float,
    before_s: float | None = None,
    *,
    batch: str = "river-pc-7",
    leagues: tuple[str, ...] = LEAGUES,
) -> None:
    """Run the step of that file on a batch of the river fetched at ``now_s``, the one before it at ``before_s``."""
    await _run(db, name, Batch("river-pc", "pc", 7, batch, 0, 0, now_s, before_s), leagues)


async def refine_exchange(db: Engine, name: str, from_hour: int, to_hour: int) -> None:
    """Run the step of that file on a batch of hours."""
    hours = (int(at(from_hour)), int(at(to_hour)))
    await _run(db, name, Batch("exchange-pc", "pc", 7, "exchange-pc-7", *hours, at(to_hour, 300), None), ("",))


async def _run(db: Engine, name: str, batch: Batch, leagues: tuple[str, ...]) -> None:
    root = schema_root() / "etl"
    parts = {file.name.removesuffix(".sql"): file.read_text() for file in (root / "parts").iterdir()}
    [text] = [
        f.read_text() for layer in ("silver", "gold") for f in (root / layer).iterdir() if f.name == f"{name}.sql"
    ]
    await run_task(db, Task(parse_step(text, name, parts), batch, leagues), SCALE)


@dataclass(frozen=True)
class Offer:
    """An item of a stash: what it is, what one of it asks (0: nothing), how many there are."""

    key: int
    amount: float = 0.0
    currency: str = CHAOS
    stack: int = 1


async def insert_stash(
    db: Engine, stash: str, seen_s: float, *offers: Offer, league: str = "Standard", **facts: Any
) -> None:
    """The state of a stash; ``facts``: account, public, name."""
    columns = (
        "realm", "stash_id", "league", "account", "stash_name", "stash_type", "public", "item_count", "last_seen",
        "item", "key", "amount", "currency", "stack",
    )  # fmt: skip
    row = (
        "pc", stash, league, facts.get("account", "seller"), facts.get("name", "tab"), "PremiumStash",
        facts.get("public", True), len(offers), seen_s, list(range(len(offers))), [offer.key for offer in offers],
        [offer.amount for offer in offers], [offer.currency for offer in offers], [offer.stack for offer in offers],
    )  # fmt: skip
    await db.insert("silver_canonical_stashes", columns, [row], token=f"{stash}{league}{seen_s}")


async def insert_rates(db: Engine, *rates: tuple[str, int, float], league: str = "Standard") -> None:
    """(currency, hour, chaos) of the exchange, each fetched five minutes after its hour."""
    columns = ("realm", "league", "hour", "currency", "rate", "batch_id", "retrieved_at")
    rows = [("pc", league, at(hours), currency, rate, "x", at(hours + 1, 300)) for currency, hours, rate in rates]
    await db.insert("silver_currency_rates", columns, rows, token=f"{league}{rates}")


async def insert_prices(db: Engine, *rows: dict[str, Any]) -> None:
    """Rows of gold_item_prices; what a row does not say is that of a sure price of 10 chaos."""
    usual = {
        "realm": "pc", "league": "Standard", "hour": at(0), "item_key": "unique|Headhunter", "key": 1,
        "chaos_value": 10.0, "low": 8.0, "high": 12.0, "listings": 6, "units": 9, "sellers": 5, "confidence": 0.8,
        "likely_sales_24h": 3, "sale_value": 9.5, "time_on_market_s": 7200, "rate_hour": at(-1),
        "batch_id": "river-pc-6", "as_of": at(0, 100),
    }  # fmt: skip
    full = [tuple({**usual, **row}.values()) for row in rows]
    await db.insert("gold_item_prices", tuple(usual), full, token=repr(rows))


async def insert_events(db: Engine, *rows: dict[str, Any]) -> None:
    """Rows of silver_listing_events; what a row does not say is that of a divine that was listed for 2 divines."""
    usual = {
        "realm": "pc", "league": "Standard", "batch_id": "river-pc-7", "stash_id": "s", "item": 1, "page_seq": 0,
        "event": "listed", "at": at(0), "account": "seller", "amount": 2.0, "currency": DIVINE, "stack": 1,
        "was_amount": 2.0, "was_currency": DIVINE, "was_stack": 1, "chaos_value": 200.0, "rate": 100.0,
    }  # fmt: skip
    full = [tuple({**usual, **row}.values()) for row in rows]
    await db.insert("silver_listing_events", tuple(usual), full, token=repr(rows))


async def insert_batches(db: Engine, *batches: tuple[str, float]) -> None:
    """Commit batches of the river: their names, and when their newest pages were fetched."""
    columns = ("source", "realm", "seq", "batch_id", "retrieved_at")
    rows = [("river-pc", "pc", n, name, seen_s) for n, (name, seen_s) in enumerate(batches)]
    await db.insert("bronze_ingest_checkpoints", columns, rows, token=repr(batches))

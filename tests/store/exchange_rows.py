"""Exchange pages and commits as the spool would hand them to the engine, for tests of what comes after."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ledgerd.store.engine import Engine

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "exchange"
"""Recorded hours, where there are any."""
CHAOS = "Metadata/Items/Currency/CurrencyRerollRare"
DIVINE = "Metadata/Items/Currency/CurrencyModValues"
EXALTED = "Metadata/Items/Currency/CurrencyAddModToRare"
SOURCE, REALM = "exchange-poe2", "poe2"

LANDING_COLUMNS = (
    "batch_id", "page_seq", "source", "realm", "asked", "next", "gap_reason", "leagues", "retrieved_at", "body",
)  # fmt: skip
CHECKPOINT_COLUMNS = (
    "source", "realm", "seq", "batch_id", "cursor", "next_cursor", "pages", "rows", "leagues", "token",
    "retrieved_at", "committed_at",
)  # fmt: skip


def batch_id(seq: int, source: str = SOURCE) -> str:
    return f"{source}-{seq:06}"


def market(a: str, b: str, volumes: tuple[int, int], league: str = "Standard", **changes: Any) -> dict[str, Any]:
    """A market that traded at one rate, as upstream writes it; ``changes`` replace whole fields."""
    pair = lambda numbers: dict(zip((a, b), numbers, strict=True))  # noqa: E731
    return {
        "league": league,
        "market_id": f"{a}|{b}",
        "market_pair": [a, b],
        "volume_traded": pair(volumes),
        "lowest_stock": pair((1, 2)),
        "highest_stock": pair((30, 40)),
        "lowest_ratio": pair(volumes),
        "highest_ratio": pair(volumes),
    } | changes


def body(*markets: object) -> bytes:
    return json.dumps({"next_change_id": 0, "markets": markets}).encode()


async def land(
    engine: Engine,
    seq: int,
    hour_s: int,
    *bodies: bytes,
    source: str = SOURCE,
    leagues: Sequence[str] = ("*",),
    retrieved_at_s: float | None = None,
) -> None:
    """Insert a batch of consecutive hours from ``hour_s`` on through the landing table."""
    at_s = hour_s + 3700.0 if retrieved_at_s is None else retrieved_at_s
    realm = source.partition("-")[2]
    rows = [
        (
            batch_id(seq, source),
            n,
            source,
            realm,
            hour_s + n * 3600,
            hour_s + (n + 1) * 3600,
            "",
            list(leagues),
            at_s,
            page,
        )
        for n, page in enumerate(bodies)
    ]
    await engine.insert("landing_exchange_1", LANDING_COLUMNS, rows, token=batch_id(seq, source))


async def commit(
    engine: Engine,
    seq: int,
    hour_s: int,
    *,
    hours: int = 1,
    rows: int = 0,
    source: str = SOURCE,
    retrieved_at_s: float | None = None,
) -> None:
    """Make a batch visible to ETL."""
    at_s = hour_s + 3700.0 if retrieved_at_s is None else retrieved_at_s
    name, realm = batch_id(seq, source), source.partition("-")[2]
    cursors = (str(hour_s), str(hour_s + hours * 3600))
    row = (source, realm, seq, name, *cursors, hours, rows, ["*"], name, at_s, at_s + 1)
    await engine.insert("bronze_ingest_checkpoints", CHECKPOINT_COLUMNS, [row], token=f"{name}-commit")


def recorded_hours() -> list[tuple[int, bytes]]:
    """(hour, body) of the recorded PoE2 hours, oldest first; empty where there are none."""
    paths = sorted(DATA.glob("poe2-*.json.gz"))
    return [
        (int(path.name.removeprefix("poe2-").partition(".")[0]), gzip.decompress(path.read_bytes())) for path in paths
    ]


def markets_of(page: bytes) -> list[Mapping[str, Any]]:
    found: Iterable[Mapping[str, Any]] = json.loads(page)["markets"]
    return list(found)

"""What the database knows of the chains: where each stood at its last commit, and where the spool lost pages of it."""

from collections.abc import Sequence

from ledgerd.clock import Clock
from ledgerd.errors import StoreUnavailable
from ledgerd.events import GapFound, emit
from ledgerd.store.engine import Engine
from ledgerd.store.queries import load_queries


async def last_checkpoint(engine: Engine, source: str) -> tuple[int, str] | None:
    """``(seq, next_cursor)`` of the newest commit of ``source``: the fallback when the spool is lost."""
    rows = await engine.rows(load_queries()["last_checkpoint"], {"source": source})
    if not rows:
        return None
    seq, cursor = rows[0]
    if not isinstance(seq, int) or not isinstance(cursor, str):
        raise StoreUnavailable(
            "bronze_ingest_checkpoints holds a row of another shape", "See: ledgerd migrate --status"
        )
    return seq, cursor


async def record_breaks(engine: Engine, breaks: Sequence[tuple[str, str, str]], clock: Clock) -> None:
    """Write a gap for each break start-up found in a chain: pages the disk lost between two that it kept.

    ``breaks``: ``(stream, after_next, found_asked)``; the same break again, at a later start, is a no-op.
    """
    for stream, after_next, found_asked in breaks:
        reason = "the spool lost these pages"
        row = (stream, stream.partition("-")[2], after_next, found_asked, reason, clock.now())
        columns = ("source", "realm", "cursor_from", "cursor_to", "reason", "retrieved_at")
        emit(GapFound(stream, after_next, found_asked, reason))
        await engine.insert("bronze_gaps", columns, [row], token=f"break-{stream}-{after_next}-{found_asked}")

"""What is committed and how far each step is: the books of ETL, read from the database."""

from collections.abc import Collection, Iterable

from ledgerd.etl.plan import Batch, Step, kind_of, whole_hours
from ledgerd.store.engine import Engine
from ledgerd.store.queries import load_queries

SQL = load_queries("etl/queries.sql")


async def newest_batches(engine: Engine, kinds: Collection[str]) -> dict[str, int]:
    """The newest committed ``seq`` of every source of these kinds."""
    return {source: seq for source, seq in await engine.rows(SQL["newest_batches"]) if kind_of(source) in kinds}


async def batches_above(engine: Engine, source: str, above: int, most: int) -> list[Batch]:
    """The first ``most`` committed batches of ``source`` with a ``seq`` beyond ``above``, in order."""
    rows = await engine.rows(SQL["batches_above"], {"source": source, "above": above, "most": most})
    return [Batch(*key, *whole_hours(from_s, to_s)) for *key, from_s, to_s in rows]  # type: ignore[call-arg]  # four keys


async def watermarks(engine: Engine, steps: Iterable[Step]) -> dict[tuple[str, str], int]:
    """The watermark of every (step, source) that has one, for the version each step has now."""
    marks: dict[tuple[str, str], int] = {}
    for step in steps:
        for source, mark in await engine.rows(SQL["watermarks"], {"step": step.name, "version": step.version}):
            if kind_of(source) == step.kind:
                marks[step.name, source] = mark
    return marks

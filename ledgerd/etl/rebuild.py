"""Lets steps begin again, so that what is refined is made anew from what it was made of.

The order is what makes it safe to be killed anywhere. First one insert says which steps begin again, and where; it is
there or not. A river's tables hold a state that only its first batch may meet empty: the same insert says that they are
to be emptied, and whoever runs steps next does that before anything else, and then writes where its lanes begin. After
that nothing is special: every start goes on behind the watermarks, be it of the daemon or of the command.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledgerd.etl.plan import EXCHANGE, NOTHING_DONE, RIVER, Step, kind_of
from ledgerd.etl.standing import EMPTY_FIRST, Standing
from ledgerd.etl.watermarks import (
    SCAN_TIMEOUT_S,
    SQL,
    first_fetched,
    first_stored,
    new_sources,
    newest_batch,
    read_standing,
    write_beginnings,
)
from ledgerd.store.engine import Engine

TRUNCATE_TIMEOUT_S = 600.0
NO_LIMIT = {"max_table_size_to_drop": 0, "max_partition_size_to_drop": 0}


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What is made anew: all from bronze, or gold alone from silver; ``since_s``: of batches fetched since then."""

    is_from_bronze: bool
    since_s: float | None = None

    @property
    def empties_rivers(self) -> bool:
        """True if what rivers were refined to is emptied first."""
        return self.is_from_bronze and self.since_s is None


async def lost_for_good(engine: Engine, steps: Sequence[Step]) -> dict[str, int]:
    """By river, how many batches bronze no longer has: what was refined of them is not to be had again."""
    lost: dict[str, int] = {}
    for source in await new_sources(engine, [], {RIVER} & {step.kind for step in steps}):
        [(batches,)] = await engine.rows(SQL["lost_batches"], {"source": source}, timeout_s=SCAN_TIMEOUT_S)
        lost |= {source: batches} if batches else {}
    return lost


async def begin_again(engine: Engine, steps: Sequence[Step], rebuild: Rebuild, now_s: float) -> None:
    """Write down that steps begin again; nothing else is changed yet."""
    standing = await read_standing(engine, steps)
    above: dict[str, int] = {}
    for source in await new_sources(engine, [], {step.kind for step in steps}):
        if kind_of(source) == EXCHANGE:
            above[source] = await _before_first(engine, source, rebuild)
        elif rebuild.empties_rivers:
            above[source] = EMPTY_FIRST
    again = [step for step in steps if rebuild.is_from_bronze or step.is_gold]
    await write_beginnings(engine, standing, again, above, now_s, again=True)


async def _before_first(engine: Engine, source: str, rebuild: Rebuild) -> int:
    """The batch before the first that an exchange's steps are to do again."""
    if rebuild.since_s is not None:
        first = await first_fetched(engine, source, rebuild.since_s)
    elif rebuild.is_from_bronze:
        first = await first_stored(engine, source)
    else:
        first = NOTHING_DONE + 1
    return (await newest_batch(engine, source))[0] if first is None else first - 1


async def finish_emptying(engine: Engine, standing: Standing, now_s: float) -> None:
    """Empty what rivers were refined to, then let their lanes begin with the first batch bronze has. May run again."""
    for table in standing.tables_of(RIVER):
        await engine.execute(f"TRUNCATE TABLE {table}", timeout_s=TRUNCATE_TIMEOUT_S, settings=NO_LIMIT)
    above: dict[str, int] = {}
    for source in standing.must_empty:
        first = await first_stored(engine, source)
        above[source] = (await newest_batch(engine, source))[0] if first is None else first - 1
    steps = [step for source in standing.must_empty[:1] for step in standing.steps_of(source)]
    await write_beginnings(engine, standing, steps, above, now_s, again=False)

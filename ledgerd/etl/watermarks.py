"""What is committed and how far each step is: the books of ETL, read from the database and written to it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledgerd.etl.plan import EXCHANGE, Batch, Step, Task, kind_of, whole_hours
from ledgerd.etl.standing import Mark, Standing
from ledgerd.store.engine import Engine, Row
from ledgerd.store.queries import load_queries

SQL = load_queries("etl/queries.sql")
MARKS = "etl_watermarks"
MARK_COLUMNS = (
    "step", "version", "source", "league", "era", "seq", "batch_id", "retrieved_at", "seconds", "written_at",
)  # fmt: skip
SCAN_TIMEOUT_S = 300.0
"""How long a look at all bronze of a river may take."""


@dataclass(frozen=True, slots=True)
class Births:
    """Lanes of a river that begin behind batch ``above``, for all its steps."""

    source: str
    steps: Sequence[Step]
    leagues: Sequence[str]
    above: int


async def new_sources(engine: Engine, known: Collection[str], kinds: Collection[str]) -> list[str]:
    """The sources of these kinds that have committed something, but for those ``known``."""
    found = await engine.rows(SQL["new_sources"], {"known": sorted(known)})
    return [source for (source,) in found if kind_of(source) in kinds]


async def newest_batch(engine: Engine, source: str) -> tuple[int, float]:
    """Number and time of retrieval, unix seconds, of the last batch ``source`` has committed; it has one."""
    [(seq, retrieved_s)] = await engine.rows(SQL["newest_batch"], {"source": source})
    return seq, retrieved_s


async def batches_above(engine: Engine, source: str, above: int, most: int) -> list[Batch]:
    """The first committed batches of ``source`` with a ``seq`` beyond ``above``, in order; up to ``most``."""
    rows = await engine.rows(SQL["batches_from"], {"source": source, "from": max(above, 0), "most": most + 1})
    batches: dict[int, Batch] = {}
    before_s = None
    for realm, seq, batch_id, from_s, to_s, retrieved_s in rows:
        if seq > above and seq not in batches:
            hours = whole_hours(from_s, to_s) if kind_of(source) == EXCHANGE else (0, 0)
            batches[seq] = Batch(source, realm, seq, batch_id, *hours, retrieved_s, before_s)
        before_s = retrieved_s
    return list(batches.values())


async def lanes_of(engine: Engine, batches: Sequence[Batch]) -> dict[str, list[str]]:
    """The lanes a river's batches, of one source, have changes of, by batch; a batch without any has no entry."""
    if not batches:
        return {}
    ids = [batch.batch_id for batch in batches]
    found = await engine.rows(
        SQL["lanes_of"], {"source": batches[0].source, "realm": batches[0].realm, "batch_ids": ids,
                          "from": batches[0].seq, "to": batches[-1].seq}
    )  # fmt: skip
    return dict(found)


async def first_stored(engine: Engine, source: str) -> int | None:
    """The first batch of ``source`` of which bronze has rows that a step reads; None if it has none."""
    found = await engine.rows(SQL[f"first_stored_{kind_of(source)}"], {"source": source}, timeout_s=SCAN_TIMEOUT_S)
    return found[0][0] if found else None


async def first_fetched(engine: Engine, source: str, since_s: float) -> int | None:
    """The first batch of ``source`` that was fetched at ``since_s``, unix seconds, or later; None if there is none."""
    found = await engine.rows(SQL["first_fetched"], {"source": source, "since": since_s})
    return found[0][0] if found else None


async def read_standing(engine: Engine, steps: Sequence[Step]) -> Standing:
    """How far every step is, for the version it has now."""
    return Standing(steps, [Mark(*row) for row in await engine.rows(SQL["marks"])])


async def write_marks(engine: Engine, task: Task, seconds: float, now_s: float) -> None:
    """Move the watermarks of a task's lanes; ``seconds``: what it took."""
    step, batch = task.step, task.batch
    origin = (batch.seq, batch.batch_id, batch.retrieved_s, seconds, now_s)
    rows = [(step.name, step.version, batch.source, league, task.era, *origin) for league in task.leagues]
    await _write(engine, rows)


async def write_births(engine: Engine, births: Births, eras: Mapping[str, int], now_s: float) -> None:
    """Write down where lanes begin, before anything is refined for them; ``eras`` by step."""
    origin = (births.above, "", 0.0, 0.0, now_s)
    await _write(
        engine,
        [
            (step.name, step.version, births.source, league, eras[step.name], *origin)
            for step in births.steps
            for league in births.leagues
        ],
    )


async def write_beginnings(
    engine: Engine, standing: Standing, steps: Iterable[Step], above: dict[str, int], now_s: float, *, again: bool
) -> None:
    """Let steps begin behind batch ``above`` of each source; ``again``: in a new era, which forgets what they did.

    All in one insert, so that it is done or not.
    """
    await _write(
        engine,
        [
            (step.name, step.version, source, "", standing.era(step.name, source) + again, seq, "", 0.0, 0.0, now_s)
            for step in steps
            for source, seq in above.items()
            if kind_of(source) == step.kind
        ],
    )


async def _write(engine: Engine, rows: list[Row]) -> None:
    """A row that comes twice counts once, for the highest ``seq`` is what is read."""
    if rows:
        await engine.insert(MARKS, MARK_COLUMNS, rows, token=":".join(map(str, rows[0])))

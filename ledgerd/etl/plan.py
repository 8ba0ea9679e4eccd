"""Which step refines which batch next: ETL plans, decided from values alone (pure)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from ledgerd.clock import HOUR_S
from ledgerd.errors import ConfigError

NOTHING_DONE = -1
"""The watermark of a step that has done no batch of a source; batches count from 0."""
TASKS_MAX = 60
"""Tasks planned at a time: a backlog of years is worked off in rounds that stay short enough to stop between."""
FUNCTIONS = ("", "normalise")
"""What a header may name under ``python``."""
ROOTS = ("bronze_", "reference_")
"""How the tables begin that no step writes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transform: the header and the SELECT of a file of ``schema/etl``.

    ``kind``: the kind of source whose batches it refines. ``function``: the Python function that turns the SELECT's
    rows into those of ``columns``; empty when SQL does it all. ``version``, after `ordered`: the header's number plus
    those of every step it reads from, however far, so that a change re-runs all that rests on it. Watermarks are per
    version: a step with a new one begins again at the first batch and replaces rows key by key; batches whose input
    retention has dropped keep the rows they have.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    writes: str
    kind: str
    columns: tuple[str, ...]
    sql: str
    function: str = ""

    @property
    def is_gold(self) -> bool:
        """True if readers wait for what it writes."""
        return self.writes.startswith("gold_")


@dataclass(frozen=True, slots=True)
class Batch:
    """A committed batch of a source: its number, its name, and the hours it asked: ``[from_s, to_s)``, unix seconds."""

    source: str
    realm: str
    seq: int
    batch_id: str
    from_s: int
    to_s: int

    @property
    def kind(self) -> str:
        """The kind of its source: ``exchange`` of ``exchange-pc``."""
        return kind_of(self.source)


@dataclass(frozen=True, slots=True)
class Task:
    """One step on one batch: the unit that is repeated after a crash."""

    step: Step
    batch: Batch

    @property
    def token(self) -> str:
        """The name its inserts are deduplicated by."""
        return f"{self.step.name}@{self.step.version}:{self.batch.batch_id}"


def kind_of(source: str) -> str:
    """The kind a source's name begins with.

    >>> kind_of("exchange-pc")
    'exchange'
    """
    return source.partition("-")[0]


def whole_hours(from_s: int, to_s: int) -> tuple[int, int]:
    """The whole hours that hold ``[from_s, to_s)``.

    >>> whole_hours(3599, 7201)
    (0, 10800)
    """
    return from_s // HOUR_S * HOUR_S, -(-to_s // HOUR_S) * HOUR_S


def parse_step(text: str, origin: str) -> Step:
    """The step a file holds: ``-- key: value`` lines, prose, then one SELECT. ConfigError names ``origin``."""
    lines = text.splitlines()
    header = dict(_fields(lines))
    missing = [key for key in ("step", "version", "reads", "writes", "watermark", "columns") if not header.get(key)]
    if missing:
        raise _broken(f"{origin}: the header lacks {', '.join(missing)}")
    if not header["version"].isdecimal() or int(header["version"]) < 1:
        raise _broken(f"{origin}: version {header['version']!r} is not a whole number from 1")
    if header.get("python", "") not in FUNCTIONS:
        raise _broken(f"{origin}: there is no Python function {header['python']!r} for a step")
    sql = "\n".join(line for line in lines if not line.startswith("--")).strip()
    if not sql:
        raise _broken(f"{origin}: there is no SELECT below the header")
    return Step(
        name=header["step"],
        version=int(header["version"]),
        reads=_names(header["reads"]),
        writes=header["writes"],
        kind=header["watermark"],
        columns=_names(header["columns"]),
        sql=sql,
        function=header.get("python", ""),
    )


def _fields(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """``-- key: value`` down to the first line that is neither; prose follows an empty comment."""
    for line in lines:
        key, colon, value = line.removeprefix("-- ").partition(":")
        if not line.startswith("-- ") or not colon:
            return
        yield key.strip(), value.strip()


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def ordered(steps: Iterable[Step]) -> list[Step]:
    """Steps so that each stands behind those it reads from, otherwise as given; versions include theirs.

    ConfigError: a name or a written table met twice, a table nobody writes, steps that read from each other in a ring.
    """
    waiting = list(steps)
    _check_unique("step", [step.name for step in waiting])
    _check_unique("table", [step.writes for step in waiting])
    writers = {step.writes: step for step in waiting}
    for step in waiting:
        if unknown := [table for table in step.reads if table not in writers and not table.startswith(ROOTS)]:
            raise _broken(f"step {step.name} reads {', '.join(unknown)}, which no step writes")
    placed: list[Step] = []
    while waiting:
        written = {step.writes for step in placed}
        ready = next((s for s in waiting if all(t in written or t not in writers for t in s.reads)), None)
        if ready is None:
            raise _broken(f"these steps read from each other in a ring: {', '.join(step.name for step in waiting)}")
        waiting.remove(ready)
        placed.append(ready)
    return [replace(step, version=_lineage_version(step, writers)) for step in placed]


def _check_unique(what: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _broken(f"{what} {', '.join(twice)} belongs to two steps")


def _lineage_version(step: Step, writers: Mapping[str, Step]) -> int:
    """The sum of the header versions of ``step`` and of every step above it, each counted once."""
    lineage, open_steps = {step.name: step.version}, [step]
    while open_steps:
        above = [writers[table] for table in open_steps.pop().reads if table in writers]
        open_steps += [parent for parent in above if parent.name not in lineage]
        lineage |= {parent.name: parent.version for parent in above}
    return sum(lineage.values())


def plan(
    steps: Sequence[Step],
    committed: Iterable[Batch],
    done: Mapping[tuple[str, str], int],
    tasks_max: int = TASKS_MAX,
) -> list[Task]:
    """The next tasks, at most ``tasks_max``, to be done in this order.

    ``steps`` as `ordered` gives them; ``committed``: every batch above its source's lowest watermark; ``done``: the
    watermarks by (step, source), nothing where a step has done nothing. A source's batches go in order of ``seq``, each
    through all steps before the next, so that prices appear early; sources take turns, so that one's history does not
    hold up another's newest hour. A step thereby never meets a batch before the steps it reads from. A number missing
    between batches is passed over: a source commits in order, so what is missing will not come.
    """
    tasks: list[Task] = []
    for turn in zip_longest(*_queues(steps, committed, done)):
        for todo in turn:
            tasks += todo or []
        if len(tasks) >= tasks_max:
            break
    return tasks[:tasks_max]


def _queues(
    steps: Sequence[Step], committed: Iterable[Batch], done: Mapping[tuple[str, str], int]
) -> list[list[list[Task]]]:
    """By source, by batch: what is still to do, sources by name."""
    queues: dict[str, list[list[Task]]] = {}
    for batch in sorted(committed, key=lambda batch: (batch.source, batch.seq)):
        todo = [Task(step, batch) for step in steps if step.kind == batch.kind and batch.seq > _mark(done, step, batch)]
        if todo:
            queues.setdefault(batch.source, []).append(todo)
    return list(queues.values())


def _mark(done: Mapping[tuple[str, str], int], step: Step, batch: Batch) -> int:
    return done.get((step.name, batch.source), NOTHING_DONE)


def _broken(message: str) -> ConfigError:
    return ConfigError(f"schema/etl is broken: {message}.", "Reinstall ledgerd, then: ledgerd etl status")

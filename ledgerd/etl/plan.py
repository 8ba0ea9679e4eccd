"""Which step refines which batch next: ETL plans, decided from values alone (pure)."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from ledgerd.clock import HOUR_S
from ledgerd.errors import ConfigError

NOTHING_DONE = -1
"""The watermark of a step that has done no batch of a source; batches count from 0."""
TASKS_MAX = 60
"""Tasks planned at a time: a backlog of years is worked off in rounds that stay short enough to stop between."""
INTERVAL_S = 180.0
"""How much data time lies between two runs of a step that says ``every: interval``, unless configured otherwise."""
RATES_AGE_S = 300.0
"""A batch of listings is refined after what its realm's exchange gave this long before it; ``rates`` reads no more."""
ROOTS = ("bronze_", "reference_")
"""How the tables begin that no step writes."""
EXCHANGE, RIVER = "exchange", "river"
"""The kinds of sources. An exchange is refined as one; of a river each league is a lane, refined apart if need be."""
WHOLE = ("",)
"""The lanes of a source that has none."""

_NEEDED = dict.fromkeys(("step", "version", "reads", "writes", "watermark", "columns")).keys()
_LISTS = {"uses", "recalls"}
_CHOICES = {
    "watermark": (EXCHANGE, RIVER),
    "python": ("normalise",),
    "keeps": ("yes",),
    "every": ("interval", "hour"),
}
_WITH = re.compile(r"WITH\b\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One transform: the header and the SELECT of a file of ``schema/etl``, the parts it uses put before it.

    ``kind``: the kind of source whose batches it refines. ``function``: the Python function that turns the SELECT's
    rows into those of ``columns``; empty when SQL does it all. ``version``, after `ordered`: the header's number plus
    those of every step it reads from, however far, so that a change re-runs all that rests on it. Watermarks are per
    version: a step with a new one begins again at the first batch and replaces rows key by key; batches whose input
    retention has dropped keep the rows they have.

    ``keeps``: it builds on what it wrote before, so that a new version goes on where the old one was. ``recalls``: what
    it reads of tables that later steps wrote for the batch before. ``every``: how often in data time it runs,
    "interval" or "hour", empty for each batch; it looks at what is true then, so it keeps, too.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    writes: str
    kind: str
    columns: tuple[str, ...]
    sql: str
    function: str = ""
    keeps: bool = False
    recalls: tuple[str, ...] = ()
    every: str = ""

    @property
    def is_gold(self) -> bool:
        """True if readers wait for what it writes."""
        return self.writes.startswith("gold_")


@dataclass(frozen=True, slots=True)
class Batch:
    """A committed batch of a source: its number, its name, and the hours it asked: ``[from_s, to_s)``, unix seconds.

    ``retrieved_s``: when the newest of its pages was fetched; ``before_s``: the same of the batch before it, None for
    the first. A river's batches ask no hours: ``from_s`` and ``to_s`` are 0.
    """

    source: str
    realm: str
    seq: int
    batch_id: str
    from_s: int
    to_s: int
    retrieved_s: float = 0.0
    before_s: float | None = None

    @property
    def kind(self) -> str:
        """The kind of its source: ``exchange`` of ``exchange-pc``."""
        return kind_of(self.source)


@dataclass(frozen=True, slots=True)
class Task:
    """One step on one batch, for some lanes: the unit that is repeated after a crash.

    ``era`` counts how often the step was told to begin again; ``interval_s``: what its ``every: interval`` means.
    """

    step: Step
    batch: Batch
    leagues: tuple[str, ...] = WHOLE
    era: int = 0
    interval_s: float = INTERVAL_S

    @property
    def token(self) -> str:
        """The name its inserts are deduplicated by: other lanes or another era are other rows."""
        lanes = "" if self.leagues == WHOLE else f":{'|'.join(self.leagues)}"
        era = f":{self.era}" if self.era else ""
        return f"{self.step.name}@{self.step.version}:{self.batch.batch_id}{lanes}{era}"

    @property
    def window_s(self) -> tuple[float, float]:
        """The whole intervals of data time that were over when the batch was fetched, and not at the one before."""
        every_s = HOUR_S if self.step.every == "hour" else self.interval_s
        to_s = self.batch.retrieved_s // every_s * every_s
        before_s = self.batch.before_s
        return (to_s - every_s if before_s is None else before_s // every_s * every_s), to_s

    @property
    def is_due(self) -> bool:
        """False if the step runs now and then, and not on this batch: then there is nothing to do."""
        if not self.step.every or self.batch.before_s is None:
            return True
        from_s, to_s = self.window_s
        return from_s < to_s


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


def parse_step(text: str, origin: str, parts: Mapping[str, str] | None = None) -> Step:
    """The step a file holds: ``-- key: value`` lines, prose, then one SELECT. ConfigError names ``origin``.

    ``parts``: the common parts by name, each as its file has it.
    """
    lines = text.splitlines()
    header = dict(_fields(lines))
    if problem := _problem(header):
        raise _broken(f"{origin}: {problem}")
    return Step(
        name=header["step"],
        version=int(header["version"]),
        reads=_names(header["reads"]),
        writes=header["writes"],
        kind=header["watermark"],
        columns=_names(header["columns"]),
        sql=_composed(_code(text, origin), _names(header.get("uses", "")), parts or {}, origin),
        function=header.get("python", ""),
        keeps=header.get("keeps") == "yes" or "every" in header,
        recalls=_names(header.get("recalls", "")),
        every=header.get("every", ""),
    )


def _fields(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """``-- key: value`` down to the first line that is neither; prose follows an empty comment."""
    for line in lines:
        key, colon, value = line.removeprefix("-- ").partition(":")
        if not line.startswith("-- ") or not colon:
            return
        yield key.strip(), value.strip()


def _problem(header: Mapping[str, str]) -> str:
    """What is wrong with a header; empty if nothing is."""
    if missing := [key for key in _NEEDED if not header.get(key)]:
        return f"the header lacks {', '.join(missing)}"
    if unknown := sorted(header.keys() - _NEEDED - _CHOICES.keys() - _LISTS):
        return f"the header has {', '.join(unknown)}, which means nothing; prose begins below an empty comment"
    if not header["version"].isdecimal() or int(header["version"]) < 1:
        return f"version {header['version']!r} is not a whole number from 1"
    for key, choices in _CHOICES.items():
        if key in header and header[key] not in choices:
            return f"{key} is {header[key]!r}; it can be {' or '.join(choices)}"
    return ""


def _code(text: str, origin: str) -> str:
    """``text`` without its lines of comment. ConfigError if nothing is left."""
    sql = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()
    if not sql:
        raise _broken(f"{origin}: there is no SELECT below the comment")
    return sql


def _composed(sql: str, uses: Sequence[str], parts: Mapping[str, str], origin: str) -> str:
    """``sql`` behind the parts it uses, in their order, as one WITH."""
    if unknown := [name for name in uses if name not in parts]:
        raise _broken(f"{origin}: it uses {', '.join(unknown)}, and schema/etl/parts has no such file")
    if not uses:
        return sql
    tables = ",\n".join(f"{name} AS\n(\n{_code(parts[name], f'parts/{name}.sql')}\n)" for name in uses)
    own = _WITH.match(sql)
    return f"WITH {tables},\n{sql[own.end() :]}" if own else f"WITH {tables}\n{sql}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def ordered(steps: Iterable[Step]) -> list[Step]:
    """Steps so that each stands behind those of its kind it reads from, otherwise as given; versions include theirs.

    What a step of another kind writes has no place in this order: their batches are not the same. ConfigError: a name
    met twice, a table two steps of one kind write, a table nobody writes, steps that read from each other in a ring.
    """
    waiting = list(steps)
    _check_unique("step", [step.name for step in waiting])
    for kind in sorted({step.kind for step in waiting}):
        _check_unique("table", [step.writes for step in waiting if step.kind == kind])
    written = {step.writes for step in waiting}
    for step in waiting:
        for verb, tables in (("reads", step.reads), ("recalls", step.recalls)):
            if unknown := [table for table in tables if table not in written and not table.startswith(ROOTS)]:
                raise _broken(f"step {step.name} {verb} {', '.join(unknown)}, which no step writes")
    writers = {(step.kind, step.writes): step for step in waiting}
    placed: list[Step] = []
    while waiting:
        ready = next((s for s in waiting if all(above in placed for above in _above(s, writers))), None)
        if ready is None:
            raise _broken(f"these steps read from each other in a ring: {', '.join(step.name for step in waiting)}")
        waiting.remove(ready)
        placed.append(ready)
    return [replace(step, version=_lineage_version(step, writers)) for step in placed]


def _check_unique(what: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _broken(f"{what} {', '.join(twice)} belongs to two steps")


def _above(step: Step, writers: Mapping[tuple[str, str], Step]) -> list[Step]:
    """The steps of its kind that ``step`` reads from."""
    return [writers[step.kind, table] for table in step.reads if (step.kind, table) in writers]


def _lineage_version(step: Step, writers: Mapping[tuple[str, str], Step]) -> int:
    """The sum of the header versions of ``step`` and of every step above it, each counted once.

    A step that keeps has its own alone: what it rests on may change, what it wrote stays; so none below it run again.
    """
    lineage, open_steps = {step.name: step.version}, [step] if not step.keeps else []
    while open_steps:
        for parent in _above(open_steps.pop(), writers):
            if not parent.keeps and parent.name not in lineage:
                lineage[parent.name] = parent.version
                open_steps.append(parent)
    return sum(lineage.values())


Marks = Mapping[tuple[str, str, str], int]
"""The last batch done, by step, source and lane; nothing where a step has done nothing."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits of a source for lanes that stand alike: ``batches`` in the order of ``seq``, above their watermarks.

    ``has_more``: further batches follow the last. ``eras``: by step, where one was told to begin again.
    """

    source: str
    leagues: tuple[str, ...]
    batches: Sequence[Batch]
    has_more: bool = False
    eras: Mapping[str, int] = field(default_factory=dict)

    def next_s(self, place: int) -> float:
        """When the batch at ``place``, or one not before it, was fetched; infinite if there is none."""
        if place < len(self.batches):
            return self.batches[place].retrieved_s
        return self.batches[-1].retrieved_s if self.has_more and self.batches else float("inf")


def plan(
    steps: Sequence[Step],
    queues: Sequence[Queue],
    done: Marks,
    *,
    tasks_max: int = TASKS_MAX,
    interval_s: float = INTERVAL_S,
) -> list[Task]:
    """The next tasks, of which at most ``tasks_max`` are due, to be done in this order.

    ``steps`` as `ordered` gives them. A queue's batches go in order of ``seq``, each through all steps before the next,
    so that prices appear early; queues take turns, so that one's history does not hold up another's newest hour. A step
    thereby never meets a batch before the steps it reads from. A number missing between batches is passed over: a
    source commits in order, so what is missing will not come.

    A river's batch waits until the exchange of its realm has done what was fetched RATES_AGE_S before it, as far as
    that exchange has a queue: so its listings are converted by the same rates whenever it is refined.
    """
    tasks: list[Task] = []
    places = [0] * len(queues)
    is_moving = True
    while is_moving and sum(task.is_due for task in tasks) < tasks_max:
        is_moving = False
        for n, queue in enumerate(queues):
            if places[n] == len(queue.batches) or _is_held(queues, places, n):
                continue
            tasks += _tasks(steps, queue, queue.batches[places[n]], done, interval_s)
            places[n] += 1
            is_moving = True
    due = accumulate(task.is_due for task in tasks)
    return [task for task, count in zip(tasks, due, strict=True) if count - task.is_due < tasks_max]


def _is_held(queues: Sequence[Queue], places: Sequence[int], n: int) -> bool:
    """True if a queue has to wait for an exchange before its next batch."""
    batch = queues[n].batches[places[n]]
    return batch.kind == RIVER and any(
        kind_of(other.source) == EXCHANGE
        and other.batches[0].realm == batch.realm
        and other.next_s(place) <= batch.retrieved_s - RATES_AGE_S
        for other, place in zip(queues, places, strict=True)
        if other.batches
    )


def _tasks(steps: Sequence[Step], queue: Queue, batch: Batch, done: Marks, interval_s: float) -> Iterator[Task]:
    """What is still to do with a batch."""
    for step in steps:
        behind = tuple(lane for lane in queue.leagues if mark_of(done, step, batch.source, lane) < batch.seq)
        if step.kind == batch.kind and behind:
            yield Task(step, batch, behind, queue.eras.get(step.name, 0), interval_s)


def mark_of(done: Marks, step: Step, source: str, lane: str) -> int:
    """The last batch of ``source`` that ``step`` has done for ``lane``."""
    return done.get((step.name, source, lane), NOTHING_DONE)


def _broken(message: str) -> ConfigError:
    return ConfigError(f"schema/etl is broken: {message}.", "Reinstall ledgerd, then: ledgerd etl status")

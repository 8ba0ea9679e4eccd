"""How far each step is for each lane of each source, and which lanes stand alike (pure)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ledgerd.etl.plan import RIVER, WHOLE, Step, Task, kind_of, mark_of

EMPTY_FIRST = -2
"""The watermark of a river that is told to begin again while its tables still hold what they held."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A row of the watermarks: the last batch done, when it was fetched, and what doing it took, in seconds.

    With an empty ``league`` it is the whole source's; of a river's it says where all its lanes begin.
    """

    step: str
    version: int
    source: str
    league: str
    era: int
    seq: int
    retrieved_s: float = 0.0
    seconds: float = 0.0


class Standing:
    """The watermarks of the newest era of every step, and where lanes were looked for."""

    def __init__(self, steps: Sequence[Step], marks: Iterable[Mark]) -> None:
        """``steps`` as `ordered` gives them; ``marks`` of any version, era and source."""
        self.done: dict[tuple[str, str, str], int] = {}
        self.looked: dict[str, int] = {}
        """By river, up to which batch its lanes are known."""
        self._steps = list(steps)
        self._eras: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str, str], Mark] = {}
        self._lanes: dict[str, set[str]] = {}
        self._take([mark for mark in marks if any(_is_of(mark, step) for step in steps)])

    def _take(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            key = mark.step, mark.source
            self._eras[key] = max(self._eras.get(key, 0), mark.era)
        versions = {step.name: None if step.keeps else step.version for step in self._steps}
        for mark in sorted(marks, key=lambda mark: mark.seq):
            if mark.era == self.era(mark.step, mark.source):
                if versions[mark.step] in (None, mark.version):
                    self._last[mark.step, mark.source, mark.league] = mark
                    self.done[mark.step, mark.source, mark.league] = mark.seq
                if kind_of(mark.source) == RIVER:
                    self.looked[mark.source] = max(self.looked.get(mark.source, mark.seq), mark.seq)
                    self._lanes.setdefault(mark.source, set()).update({mark.league} - set(WHOLE))
        for source in self._lanes:
            for lane in self.lanes(source):
                self._level(source, lane)

    def _level(self, source: str, lane: str) -> None:
        """Let steps that keep stand where the others of the lane do.

        A batch begins when the one before it is through all steps. So those that were passed over, not being due, are
        done, and a step that is new begins with the batch under way.
        """
        steps = self.steps_of(source)
        furthest = max(mark_of(self.done, step, source, lane) for step in steps)
        for step in steps:
            if step.keeps:
                self.done[step.name, source, lane] = max(mark_of(self.done, step, source, lane), furthest - 1)

    def era(self, step: str, source: str) -> int:
        """How often ``step`` was told to begin ``source`` again."""
        return self._eras.get((step, source), 0)

    def eras_of(self, source: str) -> dict[str, int]:
        """The same of every step of a source."""
        return {step.name: self.era(step.name, source) for step in self.steps_of(source)}

    def steps_of(self, source: str) -> list[Step]:
        """The steps that refine ``source``, in order."""
        return [step for step in self._steps if step.kind == kind_of(source)]

    def tables_of(self, kind: str) -> list[str]:
        """What steps of ``kind`` write, and no others, in their order."""
        others = {step.writes for step in self._steps if step.kind != kind}
        return [step.writes for step in self._steps if step.kind == kind and step.writes not in others]

    def lanes(self, source: str) -> tuple[str, ...]:
        """The lanes of ``source``, sorted: those met so far of a river, `WHOLE` of any other."""
        return tuple(sorted(self._lanes.get(source, ()))) if kind_of(source) == RIVER else WHOLE

    def lowest(self, source: str, lanes: Collection[str]) -> int:
        """The watermark of the step and lane that is furthest behind."""
        return min(mark_of(self.done, step, source, lane) for step in self.steps_of(source) for lane in lanes)

    def furthest(self, source: str) -> int:
        """How far the lane of a river is that has got furthest; where lanes were looked for, if none was met."""
        return max((self.lowest(source, [lane]) for lane in self.lanes(source)), default=self.looked[source])

    def last(self, step: Step, source: str, lane: str) -> Mark | None:
        """The newest batch ``step`` did, as far as that is known; one that was passed over is none."""
        mark = self._last.get((step.name, source, lane))
        return mark if mark and mark.retrieved_s else None

    @property
    def must_empty(self) -> list[str]:
        """The rivers whose tables have to be emptied before anything is refined."""
        return sorted({source for (_, source, lane), seq in self.done.items() if lane == "" and seq == EMPTY_FIRST})

    def groups(self, source: str, alone: Collection[str]) -> list[tuple[str, ...]]:
        """The lanes of ``source`` that stand alike, together; each of ``alone`` by itself."""
        groups: dict[tuple[object, ...], list[str]] = {}
        steps = self.steps_of(source)
        for lane in self.lanes(source):
            place = tuple(mark_of(self.done, step, source, lane) for step in steps)
            groups.setdefault((place, lane if lane in alone else ""), []).append(lane)
        return [tuple(group) for group in groups.values()]

    def moved(self, task: Task, seconds: float) -> None:
        """``task`` is done, and took ``seconds``."""
        self.passed(task)
        step, batch = task.step, task.batch
        for lane in task.leagues:
            self._last[step.name, batch.source, lane] = Mark(
                step.name, step.version, batch.source, lane, task.era, batch.seq, batch.retrieved_s, seconds
            )

    def passed(self, task: Task) -> None:
        """``task`` has nothing to do any more."""
        self.done |= {(task.step.name, task.batch.source, lane): task.batch.seq for lane in task.leagues}

    def born(self, source: str, leagues: Iterable[str], above: int) -> None:
        """Lanes of a river begin behind batch ``above``."""
        for lane in leagues:
            self._lanes.setdefault(source, set()).add(lane)
            self.done |= {(step.name, source, lane): above for step in self.steps_of(source)}


def _is_of(mark: Mark, step: Step) -> bool:
    return mark.step == step.name and kind_of(mark.source) == step.kind

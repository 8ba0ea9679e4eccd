"""The one gate every upstream request passes: our own average pace, and what upstream's rate limits still allow."""

import asyncio
import itertools
import math
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import orjson
from aiolimiter import AsyncLimiter

from ledgerd.clock import Clock, ScaledClock, SystemClock, wait_for
from ledgerd.events import RATE_LIMIT_REMAINING, BackedOff, Noted, RateLimited, emit
from ledgerd.upstream.budget import HTTP_TOO_MANY, Budget, Remaining
from ledgerd.upstream.files import replace
from ledgerd.upstream.headers import Report, parse
from ledgerd.upstream.window import moment

POLICIES_MAX = 64
"""Policies and endpoints kept apart; answers that name more are booked under what is known."""
LEASE_S = 60.0
"""How long a request that another job sends may take, from its leave to its report."""
LEASES_MAX = 16
STATE_BYTES_MAX = 8 << 20
NAME = "throttle"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody waits for leave to ask: an ``endpoint``, or anything of a known ``policy``."""

    endpoint: str
    policy: str = ""
    is_backfill: bool = False


class Slot:
    """Leave for one request: tell it the answer as soon as its headers are in, long before the body is."""

    __slots__ = ("_throttle", "budget", "endpoint", "expires_s", "is_done", "sent_s", "ticket")

    def __init__(
        self, throttle: "Throttle", endpoint: str, budget: Budget, sent_s: float, expires_s: float = math.inf
    ) -> None:
        self._throttle = throttle
        self.endpoint = endpoint
        self.budget = budget
        self.sent_s = sent_s
        self.expires_s = expires_s
        self.ticket = budget.sent(sent_s)
        self.is_done = False

    def answered(self, status: int, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Report:
        """Book the answer; returns what its headers say. A second call for one request changes nothing."""
        report = parse(headers)
        if not self.is_done:
            self.is_done = True
            self._throttle.book(self, status, report)
        return report

    def lost(self, now_s: float) -> None:
        """Book that no answer came up to ``now_s``, unless one did."""
        if not self.is_done:
            self.is_done = True
            self.budget.lost(self.ticket, now_s)


class Throttle:
    """Spaces requests evenly, and holds each until its endpoint's policy has room; never more than both allow.

    Which policy an endpoint belongs to is learnt from its answers; until then, and until the policy's limits are known,
    an endpoint gets one request at a time. Requests of one policy leave in the order they came, live before backfill;
    those of others do not wait for them.

    ``AsyncLimiter(1, 1 / rate)`` is exact; ``AsyncLimiter(n, n / rate)`` would let 2n - 1 requests through one window.
    """

    def __init__(
        self,
        requests_per_s: float,
        backfill_requests_per_s: float,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        state_path: Path | None = None,
    ) -> None:
        """``rng`` jitters the back-off; ``state_path``: the file that carries limits over a restart, see `restore`."""
        clock = clock or SystemClock()
        # steady: a wall clock set forward would end every wait at once
        self._clock = ScaledClock(clock.now(), 1.0) if isinstance(clock, SystemClock) else clock
        self._rng = rng or random.Random()  # noqa: S311  jitter, no secret
        self._state_path = state_path
        self._policy_of: dict[str, str] = {}
        self._budgets: dict[str, Budget] = {}
        self._unnamed: dict[str, Budget] = {}
        self._waiting: dict[int, Wanted] = {}
        self.lent: dict[str, Slot] = {}
        """The slots other jobs have, each by the name of its lease."""
        self.lost_leases = 0
        """How many of them expired unreported."""
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._odd: set[str] = set()
        self._shown: set[tuple[str, str, int]] = set()
        self._is_unsaved = False
        self.set_pace(requests_per_s, backfill_requests_per_s)

    def set_pace(self, requests_per_s: float, backfill_requests_per_s: float) -> None:
        """Change the pace of all requests, and of those for history; both requests a second, above 0."""
        self.requests_per_s = requests_per_s
        self._every = AsyncLimiter(1, 1 / requests_per_s)
        self._backfill = AsyncLimiter(1, 1 / backfill_requests_per_s)

    async def admit(self, *, backfill: bool) -> None:
        """Return when our own pace allows a request; upstream's limits are not asked, see `slot`."""
        if backfill:
            await self._backfill.acquire()
        await self._every.acquire()

    @asynccontextmanager
    async def slot(self, endpoint: str, *, backfill: bool = False) -> AsyncIterator[Slot]:
        """Wait for leave to send one request to ``endpoint``; a slot left unanswered counts as sent to the last moment.

        ``endpoint`` names a kind of request, such as ``river-pc``: everything under it is taken to share a policy.
        """
        slot = await self._take(Wanted(endpoint, is_backfill=backfill))
        try:
            self._save()
            yield slot
        finally:
            if not slot.is_done:
                self.give_up(slot)

    def give_up(self, slot: Slot) -> None:
        """Book that no answer to ``slot`` came up to now."""
        slot.lost(self._clock.now())
        self._wake()

    async def lend(self, wanted: Wanted) -> tuple[str, Slot]:
        """Wait for leave as `slot` does, for another job: the name of the lease, and its slot.

        Unreported for LEASE_S, the slot counts as sent to the last moment; a restart changes nothing of that.
        """
        slot = await self._take(wanted, LEASE_S)
        lease = uuid4().hex
        self.lent[lease] = slot
        self._save()
        return lease, slot

    async def _take(self, wanted: Wanted, lasts_s: float = math.inf) -> Slot:
        number = next(self._numbers)
        self._waiting[number] = wanted
        try:
            await self._turn(number)
            now_s = self._clock.now()
            return Slot(self, wanted.endpoint, self._budget(wanted), now_s, now_s + lasts_s)
        finally:
            del self._waiting[number]
            self._wake()

    async def _turn(self, number: int) -> None:
        """Return when waiter ``number`` is first of its budget, the budget has room and our own pace allows it."""
        is_paced = False
        while True:
            wait_s = self._wait_s(number)
            if wait_s > 0:
                is_paced = False  # a turn of the pacer must not be kept for later: two would leave together
                await self._rest(wait_s)
            elif is_paced:
                return
            else:
                await self.admit(backfill=self._waiting[number].is_backfill)
                is_paced = True

    def _wait_s(self, number: int) -> float:
        """How long waiter ``number`` has to wait at least, as things stand; inf: for somebody else."""
        wanted, now_s = self._waiting[number], self._clock.now()
        self.expire(now_s)
        budget = self._budget(wanted)
        for other, each in self._waiting.items():
            if (each.is_backfill, other) < (wanted.is_backfill, number) and self._budget(each) is budget:
                return math.inf
        may_s = budget.earliest(now_s)
        if math.isinf(may_s):
            may_s = min((slot.expires_s for slot in self.lent.values() if slot.budget is budget), default=math.inf)
        return may_s - now_s

    def expire(self, now_s: float) -> None:
        """Count the leases as lost whose time is over at ``now_s``."""
        for lease, slot in list(self.lent.items()):
            if slot.expires_s <= now_s:
                del self.lent[lease]
                slot.lost(slot.expires_s)
                self.lost_leases += 1

    def next_s(self, wanted: Wanted) -> float:
        """When it is worth asking for ``wanted`` again, unix seconds: no sooner than leave can be had."""
        now_s = self._clock.now()
        self.expire(now_s)
        budget = self._budget(wanted)
        ahead = sum(self._budget(each) is budget for each in self._waiting.values())
        return max(budget.settled(now_s), now_s + (1 + ahead) / self.requests_per_s)

    async def _rest(self, wait_s: float) -> None:
        """Wait ``wait_s`` seconds, or until something changed."""
        changed = self._changed
        if math.isinf(wait_s):
            await changed.wait()
        else:
            await wait_for(changed, self._clock, wait_s)

    def _wake(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _budget(self, wanted: Wanted) -> Budget:
        """The budget what is ``wanted`` is booked under: its policy's, or its endpoint's while that is not known."""
        endpoint = wanted.endpoint
        policy = wanted.policy or self._policy_of.get(endpoint)
        if policy is not None:
            return self._budgets[policy]
        if endpoint not in self._unnamed and len(self._unnamed) >= POLICIES_MAX:
            endpoint = ""
        return self._unnamed.setdefault(endpoint, Budget())

    def book(self, slot: Slot, status: int, report: Report) -> None:
        """Take an answer to ``slot``: learn its policy, its limits and how long to be silent."""
        now_s = self._clock.now()
        policy = report.policy
        if policy is not None and policy not in self._budgets and not self._has_room(now_s):
            policy = None
        budget, ticket = slot.budget, slot.ticket
        if policy is not None and budget.policy != policy:
            budget.lost(ticket, now_s)
            known, budget = budget, self._budgets.setdefault(policy, Budget(policy))
            ticket = budget.sent(slot.sent_s)
            budget.wait_until(known.settled(now_s))
            slot.budget = budget
        if policy is not None and slot.endpoint:
            self._policy_of[slot.endpoint] = policy
        silence = budget.answered(ticket, now_s, status=status, report=report, jitter=self._rng.random())
        subject = budget.policy or slot.endpoint
        if status == HTTP_TOO_MANY:
            rule = silence.rule if silence else "unknown"
            emit(RateLimited(subject, endpoint=slot.endpoint, rule=rule))
        if silence:
            emit(BackedOff(subject, rule=silence.rule, reason=silence.reason, wait_s=silence.until_s - now_s))
        self._note(subject, report)
        self._show(budget)
        self._save()
        self._wake()

    def now(self) -> float:
        """The throttle's own time, unix seconds: steady, so that no wait ends because a wall clock was set."""
        return self._clock.now()

    def books(self) -> list[tuple[Budget, list[str]]]:
        """Every budget, policies first, with the endpoints known to be booked under it."""
        named = [
            (budget, sorted(endpoint for endpoint, policy in self._policy_of.items() if policy == name))
            for name, budget in sorted(self._budgets.items())
        ]
        return named + [
            (budget, [name] if name else [])
            for name, budget in sorted(self._unnamed.items())
            if name not in self._policy_of
        ]

    def _has_room(self, now_s: float) -> bool:
        """Whether one more policy may be kept; one that no endpoint belongs to and that bars nothing makes way."""
        asked = [each.policy for each in self._waiting.values()]
        named = {*self._policy_of.values(), *asked, *(slot.budget.policy for slot in self.lent.values())}
        idle = [name for name, each in self._budgets.items() if name not in named and each.settled(now_s) <= now_s]
        if idle and len(self._budgets) >= POLICIES_MAX:
            del self._budgets[idle[0]]
        return len(self._budgets) < POLICIES_MAX

    def remaining(self) -> list[Remaining]:
        """What every limit known leaves now, by policy, rule and period."""
        now_s = self._clock.now()
        self.expire(now_s)
        return [row for policy in sorted(self._budgets) for row in self._budgets[policy].remaining(now_s)]

    def _show(self, budget: Budget) -> None:
        """Keep a gauge for each limit of ``budget``, and none for those that are gone; they are read at each scrape."""
        now_s = self._clock.now()
        rows = {(row.policy, row.rule, row.period_s) for row in budget.remaining(now_s)}
        before = {key for key in self._shown if key[0] == budget.policy}
        for policy, rule, period_s in before - rows:
            RATE_LIMIT_REMAINING.remove(policy, rule, str(period_s))
        for key in rows - before:
            RATE_LIMIT_REMAINING.labels(key[0], key[1], str(key[2])).set_function(partial(self._left, key))
        self._shown = self._shown - before | rows

    def _left(self, key: tuple[str, str, int]) -> float:
        return next((row.remaining for row in self.remaining() if (row.policy, row.rule, row.period_s) == key), 0)

    def _note(self, subject: str, report: Report) -> None:
        """Say once that headers turned odd, until they are well again."""
        if report.problems and subject not in self._odd and len(self._odd) < POLICIES_MAX:
            self._odd.add(subject)
            emit(Noted(subject, note=f"rate-limit headers are odd: {'; '.join(report.problems[:3])}"))
        if report.is_whole and not report.problems:
            self._odd.discard(subject)

    def restore(self) -> None:
        """Take up what an earlier run wrote to ``state_path``; where it is missing or unreadable, start cautiously."""
        path, now_s = self._state_path, self._clock.now()
        if path is None:
            return
        try:
            with path.open("rb") as file:
                data = orjson.loads(file.read(STATE_BYTES_MAX))
            self._load(data, now_s)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            emit(Noted(NAME, note=f"{path.name} is ignored, limits are learnt again: {error}"))
        for budget in self._budgets.values():
            self._show(budget)

    def _load(self, data: object, now_s: float) -> None:
        """All of ``data`` or, with a ValueError, nothing of it."""
        match data:
            case {"version": 1, "budgets": [*named], "unnamed": dict(unnamed), "policies": dict(policies), **rest}:
                read = [Budget.from_json(each, now_s) for each in named[:POLICIES_MAX]]
                budgets = {budget.policy: budget for budget in read}
                unknown = {name: Budget.from_json(each, now_s) for name, each in unnamed.items()}
                policy_of = {name: policy for name, policy in policies.items() if policy in budgets}
            case _:
                raise ValueError("it is of another form")
        leases = _leases(rest.get("leases", []), now_s)
        self._budgets, self._unnamed, self._policy_of = budgets, unknown, policy_of
        for lease, wanted, sent_s, expires_s in leases:
            known = wanted if wanted.policy in budgets else Wanted(wanted.endpoint)
            self.lent[lease] = Slot(self, wanted.endpoint, self._budget(known), sent_s, expires_s)

    def _save(self) -> None:
        """Write the state before a request leaves and after its answer: a kill at any moment forgets none.

        The file is replaced whole. It is not synced: a power cut lasts longer than most windows, and a torn file only
        means a cautious start. A disk that takes none is said once; requests go on.
        """
        if self._state_path is None:
            return
        state = {
            "version": 1,
            "budgets": [self._written(budget) for budget in self._budgets.values()],
            "unnamed": {name: self._written(budget) for name, budget in self._unnamed.items()},
            "policies": self._policy_of,
            "leases": [
                [lease, slot.endpoint, slot.budget.policy, slot.sent_s, slot.expires_s]
                for lease, slot in self.lent.items()
            ],
        }
        try:
            replace(self._state_path, orjson.dumps(state))
        except OSError as error:
            if not self._is_unsaved:
                emit(Noted(NAME, note=f"{self._state_path.name} cannot be written, a restart forgets limits: {error}"))
            self._is_unsaved = True
        else:
            self._is_unsaved = False

    def _written(self, budget: Budget) -> dict[str, object]:
        """``budget`` as JSON values, but for the requests of leases, which are written apart."""
        return budget.to_json([slot.ticket for slot in self.lent.values() if slot.budget is budget])


def _leases(entries: object, now_s: float) -> list[tuple[str, Wanted, float, float]]:
    """Leases as written: name, what for, when given, when it expires (both cut to the latest they can be now)."""
    found = []
    for entry in entries[:LEASES_MAX] if isinstance(entries, list) else [entries]:
        match entry:
            case [str(lease), str(endpoint), str(policy), sent_s, expires_s]:
                times = moment(sent_s, now_s), moment(expires_s, now_s + LEASE_S)
                found.append((lease, Wanted(endpoint, policy), *times))
            case _:
                raise ValueError("no lease")
    return found

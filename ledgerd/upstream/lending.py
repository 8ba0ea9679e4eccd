"""Turns at upstream for other jobs on this address, from the one throttle: asked for, lent, reported.

A turn is never promised for later: until then an answer may tell of a restriction or of others' requests, and whoever
holds the promise would not hear of it. Who asks waits for his turn like a request of ours, and gets leave to send now.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ledgerd.errors import NotKnown, Refused
from ledgerd.upstream.budget import Remaining
from ledgerd.upstream.throttle import LEASES_MAX, POLICIES_MAX, Slot, Throttle, Wanted

WAIT_S_MAX = 30.0
"""Longest time somebody may wait for his turn before he is told to ask again."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to send one request at once. ``policy``: what it is booked under, empty while that is not known.

    ``expires_s`` (unix seconds): by when its answer must have been reported; else it counts as sent up to then.
    """

    name: str
    policy: str
    expires_s: float


@dataclass(frozen=True, slots=True)
class NotYet:
    """No leave, and nothing taken; ``next_s``: when it is worth asking again, unix seconds."""

    next_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a report: the ``policy`` the request was booked under, and what was odd in its headers.

    ``next_s``: when the next of the same may be sent at the earliest, unix seconds.
    """

    policy: str
    problems: tuple[str, ...]
    next_s: float


@dataclass(frozen=True, slots=True)
class PolicyStanding:
    """One budget: its ``policy`` (empty: not known yet) and the ``endpoints`` known to be booked under it.

    ``under_way``: requests sent and not answered. ``next_s``: when the next may be sent at the earliest, unix seconds.
    """

    policy: str
    endpoints: tuple[str, ...]
    under_way: int
    next_s: float
    limits: tuple[Remaining, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the throttle allows now. ``leases``: open ones; ``leases_lost``: expired unreported since the start."""

    requests_per_s: float
    leases: int
    leases_lost: int
    policies: tuple[PolicyStanding, ...]


class Lending:
    """The port of the throttle for other jobs."""

    def __init__(self, throttle: Throttle) -> None:
        """``throttle``: the one that paces our own requests, too."""
        self._throttle = throttle
        self._asking = 0

    def now(self) -> float:
        """The time all others here are in, unix seconds."""
        return self._throttle.now()

    def standing(self) -> Standing:
        """Every policy and endpoint known, and what each allows now."""
        throttle, now_s = self._throttle, self._throttle.now()
        throttle.expire(now_s)
        policies = tuple(
            PolicyStanding(
                budget.policy,
                tuple(endpoints),
                budget.under_way,
                budget.settled(now_s),
                tuple(budget.remaining(now_s)),
            )
            for budget, endpoints in throttle.books()
        )
        return Standing(throttle.requests_per_s, len(throttle.lent), throttle.lost_leases, policies)

    async def reserve(self, *, endpoint: str = "", policy: str = "", wait_s: float = 0.0) -> Lease | NotYet:
        """Wait up to ``wait_s`` seconds for leave to send one request to ``endpoint``, or one under ``policy``.

        NotKnown for a policy no answer has told of; Refused for yet another endpoint when POLICIES_MAX are known.
        """
        throttle, wanted = self._throttle, Wanted(endpoint, policy)
        self._check(wanted)
        throttle.expire(throttle.now())
        if len(throttle.lent) + self._asking >= LEASES_MAX:
            return NotYet(throttle.next_s(wanted))
        self._asking += 1
        try:
            async with asyncio.timeout(wait_s):
                name, slot = await throttle.lend(wanted)
        except TimeoutError:
            return NotYet(throttle.next_s(wanted))
        finally:
            self._asking -= 1
        return Lease(name, slot.budget.policy, slot.expires_s)

    def answered(self, lease: str, status: int, headers: Mapping[str, str]) -> Taken:
        """Book the answer to the request of ``lease``; NotKnown if that is not open."""
        slot = self._close(lease)
        problems = slot.answered(status, headers).problems
        return Taken(slot.budget.policy, problems, slot.budget.settled(self.now()))

    def unanswered(self, lease: str) -> Taken:
        """Book that the request of ``lease`` ended without an answer, or was never sent; NotKnown as `answered`."""
        slot = self._close(lease)
        self._throttle.give_up(slot)
        return Taken(slot.budget.policy, (), slot.budget.settled(self.now()))

    def _check(self, wanted: Wanted) -> None:
        books = self._throttle.books()
        policies = [budget.policy for budget, _ in books if budget.policy]
        endpoints = {endpoint for _, each in books for endpoint in each}
        if wanted.policy and wanted.policy not in policies:
            near = get_close_matches(wanted.policy, policies, n=3)
            hint = "Those known: GET /v1/throttle. Ask for an endpoint: its policy is learnt from its first answer."
            raise NotKnown(f"No answer has told of a policy {wanted.policy!r}.", hint, tuple(near))
        if wanted.endpoint and wanted.endpoint not in endpoints and len(endpoints) >= POLICIES_MAX:
            hint = "Name requests of one kind alike, or ask for a policy of: GET /v1/throttle"
            raise Refused(f"{len(endpoints)} endpoints are kept apart already, which is all there is room for.", hint)

    def _close(self, lease: str) -> Slot:
        self._throttle.expire(self._throttle.now())
        slot = self._throttle.lent.pop(lease, None)
        if slot is None:
            hint = "A lease is reported once, and before it expires."
            raise NotKnown("There is no such lease: it was reported, has expired, or never was.", hint)
        return slot

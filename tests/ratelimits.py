"""Rate limits as upstream keeps them, by brute force, and a client of a budget to try them on; seeded, no real time.

A server remembers every arrival and counts them one by one. Its windows slide, or are bucketed: a request then counts
as if it had come at the end of its bucket (5 s for periods up to a minute, 60 s for longer ones).
"""

import heapq
import itertools
import json
import math
import random
from dataclasses import dataclass, field

from ledgerd.upstream.budget import Budget
from ledgerd.upstream.headers import parse
from ledgerd.upstream.throttle import LEASE_S, LEASES_MAX

POLICY = "p"
LOST_AFTER_S = 10.0


def bucket_s(period_s):
    bucket = 60 if period_s > 60 else 5
    return bucket if period_s > bucket else 0


@dataclass(frozen=True)
class Rule:
    """``limits``: (hits, period, restriction) each, for one named rule."""

    name: str
    limits: tuple


@dataclass
class Server:
    """One policy's counters. ``changes``: (time, rules) in order, the first at -inf; ``strangers``: when others try."""

    changes: list
    is_bucketed: bool
    strangers: list = field(default_factory=list)
    phase_s: float = 0.0
    own: list = field(default_factory=list)
    others: list = field(default_factory=list)
    restricted: dict = field(default_factory=dict)

    def rules(self, at_s):
        return [rules for since_s, rules in self.changes if since_s <= at_s][-1]

    def leaves_s(self, came_s, period_s):
        """When a request that came at ``came_s`` is counted no more."""
        bucket = bucket_s(period_s) if self.is_bucketed else 0
        return came_s + period_s if not bucket else self._end_of(came_s, bucket) + period_s

    def _end_of(self, came_s, bucket):
        return (math.floor((came_s + self.phase_s) / bucket) + 1) * bucket - self.phase_s

    def count(self, now_s, period_s, others):
        """Requests counted at ``now_s``: ours, and those of ``others``."""
        recent_s = now_s - period_s - 61
        return sum(
            self.leaves_s(came_s, period_s) > now_s
            for came_s in itertools.chain(_since(self.own, recent_s), _since(others, recent_s))
            if came_s <= now_s
        )

    def is_over(self, now_s, rules, others):
        return any(self.count(now_s, limit[1], others) > limit[0] for rule in rules for limit in rule.limits)

    def let_strangers_in(self, until_s):
        """Others keep the limits: an attempt that finds no room is not made."""
        while self.strangers and self.strangers[0] <= until_s:
            at_s = self.strangers.pop(0)
            self.others.append(at_s)
            if self.is_over(at_s, self.rules(at_s), self.others):
                self.others.pop()

    def arrive(self, now_s):
        """Count a request of ours: status and headers of its answer."""
        self.let_strangers_in(now_s)
        self.own.append(now_s)
        rules = self.rules(now_s)
        passes = not any(until_s > now_s for until_s in self.restricted.values())
        for name, limit in [(rule.name, limit) for rule in rules for limit in rule.limits]:
            if passes and self.count(now_s, limit[1], self.others) > limit[0]:
                self.restricted[name, limit[1]] = now_s + limit[2]
        passes = passes and not any(until_s > now_s for until_s in self.restricted.values())
        return (200 if passes else 429), self.headers(now_s, rules, passes)

    def headers(self, now_s, rules, passes):
        said = {"X-Rate-Limit-Policy": POLICY, "X-Rate-Limit-Rules": ",".join(rule.name for rule in rules)}
        waits = [0]
        for rule in rules:
            states = []
            for _, period_s, _ in rule.limits:
                active_s = max(0, math.ceil(self.restricted.get((rule.name, period_s), 0) - now_s))
                states.append(f"{self.count(now_s, period_s, self.others)}:{period_s}:{active_s}")
                waits.append(active_s)
            said[f"X-Rate-Limit-{rule.name}"] = ",".join(":".join(map(str, limit)) for limit in rule.limits)
            said[f"X-Rate-Limit-{rule.name}-State"] = ",".join(reversed(states))
        return said if passes else said | {"Retry-After": str(max(waits))}


def _since(times, since_s):
    """The tail of ``times`` that came after ``since_s``."""
    at = len(times)
    while at and times[at - 1] > since_s - 30:
        at -= 1
    return times[at:]


@dataclass
class Schedule:
    """Everything random about one run; delays in seconds, ``restarts``: (time, how long down).

    ``leased``: the share of requests that other jobs send, at any time while their lease lasts, and report or not.
    """

    rules: list
    is_bucketed: bool
    requests: int
    strangers: list = field(default_factory=list)
    changes: list = field(default_factory=list)
    restarts: list = field(default_factory=list)
    at_once: int = 1
    pause_s: float = 0.0
    base_s: float = 0.05
    jitter_s: float = 0.05
    spikes: float = 0.0
    headerless: float = 0.0
    lost: float = 0.0
    leased: float = 0.0
    phase_s: float = 0.0
    horizon_s: float = math.inf


@dataclass
class Outcome:
    """``overruns``: our requests that were refused as answers we had in hand foretold; ``surprises``: the others."""

    came_s: list
    overruns: int
    surprises: int


def run(schedule, seed):
    """Send as the budget allows until all requests are through."""
    return _Run(schedule, random.Random(seed)).run()


class _Run:
    def __init__(self, schedule, rng):
        self.plan = schedule
        self.rng = rng
        self.server = Server(
            [(-math.inf, schedule.rules), *schedule.changes],
            schedule.is_bucketed,
            list(schedule.strangers),
            schedule.phase_s,
        )
        self.budget = Budget(POLICY)
        self.events = []
        self.numbers = itertools.count()
        self.life = 0
        self.under_way = 0
        self.leases = {}
        self.known_s = -math.inf
        self.up_s = -math.inf
        self.wanted_s = 0.0
        self.outcome = Outcome([], 0, 0)

    def run(self):
        for at_s, down_s in self.plan.restarts:
            self.at(at_s, self.restart, down_s)
        now_s, left = 0.0, self.plan.requests
        while left or self.under_way or self.leases:
            may_s = math.inf
            if left and self.under_way < self.plan.at_once:
                may_s = self.budget.earliest(max(now_s, self.wanted_s))
            if self.events and self.events[0][0] <= may_s:
                now_s, _, act, what = heapq.heappop(self.events)
                act(now_s, what)
                continue
            if may_s > self.plan.horizon_s:
                break
            now_s = may_s
            if self.plan.leased and self.rng.random() < self.plan.leased and len(self.leases) < LEASES_MAX:
                self.lend(now_s)
            else:
                self.send(now_s)
            left -= 1
            self.wanted_s = now_s + (self.rng.expovariate(1 / self.plan.pause_s) if self.plan.pause_s else 0.0)
        return self.outcome

    def at(self, at_s, act, what):
        heapq.heappush(self.events, (at_s, next(self.numbers), act, what))

    def delay_s(self):
        spike_s = self.rng.uniform(0, 3) if self.rng.random() < self.plan.spikes else 0.0
        return self.plan.base_s + self.rng.uniform(0, self.plan.jitter_s) + spike_s

    def send(self, now_s):
        ticket = self.budget.sent(now_s)
        self.under_way += 1
        fate = self.rng.random()
        if fate < self.plan.lost / 2:  # it never gets there
            self.at(now_s + LOST_AFTER_S, self.give_up, (self.life, ticket))
            return
        self.at(now_s + self.delay_s(), self.arrive, (self.life, ticket, self.known_s, fate < self.plan.lost))

    def lend(self, now_s):
        """A job gets a lease: its request comes at any time, is answered by the end of the lease, or never sent."""
        lease = next(self.numbers)
        self.leases[lease] = (self.budget.sent(now_s), now_s)
        self.at(now_s + LEASE_S, self.expire, lease)
        fate = self.rng.random()
        came_s = now_s + self.rng.choice((0.05, 2.0, LEASE_S)) * self.rng.random()
        if fate >= self.plan.lost / 2:
            self.at(came_s, self.arrive_leased, (lease, self.known_s, self.rng.uniform(came_s, now_s + LEASE_S), fate))

    def arrive_leased(self, now_s, what):
        lease, known_s, reported_s, fate = what
        status, headers = self.server.arrive(now_s)
        self.outcome.came_s.append(now_s)
        if status == 429:
            self.judge(now_s, known_s, self.known_s)
        if fate >= self.plan.lost:
            headers = {} if self.rng.random() < self.plan.headerless else headers
            self.at(reported_s, self.report, (lease, status, headers, now_s))

    def report(self, now_s, what):
        lease, status, headers, came_s = what
        if lease in self.leases and now_s >= self.up_s:
            ticket, _ = self.leases.pop(lease)
            self.known_s = max(self.known_s, came_s) if headers else self.known_s
            self.budget.answered(ticket, now_s, status=status, report=parse(headers), jitter=self.rng.random())

    def expire(self, now_s, lease):
        if lease in self.leases:
            ticket, _ = self.leases.pop(lease)
            self.budget.lost(ticket, now_s)

    def arrive(self, now_s, what):
        life, ticket, known_s, is_lost = what
        status, headers = self.server.arrive(now_s)
        self.outcome.came_s.append(now_s)
        if status == 429:
            self.judge(now_s, known_s)
        if is_lost:
            self.at(now_s + LOST_AFTER_S, self.give_up, (life, ticket))
        else:
            headers = {} if self.rng.random() < self.plan.headerless else headers
            self.at(now_s + self.delay_s(), self.answer, (life, ticket, status, headers, now_s))

    def judge(self, now_s, known_s, later_s=None):
        """Was it foretold by what had been answered when the request left?

        ``later_s``: what is known now, of a lease. Limits it was given under may be gone, and be overrun by then.
        """
        told = [at_s for at_s in self.server.others if at_s <= known_s]
        was_told = known_s > -math.inf and self.server.is_over(now_s, self.server.rules(known_s), told)
        if later_s is not None:
            was_told = was_told and self.server.is_over(now_s, self.server.rules(later_s), told)
        self.outcome.overruns += was_told
        self.outcome.surprises += not was_told

    def answer(self, now_s, what):
        life, ticket, status, headers, came_s = what
        if life == self.life:
            self.under_way -= 1
            self.known_s = max(self.known_s, came_s) if headers else self.known_s
            self.budget.answered(ticket, now_s, status=status, report=parse(headers), jitter=self.rng.random())

    def give_up(self, now_s, what):
        life, ticket = what
        if life == self.life:
            self.under_way -= 1
            self.budget.lost(ticket, now_s)

    def restart(self, now_s, down_s):
        """The client dies with requests under way and comes back with what it had written down, leases apart."""
        kept = json.loads(json.dumps(self.budget.to_json([ticket for ticket, _ in self.leases.values()])))
        self.life += 1
        self.under_way = 0
        self.up_s = now_s + down_s
        self.budget = Budget.from_json(kept, now_s + down_s)
        self.leases = {lease: (self.budget.sent(sent_s), sent_s) for lease, (_, sent_s) in self.leases.items()}
        self.wanted_s = now_s + down_s


SHAPES = ("2:1:60", "15:10:60,30:300:300", "10:15:60,30:60:300", "5:10:60,10:60:300", "60:30:30")
"""Limits seen in the wild."""


def limits(text):
    return tuple(tuple(map(int, entry.split(":"))) for entry in text.split(","))


def random_rules(rng):
    """One or two rules, as seen or drawn."""
    found = []
    for name in rng.sample(("Ip", "Account", "Client"), rng.choice((1, 1, 2))):
        if rng.random() < 0.5:
            found.append(Rule(name, limits(rng.choice(SHAPES))))
            continue
        periods = sorted(rng.sample((1, 2, 4, 6, 10, 12, 15, 30, 45, 60, 90, 120, 300, 600), rng.choice((1, 2, 3))))
        hits = sorted(rng.randint(2, 40) for _ in periods)
        found.append(
            Rule(
                name, tuple((n, period_s, rng.choice((10, 60, 300))) for n, period_s in zip(hits, periods, strict=True))
            )
        )
    return found


def random_schedule(seed):
    """Network, others, restarts, lost answers and changes of shape, each in some of the schedules."""
    rng = random.Random(seed)
    rules = random_rules(rng)
    longest_s = max(limit[1] for rule in rules for limit in rule.limits)
    span_s = 5.0 * longest_s + 60
    plan = Schedule(rules, rng.random() < 0.5, rng.randint(30, 120), at_once=rng.choice((1, 1, 2, 4, 8)))
    plan.pause_s = rng.choice((0.0, 0.0, 0.5, longest_s / 20))
    plan.base_s, plan.jitter_s = rng.uniform(0.01, 0.2), rng.uniform(0, 0.3)
    plan.phase_s = rng.uniform(0, 60)
    if rng.random() < 0.6:
        tightest = min(limit[0] / limit[1] for rule in rules for limit in rule.limits)
        plan.strangers = strangers(rng, span_s * 3, tightest * rng.uniform(0.02, 0.4))
    if rng.random() < 0.3:
        plan.restarts = [
            (at_s, rng.uniform(0.1, longest_s)) for at_s in sorted(rng.uniform(0, span_s) for _ in range(2))
        ]
    if rng.random() < 0.3:
        plan.changes = [(at_s, random_rules(rng)) for at_s in sorted(rng.uniform(0, span_s) for _ in range(2))]
    plan.spikes, plan.headerless, plan.lost = (
        rng.choice((0, 0, 0.05)),
        rng.choice((0, 0, 0.1)),
        rng.choice((0, 0, 0.03)),
    )
    plan.leased = rng.choice((0, 0, 0.2, 0.6))
    return plan


def strangers(rng, span_s, rate_per_s):
    """Attempts of others: single ones and bursts."""
    found, at_s = [], rng.uniform(0, 0.2 * span_s)
    size = rng.choice((1, 1, 3, 6))
    while at_s < span_s:
        found += [at_s + n * rng.uniform(0.05, 0.5) for n in range(size)]
        at_s += rng.expovariate(rate_per_s / size)
    return sorted(found)


def best_s(rules, requests):
    """When the last of ``requests`` could come at the earliest, if nothing but the padded limits were in the way."""
    held = [(hits, period_s + bucket_s(period_s)) for rule in rules for hits, period_s, _ in rule.limits]
    came_s = []
    for number in range(requests):
        bounds = [came_s[number - hits] + hold_s for hits, hold_s in held if number >= hits]
        came_s.append(max([0.0, *bounds]))
    return came_s[-1]

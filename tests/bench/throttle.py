"""The rate limiter against servers that count by brute force: overruns, throughput, a recorded trace, hostile headers.

Run: python -m tests.bench.throttle
"""

import copy
import gzip
import json
import random
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ledgerd.upstream.budget import Budget
from ledgerd.upstream.headers import parse
from tests.ratelimits import POLICY, SHAPES, Rule, Schedule, Server, best_s, limits, random_rules, random_schedule, run

SCHEDULES = 2_000
SATURATED = 400
HOSTILE = 10_000
TRACE = Path(__file__).parents[3] / "shared" / "data" / "ratelimit" / "account-stash-trace.json.gz"


def overruns(seeds):
    """Random schedules: requests, overruns, and surprises by whether others or a change of shape can be their cause."""
    found = Counter()
    for seed in seeds:
        schedule = random_schedule(seed)
        outcome = run(schedule, seed)
        found["schedules"] += 1
        found["requests"] += len(outcome.came_s)
        found["overruns"] += outcome.overruns
        found["surprises"] += outcome.surprises
        if not schedule.strangers and not schedule.changes:
            found["quiet schedules"] += 1
            found["surprises in quiet schedules"] += outcome.surprises
    return found


def saturated(rules, is_bucketed, seed, requests, at_once):
    """Seconds for as many requests as fast as may be: the best there is, and ours."""
    rng = random.Random(seed)
    schedule = Schedule(rules, is_bucketed, requests, at_once=at_once, phase_s=rng.uniform(0, 60))
    schedule = replace(schedule, base_s=rng.uniform(0.02, 0.06), jitter_s=rng.uniform(0.01, 0.1))
    outcome = run(schedule, seed)
    assert (outcome.overruns, outcome.surprises) == (0, 0), schedule
    return best_s(rules, requests), max(outcome.came_s)


def throughput(seeds):
    """Our rate over the best any client could have under the same padded rules, over all of ``seeds`` together."""
    best = ours = 0.0
    for seed in seeds:
        rng = random.Random(seed)
        rules = random_rules(rng)
        requests = 4 * max(limit[0] for rule in rules for limit in rule.limits) + 1
        pair = saturated(rules, rng.random() < 0.5, seed, requests, rng.choice((1, 2, 4, 8)))
        best, ours = best + pair[0], ours + pair[1]
    return best / ours


def throughput_of(text, seeds):
    """The same for one rule; for ``2:1:60`` the padded rule is the rule itself."""
    pairs = [
        saturated([Rule("Ip", limits(text))], is_bucketed, seed, 6 * max(n for n, _, _ in limits(text)) + 1, at_once)
        for seed in seeds
        for is_bucketed in (False, True)
        for at_once in (1, 2, 4)
    ]
    return sum(best for best, _ in pairs) / sum(ours for _, ours in pairs)


def recorded():
    """The requests of the recorded trace, by policy in order; None where the recording is missing."""
    if not TRACE.exists():
        return None
    found = {}
    for record in json.loads(gzip.decompress(TRACE.read_bytes()))["records"]:
        if record["kind"] == "reply":
            found.setdefault(record["policy"], []).append(record)
    return found


def follow(records):
    """Give a budget the answers at their times: how many of the trace's own waits it would have cut, by brute force."""
    budget, sent, early = Budget(POLICY), [], 0
    for record in records:
        now_s = record["sent_ms"] / 1000
        early += budget.earliest(sent[-1] if sent else now_s) < brute_s(sent, record["headers"])
        ticket = budget.sent(now_s)
        sent.append(now_s)
        report = parse(record["headers"])
        budget.answered(ticket, record["received_ms"] / 1000, status=record["status"], report=report, jitter=0.5)
    return early


def brute_s(sent, headers):
    """When the limits in ``headers`` have room again at the earliest, had each request been counted as it was sent."""
    text = next(value for name, value in headers.items() if name.endswith("account"))
    return max([sent[-hits] + period_s for hits, period_s, _ in limits(text) if len(sent) >= hits], default=0.0)


def replay(records, is_bucketed, phase_s=0.0):
    """The same requests, with the delays recorded, as fast as the budget lets them: seconds won, and overruns.

    The counters recorded are those of sliding windows: no bucketed one of any phase shows the same.
    """
    text = next(value for name, value in records[0]["headers"].items() if name.endswith("account"))
    server = Server([(-1.0, [Rule("Account", limits(text))])], is_bucketed, phase_s=phase_s)
    budget, now_s, refused = Budget(POLICY), records[0]["sent_ms"] / 1000, 0
    for record in records:
        now_s = budget.earliest(now_s)
        ticket = budget.sent(now_s)
        delay_s = (record["received_ms"] - record["sent_ms"]) / 1000
        status, headers = server.arrive(now_s + delay_s / 2)
        refused += status == 429
        now_s += delay_s
        budget.answered(ticket, now_s, status=status, report=parse(headers), jitter=0.5)
    return records[-1]["received_ms"] / 1000 - now_s, refused


JUNK = ("", " ", "-1", "٣:١:٦٠", "１:1:1", "9" * 400, "1e9:1:1", "2:1", "2:1:60:9", ":::", "0:0:0", "nan:inf:0", "\x00",
        "\ud800", "2;1;60", "-2:1:60", "2:-1:60", "2:1:-60", "999999999:1:1", "1:999999999:1", "2:1:999999999999",
        "0x2:1:1", "+2:1:60", "2 :1: 60", "Ip", "1000000:1:0", "5:1:1,5:1:1", "é:1:1", "²:1:1")  # fmt: skip
NAMES = ("X-Rate-Limit-Policy", "X-Rate-Limit-Rules", "X-Rate-Limit-Ip", "X-Rate-Limit-Ip-State", "Retry-After",
         "X-Rate-Limit-Account", "X-Rate-Limit-Account-State", "X-Rate-Limit-", "X-Rate-Limit-State")  # fmt: skip
SOUND = {"X-Rate-Limit-Policy": POLICY, "X-Rate-Limit-Rules": "Ip,Account", "X-Rate-Limit-Ip": "8:10:60,15:60:300",
         "X-Rate-Limit-Ip-State": "3:10:0,7:60:0", "X-Rate-Limit-Account": "30:300:300",
         "X-Rate-Limit-Account-State": "9:300:0"}  # fmt: skip


def hostile(rng):
    """Header lines nobody should send: parts missing, doubled, garbled, enormous, in any case and order."""
    lines = [pair for pair in SOUND.items() if rng.random() < 0.8]
    for _ in range(rng.randint(1, 4)):
        entry = rng.choice(JUNK)
        if rng.random() < 0.1:
            entry = ",".join([rng.choice(JUNK), f"{rng.randint(0, 50)}:{rng.randint(0, 400)}:0"] * rng.randint(2, 4000))
        lines.append((rng.choice(NAMES), entry))
    if rng.random() < 0.3:
        number = rng.randrange(len(lines))
        lines[number] = (lines[number][0], "".join(rng.choice("0123456789:,- x") for _ in range(rng.randint(0, 40))))
    rng.shuffle(lines)
    return [(rng.choice((str.upper, str.lower, str.title))(name), value) for name, value in lines]


def used_budget(rng):
    """A budget that knows its limits and has spent some of them, as others have; and the time, unix seconds."""
    budget, now_s = Budget(POLICY), 1_000_000.0
    for number in range(rng.randint(1, 10)):
        now_s = budget.earliest(now_s) + rng.uniform(0, 3)
        ticket, others = budget.sent(now_s), rng.choice((0, 0, 4))
        now_s += 0.1
        said = SOUND | {"X-Rate-Limit-Account-State": f"{number + 1 + others}:300:0"}
        budget.answered(ticket, now_s, status=200, report=parse(said), jitter=0.5)
    return budget, now_s


def endure(count, seed=1):
    """``count`` hostile answers: how many shortened the wait an answer without headers would have left."""
    rng, shortened, checked = random.Random(seed), 0, 0
    budget, now_s = used_budget(rng)
    while checked < count:
        if rng.random() < 0.05:
            budget, now_s = used_budget(rng)
        now_s = budget.earliest(now_s) if rng.random() < 0.5 else now_s
        ticket = budget.sent(now_s)
        now_s += rng.uniform(0.01, 1)
        report, status = parse(hostile(rng)), rng.choice((200, 200, 404, 429, 503))
        plain = copy.deepcopy(budget)
        plain.answered(ticket, now_s, status=status, report=parse({}), jitter=0.5)
        budget.answered(ticket, now_s, status=status, report=report, jitter=0.5)
        if report.problems or not report.is_whole:
            checked += 1
            shortened += budget.earliest(now_s) < plain.earliest(now_s)
    return shortened


def main():
    began_s = time.perf_counter()
    found = overruns(range(SCHEDULES))
    print(f"random schedules        {found['schedules']}, {found['requests']} requests, half of the servers bucketed")
    print(f"overruns                {found['overruns']}")
    print(f"not to be foreseen      {found['surprises']} (others' requests and tightened limits no answer had told of)")
    print(f"  without either        {found['surprises in quiet schedules']} in {found['quiet schedules']} schedules")
    print(f"throughput, random      {throughput(range(SATURATED)):.1%} of the best under the padded rules")
    for text in SHAPES:
        print(f"  {text:22}{throughput_of(text, range(8)):.1%}" + (" of the unpadded rate" if text == "2:1:60" else ""))
    for policy, records in (recorded() or {}).items():
        won, refused = replay(records, is_bucketed=False)
        print(f"trace {policy:28}{len(records):4} requests: {follow(records)} earlier than its headers allow, "
              f"done {won:.1f} s before it, {refused} overruns")  # fmt: skip
    tracemalloc.start()
    shortened = endure(HOSTILE)
    print(f"hostile headers         {HOSTILE}: {shortened} shortened a wait, memory +"
          f"{tracemalloc.get_traced_memory()[1] / 2**20:.1f} MiB at most")  # fmt: skip
    print(f"took {time.perf_counter() - began_s:.0f} s")


if __name__ == "__main__":
    main()

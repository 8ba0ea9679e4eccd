"""The stand-in's limiter: it counts as upstream was seen to, bans when it must and says so in the documented words."""

from random import Random

import pytest

from ledgerd.sim.limits import Limiter, bucket_s, parse_limits

T = 1_787_088_600.0
ME = {"ip": "127.0.0.1"}


def limiter(*limits, policy="p", **options):
    return Limiter({policy: {"Ip": ",".join(limits)}}, **options)


def hit(subject, at_s, who=ME):
    return subject.hit("p", who, at_s)


def said(verdict):
    return dict(verdict.headers)


def test_headers_stand_in_the_documented_grammar_and_state_counts_this_request():
    subject = limiter("15:10:60", "30:300:300")
    hit(subject, T)

    assert said(hit(subject, T + 1)) == {
        "X-Rate-Limit-Policy": "p",
        "X-Rate-Limit-Rules": "Ip",
        "X-Rate-Limit-Ip": "15:10:60,30:300:300",
        "X-Rate-Limit-Ip-State": "2:10:0,2:300:0",
    }


def test_one_hit_too_many_is_refused_and_restricts():
    subject = limiter("2:1:60")
    verdicts = [hit(subject, T + n / 10) for n in range(3)]

    assert [verdict.passes for verdict in verdicts] == [True, True, False]
    assert said(verdicts[2])["X-Rate-Limit-Ip-State"] == "3:1:60"
    assert said(verdicts[2])["Retry-After"] == "60"


def test_requests_during_a_restriction_count_but_do_not_extend_it():
    subject = limiter("2:100:60")
    for _ in range(3):
        hit(subject, T)
    during = hit(subject, T + 30)
    last, after = hit(subject, T + 59.5), hit(subject, T + 60)

    assert said(during)["X-Rate-Limit-Ip-State"] == "4:100:30"
    assert said(last)["X-Rate-Limit-Ip-State"] == "5:100:1"
    assert not after.passes
    assert said(after)["X-Rate-Limit-Ip-State"] == "6:100:60", "over again, by the count: a new restriction"
    assert hit(limiter("2:1:60"), T).passes


def test_a_restriction_ends_to_the_second():
    subject = limiter("2:1:60")
    for _ in range(3):
        hit(subject, T)

    assert not hit(subject, T + 59.9).passes
    assert hit(subject, T + 60.9).passes


def counted(hits, now_s, period_s, windows):
    """By definition: hits whose moment, or whose whole bucket, has not left the window."""
    bucket = bucket_s(period_s) if windows == "bucketed" else 0
    if not bucket:
        return sum(at_s > now_s - period_s for at_s in hits)
    return sum((at_s // bucket + 1) * bucket > now_s - period_s for at_s in hits)


@pytest.mark.parametrize("windows", ["sliding", "bucketed"])
@pytest.mark.parametrize("rule", ["2:1:60", "15:10:60,30:300:300", "5:10:60,10:60:300", "3:7:5,4:120:20,1000:3000:10"])
def test_every_verdict_and_every_state_equals_brute_force(windows, rule):
    rng, limits = Random(f"{windows}{rule}"), parse_limits(rule)
    for _ in range(12):
        subject, hits, banned, now_s = limiter(rule, windows=windows), [], {}, T + rng.random()
        pace_s = rng.choice([0.2, 1.0, 4.0, 11.0])
        for _ in range(120):
            now_s += rng.choice([0.0, 1.0, 5.0, rng.random()]) * pace_s
            verdict = hit(subject, now_s)
            hits.append(now_s)
            counts = [counted(hits, now_s, limit.period_s, windows) for limit in limits]
            free = all(until_s <= now_s for until_s in banned.values())
            over = [limit for limit, count in zip(limits, counts, strict=True) if count > limit.hits]
            banned |= {limit.period_s: now_s + limit.restriction_s for limit in over} if free else {}
            left = [max(0, -int(-(banned.get(limit.period_s, now_s) - now_s) // 1)) for limit in limits]
            state = ",".join(f"{n}:{li.period_s}:{s}" for n, li, s in zip(counts, limits, left, strict=True))

            assert verdict.passes == (free and not over)
            assert said(verdict)["X-Rate-Limit-Ip-State"] == state
            assert said(verdict).get("Retry-After") == (None if verdict.passes else str(max(1, *left)))


def test_a_request_spaced_exactly_by_the_period_collides_in_buckets_alone():
    paces = [T + 3 + n * 5.0 for n in range(20)]
    sliding, bucketed = limiter("2:10:60"), limiter("2:10:60", windows="bucketed")

    assert {hit(sliding, at_s).passes for at_s in paces} == {True}
    assert {hit(bucketed, at_s).passes for at_s in paces} == {True, False}


def test_a_second_is_counted_exactly_whatever_the_buckets():
    subject = limiter("2:1:60", windows="bucketed")

    assert {hit(subject, T + n * 0.5).passes for n in range(40)} == {True}


def test_limits_change_for_what_was_already_sent():
    subject = limiter("10:10:60")
    for _ in range(5):
        hit(subject, T)
    subject.change("p", {"Ip": "3:10:60", "Client": "9:60:1"})
    verdict = hit(subject, T + 1)

    assert not verdict.passes
    assert said(verdict)["X-Rate-Limit-Rules"] == "Ip,Client"
    assert said(verdict)["X-Rate-Limit-Ip-State"] == "6:10:60"


def test_an_ordered_ban_and_a_lying_retry_after():
    subject = limiter("2:1:60")
    subject.ban("p", ME, 90, T)
    subject.retry_after_s = 1
    verdict = hit(subject, T + 10)

    assert not verdict.passes
    assert said(verdict)["X-Rate-Limit-Ip-State"] == "1:1:80"
    assert said(verdict)["Retry-After"] == "1"


def test_others_are_other_books():
    subject = limiter("1:10:60")

    assert [hit(subject, T, {"ip": name}).passes for name in ("a", "b", "a")] == [True, True, False]


def test_ordered_foreign_hits_count_and_do_not_ban_by_themselves():
    subject = limiter("5:10:60")
    subject.foreign("p", ME, 4, T)

    assert said(hit(subject, T + 1))["X-Rate-Limit-Ip-State"] == "5:10:0"
    assert not hit(subject, T + 1).passes


def test_foreign_traffic_comes_at_its_rate_and_keeps_the_limits_itself():
    subject = limiter("1000:100:60", foreign_rate=0.5)
    busy = int(said(hit(subject, T))["X-Rate-Limit-Ip-State"].split(":")[0]) - 1
    tight = limiter("3:10:60", foreign_rate=5.0)
    states = [said(hit(tight, T + 40 * n))["X-Rate-Limit-Ip-State"] for n in range(50)]

    assert 30 < busy < 75
    assert {state.split(":")[0] for state in states} <= {"1", "2", "3", "4"}
    assert said(hit(limiter("9:100:60", foreign_rate=0.5, seed=2), T)) == said(
        hit(limiter("9:100:60", foreign_rate=0.5, seed=2), T)
    )


@pytest.mark.parametrize(
    ("style", "name"),
    [("lower", "x-rate-limit-ip-state"), ("upper", "X-RATE-LIMIT-IP-STATE"), ("mixed", "x-rAtE-LiMiT-Ip-sTaTe")],
)
def test_header_names_come_in_every_case(style, name):
    subject = limiter("2:1:60")
    subject.style = style

    assert name in said(hit(subject, T))


def test_headers_can_be_left_out():
    subject = limiter("2:1:60")
    subject.style = "none"

    assert hit(subject, T).headers == ()


def test_memory_is_bounded_by_what_is_counted():
    subject = limiter("2:1:1")
    for n in range(30_000):
        hit(subject, T + n)
    (book,) = subject._books.values()

    assert len(book.hits) <= 3601


@pytest.mark.parametrize("text", ["", "2:1", "a:1:2", "2:0:1", "2:1:60,", "-1:1:1", "2:1:60:5"])
def test_other_grammars_are_refused(text):
    with pytest.raises(ValueError, match="expected hits:period:restriction"):
        parse_limits(text)


def test_an_unknown_policy_is_refused_with_the_list():
    with pytest.raises(ValueError, match="unknown policy 'q': expected one of p"):
        limiter("2:1:60").change("q", {"Ip": "2:1:60"})

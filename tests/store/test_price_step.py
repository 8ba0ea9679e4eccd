"""Prices: an hour's own value blended with the hours before it, as far as it is unsure."""

import itertools
import math
import random
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ledgerd.chaos_scale.normalise import Tick, normalise
from ledgerd.clock import SystemClock
from ledgerd.etl.tasks import run_task
from ledgerd.sim.market import Market
from ledgerd.sim.world import load_ids
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import schema_root
from tests.store.exchange_rows import CHAOS, DIVINE
from tests.store.refining import HOUR_S, NORM_COLUMNS, SCALE, TABLES, blended, task_of

LEAGUE = "Standard"
FIELDS = ("volume_traded", "lowest_stock", "highest_stock", "lowest_ratio", "highest_ratio")


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    return engine


@dataclass(frozen=True)
class Hour:
    """One hour's own row: hours are counted from `HOUR_S`."""

    at: int
    chaos: float | None
    log_sd: float | None
    confidence: float = 0.5
    divine: float | None = None
    currency: str = "x"
    league: str = LEAGUE


def row(hour):
    key = ("poe2", hour.league, HOUR_S + hour.at * 3600, hour.currency)
    return (*key, hour.chaos, hour.divine, 9, 9.0, 3, 0.1, hour.confidence, hour.log_sd, False, f"b-{hour.at}", HOUR_S)


async def price(db, *hours, at=20):
    """(chaos, divine, confidence, rests_on_hours) of hour ``at`` after those hours, and nothing else, are in silver."""
    for table in TABLES:
        await db.execute(f"TRUNCATE TABLE {table}")
    await db.insert("silver_currency_norm", NORM_COLUMNS, [row(hour) for hour in hours], token=repr(hours))
    await run_task(db, task_of("silver_currency_price", at, at + 1), SCALE)
    found = await db.rows("SELECT chaos_value, divine_value, confidence, rests_on_hours FROM silver_currency_price")
    return found[0] if found else None


def near(sd):
    """Mass of a Student-t of 5 degrees within 15 %."""
    angle = math.atan(math.log(1.15) / (0.82 * sd * math.sqrt(5)))
    return (angle + math.sin(angle) * math.cos(angle) * (1 + math.cos(angle) ** 2 * 2 / 3)) * 2 / math.pi


def by_hand(hours, at=20):
    """What the step is to make of one currency's hours."""
    now = next(hour for hour in hours if hour.at == at)
    known = [hour for hour in sorted(hours, key=lambda h: -h.at) if at - 11 <= hour.at <= at and hour.chaos]
    moves = [math.log(hour.chaos / now.chaos) for hour in known]
    variances = []
    for hour, move in zip(known, moves, strict=True):
        usual = 0.4 * hour.log_sd**2 + 0.04**2 * (at - hour.at)
        variances.append(usual + 5 * max(0.0, move**2 - 4 * (usual + 0.4 * now.log_sd**2)))
    precision = sum(1 / variance for variance in variances)
    weights = [1 / variance / precision for variance in variances]
    shift = sum(weight * move for weight, move in zip(weights, moves, strict=True))
    mean_sd = sum(weight * hour.log_sd for weight, hour in zip(weights, known, strict=True))
    scatter = sum(weight * (move - shift) ** 2 for weight, move in zip(weights, moves, strict=True))
    sd = math.sqrt(0.6 * mean_sd**2 + 1 / precision + 0.4 * scatter)
    confidence = near(sd) + weights[0] * (now.confidence - near(now.log_sd))
    confidence = round(min(max(confidence, 0.0), 1.0), 4)
    return now.chaos * math.exp(shift), confidence, sum(weight >= 0.05 for weight in weights)


async def test_the_blend_is_the_one_counted_by_hand(db):
    rng = random.Random(3)
    for _ in range(5):
        hours = [
            Hour(at, rng.lognormvariate(1.0, 0.4), rng.lognormvariate(-2.0, 0.8), rng.random())
            for at in range(5, 20)
            if rng.random() < 0.7
        ]
        hours.append(Hour(20, rng.lognormvariate(1.0, 0.4), rng.lognormvariate(-2.0, 0.8), rng.random()))
        chaos, _, confidence, rests_on = await price(db, *hours)

        assert (chaos, confidence, rests_on) == (
            pytest.approx(by_hand(hours)[0], rel=1e-12),
            pytest.approx(by_hand(hours)[1], abs=1.1e-4),
            by_hand(hours)[2],
        )


async def test_an_hour_alone_is_itself_to_the_last_bit(db):
    assert await price(db, Hour(20, 0.1 + 0.2, 0.7, 0.1234, divine=0.007)) == (0.1 + 0.2, 0.007, 0.1234, 1)


async def test_a_sure_hour_is_itself_whatever_the_hours_before_it_said(db):
    before = [Hour(at, 10.4, 0.2) for at in range(9, 20)]
    chaos, _, confidence, rests_on = await price(db, *before, Hour(20, 10.0, 0.008, 0.9991))

    assert chaos == pytest.approx(10.0, rel=0.001)
    assert confidence == pytest.approx(0.9991, abs=0.001)
    assert rests_on == 1


async def test_a_deep_currency_moves_with_its_market(db):
    before = [Hour(at, 10.0, 0.01, 0.999) for at in range(9, 20)]
    chaos, _, confidence, _ = await price(db, *before, Hour(20, 10.2, 0.01, 0.999))

    assert chaos == pytest.approx(10.2, rel=0.002)
    assert confidence > 0.99


@pytest.mark.parametrize("log_sd", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("jump", [0.2, 0.7, 1.5, 5.0])
async def test_a_jump_is_followed_at_once(db, jump, log_sd):
    before = [Hour(at, 10.0, log_sd, 0.95) for at in range(9, 20)]
    chaos, _, confidence, _ = await price(db, *before, Hour(20, 10.0 * jump, log_sd, 0.95))

    assert chaos == pytest.approx(10.0 * jump, rel=0.05)
    assert confidence > 0.8


async def test_equal_unsure_hours_are_surer_than_one_but_less_than_independent_ones_would_be(db):
    one, *more = [await price(db, *(Hour(20 - age, 10.0, 0.2, 0.55) for age in range(n))) for n in (1, 2, 3, 12)]
    confidences = [one[2], *(each[2] for each in more)]

    assert confidences == sorted(set(confidences))
    for n, each in zip((2, 3, 12), more, strict=True):
        assert each[0] == pytest.approx(10.0, rel=1e-12)
        assert each[2] < near(0.2 / math.sqrt(n))


async def test_hours_that_scatter_are_less_sure_than_hours_that_agree(db):
    agreed = await price(db, *(Hour(at, 10.0, 0.2) for at in range(9, 21)))
    torn = await price(db, *(Hour(at, 10.0 * (1.4 if at % 2 else 0.7), 0.2) for at in range(9, 21)))

    assert torn[2] < agreed[2] - 0.02


async def test_gaps_only_age_what_lies_behind_them(db):
    fresh = await price(db, Hour(19, 12.0, 0.2), Hour(20, 10.0, 0.2))
    old = await price(db, Hour(9, 12.0, 0.2), Hour(20, 10.0, 0.2))

    assert 10.0 < old[0] < fresh[0] < 11.0
    assert old[2] < fresh[2]
    assert await price(db, Hour(8, 12.0, 0.2), Hour(20, 10.0, 0.2)) == (10.0, None, 0.5, 1)


async def test_only_hours_of_the_same_currency_and_league_up_to_now_count(db):
    strangers = [Hour(19, 99.0, 0.1, currency="y"), Hour(19, 99.0, 0.1, league="Other"), Hour(21, 99.0, 0.1)]

    assert await price(db, *strangers, Hour(20, 10.0, 0.2)) == (10.0, None, 0.5, 1)


async def test_a_currency_that_did_not_trade_gets_no_price_and_one_without_value_none_from_before(db):
    assert await price(db, Hour(19, 10.0, 0.2)) is None
    assert await price(db, Hour(19, 10.0, 0.2), Hour(20, None, None, 0.0)) == (None, None, 0.0, 0)
    assert await price(db, Hour(19, None, None, 0.0), Hour(20, 10.0, 0.2)) == (10.0, None, 0.5, 1)


async def test_a_value_in_divines_alone_stays_the_hours_own(db):
    before = [Hour(at, None, 0.2, divine=3.0) for at in range(9, 20)]

    assert await price(db, *before, Hour(20, None, 0.2, 0.6, divine=2.0)) == (None, 2.0, 0.6, 1)


async def test_a_divine_orb_stays_one_divine_and_chaos_one_chaos(db):
    chaos = [Hour(at, 1.0, 0.0, 1.0, divine=1 / (150 + at)) for at in range(9, 21)]
    divine = [Hour(at, 150.0 + at, 0.02, 0.99, divine=1.0) for at in range(9, 21)]

    assert (await price(db, *chaos))[0] == 1.0
    assert (await price(db, *chaos))[2] == 1.0
    assert (await price(db, *divine))[1] == 1.0


async def test_prices_hash_alike_for_any_order_of_rows_threads_and_merges(db):
    rng = random.Random(5)
    hours = [
        Hour(at, rng.lognormvariate(2.0, 0.3), rng.lognormvariate(-2.0, 0.8), rng.random(), None, f"c{n}")
        for n, at in itertools.product(range(40), range(30))
        if rng.random() < 0.8
    ]
    hashes = set()
    for turn in range(3):
        await db.execute("TRUNCATE TABLE silver_currency_norm")
        rng.shuffle(hours)
        for part in range(4):
            rows = [row(hour) for hour in hours[part::4]]
            await db.insert("silver_currency_norm", NORM_COLUMNS, rows, token=f"{turn}-{part}")
        for threads, block in ((1, 65_000), (4, 65_000), (4, 11)):
            hashes.add(await hash_of(db, threads, block))
        await db.execute("OPTIMIZE TABLE silver_currency_norm FINAL")
        hashes.add(await hash_of(db, 4, 100))

    assert len(hashes) == 1
    assert hashes.pop()[1] == len(hours)


async def hash_of(db, threads, block):
    sql = task_of("silver_currency_price", 0, 30).step.sql
    hour_from, hour_to = (datetime.fromtimestamp(HOUR_S + at * 3600, UTC) for at in (0, 30))
    params = {"realm": "poe2", "hour_from": hour_from, "hour_to": hour_to}
    settings = {"max_threads": threads, "max_block_size": block}
    rows = await db.rows(f"SELECT groupBitXor(cityHash64(*)), count() FROM ({sql})", params, settings=settings)
    return rows[0]


def window(realm, league, seed, last, hours=12):
    """The big league's hours up to ``last`` (unix seconds), and the true values of the last."""
    ids = load_ids(schema_root() / "reference" / "currencies.tsv", "poe2" if realm == "poe2" else "poe1")
    market = Market(seed, realm, ids)
    market._pairs = {name: pairs if name == league else () for name, pairs in market._pairs.items()}
    found = {}
    for hour in range(last - 3600 * (hours - 1), last + 1, 3600):
        ticks = [
            Tick(*one["market_pair"], *(one[field][id_] for field in FIELDS for id_ in one["market_pair"]))
            for one in market.hour(hour)["markets"]
        ]
        found[hour] = {league: normalise(ticks, chaos=SCALE.chaos, divine=SCALE.divine)}
    return found, market.truth(league, last)


@pytest.mark.parametrize(("realm", "league", "reach"), [("pc", "Allflame", 0.53), ("poe2", "Runes of Aldur", 0.42)])
async def test_in_an_unseen_hour_of_the_stand_in_prices_keep_their_word_and_more_of_them_are_sure(
    db, realm, league, reach
):
    """60 % of what sells a hundred units is wanted at 95 % within 15 %; what is met stands in docs/chaos-scale.md."""
    hours, truth = window(realm, league, 4201, 1_799_010_000, hours=8)
    alone = {norm.currency: norm for norm in hours[max(hours)][league]}
    prices = [norm for norm in (await blended(db, realm, hours))[league] if norm.currency not in {CHAOS, DIVINE}]
    sure = [norm for norm in prices if norm.confidence >= 0.8]
    right = statistics.fmean(abs(norm.chaos_value / truth[norm.currency] - 1) <= 0.15 for norm in sure)
    busy = [norm for norm in prices if norm.units >= 100]
    reached = statistics.fmean(norm.confidence >= 0.8 for norm in busy)

    assert len(sure) >= 80
    assert right >= 0.93
    assert reached >= reach
    assert reached >= statistics.fmean(alone[norm.currency].confidence >= 0.8 for norm in busy) + 0.03

"""/status never flatters: whatever is not well shows in the state and in the reasons."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ledgerd.config import Config, Realm, Roles
from ledgerd.errors import StoreUnavailable
from ledgerd.harvest.harvest import Harvest, Strand
from ledgerd.report import BACKLOG_AGE_S, FAR_BEHIND_BATCHES, FAR_BEHIND_S, Report
from ledgerd.spool.spool import SpoolFigures
from ledgerd.status import EtlState, EtlStatus, SourceState, StoreState
from ledgerd.store.engine import EngineInfo
from ledgerd.supervise import State
from tests.clocks import ManualClock
from tests.prices import source

STEP = EtlStatus("silver_exchange_ticks", "exchange-pc", None, EtlState.OK, 41, 0, 0.0, None, None, None)
LANE = replace(STEP, step="silver_listings", source="river-pc", league="Mirage")
FIGURES = SpoolFigures(pages=0, bytes=0, bytes_max=1 << 20, retired_bytes=0, oldest_age_s=None, state="ok")


class Engine:
    is_open = True

    @property
    def info(self):
        if not self.is_open:
            raise StoreUnavailable("The embedded engine is not open.")
        return EngineInfo("embedded", "26.9")


class World:
    """A daemon that is well, and everything a test may turn."""

    def __init__(self, **roles):
        self.clock = ManualClock()
        self.engine = Engine()
        self.figures = FIGURES
        self.sources = [source()]
        self.steps = [STEP]
        self.troubles = {"exchange-pc": "", "writer-exchange-pc": "", "etl": "", "ledger": ""}
        self.stalled = []
        self.report = Report(
            self.clock,
            engine=self.engine,
            spool=SimpleNamespace(figures=lambda: self.figures),
            harvest=SimpleNamespace(sources=lambda: self.sources, lanes=list),
            etl=SimpleNamespace(status=lambda: self.steps),
            supervisor=SimpleNamespace(
                names=lambda: list(self.troubles), trouble=self.troubles.get, stalled=lambda limit_s: self.stalled
            ),
            roles=Roles(**roles),
            monotonic=self.clock.now,
        )
        self.report.has_started = True

    def tell(self):
        status = self.report.status()
        return status.state.value, status.reasons


@pytest.fixture
def world():
    return World()


def test_a_daemon_in_which_all_is_well_is_ok_and_gives_no_reasons(world):
    assert world.tell() == ("ok", [])


@pytest.mark.parametrize("state", SourceState)
def test_a_source_that_needs_attention_degrades_and_one_that_does_not_does_not(world, state):
    world.sources = [source(state=state, last_error="refused 3 times")]
    well = state in {"starting", "catching_up", "live", "standby", "off"}

    assert world.tell() == (("ok", []) if well else ("degraded", [f"exchange-pc is {state.value}: refused 3 times"]))


def test_a_stalled_source_says_since_when(world):
    world.sources = [source(state=SourceState.STALLED, stalled_since="2025-10-09T09:00:00Z")]

    assert world.tell()[1] == ["exchange-pc is stalled since 2025-10-09T09:00:00Z: no error is known"]


def test_a_failing_step_degrades_with_its_error(world):
    world.steps = [replace(STEP, state=EtlState.FAILING, behind=1, last_error="no memory")]

    assert world.tell() == ("degraded", ["silver_exchange_ticks of exchange-pc is failing: no memory"])


@pytest.mark.parametrize(("behind", "state"), [(FAR_BEHIND_BATCHES, "ok"), (FAR_BEHIND_BATCHES + 1, "degraded")])
def test_a_step_may_be_behind_but_not_far(world, behind, state):
    world.steps = [replace(STEP, state=EtlState.BEHIND, behind=behind)]

    assert world.tell()[0] == state


@pytest.mark.parametrize(
    ("behind", "behind_s", "state"),
    [
        (9999, FAR_BEHIND_S, "ok"),
        (1, FAR_BEHIND_S + 1, "degraded"),
        (0, 0.0, "ok"),
        (FAR_BEHIND_BATCHES, None, "ok"),
        (FAR_BEHIND_BATCHES + 1, None, "degraded"),
    ],
)
def test_a_lane_is_far_behind_by_time_for_its_batches_are_seconds(world, behind, behind_s, state):
    world.steps = [replace(LANE, behind=behind, behind_s=behind_s)]

    assert world.tell()[0] == state


def test_of_a_source_that_is_far_behind_the_worst_is_named_and_of_lanes_that_fail_each(world):
    late = [replace(LANE, league=league, behind=n, behind_s=5000.0) for n, league in enumerate("ABC", 1)]
    broken = [replace(LANE, league=league, state=EtlState.FAILING, last_error="no column") for league in "DE"]
    world.steps = [STEP, *late, *broken]

    assert world.tell()[1] == [
        "silver_listings of river-pc, D, is failing: no column",
        "silver_listings of river-pc, E, is failing: no column",
        "silver_listings of river-pc, C, is 3 batches behind",
    ]


def test_a_page_that_waits_too_long_is_a_backlog_however_small(world):
    world.figures = replace(FIGURES, pages=1, bytes=10, oldest_age_s=BACKLOG_AGE_S + 1)

    assert world.report.status().spool.state.value == "backlogged"
    assert world.tell() == ("degraded", ["the spool is backlogged: 1 pages wait, the oldest for 601 s"])


def test_a_full_spool_degrades(world):
    world.figures = replace(FIGURES, state="full", pages=9, oldest_age_s=4.0)

    assert world.tell() == ("degraded", ["the spool is full: 9 pages wait, the oldest for 4 s"])


def test_an_engine_that_is_closed_or_does_not_answer_degrades(world):
    world.report.store_error = "it took longer than 10 s"
    slow = world.tell()
    world.engine.is_open = False

    assert slow == ("degraded", ["the store is unavailable: it took longer than 10 s"])
    assert world.tell() == ("degraded", ["the store is unavailable: The embedded engine is not open."])
    assert world.report.status().store.state is StoreState.UNAVAILABLE


def test_any_service_that_failed_and_has_not_recovered_degrades(world):
    world.troubles["ledger"] = "KeyError: 'hour'"

    assert world.tell() == ("degraded", ["ledger has failed: KeyError: 'hour'"])


def test_an_error_the_source_shows_already_is_not_told_twice(world):
    world.sources = [source(state=SourceState.WAITING, last_error="disk full")]
    world.troubles |= {"writer-exchange-pc": "disk full", "etl": "disk full"}

    assert world.tell() == ("degraded", ["exchange-pc is waiting: disk full"])


def test_a_service_that_makes_no_progress_degrades(world):
    world.stalled = ["etl"]

    assert world.tell() == ("degraded", ["etl has made no progress for more than 300 s"])


def test_a_refused_reload_degrades_until_one_is_taken(world):
    world.report.last_reload_error = "http.listen cannot change while running."
    refused = world.tell()
    world.report.reloaded()

    assert refused == ("degraded", ["the last reload was refused: http.listen cannot change while running."])
    assert world.tell() == ("ok", [])
    assert world.report.status().config.generation == 2


def test_every_part_that_is_not_well_is_told_and_not_only_the_worst(world):
    world.sources = [source(state=SourceState.REFUSED), source(name="exchange-poe2", state=SourceState.DEGRADED)]
    world.steps = [replace(STEP, state=EtlState.FAILING)]

    assert len(world.tell()[1]) == 3


def test_before_the_start_is_done_and_after_the_stop_was_asked_for_it_says_so(world):
    world.report.has_started = False
    starting = world.tell()
    world.report.is_stopping = True

    assert starting == ("starting", [])
    assert world.tell() == ("stopping", [])


def test_a_role_that_is_off_has_no_part_in_the_account():
    world = World(harvest=False, etl=False)
    world.sources = [source(state=SourceState.REFUSED)]
    world.steps = [replace(STEP, state=EtlState.FAILING)]
    status = world.report.status()

    assert (status.state.value, status.sources, status.etl) == ("ok", [], [])


async def test_uptime_counts_real_seconds(world):
    await world.clock.advance(90)

    assert world.report.status().uptime_s == 90.0


class Strands:
    """A harvest of one source, whose services are in the trouble a test says."""

    def __init__(self, state=SourceState.LIVE, refused="", **troubles):
        self.harvest = Harvest.__new__(Harvest)
        self.harvest._config = Config()
        self.harvest._supervisor = SimpleNamespace(
            names=lambda: ["exchange-pc", "writer-exchange-pc"],
            state=lambda name: State.REFUSED if name == refused else State.RUNNING,
            last_error=lambda name: "an earlier error",
            trouble=lambda name: troubles.get(name.partition("-")[0], ""),
        )
        told = SimpleNamespace(
            name="exchange-pc",
            status=lambda why: source(state=SourceState.REFUSED if why else state, last_error=why),
        )
        self.harvest._claims = None
        self.harvest._leaving = []
        self.harvest._strands = {"exchange-pc": Strand(told, SimpleNamespace(name="writer-exchange-pc"))}

    def tell(self):
        (only,) = self.harvest.sources()
        return only.state.value, only.last_error


def test_an_exchange_that_is_switched_off_is_shown_as_off():
    harvest = Strands().harvest
    harvest._config = Config(realms=(Realm(name="pc"), Realm(name="poe2", exchange=False)))

    assert [(each.name, each.state.value) for each in harvest.sources()] == [
        ("exchange-pc", "live"),
        ("exchange-poe2", "off"),
    ]


def test_a_source_whose_pages_nobody_stores_is_waiting():
    assert Strands(writer="disk full").tell() == ("waiting", "disk full")


def test_a_source_that_crashed_is_degraded_though_its_last_answer_was_good():
    assert Strands(exchange="KeyError: 'hour'").tell() == ("degraded", "KeyError: 'hour'")


def test_a_source_whose_writer_was_refused_is_refused():
    assert Strands(refused="writer-exchange-pc").tell() == ("refused", "an earlier error")


def test_what_a_source_says_of_itself_is_not_bettered_by_its_writer():
    assert Strands(SourceState.DEGRADED, writer="disk full").tell()[0] == "degraded"

"""Several ledgerd on one server: what another harvests is neither begun by a reload nor taken by hand."""

import random
from types import SimpleNamespace

import pytest

from ledgerd.config.load import load
from ledgerd.errors import StoreLocked, UpstreamUnavailable
from ledgerd.harvest.claims import RENEW_S
from ledgerd.harvest.harvest import Harvest
from ledgerd.spool.spool import Spool
from ledgerd.status import SourceState
from ledgerd.store.engine import SERVER
from ledgerd.store.queries import load_queries
from ledgerd.supervise import Supervisor
from tests.clocks import ManualClock
from tests.unit.config_files import write

RIVER = "river-pc"
OTHER = "elsewhere, process 7"


class Server:
    """An engine that is a server, empty but for who claimed what first."""

    def __init__(self):
        self.info = SimpleNamespace(name=SERVER, version="26")
        self.rivals = {}
        self.executed = []
        self.on_checkpoint = lambda: None

    async def rows(self, sql, params=None, **_):
        if sql == load_queries()["last_checkpoint"]:
            self.on_checkpoint()
        if sql != load_queries()["claimants"]:
            return []
        return [(name, "another", host) for name, host in self.rivals.items() if name in params["sources"]]

    async def execute(self, sql, params=None, **_):
        self.executed.append((sql, params["sources"]))

    async def insert(self, *_, **__):
        """Keep nothing."""


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def configured(tmp_path):
    def make(*, river):
        text = f"""
[upstream]
api_url = "http://127.0.0.1:9"
auth_url = "http://127.0.0.1:9/oauth"
client_id = "ledgerd"
[[realm]]
name = "pc"
exchange = false
river = {str(river).lower()}
"""
        path = write(tmp_path, f'daemon.data_dir = "{tmp_path / "data"}"\n{text}')
        return load(path, {"POE_OAUTH_CLIENT_SECRET": "secret"}).config

    return make


@pytest.fixture
async def made(tmp_path, server, configured):
    clock, rng = ManualClock(), random.Random(1)
    supervisor = Supervisor(clock, rng)
    spool = Spool(tmp_path / "spool", bytes_max=1 << 20, retain_s=0, clock=clock)
    spool.open()
    harvest = Harvest(
        configured(river=False),
        engine=server,
        spool=spool,
        supervisor=supervisor,
        clock=clock,
        rng=rng,
        on_commit=lambda _: None,
    )
    yield SimpleNamespace(harvest=harvest, supervisor=supervisor, clock=clock)
    await supervisor.stop_all([], 5)
    await harvest.close()
    spool.close()


async def test_a_source_a_reload_adds_stands_by_from_the_start_where_another_has_it(made, server, configured):
    await made.harvest.open()
    server.rivals = {RIVER: OTHER}
    new = configured(river=True)
    made.harvest.adopt(new, await made.harvest.prepare(new))
    [status] = [each for each in made.harvest.sources() if each.name == RIVER]

    assert (status.state, status.last_error) == (SourceState.STANDBY, f"{OTHER} harvests it")
    assert RIVER not in made.supervisor.names()

    server.rivals = {}
    await made.clock.advance(RENEW_S + 1)
    assert made.supervisor.is_alive(RIVER)


async def test_a_source_switched_off_while_it_is_taken_over_stays_off(made, server, configured):
    await made.harvest.open()
    server.rivals = {RIVER: OTHER}
    on, off = configured(river=True), configured(river=False)
    made.harvest.adopt(on, await made.harvest.prepare(on))
    server.rivals = {}
    server.on_checkpoint = lambda: made.harvest.adopt(off, [])
    await made.clock.advance(RENEW_S + 1)

    assert RIVER not in made.supervisor.names()
    assert [each.name for each in made.harvest.sources()] == ["exchange-pc"]


async def test_a_source_switched_off_is_told_of_until_it_has_ended(made, configured):
    await made.harvest.open()
    on, off = configured(river=True), configured(river=False)
    made.harvest.adopt(on, await made.harvest.prepare(on))
    unwanted = made.harvest.adopt(off, [])

    assert [each.name for each in made.harvest.sources()] == [RIVER, "exchange-pc"]

    await made.harvest.drop(unwanted)
    assert [each.name for each in made.harvest.sources()] == ["exchange-pc"]


async def test_a_page_another_harvests_is_not_kept_by_hand(made, server, configured):
    server.rivals = {RIVER: OTHER}
    with pytest.raises(StoreLocked, match=OTHER) as caught:
        await made.harvest.once("river", configured(river=True).realms[0])

    assert caught.value.hint.endswith("ledgerd harvest --realm pc --source river --once --dry-run")


async def test_a_page_by_hand_is_claimed_and_left_however_it_ends(made, server, configured):
    with pytest.raises(UpstreamUnavailable):
        await made.harvest.once("river", configured(river=True).realms[0])

    queries = load_queries()
    assert server.executed == [*[(queries["claim"], [RIVER])] * 2, (queries["unclaim"], [RIVER])]

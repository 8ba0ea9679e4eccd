"""How the daemon is: ``/status``, ``/healthz``, ``/readyz`` and ``/metrics``."""

from collections.abc import Iterator

from aiohttp import web

from ledgerd.status import DaemonState, SourceState, StoreState
from ledgerd.web.answers import answer
from ledgerd.web.deps import DEPS, Deps
from ledgerd.web.metrics import LedgerdCollector, exposition

NO_STORE = {"Cache-Control": "no-store"}


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/status", get_status),
        web.get("/healthz", get_healthz),
        web.get("/readyz", get_readyz),
        web.get("/metrics", get_metrics),
    ]


async def get_status(request: web.Request) -> web.Response:
    """All of `ledgerd.status.Status`; 200 whatever it says, and it waits for nothing."""
    return answer(request.app[DEPS].status(), headers=NO_STORE)


async def get_healthz(request: web.Request) -> web.Response:
    """200 while the loop runs: it is this answer that shows it."""
    return answer({"ok": True}, headers=NO_STORE)


async def get_readyz(request: web.Request) -> web.Response:
    """200 if questions can be answered, 503 with the reasons why not."""
    unready = list(_unready(request.app[DEPS]))
    return answer({"ready": not unready, "reasons": unready}, 503 if unready else 200, NO_STORE)


async def get_metrics(request: web.Request) -> web.Response:
    """Counters and gauges in Prometheus' or OpenMetrics' text format."""
    deps = request.app[DEPS]
    collector = LedgerdCollector(deps.status, deps.ledger, deps.clock)
    body, content_type = exposition(collector, request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type, **NO_STORE})


def _unready(deps: Deps) -> Iterator[str]:
    """Why questions cannot be answered now. Without any source switched on, an empty ledger is as it should be."""
    status = deps.status()
    if status.state in {DaemonState.STARTING, DaemonState.STOPPING}:
        yield f"the daemon is {status.state.value}"
    if status.store.state is not StoreState.OK:
        yield f"the store is {status.store.state.value}: {status.store.last_error or 'no reason known'}"
    has_source = any(source.state is not SourceState.OFF for source in status.sources)
    if deps.serves_prices and has_source and not deps.ledger.is_priced:
        yield "no prices yet: " + ", ".join(f"{source.name} is {source.state.value}" for source in status.sources)

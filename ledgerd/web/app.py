"""The HTTP applications: the public one, the one behind the unix socket, and what of it works without a daemon."""

from collections.abc import Sequence

from aiohttp import web

from ledgerd.web import (
    announce,
    control,
    convert,
    currency,
    docs,
    history,
    item_history,
    item_listings,
    items,
    layers,
    liquidity,
    lookup,
    movers,
    operations,
    page,
    prices,
    realms,
    search,
    sources,
    stash_diffs,
    stashes,
    throttle,
)
from ledgerd.web.clickhouse import door
from ledgerd.web.deps import Deps, carry
from ledgerd.web.edge import add_routes
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.rows import KEPT, Kept

BODY_BYTES_MAX = 1 << 20
"""Bounds what a client may send; a thousand item keys are 100 KB."""
ENDPOINTS: tuple[Endpoint, ...] = (
    *items.ENDPOINTS,
    *currency.ENDPOINTS,
    *history.ENDPOINTS,
    *item_history.ENDPOINTS,
    *item_listings.ENDPOINTS,
    *realms.ENDPOINTS,
    *announce.ENDPOINTS,
    *prices.ENDPOINTS,
    *lookup.ENDPOINTS,
    *search.ENDPOINTS,
    *convert.ENDPOINTS,
    *movers.ENDPOINTS,
    *liquidity.ENDPOINTS,
    *stashes.ENDPOINTS,
    *stash_diffs.ENDPOINTS,
    *layers.ENDPOINTS,
    *sources.ENDPOINTS,
    *throttle.ENDPOINTS,
)
"""The Ledger API, in the order it is matched: what is asked all day comes first."""


def create_app(deps: Deps) -> web.Application:
    """The public application: the front page, operations and, with the role for it, ``/v1``. Reads only."""
    others = [*operations.routes(), *page.routes(), *door.routes()]
    if not deps.serves_prices:
        return _app(deps, BODY_BYTES_MAX, throttle.ENDPOINTS, others)  # which go with the role harvest
    return _app(deps, BODY_BYTES_MAX, ENDPOINTS, [*docs.routes(ENDPOINTS, deps.version), *others])


def create_control_app(deps: Deps) -> web.Application:
    """The application of the unix socket: operations, ``/v1`` and ``/sql``, for whoever may open it (mode 0600)."""
    return _app(deps, control.SQL_BYTES_MAX, ENDPOINTS, [*control.routes(), *operations.routes()])


def create_offline_app(deps: Deps) -> web.Application:
    """``/v1`` and ``/sql``: what can be answered from the data alone, whether a daemon runs or not."""
    return _app(deps, control.SQL_BYTES_MAX, ENDPOINTS, control.routes())


def _app(
    deps: Deps, body_bytes_max: int, endpoints: Sequence[Endpoint], others: Sequence[web.RouteDef]
) -> web.Application:
    app = web.Application(client_max_size=body_bytes_max)
    carry(app, deps)
    app[KEPT] = Kept()
    app[stashes.RANKINGS] = stashes.Rankings()
    app[announce.LISTENING] = set()
    app.on_shutdown.append(announce.end_streams)
    add_routes(app, endpoints, others)
    return app

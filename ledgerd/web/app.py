"""The HTTP applications: the public one, the one behind the unix socket, and what of it works without a daemon."""

from aiohttp import web

from ledgerd.web import control, currency, history, operations, page
from ledgerd.web.answers import problems
from ledgerd.web.deps import Deps, carry

BODY_BYTES_MAX = 16 << 10
"""The public application reads no bodies; this bounds what a client may try."""


def create_app(deps: Deps) -> web.Application:
    """The public application: the front page, operations and, with the role for it, ``/v1``. Reads only."""
    app = web.Application(middlewares=[problems], client_max_size=BODY_BYTES_MAX)
    carry(app, deps)
    app.add_routes(operations.routes())
    app.add_routes(page.routes())
    if deps.serves_prices:
        app.add_routes(history.routes())
        app.add_routes(currency.routes())
    return app


def create_control_app(deps: Deps) -> web.Application:
    """The application of the unix socket: operations, ``/v1`` and ``/sql``, for whoever may open it (mode 0600)."""
    app = create_offline_app(deps)
    app.add_routes(operations.routes())
    return app


def create_offline_app(deps: Deps) -> web.Application:
    """``/v1`` and ``/sql``: what can be answered from the data alone, whether a daemon runs or not."""
    app = web.Application(middlewares=[problems], client_max_size=control.SQL_BYTES_MAX)
    carry(app, deps)
    app.add_routes(history.routes())
    app.add_routes(currency.routes())
    app.add_routes(control.routes())
    return app

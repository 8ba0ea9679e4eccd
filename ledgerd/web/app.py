"""The two HTTP applications: the public one, and the one behind the unix socket."""

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
    app = web.Application(middlewares=[problems], client_max_size=control.SQL_BYTES_MAX)
    carry(app, deps)
    app.add_routes(operations.routes())
    app.add_routes(history.routes())
    app.add_routes(currency.routes())
    app.add_routes(control.routes())
    return app

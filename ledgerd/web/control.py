"""What only the unix socket gets: the daemon's own commands ask here."""

from aiohttp import web

from ledgerd.ledger.query import FORMATS, run_readonly
from ledgerd.web.answers import BadRequest
from ledgerd.web.deps import DEPS, turn
from ledgerd.web.params import choice, only

SQL_BYTES_MAX = 1 << 20


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/sql", post_sql)]


async def post_sql(request: web.Request) -> web.Response:
    """Run the body, one read-only query in UTF-8, and answer its result in ``?format=``."""
    only(request.query, ("format",))
    fmt = choice(request.query, "format", FORMATS, "PrettyCompact")
    try:
        sql = (await request.read()).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The query is not UTF-8: {error.reason} at byte {error.start}.") from error
    async with turn(request.app):
        result = await run_readonly(request.app[DEPS].engine, sql, fmt)
    content_type = "application/json" if fmt.startswith("JSON") else "text/plain"
    return web.Response(body=result, headers={"Content-Type": f"{content_type}; charset=utf-8"})

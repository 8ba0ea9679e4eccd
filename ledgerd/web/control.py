"""What only the unix socket gets: the daemon's own commands ask here."""

from dataclasses import dataclass

from aiohttp import web

from ledgerd.errors import QueryRefused
from ledgerd.sql.query import FORMATS, run_readonly
from ledgerd.web.answers import BadQuery, BadRequest
from ledgerd.web.deps import DEPS, turn
from ledgerd.web.params import choice, read

SQL_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlQuery:
    """Parameters of a query."""

    format: str = choice("PrettyCompact", FORMATS, about="ClickHouse's name of the output format")


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/sql", post_sql)]


async def post_sql(request: web.Request) -> web.Response:
    """Run the body, one read-only query in UTF-8, and answer its result in ``?format=``."""
    fmt = read(SqlQuery, request.query).format
    try:
        sql = (await request.read()).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The query is not UTF-8: {error.reason} at byte {error.start}.") from error
    async with turn(request.app):
        try:
            result = await run_readonly(request.app[DEPS].engine, sql, fmt)
        except QueryRefused as error:
            raise BadQuery(error) from error
    content_type = "application/json" if fmt.startswith("JSON") else "text/plain"
    return web.Response(body=result, headers={"Content-Type": f"{content_type}; charset=utf-8"})

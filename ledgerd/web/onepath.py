"""Addresses asked all day, found by splitting the path: aiohttp's patterns cost a look-up a tenth of its rate."""

from collections.abc import Awaitable, Callable

from aiohttp import web

BELOW = ("/history", "/listings")
"""What has an address of its own."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Expected = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
_PARTS = 6


class OnePath(web.DynamicResource):
    """``/v1/{realm}/{league}/WORD/{name:.+}``, whose name may hold slashes but ends in nothing of `BELOW`."""

    def __init__(self, path: str, handler: Handler, met: Expected) -> None:
        """``handler`` answers GET and HEAD at ``path``, which is of that form; ``met`` who expects something first."""
        super().__init__(path)
        self._word = path.split("/")[4]
        self._last = path.rpartition("{")[2].partition(":")[0]
        self._methods = {method: self.add_route(method, handler, expect_handler=met) for method in ("GET", "HEAD")}

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """Who answers, if anybody here does; and the methods there are for the path, if it is one of these."""
        path = request.rel_url.path_safe
        parts = path.split("/", _PARTS - 1)
        if len(parts) < _PARTS or parts[4] != self._word or parts[1] != "v1":
            return None, set()
        _, _, realm, league, _, name = map(_whole, parts) if "%" in path else parts
        if not (realm and league and name) or name.endswith(BELOW):
            return None, set()
        route = self._methods.get(request.method)
        if route is None:
            return None, set(self._methods)
        return web.UrlMappingMatchInfo({"realm": realm, "league": league, self._last: name}, route), set()


def _whole(part: str) -> str:
    """A part of a path as it was before yarl told its own slashes and percent signs apart from the path's."""
    return part.replace("%2F", "/").replace("%25", "%")

"""Up to a thousand prices by name or key at once."""

from typing import Annotated

from aiohttp import web
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from ledgerd.ledger.shape import SHAPE
from ledgerd.web.ages import MaybeAged
from ledgerd.web.answers import answer
from ledgerd.web.body import read_body
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place
from ledgerd.web.light import Ages, Light, find, market_age
from ledgerd.web.params import Nothing

KEYS_MAX = 1_000
KEY_CHARS_MAX = 1_000

Key = Annotated[str, Field(min_length=1, max_length=KEY_CHARS_MAX)]


@with_config(ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True))
class Lookup(TypedDict):
    """What to look up, and where."""

    realm: Annotated[str, Field(min_length=1, max_length=20)]
    league: Annotated[str, Field(min_length=1, max_length=100)]
    keys: Annotated[list[Key], Field(max_length=KEYS_MAX)]
    """Item keys, and currencies by tag, name, alias or id."""


@with_config(SHAPE)
class Looked(TypedDict):
    """One of the keys, and its price."""

    key: str
    """As it was asked for."""
    price: Light | None
    """Null: nothing of that name has a price that may be served; a search may find what is meant."""


@with_config(SHAPE)
class LookupAnswer(MaybeAged, Place):
    """The prices, in the order they were asked for. The age is that of the older layer."""

    found: int
    """How many of them have a price."""
    prices: list[Looked]


_READ = TypeAdapter(Lookup)
_WHAT = f'Send {{"realm": "pc", "league": "Standard", "keys": ["divine"]}}, with at most {KEYS_MAX} keys.'


async def post_prices(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """Up to a thousand prices at once, of items by key and of currencies by any of their names."""
    wanted = await read_body(request, _READ, _WHAT)
    deps = request.app[DEPS]
    market = deps.ledger.market(wanted["realm"], wanted["league"])
    ages = Ages.of(deps, "lookup")
    age = market_age(market, ages)
    prices = [Looked(key=key, price=find(market, key, ages)) for key in wanted["keys"]]
    found = sum(each["price"] is not None for each in prices)
    head = {"realm": market.realm, "league": market.league, **age}
    return answer({**head, "found": found, "prices": prices}, headers={"Cache-Control": "no-store"})


ENDPOINTS = (
    Endpoint(
        "/v1/prices",
        post_prices,
        LookupAnswer,
        method="POST",
        body=Lookup,
        example="/v1/prices",
        example_body={"realm": "pc", "league": "Mirage", "keys": ["divine", "unique|Headhunter|base=Leather Belt"]},
        statuses=(400, 404, 413, 415, 503),
    ),
)

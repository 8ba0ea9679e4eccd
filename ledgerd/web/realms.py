"""What there is: realms and leagues, and how old the prices of each are."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict
from yarl import URL

from ledgerd.config import Layer
from ledgerd.errors import NotPricedYet
from ledgerd.ledger.ledger import Market
from ledgerd.ledger.shape import SHAPE
from ledgerd.web import copies
from ledgerd.web.ages import NO_AGE, Aged, MaybeAged, aged
from ledgerd.web.answers import answer
from ledgerd.web.deps import DEPS, Deps
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.params import Nothing


@with_config(SHAPE)
class Layers(TypedDict):
    """How old each layer's prices are; null where a league has none."""

    currency: Aged | None
    """From the exchange: the end of the newest hour."""
    items: Aged | None
    """From public stashes: the newest batch, upstream's own five minutes taken off."""


@with_config(SHAPE)
class League(Aged):
    """A league with prices; its age is that of its currencies, or of its items where it has no others."""

    league: str
    currencies: int
    """How many have a price."""
    items: int
    """How many item keys are listed or were of late."""
    divine_in_chaos: float | None
    layers: Layers
    href: str
    """Where its currencies are."""


@with_config(SHAPE)
class Realm(MaybeAged):
    """A realm; one without prices yet has no leagues and no age."""

    realm: str
    leagues: list[League]
    """The newest and largest first."""


@with_config(SHAPE)
class Realms(Aged):
    """All there is; the age is that of the newest."""

    realms: list[Realm]


async def get_realms(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """Realms and leagues that have prices, each with its age; 503 before there are any. Never refused for age."""
    deps = request.app[DEPS]
    if not deps.ledger.is_priced:
        raise NotPricedYet("There are no prices yet.", "See the sources: ledgerd status")
    realms = [_realm(realm, leagues, deps) for realm, leagues in deps.ledger.markets().items()]
    newest = min((realm for realm in realms if realm["leagues"]), key=_age_of)
    return answer({**_only_age(newest), "realms": realms}, headers={"Cache-Control": copies.CACHE})


def _realm(realm: str, markets: Mapping[str, Market], deps: Deps) -> dict[str, Any]:
    leagues = sorted((_league(market, deps) for market in markets.values()), key=_busiest_first)
    age = _only_age(min(leagues, key=_age_of)) if leagues else NO_AGE
    return {"realm": realm, **age, "leagues": leagues}


def _league(market: Market, deps: Deps) -> League:
    currency = None if market.currency is None else _age(market.currency.as_of, "currency", deps)
    items = None if market.items is None else _age(market.items.as_of, "items", deps)
    age = currency or items
    assert age is not None  # noqa: S101  a market has one of them
    return League(
        **age,
        league=market.league,
        currencies=0 if market.currency is None else len(market.currency.prices),
        items=0 if market.items is None else len(market.items),
        divine_in_chaos=None if market.currency is None else market.currency.divine_in_chaos,
        layers=Layers(currency=currency, items=items),
        href=str(URL.build(path=f"/v1/{market.realm}/{market.league}/currency")),
    )


def _age(as_of: float, layer: Layer, deps: Deps) -> Aged:
    return aged(as_of, deps.clock.now(), deps.freshness().limit(layer, layer))


def _age_of(told: Mapping[str, Any]) -> float:
    age: float = told["age_s"]
    return age


def _only_age(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: told[name] for name in Aged.__annotations__ if name in told}


def _busiest_first(league: League) -> tuple[float, int]:
    return league["age_s"], -league["currencies"] - league["items"]


ENDPOINTS = (Endpoint("/v1/realms", get_realms, Realms, example="/v1/realms"),)

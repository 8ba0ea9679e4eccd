"""What sellers and their stashes hold and how that changes, asked of the engine: bounded, a few at a time."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, NamedTuple

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.clock import HOUR_S, UPSTREAM_DELAY_S, hour_of, rfc3339
from ledgerd.config import Route
from ledgerd.errors import NotKnown, NotPricedYet
from ledgerd.ledger.items import ItemSnapshot
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.store.engine import Row
from ledgerd.store.queries import load_queries
from ledgerd.web.ages import Aged, admit, aged
from ledgerd.web.answers import answer
from ledgerd.web.copies import CACHE
from ledgerd.web.deps import DEPS, turn, waiting_for
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.history import TIMEOUT_S
from ledgerd.web.items import LAYER, Place, snapshot_of
from ledgerd.web.params import SHOWN_MAX, Nothing, count

SELLERS_PATH = "/v1/{realm}/{league}/sellers"
SELLER_PATH = "/v1/{realm}/{league}/sellers/{account}"
STASH_PATH = "/v1/{realm}/{league}/stashes/{stash}"
STASHES_MAX = 1_000
"""Of one seller; few have half as many tabs."""
SELLERS_MAX = 100
RANKED_S = 60.0
"""How long a league's ranking is good: making it reads all its stashes, 0.7 s of 60,000 that changed 30 times each."""
SQL = load_queries("api.sql")


@with_config(SHAPE)
class Holdings(TypedDict):
    """What lies in stashes, and what it is worth in chaos, whole stacks."""

    items: int
    """Entries, priced or not."""
    listed: int
    """Of these, with a readable price."""
    unconverted: int
    """Of the listed, those asking a currency that has no rate: not in ``asked_chaos``."""
    unpriced: int
    """Items the market has no sure price of: not in ``market_chaos``."""
    unpriced_share: float
    asked_chaos: float
    """What the listed ask."""
    market_chaos: float
    """What all items are worth at market prices with a confidence of 0.5 or more."""


@with_config(SHAPE)
class Stash(Holdings):
    """What a stash held when it last changed, at the prices of then."""

    stash: str
    """Its id."""
    account: str
    stash_name: str
    stash_type: str
    public: bool
    """False: it became private, emptied or left the league since, and holds nothing for sale here."""
    changed_at: Moment
    valued_at: Moment
    """The moment the prices it is valued at stand for."""
    rate_hour: Moment | None
    """The hour of the oldest rate an ask was converted with; null where only chaos was asked."""
    batch_id: str
    """The last batch refined when it was valued."""


@with_config(SHAPE)
class StashAnswer(Aged, Place):
    """One stash. The age is that of the last look at the league's stashes: one that did not change is as it was."""

    stash: Stash


@with_config(SHAPE)
class SellerAnswer(Aged, Place, Holdings):
    """One seller: all his public stashes added up, and each by itself, the richest first. The age is as of a stash."""

    account: str
    count: int
    """How many public stashes he has, at most 1,000."""
    stashes: list[Stash]


@with_config(SHAPE)
class Seller(Holdings):
    """What one seller's public stashes hold, each as it was valued when it last changed."""

    account: str
    stashes: int


@with_config(SHAPE)
class SellerList(Aged, Place):
    """Who lists most in a league, by ``market_chaos``; made anew once a minute."""

    count: int
    sellers: list[Seller]


@dataclass(frozen=True, slots=True, kw_only=True)
class SellersQuery:
    """Parameters of a ranking of sellers."""

    limit: int = count(20, most=SELLERS_MAX, about="At most that many")


class Ranking(NamedTuple):
    """A league's richest sellers, when they were ranked and the moment that stands for, unix seconds."""

    sellers: Sequence[Seller]
    made_s: float
    as_of: float


@dataclass(slots=True)
class Rankings:
    """The rankings of one application, by realm and league: as many as the ledger knows leagues."""

    kept: dict[tuple[str, str], Ranking] = field(default_factory=dict)
    making: asyncio.Lock = field(default_factory=asyncio.Lock)

    def fresh(self, place: tuple[str, str], now_s: float) -> Ranking | None:
        """The ranking of ``place``, if it is not a minute old at ``now_s``."""
        kept = self.kept.get(place)
        return kept if kept is not None and now_s - kept.made_s < RANKED_S else None


RANKINGS = web.AppKey("rankings", Rankings)


class Until(NamedTuple):
    """The moments what is known of a league's stashes stands for, unix seconds."""

    listings: float
    """All changes until then are in what stands in stashes."""
    summaries: float
    """All changes until then are in what stashes hold."""
    diffs: float
    """All hours that were over by then are in what happened in them."""


async def get_sellers(request: web.Request, asked: SellersQuery) -> web.StreamResponse:
    """Who lists most in a league, by what the market gives for it."""
    snapshot = snapshot_of(request)
    ranking = await _ranking(request, snapshot)
    sellers = ranking.sellers[: asked.limit]
    head = head_of(request, snapshot, "seller", ranking.as_of)
    return answer({**head, "count": len(sellers), "sellers": sellers}, headers={"Cache-Control": CACHE})


async def get_seller(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """One seller's public stashes, and what they hold together. The account is named exactly as the game has it."""
    snapshot, account = snapshot_of(request), request.match_info["account"]
    head = head_of(request, snapshot, "seller", (await until_of(request, snapshot)).summaries)
    stashes = [stash for stash in await stashes_of(request, snapshot, account) if stash["public"]]
    body = {**head, "account": account, **_together(stashes), "count": len(stashes), "stashes": stashes}
    return answer(body, headers={"Cache-Control": CACHE})


async def get_stash(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """What one stash held when it last changed, by its id as a seller's answer has it."""
    snapshot = snapshot_of(request)
    head = head_of(request, snapshot, "stash", (await until_of(request, snapshot)).summaries)
    stash = await stash_of(request, snapshot, request.match_info["stash"])
    return answer({**head, "stash": stash}, headers={"Cache-Control": CACHE})


def head_of(request: web.Request, snapshot: ItemSnapshot, route: Route, as_of: float) -> dict[str, Any]:
    """What every answer about stashes begins with: the league, and its age; TooOld if it may not be served."""
    deps = request.app[DEPS]
    limit, now_s = deps.freshness().limit(LAYER, route), deps.clock.now()
    admit(as_of, now_s, limit)
    return {"realm": snapshot.realm, "league": snapshot.league, **aged(as_of, now_s, limit)}


async def until_of(request: web.Request, snapshot: ItemSnapshot, needs: str = "gold_stash_summary") -> Until:
    """How far the league's stashes were looked at; NotPricedYet if step ``needs`` never did.

    The steps tell, not the rows, for a stash has none while it does not change. The step of the diffs runs on the first
    batch behind the end of an hour: until then it misses nothing, however long it has not run.
    """
    until_s: dict[str, int] = dict(await ask(request, "stashes_until", snapshot))
    steps = ("silver_canonical_stashes", "gold_stash_summary", "gold_stash_diffs")
    listings_s, summaries_s, diffs_s = (until_s.get(step, 0) for step in steps)
    if not until_s.get(needs):
        here = f"{snapshot.realm}/{snapshot.league}"
        raise NotPricedYet(
            f"No stash of {here} is valued yet.", "That comes right behind its items: ledgerd etl status"
        )
    whole_s = min(summaries_s, hour_of(diffs_s) + HOUR_S) if diffs_s else summaries_s
    return Until(*(each - UPSTREAM_DELAY_S for each in (listings_s, summaries_s, whole_s)))


async def stash_of(request: web.Request, snapshot: ItemSnapshot, stash: str) -> Stash:
    """The stash of that id; NotKnown if none ever stood in the league."""
    rows = await ask(request, "stash", snapshot, stash=stash)
    if not rows:
        here = f"{snapshot.realm}/{snapshot.league}"
        hint = f"Ids stand in the answer about a seller: GET /v1/{here}/sellers/…"
        raise NotKnown(f"There is no stash {stash[:SHOWN_MAX]!r} in {here}.", hint)
    return _stash(rows[0])


async def stashes_of(request: web.Request, snapshot: ItemSnapshot, account: str) -> list[Stash]:
    """All stashes of an account, public or not; NotKnown if it never had one in the league."""
    rows = await ask(request, "seller", snapshot, account=account, most=STASHES_MAX)
    if not rows:
        here = f"{snapshot.realm}/{snapshot.league}"
        hint = (
            "Write an account's name with its capitals, and the # before its number as %23. "
            f"Some of those who sell: GET /v1/{here}/sellers"
        )
        raise NotKnown(f"Nobody named {account[:SHOWN_MAX]!r} had a public stash in {here}.", hint)
    return [_stash(row) for row in rows]


async def ask(request: web.Request, query: str, snapshot: ItemSnapshot, **params: object) -> list[Row]:
    """The rows of a block of ``schema/api.sql`` about the league, when it is our turn at the engine."""
    place = {"realm": snapshot.realm, "league": snapshot.league}
    async with turn(request.app):
        return await request.app[DEPS].engine.rows(SQL[query], {**place, **params}, timeout_s=TIMEOUT_S)


async def _ranking(request: web.Request, snapshot: ItemSnapshot) -> Ranking:
    """The league's ranking, made anew if it is a minute old; who comes meanwhile waits for it, but not for long."""
    rankings, clock, place = request.app[RANKINGS], request.app[DEPS].clock, (snapshot.realm, snapshot.league)
    if (kept := rankings.fresh(place, clock.now())) is not None:
        return kept
    async with waiting_for(rankings.making):
        if (kept := rankings.fresh(place, clock.now())) is None:
            as_of = (await until_of(request, snapshot)).summaries
            rows = await ask(request, "sellers", snapshot, most=SELLERS_MAX)
            kept = rankings.kept[place] = Ranking([_seller(row) for row in rows], clock.now(), as_of)
    return kept


def _seller(row: Row) -> Seller:
    account, stashes, *held = row
    return Seller(account=account, stashes=stashes, **_holdings(held))


def _stash(row: Row) -> Stash:
    stash, account, stash_name, stash_type, public, *held, changed_s, rate_hour_s, batch_id, as_of = row
    return Stash(
        stash=stash,
        account=account,
        stash_name=stash_name,
        stash_type=stash_type,
        public=public,
        **_holdings(held),
        changed_at=rfc3339(changed_s),
        valued_at=rfc3339(as_of - UPSTREAM_DELAY_S),
        rate_hour=None if rate_hour_s is None else rfc3339(rate_hour_s),
        batch_id=batch_id,
    )


def _holdings(held: Sequence[Any]) -> Holdings:
    items, listed, unconverted, unpriced, unpriced_share, asked_chaos, market_chaos = held
    return Holdings(
        items=items,
        listed=listed,
        unconverted=unconverted,
        unpriced=unpriced,
        unpriced_share=unpriced_share,
        asked_chaos=asked_chaos,
        market_chaos=market_chaos,
    )


def _together(stashes: Sequence[Holdings]) -> Holdings:
    """Holdings added up as ``gold_seller_summary`` does, the smallest values first, so that both are equal."""
    items, unpriced = sum(each["items"] for each in stashes), sum(each["unpriced"] for each in stashes)
    return Holdings(
        items=items,
        listed=sum(each["listed"] for each in stashes),
        unconverted=sum(each["unconverted"] for each in stashes),
        unpriced=unpriced,
        unpriced_share=unpriced / items if items else 0.0,
        asked_chaos=_added(each["asked_chaos"] for each in stashes),
        market_chaos=_added(each["market_chaos"] for each in stashes),
    )


def _added(values: Iterable[float]) -> float:
    """The sum, one after the other: ``sum`` itself is more exact than ClickHouse from Python 3.12 on."""
    return reduce(add, sorted(values), 0.0)


ENDPOINTS = (
    Endpoint(SELLERS_PATH, get_sellers, SellerList, SellersQuery, example="/v1/pc/Mirage/sellers?limit=3"),
    Endpoint(SELLER_PATH, get_seller, SellerAnswer, example="/v1/pc/Mirage/sellers/Kortan%231234"),
    Endpoint(STASH_PATH, get_stash, StashAnswer, example="/v1/pc/Mirage/stashes/9b1deb4d3b"),
)

"""``ledgerd price``: what a currency or an item is worth, found by key, name or words."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import click

from ledgerd import reach
from ledgerd.ask.place import Place, place_of, typed
from ledgerd.ask.tables import Json, currency_told, hits_told, item_told, json_text, name_of
from ledgerd.clock import HOUR_S
from ledgerd.config import Config
from ledgerd.errors import LedgerdError, NotKnown, UsageError
from ledgerd.reach import Reach
from ledgerd.terminal import waiting

HITS_MAX = 20
ASKED_CHARS_MAX = 100
"""Of longer words the rest is not searched for."""
NEAR_MAX = 5
PAST_S = 7 * 24 * HOUR_S
QUARTER_S = 6 * HOUR_S
PAST_PATIENCE_S = 2.0
"""How long the price waits for its past, which the engine is asked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """The Ledger API's answer, and what of it there is to show."""

    answer: Json
    hits: Sequence[Json] = ()
    """Of a search what may be meant; beside the answer about one item those that are it with more said of them."""


async def price(config: Config, name: str, *, realm: str | None, league: str | None, as_json: bool) -> None:
    """Print what ``name`` is worth, how sure that is and how old; several things it may mean as a table."""
    if not name.strip():
        raise UsageError("There is nothing to look for.", "Name something: ledgerd price divine")
    async with waiting(lambda: "loading prices"), reach.ledger(config) as found:
        place = await place_of(config, found, realm, league)
        said = await _found(found, place, name)
        past = await _past(found, place, said.answer) if "price" in said.answer and not as_json else ()
    if as_json:
        click.echo(json_text(said.answer))
        return
    if "price" in said.answer:
        lines = currency_told(said.answer, past)
    elif "item" in said.answer:
        lines = item_told(said.answer, said.hits)
    else:
        lines = hits_told(said.answer, said.hits, _again(said.hits[0]["price"], realm, league))
    click.echo("\n".join(lines))


async def _found(found: Reach, place: Place, name: str) -> Found:
    """A currency of that very name, an item of that very key, else what a search for the words finds."""
    if "|" in name:
        with suppress(NotKnown):
            return await _item(found, place, name)
    elif place.currencies:
        with suppress(NotKnown):
            return await _currency(found, place, name)
        await _refuse_unpriced(found, place, name)
    params = {"q": name[:ASKED_CHARS_MAX], "limit": str(HITS_MAX)}
    answer = await found.get(place.path("search"), params)
    hits = [hit for hit in answer["results"] if hit["match"] != "near"]
    if not hits:
        raise _unknown(name, place, [name_of(hit["price"]) for hit in answer["results"][:NEAR_MAX]])
    one, others = _meant(hits)
    if one is None:
        return Found(answer, hits)
    if one["price"]["kind"] == "currency":
        return await _currency(found, place, one["price"]["id"])
    return await _item(found, place, one["price"]["id"], others)


def _meant(hits: Sequence[Json]) -> tuple[Json | None, Sequence[Json]]:
    """The one that is meant, if that is clear, and the others of its name.

    It is where one has that name, or where the others are the same item with more said of it: corrupted, linked.
    """
    named = [hit for hit in hits if hit["match"] == "exact"] or hits
    plain = min(named, key=lambda hit: len(hit["price"]["id"]))
    others = [hit for hit in named if hit is not plain]
    is_clear = all(hit["price"]["id"].startswith(f"{plain['price']['id']}|") for hit in others)
    return (plain, others) if is_clear else (None, ())


async def _currency(found: Reach, place: Place, name: str) -> Found:
    return Found(await found.get(place.path("currency", name)))


async def _item(found: Reach, place: Place, key: str, others: Sequence[Json] = ()) -> Found:
    return Found(await found.get(place.path("items", key)), others)


async def _past(found: Reach, place: Place, answer: Json) -> Sequence[float | None]:
    """A currency's prices of a week, by quarters of a day; none if the engine, which is asked for them, is away."""
    with suppress(LedgerdError, TimeoutError):
        async with asyncio.timeout(PAST_PATIENCE_S):
            return _by_quarters(await found.get(place.path("currency", answer["price"]["id"], "history")))
    return ()


def _by_quarters(history: Json) -> Sequence[float | None]:
    """The last price of each quarter of a day in a week's history."""
    begin = datetime.fromisoformat(history["from"])
    past: list[float | None] = [None] * (PAST_S // QUARTER_S)
    for point in history["points"]:
        quarter = int((datetime.fromisoformat(point["begin"]) - begin).total_seconds()) // QUARTER_S
        past[min(quarter, len(past) - 1)] = point["chaos"]
    return past


async def _refuse_unpriced(found: Reach, place: Place, name: str) -> None:
    """NotKnown if ``name`` is a currency that has no price now: nothing of a like name is to be shown in its place."""
    try:
        past = await found.get(place.path("currency", name, "history"))
    except NotKnown:
        return
    sql = f"SELECT league, max(hour) FROM gold_currency_snapshot WHERE currency = '{past['id']}' GROUP BY league"  # noqa: S608  for a person to type
    raise NotKnown(f"{past['name']} has had no price in {place} for 7 days.", f'Where it had one: ledgerd sql "{sql}"')


def _unknown(name: str, place: Place, near: Sequence[str]) -> NotKnown:
    meant = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
    then = typed("ledgerd", "price", near[0]) if near else "ledgerd top"
    return NotKnown(f"There is nothing named {name[:100]!r} in {place}.{meant}", f"Type: {then}")


def _again(one: Json, realm: str | None, league: str | None) -> str:
    """What to type for that one."""
    words = ["ledgerd", "price", name_of(one)]
    words += ["--realm", realm] if realm else []
    words += ["--league", league] if league else []
    return typed(*words)

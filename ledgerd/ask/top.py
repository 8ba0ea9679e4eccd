"""``ledgerd top``: what leads a league, and what moved."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ledgerd import reach
from ledgerd.ask.place import Place, place_of
from ledgerd.ask.tables import Json, json_text, leaders_told, movers_told
from ledgerd.config import Config
from ledgerd.errors import UsageError
from ledgerd.reach import Reach
from ledgerd.terminal import waiting

ORDERS = {"turnover": "turnover", "listings": "listings", "price": "chaos"}
"""What can be ranked by, and what the items' list calls it."""
HEADS = {
    "turnover": "what turned over most in 24 h",
    "listings": "what is listed most",
    "price": "what is dearest",
}
ALL_CURRENCIES = 10_000


async def top(
    config: Config, *, kind: str, by: str, span: str, limit: int, realm: str | None, league: str | None, as_json: bool
) -> None:
    """Print what leads a league: ``by`` of `ORDERS`, its change over ``span``."""
    kind = "item" if by == "listings" and kind == "all" else kind
    if by == "listings" and kind == "currency":
        raise UsageError(
            "Currencies have no listings: the exchange does not tell orders apart.",
            "Rank them by turnover or price: ledgerd top --kind currency --by price",
        )
    async with waiting(lambda: "loading prices"), reach.ledger(config) as found:
        place = await place_of(config, found, realm, league)
        answers = await _answers(found, place, kind, by, limit)
    if as_json:
        click.echo(json_text(answers if kind == "all" else next(iter(answers.values()))))
        return
    rows = [row for answer in answers.values() for row in answer.get("prices", answer.get("items", ()))]
    ranked = _ranked(rows, by)[:limit]
    click.echo("\n".join(leaders_told(f"{place}: {HEADS[by]}", ranked, span, answers)))


async def movers(
    config: Config, *, kind: str, span: str, limit: int, realm: str | None, league: str | None, as_json: bool
) -> None:
    """Print what rose and what fell over ``span``, at most ``limit`` each."""
    async with waiting(lambda: "loading prices"), reach.ledger(config) as found:
        place = await place_of(config, found, realm, league)
        params = {"kind": kind, "span": span, "limit": str(limit)}
        answer = await found.get(place.path("movers"), params)
    head = f"{place}: what moved most in {span}, of what is priced with a confidence of 0.8 or more"
    click.echo(json_text(answer) if as_json else "\n".join(movers_told(head, answer)))


async def _answers(found: Reach, place: Place, kind: str, by: str, limit: int) -> Mapping[str, Json]:
    """The lists of the layers asked for, by layer; of all, those the league has."""
    answers: dict[str, Any] = {}
    if kind == "currency" or (kind == "all" and place.currencies):
        answers["currency"] = await _currencies(found, place, by, limit)
    if kind == "item" or (kind == "all" and place.items):
        params = {"order": ORDERS[by], "limit": str(limit)}
        answers["items"] = await found.get(place.path("items"), params)
    return answers


async def _currencies(found: Reach, place: Place, by: str, limit: int) -> Json:
    """The currencies that lead; the list comes by turnover, so by price all are asked for and ranked here."""
    asked = limit if by == "turnover" else ALL_CURRENCIES
    answer = await found.get(place.path("currency"), {"limit": str(asked)})
    leading = _ranked(answer["prices"], by)[:limit]
    return {**answer, "count": len(leading), "prices": leading}


def _ranked(rows: Sequence[Json], by: str) -> Sequence[Json]:
    """``rows`` of currencies, items or both, the most first, those nobody can say it of last."""
    return sorted(rows, key=lambda row: -(_figure(row, by) or 0.0))


def _figure(row: Json, by: str) -> float | None:
    figures: dict[str, float | None] = {
        "turnover": row["liquidity"]["turnover_24h"],
        "listings": row["evidence"].get("listings"),
        "price": row["chaos"],
    }
    return figures[by]

"""Which league a command asks about, and its addresses."""

import shlex
from dataclasses import dataclass
from urllib.parse import quote

from ledgerd.config import Config
from ledgerd.errors import NotKnown
from ledgerd.reach import Reach

WHAT_IS_PRICED = 'ledgerd sql "SELECT DISTINCT realm, league FROM gold_currency_snapshot"'
_SPECIAL = frozenset('"$`\\!')
"""What double quotes do not protect."""


@dataclass(frozen=True, slots=True)
class Place:
    """A league that has prices, as it spells itself; how many currencies and items it knows."""

    realm: str
    league: str
    currencies: int
    items: int

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.realm}/{self.league}"

    def path(self, *parts: str) -> str:
        """The address below this league that ``parts`` name, whatever stands in them."""
        return "/".join(["/v1", *(quote(part, safe="") for part in (self.realm, self.league, *parts))])


async def place_of(config: Config, found: Reach, realm: str | None, league: str | None) -> Place:
    """The league asked for, else the first configured realm and its league with most prices. NotKnown: no such one."""
    order: dict[str, int] = {each.name: n for n, each in enumerate(config.realms)}
    places = [
        Place(there["realm"], each["league"], each["currencies"], each["items"])
        for there in (await found.get("/v1/realms"))["realms"]
        for each in there["leagues"]
        if _is(realm, there["realm"]) and _is(league, each["league"])
    ]
    if places:
        return min(places, key=lambda each: (order.get(each.realm, len(order)), -each.currencies, -each.items))
    nowhere = Place(realm or next(iter(order), "pc"), league or "Standard", 0, 0)
    try:
        await found.get(nowhere.path("currency"), {"limit": "1"})
    except NotKnown as error:
        raise NotKnown(error.message, f"What has prices: {WHAT_IS_PRICED}") from error
    return nowhere


def typed(*words: str) -> str:
    """``words`` as a line for a shell, in double quotes where there is an apostrophe.

    >>> print(typed("ledgerd", "price", "Watcher's Eye"))
    ledgerd price "Watcher's Eye"
    """
    return " ".join(f'"{word}"' if "'" in word and not set(word) & _SPECIAL else shlex.quote(word) for word in words)


def _is(asked: str | None, name: str) -> bool:
    return asked is None or asked.casefold() == name.casefold()

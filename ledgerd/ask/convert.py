"""``ledgerd convert``: an amount of one currency in another."""

import re
from collections.abc import Sequence
from fractions import Fraction

import click

from ledgerd import reach
from ledgerd.ask.place import place_of, typed
from ledgerd.ask.tables import conversion_told, json_text
from ledgerd.config import Config
from ledgerd.errors import NotKnown, UsageError
from ledgerd.terminal import waiting

AMOUNT_MAX = 10**12
AMOUNT_CHARS_MAX = 40
BETWEEN = ("to", "in")
EXAMPLE = "ledgerd convert 3 divine chaos"
_PLAIN = re.compile(r"\d+(\.\d+)?|\.\d+", re.ASCII)
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_SHARE = re.compile(r"\d+/0*[1-9]\d*", re.ASCII)


async def convert(
    config: Config, words: Sequence[str], *, realm: str | None, league: str | None, as_json: bool
) -> None:
    """Print what an amount of one currency is worth in another; ``words`` as `asked` reads them."""
    amount, source, target = asked(words)
    async with waiting(lambda: "loading prices"), reach.ledger(config) as found:
        place = await place_of(config, found, realm, league)
        params = {"from": source, "to": target, "amount": repr(amount)}
        try:
            answer = await found.get(place.path("convert"), params)
        except NotKnown as error:
            raise NotKnown(error.message, "What has a price: ledgerd top --kind currency --limit 1000") from error
    click.echo(json_text(answer) if as_json else "\n".join(conversion_told(answer)))


def asked(words: Sequence[str]) -> tuple[float, str, str]:
    """Amount, source and target of what was typed; the target is chaos unless it is named.

    With a "to" or an "in" between them names of several words need no quotes. UsageError where it cannot be told.

    >>> asked(["3/2", "divine"]), asked(["1,000", "chaos", "orb", "to", "divine", "orb"])
    ((1.5, 'divine', 'chaos'), (1000.0, 'chaos orb', 'divine orb'))
    """
    text, *names = words
    amount = _amount(text)
    between = next((n for n, word in enumerate(names) if word.casefold() in BETWEEN), None)
    if between is not None:
        source, target = " ".join(names[:between]), " ".join(names[between + 1 :])
    elif len(names) in {1, 2}:
        source, target = names[0], names[1] if len(names) > 1 else "chaos"
    else:
        source = target = ""
    if source.strip() and target.strip():
        return amount, source, target
    line = typed("ledgerd", "convert", *words)
    raise UsageError(
        f"It cannot be told what to convert into what: {line[:100]}.",
        f'Name two currencies, those of several words in quotes or with "to" between: {EXAMPLE}',
    )


def _amount(text: str) -> float:
    """A decimal, with commas between thousands or without, or a share of two whole numbers."""
    is_one = any(form.fullmatch(text) for form in (_PLAIN, _GROUPED, _SHARE))
    if is_one and len(text) <= AMOUNT_CHARS_MAX:
        amount = Fraction(text.replace(",", ""))
        if amount <= AMOUNT_MAX:
            return float(amount)
    raise UsageError(
        f"{text[:50]!r} is no amount.", f"Write one up to {AMOUNT_MAX:,} such as 3, 1.5, 1,000 or 3/2: {EXAMPLE}"
    )

"""Prices as a person reads them: lines about one, tables of many, none wider than a hundred columns (pure)."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

import orjson

from ledgerd.terminal import table

COLUMNS_MAX = 100
GAP = 2
BARS = "▁▂▃▄▅▆▇█"
BARS_FLAT = 0.02
"""A price that moved by less than this share of itself does not fill the height of its bars."""
TABLE_BARS = 14
"""Bars in a table, of half a day each; beside one price there is room for twice as many."""
GREAT = 1000
UNITS_S = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
UNITS_LONG = 2.0
"""So many of a unit there must be for it to be used."""
SIZES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))

_WORD_START = re.compile(r"[ |](?=.)")

Json = Mapping[str, Any]


def json_text(answer: object) -> bytes:
    """The Ledger API's answer as it is, laid out."""
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2)


def currency_told(answer: Json, past: Sequence[float | None]) -> Iterator[str]:
    """The answer about one currency; ``past``: its prices, oldest first."""
    one, evidence = answer["price"], answer["price"]["evidence"]
    yield cut(f"{one['name']} in {answer['realm']}/{answer['league']}", COLUMNS_MAX)
    yield _worth(one, _range("24 h", one["low_24h"], one["high_24h"]))
    yield _moved(one, past)
    yield _sure(one)
    yield (
        f"  from {evidence['units']:,} units in {evidence['markets']} markets, "
        f"{evidence['hours_24h']} of the last 24 h, {evidence['hours_7d']} of 7 d"
    )
    yield _flow(one["liquidity"], "offers")
    yield from aged(answer)


def item_told(answer: Json, others: Sequence[Json]) -> Iterator[str]:
    """The answer about one item; ``others``: what was found beside it that is the same but for more parts."""
    one, evidence = answer["item"], answer["item"]["evidence"]
    yield cut(
        f"{one['name']} ({one['category'].replace('_', ' ')}) in {answer['realm']}/{answer['league']}", COLUMNS_MAX
    )
    yield f"  {one['key']}"
    yield _worth(one, _range("asked", one["low"], one["high"]))
    yield _moved(one, one["sparkline"])
    yield _sure(one)
    yield (
        f"  from {_some(evidence['listings'], 'listing')} of {_some(evidence['sellers'], 'seller')}, "
        f"{evidence['rests_on_sellers']} of them believed; last seen {evidence['last_seen']}"
    )
    yield "  likely sales " + ", ".join(f"{one[f'likely_sales_{span}']:,} in {long}" for span, long in _SPANS)
    if one["sale_value"] is not None:
        stood = f", after {span_told(one['time_on_market_s'])} on the market" if one["time_on_market_s"] else ""
        yield f"  sold at about {number(one['sale_value'])} chaos{stood}"
    yield _flow(one["liquidity"], "listings")
    yield from aged(answer)
    if others:
        yield ""
        yield from _hits(others)


_SPANS = (("1h", "1 h"), ("24h", "24 h"), ("7d", "7 d"))


def hits_told(answer: Json, hits: Sequence[Json], typed: str) -> Iterator[str]:
    """Several things that may be meant, best first; ``typed``: what to type for the first."""
    yield cut(f"{answer['query']!r} in {answer['realm']}/{answer['league']} may be, likeliest first:", COLUMNS_MAX)
    yield ""
    yield from _hits(hits)
    yield ""
    yield from aged(answer)
    yield f"One of them: {typed}"


def conversion_told(answer: Json) -> Iterator[str]:
    """An amount of one currency in another."""
    source, target = answer["from_name"], answer["to_name"]
    yield (
        f"{number(answer['amount'])} {source} = {number(answer['result'])} {target} "
        f"in {answer['realm']}/{answer['league']}"
    )
    yield f"  1 {source} = {number(answer['rate'])} {target}"
    yield f"  confidence {answer['confidence']:.2f}"
    yield from aged(answer)


def leaders_told(head: str, rows: Iterable[Json], span: str, answers: Mapping[str, Json]) -> Iterator[str]:
    """What leads a league: rows of its currencies and items, under ``head``; ``answers`` by layer, for their ages."""
    yield head
    yield ""
    heads = ("name", "chaos", span, "turnover", "listings", "sure", "7 days")
    cells = [(*_common(row, row[f"change_{span}"]), sparkline(row.get("sparkline", ()), TABLE_BARS)) for row in rows]
    yield fitted(heads, cells, left={0, len(heads) - 1}) if cells else "  nothing"
    yield ""
    yield from chain.from_iterable(aged(answer, f"{layer} ") for layer, answer in answers.items())


def movers_told(head: str, answer: Json) -> Iterator[str]:
    """What rose and what fell, under ``head``."""
    yield head
    for name, moved in (("gains", answer["up"]), ("losses", answer["down"])):
        yield ""
        rows = [_common(each["price"], each["change"]) for each in moved]
        yield fitted((name, *_COMMON), rows) if rows else f"{name}: none"
    yield ""
    yield from aged(answer)


_COMMON = ("chaos", "change", "turnover", "listings", "sure")


def _common(row: Json, change: float | None) -> tuple[str, ...]:
    """A row of currency, item or either: what to type for it, and what every table says of it."""
    liquidity, evidence = row.get("liquidity", row), row.get("evidence", row)
    listings = evidence.get("listings")
    return (
        name_of(row),
        number(row["chaos"]),
        percent(change),
        compact(liquidity["turnover_24h"]),
        "-" if listings is None else f"{listings:,}",
        f"{row['confidence']:.2f}",
    )


def name_of(row: Json) -> str:
    """What to type for a row: an item's key, a currency's name."""
    key = row.get("key") or (row["id"] if row.get("kind") == "item" else None)
    return str(key or row["name"])


def _hits(hits: Sequence[Json]) -> Iterator[str]:
    rows = [_common(hit["price"], hit["price"]["change_24h"]) for hit in hits]
    yield fitted(("name", "chaos", "24h", "turnover", "listings", "sure"), rows)


def aged(answer: Json, what: str = "") -> Iterator[str]:
    """How old an answer is, ``what`` of it; nothing where it has nothing that could have an age."""
    if answer["as_of"] is not None:
        stale = " (stale)" if answer["stale"] else ""
        yield f"  {what}as of {answer['as_of']}, {span_told(answer['age_s'])} ago{stale}"
    if answer["stale"]:
        yield f"  {answer['warning']}"


def fitted(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table of at most `COLUMNS_MAX` columns: the first column is cut to what the others leave, numbers stand right.

    >>> print(fitted(("", "n"), [("a long name", "1"), ("b", "20")]))
                  n
    a long name   1
    b            20
    """
    lines = [head, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    room = COLUMNS_MAX - sum(widths[1:]) - GAP * (len(head) - 1)
    shown = [
        [cut(first, room), *(cell if n in left else cell.rjust(widths[n]) for n, cell in enumerate(rest, 1))]
        for first, *rest in lines
    ]
    return table(shown[0], shown[1:])


def cut(text: str, room: int) -> str:
    """``text`` in ``room`` columns: what is too long loses its middle, up to a word, for keys differ at their ends.

    >>> cut("unique|Watcher's Eye|base=Prismatic Jewel", 30)
    "unique|Watcher's Eye|bas…Jewel"
    >>> cut("Maximum", 6)
    'Max…um'
    """
    if len(text) <= room:
        return text
    end = text[len(text) - room // 3 :]
    word = _WORD_START.search(end)
    end = end[word.end() :] if word else end
    return f"{text[: room - len(end) - 1]}…{end}"


def sparkline(values: Sequence[float | None], bars: int = 28) -> str:
    """A bar for each of ``values``, or for the mean of some where there are more than ``bars``; a gap where none is.

    >>> sparkline([1, 2, None, 8, 7, 7, 8, 9]), sparkline([5.0, 5.001])
    ('▁▂ ▇▆▆▇█', '▁▁')
    """
    each = -(-len(values) // bars) or 1
    groups = [[value for value in values[n : n + each] if value is not None] for n in range(0, len(values), each)]
    levels = [fmean(group) if group else None for group in groups]
    known = [level for level in levels if level is not None]
    if not known:
        return ""
    low = min(known)
    height = max(max(known) - low, max(known) * BARS_FLAT) or 1.0
    top = len(BARS) - 1
    return "".join(" " if level is None else BARS[int((level - low) / height * top + 0.5)] for level in levels)


def number(value: float | None) -> str:
    """A price or an amount in four digits, or as many as a large one has before its point.

    >>> number(9000.0), number(0.01333), number(1234567.8), number(None)
    ('9,000', '0.01333', '1,234,568', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= GREAT else f"{value:.4g}"


def compact(value: float | None) -> str:
    """An amount in three digits and a letter.

    >>> compact(36_000.0), compact(1_250_000.0), compact(12.5), compact(None)
    ('36k', '1.25M', '12.5', '-')
    """
    if value is None:
        return "-"
    letter, size = next((each for each in SIZES if value >= each[1]), ("", 1.0))
    return f"{value / size:.3g}{letter}"


def percent(share: float | None) -> str:
    """A change.

    >>> percent(0.05), percent(-1.5), percent(None)
    ('+5.0%', '-150.0%', '-')
    """
    return "-" if share is None else f"{share:+,.1%}"


def span_told(seconds: float | None) -> str:
    """A length of time, in the largest unit of which there are some.

    >>> span_told(300.0), span_told(9600.0), span_told(1_296_000), span_told(1.5), span_told(None)
    ('5 min', '2.7 h', '15 d', '1.5 s', '-')
    """
    if seconds is None:
        return "-"
    name, size = next((unit for unit in UNITS_S if seconds >= unit[1] * UNITS_LONG), UNITS_S[-1])
    return f"{seconds / size:.2g} {name}" if seconds / size < GREAT / 10 else f"{seconds / size:,.0f} {name}"


def _worth(one: Json, ranging: str) -> str:
    if one["chaos"] is None:
        return "  nobody can say what it is worth"
    divine = "" if one["divine"] is None else f"   {number(one['divine'])} divine"
    return f"  {number(one['chaos'])} chaos{divine}{ranging}"


def _range(what: str, low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"   ({what} {number(low)} to {number(high)})"


def _moved(one: Json, past: Sequence[float | None]) -> str:
    changes = "   ".join(f"{span} {percent(one[f'change_{span}'])}" for span, _ in _SPANS)
    bars = sparkline(past).strip()
    return f"  {changes}" + (f"   {bars}" if bars else "")


def _sure(one: Json) -> str:
    return f"  confidence {one['confidence']:.2f}" + (" (low sample)" if one["low_sample"] else "")


def _flow(liquidity: Json, offered: str) -> str:
    told = [f"turnover {compact(liquidity['turnover_24h'])} chaos in 24 h"]
    if liquidity["sell_through"] is not None:
        told.append(f"{liquidity['sell_through']:.0%} of {offered} sold")
    if liquidity["time_to_sell_s"] is not None:
        told.append(f"what is on offer lasts {span_told(liquidity['time_to_sell_s'])}")
    return "  " + ", ".join(told)


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")

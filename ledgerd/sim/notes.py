"""Price notes as sellers spell them: the forms and the shares of a census of recorded ones."""

from collections.abc import Mapping

from ledgerd.sim.noise import mix, uniform

CURRENCIES = ("chaos", "divine", "exalted", "mirror", "fusing", "alch", "alt", "jewellers", "chance", "regret", "annul")
SKIP, UNREAD = "~skip", ("~price {n} offer", "pm me", "wts {n} c", "~price", "offers pls")
_SPELT: Mapping[str, tuple[tuple[float, str], ...]] = {
    "chaos": ((0.985, "chaos"), (0.995, "c"), (1.0, "choas")),
    "divine": ((0.97, "divine"), (1.0, "div")),
    "exalted": ((0.55, "exa"), (0.96, "exalted"), (1.0, "ex")),
    "fusing": ((0.97, "fuse"), (1.0, "fusing")),
    "jewellers": ((0.9, "jew"), (1.0, "jewellers")),
}
_VERBS = ((0.675, "~price"), (0.985, "~b/o"), (0.993, "~c/o"), (1.0, "~gb/o"))
_TRAILS = (" | 75+", " ok", " or offer", " (6l)", " - mirrored ok")
_SKIP_TO, UNREAD_TO, _TRAIL_TO, _COMMA_TO = 0.008, 0.016, 0.026, 0.03
_THOUSAND, _TENTHS_BELOW = 1000, 20


def spelling(currency: str, u: float) -> str:
    """A word for ``currency``; ``u`` in 0..1 chooses."""
    return next(word for share, word in _SPELT.get(currency, ((1.0, currency),)) if u <= share)


def denominated(chaos: float, rates: Mapping[str, float], key: int) -> tuple[str, float]:
    """The currency somebody would ask ``chaos`` in, and its rate in chaos; ``key`` is any number, it decides."""
    u = uniform(key, 1)
    if chaos >= 0.9 * rates["divine"]:
        currency = "mirror" if chaos > 0.5 * rates["mirror"] and u < 0.3 else ("divine" if u < 0.9 else "chaos")  # noqa: PLR2004 - shares of the census
    elif chaos >= rates["exalted"]:
        currency = "exalted" if u < 0.14 else "chaos"  # noqa: PLR2004 - shares of the census
    elif chaos >= 0.7:  # noqa: PLR2004 - as above
        currency = "fusing" if u < 0.12 and chaos < 4 else "chaos"  # noqa: PLR2004 - as above
    else:
        currency = ("fusing", "alch", "alt", "jewellers", "chance", "regret")[mix(key, 2) % 6] if u < 0.5 else "chaos"  # noqa: PLR2004 - shares of the census
    return currency, rates[currency]


def amount(units: float, u: float) -> str:
    """``units`` as people write them: small ones with a decimal or as a ratio, large ones rounded.

    >>> amount(0.05, 0.5), amount(2.53, 0.1), amount(137.2, 0.9)
    ('1/20', '2.5', '137')
    """
    if units < 0.95:  # noqa: PLR2004 - less than one goes by the pile
        pile = max(2, round(1.0 / units)) if units < 0.3 else 10  # noqa: PLR2004 - shares of the census
        return f"{max(1, round(units * pile))}/{pile}"
    if units < _TENTHS_BELOW and u < 0.75:  # noqa: PLR2004 - three in four care for tenths
        return f"{round(units, 1):g}"
    step = 5 if units > 300 and u < 0.5 else 1  # noqa: PLR2004 - shares of the census
    return str(step * max(1, round(units / step)))


def note(chaos: float, rates: Mapping[str, float], key: int) -> tuple[str, bool]:
    """A note that asks ``chaos``, and whether it can be read; ``key`` is any number, it decides how it is written."""
    u = uniform(key, 3)
    if u < _SKIP_TO:
        return SKIP, False
    currency, rate = denominated(chaos, rates, key)
    units = chaos / rate
    text = amount(units, uniform(key, 4))
    if u < UNREAD_TO:
        return UNREAD[mix(key, 5) % len(UNREAD)].format(n=text), False
    verb = next(word for share, word in _VERBS if uniform(key, 6) <= share)
    word = spelling(currency, uniform(key, 7))
    if u < _TRAIL_TO:
        return f"{verb} {text} {word}{_TRAILS[mix(key, 5) % len(_TRAILS)]}", True
    if u < _COMMA_TO:
        return f"{verb} {text.replace('.', ',')} {word}", True
    if units >= _THOUSAND and uniform(key, 8) < 0.1:  # noqa: PLR2004 - of the large ones
        return f"{verb} {round(units):,} {word}", False
    return f"{verb} {text} {word}", True

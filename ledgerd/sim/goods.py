"""The stand-in's catalogue: every kind of thing its sellers have, what makes it that kind, and its usual value."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ledgerd.sim import goods_data as data

FRAMES = (
    "Normal",
    "Magic",
    "Rare",
    "Unique",
    "Gem",
    "Currency",
    "DivinationCard",
    "Quest",
    "Prophecy",
    "Relic",
    "Foil",
)
NORMAL, MAGIC, RARE, UNIQUE, GEM, CURRENCY, CARD, FOIL = 0, 1, 2, 3, 4, 5, 6, 10


@dataclass(frozen=True, slots=True)
class Look:
    """How a kind is written as an item; mods may hold ranges such as ``(10-20)``, rolled for each item."""

    base: str
    frame: int
    category: str
    sub: str = ""
    size: tuple[int, int] = (1, 1)
    name: str = ""
    type_line: str = ""  # the base where empty
    mods: tuple[str, ...] = ()
    implicits: tuple[str, ...] = ()
    enchants: tuple[str, ...] = ()
    ilvl: tuple[int, int] = (68, 86)
    links: int = 0
    stack_max: int = 0
    gem: tuple[int, int] = (0, 0)  # level, quality
    tier: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)  # flags of the item, as they stand in its JSON


@dataclass(frozen=True, slots=True)
class Kind:
    """What one price can stand for.

    ``key`` is readable and unique; ``identity`` are its parts. ``price`` is the usual value in chaos of one, in the
    realm's biggest league; 0 for rares and magics, which no key prices. ``pool`` groups what is kept together.
    """

    key: str
    identity: Mapping[str, Any]
    pool: str
    weight: float
    price: float
    look: Look


def _rows(text: str) -> list[str]:
    """The entries of a table, lines that go on joined."""
    return [row for row in text.strip().replace("\n  ", "").split("\n") if row]


def names(text: str) -> list[str]:
    """The entries of a list."""
    return [entry.strip() for entry in text.replace("\n", "").split(";") if entry.strip()]


def _size(text: str) -> tuple[int, int]:
    width, height = text.split()
    return int(width), int(height)


def _word(value: object) -> str:
    """One part of a key."""
    if isinstance(value, tuple):
        return "+".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(identity: Mapping[str, Any], pool: str, weight: float, price: float, look: Look) -> Kind:
    """A kind whose key is its identity, part by part; parts that are false or empty are left out."""
    parts = {name: value for name, value in identity.items() if value not in (False, None, "", ())}
    words = [f"{n}={_word(v)}" for n, v in list(parts.items())[2:]]
    first = [str(value) for value in list(parts.values())[:2]]
    return Kind("|".join([*first, *words]), parts, pool, weight, price, look)


def _uniques() -> Iterator[Kind]:
    """Uniques with their links, corruption, foulborn, foil, replica and unidentified forms."""
    foulborn = names(data.FOULBORN)
    for row in _rows(data.UNIQUES):
        name, base, category, sub, size, price, mods = row.split(";")
        look = Look(base, UNIQUE, category, sub, _size(size), name, mods=tuple(mods.split("/")))
        yield from _forms(look, float(price))
        if name in foulborn:
            yield _unique(look, 2.6 * float(price), 0.25, foulborn=True)
        if name in data.FOILED:
            yield _unique(look, 1.5 * float(price), 0.1, foil=True)
        if name in data.REPLICAS:
            yield _unique(look, 0.7 * float(price), 0.4, replica=True)


def _forms(look: Look, price: float) -> Iterator[Kind]:
    """The everyday forms of one unique."""
    cheap = 1.0 / (1.0 + price / 150.0)
    for links, factor in ((0, 1.0), (5, 1.3), (6, 2.2)) if look.sub in data.LINKED else ((0, 1.0),):
        extra = {0: 0.0, 5: 2.0, 6: 60.0}[links]
        value = max(price * factor, price + extra) if price > 2 or links else price  # noqa: PLR2004 - chaos
        yield _unique(look, value, (0.6 + 0.9 * cheap) * {0: 1.0, 5: 0.15, 6: 0.3}[links], links=links)
        yield _unique(look, 0.8 * value, 0.4 * cheap * {0: 1.0, 5: 0.2, 6: 0.4}[links], links=links, corrupted=True)
    if look.category != "maps":
        yield _unique(look, 1.1 * price, 0.08, unidentified=True)


def _unique(look: Look, price: float, weight: float, *, links: int = 0, variant: str = "", **form: bool) -> Kind:
    """One form of a unique."""
    name = f"{'Foulborn ' * form.get('foulborn', False)}{'Replica ' * form.get('replica', False)}{look.name}"
    parts = {"class": "unique", "name": name, "base": look.base, "links": links, "variant": variant, **form}
    extra: dict[str, Any] = {"corrupted": True} if form.get("corrupted") else {}
    extra |= {"mutated": True} if form.get("foulborn") else {}
    extra |= {"replica": True} if form.get("replica") else {}
    extra |= {"isRelic": True, "foilVariation": 7} if form.get("foil") else {}
    extra |= {"identified": False} if form.get("unidentified") else {}
    implicits = ("+1 to Level of Socketed Gems",) if form.get("corrupted") else ()
    return _kind(parts, "uniques", weight, price, _with(look, name, links, implicits, extra))


def _with(look: Look, name: str, links: int, implicits: tuple[str, ...], extra: Mapping[str, Any]) -> Look:
    """``look`` in one form."""
    shown = extra.get("identified", True)
    frame = FOIL if "isRelic" in extra else look.frame
    mods = look.mods if shown else ()
    return Look(
        look.base, frame, look.category, look.sub, look.size, name if shown else "", "", mods, implicits,
        ilvl=look.ilvl, links=links, extra=extra,
    )  # fmt: skip


def _variants() -> Iterator[Kind]:
    """Uniques whose mods decide which of several things they are."""
    for row in _rows(data.VARIANTS):
        name, base, category, sub, size, *forms = row.split(";")
        for form in forms:
            variant, price, mods = form.split("=", 2)
            look = Look(base, UNIQUE, category, sub, _size(size), name, mods=tuple(mods.split("/")))
            yield _unique(look, float(price), 0.5, variant=variant)


def _jewels() -> Iterator[Kind]:
    """Jewels told apart by their mods: Watcher's Eye, the timeless and the forbidden ones."""
    for n, mod in enumerate(names(data.WATCHERS_EYE)):
        aura, text = mod.split(": ")
        mods = (
            "(4-6)% increased maximum Energy Shield",
            "(4-6)% increased maximum Life",
            f"{text} while affected by {aura}",
        )
        look = Look("Prismatic Jewel", UNIQUE, "jewels", name="Watcher's Eye", mods=mods)
        yield _unique(look, 30.0 * 1.9**n, 0.5, variant=aura)
    for n, row in enumerate(names(data.TIMELESS)):
        name, leaders, text = row.split(":")
        deed, whom = text.split(",")
        for m, leader in enumerate(leaders.split(",")):
            mod = f"{deed.capitalize()} (2000-8000) {whom} under {leader}"
            look = Look(
                "Timeless Jewel",
                UNIQUE,
                "jewels",
                name=name,
                mods=(mod, "Passives in radius are Conquered", "Historic"),
            )
            yield _unique(look, 5.0 * 1.5**n * (1 + m), 0.6, variant=leader)
    for n, notable in enumerate(names(data.FORBIDDEN)):
        for name, base in (("Forbidden Flame", "Crimson Jewel"), ("Forbidden Flesh", "Cobalt Jewel")):
            other = "Flesh" if name.endswith("Flame") else "Flame"
            mod = f"Allocates {notable} if you have the matching modifier on Forbidden {other}"
            look = Look(base, UNIQUE, "jewels", name=name, mods=(mod,))
            yield _unique(look, 6.0 * 1.6**n, 0.4, variant=notable)


def _gems() -> Iterator[Kind]:
    """Gems by level and quality, and corrupted ones."""
    forms = ((1, 0, False, 0.3, 1.0), (1, 20, False, 1.2, 0.6), (20, 0, False, 0.8, 0.5), (20, 20, False, 3.0, 1.2),
             (21, 20, True, 14.0, 0.5), (21, 23, True, 70.0, 0.12), (20, 23, True, 6.0, 0.3))  # fmt: skip
    for n, name in enumerate(names(data.GEMS) + names(data.SUPPORTS)):
        dear = 1.0 + (n * 7 % 13) / 3.0 + 18.0 * (" of " in name) + 40.0 * ("Awakened" in name or name[:2] == "En")
        for level, quality, corrupted, price, weight in forms:
            parts = {"class": "gem", "name": name, "level": level, "quality": quality, "corrupted": corrupted}
            extra = {"support": "Support" in name} | ({"corrupted": True} if corrupted else {})
            mods = ("Deals (100-600) to (700-1400) Damage", "(5-20)% increased Area of Effect")
            sub = "supportgem" if "Support" in name else "activegem"
            look = Look(name, GEM, "gems", sub, mods=mods, ilvl=(0, 0), gem=(level, quality), extra=extra)
            yield _kind(parts, "gems", weight, price * dear, look)


def _maps() -> Iterator[Kind]:
    """Maps by base and tier, blighted and ravaged."""
    for n, base in enumerate(names(data.MAPS)):
        for tier, price, weight in ((1, 0.5, 0.3), (8, 0.7, 0.4), (14, 1.1, 1.0), (16, 1.8, 1.6)):
            frame, mods = (RARE, tuple(names(data.MAP_MODS)[n % 4 : n % 4 + 5])) if tier > 8 else (NORMAL, ())  # noqa: PLR2004 - the game's own number
            look = Look(base, frame, "maps", ilvl=(67 + tier, 67 + tier), tier=tier, mods=mods)
            yield _kind({"class": "map", "base": base, "tier": tier}, "maps", weight, price * (1 + n % 5), look)
        for word, mod, price in (
            ("blighted", "Area is infested with Fungal Growths", 9.0),
            ("ravaged", "Area is overrun", 35.0),
        ):
            title = f"Blight{'ed' if word == 'blighted' else '-ravaged'} {base}"
            look = Look(base, NORMAL, "maps", type_line=title, implicits=(mod,), ilvl=(83, 83), tier=16)
            yield _kind(
                {"class": "map", "base": base, "tier": 16, word: True}, "maps", 0.25, price * (1 + n % 3 / 4), look
            )


def _named(text: str, pool: str, frame: int, category: str) -> Iterator[Kind]:
    """Things known by name alone: name=value[=stack size]."""
    for entry in names(text):
        name, price, *stack = entry.split("=")
        mods = ("<uniqueitem>{A Unique Item}",) if frame == CARD else ("Can be used once",) * (pool != "beasts")
        look = Look(name, frame, category, mods=mods, ilvl=(0, 0), stack_max=int(stack[0]) if stack else 0)
        weight = 0.3 + 2.0 / (1.0 + float(price) / 10.0)
        yield _kind({"class": pool.removesuffix("s"), "name": name}, pool, weight, float(price), look)


def _bases() -> Iterator[Kind]:
    """Bases worth crafting on: item level, influences, synthesised, fractured."""
    for n, entry in enumerate(names(data.BASES)):
        base, category, sub, size = entry.split("=")
        worth = 1.0 + n % 4
        influence, other = data.INFLUENCES[n % 6], data.INFLUENCES[(n + 2) % 6]
        forms: tuple[tuple[tuple[str, ...], str, float], ...] = (
            ((), "", 1.5), ((influence,), "", 5.0), ((other,), "", 8.0), ((influence, other), "", 90.0),
            ((), "synthesised", 12.0), ((), "fractured", 25.0),
        )  # fmt: skip
        for influences, state, price in forms:
            for ilvl, factor in ((82, 0.6), (84, 1.0), (86, 2.2)):
                parts = {"class": "base", "base": base, "ilvl": ilvl, "influences": influences}
                extra: dict[str, Any] = {"influences": dict.fromkeys(influences, True)} if influences else {}
                extra |= dict.fromkeys(influences, True) | ({state: True} if state else {})
                mods = ("+(50-55) to Strength",) if state == "fractured" else ()
                frame = MAGIC if mods else NORMAL
                look = Look(base, frame, category, sub, _size(size), mods=mods, ilvl=(ilvl, ilvl), links=0, extra=extra)
                rare = 1.0 / (1.0 + price / 20.0)
                yield _kind(parts | ({state: True} if state else {}), "bases", rare, price * factor * worth, look)


def _clusters() -> Iterator[Kind]:
    """Cluster jewels: enchant, number of passives, item level."""
    counts = {"Large": (8, 12), "Medium": (4, 6), "Small": (2, 3)}
    for n, entry in enumerate(names(data.CLUSTERS)):
        enchant, size = entry.split("=")
        for passives in counts[size]:
            for ilvl, factor in ((68, 0.5), (75, 1.0), (84, 2.0)):
                base = f"{size} Cluster Jewel"
                parts = {"class": "cluster", "enchant": enchant, "base": base, "passives": passives, "ilvl": ilvl}
                enchants = (f"Adds {passives} Passive Skills", f"Added Small Passive Skills grant: {enchant}")
                look = Look(base, NORMAL, "jewels", "cluster", enchants=enchants, ilvl=(ilvl, ilvl))
                yield _kind(parts, "clusters", 1.0, (2.0 + 3.0 * (n % 5)) * factor * (1 + (passives < 5)), look)  # noqa: PLR2004 - the game's own number


def _unkeyed() -> Iterator[Kind]:
    """Rares and magics: every one is another thing."""
    for entry in names(data.BASES):
        base, category, sub, size = entry.split("=")
        for frame, pool, n in ((RARE, "rares", 6), (MAGIC, "magics", 2)):
            look = Look(
                base,
                frame,
                category,
                sub,
                _size(size),
                mods=tuple(names(data.MODS)[:n]),
                implicits=("+(20-30) to maximum Life",),
            )
            yield _kind({"class": pool.removesuffix("s"), "base": base}, pool, 1.0, 0.0, look)


def _copies() -> Iterator[Kind]:
    """Mirrored and split things, which stand apart."""
    for base, flag in (("Opal Ring", "duplicated"), ("Steel Ring", "split")):
        look = Look(base, RARE, "accessories", "ring", mods=tuple(names(data.MODS)[:6]), extra={flag: True})
        yield _kind({"class": "rare", "base": base, flag: True}, "rares", 0.3, 0.0, look)


@cache
def catalogue() -> tuple[Kind, ...]:
    """Every kind there is, in a fixed order; keys are unique."""
    families: tuple[Iterable[Kind], ...] = (
        _uniques(), _variants(), _jewels(), _gems(), _maps(), _named(data.CARDS, "cards", CARD, "cards"),
        _named(data.CURRENCY, "currency", CURRENCY, "currency"), _named(data.FRAGMENTS, "fragments", NORMAL, "maps"),
        _named(data.ESSENCES, "currency", CURRENCY, "currency"), _named(data.BEASTS, "beasts", RARE, "monsters"),
        _bases(), _clusters(), _unkeyed(), _copies(),
    )  # fmt: skip
    found = {kind.key: kind for family in families for kind in family}
    return tuple(found.values())

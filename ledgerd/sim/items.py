"""Items as upstream writes them, in both shapes of their mods, cut where one listing differs from the next."""

import base64
import re
from functools import lru_cache
from random import Random
from typing import Any, TypeAlias

import orjson

from ledgerd.sim import goods_data as data
from ledgerd.sim.goods import CARD, CURRENCY, FRAMES, GEM, RARE, UNIQUE, Kind, Look, catalogue, names
from ledgerd.sim.noise import key_of, mix

VARIANTS = 6
"""How many sets of rolls each kind is seen with."""
UNKEYED_VARIANTS = 24
Template: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes, bytes | None]
"""What stands before the league, the id, the note, the place, and after; the last follows veiled mods."""
_CUTS = re.compile(rb'"@league@"|@id@|"note":"@note@",|"@place@":0|"@veiled@"')
_RANGE = re.compile(r"\((-?[\d.]+)-(-?[\d.]+)\)")
_TEXT = {
    "gems": "Place into an item socket of the right colour to gain this skill. Right click to remove from a socket.",
    "maps": "Travel to this Map by using it in a personal Map Device. Maps can only be used once.",
    "jewels": "Place into an allocated Jewel Socket on the Passive Skill Tree. Right click to remove from the Socket.",
    "currency": "Right click this item then left click an item to apply it. Shift click to unstack.",
    "flasks": "Right click to drink. Can only hold charges while in belt. Refills as you kill monsters.",
}
_FLAVOUR = (
    "Should I depart this mortal coil,\r", "so shall all of my treasures.\r", "Surrounded by the dead, I heard\r",
    "the silence of a thousand storms.\r", "What was taken shall be weighed,\r", "what was weighed shall be returned.",
)  # fmt: skip
_COLOURS = (("S", "R"), ("D", "G"), ("I", "B"))
_VEILED_SHARE = 0.08


@lru_cache(maxsize=16_384)
def template(kind_n: int, variant: int, is_objects: bool) -> Template:
    """The item of kind ``kind_n`` of the catalogue with its ``variant``-th rolls.

    Its mods are objects, as since 3.29, or strings. Joined with what differs it is compact JSON, as ``orjson`` writes
    it.
    """
    kind = catalogue()[kind_n]
    rng = Random(mix(key_of("item", kind.key), variant))  # noqa: S311 - reproducible noise is the point
    item = _item(kind, rng, is_objects=is_objects)
    parts = _CUTS.split(orjson.dumps(item))
    before_league, before_id, before_note, before_place, rest, *last = parts
    return before_league, before_id, before_note, before_place, rest, last[0] if last else None


def _item(kind: Kind, rng: Random, *, is_objects: bool) -> dict[str, Any]:
    """One item with marks where a listing's own values go, in upstream's order of fields."""
    look = kind.look
    item: dict[str, Any] = {"verified": False, "w": look.size[0], "h": look.size[1], "icon": _icon(look)}
    if look.frame == GEM:
        item["support"] = look.extra["support"]
    if look.stack_max:
        item |= {"stackSize": rng.randint(1, min(look.stack_max, 40)), "maxStackSize": look.stack_max}
    item |= {"league": "@league@", "id": "@id@"}
    item |= {name: value for name, value in look.extra.items() if name not in {"support", "identified"}}
    if _has_sockets(look):
        item["sockets"] = _sockets(look, rng)
    item |= {"name": look.name or _rare_name(look, rng), "typeLine": look.type_line or look.base, "baseType": look.base}
    item |= {"identified": look.extra.get("identified", True), "ilvl": rng.randint(*look.ilvl), "note": "@note@"}
    item |= _tables(look, item, rng)
    item |= _mods(kind, rng, is_objects=is_objects)
    item |= _texts(look)
    item |= {"frameType": look.frame}
    if is_objects:
        item["frameTypeId"] = FRAMES[look.frame]
    item["extended"] = _extended(look)
    item["@place@"] = 0
    if _has_sockets(look):
        item["socketedItems"] = []
    if look.frame == RARE and kind.pool == "rares" and rng.random() < _VEILED_SHARE:
        item |= {"veiled": True, "veiledMods": ["@veiled@"]}
    return item


def _icon(look: Look) -> str:
    """An address of the form upstream's icons have."""
    word = re.sub(r"\W", "", look.name or look.base)
    path = f"2DItems/{look.category.capitalize()}/{look.sub.capitalize()}/{word}"
    spec = orjson.dumps([25, 14, {"f": path, "w": look.size[0], "h": look.size[1], "scale": 1}])
    packed = base64.urlsafe_b64encode(spec).decode().rstrip("=")
    return f"https://web.poecdn.com/gen/image/{packed}/{key_of(path) & 0xFFFFFFFFFF:010x}/{word}.png"


def _has_sockets(look: Look) -> bool:
    return look.category in {"armour", "weapons"} and "Has no Sockets" not in look.mods


def _sockets(look: Look, rng: Random) -> list[dict[str, object]]:
    """Sockets, the first ``links`` of them linked; never five or six otherwise."""
    count = max(look.links, rng.randint(1, 3 if look.size[0] * look.size[1] < 6 else 6))  # noqa: PLR2004 - six squares
    first = look.links or rng.randint(1, min(count, 4))
    colours = [_COLOURS[rng.randrange(3)] for _ in range(count)]
    return [{"group": 0 if n < first else n - first + 1, "attr": a, "sColour": c} for n, (a, c) in enumerate(colours)]


def _rare_name(look: Look, rng: Random) -> str:
    """Two words for a rare, nothing for others."""
    if look.frame != RARE or look.category == "monsters":
        return ""
    first, second = (words.split() for words in names(data.RARE_NAMES))
    return f"{rng.choice(first)} {rng.choice(second)}"


def _property(name: str, value: str, kind: int, mode: int = 0) -> dict[str, object]:
    return {"name": name, "values": [[value, mode and 1]] if value else [], "displayMode": 0, "type": kind}


def _tables(look: Look, item: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Properties and requirements."""
    level = str(rng.randint(20, 72))
    wants = [{"name": "Level", "values": [[level, 0]], "displayMode": 0, "type": 62}]
    wants.append({"name": "Int", "values": [[str(rng.randint(21, 151)), 0]], "displayMode": 1, "type": 65})
    wants.append({"name": ("Str", "Dex")[rng.randrange(2)], "values": [[str(rng.randint(60, 190)), 0]],
                  "displayMode": 1, "type": 63})  # fmt: skip
    if look.frame == GEM:
        level_n, quality = look.gem
        shown = f"{level_n} (Max)" if level_n >= 20 else str(level_n)  # noqa: PLR2004 - a gem's usual last level
        rows = [_property("Spell, AoE, Duration", "", 0), _property("Level", shown, 5)]
        rows += [_property("Cost", f"{rng.randint(8, 30)} Mana", 22), _property("Cast Time", "0.70 sec", 23)]
        rows += [
            _property("Critical Strike Chance", "6.00%", 12),
            _property("Effectiveness of Added Damage", "190%", 24),
        ]
        rows += [_property("Quality", f"+{quality}%", 6, 1)] if quality else []
        done, whole = rng.randint(1, 15_249), rng.randint(15_249, 212_046_017)
        progress = {
            "name": "Experience",
            "values": [[f"{done}/{whole}", 0]],
            "displayMode": 2,
            "progress": 0.25,
            "type": 20,
        }
        return {"properties": rows, "requirements": wants, "additionalProperties": [progress]}
    if look.tier:
        rows = [_property("Map Tier", str(look.tier), 1), _property("Item Quantity", f"+{rng.randint(20, 94)}%", 2, 1)]
        return {"properties": [*rows, _property("Monster Pack Size", f"+{rng.randint(8, 30)}%", 4, 1)]}
    if look.stack_max:
        return {"properties": [_property("Stack Size", f"{item['stackSize']}/{look.stack_max}", 32)]}
    if look.category == "armour":
        rows = [
            _property("Armour", str(rng.randint(80, 900)), 16),
            _property("Energy Shield", str(rng.randint(10, 300)), 18),
        ]
        rows = [_property("Quality", f"+{rng.randint(1, 30)}%", 6, 1), *rows]
        return {"properties": rows, "requirements": wants}
    if look.category == "weapons":
        blow = f"{rng.randint(20, 90)}-{rng.randint(91, 250)}"
        rows = [_property(look.sub.capitalize(), "", 0), _property("Physical Damage", blow, 9, 1)]
        rows += [_property("Critical Strike Chance", "6.50%", 12), _property("Attacks per Second", "1.35", 13)]
        return {"properties": rows, "requirements": wants}
    return {"requirements": wants[:1]} if look.category in {"accessories", "flasks"} else {}


def roll(text: str, rng: Random) -> str:
    """``text`` with every range rolled.

    >>> roll("+(7-7) to maximum Life", Random(1))
    '+7 to maximum Life'
    """

    def pick(match: re.Match[str]) -> str:
        low, high = match[1], match[2]
        if "." in low + high:
            return f"{rng.uniform(float(low), float(high)):.1f}"
        return str(rng.randint(int(low), int(high)))

    return _RANGE.sub(pick, text)


def _mods(kind: Kind, rng: Random, *, is_objects: bool) -> dict[str, Any]:
    """Enchants, implicits and explicits; the one flagged stands in a list of its own while mods are strings."""
    look = kind.look
    wanted = list(look.mods)
    if kind.pool in {"rares", "magics"}:
        wanted = rng.sample(names(data.MODS), len(wanted))
    texts = [roll(mod, rng) for mod in wanted]
    flags: list[str] = [""] * len(texts)
    if texts and (look.extra.get("fractured") or look.extra.get("mutated")):
        flags[-1] = "fractured" if look.extra.get("fractured") else "mutated"
    elif kind.pool == "rares" and rng.random() < 0.4:  # noqa: PLR2004 - the share of crafted rares
        flags[-1] = "crafted"
    found: dict[str, Any] = {"enchantMods": list(look.enchants)} if look.enchants else {}
    implicits = [roll(mod, rng) for mod in look.implicits]
    if is_objects:
        found |= {"implicitMods": [{"description": text} for text in implicits]} if implicits else {}
        return found | ({"explicitMods": [_object(*mod) for mod in zip(texts, flags, strict=True)]} if texts else {})
    found |= {"implicitMods": implicits} if implicits else {}
    plain = [text for text, flag in zip(texts, flags, strict=True) if not flag]
    found |= {"explicitMods": plain} if plain else {}
    return found | {f"{flag}Mods": [text] for text, flag in zip(texts, flags, strict=True) if flag}


def _object(text: str, flag: str) -> dict[str, object]:
    return {"description": text, "flags": {flag: True}} if flag else {"description": text}


def _texts(look: Look) -> dict[str, object]:
    """Descriptions and flavour."""
    found: dict[str, object] = {"descrText": _TEXT[look.category]} if look.category in _TEXT else {}
    if look.frame == GEM:
        effect = "strikes enemies in an area around you, dealing damage that grows with each of them. Cannot be evaded"
        found = {"secDescrText": f"{look.base} {effect}, but is slower while you move.", **found}
    if look.frame in {UNIQUE, CARD}:
        at = key_of(look.name or look.base) % 3
        found["flavourText"] = list(_FLAVOUR[at : at + 3])
    if look.frame == CARD:
        found["artFilename"] = re.sub(r"\W", "", look.base)
    return found


def _extended(look: Look) -> dict[str, object]:
    """The category, and the affixes of what has them."""
    found: dict[str, object] = {"category": "currency" if look.frame == CURRENCY else look.category}
    if look.sub:
        found["subcategories"] = [look.sub]
    return found | ({"prefixes": 3, "suffixes": 3} if look.frame == RARE and look.category != "maps" else {})

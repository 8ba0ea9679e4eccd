"""The stand-in's world: its realms, its leagues, and the currencies traded in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_M = "Metadata/Items/"
CHAOS = _M + "Currency/CurrencyRerollRare"
DIVINE = _M + "Currency/CurrencyModValues"
EXALTED = _M + "Currency/CurrencyAddModToRare"
REALMS = ("pc", "xbox", "sony", "poe2")


@dataclass(frozen=True, slots=True)
class League:
    """One league; ``activity`` is the logarithm of its trade against the realm's biggest league."""

    name: str
    activity: float
    divine_bound: float = 0.0  # logarithm by which trade against chaos and exalted falls behind divine


@dataclass(frozen=True, slots=True)
class Realm:
    """What sets one realm apart; logarithms are natural and values are in chaos."""

    name: str
    game: str
    leagues: tuple[League, ...]
    currencies_max: int
    value_mu: float  # centre of the logarithm of values
    units_mu: float  # centre of the logarithm of units traded in an hour
    money: float  # what players count in: the geometric mean of a chaos and a divine, in chaos
    ranks: Mapping[str, float]  # where the numeraires stand in upstream's own order of currencies, 0..1


_POE1_RANKS = {CHAOS: 0.94, DIVINE: 0.95, EXALTED: 0.96}
_POE2_RANKS = {CHAOS: 0.48, DIVINE: 0.5, EXALTED: 0.77}


def _poe1(name: str, activity: float, currencies_max: int) -> Realm:
    """A realm of the first game: everything is quoted in chaos, dear things in divine too."""
    leagues = (
        League("Standard", activity - 4.6, 0.5),
        League("Allflame", activity),
        League("Hardcore Allflame", activity - 4.2),
        League("Karui Tide Club (PL12345)", activity - 7.8),
    )
    return Realm(name, "poe1", leagues, currencies_max, 1.3, 4.3, 14.1, _POE1_RANKS)


_POE2 = Realm(
    "poe2",
    "poe2",
    (
        League("Standard", -4.1, 2.6),
        League("Runes of Aldur", 0.0),
        League("HC Runes of Aldur", -5.8, 0.2),
        League("Copper Kettle League (PL23456)", -8.0, 0.5),
    ),
    660,
    -0.5,
    2.7,
    3.1,
    _POE2_RANKS,
)

_WORLD = {
    realm.name: realm for realm in (_poe1("pc", 0.0, 560), _poe1("xbox", -2.0, 400), _poe1("sony", -2.2, 380), _POE2)
}


def realm_of(name: str) -> Realm:
    """The realm called ``name``; ValueError names the realms there are."""
    if name not in _WORLD:
        raise ValueError(f"unknown realm {name!r}: expected one of {', '.join(REALMS)}")
    return _WORLD[name]


# Trade code, last part of the metadata id, value in chaos in the first and in the second game (0: not there).
# Codes and ids are the game's own; values are of the right order and otherwise ours.
_KNOWN = """
chaos CurrencyRerollRare 1 1 | divine CurrencyModValues 199 9.7 | exalted CurrencyAddModToRare 7 0.0356
mirror CurrencyDuplicate 28000 24000 | mirror-shard CurrencyDuplicateShard 1400 0 | annul CurrencyRemoveMod 9 1.9
vaal CurrencyCorrupt 1.1 0.11 | regal CurrencyUpgradeMagicToRare 0.4 0.02 | alch CurrencyUpgradeToRare 0.2 0.018
fusing CurrencyRerollSocketLinks 0.3 0 | jewellers CurrencyRerollSocketNumbers 0.1 0 | alt CurrencyRerollMagic 0.08 0
chrome CurrencyRerollSocketColours 0.1 0 | chance CurrencyUpgradeRandomly 0.12 0.3
scour CurrencyConvertToNormal 0.4 0 | aug CurrencyAddModToMagic 0.03 0.012
transmute CurrencyUpgradeToMagic 0.02 0.006 | gcp CurrencyGemQuality 0.9 0.14 | regret CurrencyPassiveRefund 0.7 0
blessed CurrencyRerollImplicit 0.5 0 | bauble CurrencyFlaskQuality 0.2 0.01 | scrap CurrencyArmourQuality 0.1 0.008
whetstone CurrencyWeaponQuality 0.2 0.02 | wisdom CurrencyIdentification 0.005 0.003 | portal CurrencyPortal 0.01 0
ancient-orb CurrencyRerollUnique 6 0 | sacred-orb CurrencyRerollDefences 14 0
hinekoras-lock CurrencyHinekorasLock 5200 1900 | fracturing-orb CurrencyFractureRare 0 24
annulment-shard CurrencyRemoveModShard 0.5 0 | greater-chaos-orb CurrencyRerollRare2 0 0.9
perfect-chaos-orb CurrencyRerollRare3 0 6 | greater-exalted-orb CurrencyAddModToRare2 0 0.09
perfect-exalted-orb CurrencyAddModToRare3 0 1.2 | orb-of-conflict CurrencyConflictOrb 5 0
tailoring-orb CurrencyHeistArmourEnchant 30 0 | tempering-orb CurrencyHeistWeaponEnchant 26 0
lesser-jewellers-orb CurrencyAddSkillGemSocket3 0 0.03 | greater-jewellers-orb CurrencyAddSkillGemSocket4 0 0.05
perfect-jewellers-orb CurrencyAddSkillGemSocket5 0 2.4
"""
# Families of ids: path, names, steps. They have the form of the game's own and fill a market when no table is given.
_FAMILIES = {
    "poe1": """
Scarabs/Scarab{}New{} Abyss Strongbox Anarchy Beyond Blight Breach Delirium Expedition Domination Essence Legion 5
Currency/CurrencyEssence{}{} Anger Contempt Doubt Dread Envy Fear Greed Hatred Loathing Rage Scorn Sorrow Woe Wrath 7
Currency/CurrencyAfflictionOrb{}{} Abyss Armour Blight Maps Currency Fossils Generic Weapons 1
Currency/CurrencyDelveCrafting{}{} Chaos CasterMods Vaal Defences GemLevel Enchant BleedPoison Mirror 1
Currency/CurrencyEldritch{}{} Ember Ichor 4
Currency/AncestralTattoo{}{} Kitava Tukohama Arohongui Ngamahu Tasalio Valako 4
DivinationCards/DivinationCard{}{} TheDoctor TheFiend Home TheSun ThreeVoices TheDeepOnes BrothersGift TheWretched 1
MapFragments/CurrencyUberBossKey{}{} Sirus Cortex Maven Shaper Elder Exarch Eater 1
""",
    "poe2": """
SoulCores/Rune{}{} Fire Cold Lightning Life Mana Strength Dexterity Intelligence Enhance Accuracy Steel Resolve 4
Currency/CurrencyGreaterEssence{}{} Life Mana Fire Cold Chaos Defences Speed Rarity Attack Caster 1
Currency/CurrencyEssence{}{} Life Mana Fire Cold Chaos Defences Speed Rarity Attack Caster 1
Currency/DistilledEmotion{}{} Ire Guilt Greed Paranoia Envy Disgust Despair Fear Suffering Isolation 3
Currency/OmenOn{}{} Sanctify Erase Exalt Annul Corrupt Chance Alchemy Regal Abyss Light 4
Gems/{}GemUncut{} Skill Reservation Support 20
Gem/SupportGem{}{} Uhtreds Rakiatas Atziris Tuls Xophs Eshs Uul Zarokhs Kurgals Dialla Tacati Paquate Kaoms 2
SoulCores/SoulCoreSpecial{}{} A B C D E F G H 3
Pinnacle/BurningMonolithKey{}{} A B C 1
Expedition/Expedition2Logbook{}{} Medved Olroth Uhtred Vorana 1
""",
}


def _known(game: str) -> dict[str, tuple[str, float]]:
    """Metadata id → (trade code, value in chaos) of the hand-picked currencies of ``game``."""
    found = {}
    for entry in _KNOWN.strip().replace("\n", "|").split("|"):
        code, name, poe1, poe2 = entry.split()
        value = float(poe1 if game == "poe1" else poe2)
        if value:
            found[f"{_M}Currency/{name}"] = (code, value)
    return found


def anchors(game: str) -> dict[str, float]:
    """Metadata id → value in chaos, for the currencies whose value is fixed by hand."""
    return {currency: value for currency, (_, value) in _known(game).items()}


def builtin_ids(game: str) -> tuple[str, ...]:
    """The currencies traded when no reference table is given, several hundred a game."""
    ids = list(_known(game))
    for line in _FAMILIES[game].strip().splitlines():
        path, *names, steps = line.split()
        ids += [_M + path.format(name, step + 1) for name in names for step in range(int(steps))]
    return tuple(dict.fromkeys(ids))


def codes_of(ids: Iterable[str], game: str) -> dict[str, str]:
    """Metadata id → trade code, as hours before the ids' time are written; an unknown id yields its own last part."""
    known = _known(game)
    return {
        currency: known[currency][0] if currency in known else currency.rsplit("/", 1)[-1].lower() for currency in ids
    }


def _rows(path: Path) -> list[dict[str, str]]:
    """A reference table's rows by column; errors as ``load_ids``."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    header = lines[0].split("\t") if lines else []
    if not {"metadata_id", "game"} <= set(header):
        raise ValueError(f"{path}: expected a header with the columns metadata_id and game")
    return [dict(zip(header, line.split("\t"), strict=False)) for line in lines[1:]]


def load_ids(path: Path, game: str) -> tuple[str, ...]:
    """The metadata ids of ``game`` (``poe1`` or ``poe2``) in a reference table, in the table's order.

    The table is tab-separated with a header holding ``metadata_id`` and ``game`` (``poe1``, ``poe2`` or ``both``).
    Raises ValueError when those columns are missing or no row is of ``game``, OSError when it cannot be read.
    """
    ids = (row["metadata_id"] for row in _rows(path) if row.get("game") in {game, "both"})
    found = tuple(dict.fromkeys(filter(None, ids)))
    if not found:
        raise ValueError(f"{path}: no currency of {game}")
    return found


def load_codes(path: Path) -> dict[str, str]:
    """Metadata id → trade code of a reference table, where its column ``trade_tag`` has one; errors as ``load_ids``."""
    return {row["metadata_id"]: row["trade_tag"] for row in _rows(path) if row.get("trade_tag")}

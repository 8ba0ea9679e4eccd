"""The key of an item, as ``schema/etl/parts/sighted.sql`` tells it: one for each thing that a price can stand for."""

import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import orjson
import pytest

from ledgerd.sim.goods import catalogue
from ledgerd.sim.items import template
from ledgerd.store.queries import schema_root
from tests.store.riverside import flowing

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LEAGUE = "Mirage"
ROLLS = 2
SIGHTED = "\n".join(
    line
    for line in (schema_root() / "etl" / "parts" / "sighted.sql").read_text("utf-8").splitlines()
    if not line.startswith("--")
)
SETTINGS = {"query_plan_merge_expressions": 0}
"""Merging the nested queries costs the engine more than it saves."""
COLUMNS = (
    "league", "stash_id", "page_seq", "retrieved_at", "change_id", "account", "item_id", "item", "stack", "note_text",
    "item_key", "key", "category", "name", "parts", "reason",
)  # fmt: skip


@pytest.fixture
async def river(engine, tmp_path):
    async with flowing(engine, tmp_path) as river:
        yield river


async def rows_of(river, body, leagues=(LEAGUE,)):
    """What is sighted in a page, carried as a batch of its own."""
    await river.carry(body)
    return await rows_of_batch(river, leagues)


async def rows_of_batch(river, leagues):
    params = {"realm": "pc", "batch_id": river.commits[-1].batch.batch_id, "leagues": list(leagues)}
    sql = f"WITH sighted AS ({SIGHTED}) SELECT {', '.join(COLUMNS)} FROM sighted"
    found = await river.engine.rows(sql, params, settings=SETTINGS)
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


async def by_id(river, body, leagues=(LEAGUE,)):
    """Item id → its row."""
    return {row["item_id"]: row for row in await rows_of(river, body, leagues)}


def page(*changes):
    return b'{"next_change_id":"1-2-3-4-5","stashes":[' + b",".join(changes) + b"]}"


def stash(*items, number=1, league=LEAGUE, name="Sale", public=True):
    """A change; items as values or as bytes of JSON."""
    raw = b",".join(item if isinstance(item, bytes) else orjson.dumps(item) for item in items)
    head = {"id": f"s{number}", "public": public, "accountName": "a", "stash": name, "league": league}
    return orjson.dumps(head)[:-1] + b',"stashType":"PremiumStash","items":[' + raw + b"]}"


def of_catalogue(kind_n, roll, is_objects):
    """One item of the stand-in, as its pages have it."""
    to_league, to_id, to_note, to_place, rest, last = template(kind_n, roll, is_objects)
    item_id = f"{kind_n}-{roll}-{is_objects}".encode()
    tail = () if last is None else (b'"Prefix01"', last)
    return b"".join((to_league, b'"Mirage"', to_id, item_id, to_note, to_place, b'"x":0,"y":0', rest, *tail))


def thing(kind):
    """What can be told of a kind: unidentified, it looks like others of its base; without sockets, it has no links."""
    if kind.identity.get("unidentified"):
        return "unidentified", kind.look.base
    seen = dict(kind.identity)
    if "Has no Sockets" in kind.look.mods:
        seen.pop("links", None)
    return tuple(seen.items())


def read(item_key):
    """Category, name and parts of a key, as docs/item-keys.md says to read it."""
    category, name, *parts = item_key.split("|")
    return category, name, dict(part.split("=", 1) for part in parts)


async def test_every_kind_of_the_stand_in_has_one_key_of_its_own_in_both_shapes_of_mods(river):
    kinds = catalogue()
    items = [of_catalogue(n, roll, shape) for n in range(len(kinds)) for roll in range(ROLLS) for shape in (0, 1)]
    stashes = [stash(*items[n : n + 500], number=n) for n in range(0, len(items), 500)]
    rows = await rows_of(river, page(*stashes))
    keys, things = defaultdict(set), defaultdict(set)
    for row in rows:
        kind_n = int(row["item_id"].partition("-")[0])
        keys[kind_n].add(row["item_key"])
        things[row["item_key"]].add(thing(kinds[kind_n]))
    unpriced = things.pop("")

    assert len(rows) == len(items)
    assert {row["reason"] for row in rows} == {""}
    assert [kinds[n].key for n, found in keys.items() if len(found) != 1] == []
    assert unpriced == {thing(kind) for kind in kinds if kind.price == 0}
    assert {key: found for key, found in things.items() if len(found) != 1} == {}
    assert all((row["category"], row["name"], row["parts"]) == read(row["item_key"]) for row in rows if row["key"])
    assert all((row["key"] == 0) == (row["item_key"] == "") for row in rows)


def unique(name, base, *mods, **more):
    return {"name": name, "typeLine": base, "baseType": base, "frameType": 3, "explicitMods": [*mods], **more}


def gem(name, level, quality=None, **more):
    rows = [{"name": "Level", "values": [[level, 0]], "type": 5}]
    rows += [{"name": "Quality", "values": [[quality, 1]], "type": 6}] if quality else []
    return {"name": "", "typeLine": name, "baseType": name, "frameType": 4, "properties": rows, **more}


def base(type_line, ilvl, **more):
    return {"name": "", "typeLine": type_line, "baseType": type_line, "frameType": 0, "ilvl": ilvl, **more}


def a_map(title, base_type, *, tier=None, frame=0, **more):
    rows = [{"name": "Map Tier", "values": [[tier, 0]], "type": 1}] if tier else []
    return {
        "name": "",
        "typeLine": title,
        "baseType": base_type,
        "frameType": frame,
        "ilvl": 83,
        "properties": rows,
    } | more


def linked(*groups):
    return [{"group": group, "attr": "S", "sColour": "R"} for group in groups]


FLESH = "Allocates Nine Lives if you have the matching modifier on Forbidden Flame"
EYE = ["5% increased maximum Life", "+1.5% to Critical Strike Chance while affected by Hatred",
       "Gain 25 Energy Shield per Enemy Hit while affected by Discipline"]  # fmt: skip
CLUSTER = ["Adds 8 Passive Skills", "2 Added Passive Skills are Jewel Sockets",
           "Added Small Passive Skills grant: 12% increased Fire Damage"]  # fmt: skip
WEAPONS = ("Axe Attacks deal 12% increased Damage", "Sword Attacks deal 12% increased Damage")
ICON = "https://web.poecdn.com/image/Art/2DItems/Belts/Headhunter.png?scale=1&w=2&h=1"
LARGE = "Large Cluster Jewel"
EDGES = [
    (unique("<<set:MS>><<set:M>><<set:S>>The Rat Cage", "Sharkskin Tunic"), "unique|The Rat Cage|base=Sharkskin Tunic"),
    ({**unique("Goldrim", "Superior Leather Cap"), "baseType": None}, "unique|Goldrim|base=Leather Cap"),
    (unique("A|B=C", "Leather Belt"), "unique|A/B=C|base=Leather Belt"),
    (unique("", "Leather Belt", identified=False, icon=ICON),
     "unique|Leather Belt|base=Leather Belt|art=Headhunter|unidentified=true"),
    (unique("Headhunter", "Leather Belt", frameType=9), "unique|Headhunter|base=Leather Belt|foil=true"),
    (unique("Headhunter", "Leather Belt", frameType=10, isRelic=True), "unique|Headhunter|base=Leather Belt|foil=true"),
    (unique("Foulborn Goldrim", "Leather Cap", mutated=True), "unique|Foulborn Goldrim|base=Leather Cap|foulborn=true"),
    (unique("Replica Abyssus", "Ezomyte Burgonet", replica=True, corrupted=True, duplicated=True),
     "unique|Replica Abyssus|base=Ezomyte Burgonet|replica=true|corrupted=true|mirrored=true"),
    (unique("Tabula Rasa", "Simple Robe", sockets=linked(*[0] * 6)), "unique|Tabula Rasa|base=Simple Robe|links=6"),
    (unique("Loreweave", "Elegant Ringmail", sockets=linked(0, 1, 1, 1, 1, 1)),
     "unique|Loreweave|base=Elegant Ringmail|links=5"),
    (unique("Loreweave", "Elegant Ringmail", sockets=linked(0, 0, 1, 1, 2)), "unique|Loreweave|base=Elegant Ringmail"),
    (unique("Tombfist", "Steelscale Gauntlets", "Has 2 Abyssal Sockets"),
     "unique|Tombfist|base=Steelscale Gauntlets|variant=2 Abyssal Socket"),
    (unique("Atziri's Splendour", "Sacrificial Garb", "210% increased Armour and Energy Shield", "+95 to maximum Life"),
     "unique|Atziri's Splendour|base=Sacrificial Garb|variant=Armour and Energy Shield + Life"),
    (unique("Vessel of Vinktar", "Topaz Flask", "Adds 30 to 120 Lightning Damage to Spells during Effect"),
     "unique|Vessel of Vinktar|base=Topaz Flask|variant=Damage to Spells"),
    (unique("Doryani's Invitation", "Heavy Belt", "25% increased Global Physical Damage"),
     "unique|Doryani's Invitation|base=Heavy Belt|variant=Physical"),
    (unique("Forbidden Flesh", "Cobalt Jewel", FLESH), "unique|Forbidden Flesh|base=Cobalt Jewel|variant=Nine Lives"),
    (unique("Forbidden Flesh", "Cobalt Jewel", {"description": FLESH}),
     "unique|Forbidden Flesh|base=Cobalt Jewel|variant=Nine Lives"),
    (unique("Watcher's Eye", "Prismatic Jewel", *EYE), "unique|Watcher's Eye|base=Prismatic Jewel|variant="
     "+#% to Critical Strike Chance while affected by Hatred + "
     "Gain # Energy Shield per Enemy Hit while affected by Discipline"),
    (unique("Elegant Hubris", "Timeless Jewel", "Commissioned 134140 coins to commemorate Victario\n"
            "Passives in radius are Conquered by the Eternal Empire", "Historic"),
     "unique|Elegant Hubris|base=Timeless Jewel|variant=Victario"),
    (unique("Voices", LARGE, "Adds 3 Small Passive Skills which grant nothing"),
     f"unique|Voices|base={LARGE}|variant=3"),
    (gem("Arc", "20 (Max)", "+20%"), "gem|Arc|level=20|quality=20"),
    (gem("Arc", 20, "+22%"), "gem|Arc|level=20|quality=20"),
    (gem("Arc", "21 (Max)", "+23%", corrupted=True), "gem|Arc|level=21|quality=23|corrupted=true"),
    (gem("Arc", "13", "+19%"), "gem|Arc|level=1"),
    (gem("Awakened Multistrike Support", "5 (Max)", "+20%"), "gem|Awakened Multistrike Support|level=5|quality=20"),
    (gem("Empower Support", "2"), "gem|Empower Support|level=1"),
    ({**gem("Anomalous Arc", "1"), "baseType": "Arc"}, "gem|Anomalous Arc|level=1"),
    ({**gem("Signal Prey", "1"), "baseType": "Predator Support"}, "gem|Predator Support|level=1"),
    (gem("Vaal Cleave", "1", hybrid={"isVaalGem": True, "baseTypeName": "Cleave"}), "gem|Vaal Cleave|level=1"),
    (gem("Vaal Cleave", "1", hybrid={"isVaalGem": True, "baseTypeName": "Cleave of Rage"}),
     "gem|Vaal Cleave|skill=Cleave of Rage|level=1"),
    (a_map("Superior Plaza Map", None, tier="14", corrupted=True), "map|Plaza Map|tier=14"),
    (a_map("Frozen Plaza Map of Ice", "Plaza Map", tier=16, frame=1), "map|Plaza Map|tier=16"),
    (a_map("Frozen Plaza Map of Ice", None, tier="16", frame=1), ""),
    (a_map("Blighted Plaza Map", "Plaza Map", tier="14", frame=2), "map|Plaza Map|blight=Blighted|tier=14"),
    (a_map("Blight-ravaged Map (Tier 16)", "Map (Tier 16)"), "map|Map|blight=Blight-ravaged|tier=16"),
    (a_map("Map (Tier 16)", "Map (Tier 16)", implicitMods=[{"description": "Map contains Drox's Citadel\nMore of it"}]),
     "map|Map|occupied=Drox's Citadel|tier=16"),
    (base("Vaal Regalia", 81), "base|Vaal Regalia"),
    (base("Vaal Regalia", 84), "base|Vaal Regalia|ilvl=84"),
    (base("Vaal Regalia", 100), "base|Vaal Regalia|ilvl=86"),
    (base("Vaal Regalia", 86, influences={"hunter": True, "elder": True}, elder=True, sockets=linked(*[0] * 6)),
     "base|Vaal Regalia|influences=elder+hunter|links=6|ilvl=86"),
    ({**base("Synthesised Opal Ring", 86, synthesised=True, split=True), "baseType": ""},
     "base|Opal Ring|ilvl=86|synthesised=true|split=true"),
    (base("Opal Ring", 85, frameType=1, fractured=True), "base|Opal Ring|ilvl=85|fractured=true"),
    (base("Opal Ring", 85, frameType=1), ""),
    (base("Opal Ring", 85, frameType=2, fractured=True, identified=False), ""),
    (base(LARGE, 84, frameType=2, enchantMods=CLUSTER),
     f"cluster_jewel|{LARGE}|enchant=12% increased Fire Damage|passives=8|ilvl=84"),
    (base(LARGE, 74, frameType=1, enchantMods=["Adds 10 Passive Skills",
          "\n".join(f"Added Small Passive Skills grant: {text}" for text in WEAPONS)]),
     f"cluster_jewel|{LARGE}|enchant={' + '.join(WEAPONS)}|passives=10|ilvl=68"),
    (base("The Doctor", 0, frameType=6, stackSize=3), "card|The Doctor"),
    (base("Divine Orb", 0, frameType=5), "currency|Divine Orb"),
    (base("Divine Orb", 0, frameType=None, frameTypeId="Currency"), "currency|Divine Orb"),
    (base("Deafening Essence of Greed", 0, frameType=5), "essence|Deafening Essence of Greed"),
    (base("Fine Delirium Orb", 0, frameType=5), "delirium_orb|Fine Delirium Orb"),
    (base("Gilded Ambush Scarab", 0, category={"maps": ["fragment", "scarab"]}), "scarab|Gilded Ambush Scarab"),
    (base("Screaming Invitation", 83, extended={"category": "maps"}), "fragment|Screaming Invitation"),
    (base("Vivid Vulture", 82, frameType=2, name="Grim", extended={"category": "monsters"}), "beast|Vivid Vulture"),
    (base("Monstrous Treasure", 0, frameType=8), "prophecy|Monstrous Treasure"),
    (base("A Book", 0, frameType=7), ""),
]  # fmt: skip


async def test_items_are_keyed_by_what_the_market_tells_apart(river):
    items = [{"id": f"{n}", "identified": True, **item} for n, (item, _) in enumerate(EDGES)]
    rows = await by_id(river, page(stash(*items)))
    got = [rows[f"{n}"] for n in range(len(EDGES))]

    assert [row["item_key"] for row in got] == [key for _, key in EDGES]
    assert [row["reason"] for row in got] == [""] * len(EDGES)
    assert [(row["category"], row["name"], row["parts"]) for row in got] == [
        read(key) if key else ("", "", {}) for _, key in EDGES
    ]


ORB = b'"name":"","typeLine":"Divine Orb","baseType":"Divine Orb","frameType":5,"identified":true'
MISFITS = {
    b'"id":"0",' + ORB + b',"ilvl":70000': "ilvl is not a whole number up to 255",
    b'"id":"1",' + ORB + b',"ilvl":"high"': "ilvl is not a whole number up to 255",
    b'"id":"2",' + ORB + b',"stackSize":-1': "stackSize is not a whole number from 1",
    b'"id":"3",' + ORB + b',"stackSize":1e400': "stackSize is not a whole number from 1",
    b'"id":"4",' + ORB + b',"stackSize":123456789012345678901234567890': "stackSize is not a whole number from 1",
    b'"id":"5",' + ORB + b',"stackSize":2.5': "stackSize is not a whole number from 1",
    b'"id":"6",' + ORB + b',"stackSize":"7"': "",
    b'"id":"7",' + ORB + b',"stackSize":null,"ilvl":null': "",
    ORB: "no id",
    b'"id":"9"': "no readable name",
    b'"id":"10",' + ORB.replace(b'"Divine Orb"', b'{"a":[[]]}'): "no readable name",
    b'"id":"11","typeLine":"Divine Orb"': "no known frameType",
    b'"id":"12",' + ORB + b',"properties":7,"sockets":{"a":1},"explicitMods":"x","hybrid":[],"influences":[1]': "",
    b'"id":"13",' + ORB + b',"properties":[7,null,{"name":[],"values":{}}],"sockets":[9,{"group":"z"}]': "",
    b'"id":"14",' + ORB + b',"note":"\\ud800","explicitMods":[{},[],1e999,"\\udc00"]': "",
    b'"id":"15",' + ORB + b',"corrupted":"yes","identified":7,"extended":{"category":5},"category":true': "",
}


async def test_a_misfit_has_a_reason_and_costs_no_other_item_its_row(river):
    items = [b"{%b}" % item for item in MISFITS]
    rows = await rows_of(river, page(stash(*items), stash(*[b"{%b}" % ORB.replace(b"5", b"3")] * 2, number=2)))
    odd = [(row["item_id"], row["reason"], row["key"] == 0) for row in rows if row["stash_id"] == "s1"]
    ids = [str(n) if n != 8 else "" for n in range(len(MISFITS))]

    assert odd == [(item_id, why, why != "") for item_id, why in zip(ids, MISFITS.values(), strict=True)]
    assert [row["stack"] for row in rows if row["item_id"] in {"2", "6", "7"}] == [1, 7, 1]
    assert len(rows) == len(items) + 2


async def test_items_that_cannot_be_read_at_all_leave_a_row_each_that_says_so(river):
    await rows_of(river, page(stash(b'{"id":"1",%b}' % ORB)))
    torn = stash(b'{"id":"2",%b}' % ORB, b'{"id":"3",%b}' % ORB, number=2)[:-9]
    copied = "SELECT * REPLACE ('s2' AS stash_id, {torn:String} AS payload, 2 AS item_count) FROM bronze_raw_stashes"
    await river.engine.execute(f"INSERT INTO bronze_raw_stashes {copied}", {"torn": torn.decode()})
    rows = [
        (row["stash_id"], row["item_id"], row["reason"], row["key"]) for row in await rows_of_batch(river, [LEAGUE])
    ]
    why = "the items of the change cannot be read"

    assert [row[:3] for row in sorted(rows)] == [("s1", "1", ""), ("s2", "", why), ("s2", "", why)]
    assert [row[3] for row in rows if row[2]] == [0, 0]


async def test_rows_are_of_public_changes_of_the_leagues_asked_for(river):
    orb = b'{"id":"%d",%b}'
    changes = [
        stash(orb % (1, ORB), number=1),
        stash(orb % (2, ORB), number=2, league="Standard"),
        stash(orb % (3, ORB), number=3, league="Mine (PL1)"),
        stash(orb % (4, ORB), number=4, league=None),
        stash(orb % (5, ORB), number=5, public=False),
    ]
    rows = await by_id(river, page(*changes), leagues=[LEAGUE, "(private)", ""])

    assert list(rows) == ["1"]
    assert (rows["1"]["league"], rows["1"]["stash_id"], rows["1"]["account"]) == (LEAGUE, "s1", "a")


@pytest.mark.parametrize(
    ("note", "tab", "text"),
    [
        ("~price 3 chaos", "~b/o 1 chaos", "~price 3 chaos"),
        ("\n ~b/o 2 divine\t", "", "~b/o 2 divine"),
        ("pm me", "~b/o 1 chaos", "~b/o 1 chaos"),
        (None, " ~price 5 chaos", "~price 5 chaos"),
        ("pm me", "dump", ""),
    ],
)
async def test_the_note_is_the_items_own_price_or_else_that_of_its_tab(river, note, tab, text):
    item = {"id": "1", **orjson.loads(b"{%b}" % ORB), "note": note, "stackSize": 12}
    rows = await by_id(river, page(stash(item, name=tab)))

    assert (rows["1"]["note_text"], rows["1"]["stack"], rows["1"]["item_key"]) == (text, 12, "currency|Divine Orb")


async def test_veiled_mods_alone_change_nothing(river):
    item = {
        **base("Opal Ring", 85, frameType=2),
        "id": "1",
        "identified": True,
        "veiled": True,
        "note": "~price 1 divine",
    }
    fetches = [
        await rows_of(river, page(stash({**item, "veiledMods": mods}))) for mods in (["Prefix01"], ["Suffix09", "x"])
    ]

    first, second = [[{k: v for k, v in row.items() if k != "change_id"} for row in rows] for rows in fetches]
    assert first == second


PAGES = (
    "river/page-2019-legion.json.gz",
    "river/page-2024-a.json.gz",
    "river-diffs-2017/after-3-stashes-added.json.gz",
)
RECORDED = """
unique|Vaults of Atziri|base=Vaal Pyramid Map|corrupted=true
unique|The Goddess Unleashed|base=Eternal Sword|links=6
unique|Lightpoacher|base=Great Crown|variant=2 Abyssal Socket
unique|Vessel of Vinktar|base=Topaz Flask|variant=Penetrates
unique|Quill Rain|base=Short Bow|links=6|corrupted=true
unique|Soldier Helmet|base=Soldier Helmet|art=Honourhome|unidentified=true
unique|Voll's Devotion|base=Agate Amulet|foil=true
unique|Replica Voideye|base=Unset Ring|replica=true
unique|Elegant Hubris|base=Timeless Jewel|variant=Victario
gem|Conductivity|level=20|quality=20
gem|Anomalous Vaal Ice Nova|level=20|quality=20|corrupted=true
gem|Predator Support|level=1
map|Colosseum Map|tier=16
base|Astral Plate|influences=elder|ilvl=82
base|Citrine Amulet|ilvl=85|fractured=true
essence|Deafening Essence of Dread
card|Emperor's Luck
scarab|Gilded Sulphite Scarab
resonator|Prime Chaotic Resonator
base|Talisman Leaguestone|corrupted=true
""".strip().splitlines()


def recorded(name):
    """The changes of a recorded page; before 2018 the league stood in the items."""
    found = json.loads(gzip.decompress((SHARED / name).read_bytes()))["stashes"]
    return [{"league": next((item["league"] for item in each["items"]), None), **each} for each in found]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not present: no recorded pages to read")
async def test_every_item_of_recorded_pages_has_a_row_and_all_but_rares_and_magics_a_key(river):
    names = (
        "river/page-2019-legion.json.gz",
        "river/page-2024-a.json.gz",
        "river-diffs-2017/after-3-stashes-added.json.gz",
    )
    for name in names:
        changes = recorded(name)
        leagues = {each["league"] for each in changes if each["league"]}
        items = {item["id"]: item for each in changes if each["public"] and each["league"] for item in each["items"]}
        rows = await by_id(river, page(*map(orjson.dumps, changes)), leagues)
        keyless = [key for key, row in rows.items() if not row["key"] and items[key]["frameType"] not in {1, 2}]

        assert set(rows) == {key for key, item in items.items() if "(PL" not in item["league"]}
        assert {row["reason"] for row in rows.values()} == {""}
        assert keyless == []
        assert all((r["category"], r["name"], r["parts"]) == read(r["item_key"]) for r in rows.values() if r["key"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not present: no recorded pages to read")
async def test_recorded_things_are_what_they_are(river):
    found = Counter()
    for name in PAGES:
        changes = recorded(name)
        rows = await by_id(river, page(*map(orjson.dumps, changes)), {each["league"] for each in changes} - {None})
        found += Counter(row["item_key"] for row in rows.values())

    assert [key for key in RECORDED if not found[key]] == []

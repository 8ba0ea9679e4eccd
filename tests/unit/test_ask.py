"""The commands that ask for prices, typed against a small market: what a person reads, what a script gets."""

import doctest
import io
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ledgerd import cli, reach
from ledgerd.ask import convert, export, place, tables
from ledgerd.errors import UsageError
from ledgerd.web.app import create_offline_app
from tests.prices import CHAOS, DIVINE, EXALTED, EYE, HEADHUNTER, HOUR_S, ITEMS, MARKET, NO_STORE, World, gold, item
from tests.unit.config_files import write

ROOT = Path(__file__).resolve().parents[2]
AS_OF, ITEMS_AS_OF = "2025-10-09T09:00:00Z", "2025-10-09T08:55:00Z"


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """Type a command to a ledger that holds `MARKET` and `ITEMS`; its exit code, its stdout, its stderr."""
    config = str(write(tmp_path))
    for name in list(os.environ):
        if name.startswith(("POE_", "CH_")):
            monkeypatch.delenv(name)

    def type_(
        *words, rows=MARKET, items=ITEMS, later_s=0.0, history=(), error=None, realms=("pc",), create=create_offline_app
    ):
        @asynccontextmanager
        async def ledger(config, *, prices=True):
            world = World(rows, items=items)
            world.engine.answers["history"] = list(history)
            for realm in realms:
                await world.load(realm)
            world.engine.error = error
            await world.clock.advance(later_s)
            server = TestServer(create(world.deps()))
            async with server, aiohttp.ClientSession(server.make_url("/")) as session:
                yield reach.Reach(session, is_daemon=False)

        monkeypatch.setattr(reach, "ledger", ledger)
        monkeypatch.setattr(sys, "argv", ["ledgerd", *words, "--config", config])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return type_


@pytest.fixture
def shown(typed):
    """What a command that goes well prints, as lines."""

    def show(*words, **market):
        code, out, err = typed(*words, **market)
        assert (code, err) == (0, "")
        assert [line for line in out.splitlines() if len(line) > 100 and EYE not in line] == [], "keys alone stay whole"
        assert "\x1b" not in out
        return out.splitlines()

    return show


def test_the_examples_in_the_texts_of_the_functions_hold():
    assert [doctest.testmod(module).failed for module in (tables, convert, place)] == [0, 0, 0]


def point(hour_s, chaos):
    """A row of the query ``ledger_history``."""
    return (hour_s, hour_s + 3600, chaos, 1.0, chaos, chaos, chaos, 9, 0.9, False, 1)


def test_a_currency_shows_its_price_its_past_its_evidence_and_its_age(shown):
    past = [point(HOUR_S - 6 * 3600 * quarter, 150.0 - quarter) for quarter in range(28)]
    lines = shown("price", "div", history=past)

    assert lines[0] == "Divine Orb in pc/Mirage"
    assert lines[1] == "  150 chaos   1 divine   (24 h 147.5 to 155)"
    assert lines[2] == "  1h +1.0%   24h +2.0%   7d -   ▁▁▂▂▂▂▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇██"
    assert "  confidence 0.97" in lines
    assert "  from 40 units in 12 markets, 24 of the last 24 h, 160 of 7 d" in lines
    assert lines[-1] == f"  as of {AS_OF}, 0 s ago"


def test_a_price_is_told_without_its_past_where_the_engine_is_away(shown):
    lines = shown("price", "div", error=NO_STORE)

    assert lines[1:3] == ["  150 chaos   1 divine   (24 h 147.5 to 155)", "  1h +1.0%   24h +2.0%   7d -"]


def test_an_item_named_in_words_shows_the_plain_one_and_the_others_of_its_name(shown):
    lines = shown("price", "headhunter")

    assert lines[:3] == [
        "Headhunter (unique) in pc/Mirage",
        f"  {HEADHUNTER}",
        "  9,000 chaos   60 divine   (asked 8,100 to 9,720)",
    ]
    assert lines[3].startswith("  1h -   24h +12.0%   7d -20.0%   ▁▁▁")
    assert "  from 60 listings of 60 sellers, 9 of them believed; last seen 2025-10-09T08:55:00Z" in lines
    assert "  likely sales 0 in 1 h, 4 in 24 h, 16 in 7 d" in lines
    assert "  sold at about 9,000 chaos, after 30 min on the market" in lines
    assert "  turnover 36k chaos in 24 h, 6% of listings sold, what is on offer lasts 15 d" in lines
    assert f"  as of {ITEMS_AS_OF}, 5 min ago" in lines
    assert lines[-1].split() == f"{HEADHUNTER}|corrupted=true 7,500 +5.0% 30k 8 0.90".split()


@pytest.mark.parametrize("words", [HEADHUNTER, HEADHUNTER.upper(), "unique|Headhunter", "HEADH"])
def test_a_key_its_beginning_or_the_beginning_of_a_name_is_enough(shown, words):
    assert f"  {HEADHUNTER}" in shown("price", words)


def test_an_exact_name_goes_before_whatever_else_has_the_word(shown):
    assert "  gem|Clarity" in shown("price", "clarity")


def test_an_item_nobody_can_price_says_so(shown):
    lines = shown("price", "farrul")

    assert "  nobody can say what it is worth" in lines
    assert "  confidence 0.00 (low sample)" in lines
    assert "None" not in "\n".join(lines)


def test_several_that_may_be_meant_are_a_table_and_what_to_type_for_one(shown):
    lines = shown("price", "vaal regalia", "--league", "mirage")
    table = [line.split() for line in lines[2:6]]

    assert table[0] == ["name", "chaos", "24h", "turnover", "listings", "sure"]
    assert table[2] == ["base|Vaal", "Regalia|links=6|ilvl=86", "180", "+5.0%", "720", "9", "0.40"]
    assert len({line.rindex("0.") for line in lines[3:6]}) == 1, "numbers stand below each other"
    assert lines[-1] == "One of them: ledgerd price 'base|Vaal Regalia|links=5|ilvl=86' --league mirage"


def test_a_wide_key_loses_its_middle_and_is_found_by_what_is_left(shown):
    others = [item(EYE.replace("Clarity", aura), 100.0, 3) for aura in ("Discipline", "Wrath")]
    lines = shown("price", "watchers eye", items=[*ITEMS, *others])
    names = [line[: line.index("  ")] for line in lines[3:6]]

    assert [name.rpartition(" ")[2] for name in names] == ["Clarity", "Discipline", "Wrath"]
    assert all("…" in name for name in names)
    assert f"  {EYE}" in shown("price", names[0], items=[*ITEMS, *others])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hedhunter", f"'{HEADHUNTER}|corrupted=true'? Type: ledgerd price '{HEADHUNTER}'"),
        ("divne orb", "Did you mean 'Divine Orb'? Type: ledgerd price 'Divine Orb'"),
        ("xyzzy", "There is nothing named 'xyzzy' in pc/Mirage. Type: ledgerd top"),
        ("xyz'zy", """There is nothing named "xyz'zy" in pc/Mirage."""),
        ("unique|Nobody|base=Nothing", "There is nothing named 'unique|Nobody|base=Nothing' in pc/Mirage."),
    ],
)
def test_what_is_not_there_is_a_sentence_with_what_is_near(typed, words, said):
    code, out, err = typed("price", words)

    assert (code, out) == (1, "")
    assert said in err


def test_a_currency_without_a_price_is_not_answered_with_another_of_a_like_name(typed):
    code, out, err = typed("price", "mirror", items=[item("unique|Mirror Image|base=Ring")])

    assert (code, out) == (1, "")
    assert "Mirror of Kalandra has had no price in pc/Mirage for 7 days. Where it had one: ledgerd sql" in err


def test_a_price_that_is_old_says_so(shown):
    lines = shown("price", "divine", later_s=2 * 3600.0)

    assert lines[-2] == f"  as of {AS_OF}, 2 h ago (stale)"
    assert "more than the 65 min allowed" in lines[-1]


def test_a_league_without_items_still_finds_currencies_by_words_and_says_where_items_come_from(typed, shown):
    assert shown("price", "exal", items=())[0] == "Exalted Orb in pc/Mirage"
    assert "river = true" in typed("price", HEADHUNTER, items=())[2]
    assert "river = true" in typed("top", "--kind", "item", items=())[2]
    assert "items" not in "".join(shown("top", items=()))


def test_a_league_without_currencies_answers_with_items(shown):
    assert f"  {HEADHUNTER}" in shown("price", "headhunter", rows=())
    assert "items as of" in shown("top", rows=())[-1]


def test_the_league_that_is_not_named_is_the_largest_of_the_first_realm_that_is_configured(shown):
    larger = [gold(currency, hour_s=HOUR_S - 3600) for currency in (DIVINE, CHAOS)]
    rows = [*larger, gold(DIVINE, league="Standard")]
    named = ["--realm", "poe2", "--league", "standard"]

    assert shown("price", "div", rows=rows, items=(), realms=("poe2", "pc"))[0] == "Divine Orb in pc/Mirage"
    assert shown("price", "div", *named, rows=rows, realms=("pc", "poe2"))[0] == "Divine Orb in poe2/Standard"


@pytest.mark.parametrize("command", [["price", "div"], ["convert", "3", "div"], ["top"], ["top", "--movers"]])
def test_a_league_that_is_not_there_is_a_sentence_with_those_that_are(typed, command):
    code, out, err = typed(*command, "--league", "Mirag")

    assert (code, out) == (1, "")
    assert "Did you mean 'Mirage'? What has prices: ledgerd sql" in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["price", "divine"], "price"),
        (["price", "headhunter"], "item"),
        (["price", "vaal regalia"], "results"),
        (["convert", "3", "divine"], "result"),
        (["top", "--movers"], "up"),
        (["top", "--kind", "item"], "items"),
        (["top", "--kind", "currency"], "prices"),
    ],
)
def test_json_is_the_answer_of_the_ledger_api(typed, words, named):
    code, out, _ = typed(*words, "--json")
    answer = json.loads(out)

    assert code == 0
    assert {"realm", "league", "as_of", "age_s", "stale", named} <= set(answer)


def test_json_of_all_that_leads_is_an_answer_for_each_layer(typed):
    answer = json.loads(typed("top", "--json", "--limit", "2")[1])

    assert {name: each["count"] for name, each in answer.items()} == {"currency": 2, "items": 2}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["3", "divine", "chaos"], "3 Divine Orb = 450 Chaos Orb in pc/Mirage"),
        (["3", "divine"], "3 Divine Orb = 450 Chaos Orb in pc/Mirage"),
        (["1,000", "chaos", "orb", "to", "divine", "orb"], "1,000 Chaos Orb = 6.667 Divine Orb in pc/Mirage"),
        (["3/2", "div", "in", "exalted"], "1.5 Divine Orb = 18 Exalted Orb in pc/Mirage"),
        ([".5", DIVINE, CHAOS], "0.5 Divine Orb = 75 Chaos Orb in pc/Mirage"),
        (["0", "divine orb", EXALTED], "0 Divine Orb = 0 Exalted Orb in pc/Mirage"),
    ],
)
def test_an_amount_of_one_currency_in_another(shown, words, line):
    lines = shown("convert", *words)

    assert lines[0] == line
    assert lines[-1] == f"  as of {AS_OF}, 0 s ago"


@pytest.mark.parametrize(
    "words",
    [
        *(["1.5.2", "divine"], ["1,5", "divine"], ["10,00", "divine"], ["3/0", "divine"], ["1e3", "divine"]),
        *(
            ["2k", "divine"],
            ["nan", "divine"],
            ["٣", "divine"],
            ["1_000", "divine"],
            ["", "divine"],
            ["1/3/2", "divine"],
        ),
        *(["9" * 5000, "divine"], ["1000000000001", "divine"], ["divine", "chaos"]),
        *(["3"], ["3", "divine", "orb", "chaos"], ["3", "divine", "to"], ["3", "to", "chaos"], ["3", " ", "chaos"]),
    ],
)
def test_an_amount_or_a_pair_that_is_odd_is_refused_with_an_example(words):
    with pytest.raises(UsageError) as error:
        convert.asked(words)

    assert str(error.value).endswith(": ledgerd convert 3 divine chaos")


def test_a_currency_that_cannot_be_converted_names_what_is_near(typed):
    code, out, err = typed("convert", "3", "divin", "chaos")

    assert (code, out) == (1, "")
    assert "Did you mean 'Divine Orb'? What has a price: ledgerd top --kind currency" in err


def test_what_leads_is_ranked_over_both_layers(shown):
    lines = shown("top", "--limit", "4")
    (heads, *rows) = lines[2:7]

    assert lines[0] == "pc/Mirage: what turned over most in 24 h"
    assert len(lines) == 10
    assert heads.split() == ["name", "chaos", "24h", "turnover", "listings", "sure", "7", "days"]
    assert [row.split("  ")[0] for row in rows] == [
        "Divine Orb",
        "unique|Mageblood|base=Heavy Belt",
        "Chaos Orb",
        HEADHUNTER,
    ]
    assert rows[1].endswith("▁▁▁▁▁▁▁▁▁▁▁▁▁▁")
    assert "currency as of" in lines[-2]
    assert "items as of" in lines[-1]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["--by", "listings"], "unique|Tabula Rasa"),
        (["--by", "price"], "unique|Mageblood"),
        (["--by", "price", "--kind", "currency"], "Divine Orb"),
        (["--kind", "currency"], "Divine Orb"),
        (["--kind", "item", "--span", "7d"], "unique|Mageblood"),
    ],
)
def test_what_leads_can_be_ranked_and_chosen(shown, words, first):
    assert shown("top", *words)[3].startswith(first)


def test_what_leads_by_price_leaves_what_nobody_can_price_to_the_end(shown):
    lines = shown("top", "--by", "price", "--kind", "item", "--limit", "15")

    assert lines[17].split()[-5:] == ["-", "-", "0", "2", "0.00"]


def test_movers_are_gains_and_losses(shown):
    lines = shown("top", "--movers", "--limit", "1")

    assert lines[2].split() == ["gains", "chaos", "change", "turnover", "listings", "sure"]
    assert lines[3].split()[-5:] == ["9,000", "+12.0%", "36k", "60", "0.90"]
    assert lines[6].split()[-5:] == ["30,000", "-8.0%", "120k", "12", "0.90"]


def test_where_nothing_moved_it_says_so(shown):
    lines = shown("top", "--movers", "--span", "1h", "--kind", "item")

    assert "gains: none" in lines
    assert "losses: none" in lines


@pytest.mark.parametrize("fmt", ["ndjson", "json"])
def test_an_export_is_a_whole_file_and_a_line_about_it(typed, tmp_path, fmt):
    file = tmp_path / f"items.{fmt}"
    code, out, err = typed("export", "items", "--out", str(file))
    body = file.read_bytes()
    rows = json.loads(body)["items"] if fmt == "json" else [json.loads(line) for line in body.splitlines()]

    assert (code, err) == (0, "")
    assert out == f"{file}: pc/Mirage, 15 rows, {len(body):,} bytes, as of {ITEMS_AS_OF} (not stale)\n"
    assert sorted(row["key"] for row in rows) == sorted(each["key"] for _, each in ITEMS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", file.name]


def test_an_export_of_several_answers_has_every_row_once(typed, tmp_path, monkeypatch):
    monkeypatch.setitem(export.ASKED, "items", {"limit": "4", "order": "key"})
    file = tmp_path / "items.ndjson"
    code, out, _ = typed("export", "items", "--out", str(file), "--fields", "key", "--min-confidence", "0.5")
    keys = [json.loads(line)["key"] for line in file.read_text().splitlines()]

    assert code == 0
    assert "13 rows" in out
    assert keys == sorted(each["key"] for _, each in ITEMS if each["confidence"] >= 0.5)


def test_a_format_that_is_one_answer_is_refused_where_there_are_more_and_leaves_no_file(typed, tmp_path, monkeypatch):
    monkeypatch.setitem(export.ASKED, "items", {"limit": "4", "order": "key"})
    code, out, err = typed("export", "items", "--out", str(tmp_path / "items.json"))

    assert (code, out) == (1, "")
    assert "Take --format csv or ndjson" in err
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_an_export_to_stdout_is_the_rows_alone_and_its_line_goes_to_stderr(typed):
    code, out, err = typed("export", "currency", "--out", "-", "--format", "ndjson", "--fields", "id", later_s=7200.0)

    assert code == 0
    assert len([json.loads(line) for line in out.splitlines()]) == 4
    assert err == f"pc/Mirage, 4 rows, {len(out)} bytes, as of {AS_OF} (stale)\n"


def test_a_file_that_is_there_is_replaced_on_demand_only_and_stays_if_anything_goes_wrong(typed, tmp_path):
    file = tmp_path / "out.json"
    file.write_text("mine")
    refused = typed("export", "currency", "--out", str(file))
    wrong = typed("export", "currency", "--out", str(file), "--force", "--fields", "chaso")

    assert (refused[0], wrong[0], file.read_text()) == (64, 1, "mine")
    assert refused[2].strip().endswith(f"--out {file} --force")
    assert "fields is 'chaso'" in wrong[2]
    assert typed("export", "currency", "--out", str(file), "--force")[0] == 0
    assert json.loads(file.read_bytes())["count"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "out.json"]


def answering(items):
    """What makes an application whose lists of items ``items`` answers."""

    def create(deps):
        @web.middleware
        async def instead(request, handler):
            return await items(request) if request.path.endswith("/items") else await handler(request)

        app = create_offline_app(deps)
        app.middlewares.insert(0, instead)
        return app

    return create


def head(count, as_of, *, stale="false", **more):
    """What the head of an answer tells."""
    return {"Ledgerd-Count": str(count), "Ledgerd-As-Of": as_of, "Ledgerd-Stale": stale, **more}


async def half(request):
    """An answer that ends in the middle."""
    response = web.StreamResponse(headers=head(15, AS_OF, **{"Content-Length": "9000"}))
    await response.prepare(request)
    await response.write(b'{"key": "unique|Half')
    request.transport.close()
    return response


async def three(request):
    """Three answers, of which the second is the oldest, and stale."""
    at = request.query.get("cursor", "")
    told = {
        "": head(2, AS_OF, **{"Ledgerd-Next": "2"}),
        "2": head(1, ITEMS_AS_OF, stale="true", **{"Ledgerd-Next": "3"}),
        "3": head(1, AS_OF),
    }
    return web.Response(text={"": '"key"\n"a"\n"b"\n', "2": '"key"\n"c"\n', "3": '"key"\n"d"\n'}[at], headers=told[at])


def test_a_table_of_several_answers_has_its_heads_once_and_the_age_of_the_oldest(typed):
    code, out, err = typed("export", "items", "--out", "-", "--format", "csv", create=answering(three))

    assert (code, out) == (0, '"key"\n"a"\n"b"\n"c"\n"d"\n')
    assert err == f"pc/Mirage, 4 rows, {len(out)} bytes, as of {ITEMS_AS_OF} (stale)\n"


def test_an_export_that_breaks_off_leaves_what_was_there(typed, tmp_path):
    file = tmp_path / "out.json"
    file.write_text("mine")
    code, out, err = typed("export", "items", "--out", str(file), "--force", create=answering(half))

    assert (code, out, file.read_text()) == (1, "", "mine")
    assert err.startswith("ledgerd: The ledger gave no answer: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "out.json"]


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("/dev/null", "no ordinary file. Write to stdout instead: --out -"),
        ("nowhere/of/x.csv", "Make it: mkdir -p"),
        ("prices", "prices does not say in which format to write. Say it: ledgerd export items --out prices --format"),
        ("-", "Say it: ledgerd export items --out - --format parquet"),
    ],
)
def test_an_export_that_has_nowhere_to_go_is_refused(typed, tmp_path, monkeypatch, out, said):
    monkeypatch.chdir(tmp_path)
    words = ["--format", "json"] if out.startswith("/dev") else []
    code, _, err = typed("export", "items", "--out", out, *words)

    assert code == 64
    assert said in err


def test_a_terminal_that_lacks_letters_shows_the_rest(typed, monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", screen)
    code, *_ = typed("price", "headhunter")
    screen.flush()

    assert code == 0
    assert b"7d -20.0%   " + b"?" * 28 in screen.buffer.getvalue()


def test_bytes_are_not_written_to_a_terminal(typed, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, _, err = typed("export", "items", "--out", "-", "--format", "parquet")

    assert code == 64
    assert "Name a file: ledgerd export items --out prices.parquet" in err


def test_who_asks_a_daemon_loads_a_client_and_not_the_daemon():
    heavy = "{'numpy', 'chdb', 'asynch', 'aiohttp.web', 'ledgerd.web', 'ledgerd.ledger'} & set(sys.modules)"
    modules = ", ".join(f"ledgerd.ask.{name}" for name in ("convert", "export", "price", "top"))
    command = [sys.executable, "-c", f"import {modules}, ledgerd.offline, sys; print({heavy})"]

    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "set()\n"

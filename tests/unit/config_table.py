"""The tables of docs/configuration.md, made from the models; `python tests/unit/config_table.py` writes them there."""

import json
import re
from pathlib import Path

from ledgerd.config import needs_restart
from ledgerd.config.draft import TABLES, keys_of, rule_of
from ledgerd.config.env import VARIABLES

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "configuration.md"
HEADERS = {"freshness.route": "[freshness.route.NAME]", "realm": "[[realm]]"}


def default_of(table, key):
    info = keys_of(table)[key]
    if info.is_required():
        return "(must be given)"
    value = info.default
    if value is None:
        return "as above"
    return "`" + json.dumps(str(value) if isinstance(value, Path) else value) + "`"


def row(table, key):
    info = keys_of(table)[key]
    change = "restart" if needs_restart(f"{table}.{key}") else "live"
    cells = (f"`{key}`", default_of(table, key), rule_of(info), change, info.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def keys():
    places = list(TABLES)
    for table in sorted(TABLES, key=lambda name: places.index(name.partition(".")[0])):
        yield f"### `{HEADERS.get(table, f'[{table}]')}`\n\n{TABLES[table].__doc__}\n"
        yield "| key | default | must be | change | meaning |\n|---|---|---|---|---|"
        yield "\n".join(row(table, key) for key in keys_of(table)) + "\n"


def variables():
    yield "| variable | overrides |\n|---|---|"
    yield "\n".join(f"| `{name}` | `{key}` |" for name, key in VARIABLES.items())


def rendered(text):
    for name, lines in (("keys", keys()), ("variables", variables())):
        block = f"<!-- {name} -->\n" + "\n".join(lines).rstrip() + f"\n<!-- /{name} -->"
        text = re.sub(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    DOC.write_text(rendered(DOC.read_text()))

"""A configuration on its way: values with where each came from, and every problem found in them as a line to print."""

import json
import re
from dataclasses import dataclass, field
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ledgerd.config import ROUTES, Config, Realm, RouteFreshness, Secret, Section
from ledgerd.config.rules import Rule

Loc = tuple[str | int, ...]
"""Where a value stands: ``("throttle", "requests_per_s")``, ``("realm", 0, "leagues")``, or one below a route."""

SHOWN_MAX = 80
ROUTE = ("freshness", "route")
TABLES: dict[str, type[Section]] = {name: type(table) for name, table in Config() if name != "realms"} | {
    ".".join(ROUTE): RouteFreshness,
    "realm": Realm,
}
SECRET_WORDS = re.compile(r"secret|password|key|token", re.IGNORECASE)


def keys_of(table: str) -> dict[str, FieldInfo]:
    """The keys that may stand in ``table`` of the file: all but the secrets themselves."""
    return {key: info for key, info in TABLES[table].model_fields.items() if info.annotation is not Secret}


def rule_of(info: FieldInfo) -> str:
    """What a value of this field must be; completes the sentence "must be …"."""
    kind, metadata = info.annotation, info.metadata
    if NoneType in get_args(kind):
        kind = get_args(kind)[0]
        metadata = list(getattr(kind, "__metadata__", ()))
    for rule in metadata:
        if isinstance(rule, Rule):
            return rule.text
    if kind is Secret:
        return "kept out of this file: put it into a file of its own, or into a systemd credential"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in get_args(kind))
    if get_origin(kind) is dict:
        return "tables named by a route: " + ", ".join(ROUTES)
    return "true or false" if kind is bool else "a text"


def _depth(loc: Loc) -> int:
    """How many parts of ``loc``, where pydantic found something, lead to the value as it is written."""
    if loc[:2] == ROUTE:
        return 3 if loc[3:] == ("[key]",) else 4
    return 3 if loc[0] == "realm" else 2


def shown(name: str, value: object) -> str:
    """``value`` as it would stand in the file, on one line; ``***`` if the ``name`` of its key smells of a secret."""
    if SECRET_WORDS.search(name):
        return "***" if not isinstance(value, str) else '"***"'
    text = _written(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def _written(value: object) -> str:
    if isinstance(value, dict):
        return "{…}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(each) for each in value) + "]"
    if not isinstance(value, str):
        return str(value) if isinstance(value, date | time | Path | float) else json.dumps(value)
    unsigned = re.sub(r"^.*:.*@", "***@", value, flags=re.DOTALL)
    return json.dumps(unsigned, ensure_ascii=not unsigned.isprintable())


def _near(key: str, table: str | None) -> str:
    """A question naming the known key nearest to ``key`` in ``table`` (None: at the top), or nothing."""
    own = get_close_matches(key, keys_of(table) if table else TABLES, n=1)
    elsewhere = [f"{other}.{key}" for other in TABLES if key in keys_of(other)]
    return _asked(own or elsewhere)


def _asked(near: list[str]) -> str:
    return f"; did you mean '{near[0]}'?" if near else ""


@dataclass(slots=True)
class Draft:
    """The tables as read from ``path``, overridden from outside; ``problems`` and ``notes`` grow as it is checked."""

    path: Path
    tables: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    origins: dict[Loc, tuple[str, str]] = field(default_factory=dict)
    """Environment variable and its text, for each value that came from one."""
    wrong: set[str] = field(default_factory=set)
    """The dotted keys that have a problem."""

    def table(self, name: str) -> dict[str, Any]:
        """The table ``name``, made if missing; an unattached one if something else stands in its place."""
        found = self.tables.setdefault(name, {})
        return found if isinstance(found, dict) else {}

    def realms(self) -> list[dict[str, Any]]:
        """The realms given, the default ones if none are; those that are no tables are left out."""
        found = self.tables.get("realm", [{"name": realm.name} for realm in Config().realms])
        return [realm for realm in found if isinstance(realm, dict)] if isinstance(found, list) else []

    def override(self, loc: Loc, value: object, variable: str, text: str) -> None:
        """Put ``value`` in place of what the file says; ``variable`` said so by ``text``."""
        self.table(str(loc[0]))[str(loc[1])] = value
        self.origins[loc] = variable, text

    def label(self, loc: Loc) -> str:
        """The dotted key: a realm by its name where it has one, by its place (from 1) where not."""
        if loc[0] != "realm" or len(loc) == 1:
            return ".".join(str(part) for part in loc)
        place = loc[1]
        if isinstance(place, int):
            entry = self.tables["realm"][place]
            name = entry.get("name") if isinstance(entry, dict) else None
            known = isinstance(name, str) and name in get_args(Realm.model_fields["name"].annotation)
            place = f".{name}" if known else f"[{place + 1}]"
        else:
            place = f".{place}"
        return ".".join([f"realm{place}", *map(str, loc[2:])])

    def value(self, loc: Loc) -> object:
        """What stands at ``loc``."""
        found: Any = self.tables
        for part in loc:
            found = found[part]
        return found

    def problem(self, loc: Loc, value: object, rule: str) -> None:
        """Note that ``value``, at ``loc``, breaks ``rule``, in the words of where it came from."""
        if loc in self.origins:
            variable, text = self.origins[loc]
            line = f"environment: {variable} = {shown(f'{variable} {loc[-1]}', text)}: {rule}"
        else:
            line = f"{self.path}: {self.label(loc)} = {shown(str(loc[-1]), value)}: {rule}"
        self.wrong.add(self.label(loc))
        if line not in self.problems:
            self.problems.append(line)

    def missing(self, loc: Loc, rule: str) -> None:
        """Note that what should stand at ``loc`` does not."""
        self.problems.append(f"{self.path}: {self.label(loc)}: {rule}")

    def _report(self, loc: Loc, kind: str) -> None:
        """Turn one finding of pydantic into a problem."""
        table, key = str(loc[0]), str(loc[-1])
        if loc[:2] == ROUTE and len(loc) > len(ROUTE):
            self._report_route(loc, kind)
        elif kind == "extra_forbidden":
            self.missing(loc, "unknown key" + _near(key, table if len(loc) > 1 else None))
        elif kind == "missing":
            self.missing(loc, "must be given: " + rule_of(TABLES[table].model_fields[key]))
        elif isinstance(loc[-1], str) and len(loc) > 1:
            self.problem(loc, self.value(loc), "must be " + rule_of(TABLES[table].model_fields[key]))
        else:
            self.problem(loc, self.value(loc), f"must be a table, written [{'[realm]' if table == 'realm' else table}]")

    def _report_route(self, loc: Loc, kind: str) -> None:
        """Turn one finding of pydantic about the freshness of a route into a problem."""
        table, key = ".".join(ROUTE), str(loc[-1])
        if kind == "extra_forbidden":
            self.missing(loc, "unknown key" + _near(key, table))
        elif len(loc) > len(ROUTE) + 1:
            self.problem(loc, self.value(loc), "must be " + rule_of(TABLES[table].model_fields[key]))
        elif key in ROUTES:
            self.problem(loc, self.value(loc), 'must be a table, like { policy = "refuse" }')
        else:
            near = _asked(get_close_matches(key, ROUTES, n=1)) or "; known are " + ", ".join(ROUTES)
            self.missing(loc, "unknown route" + near)

    def config(self) -> Config:
        """The values as a configuration; each that cannot be used is a problem, and its default stands in."""
        if self.tables.pop("realms", None) is not None:
            self.missing(("realms",), "unknown key; did you mean 'realm'?")
        try:
            return Config.model_validate(self.tables)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
        bad: dict[Loc, str] = {}
        for each in found:
            bad.setdefault(each["loc"][: _depth(each["loc"])], each["type"])
        for loc, kind in bad.items():
            self._report(loc, kind)
        return Config.model_validate(_without(self.tables, set(bad)))


def _without(tables: dict[str, Any], bad: set[Loc]) -> dict[str, Any]:
    """``tables`` without what stands at the places ``bad``, and without realms that have lost their name."""
    kept: dict[str, Any] = {}
    for name, table in tables.items():
        if (name,) in bad:
            continue
        if name == "realm":
            nameless = {loc[1] for loc in bad if loc[0] == "realm" and loc[2:] in ((), ("name",))}
            kept[name] = [_sound(each, bad, name, i) for i, each in enumerate(table) if i not in nameless]
        else:
            kept[name] = _sound(table, bad, name)
    return kept


def _sound(table: dict[str, Any], bad: set[Loc], *place: str | int) -> dict[str, Any]:
    """The entries of ``table``, which stands at ``place``, and of tables in it, that are not ``bad``."""
    kept = {key: value for key, value in table.items() if (*place, key) not in bad}
    return {key: _sound(each, bad, *place, key) if isinstance(each, dict) else each for key, each in kept.items()}

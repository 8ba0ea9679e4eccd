"""Which functions and tables SQL of people may name (pure, but for reading the list once)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ledgerd.store.queries import schema_root

NAME_CHARS_MAX = 100
COMBINATORS = (
    "argmax", "argmin", "array", "distinct", "foreach", "if", "map", "merge", "null", "ordefault", "ornull", "resample",
    "simplestate", "state", "tuple",
)  # fmt: skip
"""What may stand after an aggregate function's name, in small letters: ``sumIf``, ``uniqMerge``."""
SYNTAX = frozenset({"exists", "grouping", "lambda", "untuple"})
"""What the parser writes as functions although the engine has none of that name."""
SYSTEM_TABLES = frozenset(
    {
        "aggregate_function_combinators", "collations", "columns", "data_skipping_indices", "data_type_families",
        "database_engines", "databases", "formats", "functions", "keywords", "numbers", "numbers_mt", "one", "parts",
        "settings", "table_engines", "table_functions", "tables", "time_zones", "zeros", "zeros_mt",
    }
)  # fmt: skip
"""Of the database ``system``: what tools draw a tree of tables with, and nothing of who asks what or how it runs."""
OPERATORS_TABLES = SYSTEM_TABLES | {
    "detached_parts", "disks", "errors", "events", "merges", "metrics", "mutations", "processes",
}  # fmt: skip
"""And what else an operator looks after the engine with, through the socket only the daemon's own user may open."""
INFORMATION_SCHEMA = frozenset({"information_schema", "INFORMATION_SCHEMA"})


@dataclass(frozen=True, slots=True)
class Names:
    """The functions that may be called, in small letters (the engine takes many in any case)."""

    plain: frozenset[str]
    taking_functions: frozenset[str]
    """Those whose first argument may be a function, named or written out."""
    aggregates: frozenset[str]
    tables: frozenset[str]
    """Table functions, in the case the engine knows them in."""

    def has(self, name: str) -> bool:
        """True if ``name`` may be called as a function of values or rows."""
        low = name.lower()
        return self.has_plain(name) or low in SYNTAX or self.has_aggregate(name)

    def has_plain(self, name: str) -> bool:
        """True if ``name`` is a function of values, as may be named where a function is an argument."""
        low = name.lower()
        return low in self.plain or low in self.taking_functions

    def has_aggregate(self, name: str) -> bool:
        """True if ``name`` is an aggregate function, with any combinators after it."""
        low = name.lower()
        if low in self.aggregates:
            return True
        if len(low) > NAME_CHARS_MAX:
            return False
        return any(low.endswith(end) and self.has_aggregate(low.removesuffix(end)) for end in COMBINATORS)


@cache
def load_names() -> Names:
    """The list of ``schema/reference/sql_functions.txt``, read once."""
    text = (schema_root() / "reference" / "sql_functions.txt").read_text(encoding="utf-8")
    parts = dict(_parts(text))
    return Names(
        frozenset(map(str.lower, parts["functions"])),
        frozenset(map(str.lower, parts["functions that take a function first"])),
        frozenset(map(str.lower, parts["aggregate functions"])),
        frozenset(parts["table functions"]),
    )


def _parts(text: str) -> Iterator[tuple[str, list[str]]]:
    """(heading, names) of each part of the file."""
    for part in text.split("\n[")[1:]:
        heading, _, names = part.partition("]\n")
        yield heading, names.split()

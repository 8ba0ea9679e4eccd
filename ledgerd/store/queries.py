"""Named SQL blocks and where the ``schema`` folder is.

A file of queries holds blocks like this one; the comment after the name says what the query is for::

    -- name: latest_checkpoint
    -- Where a source stood when its last batch was committed.
    SELECT … ;
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.abc import Traversable
from importlib.resources import files
from pathlib import Path

_NAME_LINE = re.compile(r"^--[ \t]*name:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Queries(Mapping[str, str]):
    """SQL by name; a name that no file defines is a KeyError that lists the nearest ones."""

    __slots__ = ("_blocks", "_origin")

    def __init__(self, text: str, origin: str = "queries.sql") -> None:
        """``text``: the file's content; ``origin``: its name, for messages. ValueError says what is wrong with it."""
        self._blocks = dict(_blocks(text, origin))
        self._origin = origin

    def __getitem__(self, name: str) -> str:
        try:
            return self._blocks[name]
        except KeyError:
            raise KeyError(f"no query {name!r} in {self._origin}; it has {', '.join(self._blocks)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)


@cache
def load_queries(path: str = "queries.sql") -> Queries:
    """The blocks of the file at ``path`` in the ``schema`` folder; read once."""
    return Queries((schema_root() / path).read_text(encoding="utf-8"), path)


def schema_root() -> Traversable:
    """The ``schema`` folder: inside the package when installed, beside it in a checkout."""
    packaged = files("ledgerd") / "_schema"
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parents[2] / "schema"


def _blocks(text: str, origin: str) -> Iterator[tuple[str, str]]:
    """(name, SQL without the closing semicolon) of each block, checked."""
    heads = list(_NAME_LINE.finditer(text))
    seen: set[str] = set()
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        name = head[1]
        body = text[head.end() : following.start() if following else len(text)].strip()
        if not _NAME.fullmatch(name):
            raise ValueError(f"{origin}: {name!r} is no name for a query (a-z, 0-9 and _)")
        if name in seen:
            raise ValueError(f"{origin}: two queries are called {name}")
        if not re.match(r"--[ \t]*\S", body):
            raise ValueError(f"{origin}: query {name} has no line that says what it is for")
        if not _has_sql(body):
            raise ValueError(f"{origin}: query {name} is empty")
        seen.add(name)
        yield name, body.removesuffix(";").rstrip()


def _has_sql(body: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("--") for line in body.splitlines())

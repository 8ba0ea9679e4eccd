"""A statement's syntax tree, as the engine's EXPLAIN AST tells it (pure)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)


@dataclass(slots=True)
class Node:
    """One line of EXPLAIN AST: ``name`` is what follows ``kind``, without its alias."""

    kind: str
    name: str
    children: list["Node"] = field(default_factory=list)

    def walk(self) -> Iterator[tuple["Node", "Node"]]:
        """(node, the one it hangs from) of everything below."""
        waiting = [self]
        while waiting:
            above = waiting.pop()
            for node in above.children:
                yield node, above
                waiting.append(node)

    def is_text(self) -> bool:
        """True if it is a text written out; ``name`` has its quotes."""
        return self.kind == "Literal" and self.name.startswith("'")

    def arguments(self) -> list["Node"]:
        """Of a function: its arguments."""
        return self.children[0].children if self.children else []


def parse_tree(lines: Sequence[str]) -> Node:
    """The root of the tree that ``lines`` draw by their indentation; ValueError if they draw none.

    The names in them must hold no line breaks: a line of somebody's own would change what hangs from what.

    >>> tree = parse_tree(["SelectQuery (children 1)", " Function sum (alias s) (children 1)", "  ExpressionList"])
    >>> [(node.kind, node.name, above.kind) for node, above in tree.walk()]
    [('Function', 'sum', 'SelectQuery'), ('ExpressionList', '', 'Function')]
    """
    path: list[Node] = []
    for line in filter(str.strip, lines):
        text = line.lstrip(" ")
        depth = len(line) - len(text)
        kind, _, rest = text.partition(" ")
        node = Node(kind, _name(rest))
        if depth > len(path) or (depth == 0 and path):
            raise ValueError("not one tree")
        if depth:
            path[depth - 1].children.append(node)
        path[depth:] = [node]
    if not path:
        raise ValueError("no tree")
    return path[0]


def _name(rest: str) -> str:
    """What follows a kind, without alias and number of children; a text is whole, whatever is written in it.

    >>> _name("sum (alias x) (children 1)"), _name("'a (alias b)' (alias c)")
    ('sum', "'a (alias b)'")
    """
    text = _TEXT.match(rest)
    return text[0] if text else f" {rest}".partition(" (alias ")[0].partition(" (children ")[0].strip()

"""What a new OpenAPI document takes from those who use the old one, and what it gives them (pure).

What is asked and what is answered are read from opposite sides: a parameter that takes more breaks nobody, an
answer that may suddenly be null does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PROSE = {"description", "summary", "title", "example", "examples", "tags", "info", "servers", "license"}
BOUNDS = {"minimum": 1, "minLength": 1, "minItems": 1, "maximum": -1, "maxLength": -1, "maxItems": -1}
"""Keyword → 1 where a larger number lets less through, -1 where a smaller one does."""
METHODS = {"get", "put", "post", "delete", "patch"}


class Changes(NamedTuple):
    """Sentences, each with the place it is about."""

    broke: list[str]
    added: list[str]


def shape(document: Any) -> Any:
    """``document`` without what only people read: what is frozen."""
    if isinstance(document, list):
        return [shape(each) for each in document]
    if not isinstance(document, dict):
        return document
    kept = {key: value for key, value in document.items() if key not in PROSE and not key.startswith("x-")}
    named = {"properties", "schemas", "headers", "paths", "responses"}
    return {
        key: {name: shape(each) for name, each in value.items()} if key in named else shape(value)
        for key, value in kept.items()
    }


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """What ``new`` broke of ``old``, and what it added."""
    comparison = _Comparison(old, new)
    comparison.operations()
    return Changes(comparison.broke, comparison.added)


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every operation by its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield f"{method.upper()} {path}", operation


@dataclass
class _Comparison:
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    broke: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    _open: set[tuple[str, str, bool]] = field(default_factory=set)

    def operations(self) -> None:
        old, new = dict(operations(self.old)), dict(operations(self.new))
        self._names("", "address", set(old), set(new))
        for name in old.keys() & new.keys():
            self._operation(name, old[name], new[name])
        self.broke.sort()
        self.added.sort()

    def _names(self, where: str, what: str, old: set[str], new: set[str]) -> None:
        self.broke += [f"{where}{what} {name} is gone" for name in old - new]
        self.added += [f"{where}{what} {name} is new" for name in new - old]

    def _operation(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        if old["operationId"] != new["operationId"]:
            self.broke.append(f"{name}: operationId was {old['operationId']}, is {new['operationId']}")
        if "security" in new and "security" not in old:
            self.broke.append(f"{name}: asks for a key now")
        self._parameters(name, old["parameters"], new["parameters"])
        self._body(name, old.get("requestBody"), new.get("requestBody"))
        self._answers(name, old["responses"], new["responses"])

    def _parameters(self, name: str, old_list: list[Any], new_list: list[Any]) -> None:
        old, new = ({(each["in"], each["name"]): each for each in given} for given in (old_list, new_list))
        for key in old.keys() | new.keys():
            where, is_required = f"{name}: parameter {key[1]}", new.get(key, {}).get("required", False)
            if key not in new:
                self.broke.append(f"{where} is gone")
            elif key not in old:
                (self.broke if is_required else self.added).append(
                    f"{where} is new" + (" and must be given" if is_required else "")
                )
            else:
                if is_required and not old[key].get("required", False):
                    self.broke.append(f"{where} must be given now")
                self._schema(where, old[key]["schema"], new[key]["schema"], is_asked=True)

    def _body(self, name: str, old: Any, new: Any) -> None:
        if old is None and new is not None:
            self.broke.append(f"{name}: takes a body now")
        elif old is not None and new is None:
            self.broke.append(f"{name}: takes no body any more")
        elif old is not None:
            self._contents(f"{name}: body", old["content"], new["content"], is_asked=True)

    def _answers(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self.added += [f"{name}: status {status} is new" for status in new.keys() - old.keys()]
        self.added += [f"{name}: status {status} comes no more" for status in old.keys() - new.keys()]
        for status in old.keys() & new.keys():
            was, now = _resolved(self.old, old[status]), _resolved(self.new, new[status])
            where = f"{name}: answer" if status == "200" else f"{name}: {status}"
            self._names(f"{where}: ", "header", set(was.get("headers", {})), set(now.get("headers", {})))
            self._contents(where, was.get("content", {}), now.get("content", {}), is_asked=False)

    def _contents(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any], *, is_asked: bool) -> None:
        self._names(f"{where}: ", "format", set(old), set(new))
        for kind in old.keys() & new.keys():
            self._schema(where, old[kind].get("schema", {}), new[kind].get("schema", {}), is_asked=is_asked)

    def _schema(self, where: str, old: Any, new: Any, *, is_asked: bool) -> None:
        pair = (str(old.get("$ref")), str(new.get("$ref")), is_asked)
        if "$ref" in old and "$ref" in new:
            if pair in self._open:
                return
            self._open.add(pair)
        was, now = _kinds(self.old, old), _kinds(self.new, new)
        for kind in was.keys() - now.keys():
            (self.broke if is_asked else self.added).append(f"{where} is no {kind} any more")
        for kind in now.keys() - was.keys():
            (self.added if is_asked else self.broke).append(f"{where} may be {kind} now")
        for kind in was.keys() & now.keys():
            self._kind(where, was[kind], now[kind], is_asked=is_asked)
        if old.get("default") != new.get("default"):
            self.broke.append(f"{where} is {new.get('default')!r} unless given, was {old.get('default')!r}")
        self._open.discard(pair)

    def _kind(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any], *, is_asked: bool) -> None:
        if "enum" in old or "enum" in new:
            self._values(where, old.get("enum"), new.get("enum"), is_asked=is_asked)
        for keyword, sign in BOUNDS.items() if is_asked else ():
            was, now = old.get(keyword), new.get(keyword)
            if was != now:
                is_tighter = was is None or (now is not None and sign * now > sign * was)
                (self.broke if is_tighter else self.added).append(f"{where}: {keyword} was {was}, is {now}")
        if "items" in old and "items" in new:
            self._schema(f"{where}[]", old["items"], new["items"], is_asked=is_asked)
        if "properties" in old or "properties" in new:
            self._fields(where, old, new, is_asked=is_asked)
        for keyword in ("additionalProperties", "contentSchema"):
            inside = [each.get(keyword) for each in (old, new)]
            if all(isinstance(each, dict) for each in inside):
                self._schema(f"{where}.*", *inside, is_asked=is_asked)

    def _values(self, where: str, old: Any, new: Any, *, is_asked: bool) -> None:
        if old is None or new is None:
            is_bound = new is not None
            (self.broke if is_bound == is_asked else self.added).append(
                f"{where} is {'one of ' + ', '.join(map(str, new)) if is_bound else 'any value'} now"
            )
        else:
            self._names(f"{where}: ", "value", set(map(str, old)), set(map(str, new)))

    def _fields(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any], *, is_asked: bool) -> None:
        was, now = old.get("properties", {}), new.get("properties", {})
        had_to, has_to = set(old.get("required", ())), set(new.get("required", ()))
        self.broke += [f"{where}: field {name} is gone" for name in was.keys() - now.keys()]
        for name in now.keys() - was.keys():
            must = is_asked and name in has_to
            (self.broke if must else self.added).append(
                f"{where}: field {name} is new" + (" and must be given" if must else "")
            )
        for name in was.keys() & now.keys():
            if is_asked and name in has_to - had_to:
                self.broke.append(f"{where}.{name} must be given now")
            if not is_asked and name in had_to - has_to:
                self.broke.append(f"{where}.{name} is not always there any more")
            self._schema(f"{where}.{name}", was[name], now[name], is_asked=is_asked)


def _resolved(document: Mapping[str, Any], thing: Any) -> Any:
    while "$ref" in thing:
        found: Any = document
        for part in thing["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        thing = found
    return thing


def _kinds(document: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """What a value may be: kind → schema; a nullable number is a number and null."""
    schema = _resolved(document, given)
    if "anyOf" in schema:
        return {kind: one for each in schema["anyOf"] for kind, one in _kinds(document, each).items()}
    kinds = schema.get("type", "anything")
    named = kinds if isinstance(kinds, list) else [kinds]
    return {f"{kind} ({schema['format']})" if "format" in schema else kind: schema for kind in named}

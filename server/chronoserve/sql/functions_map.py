"""Functions of maps and structs. A key twice, or a null key, fails the row, as Spark's defaults do."""

from collections.abc import Callable, Iterable
from typing import Any

from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import BOOLEAN, STRING, DataType, ListType, MapType, StructType
from chronoserve.sql.casts import cast
from chronoserve.sql.coercion import common
from chronoserve.sql.functions_array import same_key
from chronoserve.sql.functions_regexp import pattern_of, prepared
from chronoserve.sql.functions_regexp import split as split_by
from chronoserve.sql.java_order import ordered
from chronoserve.sql.nodes import Constant, Node, constant, lenient, strict
from chronoserve.sql.registry import EXACT_STRING, LIST, MAP, Function, accept, accept_all, alike, refusal, special
from chronoserve.sql.types import NULL, has_map, struct
from chronoserve.sql.values import map_key

Pairs = Iterable[tuple[Any, Any]]
Build = Callable[[Pairs], dict[Any, Any]]


def builder(key: DataType) -> Build:
    """A function that makes a map of pairs, refusing null and duplicate keys."""
    form = map_key(key)

    def build(pairs: Pairs) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for name, value in pairs:
            if name is None:
                raise DerivationFailed("Cannot use null as map key")
            entry = name if form is None else form(name)
            if entry in found:
                raise DerivationFailed("Duplicate map key was found: a map has each key once")
            found[entry] = value
        return found

    return build


def checked_map(name: str, key: DataType, value: DataType) -> MapType:
    if has_map(key):
        raise InvalidRequest(f"{name}: a map's key cannot be a map", field="expression")
    return MapType(key, value)


def make_map(name: str, arguments: list[Node]) -> Node:
    if len(arguments) % 2:
        raise InvalidRequest("map takes keys and values by turns", field="expression")
    keys, values = alike(name, arguments[::2]), alike(name, arguments[1::2])
    kind = checked_map(name, keys[0].type if keys else NULL, values[0].type if values else NULL)
    build = builder(kind.key)
    count = len(keys)
    return lenient(name, kind, lambda *found: build(zip(found[:count], found[count:], strict=True)), *keys, *values)


def from_arrays(name: str, arguments: list[Node]) -> Node:
    keys, values = (accept(name, node, LIST) for node in arguments)
    assert isinstance(keys.type, ListType)
    assert isinstance(values.type, ListType)
    build = builder(keys.type.element)

    def run(names: list[Any], held: list[Any]) -> dict[Any, Any]:
        if len(names) != len(held):
            raise DerivationFailed("map_from_arrays takes as many keys as values")
        return build(zip(names, held, strict=True))

    return strict(name, checked_map(name, keys.type.element, values.type.element), run, keys, values)


def from_entries(name: str, arguments: list[Node]) -> Node:
    (source,) = arguments
    match source.type:
        case ListType(StructType(_, (key, value))):
            build = builder(key.type)

            def run(entries: list[Any]) -> dict[Any, Any] | None:
                return None if None in entries else build(entries)

            return strict(name, checked_map(name, key.type, value.type), run, source)
        case _:
            raise refusal(name, "an array of structs of two fields", source)


def concat(name: str, arguments: list[Node]) -> Node:
    kind: DataType = NULL
    for node in arguments:
        found = common(kind, node.type) if isinstance(node.type, MapType) else None
        if found is None:
            raise refusal(name, "maps of one type", node)
        kind = found
    if not isinstance(kind, MapType):
        return constant({}, MapType(STRING, STRING))
    build = builder(kind.key)
    return strict(
        name,
        kind,
        lambda *maps: build(pair for entries in maps for pair in entries.items()),
        *(cast(ordered(node), kind) for node in arguments),
    )


def map_of(name: str, node: Node) -> MapType:
    found = accept(name, node, MAP).type
    assert isinstance(found, MapType)
    return found


def map_node(name: str, node: Node) -> Node:
    return ordered(accept(name, node, MAP))


def keys_of(name: str, arguments: list[Node]) -> Node:
    return strict(name, ListType(map_of(name, arguments[0]).key), list, map_node(name, arguments[0]))


def values_of(name: str, arguments: list[Node]) -> Node:
    return strict(name, ListType(map_of(name, arguments[0]).value), lambda entries: list(entries.values()), map_node(name, arguments[0]))


def entries_of(name: str, arguments: list[Node]) -> Node:
    kind = map_of(name, arguments[0])
    result = ListType(struct(("key", kind.key), ("value", kind.value)))
    return strict(name, result, lambda entries: list(entries.items()), map_node(name, arguments[0]))


def contains_key(name: str, arguments: list[Node]) -> Node:
    source, key = arguments
    kind = map_of(name, source)
    form = map_key(kind.key)
    wanted = same_key(name, kind.key, key)
    return strict(name, BOOLEAN, lambda entries, entry: (entry if form is None else form(entry)) in entries, source, wanted)


def from_text(name: str, arguments: list[Node]) -> Node:
    """``str_to_map``: delimiters are regular expressions; a pair without one has a null value."""
    text, *delimiters = accept_all(name, arguments, (EXACT_STRING,))
    marks = [*delimiters, *(constant(mark, STRING) for mark in (",", ":")[len(delimiters) :])]
    between, within = marks
    prepared(between)
    prepared(within)
    build = builder(STRING)

    def run(value: str, pairs: str, parts: str) -> dict[Any, Any]:
        outer, inner = pattern_of(pairs), pattern_of(parts)
        found = [split_by(inner, pair, 2) for pair in split_by(outer, value)]
        return build((part[0], part[1] if len(part) > 1 else None) for part in found)

    return strict(name, MapType(STRING, STRING), run, text, between, within)


def named_struct(_name: str, arguments: list[Node]) -> Node:
    """Names and values by turns; the names are constants."""
    if len(arguments) % 2 or not arguments:
        raise InvalidRequest("named_struct takes names and values by turns", field="expression")
    names: list[str] = []
    for node in arguments[::2]:
        if not isinstance(node, Constant) or not isinstance(node.value, str):
            raise InvalidRequest("named_struct takes constant strings as names", field="expression")
        names.append(node.value)
    values = arguments[1::2]
    kind = struct(*((title, node.type) for title, node in zip(names, values, strict=True)))
    return lenient(f"struct {names}", kind, lambda *found: found, *values)


FUNCTIONS: tuple[Function, ...] = (
    special("map(key, value, …)", 0, None, make_map, "A map of the pairs."),
    special("map_from_arrays(keys, values)", 2, 2, from_arrays, "A map of two arrays."),
    special("map_from_entries(array)", 1, 1, from_entries, "A map of structs of two fields."),
    special("map_concat(map, …)", 0, None, concat, "All entries; the same key twice fails."),
    special("map_keys(map)", 1, 1, keys_of, "The keys."),
    special("map_values(map)", 1, 1, values_of, "The values."),
    special("map_entries(map)", 1, 1, entries_of, "Structs of key and value."),
    special("map_contains_key(map, key)", 2, 2, contains_key, "Whether the map has the key."),
    special("str_to_map(text, pairs, parts)", 1, 3, from_text, "A map of ``k:v,k:v``; the delimiters are regular expressions."),
    special("named_struct(name, value, …)", 2, None, named_struct, "A struct; also struct(a, b as c) and (a, b)."),
)

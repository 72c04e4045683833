"""Higher-order functions: those that take a lambda, as ``x -> x + 1``."""

from collections.abc import Callable
from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BOOLEAN, INT, DataType, ListType, MapType
from chronoserve.sql.casts import cast
from chronoserve.sql.coercion import common
from chronoserve.sql.functions_array import compared_by, orderable_list, sorted_nulls_last
from chronoserve.sql.functions_map import builder, checked_map, map_of
from chronoserve.sql.java_order import ordered
from chronoserve.sql.nodes import Evaluate, HigherOrder, LambdaNode, Node, Weaver, higher_order
from chronoserve.sql.registry import LIST, Function, accept, alias, bound, refusal, special
from chronoserve.sql.types import NULL, spark_name


def parts(weaver: Weaver, node: HigherOrder, index: int) -> tuple[Evaluate, list[int]]:
    """The closure of a lambda's body, and the cells of its parameters."""
    found = node.children[index]
    assert isinstance(found, LambdaNode)
    return weaver.weave(found.body), [weaver.cell_of(parameter) for parameter in found.parameters]


def element_of(name: str, node: Node) -> tuple[Node, DataType]:
    source = accept(name, node, LIST)
    assert isinstance(source.type, ListType)
    return source, source.type.element


def predicate(name: str, node: Node, types: list[DataType], *, optional: int = 0) -> LambdaNode:
    found = bound(name, node, types, optional=optional)
    if found.body.type == BOOLEAN:
        return found
    raise InvalidRequest(f"the lambda of {name} gives a boolean, not a {spark_name(found.body.type)}", field="expression")


# arrays


def mapped(body: Evaluate, cells: list[int]) -> Callable[[Any, list[Any]], list[Any]]:
    """The results of a lambda for every element, with its index where it takes one."""
    first, *rest = cells
    if rest:
        second = rest[0]

        def indexed(row: Any, values: list[Any]) -> list[Any]:
            found = []
            for index, value in enumerate(values):
                row[first], row[second] = value, index
                found.append(body(row))
            return found

        return indexed

    def plain(row: Any, values: list[Any]) -> list[Any]:
        found = []
        for value in values:
            row[first] = value
            found.append(body(row))
        return found

    return plain


def over_list(finish: Callable[[list[Any], list[Any]], Any]) -> Callable[[Weaver, HigherOrder], Evaluate]:
    """A binding that evaluates the lambda for each element and hands elements and results to ``finish``."""

    def bind(weaver: Weaver, node: HigherOrder) -> Evaluate:
        source = weaver.weave(node.children[0])
        results = mapped(*parts(weaver, node, 1))

        def run(row: Any) -> Any:
            values = source(row)
            return None if values is None else finish(values, results(row, values))

        return run

    return bind


def transform(name: str, arguments: list[Node]) -> Node:
    source, element = element_of(name, arguments[0])
    found = bound(name, arguments[1], [element, INT], optional=1)
    return higher_order(name, ListType(found.body.type), over_list(lambda _values, results: results), source, found)


def filtered(name: str, arguments: list[Node]) -> Node:
    source, element = element_of(name, arguments[0])
    found = predicate(name, arguments[1], [element, INT], optional=1)
    binding = over_list(lambda values, results: [value for value, kept in zip(values, results, strict=True) if kept])
    return higher_order(name, source.type, binding, source, found)


def quantified(decisive: bool) -> Callable[[str, list[Node]], Node]:
    """``exists`` and ``forall``, with three values."""

    def finish(_values: list[Any], results: list[Any]) -> bool | None:
        if decisive in results:
            return decisive
        return None if None in results else not decisive

    def resolve(name: str, arguments: list[Node]) -> Node:
        source, element = element_of(name, arguments[0])
        return higher_order(name, BOOLEAN, over_list(finish), source, predicate(name, arguments[1], [element]))

    return resolve


def aggregate(name: str, arguments: list[Node]) -> Node:
    """From a start value, element by element; the merge must give the start's type."""
    source, element = element_of(name, arguments[0])
    start = arguments[1]
    merge = bound(name, arguments[2], [start.type, element])
    if merge.body.type != start.type:
        raise InvalidRequest(
            f"{name} merges to {spark_name(merge.body.type)} what starts as {spark_name(start.type)}: cast the start value",
            field="expression",
        )
    last = bound(name, arguments[3], [start.type]) if len(arguments) == 4 else None
    children = (source, start, merge) if last is None else (source, start, merge, last)
    return higher_order(name, start.type if last is None else last.body.type, bind_aggregate, *children)


def bind_aggregate(weaver: Weaver, node: HigherOrder) -> Evaluate:
    source, start = (weaver.weave(child) for child in node.children[:2])
    merge, (total_cell, element_cell) = parts(weaver, node, 2)
    finish, (result_cell,) = parts(weaver, node, 3) if len(node.children) == 4 else (None, [0])

    def run(row: Any) -> Any:
        values = source(row)
        if values is None:
            return None
        total = start(row)
        for value in values:
            row[total_cell], row[element_cell] = total, value
            total = merge(row)
        if finish is None:
            return total
        row[result_cell] = total
        return finish(row)

    return run


def zip_with(name: str, arguments: list[Node]) -> Node:
    left, first = element_of(name, arguments[0])
    right, second = element_of(name, arguments[1])
    found = bound(name, arguments[2], [first, second])
    return higher_order(name, ListType(found.body.type), bind_zip, left, right, found)


def bind_zip(weaver: Weaver, node: HigherOrder) -> Evaluate:
    left, right = (weaver.weave(child) for child in node.children[:2])
    body, (first, second) = parts(weaver, node, 2)

    def run(row: Any) -> Any:
        one, other = left(row), right(row)
        if one is None or other is None:
            return None
        found = []
        for index in range(max(len(one), len(other))):
            row[first] = one[index] if index < len(one) else None
            row[second] = other[index] if index < len(other) else None
            found.append(body(row))
        return found

    return run


def array_sort(name: str, arguments: list[Node]) -> Node:
    """In order with nulls last, or by a lambda that says -1, 0 or 1."""
    if len(arguments) == 1:
        if arguments[0].type == NULL:
            raise refusal(name, "an array", arguments[0])
        return sorted_nulls_last(orderable_list(name, arguments[0]))
    source, element = element_of(name, arguments[0])
    found = bound(name, arguments[1], [element, element])
    if found.body.type != INT:
        raise InvalidRequest(f"the lambda of {name} gives an int, not a {spark_name(found.body.type)}", field="expression")
    return higher_order(name, source.type, bind_sort, source, found)


def bind_sort(weaver: Weaver, node: HigherOrder) -> Evaluate:
    source = weaver.weave(node.children[0])
    body, (first, second) = parts(weaver, node, 1)

    def run(row: Any) -> Any:
        values = source(row)
        if values is None:
            return None

        def compare(left: Any, right: Any) -> int | None:
            row[first], row[second] = left, right
            return body(row)  # type: ignore[no-any-return]

        return compared_by(compare)(values)

    return run


# maps


def over_map(finish: Callable[[list[Any], list[Any], list[Any]], Any]) -> Callable[[Weaver, HigherOrder], Evaluate]:
    """A binding that evaluates the lambda for each entry and hands keys, values and results to ``finish``."""

    def bind(weaver: Weaver, node: HigherOrder) -> Evaluate:
        source = weaver.weave(node.children[0])
        body, (first, second) = parts(weaver, node, 1)

        def run(row: Any) -> Any:
            entries = source(row)
            if entries is None:
                return None
            found = []
            for key, value in entries.items():
                row[first], row[second] = key, value
                found.append(body(row))
            return finish(list(entries), list(entries.values()), found)

        return run

    return bind


def transform_values(name: str, arguments: list[Node]) -> Node:
    kind = map_of(name, arguments[0])
    found = bound(name, arguments[1], [kind.key, kind.value])
    binding = over_map(lambda keys, _values, results: dict(zip(keys, results, strict=True)))
    return higher_order(name, MapType(kind.key, found.body.type), binding, ordered(arguments[0]), found)


def transform_keys(name: str, arguments: list[Node]) -> Node:
    kind = map_of(name, arguments[0])
    found = bound(name, arguments[1], [kind.key, kind.value])
    build = builder(found.body.type)
    binding = over_map(lambda _keys, values, results: build(zip(results, values, strict=True)))
    return higher_order(name, checked_map(name, found.body.type, kind.value), binding, ordered(arguments[0]), found)


def map_filter(name: str, arguments: list[Node]) -> Node:
    kind = map_of(name, arguments[0])
    found = predicate(name, arguments[1], [kind.key, kind.value])
    binding = over_map(lambda keys, values, results: {key: value for key, value, kept in zip(keys, values, results, strict=True) if kept})
    return higher_order(name, kind, binding, ordered(arguments[0]), found)


def map_zip_with(name: str, arguments: list[Node]) -> Node:
    """For the keys of both maps, the first map's first."""
    left, right = map_of(name, arguments[0]), map_of(name, arguments[1])
    key = common(left.key, right.key, strings=False)
    if key is None:
        raise refusal(name, f"a map with keys of type {spark_name(left.key)}", arguments[1])
    found = bound(name, arguments[2], [key, left.value, right.value])
    maps = (cast(ordered(arguments[0]), MapType(key, left.value)), cast(ordered(arguments[1]), MapType(key, right.value)))
    return higher_order(name, MapType(key, found.body.type), bind_map_zip, *maps, found)


def bind_map_zip(weaver: Weaver, node: HigherOrder) -> Evaluate:
    left, right = (weaver.weave(child) for child in node.children[:2])
    body, (key_cell, first, second) = parts(weaver, node, 2)

    def run(row: Any) -> Any:
        one, other = left(row), right(row)
        if one is None or other is None:
            return None
        found = {}
        for key in {**one, **other}:
            row[key_cell], row[first], row[second] = key, one.get(key), other.get(key)
            found[key] = body(row)
        return found

    return run


AGGREGATE = special(
    "aggregate(array, start, merge, finish)",
    3,
    4,
    aggregate,
    "From a start value, element by element: ``(total, x) -> …``, then ``total -> …``.",
)
FUNCTIONS: tuple[Function, ...] = (
    special("transform(array, x -> …)", 2, 2, transform, "Every element changed; the lambda may take the index as well."),
    special("filter(array, x -> …)", 2, 2, filtered, "The elements for which the lambda is true; it may take the index as well."),
    special("exists(array, x -> …)", 2, 2, quantified(decisive=True), "Whether the lambda is true of an element."),
    special("forall(array, x -> …)", 2, 2, quantified(decisive=False), "Whether the lambda is true of every element."),
    AGGREGATE,
    alias("reduce", AGGREGATE),
    special("zip_with(left, right, (x, y) -> …)", 3, 3, zip_with, "Two arrays, element by element; the shorter is filled with nulls."),
    special("array_sort(array, (x, y) -> …)", 1, 2, array_sort, "In order, nulls last; or by a lambda that says -1, 0 or 1."),
    special("transform_values(map, (k, v) -> …)", 2, 2, transform_values, "Every value changed."),
    special("transform_keys(map, (k, v) -> …)", 2, 2, transform_keys, "Every key changed."),
    special("map_filter(map, (k, v) -> …)", 2, 2, map_filter, "The entries for which the lambda is true."),
    special("map_zip_with(left, right, (k, x, y) -> …)", 3, 3, map_zip_with, "Two maps, key by key."),
)

"""Functions of arrays."""

import random
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import BOOLEAN, DATE, DOUBLE, FLOAT, INT, LONG, STRING, TIMESTAMP, DataType, ListType, MapType
from chronoserve.sql.access import element, map_getter
from chronoserve.sql.casts import cast
from chronoserve.sql.coercion import common, tightest
from chronoserve.sql.datetimes import MICROS_PER_DAY
from chronoserve.sql.nodes import Constant, Evaluate, Node, Row, applied, lenient, strict
from chronoserve.sql.registry import EXACT_STRING, LIST, Function, accept, alias, alike, constant_of, refusal, special
from chronoserve.sql.time_arithmetic import moved_date, moved_timestamp
from chronoserve.sql.types import NULL, DayTimeInterval, YearMonthInterval, is_integral, is_orderable, spark_name, struct
from chronoserve.sql.values import equality, identity, nullable_identity, nullable_key, sort_key

ITEMS_MAX = 1_000_000
"""How many elements ``sequence`` and ``array_repeat`` may make."""


def element_type(name: str, node: Node) -> Any:
    node = accept(name, node, LIST)
    assert isinstance(node.type, ListType)
    return node.type.element


def with_element(name: str, source: Node, value: Node) -> tuple[Node, Node]:
    """An array and a value that could be its element, in a type that both have."""
    if not isinstance(source.type, ListType):
        raise refusal(name, "an array", source)
    kind = common(source.type.element, value.type, strings=False)
    if kind is None:
        raise refusal(name, f"a {spark_name(source.type.element)}", value)
    return cast(source, ListType(kind)), cast(value, kind)


def alike_lists(name: str, arguments: list[Node]) -> list[Node]:
    kind = arguments[0].type
    for node in arguments:
        found = common(kind, node.type, strings=False) if isinstance(node.type, ListType) else None
        if found is None:
            raise refusal(name, "arrays of one type", node)
        kind = found
    return [cast(node, kind) for node in arguments]


# making


def array(name: str, arguments: list[Node]) -> Node:
    nodes = alike(name, arguments)
    kind = ListType(nodes[0].type if nodes else NULL)
    return lenient(name, kind, lambda *values: list(values), *nodes)


def repeated(name: str, arguments: list[Node]) -> Node:
    value, count = arguments[0], accept(name, arguments[1], INT)

    def run(item: Any, times: int | None) -> list[Any] | None:
        return None if times is None else [item] * checked_count(max(times, 0))

    return lenient(name, ListType(value.type), run, value, count)


def checked_count(count: int) -> int:
    if count > ITEMS_MAX:
        raise DerivationFailed(f"an array of {count} elements is longer than the {ITEMS_MAX} that an expression may make")
    return count


def sequence(name: str, arguments: list[Node]) -> Node:
    """Whole numbers by a step, or dates and timestamps by an interval; a day where none is named."""
    start, stop, *steps = arguments
    kind = tightest(start.type, stop.type)
    if kind is not None and is_integral(kind):
        return number_sequence(name, [start, stop, *steps])
    if kind in (DATE, TIMESTAMP):
        return time_sequence(name, cast(start, kind), cast(stop, kind), steps[0] if steps else None)
    raise refusal(name, "whole numbers, dates or timestamps", start)


def number_sequence(name: str, nodes: list[Node]) -> Node:
    kind = nodes[0].type
    for node in nodes[1:]:
        found = tightest(kind, node.type)
        if found is None or not is_integral(found):
            raise refusal(name, "whole numbers", node)
        kind = found
    return strict(name, ListType(kind), numbers_between, *(cast(node, kind) for node in nodes))


def numbers_between(start: int, stop: int, step: int | None = None) -> list[int]:
    by = step if step is not None else 1 if start <= stop else -1
    check_boundaries(start, stop, by)
    if by == 0:
        return [start]
    checked_count(abs(stop - start) // abs(by) + 1)
    return list(range(start, stop + (1 if by > 0 else -1), by))


def check_boundaries(start: int, stop: int, step: int) -> None:
    if (step > 0 and start > stop) or (step < 0 and start < stop) or (step == 0 and start != stop):
        raise DerivationFailed("Illegal sequence boundaries: the step leads away from the end")


def time_sequence(name: str, start: Node, stop: Node, step: Node | None) -> Node:
    result = ListType(start.type)
    unit = MICROS_PER_DAY if start.type == DATE else 1
    if step is None:
        day = MICROS_PER_DAY // unit
        return strict(name, result, lambda a, b: spaced(a, b, day), start, stop)
    if isinstance(step.type, YearMonthInterval):
        move = moved_date if start.type == DATE else moved_timestamp
        return strict(f"{name} months", result, lambda a, b, months: months_apart(a, b, months, move), start, stop, step)
    if isinstance(step.type, DayTimeInterval):
        return strict(
            f"{name} micros",
            result,
            lambda a, b, micros: [at // unit for at in spaced(a * unit, b * unit, micros, given=True)],
            start,
            stop,
            step,
        )
    raise refusal(name, "an interval as its step", step)


def spaced(start: int, stop: int, step: int, *, given: bool = False) -> list[int]:
    return numbers_between(start, stop, step if given or start <= stop else -step)


def months_apart(start: int, stop: int, months: int, move: Callable[[int, int], int]) -> list[int]:
    check_boundaries(start, stop, months)
    if months == 0:
        return [start]
    found: list[int] = []
    at = start
    while at <= stop if months > 0 else at >= stop:
        found.append(at)
        at = move(start, checked_count(len(found)) * months)
    return found


# reading


def size_of(name: str, arguments: list[Node]) -> Node:
    """``size``: -1 of a null."""
    (node,) = arguments
    if not isinstance(node.type, ListType | MapType):
        node = accept(name, node, LIST)

    def make(evaluates: list[Evaluate]) -> Evaluate:
        evaluate = evaluates[0]

        def run(row: Row) -> int:
            value = evaluate(row)
            return -1 if value is None else len(value)

        return run

    return applied("size", INT, make, node)


def array_size(name: str, arguments: list[Node]) -> Node:
    return strict(name, INT, len, accept(name, arguments[0], LIST))


def element_at(name: str, arguments: list[Node]) -> Node:
    """Of an array by position, from 1 or from the end; of a map by key."""
    source, index = arguments
    if isinstance(source.type, MapType):
        return strict("[key]", source.type.value, map_getter(source.type.key), source, same_key(name, source.type.key, index))
    if source.type == NULL:
        raise refusal(name, "an array or map", source)
    source = accept(name, source, LIST)
    assert isinstance(source.type, ListType)
    if not is_integral(index.type):
        raise refusal(name, "a whole number as the position", index)
    return strict("element_at", source.type.element, item_at, source, cast(index, INT))


def same_key(name: str, key: DataType, index: Node) -> Node:
    """``index`` as a key, where both are of one kind: ``element_at`` casts no number to a string."""
    if tightest(key, index.type) is None:
        raise refusal(name, f"a {spark_name(key)} as the key", index)
    return cast(index, key)


def item_at(values: list[Any], index: int) -> Any:
    if index == 0:
        raise DerivationFailed("SQL array indices start at 1")
    at = index - 1 if index > 0 else len(values) + index
    return values[at] if 0 <= at < len(values) else None


def get(name: str, arguments: list[Node]) -> Node:
    return element(accept(name, arguments[0], LIST), arguments[1])


def contains(name: str, arguments: list[Node]) -> Node:
    """Null where the value is not among the elements but a null is."""
    source, value = with_element(name, *arguments)
    if value.type == NULL or arguments[1].type == NULL:
        raise refusal(name, "a value of the elements' type", arguments[1])
    same = equality(value.type)
    plain = identity(value.type) is None

    def run(values: list[Any], wanted: Any) -> bool | None:
        if plain:
            if wanted in values:
                return True
        elif any(item is not None and same(item, wanted) for item in values):
            return True
        return None if None in values else False

    return strict(name, BOOLEAN, run, source, value)


def position(name: str, arguments: list[Node]) -> Node:
    source, value = with_element(name, *arguments)
    same = equality(value.type)

    def run(values: list[Any], wanted: Any) -> int:
        return next((index for index, item in enumerate(values, 1) if item is not None and same(item, wanted)), 0)

    return strict(name, LONG, run, source, value)


def extreme(*, greatest: bool) -> Callable[[str, list[Node]], Node]:
    def resolve(name: str, arguments: list[Node]) -> Node:
        source = orderable_list(name, arguments[0])
        assert isinstance(source.type, ListType)
        pick, key = (max if greatest else min), sort_key(source.type.element)

        def run(values: list[Any]) -> Any:
            known = [value for value in values if value is not None]
            return pick(known, key=key) if known else None

        return strict(name, source.type.element, run, source)

    return resolve


def orderable_list(name: str, node: Node) -> Node:
    source = accept(name, node, LIST)
    assert isinstance(source.type, ListType)
    if not is_orderable(source.type.element):
        raise refusal(name, "elements that have an order", source)
    return source


# changing


def sort_array(name: str, arguments: list[Node]) -> Node:
    """Nulls first ascending, last descending."""
    source = orderable_list(name, arguments[0])
    assert isinstance(source.type, ListType)
    key = nullable_key(source.type.element)
    ascending = True if len(arguments) == 1 else constant_of(name, arguments[1], BOOLEAN)
    if ascending is None:
        raise InvalidRequest("sort_array takes true or false as its order", field="expression")
    return strict(f"{name} {ascending}", source.type, lambda values: sorted(values, key=key, reverse=not ascending), source)


def sorted_nulls_last(source: Node) -> Node:
    """``array_sort`` without a comparison."""
    assert isinstance(source.type, ListType)
    key = nullable_key(source.type.element)
    return strict("array_sort", source.type, lambda values: sorted(values, key=lambda item: (item is None, key(item))), source)


def compared_by(compare: Callable[[Any, Any], int | None]) -> Callable[[list[Any]], list[Any]]:
    """Sorts by a comparison that says -1, 0 or 1."""

    def order(left: Any, right: Any) -> int:
        found = compare(left, right)
        if found is None:
            raise DerivationFailed("the comparison of array_sort gave null: it must give -1, 0 or 1")
        return found

    return lambda values: sorted(values, key=cmp_to_key(order))


def distinct(name: str, arguments: list[Node]) -> Node:
    source = accept(name, arguments[0], LIST)
    return strict(name, source.type, lambda values: unique(values, key_of(source)), source)


def key_of(source: Node) -> Callable[[Any], Any]:
    assert isinstance(source.type, ListType)
    return bits if source.type.element in (DOUBLE, FLOAT) else nullable_identity(source.type.element)


def bits(number: float | None) -> str:
    """Sets of floating numbers keep -0.0 and 0.0 apart, and have one NaN."""
    return repr(number)


def unique(values: list[Any], key: Callable[[Any], Any]) -> list[Any]:
    """Each value once, where it stands first."""
    seen: dict[Any, Any] = {}
    for value in values:
        seen.setdefault(key(value), value)
    return list(seen.values())


def set_operation(name: str, arguments: list[Node]) -> Node:
    """``array_union``, ``array_intersect``, ``array_except``: results have no element twice."""
    left, right = alike_lists(name, arguments)
    key = key_of(left)

    def union(a: list[Any], b: list[Any]) -> list[Any]:
        return unique([*a, *b], key)

    def intersect(a: list[Any], b: list[Any]) -> list[Any]:
        others = set(map(key, b))
        return unique([value for value in a if key(value) in others], key)

    def difference(a: list[Any], b: list[Any]) -> list[Any]:
        others = set(map(key, b))
        return unique([value for value in a if key(value) not in others], key)

    function = {"array_union": union, "array_intersect": intersect, "array_except": difference}[name]
    return strict(name, left.type, function, left, right)


def overlap(name: str, arguments: list[Node]) -> Node:
    """Null where nothing is in both, neither is empty, and one has a null."""
    left, right = alike_lists(name, arguments)
    key = key_of(left)

    def run(a: list[Any], b: list[Any]) -> bool | None:
        if set(map(key, (value for value in a if value is not None))) & set(map(key, (value for value in b if value is not None))):
            return True
        return None if a and b and (None in a or None in b) else False

    return strict(name, BOOLEAN, run, left, right)


def remove(name: str, arguments: list[Node]) -> Node:
    source, value = with_element(name, *arguments)
    same = equality(value.type)
    return strict(
        name, source.type, lambda values, unwanted: [item for item in values if item is None or not same(item, unwanted)], source, value
    )


def added(*, before: bool) -> Callable[[str, list[Node]], Node]:
    def resolve(name: str, arguments: list[Node]) -> Node:
        source, value = with_element(name, *arguments)

        def run(values: list[Any] | None, item: Any) -> list[Any] | None:
            if values is None:
                return None
            return [item, *values] if before else [*values, item]

        return lenient(name, source.type, run, source, value)

    return resolve


def insert(name: str, arguments: list[Node]) -> Node:
    """At a position from 1, or from the end; gaps are filled with nulls."""
    source, value = with_element(name, arguments[0], arguments[2])
    place = accept(name, arguments[1], INT)

    def run(values: list[Any] | None, at: int | None, item: Any) -> list[Any] | None:
        return None if values is None or at is None else inserted(values, at, item)

    return lenient(name, source.type, run, source, place, value)


def inserted(values: list[Any], at: int, item: Any) -> list[Any]:
    if at == 0:
        raise DerivationFailed("array_insert counts positions from 1, or from the end with negative numbers: 0 is none")
    checked_count(abs(at))
    if at > 0:
        padded = values + [None] * (at - 1 - len(values))
        return [*padded[: at - 1], item, *padded[at - 1 :]]
    # legacy off in 3.5: -1 inserts before nothing, behind the last element
    place = len(values) + at + 1
    if place < 0:
        return [item, *[None] * -place, *values]
    return [*values[:place], item, *values[place:]]


def compact(name: str, arguments: list[Node]) -> Node:
    source = accept(name, arguments[0], LIST)
    return strict(name, source.type, lambda values: [value for value in values if value is not None], source)


def slice_of(name: str, arguments: list[Node]) -> Node:
    source = accept(name, arguments[0], LIST)
    return strict(name, source.type, sliced, source, accept(name, arguments[1], INT), accept(name, arguments[2], INT))


def sliced(values: list[Any], start: int, length: int) -> list[Any]:
    if start == 0:
        raise DerivationFailed("slice counts positions from 1, or from the end with negative numbers: 0 is none")
    if length < 0:
        raise DerivationFailed("slice takes a length that is not negative")
    at = start - 1 if start > 0 else len(values) + start
    return values[at : at + length] if 0 <= at < len(values) else []


def flatten(name: str, arguments: list[Node]) -> Node:
    (source,) = arguments
    if not (isinstance(source.type, ListType) and isinstance(source.type.element, ListType)):
        raise refusal(name, "an array of arrays", source)

    def run(lists: list[Any]) -> list[Any] | None:
        if None in lists:
            return None
        return [item for values in lists for item in values]

    return strict(name, source.type.element, run, source)


def join(name: str, arguments: list[Node]) -> Node:
    """Nulls are left out, or replaced by the third argument."""
    source = accept(name, arguments[0], ListType(STRING))
    texts = [accept(name, node, EXACT_STRING) for node in arguments[1:]]

    def run(values: list[str | None], delimiter: str, absent: str | None = None) -> str:
        known = [absent if value is None else value for value in values]
        return delimiter.join(value for value in known if value is not None)

    return strict(name, STRING, run, source, *texts)


def zipped(name: str, arguments: list[Node]) -> Node:
    """``arrays_zip``: names and arrays by turns, as the analysis gives them; shorter arrays are filled with nulls."""
    names = [node.value for node in arguments[::2] if isinstance(node, Constant)]
    lists = [accept(name, node, LIST) for node in arguments[1::2]]
    kind = struct(*((title, element_type(name, node)) for title, node in zip(names, lists, strict=True)))

    def run(*values: list[Any]) -> list[Any]:
        longest = max(map(len, values), default=0)
        return [tuple(items[at] if at < len(items) else None for items in values) for at in range(longest)]

    return strict(f"arrays_zip {names}", ListType(kind), run, *lists)


def shuffle(name: str, arguments: list[Node]) -> Node:
    source = accept(name, arguments[0], LIST)
    return strict(name, source.type, lambda values: random.sample(values, len(values)), source, pure=False)


SIZE = special("size(value)", 1, 1, size_of, "How many elements an array has, or entries a map; -1 of a null.")
FUNCTIONS: tuple[Function, ...] = (
    special("array(value, …)", 0, None, array, "An array of the values."),
    special("array_repeat(value, count)", 2, 2, repeated, "The value so many times."),
    special("sequence(start, stop, step)", 2, 3, sequence, "Numbers, dates or timestamps from one to another, both included."),
    SIZE,
    alias("cardinality", SIZE),
    special("array_size(array)", 1, 1, array_size, "How many elements; null of a null."),
    special(
        "element_at(value, index)",
        2,
        2,
        element_at,
        "An array's element from 1 (or the end, if negative), or a map's value; null where there is none.",
    ),
    special("try_element_at(value, index)", 2, 2, element_at, "As element_at."),
    special("get(array, index)", 2, 2, get, "An array's element from 0; null outside."),
    special("array_contains(array, value)", 2, 2, contains, "Whether an element equals the value."),
    special("array_position(array, value)", 2, 2, position, "Where the value is first, from 1; 0 where it is not."),
    special("array_min(array)", 1, 1, extreme(greatest=False), "The least element, nulls passed over."),
    special("array_max(array)", 1, 1, extreme(greatest=True), "The greatest element, nulls passed over."),
    special("sort_array(array, ascending)", 1, 2, sort_array, "In order; nulls first, or last in descending order."),
    special("array_distinct(array)", 1, 1, distinct, "Every element once."),
    special("array_union(left, right)", 2, 2, set_operation, "What is in either, once."),
    special("array_intersect(left, right)", 2, 2, set_operation, "What is in both, once."),
    special("array_except(left, right)", 2, 2, set_operation, "What is in the first only, once."),
    special("arrays_overlap(left, right)", 2, 2, overlap, "Whether they have an element in common."),
    special("array_remove(array, value)", 2, 2, remove, "Without the elements that equal the value."),
    special("array_append(array, value)", 2, 2, added(before=False), "With a value at the end."),
    special("array_prepend(array, value)", 2, 2, added(before=True), "With a value at the beginning."),
    special("array_insert(array, position, value)", 3, 3, insert, "With a value at a position, from 1 or from the end."),
    special("array_compact(array)", 1, 1, compact, "Without nulls."),
    special("slice(array, start, length)", 3, 3, slice_of, "Part of an array, from 1 or from the end."),
    special("flatten(array)", 1, 1, flatten, "An array of arrays as one; null where one is null."),
    special("array_join(array, delimiter, absent)", 2, 3, join, "The elements' texts with a delimiter between."),
    special("arrays_zip(array, …)", 0, None, zipped, "Structs of the elements at equal positions."),
    special("shuffle(array)", 1, 1, shuffle, "In random order."),
)

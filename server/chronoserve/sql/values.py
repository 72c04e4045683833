"""Equality, order and identity of Spark's values, chosen by type.

NaN equals NaN and is greater than any number; -0.0 equals 0.0; a null is less than anything (inside of arrays and structs).
"""

from collections.abc import Callable, Hashable
from typing import Any

from chronoserve.model.types import DOUBLE, FLOAT, DataType, ListType, MapType, StructType

Key = Callable[[Any], Any]
NULL_KEY = (0,)


def has_floating(data_type: DataType) -> bool:
    match data_type:
        case ListType(element):
            return has_floating(element)
        case MapType(key, value):
            return has_floating(key) or has_floating(value)
        case StructType(_, fields):
            return any(has_floating(field.type) for field in fields)
        case _:
            return data_type in (DOUBLE, FLOAT)


def floating_key(number: float) -> tuple[int, float]:
    return (1, 0.0) if number != number else (0, number)  # noqa: PLR0124 - NaN


def sort_key(data_type: DataType) -> Key | None:
    """A key for Python's order that gives Spark's; None where the value itself is one."""
    match data_type:
        case ListType(element):
            return list_key(nullable_key(element))
        case StructType(_, fields):
            return struct_key([nullable_key(field.type) for field in fields])
        case _:
            return floating_key if data_type in (DOUBLE, FLOAT) else None


def list_key(element: Key) -> Key:
    return lambda values: tuple(map(element, values))


def struct_key(keys: list[Key]) -> Key:
    return lambda values: tuple(key(value) for key, value in zip(keys, values, strict=True))


def nullable_key(data_type: DataType) -> Key:
    """As ``sort_key``, for values that may be null: nulls come first."""
    inner = sort_key(data_type)
    if inner is None:
        return lambda value: NULL_KEY if value is None else (1, value)
    return lambda value: NULL_KEY if value is None else (1, inner(value))


def identity(data_type: DataType) -> Callable[[Any], Hashable] | None:
    """A hashable stand-in that is equal where Spark's values are; None where the value itself is one."""
    match data_type:
        case ListType() | StructType():
            return sort_key(data_type)
        case MapType(key, value):
            return map_identity(nullable_identity(key), nullable_identity(value))
        case _:
            return floating_key if data_type in (DOUBLE, FLOAT) else None


def nullable_identity(data_type: DataType) -> Callable[[Any], Hashable]:
    inner = identity(data_type)
    if inner is None:
        return lambda value: value
    return lambda value: None if value is None else inner(value)


def map_identity(key: Callable[[Any], Hashable], value: Callable[[Any], Hashable]) -> Callable[[Any], Hashable]:
    return lambda entries: frozenset((key(name), value(held)) for name, held in entries.items())


def equality(data_type: DataType) -> Callable[[Any, Any], bool]:
    """Whether two values that are not null are equal."""
    if not has_floating(data_type):
        return equal
    if data_type in (DOUBLE, FLOAT):
        return floating_equal
    key = identity(data_type)
    assert key is not None
    return lambda left, right: key(left) == key(right)


def equal(left: Any, right: Any) -> bool:
    return bool(left == right)


def floating_equal(left: float, right: float) -> bool:
    return left == right or (left != left and right != right)  # noqa: PLR0124 - NaN


def less(data_type: DataType) -> Callable[[Any, Any], bool]:
    key = sort_key(data_type)
    if key is None:
        return lambda left, right: left < right
    if data_type in (DOUBLE, FLOAT):
        return floating_less
    return lambda left, right: key(left) < key(right)


def floating_less(left: float, right: float) -> bool:
    return left < right or (right != right and left == left)  # noqa: PLR0124 - NaN


def map_key(data_type: DataType) -> Callable[[Any], Any] | None:
    """What a map's Python dict is keyed by: None for the value itself; lists become tuples."""
    match data_type:
        case ListType(element):
            inner = map_key(element)
            return tuple if inner is None else lambda values: tuple(None if value is None else inner(value) for value in values)
        case StructType(_, fields):
            keys = [map_key(field.type) for field in fields]
            if not any(keys):
                return None
            return lambda values: tuple(
                value if key is None or value is None else key(value) for key, value in zip(keys, values, strict=True)
            )
        case _:
            return None

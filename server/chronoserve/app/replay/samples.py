"""Values of every type, for recordings that say "the JVM refuses this" without saying with which values."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    DataType,
    ListType,
    MapType,
    StructType,
)

_SCALARS: Final[Mapping[DataType, Callable[[int], object]]] = {
    BOOLEAN: lambda number: number % 2 == 0,
    STRING: lambda number: f"s{number}",
    BINARY: lambda number: number.to_bytes(2, "big"),
    **dict.fromkeys((BYTE, SHORT, INT, LONG, DATE, TIMESTAMP), lambda number: number),
    **dict.fromkeys((FLOAT, DOUBLE), lambda number: number + 0.5),
}


def folds(data_type: DataType, *, distinct: int, mismatched: bool = False) -> Iterator[list[object]]:
    """Rows of values to be folded one after the other: one; ``distinct`` ones; and where ``mismatched``, lists of two lengths."""
    yield [sample(data_type, 0)]
    yield [sample(data_type, number) for number in range(distinct)]
    first = sample(data_type, 0)
    if mismatched and isinstance(first, list):
        yield [first, first * 2]


def sample(data_type: DataType, number: int) -> object:
    """A value of a type; those of different numbers differ, booleans aside. None of them has a null in it."""
    match data_type:
        case ListType(element):
            return [sample(element, number)]
        case MapType(_, value):
            return {"k": sample(value, number)}
        case StructType(_, fields):
            return tuple(sample(field.type, number) for field in fields)
        case _:
            return _SCALARS[data_type](number)

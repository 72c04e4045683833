"""How Java orders values: strings by UTF-16 unit, floats with NaN above everything and -0.0 below 0.0."""

from collections.abc import Callable
from math import copysign, inf, isnan
from operator import le, lt
from typing import Any

from chronoserve.model.types import DOUBLE, FLOAT, STRING, DataType

Key = Callable[[Any], Any]
Test = Callable[[Any, Any], bool]


def utf16(text: str) -> bytes:
    """A key that orders texts as String.compareTo does."""
    return text.encode("utf-16-be", "surrogatepass")


def total(number: float) -> tuple[float, float]:
    """A key that orders numbers as Double.compare does."""
    return (inf, 2.0) if isnan(number) else (number, copysign(1.0, number))


def sort_key(data_type: DataType) -> Key | None:
    """What to sort values of a type by; None where Python's own order is Java's."""
    if data_type in (FLOAT, DOUBLE):
        return total
    return utf16 if data_type == STRING else None


def comparisons(data_type: DataType) -> tuple[Test, Test]:
    """(less, less or equal) as Scala's Ordering has them: for floats those of the bare numbers, which NaN never passes."""
    if data_type == STRING:
        return lambda a, b: utf16(a) < utf16(b), lambda a, b: utf16(a) <= utf16(b)
    return lt, le

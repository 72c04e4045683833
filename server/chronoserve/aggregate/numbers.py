"""COUNT, SUM, AVERAGE: the operations that can take values back."""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from math import copysign, inf, isnan, nan
from operator import add
from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.model.types import DOUBLE, INT, LONG, Field, StructType

_LONG_MAX = (1 << 63) - 1
_LONG_MIN = -(1 << 63)
AVERAGE_IR = StructType("AvgIr", (Field("sum", DOUBLE), Field("count", INT)))


def long(number: int) -> int:
    """Wrapped to 64 bits, as Java's long."""
    return number if _LONG_MIN <= number <= _LONG_MAX else ((number - _LONG_MIN) & 0xFFFFFFFFFFFFFFFF) + _LONG_MIN


def int32(number: int) -> int:
    """Wrapped to 32 bits, as Java's int."""
    return number if -0x80000000 <= number <= 0x7FFFFFFF else ((number + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _added(numbers: Iterable[float], start: float) -> float:
    return reduce(add, numbers, start)


added: Callable[[Iterable[float], float], float] = sum if sys.version_info < (3, 12) else _added
"""The sum from left to right, as the JVM forms it. From 3.12 on ``sum`` compensates for rounding, and so differs from it."""


class Count(Aggregator):
    ir_type = LONG
    output_type = LONG
    deletable: ClassVar[bool] = True

    def prepare(self, value: Any, ts: int) -> int:
        return 1

    def update(self, ir: int, value: Any, ts: int) -> int:
        return long(ir + 1)

    def update_all(self, ir: int, values: Sequence[Any], times: Sequence[int]) -> int:
        return long(ir + len(values))

    def delete(self, ir: int, value: Any, ts: int) -> int:
        return long(ir - 1)

    def merge(self, ir: int, other: int) -> int:
        return long(ir + other)

    def finalize(self, ir: int) -> int:
        return ir


class LongSum(Aggregator):
    """Of booleans too: true is 1."""

    ir_type = LONG
    output_type = LONG
    deletable: ClassVar[bool] = True

    def prepare(self, value: int, ts: int) -> int:
        return int(value)

    def update(self, ir: int, value: int, ts: int) -> int:
        return long(ir + value)

    def update_all(self, ir: int, values: Sequence[int], times: Sequence[int]) -> int:
        return long(sum(values, ir))

    def delete(self, ir: int, value: int, ts: int) -> int:
        return long(ir - value)

    def merge(self, ir: int, other: int) -> int:
        return long(ir + other)

    def finalize(self, ir: int) -> int:
        return ir


class DoubleSum(Aggregator):
    ir_type = DOUBLE
    output_type = DOUBLE
    deletable: ClassVar[bool] = True

    def prepare(self, value: float, ts: int) -> float:
        return value

    def update(self, ir: float, value: float, ts: int) -> float:
        return ir + value

    def update_all(self, ir: float, values: Sequence[float], times: Sequence[int]) -> float:
        return added(values, ir)

    def delete(self, ir: float, value: float, ts: int) -> float:
        return ir - value

    def merge(self, ir: float, other: float) -> float:
        return ir + other

    def finalize(self, ir: float) -> float:
        return ir


class Average(Aggregator):
    """IR: (sum, 32-bit count)."""

    ir_type = AVERAGE_IR
    output_type = DOUBLE
    deletable: ClassVar[bool] = True

    def prepare(self, value: float, ts: int) -> tuple[float, int]:
        return float(value), 1

    def update(self, ir: tuple[float, int], value: float, ts: int) -> tuple[float, int]:
        return ir[0] + value, int32(ir[1] + 1)

    def update_all(self, ir: tuple[float, int], values: Sequence[float], times: Sequence[int]) -> tuple[float, int]:
        return added(values, ir[0]), int32(ir[1] + len(values))

    def delete(self, ir: tuple[float, int], value: float, ts: int) -> tuple[float, int]:
        return ir[0] - value, int32(ir[1] - 1)

    def merge(self, ir: tuple[float, int], other: tuple[float, int]) -> tuple[float, int]:
        return ir[0] + other[0], int32(ir[1] + other[1])

    def finalize(self, ir: tuple[float, int]) -> float:
        return quotient(ir[0], ir[1])


def quotient(dividend: float, divisor: float) -> float:
    """Division as Java's doubles: by zero it gives NaN or an infinity."""
    if divisor:
        return dividend / divisor
    if dividend == 0 or isnan(dividend):
        return nan
    return copysign(inf, dividend) * copysign(1.0, divisor)

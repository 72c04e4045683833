"""MIN and MAX."""

from math import copysign, isnan, nan
from typing import Any

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.ordering import utf16
from chronoserve.model.types import DOUBLE, FLOAT, STRING, DataType


class _Extreme(Aggregator):
    def __init__(self, data_type: DataType) -> None:
        self.ir_type = data_type
        self.output_type = data_type

    def prepare(self, value: Any, ts: int) -> Any:
        return value

    def update(self, ir: Any, value: Any, ts: int) -> Any:
        return self.merge(ir, value)

    def finalize(self, ir: Any) -> Any:
        return ir


class Min(_Extreme):
    def merge(self, ir: Any, other: Any) -> Any:
        return min(ir, other)


class Max(_Extreme):
    def merge(self, ir: Any, other: Any) -> Any:
        return max(ir, other)


class FloatMin(_Extreme):
    """As Math.min: NaN wins, and -0.0 is less than 0.0."""

    def merge(self, ir: float, other: float) -> float:
        if isnan(ir) or isnan(other):
            return nan
        return min(ir, other, key=_sign) if other == 0 == ir else min(ir, other)


class FloatMax(_Extreme):
    """As Math.max: NaN wins, and 0.0 is more than -0.0."""

    def merge(self, ir: float, other: float) -> float:
        if isnan(ir) or isnan(other):
            return nan
        return max(ir, other, key=_sign) if other == 0 == ir else max(ir, other)


class StringMin(_Extreme):
    def merge(self, ir: str, other: str) -> str:
        return other if utf16(other) < utf16(ir) else ir


class StringMax(_Extreme):
    def merge(self, ir: str, other: str) -> str:
        return other if utf16(other) > utf16(ir) else ir


def minimum(data_type: DataType) -> Aggregator:
    return _of(data_type, Min, FloatMin, StringMin)


def maximum(data_type: DataType) -> Aggregator:
    return _of(data_type, Max, FloatMax, StringMax)


def _of(data_type: DataType, whole: type[_Extreme], floating: type[_Extreme], text: type[_Extreme]) -> Aggregator:
    if data_type in (FLOAT, DOUBLE):
        return floating(data_type)
    return text(data_type) if data_type == STRING else whole(data_type)


def _sign(number: float) -> float:
    return copysign(1.0, number)

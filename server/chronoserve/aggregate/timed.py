"""FIRST and LAST: the value with the smallest or largest time; among equal times the one processed first (§5.2)."""

from typing import Any

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.model.types import LONG, DataType, Field, StructType, short_name

EPOCH_MILLIS = Field("epochMillis", LONG)

TimePair = tuple[int, Any]


def time_pair(payload: DataType) -> StructType:
    return StructType(f"TimePair_{short_name(payload)}", (EPOCH_MILLIS, Field("payload", payload)))


class _Timed(Aggregator):
    def __init__(self, data_type: DataType) -> None:
        self.ir_type = time_pair(data_type)
        self.output_type = data_type

    def prepare(self, value: Any, ts: int) -> TimePair:
        return ts, value

    def finalize(self, ir: TimePair) -> Any:
        return ir[1]


class First(_Timed):
    def update(self, ir: TimePair, value: Any, ts: int) -> TimePair:
        return (ts, value) if ir[0] > ts else ir

    def merge(self, ir: TimePair, other: TimePair) -> TimePair:
        return other if ir[0] > other[0] else ir


class Last(_Timed):
    def update(self, ir: TimePair, value: Any, ts: int) -> TimePair:
        return (ts, value) if ir[0] < ts else ir

    def merge(self, ir: TimePair, other: TimePair) -> TimePair:
        return other if ir[0] < other[0] else ir

"""HISTOGRAM: how often each string occurred (§5.1, §5.8)."""

from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.java import copied_capacity, hash_map_order
from chronoserve.aggregate.numbers import int32
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import INT, STRING, DataType, MapType

Counts = dict[str, int]


class Histogram(Aggregator):
    """IR: counts by string. ``k``: how many of them the feature shows, 0 for all."""

    ir_type = MapType(STRING, INT)
    output_type = MapType(STRING, INT)
    deletable: ClassVar[bool] = True
    plain: ClassVar[bool] = False

    def __init__(self, data_type: DataType, k: int) -> None:
        self.k = k
        self._of_strings = data_type == STRING

    def prepare(self, value: Any, ts: int) -> Counts:
        return self._shift({}, value, 1)

    def update(self, ir: Counts, value: Any, ts: int) -> Counts:
        return self._shift(ir, value, 1)

    def delete(self, ir: Counts, value: Any, ts: int) -> Counts:
        return self._shift(ir, value, -1)

    def merge(self, ir: Counts, other: Counts) -> Counts:
        for value, count in other.items():
            ir[value] = int32(ir.get(value, 0) + count)
        return ir

    def clone(self, ir: Counts) -> Counts:
        return ir.copy()

    def finalize(self, ir: Counts) -> Counts:
        """With a k: entries that reach the k-th largest count, in Java's order of the map, until there are k of them."""
        if self.k <= 0 or len(ir) <= self.k:
            return ir.copy()
        cutoff = sorted(ir.values(), reverse=True)[self.k - 1]
        frequent = [value for value in hash_map_order(list(ir), copied_capacity(len(ir))) if ir[value] >= cutoff]
        return {value: ir[value] for value in frequent[: self.k]}

    def stored(self, ir: Counts) -> Counts:
        return ir.copy()

    def _shift(self, ir: Counts, value: Any, by: int) -> Counts:
        if not self._of_strings:
            raise InvalidRequest("HISTOGRAM counts strings only: cast the input column to a string", field="operation")
        if count := int32(ir.get(value, 0) + by):
            ir[value] = count
        else:
            del ir[value]
        return ir

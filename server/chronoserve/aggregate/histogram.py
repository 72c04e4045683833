"""HISTOGRAM: how often each string occurred (§5.1, §5.8)."""

from itertools import islice
from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.java import string_hash
from chronoserve.aggregate.java_map import JavaMap
from chronoserve.aggregate.numbers import int32
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import INT, STRING, DataType, MapType

Counts = dict[str, int]


class Histogram(Aggregator):
    """All counts. IR: counts by string; those that come to zero are dropped."""

    ir_type = MapType(STRING, INT)
    output_type = MapType(STRING, INT)
    deletable: ClassVar[bool] = True
    plain: ClassVar[bool] = False

    def __init__(self, data_type: DataType) -> None:
        self._of_strings = data_type == STRING

    def prepare(self, value: Any, ts: int) -> Counts:
        return self._shift({}, value, 1)

    def update(self, ir: Counts, value: Any, ts: int) -> Counts:
        return self._shift(ir, value, 1)

    def delete(self, ir: Counts, value: Any, ts: int) -> Counts:
        return self._shift(ir, value, -1)

    def merge(self, ir: Counts, other: Counts) -> Counts:
        for value, count in other.items():
            self._shift(ir, value, count)
        return ir

    def clone(self, ir: Counts) -> Counts:
        return ir.copy()

    def finalize(self, ir: Counts) -> Counts:
        return ir.copy()

    def stored(self, ir: Counts) -> Counts:
        return ir.copy()

    def _shift(self, ir: Counts, value: Any, by: int) -> Counts:
        if not self._of_strings:
            raise InvalidRequest("HISTOGRAM counts strings only: cast the input column to a string", field="operation")
        if count := int32(ir.get(value, 0) + by):
            ir[value] = count
        elif value in ir:
            del ir[value]
        return ir


class TopHistogram(Histogram):
    """The ``k`` most frequent strings, as Chronon picks them."""

    def __init__(self, data_type: DataType, k: int) -> None:
        super().__init__(data_type)
        self.k = k

    def prepare(self, value: Any, ts: int) -> Counts:
        return self._shift(JavaMap(string_hash), value, 1)

    def merge(self, ir: Counts, other: Counts) -> Counts:
        return super().merge(ir, dict(_java(other).in_order()))

    def clone(self, ir: Counts) -> Counts:
        return _java(ir).copied()

    def loaded(self, stored: Counts) -> Counts:
        return JavaMap(string_hash, stored)

    def stored(self, ir: Counts) -> Counts:
        return dict(_java(ir).in_order())

    def finalize(self, ir: Counts) -> Counts:
        """Entries that reach the k-th largest count, in Java's order of the map, until there are k of them.

        So a tie at that count can push out an entry above it.
        """
        if len(ir) <= self.k:
            return dict(ir)
        cutoff = sorted(ir.values(), reverse=True)[self.k - 1]
        return dict(islice((entry for entry in _java(ir).in_order() if entry[1] >= cutoff), self.k))

    def _shift(self, ir: Counts, value: Any, by: int) -> Counts:
        super()._shift(ir, value, by)
        _java(ir).grow()
        return ir


def _java(ir: Counts) -> JavaMap:
    assert isinstance(ir, JavaMap)
    return ir


def histogram(data_type: DataType, k: int) -> Aggregator:
    """``k``: how many strings the feature shows, 0 for all."""
    return TopHistogram(data_type, k) if k > 0 else Histogram(data_type)

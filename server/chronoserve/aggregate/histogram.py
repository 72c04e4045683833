"""HISTOGRAM: how often each string occurred (§5.1, §5.8)."""

from itertools import islice
from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.java import copied_slots, filled_slots, grown_slots, hash_map_order
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


class _HashMap(Counts):
    """Counts that know how many slots Java's map would have by now, and with that its order."""

    __slots__ = ("slots",)

    def __init__(self, counts: Counts, slots: int) -> None:
        super().__init__(counts)
        self.slots = slots

    def in_order(self) -> Counts:
        return {value: self[value] for value in hash_map_order(list(self), self.slots)}


class TopHistogram(Histogram):
    """The ``k`` most frequent strings, as Chronon picks them."""

    def __init__(self, data_type: DataType, k: int) -> None:
        super().__init__(data_type)
        self.k = k

    def prepare(self, value: Any, ts: int) -> Counts:
        return self._shift(_HashMap({}, filled_slots(0)), value, 1)

    def merge(self, ir: Counts, other: Counts) -> Counts:
        return super().merge(ir, _ordered(other))

    def clone(self, ir: Counts) -> Counts:
        return _HashMap(_ordered(ir), copied_slots(len(ir)))

    def loaded(self, stored: Counts) -> Counts:
        return _HashMap(stored, filled_slots(len(stored)))

    def stored(self, ir: Counts) -> Counts:
        return _ordered(ir)

    def finalize(self, ir: Counts) -> Counts:
        """Entries that reach the k-th largest count, in Java's order of the map, until there are k of them.

        So a tie at that count can push out an entry above it.
        """
        if len(ir) <= self.k:
            return dict(ir)
        cutoff = sorted(ir.values(), reverse=True)[self.k - 1]
        return dict(islice((entry for entry in _ordered(ir).items() if entry[1] >= cutoff), self.k))

    def _shift(self, ir: Counts, value: Any, by: int) -> Counts:
        super()._shift(ir, value, by)
        assert isinstance(ir, _HashMap)
        ir.slots = grown_slots(ir.slots, len(ir))
        return ir


def _ordered(ir: Counts) -> Counts:
    assert isinstance(ir, _HashMap)
    return ir.in_order()


def histogram(data_type: DataType, k: int) -> Aggregator:
    """``k``: how many strings the feature shows, 0 for all."""
    return TopHistogram(data_type, k) if k > 0 else Histogram(data_type)

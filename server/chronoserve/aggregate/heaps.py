"""FIRST_K, LAST_K, TOP_K, BOTTOM_K: the k best values, in the container of §5.3, slot by slot.

The container is a list. It is unordered while it has fewer than k elements; the k-th sorts it, worst first, and from
then on it is a heap with the worst at the root. Uploads and tiles store it as it stands.
"""

from operator import itemgetter
from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.ordering import Key, Test, comparisons, sort_key
from chronoserve.aggregate.timed import time_pair
from chronoserve.model.types import DataType, ListType

_time = itemgetter(0)


class Heap(Aggregator):
    """``k``: how many values are kept. ``descending``: whether the largest are the best ones."""

    plain: ClassVar[bool] = False
    _key: Key | None
    _less: Test
    _at_most: Test

    def __init__(self, k: int, *, descending: bool) -> None:
        self.k = k
        self.descending = descending

    def prepare(self, value: Any, ts: int) -> list[Any]:
        return [value]

    def update(self, ir: list[Any], value: Any, ts: int) -> list[Any]:
        self._insert(ir, value)
        return ir

    def merge(self, ir: list[Any], other: list[Any]) -> list[Any]:
        if len(ir) + len(other) < self.k:
            ir.extend(other)
        else:
            for element in other:
                self._insert(ir, element)
        return ir

    def clone(self, ir: list[Any]) -> list[Any]:
        return ir[:]

    def finalize(self, ir: list[Any]) -> list[Any]:
        return self.best_first(ir)

    def stored(self, ir: list[Any]) -> list[Any]:
        return ir[:]

    def best_first(self, ir: list[Any]) -> list[Any]:
        """A stable sort: of equal elements the one in the lower slot comes first."""
        return sorted(ir, key=self._key, reverse=self.descending)

    def _insert(self, heap: list[Any], element: Any) -> None:
        size = len(heap)
        if size < self.k:
            heap.append(element)
            if size == self.k - 1:
                heap.sort(key=self._key, reverse=not self.descending)
        elif size == self.k and self._replaces(element, heap[0]):
            heap[0] = element
            self._sift_down(heap)

    def _replaces(self, element: Any, worst: Any) -> bool:
        """Ties replace."""
        return self._at_most(worst, element) if self.descending else self._at_most(element, worst)

    def _better(self, a: Any, b: Any) -> bool:
        return self._less(b, a) if self.descending else self._less(a, b)

    def _no_better(self, a: Any, b: Any) -> bool:
        return self._at_most(a, b) if self.descending else self._at_most(b, a)

    def _sift_down(self, heap: list[Any]) -> None:
        size = len(heap)
        parent = 0
        while (child := 2 * parent + 1) < size:
            if child + 1 < size and self._better(heap[child], heap[child + 1]):
                child += 1
            if self._no_better(heap[parent], heap[child]):
                return
            heap[parent], heap[child] = heap[child], heap[parent]
            parent = child


class Ranked(Heap):
    """TOP_K and BOTTOM_K."""

    def __init__(self, data_type: DataType, k: int, *, descending: bool) -> None:
        super().__init__(k, descending=descending)
        self.element = data_type
        self.ir_type = self.output_type = ListType(data_type)
        self._key = sort_key(data_type)
        self._less, self._at_most = comparisons(data_type)


class TimedHeap(Heap):
    """FIRST_K and LAST_K: elements are (ts, value), ranked by ts alone."""

    def __init__(self, data_type: DataType, k: int, *, descending: bool) -> None:
        super().__init__(k, descending=descending)
        self.ir_type = ListType(time_pair(data_type))
        self.output_type = ListType(data_type)
        self._key = _time
        self._less, self._at_most = (lambda a, b: a[0] < b[0]), (lambda a, b: a[0] <= b[0])

    def prepare(self, value: Any, ts: int) -> list[Any]:
        return [(ts, value)]

    def update(self, ir: list[Any], value: Any, ts: int) -> list[Any]:
        self._insert(ir, (ts, value))
        return ir

    def finalize(self, ir: list[Any]) -> list[Any]:
        return [value for _, value in self.best_first(ir)]

"""How one column is folded over one window, at the speed of Python's built-ins (spec/performance.md §4).

A fold gives the bits that its aggregator would give, value after value: collapsed IR, streamed values, then tail hops. What
it cannot do in that way, as ties that a heap decides, it hands to the aggregator itself.

``head`` is what the streamed values come to, and depends on where a window starts; ``tail`` adds what was stored. Windows
that start at the same row share a head. IRs arrive as they are stored.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import chain
from math import copysign, isnan
from operator import itemgetter
from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.columns import all_merged
from chronoserve.aggregate.cpc import ApproxUniqueCount
from chronoserve.aggregate.extremes import FloatMax, FloatMin, Max, Min, StringMax, StringMin
from chronoserve.aggregate.heaps import Ranked, TimedHeap
from chronoserve.aggregate.moments import Variance
from chronoserve.aggregate.numbers import Average, Count, DoubleSum, LongSum, added, int32, long, quotient
from chronoserve.aggregate.timed import First, Last
from chronoserve.aggregate.uniques import UniqueCount
from chronoserve.model.types import DOUBLE, FLOAT, STRING

Values = list[Any]
Times = list[int]
Irs = Sequence[Any]
"""Stored IRs in the order in which they are merged, None where a hop or tile has none for the column."""

_time = itemgetter(0)


class Changes(list[tuple[Any, int, bool]]):
    """Values, their times in any order, and whether each is taken back."""

    __slots__ = ("_kept",)

    @property
    def kept(self) -> tuple[Values, Times]:
        """Without the reversals."""
        if not hasattr(self, "_kept"):
            self._kept = [value for value, _, taken in self if not taken], [ts for _, ts, taken in self if not taken]
        return self._kept


class Fold(ABC):
    """One operation over the streamed values from ``at`` on: ``values`` have no nulls, ``times`` ascend and go with them."""

    timed: ClassVar[bool] = False
    """Whether ``head`` looks at ``times``; if not, they may be missing."""
    reversible: ClassVar[bool] = False
    """Whether values can be taken back; if not, reversals are passed over."""

    @property
    def unordered(self) -> "Fold":
        """The fold for values whose times do not ascend."""
        return self

    def changed(self, changes: Changes, collapsed: Any, irs: Irs) -> Any:
        """The output of ``changes`` in place of a head. Where nothing can be taken back, reversals are passed over."""
        fold = self.unordered
        return fold.tail(fold.head(*changes.kept, 0), collapsed, irs)

    @abstractmethod
    def head(self, values: Values, times: Times, at: int) -> Any: ...

    @abstractmethod
    def tail(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        """The output, before what a column makes of it; None where there was nothing to fold."""


class PlainFold(Fold):
    """What the aggregator does, one value after the other."""

    timed: ClassVar[bool] = True

    def __init__(self, aggregator: Aggregator) -> None:
        self._aggregator = aggregator

    def head(self, values: Values, times: Times, at: int) -> Any:
        return list(zip(values[at:], times[at:], strict=True))

    def tail(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        aggregator = self._aggregator
        ir = None if collapsed is None else aggregator.clone(aggregator.loaded(collapsed))
        for value, ts in head:
            ir = aggregator.prepare(value, ts) if ir is None else aggregator.update(ir, value, ts)
        return self._merged(ir, irs)

    def _merged(self, ir: Any, irs: Irs) -> Any:
        aggregator = self._aggregator
        merged = all_merged(aggregator, [ir, *(None if stored is None else aggregator.loaded(stored) for stored in irs)])
        return None if merged is None else aggregator.finalize(merged)


class ReversibleFold(PlainFold):
    """The same, of an aggregator that can take values back."""

    reversible: ClassVar[bool] = True

    def changed(self, changes: Changes, collapsed: Any, irs: Irs) -> Any:
        aggregator = self._aggregator
        ir = None if collapsed is None else aggregator.clone(aggregator.loaded(collapsed))
        for value, ts, taken in changes:
            if ir is None:
                ir = aggregator.inverse(value, ts) if taken else aggregator.prepare(value, ts)
            else:
                ir = aggregator.delete(ir, value, ts) if taken else aggregator.update(ir, value, ts)
        return self._merged(ir, irs)


class CountFold(Fold):
    reversible: ClassVar[bool] = True

    def changed(self, changes: Changes, collapsed: int | None, irs: Irs) -> int | None:
        if not changes:
            return self.tail(0, collapsed, irs)
        return self.tail(_balance(changes), collapsed or 0, irs)

    def head(self, values: Values, times: Times, at: int) -> int:
        return len(values) - at

    def tail(self, head: int, collapsed: int | None, irs: Irs) -> int | None:
        counts = present(irs)
        if collapsed is None:
            return long(head + sum(counts)) if head or counts else None
        return long(head + collapsed + sum(counts))


class LongSumFold(Fold):
    reversible: ClassVar[bool] = True

    def changed(self, changes: Changes, collapsed: int | None, irs: Irs) -> int | None:
        return self.tail(sum(-value if taken else value for value, _, taken in changes) if changes else None, collapsed, irs)

    def head(self, values: Values, times: Times, at: int) -> int | None:
        return sum(values[at:]) if at < len(values) else None

    def tail(self, head: int | None, collapsed: int | None, irs: Irs) -> int | None:
        sums = present(irs)
        if collapsed is None and head is None and not sums:
            return None
        return long((collapsed or 0) + (head or 0) + sum(sums))


def _signed(changes: Changes, *, first: bool) -> Values:
    """What to add: a number taken back is its negative. ``first``: nothing comes before, where it is 0 - number (§5.1)."""
    signed = [-value if taken else value for value, _, taken in changes]
    if first and changes and changes[0][2]:
        value = changes[0][0]
        signed[0] = value - value - value
    return signed


def _balance(changes: Changes) -> int:
    """How many values came, less those that went."""
    return sum(-1 if taken else 1 for _, _, taken in changes)


class DoubleSumFold(Fold):
    reversible: ClassVar[bool] = True

    def changed(self, changes: Changes, collapsed: float | None, irs: Irs) -> float | None:
        return self.tail(_signed(changes, first=collapsed is None), collapsed, irs)

    def head(self, values: Values, times: Times, at: int) -> Values:
        return values[at:]

    def tail(self, head: Values, collapsed: float | None, irs: Irs) -> float | None:
        sums = present(irs)
        if collapsed is not None:
            return added(sums, added(head, collapsed))
        if head:
            return added(sums, added(head[1:], head[0]))
        return added(sums[1:], sums[0]) if sums else None


class AverageFold(Fold):
    reversible: ClassVar[bool] = True

    def changed(self, changes: Changes, collapsed: tuple[float, int] | None, irs: Irs) -> float | None:
        signed = _signed(Changes((float(value), ts, taken) for value, ts, taken in changes), first=collapsed is None)
        return self._average(signed, _balance(changes), collapsed, irs)

    def head(self, values: Values, times: Times, at: int) -> Values:
        return values[at:]

    def tail(self, head: Values, collapsed: tuple[float, int] | None, irs: Irs) -> float | None:
        return self._average(head, len(head), collapsed, irs)

    @staticmethod
    def _average(head: Values, count: int, collapsed: tuple[float, int] | None, irs: Irs) -> float | None:
        if collapsed is not None:
            total, count = added(head, collapsed[0]), collapsed[1] + count
        elif head:
            total = added(head[1:], float(head[0]))
        else:
            irs = present(irs)
            if not irs:
                return None
            (total, count), irs = irs[0], irs[1:]
        for ir in irs:
            if ir is not None:
                total += ir[0]
                count += ir[1]
        return quotient(total, int32(count))


class VarianceFold(Fold):
    def __init__(self, aggregator: Variance) -> None:
        self._aggregator = aggregator

    def head(self, values: Values, times: Times, at: int) -> Values:
        return values[at:]

    def tail(self, head: Values, collapsed: tuple[int, float, float] | None, irs: Irs) -> float | None:
        aggregator, ir = self._aggregator, collapsed
        if head and ir is None:
            ir, head = aggregator.prepare(head[0], 0), head[1:]
        if ir is not None and head:
            ir = aggregator.update_all(ir, head, ())
        for other in irs:
            if other is not None:
                ir = other if ir is None else aggregator.merge(ir, other)
        return None if ir is None else aggregator.finalize(ir)


class ExtremeFold(Fold):
    """MIN and MAX of integers. ``best``: min or max."""

    def __init__(self, best: Callable[..., Any]) -> None:
        self._best = best

    def head(self, values: Values, times: Times, at: int) -> Any:
        return self._best(values[at:]) if at < len(values) else None

    def tail(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        stored = present((collapsed, head, *irs))
        return self._best(stored) if stored else None


class FloatExtremeFold(ExtremeFold):
    """The built-ins do not know that NaN wins and that the zeros differ: where there may be one, the aggregator decides."""

    def __init__(self, best: Callable[..., Any], aggregator: FloatMin | FloatMax) -> None:
        super().__init__(self._careful)
        self._fast = best
        self._merge = aggregator.merge

    def _careful(self, values: Values) -> float:
        best: float = self._fast(values)
        return reduce(self._merge, values) if best == 0 or isnan(sum(values)) else best


class StringExtremeFold(ExtremeFold):
    def __init__(self, best: Callable[..., Any], aggregator: StringMin | StringMax) -> None:
        super().__init__(self._careful)
        self._fast = best
        self._merge = aggregator.merge

    def _careful(self, values: Sequence[str]) -> str:
        best: str = self._fast(values) if "".join(values).isascii() else reduce(self._merge, values)
        return best


class TimedFold(Fold):
    timed: ClassVar[bool] = True

    def __init__(self, aggregator: First | Last) -> None:
        self._plain = PlainFold(aggregator)

    @property
    def unordered(self) -> Fold:
        return self._plain


class FirstFold(TimedFold):
    def head(self, values: Values, times: Times, at: int) -> Any:
        return (times[at], values[at]) if at < len(values) else None

    def tail(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        first = collapsed
        for ir in (head, *irs):
            if ir is not None and (first is None or first[0] > ir[0]):
                first = ir
        return None if first is None else first[1]


class LastFold(TimedFold):
    def head(self, values: Values, times: Times, at: int) -> Any:
        """Of values with the last time, the one that came first."""
        if at >= len(values):
            return None
        last = max(at, bisect_left(times, times[-1]))
        return times[last], values[last]

    def tail(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        last = collapsed
        for ir in (head, *irs):
            if ir is not None and (last is None or last[0] < ir[0]):
                last = ir
        return None if last is None else last[1]


class _HeapFold(PlainFold):
    """Of heaps that this k made. ``head`` keeps what the aggregator needs, should the heap itself have to decide."""

    def __init__(self, aggregator: TimedHeap | Ranked) -> None:
        super().__init__(aggregator)
        self._k = aggregator.k
        self._descending = aggregator.descending

    def head(self, values: Values, times: Times, at: int) -> Any:
        return values, times, at

    def _plainly(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        return super().tail(super().head(*head), collapsed, irs)


class TimedHeapFold(_HeapFold):
    """As long as all times at the edge differ, the k best are the k best, however they came."""

    @property
    def unordered(self) -> Fold:
        return PlainFold(self._aggregator)

    def tail(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        values, times, at = head
        stored = present((collapsed, *irs))
        if at == len(values) and not stored:
            return None
        k = self._k
        start, end = (max(at, len(values) - k - 1), None) if self._descending else (at, at + k + 1)
        candidates = list(zip(times[start:end], values[start:end], strict=True))
        candidates.extend(chain.from_iterable(stored))
        candidates.sort(key=_time, reverse=self._descending)
        if _tied(candidates[: k + 1]):
            return self._plainly(head, collapsed, irs)
        return [value for _, value in candidates[:k]]


class RankedFold(_HeapFold):
    """Equal values are the same value, the zeros of floats apart."""

    def __init__(self, aggregator: Ranked) -> None:
        super().__init__(aggregator)
        self._floats = aggregator.element in (FLOAT, DOUBLE)
        self._strings = aggregator.element == STRING

    def tail(self, head: Any, collapsed: Any, irs: Irs) -> Any:
        values, _, at = head
        stored = present((collapsed, *irs))
        if at == len(values) and not stored:
            return None
        candidates = values[at:]
        candidates.extend(chain.from_iterable(stored))
        if self._undecided(candidates):
            return self._plainly(head, collapsed, irs)
        candidates.sort(reverse=self._descending)
        return candidates[: self._k]

    def _undecided(self, candidates: Values) -> bool:
        if self._floats:
            return isnan(sum(candidates)) or any(number == 0 and copysign(1.0, number) < 0 for number in candidates)
        return self._strings and not "".join(candidates).isascii()


class UniqueFold(Fold):
    """Of values that Python tells apart as Java does."""

    def head(self, values: Values, times: Times, at: int) -> set[Any]:
        return set(values[at:])

    def tail(self, head: set[Any], collapsed: Any, irs: Irs) -> int | None:
        stored = present((collapsed, *irs))
        return len(head.union(*stored)) if head or stored else None


class CpcFold(Fold):
    """A union counts the same, whichever sketch brings a value in."""

    def __init__(self, aggregator: ApproxUniqueCount) -> None:
        self._aggregator = aggregator

    def head(self, values: Values, times: Times, at: int) -> Any:
        return self._aggregator.of_all(values[at:]) if at < len(values) else None

    def tail(self, head: Any, collapsed: Any, irs: Irs) -> int | None:
        sketches = present((collapsed, head, *irs))
        return self._aggregator.finalize(self._aggregator.merge_all(sketches)) if sketches else None


def present(irs: Iterable[Any]) -> list[Any]:
    return [ir for ir in irs if ir is not None]


def _tied(ranked: list[tuple[int, Any]]) -> bool:
    return len({ts for ts, _ in ranked}) < len(ranked)


def fold(aggregator: Aggregator) -> Fold:
    """The fastest there is for an aggregator."""
    make = _FOLDS.get(type(aggregator))
    if isinstance(aggregator, UniqueCount) and not aggregator.exact:
        make = None
    if make is None:
        make = ReversibleFold if aggregator.deletable else PlainFold
    return make(aggregator)


_FOLDS: dict[type[Aggregator], Callable[[Any], Fold]] = {
    Count: lambda _: CountFold(),
    LongSum: lambda _: LongSumFold(),
    DoubleSum: lambda _: DoubleSumFold(),
    Average: lambda _: AverageFold(),
    Variance: VarianceFold,
    Min: lambda _: ExtremeFold(min),
    Max: lambda _: ExtremeFold(max),
    FloatMin: lambda aggregator: FloatExtremeFold(min, aggregator),
    FloatMax: lambda aggregator: FloatExtremeFold(max, aggregator),
    StringMin: lambda aggregator: StringExtremeFold(min, aggregator),
    StringMax: lambda aggregator: StringExtremeFold(max, aggregator),
    First: FirstFold,
    Last: LastFold,
    TimedHeap: TimedHeapFold,
    Ranked: RankedFold,
    UniqueCount: lambda _: UniqueFold(),
    ApproxUniqueCount: CpcFold,
}

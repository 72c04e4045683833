"""The columns of one aggregation over all of its windows, from streamed rows in columns.

A series is what one input column brings: its non-null values in the order of time. Where a window starts in it is found by
bisection; windows that start at the same value share the work.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from chronoserve.aggregate.columns import Bucketed, Column, Direct, Mapped, Vector
from chronoserve.aggregate.folds import Fold, Irs, Times, Values, fold, present
from chronoserve.model.types import DOUBLE, FLOAT

Columns = Sequence[Sequence[Any]]


class Series:
    """``starts``: for each distinct window of the group by, the first of its values."""

    __slots__ = ("_all_times", "_column", "_times", "starts", "values")

    def __init__(self, column: Sequence[Any], times: Times, starts: Sequence[int]) -> None:
        """``starts``: in ``column``, its nulls among them, which ``times`` goes with."""
        self.values: Values = [value for value in column if value is not None]
        self._times: Times | None = times
        self.starts = starts
        if len(self.values) != len(column):
            nulls = [i for i, value in enumerate(column) if value is None]
            self.starts = [start and start - bisect_left(nulls, start) for start in starts]
            self._times, self._all_times, self._column = None, times, column

    @property
    def times(self) -> Times:
        """Few operations ask for the times of their values."""
        if self._times is None:
            self._times = [time for value, time in zip(self._column, self._all_times, strict=True) if value is not None]
        return self._times


class Stream:
    """Streamed rows of one request in columns, times ascending. ``thresholds``: the oldest time of each distinct window."""

    __slots__ = ("_direct", "columns", "starts", "thresholds", "times")

    def __init__(self, columns: Columns, times: Times, thresholds: Sequence[int]) -> None:
        self.columns = columns
        self.times = times
        self.thresholds = thresholds
        self.starts = [bisect_left(times, threshold) for threshold in thresholds]
        self._direct: dict[int, Series] = {}

    def direct(self, at: int) -> Series:
        """One input column, which several aggregations share."""
        found = self._direct.get(at)
        if found is None:
            found = self._direct[at] = Series(self.columns[at], self.times, self.starts)
        return found

    def vector(self, at: int) -> Series:
        """The elements of a column of lists, each at its row's time."""
        pairs = [
            (element, time)
            for elements, time in zip(self.columns[at], self.times, strict=True)
            if elements is not None
            for element in elements
        ]
        times = [time for _, time in pairs]
        return Series([element for element, _ in pairs], times, [bisect_left(times, threshold) for threshold in self.thresholds])


Keyed = dict[str, tuple[Values, Times]]


def by_key(entries: Iterable[tuple[Any, Any, int]]) -> Keyed:
    """Values and their times by key; ``entries``: key, value and time, in order, nulls among them."""
    found: Keyed = {}
    for key, value, time in entries:
        if key is not None and value is not None:
            own = found.get(key)
            if own is None:
                found[key] = ([value], [time])
            else:
                own[0].append(value)
                own[1].append(time)
    return found


class Strand(ABC):
    """``windows``: for each output, the index of its distinct window."""

    def __init__(self, column: Column, windows: Sequence[int]) -> None:
        self.fold: Fold = fold(column.aggregator)
        self.at = column.at
        self.windows = tuple(windows)

    @abstractmethod
    def outputs(self, stream: Stream, collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        """One for each window. ``collapsed``: the stored IR of each; ``stored``: of each, what follows the stream."""


class DirectStrand(Strand):
    def __init__(self, column: Direct, windows: Sequence[int]) -> None:
        super().__init__(column, windows)
        self._floating = column.output_type in (FLOAT, DOUBLE)
        self._vector = isinstance(column, Vector)

    def outputs(self, stream: Stream, collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        series = stream.vector(self.at) if self._vector else stream.direct(self.at)
        values, starts = series.values, series.starts
        times = series.times if self.fold.timed else []
        head, tail = self.fold.head, self.fold.tail
        folded: list[Any] = []
        at, shared = -1, None
        for window, own, irs in zip(self.windows, collapsed, stored, strict=True):
            start = starts[window]
            if start != at:
                at, shared = start, head(values, times, start)
            folded.append(tail(shared, own, irs))
        return [None if value is None or not isfinite(value) else value for value in folded] if self._floating else folded


class KeyedStrand(Strand):
    """Bucketed and map columns: a fold for each key."""

    def outputs(self, stream: Stream, collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        keyed = self.keyed(stream)
        return [self._output(stream, keyed, window, collapsed[i], present(stored[i])) for i, window in enumerate(self.windows)]

    @abstractmethod
    def keyed(self, stream: Stream) -> Keyed: ...

    @abstractmethod
    def seen(self, stream: Stream, window: int) -> bool:
        """Whether a row of the window makes a result even without a value."""

    def _output(self, stream: Stream, keyed: Keyed, window: int, collapsed: Any, stored: list[Any]) -> Any:
        threshold = stream.thresholds[window]
        keys = dict.fromkeys(collapsed or ())
        keys |= dict.fromkeys(key for key, (_, times) in keyed.items() if times[-1] >= threshold)
        for ir in stored:
            keys |= ir
        if not keys and collapsed is None and not stored and not self.seen(stream, window):
            return None
        fold = self.fold
        outputs: dict[str, Any] = {}
        for key in keys:
            values, times = keyed.get(key, _NOTHING)
            own = None if collapsed is None else collapsed.get(key)
            outputs[key] = fold.tail(fold.head(values, times, bisect_left(times, threshold)), own, [ir.get(key) for ir in stored])
        return outputs


class BucketedStrand(KeyedStrand):
    def __init__(self, column: Bucketed, windows: Sequence[int]) -> None:
        super().__init__(column, windows)
        self._bucket_at = column.bucket_at
        self._vector = column.vector

    def keyed(self, stream: Stream) -> Keyed:
        rows = zip(stream.columns[self._bucket_at], stream.columns[self.at], stream.times, strict=True)
        return by_key(((bucket, value, time) for bucket, elements, time in rows for value in elements or ()) if self._vector else rows)

    def seen(self, stream: Stream, window: int) -> bool:
        return False


class MappedStrand(KeyedStrand):
    def keyed(self, stream: Stream) -> Keyed:
        rows = zip(stream.columns[self.at], stream.times, strict=True)
        return by_key((key, value, time) for entries, time in rows if entries is not None for key, value in entries.items())

    def seen(self, stream: Stream, window: int) -> bool:
        """An empty map makes an empty result."""
        return any(entries is not None for entries in stream.columns[self.at][stream.starts[window] :])


_NOTHING: tuple[Values, Times] = ([], [])


def strand(column: Column, windows: Sequence[int]) -> Strand:
    match column:
        case Bucketed():
            return BucketedStrand(column, windows)
        case Mapped():
            return MappedStrand(column, windows)
        case Direct():
            return DirectStrand(column, windows)
        case _:
            raise AssertionError("element-wise columns have no windows")

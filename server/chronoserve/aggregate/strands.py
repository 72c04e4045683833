"""The columns of one aggregation over all of its windows, from streamed rows in columns.

A series is what one input column brings: its non-null values in the order of time. Where a window starts in it is found by
bisection; windows that start at the same value share the work.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from chronoserve.aggregate.columns import Bucketed, Column, Direct, Mapped, Vector
from chronoserve.aggregate.folds import Fold, Irs, Times, Values, fold, present
from chronoserve.model.types import DOUBLE, FLOAT

Columns = Sequence[Sequence[Any]]


@dataclass(slots=True)
class Series:
    """``starts``: for each distinct window of the group by, the first of its values."""

    values: Values
    times: Times
    starts: Sequence[int]


def series(values: Iterable[Any], times: Times, thresholds: Sequence[int]) -> Series:
    listed = list(values)
    return Series(listed, times, [bisect_left(times, threshold) for threshold in thresholds])


class Stream:
    """Streamed rows of one request in columns, times ascending. ``thresholds``: the oldest time of each distinct window."""

    __slots__ = ("_direct", "_thresholds", "columns", "starts", "times")

    def __init__(self, columns: Columns, times: Times, thresholds: Sequence[int]) -> None:
        self.columns = columns
        self.times = times
        self._thresholds = thresholds
        self.starts = [bisect_left(times, threshold) for threshold in thresholds]
        self._direct: dict[int, Series] = {}

    def direct(self, at: int) -> Series:
        """One input column, which several aggregations share."""
        found = self._direct.get(at)
        if found is None:
            found = self._direct[at] = self._present(self.columns[at])
        return found

    def _present(self, column: Sequence[Any]) -> Series:
        values = [value for value in column if value is not None]
        if len(values) == len(column):
            return Series(values, self.times, self.starts)
        return series(values, [time for value, time in zip(column, self.times, strict=True) if value is not None], self._thresholds)

    def vector(self, at: int) -> Series:
        pairs = [
            (element, time)
            for elements, time in zip(self.columns[at], self.times, strict=True)
            if elements is not None
            for element in elements
            if element is not None
        ]
        return series((element for element, _ in pairs), [time for _, time in pairs], self._thresholds)

    def keyed(self, entries: Iterable[tuple[Any, Any, int]]) -> dict[str, Series]:
        """By key; ``entries``: key, value and time, in order, nulls among them."""
        values: dict[str, tuple[Values, Times]] = {}
        for key, value, time in entries:
            if key is not None and value is not None:
                own = values.get(key)
                if own is None:
                    own = values[key] = ([], [])
                own[0].append(value)
                own[1].append(time)
        return {key: series(own, times, self._thresholds) for key, (own, times) in values.items()}


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
        folded = _folded(self.fold, series, self.windows, collapsed, stored)
        return [None if value is None or not isfinite(value) else value for value in folded] if self._floating else folded


class KeyedStrand(Strand):
    """Bucketed and map columns: a fold for each key."""

    def outputs(self, stream: Stream, collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        by_key = self.by_key(stream)
        return [self._output(stream, by_key, window, collapsed[i], present(stored[i])) for i, window in enumerate(self.windows)]

    @abstractmethod
    def by_key(self, stream: Stream) -> dict[str, Series]: ...

    @abstractmethod
    def seen(self, stream: Stream, window: int) -> bool:
        """Whether a row of the window makes a result even without a value."""

    def _output(self, stream: Stream, by_key: dict[str, Series], window: int, collapsed: Any, stored: list[Any]) -> Any:
        keys = dict.fromkeys(collapsed or ())
        keys |= dict.fromkeys(key for key, series in by_key.items() if series.starts[window] < len(series.values))
        for ir in stored:
            keys |= ir
        if not keys and collapsed is None and not stored and not self.seen(stream, window):
            return None
        return {key: self._keyed(key, by_key.get(key), window, collapsed, stored) for key in keys}

    def _keyed(self, key: str, series: Series | None, window: int, collapsed: Any, stored: list[Any]) -> Any:
        values, times, at = (series.values, series.times, series.starts[window]) if series is not None else ([], [], 0)
        own = None if collapsed is None else collapsed.get(key)
        return self.fold.tail(self.fold.head(values, times, at), own, [ir.get(key) for ir in stored])


class BucketedStrand(KeyedStrand):
    def __init__(self, column: Bucketed, windows: Sequence[int]) -> None:
        super().__init__(column, windows)
        self._bucket_at = column.bucket_at
        self._vector = column.vector

    def by_key(self, stream: Stream) -> dict[str, Series]:
        buckets, values = stream.columns[self._bucket_at], stream.columns[self.at]
        rows = zip(buckets, values, stream.times, strict=True)
        if not self._vector:
            return stream.keyed(rows)
        return stream.keyed((bucket, value, time) for bucket, elements, time in rows for value in elements or ())

    def seen(self, stream: Stream, window: int) -> bool:
        return False


class MappedStrand(KeyedStrand):
    def by_key(self, stream: Stream) -> dict[str, Series]:
        rows = zip(stream.columns[self.at], stream.times, strict=True)
        return stream.keyed((key, value, time) for entries, time in rows if entries is not None for key, value in entries.items())

    def seen(self, stream: Stream, window: int) -> bool:
        """An empty map makes an empty result."""
        return any(entries is not None for entries in stream.columns[self.at][stream.starts[window] :])


def _folded(fold: Fold, series: Series, windows: Sequence[int], collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
    values, times, starts = series.values, series.times, series.starts
    head, tail = fold.head, fold.tail
    outputs: list[Any] = []
    at, shared = -1, None
    for window, own, irs in zip(windows, collapsed, stored, strict=True):
        start = starts[window]
        if start != at:
            at, shared = start, head(values, times, start)
        outputs.append(tail(shared, own, irs))
    return outputs


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

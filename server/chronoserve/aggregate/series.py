"""Streamed rows of one request, in columns, and what each input column brings to a fold.

There are two kinds. In an ordered stream times ascend and nothing is taken back: each window is what comes after some place,
found by bisection, and windows that begin at the same place share the work. In a stream of changes rows have times in any
order, and some are reversals.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from chronoserve.aggregate.folds import Changes, Fold, Irs, Times, Values

Columns = Sequence[Sequence[Any]]
Marks = Sequence[Any]
"""Of each row, what its values are selected by: its time, or in a stream of changes (time, whether it takes back)."""


class Series(ABC):
    """The non-null values of one column or key. Windows are given by their place among the group by's distinct ones."""

    __slots__ = ()

    @abstractmethod
    def folded(self, fold: Fold, windows: Sequence[int], collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        """The output of each window, of its collapsed IR, and of what is stored for after the stream."""


class KeySeries(ABC):
    """The values of one key of a bucketed or map column."""

    __slots__ = ()

    @abstractmethod
    def output(self, fold: Fold, window: int, collapsed: Any, irs: Irs) -> Any:
        """As ``Series.folded``, of one window."""

    @abstractmethod
    def within(self, fold: Fold, window: int) -> bool:
        """Whether the window has values that the fold takes."""


class OrderedSeries(Series):
    __slots__ = ("_starts", "_times", "_values")

    def __init__(self, values: Values, times: Times, starts: Sequence[int]) -> None:
        """``starts``: of each distinct window, the first of its values."""
        self._values = values
        self._times = times
        self._starts = starts

    def folded(self, fold: Fold, windows: Sequence[int], collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        values, starts = self._values, self._starts
        times = self.times if fold.timed else []
        head, tail = fold.head, fold.tail
        outputs: list[Any] = []
        at, shared = -1, None
        for window, own, irs in zip(windows, collapsed, stored, strict=True):
            start = starts[window]
            if start != at:
                at, shared = start, head(values, times, start)
            outputs.append(tail(shared, own, irs))
        return outputs

    @property
    def times(self) -> Times:
        return self._times


class SparseSeries(OrderedSeries):
    """Of a column with nulls. Few operations ask for the times of its values."""

    __slots__ = ("_column", "_known")

    def __init__(self, values: Values, column: Sequence[Any], times: Times, starts: Sequence[int]) -> None:
        """``times`` and ``starts`` go with ``column``."""
        nulls = [i for i, value in enumerate(column) if value is None]
        super().__init__(values, times, [start and start - bisect_left(nulls, start) for start in starts])
        self._column = column
        self._known: Times | None = None

    @property
    def times(self) -> Times:
        if self._known is None:
            self._known = [time for value, time in zip(self._column, self._times, strict=True) if value is not None]
        return self._known


class OrderedKey(KeySeries):
    __slots__ = ("_thresholds", "_times", "_values")

    def __init__(self, values: Values, times: Times, thresholds: Sequence[int]) -> None:
        self._values = values
        self._times = times
        self._thresholds = thresholds

    def output(self, fold: Fold, window: int, collapsed: Any, irs: Irs) -> Any:
        head = fold.head(self._values, self._times, bisect_left(self._times, self._thresholds[window]))
        return fold.tail(head, collapsed, irs)

    def within(self, fold: Fold, window: int) -> bool:
        return self._times[-1] >= self._thresholds[window]


class ChangedSeries(Series, KeySeries):
    __slots__ = ("_changes", "_oldest", "_thresholds", "_within")

    def __init__(self, values: Values, marks: Marks, thresholds: Sequence[int]) -> None:
        self._changes = Changes((value, ts, taken) for value, (ts, taken) in zip(values, marks, strict=True))
        self._oldest = min((ts for ts, _ in marks), default=0)
        self._thresholds = thresholds
        self._within: dict[int, Changes] = {}

    def folded(self, fold: Fold, windows: Sequence[int], collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        return [self.output(fold, *given) for given in zip(windows, collapsed, stored, strict=True)]

    def within(self, fold: Fold, window: int) -> bool:
        threshold = self._thresholds[window]
        return any(ts >= threshold and (fold.reversible or not taken) for _, ts, taken in self._changes)

    def output(self, fold: Fold, window: int, collapsed: Any, irs: Irs) -> Any:
        return fold.changed(self._selected(self._thresholds[window]), collapsed, irs)

    def _selected(self, threshold: int) -> Changes:
        """Windows of one age share them, and so do all that reach beyond the oldest."""
        if threshold <= self._oldest:
            return self._changes
        found = self._within.get(threshold)
        if found is None:
            found = self._within[threshold] = Changes(change for change in self._changes if change[1] >= threshold)
        return found


class Stream(ABC):
    """``thresholds``: the oldest time of each distinct window."""

    __slots__ = ("_direct", "columns", "marks", "thresholds")

    def __init__(self, columns: Columns, marks: Marks, thresholds: Sequence[int]) -> None:
        self.columns = columns
        self.marks = marks
        self.thresholds = thresholds
        self._direct: dict[int, Series] = {}

    def direct(self, at: int) -> Series:
        """One input column, which several aggregations share."""
        found = self._direct.get(at)
        if found is None:
            found = self._direct[at] = self.of_column(self.columns[at])
        return found

    def vector(self, at: int) -> Series:
        """The elements of a column of lists, each with its row's mark."""
        rows = zip(self.columns[at], self.marks, strict=True)
        pairs = [(element, mark) for elements, mark in rows for element in elements or () if element is not None]
        return self.of([element for element, _ in pairs], [mark for _, mark in pairs])

    def keyed(self, entries: Iterable[tuple[Any, Any, Any]]) -> dict[str, KeySeries]:
        """By key; ``entries``: key, value and mark, in order, nulls among them."""
        found: dict[str, tuple[Values, list[Any]]] = {}
        for key, value, mark in entries:
            if key is not None and value is not None:
                own = found.get(key)
                if own is None:
                    found[key] = ([value], [mark])
                else:
                    own[0].append(value)
                    own[1].append(mark)
        return {key: self.of_key(values, marks) for key, (values, marks) in found.items()}

    @abstractmethod
    def of_key(self, values: Values, marks: list[Any]) -> KeySeries:
        """Values without nulls."""

    @abstractmethod
    def of(self, values: Values, marks: list[Any]) -> Series:
        """Values without nulls."""

    @abstractmethod
    def of_column(self, column: Sequence[Any]) -> Series:
        """One value for each row, nulls among them."""

    @abstractmethod
    def rows_within(self, window: int) -> Iterable[int]:
        """The places of the rows of a window."""


class OrderedStream(Stream):
    __slots__ = ("_starts",)

    def __init__(self, columns: Columns, times: Times, thresholds: Sequence[int]) -> None:
        super().__init__(columns, times, thresholds)
        self._starts = [bisect_left(times, threshold) for threshold in thresholds]

    def of_key(self, values: Values, marks: list[Any]) -> KeySeries:
        return OrderedKey(values, marks, self.thresholds)

    def of(self, values: Values, marks: list[Any]) -> Series:
        return OrderedSeries(values, marks, [bisect_left(marks, threshold) for threshold in self.thresholds])

    def of_column(self, column: Sequence[Any]) -> Series:
        values = [value for value in column if value is not None]
        times: Any = self.marks
        return (
            OrderedSeries(values, times, self._starts) if len(values) == len(column) else SparseSeries(values, column, times, self._starts)
        )

    def rows_within(self, window: int) -> Iterable[int]:
        return range(self._starts[window], len(self.marks))


class ChangedStream(Stream):
    """``marks``: (time, whether the row is taken back)."""

    __slots__ = ()

    def of_key(self, values: Values, marks: list[Any]) -> KeySeries:
        return ChangedSeries(values, marks, self.thresholds)

    def of(self, values: Values, marks: list[Any]) -> Series:
        return ChangedSeries(values, marks, self.thresholds)

    def of_column(self, column: Sequence[Any]) -> Series:
        marks = [mark for value, mark in zip(column, self.marks, strict=True) if value is not None]
        return self.of([value for value in column if value is not None], marks)

    def rows_within(self, window: int) -> Iterable[int]:
        threshold = self.thresholds[window]
        return (i for i, (ts, _) in enumerate(self.marks) if ts >= threshold)

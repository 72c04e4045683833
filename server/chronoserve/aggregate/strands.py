"""The columns of one aggregation over all of its windows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isfinite
from typing import Any

from chronoserve.aggregate.columns import Bucketed, Column, Direct, Mapped, Vector
from chronoserve.aggregate.folds import Fold, Irs, fold, present
from chronoserve.aggregate.series import KeySeries, Stream
from chronoserve.model.types import DOUBLE, FLOAT


class Strand(ABC):
    """``windows``: for each output, the index of its distinct window."""

    def __init__(self, column: Column, windows: Sequence[int]) -> None:
        self.fold: Fold = fold(column.aggregator)
        self.at = column.at
        self.windows = tuple(windows)

    @abstractmethod
    def outputs(self, stream: Stream, collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        """One for each window. ``collapsed``: the stored IR of each; ``stored``: of each, what follows the stream."""

    def takes(self, stream: Stream) -> bool:
        """Whether it can answer for a stream that takes rows back, and the aggregators would not refuse it."""
        return True


class DirectStrand(Strand):
    def __init__(self, column: Direct, windows: Sequence[int]) -> None:
        super().__init__(column, windows)
        self._floating = column.output_type in (FLOAT, DOUBLE)
        self._vector = isinstance(column, Vector)

    def outputs(self, stream: Stream, collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        series = stream.vector(self.at) if self._vector else stream.direct(self.at)
        outputs = series.folded(self.fold, self.windows, collapsed, stored)
        return [None if value is None or not isfinite(value) else value for value in outputs] if self._floating else outputs


class KeyedStrand(Strand):
    """Bucketed and map columns: a fold for each key."""

    def outputs(self, stream: Stream, collapsed: Irs, stored: Sequence[Irs]) -> list[Any]:
        keyed = self.keyed(stream)
        return [self._output(stream, keyed, window, collapsed[i], present(stored[i])) for i, window in enumerate(self.windows)]

    @abstractmethod
    def keyed(self, stream: Stream) -> dict[str, KeySeries]: ...

    @abstractmethod
    def seen(self, stream: Stream, window: int) -> bool:
        """Whether a row of the window makes a result even without a value."""

    def _output(self, stream: Stream, keyed: dict[str, KeySeries], window: int, collapsed: Any, stored: list[Any]) -> Any:
        keys = dict.fromkeys(collapsed or ())
        keys |= dict.fromkeys(key for key, series in keyed.items() if series.within(self.fold, window))
        for ir in stored:
            keys |= ir
        if not keys and collapsed is None and not stored and not self.seen(stream, window):
            return None
        fold, own = self.fold, collapsed or {}
        nothing = stream.of_key([], [])
        return {key: keyed.get(key, nothing).output(fold, window, own.get(key), [ir.get(key) for ir in stored]) for key in keys}


class BucketedStrand(KeyedStrand):
    def __init__(self, column: Bucketed, windows: Sequence[int]) -> None:
        super().__init__(column, windows)
        self._bucket_at = column.bucket_at
        self._vector = column.vector

    def keyed(self, stream: Stream) -> dict[str, KeySeries]:
        rows = zip(stream.columns[self._bucket_at], stream.columns[self.at], stream.marks, strict=True)
        if self._vector:
            return stream.keyed((bucket, value, mark) for bucket, elements, mark in rows for value in elements or ())
        return stream.keyed(rows)

    def seen(self, stream: Stream, window: int) -> bool:
        return False


class MappedStrand(KeyedStrand):
    def keyed(self, stream: Stream) -> dict[str, KeySeries]:
        rows = zip(stream.columns[self.at], stream.marks, strict=True)
        return stream.keyed((key, value, mark) for entries, mark in rows if entries is not None for key, value in entries.items())

    def seen(self, stream: Stream, window: int) -> bool:
        """An empty map makes an empty result."""
        column = stream.columns[self.at]
        return any(column[i] is not None for i in stream.rows_within(window))

    def takes(self, stream: Stream) -> bool:
        """A map that is taken back from an operation that cannot is an error, which the aggregator tells."""
        return self.fold.reversible or not any(taken for _, taken in stream.marks)


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

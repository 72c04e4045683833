"""What operations make of many stretches of rows at once, over Arrow columns: the bits that aggregators give, value after value.

Only uploads need this module, and it alone needs NumPy (with ``batch_columns``): serving never imports it. Operations that have
no kernel here run as they are, one stretch after the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.columns import Column, Direct, Row
from chronoserve.aggregate.extremes import FloatMax, FloatMin, Max, Min
from chronoserve.aggregate.moments import VARIANCE_IR, Variance
from chronoserve.aggregate.numbers import AVERAGE_IR, Average, Count, DoubleSum, LongSum, added
from chronoserve.aggregate.timed import First, Last
from chronoserve.model import types
from chronoserve.model.types import DataType

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SIMPLE = frozenset({types.BOOLEAN, types.INT, types.LONG, types.FLOAT, types.DOUBLE, types.STRING, types.BINARY})
"""The types of inputs that kernels take."""
TIME_PAIR = ("epochMillis", "payload")
FEW = 8
"""So few stretches are not worth an array operation for each further value."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Stretches of rows. ``at``: places of rows, those of one stretch side by side, in their order; ``starts``: where each
    stretch begins among them. No stretch is empty.
    """

    at: Ints
    starts: Ints


def changes(*sorted_by: Ints) -> Flags:
    """Where a stretch of equal values begins."""
    found = np.ones(len(sorted_by[0]), np.bool_)
    found[1:] = False
    for values in sorted_by:
        found[1:] |= values[1:] != values[:-1]
    return found


class Series:
    """One input column of many rows."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array
        self.valid: Flags | None = pc.is_valid(array).to_numpy(zero_copy_only=False) if array.null_count else None

    @cached_property
    def numbers(self) -> npt.NDArray[Any]:
        """Of a column of numbers or booleans; anything where it is null."""
        filled = pc.fill_null(self.array, pa.scalar(0).cast(self.array.type)) if self.array.null_count else self.array
        return filled.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    @cached_property
    def doubles(self) -> Doubles:
        return self.numbers.astype(np.float64, copy=False)

    @cached_property
    def odd(self) -> Flags | None:
        """Where a NaN or a negative zero is: what arrays make of them is not what aggregators do. None: nowhere."""
        numbers = self.numbers
        if numbers.dtype.kind != "f":
            return None
        found = np.isnan(numbers) | ((numbers == 0) & np.signbit(numbers))
        return found if found.any() else None


class Valued:
    """The values that are not null of one column, by stretch. ``there``: which stretches have any; ``at``: the values' places;
    ``starts`` and ``lengths``: where each of those stretches begins, and how many values it has.
    """

    def __init__(self, series: Series, segments: Segments, times: Ints) -> None:
        self.series = series
        self._times = times
        if series.valid is None:
            self.at, self.starts = segments.at, segments.starts
            self.lengths = np.diff(self.starts, append=len(self.at))
            self.there = np.arange(len(self.starts))
        else:
            kept = series.valid[segments.at]
            counts = np.add.reduceat(kept, segments.starts, dtype=np.int64) if len(kept) else segments.starts
            self.there = np.flatnonzero(counts)
            self.at, self.lengths = segments.at[kept], counts[self.there]
            self.starts = np.cumsum(self.lengths) - self.lengths

    @cached_property
    def segment(self) -> Ints:
        """Of each value, which of the stretches it is in."""
        return np.repeat(np.arange(len(self.starts)), self.lengths)

    @cached_property
    def doubles(self) -> Doubles:
        return self.series.doubles[self.at]

    @cached_property
    def times(self) -> Ints:
        return self._times[self.at]

    def reduced(self, best: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return best.reduceat(values, self.starts) if len(values) else values

    @cached_property
    def added(self) -> Doubles:
        """The sum of each stretch from left to right: ``bincount`` adds one value after the other, NumPy's own sums do not."""
        return self.mended(np.bincount(self.segment, self.doubles, len(self.starts)), lambda values: added(values[1:], values[0]))

    def mended(self, results: npt.NDArray[Any], make: Callable[[list[Any]], Any]) -> npt.NDArray[Any]:
        """``results`` with those of stretches that hold odd numbers made anew."""
        if self.series.odd is not None:
            for segment in np.unique(self.segment[self.series.odd[self.at]]).tolist():
                start = self.starts[segment]
                results[segment] = make(self.series.numbers[self.at[start : start + self.lengths[segment]]].tolist())
        return results

    def picked(self, best: np.ufunc) -> tuple[Ints, pa.Array]:
        """The best time of each stretch, and the value that has it; of several the one that came first."""
        times = self.reduced(best, self.times)
        candidates = np.flatnonzero(self.times == times[self.segment])
        firsts = candidates[changes(self.segment[candidates])]
        return times, self.series.array.take(pa.array(self.at[firsts]))


Kernel = Callable[[Any, Valued], pa.Array]
"""The stored IRs of the stretches that have values."""


def _average(_: Average, valued: Valued) -> pa.Array:
    return _record(AVERAGE_IR.names, pa.array(valued.added), pa.array(valued.lengths.astype(np.int32)))


def _extreme(best: np.ufunc) -> Kernel:
    def kernel(_: Aggregator, valued: Valued) -> pa.Array:
        return pa.array(valued.reduced(best, valued.series.numbers[valued.at]))

    return kernel


def _float_extreme(best: np.ufunc) -> Kernel:
    def kernel(aggregator: FloatMin | FloatMax, valued: Valued) -> pa.Array:
        found = valued.reduced(best, valued.series.numbers[valued.at])
        return pa.array(
            valued.mended(found, lambda values: aggregator.update_all(values[0], values[1:], values[1:]))
        )  # times do not matter

    return kernel


def _timed(best: np.ufunc) -> Kernel:
    def kernel(_: First | Last, valued: Valued) -> pa.Array:
        times, values = valued.picked(best)
        return _record(TIME_PAIR, pa.array(times), values)

    return kernel


def _variance(aggregator: Variance, valued: Valued) -> pa.Array:
    """One value of every stretch at a time, the longest stretches first; what few are left at the end run by themselves."""
    order = np.argsort(-valued.lengths, kind="stable")
    starts, lengths, values = valued.starts[order], valued.lengths[order], valued.doubles
    mean, m2 = values[starts], np.zeros(len(starts))
    count = 1
    while (left := int(np.searchsorted(-lengths, -count))) >= FEW:
        value = values[starts[:left] + count]
        count += 1
        delta = value - mean[:left]
        mean[:left] += delta / count
        m2[:left] += delta * (value - mean[:left])
    for i in range(left):
        rest = values[starts[i] + count : starts[i] + lengths[i]].tolist()
        _, mean[i], m2[i] = aggregator.update_all((count, float(mean[i]), float(m2[i])), rest, ())
    back = np.argsort(order)
    return _record(VARIANCE_IR.names, pa.array(valued.lengths.astype(np.int32)), pa.array(mean[back]), pa.array(m2[back]))


def _record(names: Sequence[str], *arrays: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays(arrays, names)


_KERNELS: dict[type[Aggregator], Kernel] = {
    Count: lambda _, valued: pa.array(valued.lengths),
    LongSum: lambda _, valued: pa.array(valued.reduced(np.add, valued.series.numbers[valued.at].astype(np.int64))),
    DoubleSum: lambda _, valued: pa.array(valued.added),
    Average: _average,
    Variance: _variance,
    Min: _extreme(np.minimum),
    Max: _extreme(np.maximum),
    FloatMin: _float_extreme(np.minimum),
    FloatMax: _float_extreme(np.maximum),
    First: _timed(np.minimum),
    Last: _timed(np.maximum),
}


def has_kernel(column: Column, input_type: DataType) -> bool:
    """Whether ``folded`` gives an array for a column over inputs of a type."""
    return type(column) is Direct and type(column.aggregator) in _KERNELS and input_type in SIMPLE


def folded(column: Column, valued: Valued) -> pa.Array:
    """The stored IRs of the stretches that are ``there``, of a column that has a kernel."""
    with np.errstate(over="ignore", invalid="ignore"):  # an infinity or a NaN is a result, as in Java
        return _KERNELS[type(column.aggregator)](column.aggregator, valued)


def each_folded(column: Column, segments: Segments, rows: Sequence[Row], times: Ints) -> list[Any]:
    """The stored IRs of all stretches, of any column; None where no value is."""
    at, ordered = segments.at.tolist(), times[segments.at].tolist()
    return [
        column.stored(column.update_all(None, [rows[i] for i in at[start:end]], ordered[start:end]))
        for start, end in pairwise([*segments.starts.tolist(), len(at)])
    ]

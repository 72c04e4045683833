"""Windows of a snapshot, which ends with a day: what uploads of SNAPSHOT group bys hold (spec/aggregation-and-codecs.md §7.6).

``end``: epoch milliseconds at which the snapshot's day ends.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from chronoserve.aggregate import parts
from chronoserve.aggregate.columns import Row
from chronoserve.aggregate.parts import DAY
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.model.confs import UNBOUNDED, Aggregation, TimeUnit, Window
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import StructType


class DailyPlan:
    """Snapshots of events: whole days. ``base``: the columns of one day's IR, as an incremental table keeps them.

    Raises:
        InvalidRequest: a window counts in hours, a column is missing, or a combination is one that Chronon refuses.
        Unsupported: an operation needs a library that is not installed.
    """

    def __init__(self, aggregations: Iterable[Aggregation], input_type: StructType) -> None:
        aggregations = tuple(aggregations)
        self.windowed = RowAggregator(parts.windowed(aggregations), input_type)
        self.base = RowAggregator(parts.base(aggregations), input_type)
        self.output_type = self.windowed.output_type
        self.base_of = parts.base_of_windowed(aggregations)
        self.windows = tuple(part.window or UNBOUNDED for part in self.windowed.parts)
        for window in self.windows:
            _refuse_hours(window)

    def snapshot(self, end: int) -> "DailySnapshot":
        return DailySnapshot(self, end)


class DailySnapshot:
    """One key's days, and its features at the end of the last."""

    def __init__(self, plan: DailyPlan, end: int) -> None:
        self._plan = plan
        self._end = end
        self._days: dict[int, list[Any]] = {}

    def add_all(self, rows: Sequence[Row], times: Sequence[int]) -> None:
        """Rows and their epoch milliseconds, in any order; sums are formed in this one, within each day."""
        by_day: dict[int, tuple[list[Row], list[int]]] = {}
        for row, ts in zip(rows, times, strict=True):
            own, own_times = by_day.setdefault(parts.floor(ts, DAY), ([], []))
            own.append(row)
            own_times.append(ts)
        for day, (own, own_times) in by_day.items():
            irs = self._days.setdefault(day, self._plan.base.init())
            irs[:] = [c.update_all(ir, own, own_times) for c, ir in zip(self._plan.base.columns, irs, strict=True)]

    def add_day(self, day: int, stored: Sequence[Any]) -> None:
        """The IR of a whole day, as an incremental table has it. ``day``: the day's start."""
        self._days[day] = self._plan.base.merge(self._days.get(day, self._plan.base.init()), self._plan.base.loaded(stored))

    def days(self) -> list[tuple[int, tuple[Any, ...]]]:
        """(start, stored IR) of each day, ascending."""
        return [(day, self._plan.base.stored(irs)) for day, irs in sorted(self._days.items())]

    def outputs(self) -> tuple[Any, ...] | None:
        """The features; None where all of them are null, since such keys are not uploaded."""
        plan, days = self._plan, sorted(self._days.items())
        irs = [
            column.merge_all([None, *(day_irs[base] for day, day_irs in days if self._covers(window, day))])
            for column, base, window in zip(plan.windowed.columns, plan.base_of, plan.windows, strict=True)
        ]
        outputs = plan.windowed.finalize(plan.windowed.clone(irs))  # a copied map has another order (§5.8)
        return outputs if any(output is not None for output in outputs) else None

    def _covers(self, window: Window, day: int) -> bool:
        return parts.floor(self._end - window.millis, DAY) <= day < parts.floor(self._end, DAY)


class EntityPlan:
    """Snapshots of entities: the rows of one partition; windows, where there are any, are exact.

    Raises:
        InvalidRequest: a column is missing, or a combination is one that Chronon refuses.
        Unsupported: an operation needs a library that is not installed.
    """

    def __init__(self, aggregations: Iterable[Aggregation], input_type: StructType) -> None:
        aggregations = tuple(aggregations)
        self.aggregator = RowAggregator(parts.unpacked(aggregations), input_type)
        self.output_type = self.aggregator.output_type
        self.windows = tuple(part.window or UNBOUNDED for part in self.aggregator.parts)
        self.timed = any(aggregation.windows is not None for aggregation in aggregations)
        """Whether rows need a time at all."""

    def outputs(self, rows: Sequence[Row], times: Sequence[int], end: int) -> tuple[Any, ...]:
        """The features of one key's rows. Without any window ``times`` only rank them."""
        irs = self.aggregator.init()
        for i, (column, window) in enumerate(zip(self.aggregator.columns, self.windows, strict=True)):
            inside = [at for at, ts in enumerate(times) if not self.timed or end - window.millis <= ts < end]
            irs[i] = column.update_all(None, [rows[at] for at in inside], [times[at] for at in inside])
        return self.aggregator.finalize(irs)


def _refuse_hours(window: Window) -> None:
    if window.time_unit is TimeUnit.HOURS:
        raise InvalidRequest(
            f"a window of {window.length} hours: snapshots of events have whole days, so give it in days or make the group by TEMPORAL",
            field="windows",
        )

"""The value of one key, by accuracy and kind of source (spec/aggregation-and-codecs.md §12)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chronoserve.aggregate.batch_ir import BatchPlan
from chronoserve.aggregate.columns import Row
from chronoserve.aggregate.daily import DailyPlan, EntityPlan
from chronoserve.model.confs import Accuracy, DataModel
from chronoserve.model.types import StructType
from chronoserve.upload.at_once import AtOnce
from chronoserve.upload.plan import UploadPlan


class Gathering(Protocol):
    """The rows of one key as they come in."""

    def add_all(self, rows: Sequence[Row], times: Sequence[int]) -> None:
        """More rows, and their epoch milliseconds; rows keep the order of the table."""

    def value(self) -> Sequence[Any] | None:
        """What is stored; None: nothing is."""


@dataclass(frozen=True, slots=True)
class Values:
    """How a group by makes its values. ``type``: what they are encoded as. ``gather``: begins with a new key; ``at_once``: takes
    many keys whose rows are all there, where there is a faster way for them.
    """

    type: StructType
    gather: Callable[[], Gathering]
    at_once: AtOnce | None = None


def values_of(plan: UploadPlan, inputs: StructType) -> Values:
    """For rows of ``inputs``, the columns that aggregations read.

    Raises:
        InvalidRequest: an aggregation is one that Chronon refuses.
        Unsupported: it needs a library that is not installed.
    """
    if plan.accuracy is Accuracy.TEMPORAL:
        batch = BatchPlan(plan.group_by.meta_data.clean_name, plan.aggregations, inputs)
        return Values(batch.type, lambda: _Batch(batch, plan.end), AtOnce(batch, plan.end))
    if plan.model is DataModel.ENTITIES:
        entities = EntityPlan(plan.aggregations, inputs)
        return Values(entities.output_type, lambda: _Entity(entities, plan.end))
    daily = DailyPlan(plan.aggregations, inputs)
    return Values(daily.output_type, lambda: Days(daily, plan.end))


class _Batch:
    """A batch IR. A key that has rows has a value, if only an empty one."""

    def __init__(self, plan: BatchPlan, end: int) -> None:
        self._builder = plan.builder(end)

    def add_all(self, rows: Sequence[Row], times: Sequence[int]) -> None:
        self._builder.add_all(rows, times)

    def value(self) -> Sequence[Any] | None:
        return self._builder.stored()


class Days:
    """The days of a snapshot of events."""

    def __init__(self, plan: DailyPlan, end: int) -> None:
        self._snapshot = plan.snapshot(end)

    def add_all(self, rows: Sequence[Row], times: Sequence[int]) -> None:
        self._snapshot.add_all(rows, times)

    def value(self) -> Sequence[Any] | None:
        return self._snapshot.outputs()

    def days(self) -> list[tuple[int, tuple[Any, ...]]]:
        """Each day's start in epoch milliseconds, and its IR as an incremental table has it."""
        return self._snapshot.days()


class _Entity:
    def __init__(self, plan: EntityPlan, end: int) -> None:
        self._plan = plan
        self._end = end
        self._rows: list[Row] = []
        self._times: list[int] = []

    def add_all(self, rows: Sequence[Row], times: Sequence[int]) -> None:
        self._rows += rows
        self._times += times

    def value(self) -> Sequence[Any] | None:
        return self._plan.outputs(self._rows, self._times, self._end)

"""Features of a TEMPORAL group by at a query time: batch IR, streamed rows or tiles, tail hops (spec/online-fetch.md §8)."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from chronoserve.aggregate import batch_ir, parts
from chronoserve.aggregate.batch_ir import BatchIr
from chronoserve.aggregate.plan import Plan
from chronoserve.aggregate.reference import Reference, StreamRow
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.model.confs import Aggregation, DataModel, GroupBy
from chronoserve.model.errors import CorruptValue, TimeBeforeBatch, Unsupported
from chronoserve.model.types import BOOLEAN, LONG, Field, StructType

Rows = Sequence[tuple[Any, ...]]


class _When(NamedTuple):
    """Epoch milliseconds. ``since``: the oldest time that a streamed value may have in the store."""

    query_ts: int
    batch_end: int
    since: int


class Sawtooth:
    """Everything about a group by's aggregations that does not depend on a request.

    ``input_type``: the selected columns. ``row_type`` and ``mutation_type`` are those of streamed rows of events and of
    entities, ``tile_type`` that of tiles, ``batch_type`` that of uploads, ``output_type`` that of the answers.

    Raises:
        InvalidRequest: a column is missing or a combination is one that Chronon refuses.
        Unsupported: an operation needs a library that is not installed, or tiles are asked for of an element-wise aggregation.
    """

    def __init__(self, group_by: GroupBy, input_type: StructType) -> None:
        name = group_by.meta_data.clean_name
        aggregations = group_by.aggregations or ()
        self.tiled = group_by.tiled
        self.mutated = not self.tiled and group_by.data_model is DataModel.ENTITIES
        self.row_type = StructType(f"{name}_INPUT_COLS", input_fields(aggregations, input_type))
        self.mutation_type = StructType(f"{name}_MUTATION_COLS", (*self.row_type.fields, Field("ts", LONG), Field("is_before", BOOLEAN)))
        windowed = RowAggregator(parts.windowed(aggregations), self.row_type)
        base = RowAggregator(parts.base(aggregations), self.row_type)
        self.batch_type = batch_ir.record_type(name, windowed.ir_type, base.ir_type)
        self.tile_type = batch_ir.tile_type(name, RowAggregator(parts.unwindowed(aggregations), self.row_type).ir_type)
        self.output_type = StructType(f"{name}_OUTPUT", windowed.output_type.fields)
        if self.tiled and any(aggregation.element_wise for aggregation in aggregations):
            raise Unsupported(f"{group_by.meta_data.name}: elementWise cannot be tiled: its tiles and its windows disagree")
        base_of = parts.base_of_windowed(aggregations)
        self._reference = Reference(windowed, base_of)
        self._plan = Plan(windowed, base_of)

    @staticmethod
    def load_batch(decoded: Sequence[Any]) -> BatchIr:
        """The IR of a record decoded with ``batch_type``. It may be kept and merged with any number of times.

        Raises:
            CorruptValue: the record is none that an upload writes.
        """
        return batch_ir.loaded(decoded)

    def merge(
        self, batch: BatchIr | None, rows: Rows, times: Sequence[int], *, query_ts: int, batch_end: int, batch_max_ts: int | None
    ) -> tuple[Any, ...]:
        """The answer, in the order of ``output_type``.

        ``rows``: decoded streamed values in the order of the store; ``times``: the store's time of each. ``batch_max_ts``:
        the largest time of the key's batch values, None where it is not known.

        Raises:
            TimeBeforeBatch: ``query_ts`` is before ``batch_end``.
            CorruptValue: a row or an IR is none that Chronon writes.
            InvalidRequest: a value that an aggregation cannot take, as a reversal of one that cannot be taken back.
        """
        when = self._when(query_ts, batch_end, batch_max_ts)
        merge = self._mutations if self.mutated else self._stamped
        if batch is not None and not batch.in_order:
            merge = self._plainly
        try:
            return merge(batch, rows, list(times), when)
        except TypeError:
            self._check(batch, rows)
            raise

    def merge_plainly(
        self, batch: BatchIr | None, rows: Rows, times: Sequence[int], *, query_ts: int, batch_end: int, batch_max_ts: int | None
    ) -> tuple[Any, ...]:
        """What ``merge`` answers, by the reference alone."""
        return self._plainly(batch, rows, times, self._when(query_ts, batch_end, batch_max_ts))

    def _when(self, query_ts: int, batch_end: int, batch_max_ts: int | None) -> _When:
        """Tiles do not look at the batch's time in the store."""
        if query_ts < batch_end:
            raise TimeBeforeBatch(f"features at {query_ts} lie before the end of the batch data, {batch_end}: ask for a later time")
        return _When(query_ts, batch_end, batch_end if batch_max_ts is None or self.tiled else max(batch_end, batch_max_ts))

    def _stamped(self, batch: BatchIr | None, rows: Rows, times: list[int], when: _When) -> tuple[Any, ...]:
        """Events and tiles, whose time is the store's, and ascends unless the store is odd."""
        if times == sorted(times):
            start, end = bisect_left(times, when.since), bisect_left(times, when.query_ts)
            rows, times = rows[start:end], times[start:end]
            if not self.tiled:
                return self._plan.rows(batch, rows, times, query_ts=when.query_ts, batch_end=when.batch_end)
            return self._plan.tiles(batch, [_tile(row) for row in rows], times, query_ts=when.query_ts, batch_end=when.batch_end)
        selected = [(row, time) for row, time in zip(rows, times, strict=True) if when.since <= time < when.query_ts]
        if self.tiled:
            return self._plainly(batch, rows, times, when)
        return self._changes(batch, [row for row, _ in selected], [(time, False) for _, time in selected], when)

    def _mutations(self, batch: BatchIr | None, rows: Rows, times: list[int], when: _When) -> tuple[Any, ...]:
        """Changes of entities, which have their own time and may take rows back."""
        selected = [row for row, time in zip(rows, times, strict=True) if when.since <= time < when.query_ts]
        if any(row[-2] is None for row in selected):
            raise CorruptValue("a streamed change of an entity has no ts")
        selected = [row for row in selected if row[-2] < when.query_ts]
        own = [row[-2] for row in selected]
        if own == sorted(own) and not any(row[-1] for row in selected):
            return self._plan.rows(batch, selected, own, query_ts=when.query_ts, batch_end=when.batch_end)
        return self._changes(batch, selected, [(row[-2], bool(row[-1])) for row in selected], when)

    def _changes(self, batch: BatchIr | None, rows: Rows, marks: list[tuple[int, bool]], when: _When) -> tuple[Any, ...]:
        merged = self._plan.changes(batch, rows, marks, query_ts=when.query_ts, batch_end=when.batch_end)
        if merged is not None:
            return merged
        changes = [(row, ts, taken) for row, (ts, taken) in zip(rows, marks, strict=True)]
        return self._reference.merge_rows(batch, changes, query_ts=when.query_ts, batch_end=when.batch_end)

    def _plainly(self, batch: BatchIr | None, rows: Rows, times: Sequence[int], when: _When) -> tuple[Any, ...]:
        stamped = [(row, time) for row, time in zip(rows, times, strict=True) if when.since <= time < when.query_ts]
        if self.tiled:
            tiles = [(_tile(row), time) for row, time in stamped]
            return self._reference.merge_tiles(batch, tiles, query_ts=when.query_ts, batch_end=when.batch_end)
        changes = (_mutation(row) for row, _ in stamped) if self.mutated else ((row, time, False) for row, time in stamped)
        return self._reference.merge_rows(batch, changes, query_ts=when.query_ts, batch_end=when.batch_end)

    def _check(self, batch: BatchIr | None, rows: Rows) -> None:
        """Looks for what made a merge fail.

        Raises:
            CorruptValue: an IR has a null where arithmetic needs a number.
        """
        collapsed, hops = self.batch_type.fields
        if batch is not None:
            batch_ir.check_whole(batch.collapsed, collapsed.type)
            batch_ir.check_hops(batch, hops.type)
        if self.tiled:
            for row in rows:
                batch_ir.check_whole(row, self.tile_type)


def input_fields(aggregations: Iterable[Aggregation], selected: StructType) -> tuple[Field, ...]:
    """Those of the selected columns that aggregations read, in the order that streamed rows have them (§11)."""
    names = dict.fromkeys(name for a in aggregations for name in (*(a.buckets or ()), a.input_column))
    by_name = {field.name: field for field in reversed(selected.fields)}
    return tuple(by_name[name] for name in names if name in by_name)


def _tile(decoded: tuple[Any, ...]) -> tuple[Any, ...]:
    irs: tuple[Any, ...] | None = decoded[0]
    if irs is None:
        raise CorruptValue("a tile lacks its IR")
    return irs


def _mutation(row: tuple[Any, ...]) -> StreamRow:
    if row[-2] is None:
        raise CorruptValue("a streamed change of an entity has no ts")
    return row, row[-2], bool(row[-1])

"""Features of a TEMPORAL group by at a query time: batch IR, streamed rows or tiles, tail hops (spec/online-fetch.md §8)."""

from collections.abc import Iterable, Sequence
from typing import Any

from chronoserve.aggregate import batch_ir, parts
from chronoserve.aggregate.batch_ir import BatchIr
from chronoserve.aggregate.reference import Reference, StreamRow
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.model.confs import Aggregation, DataModel, GroupBy
from chronoserve.model.errors import CorruptValue, TimeBeforeBatch, Unsupported
from chronoserve.model.types import BOOLEAN, LONG, Field, StructType


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
        self.mutation_type = StructType(
            f"{name}_MUTATION_COLS", (*self.row_type.fields, Field("ts", LONG), Field("is_before", BOOLEAN))
        )
        self._windowed = RowAggregator(parts.windowed(aggregations), self.row_type)
        self._base = RowAggregator(parts.base(aggregations), self.row_type)
        self.batch_type = batch_ir.record_type(name, self._windowed.ir_type, self._base.ir_type)
        self.tile_type = batch_ir.tile_type(name, RowAggregator(parts.unwindowed(aggregations), self.row_type).ir_type)
        self.output_type = StructType(f"{name}_OUTPUT", self._windowed.output_type.fields)
        if self.tiled and any(a.element_wise for a in aggregations):
            raise Unsupported(f"{group_by.meta_data.name}: elementWise cannot be tiled: its tiles and its windows disagree")
        self._reference = Reference(self._windowed, parts.base_of_windowed(aggregations))

    def load_batch(self, decoded: Sequence[Any]) -> BatchIr:
        """The IR of a record decoded with ``batch_type``. It may be kept and merged with any number of times.

        Raises:
            CorruptValue: the record is none that an upload writes.
        """
        return batch_ir.loaded(decoded, self._windowed, self._base)

    def merge(
        self,
        batch: BatchIr | None,
        rows: Sequence[tuple[Any, ...]],
        times: Sequence[int],
        *,
        query_ts: int,
        batch_end: int,
        batch_max_ts: int | None,
    ) -> tuple[Any, ...]:
        """The answer, in the order of ``output_type``.

        ``rows``: decoded streamed values in the order of the store; ``times``: the store's time of each. ``batch_max_ts``:
        the largest time of the key's batch values, None where it is not known.

        Raises:
            TimeBeforeBatch: ``query_ts`` is before ``batch_end``.
            CorruptValue: a row or an IR is none that Chronon writes.
            InvalidRequest: a value that an aggregation cannot take, as a reversal of one that cannot be taken back.
        """
        if query_ts < batch_end:
            raise TimeBeforeBatch(f"features at {query_ts} lie before the end of the batch data, {batch_end}: ask for a later time")
        since = batch_end if batch_max_ts is None or self.tiled else max(batch_end, batch_max_ts)
        stamped = [(row, time) for row, time in zip(rows, times, strict=True) if since <= time < query_ts]
        if self.tiled:
            tiles = [(self._tile(tile), time) for tile, time in stamped]
            return self._reference.merge_tiles(batch, tiles, query_ts=query_ts, batch_end=batch_end)
        return self._reference.merge_rows(batch, self._rows(stamped), query_ts=query_ts, batch_end=batch_end)

    def _tile(self, decoded: tuple[Any, ...]) -> list[Any]:
        if decoded[0] is None:
            raise CorruptValue("a tile lacks its IR")
        return self._base.loaded(decoded[0])

    def _rows(self, stamped: Iterable[tuple[tuple[Any, ...], int]]) -> Iterable[StreamRow]:
        if not self.mutated:
            return ((row, time, False) for row, time in stamped)
        return (_mutation(row) for row, _ in stamped)


def _mutation(row: tuple[Any, ...]) -> StreamRow:
    if row[-2] is None:
        raise CorruptValue("a streamed change of an entity has no ts")
    return row, row[-2], bool(row[-1])


def input_fields(aggregations: Iterable[Aggregation], selected: StructType) -> tuple[Field, ...]:
    """Those of the selected columns that aggregations read, in the order that streamed rows have them (§11)."""
    names = dict.fromkeys(name for a in aggregations for name in (*(a.buckets or ()), a.input_column))
    by_name = {field.name: field for field in reversed(selected.fields)}
    return tuple(by_name[name] for name in names if name in by_name)

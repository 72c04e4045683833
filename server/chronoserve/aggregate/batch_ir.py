"""What an upload stores for a key of a TEMPORAL group by (spec/aggregation-and-codecs.md §8)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from chronoserve.aggregate import parts
from chronoserve.aggregate.moments import VARIANCE_IR
from chronoserve.aggregate.numbers import AVERAGE_IR
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.timed import EPOCH_MILLIS
from chronoserve.model.confs import Aggregation
from chronoserve.model.errors import CorruptValue
from chronoserve.model.types import BOOLEAN, LONG, DataType, Field, ListType, MapType, StructType

Hops = tuple[tuple[Any, ...], ...]
"""One tuple for each base column, its stored IRs in the order of the hops; the last one has the hops' starts."""


_FULL = frozenset({AVERAGE_IR.name, VARIANCE_IR.name})


@dataclass(frozen=True, slots=True)
class BatchIr:
    """Stored IRs. ``collapsed``: one for each column of a window. ``hops``: in the order of ``parts.HOP_SIZES``; empty where
    there are none. ``in_order``: whether all hops ascend. Nobody changes what it holds, so it may be kept.
    """

    collapsed: tuple[Any, ...]
    hops: tuple[Hops, ...]
    in_order: bool


def batch_ir_type(clean_name: str, aggregations: Iterable[Aggregation], input_type: StructType) -> StructType:
    """The type of the stored record."""
    aggregations = tuple(aggregations)
    collapsed = RowAggregator(parts.windowed(aggregations), input_type).ir_type
    return record_type(clean_name, collapsed, RowAggregator(parts.base(aggregations), input_type).ir_type)


def record_type(clean_name: str, collapsed: StructType, base: StructType) -> StructType:
    hop = StructType("HopIr", (*base.fields, Field("ts", LONG)))
    return StructType(f"{clean_name}_IR", (Field("collapsedIr", collapsed), Field("tailHopIrs", ListType(ListType(hop)))))


def tile_type(clean_name: str, base: StructType) -> StructType:
    """The record that a tiled stream stores (§10)."""
    return StructType(f"{clean_name}_TILE_IR", (Field("collapsedIr", base), Field("isComplete", BOOLEAN)))


def loaded(decoded: Sequence[Any]) -> BatchIr:
    """Of a decoded record.

    Raises:
        CorruptValue: a part that an upload always writes is missing.
    """
    collapsed, hop_lists = decoded
    if collapsed is None or hop_lists is None or len(hop_lists) != len(parts.HOP_SIZES):
        raise CorruptValue("a batch IR lacks its collapsed part or one of its three lists of hops")
    hops = tuple(tuple(zip(*hop_list, strict=True)) for hop_list in hop_lists)
    return BatchIr(tuple(collapsed), hops, all(_ascending(columns[-1]) for columns in hops if columns))


def _ascending(starts: tuple[int | None, ...]) -> bool:
    if None in starts:
        raise CorruptValue("a hop of a batch IR has no start")
    return all(a <= b for a, b in pairwise(starts))  # type: ignore[operator]  # no None among them


def check_hops(batch: BatchIr, data_type: DataType) -> None:
    """As ``check_whole``; ``data_type``: that of the three lists of hops."""
    check_whole([list(zip(*columns, strict=True)) for columns in batch.hops], data_type)


def check_whole(value: Any, data_type: DataType) -> None:
    """Looks for what would make arithmetic fail.

    Raises:
        CorruptValue: a record inside of a stored IR lacks a field, which Avro permits and Chronon never writes.
    """
    match data_type:
        case StructType():
            for part, field in zip(value, data_type.fields, strict=True):
                _check_part(part, data_type, field)
        case ListType(element):
            for item in value:
                check_whole(item, element)
        case MapType(_, inside):
            for item in value.values():
                check_whole(item, inside)
        case _:
            pass


def _check_part(part: Any, record: StructType, field: Field) -> None:
    if part is not None:
        check_whole(part, field.type)
    elif record.name in _FULL or field == EPOCH_MILLIS:
        raise CorruptValue(f"a stored {record.name} lacks its {field.name}")

"""What an upload stores for a key of a TEMPORAL group by (spec/aggregation-and-codecs.md §8)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chronoserve.aggregate import parts
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.model.confs import Aggregation
from chronoserve.model.errors import CorruptValue
from chronoserve.model.types import BOOLEAN, LONG, Field, ListType, StructType


@dataclass(slots=True)
class BatchIr:
    """``collapsed``: an IR for each column of a window. ``hops``: by hop size, rows of IRs for each base column, the hop's
    start last. Whoever merges with it leaves it as it is, so that it may be cached.
    """

    collapsed: list[Any]
    hops: list[list[tuple[Any, ...]]]


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


def loaded(decoded: Sequence[Any], collapsed: RowAggregator, base: RowAggregator) -> BatchIr:
    """
    Raises:
        CorruptValue: the record is none that an upload writes.
    """
    collapsed_values, hop_lists = decoded
    if collapsed_values is None or hop_lists is None or len(hop_lists) != len(parts.HOP_SIZES):
        raise CorruptValue("a batch IR lacks its collapsed part or one of its three lists of hops")
    return BatchIr(collapsed.loaded(collapsed_values), [[_hop(hop, base) for hop in hops] for hops in hop_lists])


def _hop(hop: Sequence[Any], base: RowAggregator) -> tuple[Any, ...]:
    start = hop[-1]
    if start is None:
        raise CorruptValue("a hop of a batch IR has no start")
    return (*base.loaded(hop[:-1]), start)

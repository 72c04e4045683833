"""Records of golden/a_aggregations as the aggregate room sees them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chronoserve.aggregate import parts
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.codec import avro, compiled
from chronoserve.codec.tagged import type_from, untag
from chronoserve.model.confs import Aggregation, Operation
from chronoserve.model.types import STRING, Field, StructType

SETS = frozenset({Operation.UNIQUE_COUNT, Operation.BOUNDED_UNIQUE_COUNT})
"""Their lists have the order of a hash table, which carries no meaning."""


@dataclass(frozen=True)
class Recorded:
    record: dict[str, Any]

    @property
    def operation(self) -> Operation:
        return Operation[self.record["operation"]]

    @property
    def input_type(self) -> StructType:
        return StructType("Row", (Field("v", type_from(self.record["input_type"])), Field("b", STRING)))

    @property
    def aggregation(self) -> Aggregation:
        arg_map = self.record["arg_map"]
        return Aggregation(
            input_column="v",
            operation=self.operation,
            arg_map=None if arg_map is None else dict(map(tuple, arg_map)),
            buckets=("b",) if self.record["bucket"] else None,
            element_wise=self.record["element_wise"],
        )

    def aggregator(self) -> RowAggregator:
        return RowAggregator(parts.unpacked([self.aggregation]), self.input_type)

    @cached_property
    def rows(self) -> list[tuple[tuple[Any, Any], int, str]]:
        """(value and bucket, ts, the row's own hex)."""
        return [((untag(value), bucket), ts, row) for ts, value, bucket, row in self.record["rows"]]

    def folds(self) -> dict[str, list[tuple[tuple[Any, Any], int, str]]]:
        split = self.record["split"]
        return {"first": self.rows[:split], "second": self.rows[split:], "all": self.rows}

    def ir(self, which: str) -> tuple[Any, ...]:
        return self.decoded(self.record[f"ir_{which}"])

    def decoded(self, row: str) -> tuple[Any, ...]:
        """A recorded IR, maps in the order of their bytes."""
        return compiled.decoder(avro.type_of(self.record["ir_avro_schema"])).decode(bytes.fromhex(row))

    def same(self, got: Any, want: Any) -> bool:
        return same(*((unordered(got), unordered(want)) if self.operation in SETS else (got, want)))


def fold(aggregator: RowAggregator, rows: Iterable[tuple[tuple[Any, Any], int, str]]) -> list[Any]:
    ir = aggregator.init()
    for row, ts, _ in rows:
        aggregator.update(ir, row, ts)
    return ir


def same(a: Any, b: Any) -> bool:
    """Bit for bit: NaN is NaN, the zeros differ, and a list is no tuple."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and isinstance(a, list) == isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return isinstance(b, float) and ((math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b)))
    return isinstance(a, bool) == isinstance(b, bool) and not isinstance(b, float) and bool(a == b)


def unordered(value: Any) -> Any:
    """The lists in it sorted."""
    if isinstance(value, list):
        return sorted((unordered(item) for item in value), key=repr)
    return {key: unordered(item) for key, item in value.items()} if isinstance(value, dict) else value

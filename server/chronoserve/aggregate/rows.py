"""A row of aggregated columns: what one IR record, one tile or one answer holds (spec/aggregation-and-codecs.md §5, §6)."""

from collections.abc import Sequence
from typing import Any

from chronoserve.aggregate.columns import Column, Row, column
from chronoserve.aggregate.parts import Part
from chronoserve.model.errors import CorruptValue
from chronoserve.model.types import Field, StructType

IR_NAME = "WindowedIr"


class RowAggregator:
    """Aggregates rows of ``input_type`` into the columns of ``parts``.

    An IR is a list with one entry for each column, None where no value came; it is changed in place by ``update``, ``delete``
    and ``merge`` (its left side). ``ir_type`` is the type of ``stored``, ``output_type`` that of ``finalize``.

    Raises:
        InvalidRequest: a column is missing from ``input_type``, or a combination is one that Chronon refuses.
        Unsupported: an operation needs a library that is not installed.
    """

    def __init__(self, parts: Sequence[Part], input_type: StructType) -> None:
        self.parts = tuple(parts)
        self.input_type = input_type
        self.columns: tuple[Column, ...] = tuple(column(part, input_type) for part in parts)
        self.ir_type = StructType(IR_NAME, tuple(Field(p.output_name, c.ir_type) for p, c in zip(parts, self.columns, strict=True)))
        self.output_type = StructType(
            "Output", tuple(Field(p.output_name, c.output_type) for p, c in zip(parts, self.columns, strict=True))
        )
        self._deletable = any(c.aggregator.deletable for c in self.columns)

    def init(self) -> list[Any]:
        return [None] * len(self.columns)

    def update(self, ir: list[Any], row: Row, ts: int) -> None:
        """Folds a row in. ``ts``: its epoch milliseconds."""
        for i, c in enumerate(self.columns):
            ir[i] = c.update(ir[i], row, ts)

    def delete(self, ir: list[Any], row: Row, ts: int) -> None:
        """Takes a row back, from the columns that can; where none can, nothing happens.

        Raises:
            InvalidRequest: some column can, and a map or element-wise one cannot (Addendum 1).
        """
        if self._deletable:
            for i, c in enumerate(self.columns):
                ir[i] = c.delete(ir[i], row, ts)

    def merge(self, ir: list[Any], other: list[Any]) -> list[Any]:
        """``ir`` with ``other`` folded in after it; ``other`` stays as it is."""
        for i, c in enumerate(self.columns):
            ir[i] = c.merge(ir[i], other[i])
        return ir

    def clone(self, ir: list[Any]) -> list[Any]:
        return [c.clone(value) for c, value in zip(self.columns, ir, strict=True)]

    def finalize(self, ir: list[Any]) -> tuple[Any, ...]:
        return tuple(c.finalize(value) for c, value in zip(self.columns, ir, strict=True))

    def stored(self, ir: list[Any]) -> tuple[Any, ...]:
        """The values to encode with ``ir_type``."""
        return tuple(c.stored(value) for c, value in zip(self.columns, ir, strict=True))

    def loaded(self, values: Sequence[Any]) -> list[Any]:
        """The IR of values decoded with ``ir_type``; it may share parts with them.

        Raises:
            CorruptValue: they are none that Chronon writes.
        """
        if len(values) != len(self.columns):
            raise CorruptValue(f"an IR has {len(values)} columns where {len(self.columns)} belong")
        return [c.loaded(value) for c, value in zip(self.columns, values, strict=True)]

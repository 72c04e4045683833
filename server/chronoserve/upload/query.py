"""A source's query over the rows of its table: Spark's SELECT, evaluated batch by batch by our own SQL.

Wheres are conditions on the raw columns, each by itself. Columns that are selected by their bare names stay Arrow arrays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chronoserve.model import types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType, Field, ListType, StructType
from chronoserve.sql.compile import Compiled, expression
from chronoserve.sql.parser import parse
from chronoserve.sql.syntax import Call, Name, Syntax
from chronoserve.sql.types import chronon_type, shape
from chronoserve.upload import arrow
from chronoserve.upload.names import columns_named
from chronoserve.upload.plan import TIME, SourcePlan

EXPLODES = frozenset({"explode", "explode_outer"})


@dataclass(frozen=True, slots=True)
class Selected:
    """One column of a query. ``column``: the raw column that it is, as it is. Else ``made`` evaluates it; ``exploded``: each
    element of that becomes a row of its own, and ``outer`` keeps a row where there is none.
    """

    name: str
    type: DataType
    column: str | None = None
    made: Compiled | None = None
    exploded: bool = False
    outer: bool = False


class SourceQuery:
    """One source's query. ``columns``: what it gives, in Chronon's order, with their types.

    Raises:
        InvalidRequest: Spark would refuse it too: a column is missing, a where is no condition, a time is no long.
        Unsupported: a function is one that we do not have.
    """

    def __init__(self, plan: SourcePlan, *, partition_end: Callable[[str], int]) -> None:
        """``partition_end``: the epoch milliseconds at which a partition's day ends."""
        self._plan = plan
        self._partition_end = partition_end
        self.raw = arrow.struct_of(plan.table.schema(plan.conditions))
        self._by_lower = {name.lower(): name for name in self.raw.names}
        self.columns: tuple[Selected, ...] = self._select()
        self._wheres = [self._where(text) for text in plan.wheres]
        if sum(each.exploded for each in self.columns) > 1:
            raise InvalidRequest(f"{plan.table.name}: only one select may explode", field="selects")

    @property
    def type(self) -> StructType:
        """``columns`` as a struct; rows whose time is the end of their day have a ``ts`` as well."""
        fields = [Field(each.name, each.type) for each in self.columns]
        return StructType("", tuple(fields if self._plan.day_end_time is None else [*fields, Field(TIME, types.LONG)]))

    def _select(self) -> tuple[Selected, ...]:
        if self._plan.selects is None:
            return tuple(Selected(field.name, field.type, column=field.name) for field in self.raw.fields)
        return tuple(self._selected(name, text) for name, text in self._plan.selects)

    def _selected(self, name: str, text: str) -> Selected:
        tree = self._parsed(name, text)
        match tree:
            case Name(column) if column.lower() in self._by_lower:
                actual = self._by_lower[column.lower()]
                return Selected(name, _renamed(name, self._raw_type(actual)), column=actual)
            case Call(function, (_,)) if function in EXPLODES:
                return self._exploding(name, text, outer=function == "explode_outer")
            case _:
                made = self._compiled(name, text)
                return Selected(name, made.type, made=made)

    def _exploding(self, name: str, text: str, *, outer: bool) -> Selected:
        inner = text.strip().split("(", 1)[1].rsplit(")", 1)[0]
        made = self._compiled(name, inner)
        if not isinstance(made.type, ListType):
            raise InvalidRequest(f"{name}: explode takes an array, not {made.spark_type}", field="selects")
        return Selected(name, _renamed(name, made.type.element), made=made, exploded=True, outer=outer)

    def _parsed(self, name: str, text: str) -> Syntax:
        try:
            return parse(text, name)
        except InvalidRequest as wrong:
            raise InvalidRequest(f"{self._plan.table.name}, column {name}: {wrong.message}", field="selects") from wrong

    def _compiled(self, name: str, text: str) -> Compiled:
        try:
            return expression(text, self.raw, name=name)
        except InvalidRequest as wrong:
            raise InvalidRequest(f"{self._plan.table.name}, column {name}: {wrong.message}", field="selects") from wrong

    def _where(self, text: str) -> Compiled:
        try:
            made = expression(f"({text})", self.raw)
        except InvalidRequest as wrong:
            raise InvalidRequest(f"{self._plan.table.name}, where {text}: {wrong.message}", field="wheres") from wrong
        if made.spark_type not in ("boolean", "void"):
            raise InvalidRequest(f"{self._plan.table.name}, where {text}: a where is a boolean, not {made.spark_type}", field="wheres")
        return made

    def _raw_type(self, name: str) -> DataType:
        found = self.raw.type_of(name)
        assert found is not None, "a column of the table"
        return found

    # rows

    def batches(self, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The ``wanted`` columns of every row that fulfils the wheres, in the table's order."""
        if self._plan.empty:
            return
        columns = [self._named(name) for name in wanted if name != TIME or self._plan.day_end_time is None]
        read = self._reads(columns)
        for batch in self._plan.table.read(read, self._plan.conditions):
            yield self._made(batch, columns, wanted)

    def _named(self, name: str) -> Selected:
        return next(each for each in self.columns if each.name == name)

    def _reads(self, columns: Sequence[Selected]) -> list[str]:
        """The raw columns that are needed, in the table's order."""
        texts = dict(self._plan.selects or ())
        needed = {each.column for each in columns if each.column is not None}
        for each in columns:
            needed |= columns_named(parse(texts[each.name]), self._by_lower) if each.made is not None else set()
        for where in self._plan.wheres:
            needed |= columns_named(parse(where), self._by_lower)
        if self._plan.day_end_time is not None:
            needed.add(self._plan.day_end_time)
        found = [name for name in self.raw.names if name in needed]
        return found or list(self.raw.names[:1])

    def _made(self, batch: pa.RecordBatch, columns: Sequence[Selected], wanted: Sequence[str]) -> pa.RecordBatch:
        batch = self._filtered(batch)
        rows = self._rows(batch) if any(each.made is not None for each in columns) else []
        exploded: dict[str, pa.Array] = {}
        for each in columns:
            if each.exploded and each.made is not None:
                batch, rows, exploded[each.name] = _explode(batch, rows, each)
        made = {each.name: exploded[each.name] if each.exploded else self._column(batch, rows, each) for each in columns}
        if self._plan.day_end_time is not None:
            made[TIME] = self._day_ends(batch)
        return pa.RecordBatch.from_arrays([made[name] for name in wanted], names=list(wanted))

    def _filtered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self._wheres:
            return batch
        kept = [all(where.evaluate(row) for where in self._wheres) for row in self._rows(batch)]
        return batch.filter(pa.array(kept, pa.bool_()))

    def _rows(self, batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
        """Rows of all the table's columns; those that were not read are null."""
        names = set(batch.schema.names)
        empty = [None] * batch.num_rows
        found = [arrow.values(batch.column(field.name), field.type) if field.name in names else empty for field in self.raw.fields]
        return list(zip(*found, strict=True))

    def _column(self, batch: pa.RecordBatch, rows: list[tuple[Any, ...]], each: Selected) -> pa.Array:
        if each.made is None:
            column = batch.column(each.column)
            target = arrow.arrow_type(each.type)
            return column if column.type == target or pa.types.is_null(target) else column.cast(target)
        evaluate = each.made.evaluate
        return arrow.array([evaluate(row) for row in rows], each.type)

    def _day_ends(self, batch: pa.RecordBatch) -> pa.Array:
        column = pc.dictionary_encode(batch.column(self._plan.day_end_time))
        ends = pa.array([None if day is None else self._partition_end(day) - 1 for day in column.dictionary.to_pylist()], pa.int64())
        return ends.take(column.indices)


def _explode(batch: pa.RecordBatch, rows: list[tuple[Any, ...]], each: Selected) -> tuple[pa.RecordBatch, list[tuple[Any, ...]], pa.Array]:
    """Rows repeated for the elements of a list; without elements the row is dropped, or has a null where ``outer``."""
    assert each.made is not None
    indices: list[int] = []
    elements: list[Any] = []
    for index, row in enumerate(rows):
        found = each.made.evaluate(row) or ([None] if each.outer else [])
        indices += [index] * len(found)
        elements += found
    return batch.take(pa.array(indices, pa.int64())), [rows[index] for index in indices], arrow.array(elements, each.type)


def _renamed(name: str, known: DataType) -> DataType:
    """A type whose structs are named after their column."""
    return chronon_type(name, shape(known))

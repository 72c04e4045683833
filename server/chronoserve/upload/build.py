"""An upload: rows of the sources in, one stored value for each key out, and the serving info that says how to read it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chronoserve.codec.avro import schema_text
from chronoserve.codec.compiled import Encoder, encoder
from chronoserve.codec.serving import aggregation_inputs
from chronoserve.model import types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType, Field, StructType
from chronoserve.sql.coercion import common
from chronoserve.sql.types import chronon_type, shape
from chronoserve.upload import arrow
from chronoserve.upload.engine import Engine
from chronoserve.upload.plan import TIME, UploadPlan, output_columns
from chronoserve.upload.query import SourceQuery
from chronoserve.upload.values import Gathering, Values, values_of

KEY_BYTES = "__key"
SORTED_AS_THEY_ARE = frozenset({types.BOOLEAN, types.BYTE, types.SHORT, types.INT, types.LONG, types.STRING, types.BINARY})
"""Keys of other types come together by their encoded bytes."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """One row of an upload table but for its ``ds``. ``keys`` and ``values`` are what was encoded."""

    key_bytes: bytes
    value_bytes: bytes
    keys: Sequence[Any]
    values: Sequence[Any]


class Upload:
    """One group by's upload for one day. ``rows_read`` counts while ``rows`` runs.

    Raises:
        InvalidRequest: the conf is one that Chronon refuses too.
        Unsupported: it needs a function or a library that is not there.
    """

    def __init__(self, plan: UploadPlan) -> None:
        self.plan = plan
        self.queries = [SourceQuery(source, partition_end=plan.spec.end_millis) for source in plan.sources]
        self.columns = self._united()
        self.rows_read = 0
        self.key_type = StructType("Key", self._fields(plan.group_by.key_columns, "keyColumns"))
        self.selected_type = StructType("Value", self._fields(self._selected_names(), "aggregations"))
        self._expect_time()
        self.key_schema = schema_text(self.key_type, pretty=True)
        self.selected_schema = schema_text(self.selected_type, pretty=True)
        self._keys = encoder(self.key_type)

    def _united(self) -> StructType:
        """The columns that all sources have, by name, in the order of the first; types widen as in a union."""
        first, *rest = (query.type for query in self.queries)
        fields = [Field(field.name, self._widened(field, rest)) for field in first.fields]
        return StructType("", tuple(fields))

    def _widened(self, field: Field, rest: Sequence[StructType]) -> DataType:
        found = shape(field.type)
        for other in rest:
            theirs = other.type_of(field.name)
            if theirs is None:
                raise InvalidRequest(f"a source of {self._name} lacks column {field.name}, which its first has", field="sources")
            united = common(found, shape(theirs))
            if united is None:
                raise InvalidRequest(f"sources of {self._name} disagree on the type of column {field.name}", field="sources")
            found = united
        return chronon_type(field.name, found)

    def _fields(self, names: Iterable[str], where: str) -> tuple[Field, ...]:
        fields = []
        for name in names:
            known = self.columns.type_of(name)
            if known is None:
                raise InvalidRequest(f"{self._name} selects no column {name}: it has {', '.join(self.columns.names)}", field=where)
            fields.append(Field(name, known))
        return tuple(fields)

    def _selected_names(self) -> tuple[str, ...]:
        if self.plan.aggregations:
            return aggregation_inputs(self.plan.aggregations)
        return output_columns(self.plan, self.columns.names)

    def _expect_time(self) -> None:
        if self.plan.needs_time and self.columns.type_of(TIME) != types.LONG:
            raise InvalidRequest(
                f"{self._name} needs a time for each row: let query.timeColumn give epoch milliseconds as a long (bigint)",
                field="timeColumn",
            )

    @property
    def _name(self) -> str:
        return self.plan.group_by.meta_data.name

    @cached_property
    def values(self) -> Values:
        """Of a group by with aggregations."""
        return values_of(self.plan, self.selected_type)

    @property
    def value_type(self) -> StructType:
        """What value bytes are encoded as."""
        return self.values.type if self.plan.aggregations else self.selected_type

    @property
    def value_type_in_spark(self) -> StructType:
        """The same with the names that structs have in Spark, after their columns: they show in ``value_json`` alone."""
        fields = tuple(Field(field.name, chronon_type(field.name, shape(field.type))) for field in self.value_type.fields)
        return StructType("Value", fields)

    def prepare(self) -> None:
        """Look for everything that can be refused before a row is read. Raises as the class does."""
        encoder(self.value_type)

    # rows

    def rows(self, engine: Engine) -> Iterator[Uploaded]:
        """The upload's data rows, each key once; a group by without aggregations has a row for each of its table's."""
        write = encoder(self.value_type)
        if not self.plan.aggregations:
            yield from self._plain_rows(write)
            return
        batches = self.batches((*self.selected_type.names, TIME) if self._timed else self.selected_type.names)
        first = next(batches, None)
        if first is None:
            return
        ordered = engine.sorted(first.schema, _after(first, batches), self.sort_keys)
        for keys, gathered in self.groups(ordered):
            value = gathered.value()
            if value is not None:
                yield Uploaded(self._keys.encode(keys), write.encode(value), keys, value)

    def _plain_rows(self, write: Encoder) -> Iterator[Uploaded]:
        for batch in self.batches(self.selected_type.names):
            keys = self._tuples(batch, self.key_type)
            for key, value in zip(keys, self._tuples(batch, self.selected_type), strict=True):
                yield Uploaded(self._keys.encode(key), write.encode(value), key, value)

    @property
    def _timed(self) -> bool:
        return self.columns.type_of(TIME) == types.LONG

    @property
    def sort_keys(self) -> list[str]:
        """The columns that rows of one key have in common."""
        plain = all(field.type in SORTED_AS_THEY_ARE for field in self.key_type.fields)
        return list(self.key_type.names) if plain else [KEY_BYTES]

    def batches(self, wanted: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """Keys and ``wanted`` columns of all sources' rows; without those that have no key, or no time where one is needed."""
        names = list(dict.fromkeys((*self.key_type.names, *wanted)))
        for query in self.queries:
            for batch in query.batches(names):
                self.rows_read += batch.num_rows
                kept = self._kept(self._united_batch(batch))
                if kept.num_rows:
                    yield self._with_key_bytes(kept)

    def _united_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        fields = [pa.field(name, arrow.arrow_type(self._type(name))) for name in batch.schema.names]
        columns = [
            column if column.type == field.type else column.cast(field.type) for column, field in zip(batch.columns, fields, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def _type(self, name: str) -> DataType:
        known = self.columns.type_of(name)
        assert known is not None, "every wanted column was looked up before"
        return known

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        mask: Any = None
        for key in self.key_type.names:
            there = pc.is_valid(batch.column(key))
            mask = there if mask is None else pc.or_(mask, there)
        if self.plan.needs_time and TIME in batch.schema.names:
            mask = pc.and_(mask, pc.is_valid(batch.column(TIME)))
        return batch if pc.all(mask).as_py() else batch.filter(mask)

    def _with_key_bytes(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.sort_keys != [KEY_BYTES]:
            return batch
        made = pa.array([self._keys.encode(key) for key in self._tuples(batch, self.key_type)], pa.binary())
        return pa.RecordBatch.from_arrays([*batch.columns, made], names=[*batch.schema.names, KEY_BYTES])

    def _tuples(self, batch: pa.RecordBatch, of: StructType) -> list[tuple[Any, ...]]:
        columns = [arrow.values(batch.column(field.name), field.type) for field in of.fields]
        return list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows

    def groups(self, ordered: Iterable[pa.RecordBatch]) -> Iterator[tuple[Sequence[Any], Gathering]]:
        """Each key of sorted rows, with what was gathered of it."""
        held: tuple[tuple[Any, ...], Sequence[Any], Gathering] | None = None
        for batch in ordered:
            keys, rows = self._tuples(batch, self.key_type), self._tuples(batch, self.selected_type)
            times = arrow.values(batch.column(TIME), types.LONG) if TIME in batch.schema.names else [0] * batch.num_rows
            same = list(zip(*(arrow.values(batch.column(name), self._sort_type(name)) for name in self.sort_keys), strict=True))
            for start, end in _stretches(batch, self.sort_keys):
                if held is not None and held[0] != same[start]:
                    yield held[1], held[2]
                    held = None
                if held is None:
                    held = (same[start], keys[start], self.values.gather())
                held[2].add_all(rows[start:end], times[start:end])
        if held is not None:
            yield held[1], held[2]

    def _sort_type(self, name: str) -> DataType:
        return types.BINARY if name == KEY_BYTES else self._type(name)


def _after(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _stretches(batch: pa.RecordBatch, keys: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Bounds of the stretches of rows with equal keys."""
    changed: Any = None
    for name in keys:
        column = batch.column(name)
        here, before = column.slice(1), column.slice(0, len(column) - 1)
        differs = pc.if_else(
            pc.and_(pc.is_valid(here), pc.is_valid(before)), pc.not_equal(here, before), pc.xor(pc.is_valid(here), pc.is_valid(before))
        )
        changed = differs if changed is None else pc.or_(changed, differs)
    bounds = [0, *(at + 1 for at in pc.indices_nonzero(changed).to_pylist()), batch.num_rows]
    return zip(bounds[:-1], bounds[1:], strict=True)

"""Rows in, one value for each key out: what every engine does with the rows that its queries give."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chronoserve.codec.compiled import encoder
from chronoserve.model import types
from chronoserve.model.types import StructType
from chronoserve.upload import arrow
from chronoserve.upload.plan import TIME
from chronoserve.upload.schemas import KEY_BYTES, UploadSchemas
from chronoserve.upload.values import Gathering


@dataclass(frozen=True, slots=True)
class Uploaded:
    """One row of an upload table but for its ``ds``. ``keys`` and ``values`` are what was encoded."""

    key_bytes: bytes
    value_bytes: bytes
    keys: Sequence[Any]
    values: Sequence[Any]


class Gather:
    """Works on batches of key columns and ``UploadSchemas.inputs``."""

    def __init__(self, schemas: UploadSchemas) -> None:
        self._schemas = schemas
        self._keys = encoder(schemas.key_type)
        self._values = encoder(schemas.value_type)

    def prepared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in the columns' types, without rows that have no key, or no time where one is needed."""
        fields = [pa.field(name, arrow.arrow_type(self._schemas.type_of(name))) for name in batch.schema.names]
        columns = [
            column if column.type == field.type else column.cast(field.type) for column, field in zip(batch.columns, fields, strict=True)
        ]
        return self._with_key_bytes(self._kept(pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))))

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        mask: Any = None
        for key in self._schemas.key_type.names:
            there = pc.is_valid(batch.column(key))
            mask = there if mask is None else pc.or_(mask, there)
        if self._schemas.plan.needs_time and TIME in batch.schema.names:
            mask = pc.and_(mask, pc.is_valid(batch.column(TIME)))
        return batch if pc.all(mask).as_py() else batch.filter(mask)

    def _with_key_bytes(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._schemas.sort_keys != [KEY_BYTES]:
            return batch
        return pa.RecordBatch.from_arrays([*batch.columns, self.key_bytes(batch)], names=[*batch.schema.names, KEY_BYTES])

    def key_bytes(self, batch: pa.RecordBatch) -> pa.Array:
        """The encoded key of each row."""
        return pa.array([self._keys.encode(key) for key in self._tuples(batch, self._schemas.key_type)], pa.binary())

    def rows(self, ordered: Iterable[pa.RecordBatch]) -> Iterator[Uploaded]:
        """A row for each key of prepared batches that were sorted by ``UploadSchemas.sort_keys``."""
        for keys, gathered in self.groups(ordered):
            value = gathered.value()
            if value is not None:
                yield Uploaded(self._keys.encode(keys), self._values.encode(value), keys, value)

    def plain_rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Uploaded]:
        """A row for each row, of a group by without aggregations."""
        for batch in batches:
            keys = self._tuples(batch, self._schemas.key_type)
            for key, value in zip(keys, self._tuples(batch, self._schemas.selected_type), strict=True):
                yield Uploaded(self._keys.encode(key), self._values.encode(value), key, value)

    def groups(self, ordered: Iterable[pa.RecordBatch]) -> Iterator[tuple[Sequence[Any], Gathering]]:
        """Each key of sorted rows, with what was gathered of it."""
        schemas = self._schemas
        held: tuple[tuple[Any, ...], Sequence[Any], Gathering] | None = None
        for batch in ordered:
            if not batch.num_rows:
                continue
            rows = self._tuples(batch, schemas.selected_type)
            times = arrow.values(batch.column(TIME), types.LONG) if TIME in batch.schema.names else [0] * batch.num_rows
            bounds = _bounds(batch, schemas.sort_keys)
            firsts = batch.take(pa.array(bounds[:-1], pa.int64()))
            keys = self._tuples(firsts, schemas.key_type)
            same = keys if schemas.sort_keys != [KEY_BYTES] else [(each,) for each in arrow.values(firsts.column(KEY_BYTES), types.BINARY)]
            for at, (start, end) in enumerate(pairwise(bounds)):
                if held is not None and held[0] != same[at]:
                    yield held[1], held[2]
                    held = None
                if held is None:
                    held = (same[at], keys[at], schemas.values.gather())
                held[2].add_all(rows[start:end], times[start:end])
        if held is not None:
            yield held[1], held[2]

    @staticmethod
    def _tuples(batch: pa.RecordBatch, of: StructType) -> list[tuple[Any, ...]]:
        columns = [arrow.values(batch.column(field.name), field.type) for field in of.fields]
        return list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows


def _bounds(batch: pa.RecordBatch, keys: Sequence[str]) -> list[int]:
    """Where stretches of rows with equal keys begin, and the end of the last."""
    changed: Any = None
    for name in keys:
        column = batch.column(name)
        here, before = column.slice(1), column.slice(0, len(column) - 1)
        there, was = pc.is_valid(here), pc.is_valid(before)
        differs = pc.if_else(pc.and_(there, was), pc.not_equal(here, before), pc.xor(there, was))
        changed = differs if changed is None else pc.or_(changed, differs)
    return [0, *(at + 1 for at in pc.indices_nonzero(changed).to_pylist()), batch.num_rows]

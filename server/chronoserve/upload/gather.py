"""Rows in, one value for each key out: what every engine does with the rows that its queries give."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronoserve.aggregate.batch_columns import KeyedRows
from chronoserve.codec import columnar
from chronoserve.codec.compiled import encoder
from chronoserve.model import types
from chronoserve.model.types import StructType
from chronoserve.upload import arrow
from chronoserve.upload.at_once import AtOnce
from chronoserve.upload.plan import TIME
from chronoserve.upload.schemas import KEY_BYTES, UploadSchemas
from chronoserve.upload.values import Gathering

ROWS_AT_ONCE = 65_536
BYTES_AT_ONCE = 32 << 20
"""So many rows are taken together, or as many as have so many bytes."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """One row of an upload table but for its ``ds``. ``keys`` and ``values`` are what was encoded; ``read`` gives the latter."""

    key_bytes: bytes
    value_bytes: bytes
    keys: Sequence[Any]
    read: Callable[[], Sequence[Any]]

    @property
    def values(self) -> Sequence[Any]:
        return self.read()


@dataclass(frozen=True, slots=True)
class _Held:
    """A key whose rows may go on. ``same``: what they have in common."""

    same: Any
    keys: Sequence[Any]
    gathered: Gathering


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
        of = self._schemas.key_type
        if columnar.can_encode(of):
            return columnar.encoded(of, pa.StructArray.from_arrays([batch.column(name) for name in of.names], of.names)).cast(pa.binary())
        return pa.array([self._keys.encode(key) for key in self._tuples(batch, of)], pa.binary())

    def rows(self, ordered: Iterable[pa.RecordBatch]) -> Iterator[Uploaded]:
        """A row for each key of prepared batches that were sorted by ``UploadSchemas.sort_keys``."""
        at_once = self._schemas.values.at_once
        if at_once is not None:
            yield from self._rows_at_once(ordered, at_once)
            return
        for keys, gathered in self.groups(ordered):
            yield from self._row(keys, gathered)

    def _row(self, keys: Sequence[Any], gathered: Gathering) -> Iterator[Uploaded]:
        value = gathered.value()
        if value is not None:
            yield Uploaded(self._keys.encode(keys), self._values.encode(value), keys, lambda: value)

    def _rows_at_once(self, ordered: Iterable[pa.RecordBatch], at_once: AtOnce) -> Iterator[Uploaded]:
        """Keys whose rows are all in one batch together. The last key of a batch may go on in the next one: it is gathered by itself."""
        held: _Held | None = None
        for batch in _joined(ordered):
            bounds = _bounds(batch, self._schemas.sort_keys)
            if held is not None and held.same == self._same(batch.slice(0, 1))[0]:
                self._add(held.gathered, batch.slice(0, bounds[1]))
                bounds = bounds[1:]
                if len(bounds) == 1:
                    continue
            if held is not None:
                yield from self._row(held.keys, held.gathered)
            start, last = bounds[0], batch.slice(bounds[-2])
            if len(bounds) > 2:
                yield from self._whole(batch.slice(start, bounds[-2] - start), bounds[:-1] - start, at_once)
            held = _Held(self._same(last)[0], self._tuples(last.slice(0, 1), self._schemas.key_type)[0], self._schemas.values.gather())
            self._add(held.gathered, last)
        if held is not None:
            yield from self._row(held.keys, held.gathered)

    def _add(self, gathered: Gathering, batch: pa.RecordBatch) -> None:
        gathered.add_all(self._tuples(batch, self._schemas.selected_type), self._times(batch))

    def _whole(self, batch: pa.RecordBatch, bounds: Ints, at_once: AtOnce) -> Iterator[Uploaded]:
        """A row for each key of rows of whole keys."""
        selected = self._schemas.selected_type
        columns = [batch.column(name) for name in selected.names]
        values = at_once.encoded(KeyedRows(columns, batch.column(TIME).to_numpy(), bounds, partial(self._tuples, batch, selected)))
        firsts = batch.take(pa.array(bounds[:-1]))
        keys = zip(self.key_bytes(firsts).to_pylist(), self._tuples(firsts, self._schemas.key_type), strict=True)
        for (key_bytes, key), (value_bytes, read) in zip(keys, values, strict=True):
            yield Uploaded(key_bytes, value_bytes, key, read)

    def plain_rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Uploaded]:
        """A row for each row, of a group by without aggregations."""
        for batch in batches:
            keys = self._tuples(batch, self._schemas.key_type)
            for key, value in zip(keys, self._tuples(batch, self._schemas.selected_type), strict=True):
                yield Uploaded(self._keys.encode(key), self._values.encode(value), key, partial(_itself, value))

    def groups(self, ordered: Iterable[pa.RecordBatch]) -> Iterator[tuple[Sequence[Any], Gathering]]:
        """Each key of sorted rows, with what was gathered of it."""
        schemas = self._schemas
        held: _Held | None = None
        for batch in ordered:
            if not batch.num_rows:
                continue
            rows, times = self._tuples(batch, schemas.selected_type), self._times(batch)
            bounds = _bounds(batch, schemas.sort_keys)
            firsts = batch.take(pa.array(bounds[:-1]))
            keys, same = self._tuples(firsts, schemas.key_type), self._same(firsts)
            for at, (start, end) in enumerate(pairwise(bounds.tolist())):
                if held is not None and held.same != same[at]:
                    yield held.keys, held.gathered
                    held = None
                if held is None:
                    held = _Held(same[at], keys[at], schemas.values.gather())
                held.gathered.add_all(rows[start:end], times[start:end])
        if held is not None:
            yield held.keys, held.gathered

    def _same(self, batch: pa.RecordBatch) -> list[Any]:
        """Of each row what rows of its key have in common."""
        if self._schemas.sort_keys == [KEY_BYTES]:
            return arrow.values(batch.column(KEY_BYTES), types.BINARY)
        return self._tuples(batch, self._schemas.key_type)

    @staticmethod
    def _times(batch: pa.RecordBatch) -> list[int]:
        return arrow.values(batch.column(TIME), types.LONG) if TIME in batch.schema.names else [0] * batch.num_rows

    @staticmethod
    def _tuples(batch: pa.RecordBatch, of: StructType) -> list[tuple[Any, ...]]:
        columns = [arrow.values(batch.column(field.name), field.type) for field in of.fields]
        return list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in large batches, none of them empty."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield from _one(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield from _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    whole = batches if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()
    yield from (batch for batch in whole if batch.num_rows)


def _bounds(batch: pa.RecordBatch, keys: Sequence[str]) -> Ints:
    """Where stretches of rows with equal keys begin, and the end of the last."""
    changed: Any = None
    for name in keys:
        column = batch.column(name)
        here, before = column.slice(1), column.slice(0, len(column) - 1)
        there, was = pc.is_valid(here), pc.is_valid(before)
        differs = pc.if_else(pc.and_(there, was), pc.not_equal(here, before), pc.xor(there, was))
        changed = differs if changed is None else pc.or_(changed, differs)
    inner = pc.indices_nonzero(changed).to_numpy().astype(np.int64) + 1
    return np.concatenate(([0], inner, [batch.num_rows]))


def _itself(value: Sequence[Any]) -> Sequence[Any]:
    return value

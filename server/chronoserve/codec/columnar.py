"""Avro records of Arrow columns, all rows at once: the bytes that ``encoding`` writes one by one. Needs NumPy, which serving does not.

Where a value goes follows from the sizes of all before it, so every type says how large its values are, then writes them at
the places that came out of that.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronoserve.model import types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType, ListType, StructType

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

VARINT_BYTES_MAX = 10


def can_encode(data_type: DataType) -> bool:
    """Whether ``encoded`` takes values of a type."""
    match data_type:
        case StructType():
            return bool(data_type.fields) and all(can_encode(field.type) for field in data_type.fields)
        case ListType(element):
            return can_encode(element)
        case _:
            return data_type in _PIECES


def encoded(record: StructType, rows: pa.StructArray) -> pa.LargeBinaryArray:
    """A record for each row, none of which is null. Raises InvalidRequest where a list holds a null, as ``encoding`` does."""
    piece = _Struct(record, rows)
    bounds = _bounds(piece.sizes)
    out = np.zeros(bounds[-1], np.uint8)
    piece.write(out, bounds[:-1])
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(rows), [None, pa.py_buffer(bounds), pa.py_buffer(out)])


class _Piece(ABC):
    """Values without nulls. ``sizes``: the bytes that each of them takes."""

    sizes: Ints

    @abstractmethod
    def write(self, out: Bytes, at: Ints) -> None:
        """Each value at its place in ``out``, where zeros are."""


class _Varint(_Piece):
    def __init__(self, numbers: npt.NDArray[Any]) -> None:
        signed = numbers.astype(np.int64, copy=False)
        self._zigzag = ((signed << 1) ^ (signed >> 63)).view(np.uint64)
        self.sizes = np.ones(len(numbers), np.int64)
        largest = int(self._zigzag.max(initial=0))
        for septets in range(1, VARINT_BYTES_MAX):
            if largest >> 7 * septets:
                self.sizes += self._zigzag >= np.uint64(1 << 7 * septets)

    def write(self, out: Bytes, at: Ints) -> None:
        rest, left = self._zigzag, self.sizes
        while len(at):
            more = left > 1
            out[at] = (rest & np.uint64(127)).astype(np.uint8) | (more.astype(np.uint8) << 7)
            rest, left, at = rest[more] >> np.uint64(7), left[more] - 1, at[more] + 1


class _Fixed(_Piece):
    def __init__(self, numbers: npt.NDArray[Any]) -> None:
        self._bytes = numbers.view(np.uint8).reshape(len(numbers), numbers.itemsize)
        self.sizes = np.full(len(numbers), numbers.itemsize)

    def write(self, out: Bytes, at: Ints) -> None:
        out[at[:, None] + np.arange(self._bytes.shape[1])] = self._bytes


class _Text(_Piece):
    """Bytes behind their length."""

    def __init__(self, array: pa.Array) -> None:
        _, bounds, data = array.buffers()
        self._bounds = np.frombuffer(bounds, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
        self._data = np.frombuffer(data or b"", np.uint8)
        self._length = _Varint(np.diff(self._bounds))
        self.sizes = self._length.sizes + np.diff(self._bounds)

    def write(self, out: Bytes, at: Ints) -> None:
        self._length.write(out, at)
        start, end = self._bounds[0], self._bounds[-1]
        out[np.repeat(at + self._length.sizes - self._bounds[:-1], np.diff(self._bounds)) + np.arange(start, end)] = self._data[start:end]


class _List(_Piece):
    """A block of all items behind their number, then a zero; no block where there are none."""

    def __init__(self, element: DataType, array: pa.ListArray) -> None:
        bounds = array.offsets.to_numpy().astype(np.int64)
        self._counts = np.diff(bounds)
        items = array.values.slice(bounds[0], bounds[-1] - bounds[0])
        if items.null_count:
            raise InvalidRequest("a list has a null element, which Avro allows only in fields")
        self._items = _piece(element, items)
        self._items_at = _bounds(self._items.sizes)
        self._bounds = bounds - bounds[0]
        self._number = _Varint(self._counts)
        head = np.where(self._counts > 0, self._number.sizes, 0)
        self._first = head - self._items_at[self._bounds[:-1]]
        self.sizes = head + np.diff(self._items_at[self._bounds]) + 1

    def write(self, out: Bytes, at: Ints) -> None:
        self._number.write(out, at)  # a zero where there are none: the end of the list
        self._items.write(out, np.repeat(at + self._first, self._counts) + self._items_at[:-1])


class _Struct(_Piece):
    def __init__(self, record: StructType, array: pa.StructArray) -> None:
        assert len(record.fields) == array.type.num_fields, "columns of another record"
        self._fields = [_Nullable(field.type, array.field(at)) for at, field in enumerate(record.fields)]
        self.sizes = sum((field.sizes for field in self._fields), np.zeros(len(array), np.int64))

    def write(self, out: Bytes, at: Ints) -> None:
        for field in self._fields:
            field.write(out, at)
            at = at + field.sizes


class _Nullable(_Piece):
    """A field: a union with null."""

    def __init__(self, data_type: DataType, array: pa.Array) -> None:
        if array.null_count:
            self._valid: npt.NDArray[np.bool_] | None = pc.is_valid(array).to_numpy(zero_copy_only=False)
            self._inner = _piece(data_type, array.drop_null())
            self.sizes = np.ones(len(array), np.int64)
            self.sizes[self._valid] += self._inner.sizes
        else:
            self._valid = None
            self._inner = _piece(data_type, array)
            self.sizes = self._inner.sizes + 1

    def write(self, out: Bytes, at: Ints) -> None:
        at = at if self._valid is None else at[self._valid]
        out[at] = 2
        self._inner.write(out, at + 1)


def _piece(data_type: DataType, array: pa.Array) -> _Piece:
    match data_type:
        case StructType():
            return _Struct(data_type, array)
        case ListType(element):
            return _List(element, array)
        case _:
            return _PIECES[data_type](array)


def _bounds(sizes: Ints) -> Ints:
    return np.concatenate(([0], np.cumsum(sizes)))


def _numbers(array: pa.Array) -> npt.NDArray[Any]:
    return array.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _floats(form: str) -> Callable[[pa.Array], _Piece]:
    return lambda array: _Fixed(np.ascontiguousarray(_numbers(array).astype(form, copy=False)))


_PIECES: Mapping[DataType, Callable[[pa.Array], _Piece]] = {
    types.BOOLEAN: lambda array: _Fixed(_numbers(array).astype(np.uint8)),
    types.INT: lambda array: _Varint(_numbers(array)),
    types.LONG: lambda array: _Varint(_numbers(array)),
    types.FLOAT: _floats("<f4"),
    types.DOUBLE: _floats("<f8"),
    types.STRING: lambda array: _Text(array.cast(pa.binary())),
    types.BINARY: lambda array: _Text(array.cast(pa.binary())),
}

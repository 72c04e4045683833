"""Columns over an operation: direct, bucketed, map, vector, element-wise (spec/aggregation-and-codecs.md §6).

A column reads its input from a row (a tuple of decoded values, positional) and carries one IR through it, None as long
as no value has come. The rules of ``Aggregator`` for who may change an IR hold here too.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.operations import TIMED, aggregator
from chronoserve.aggregate.parts import Part
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    DataType,
    ListType,
    MapType,
    StructType,
)

Row = Sequence[Any]
SCALAR = frozenset({INT, LONG, SHORT, DOUBLE, FLOAT, STRING, BINARY, BOOLEAN})
"""Lists of these are vectors; a byte is none of them."""


class Column(ABC):
    """``aggregator`` works on single values; ``at`` is the input's index in a row."""

    ir_type: DataType
    output_type: DataType

    def __init__(self, operation: Aggregator, at: int) -> None:
        self.aggregator = operation
        self.at = at
        self.ir_type = operation.ir_type
        self.output_type = operation.output_type

    @abstractmethod
    def update(self, ir: Any, row: Row, ts: int) -> Any: ...

    def update_all(self, ir: Any, rows: Sequence[Row], times: Sequence[int]) -> Any:
        """As ``update`` with each of ``rows`` in order; ``times`` go with them."""
        for row, ts in zip(rows, times, strict=True):
            ir = self.update(ir, row, ts)
        return ir

    @abstractmethod
    def delete(self, ir: Any, row: Row, ts: int) -> Any:
        """Takes a row back; operations that cannot take values back ignore it, or raise InvalidRequest in maps and lists."""

    @abstractmethod
    def merge(self, ir: Any, other: Any) -> Any: ...

    @abstractmethod
    def merge_all(self, irs: list[Any]) -> Any:
        """All of ``irs`` in order, Nones among them; the first may change."""

    @abstractmethod
    def clone(self, ir: Any) -> Any: ...

    @abstractmethod
    def finalize(self, ir: Any) -> Any: ...

    @abstractmethod
    def stored(self, ir: Any) -> Any: ...

    @abstractmethod
    def loaded(self, stored: Any) -> Any: ...


class Direct(Column):
    """One value a row."""

    def __init__(self, operation: Aggregator, at: int) -> None:
        super().__init__(operation, at)
        self._floating = operation.output_type in (FLOAT, DOUBLE)

    def values(self, row: Row) -> Iterable[Any]:
        value = row[self.at]
        return () if value is None else (value,)

    def update(self, ir: Any, row: Row, ts: int) -> Any:
        for value in self.values(row):
            ir = self.aggregator.prepare(value, ts) if ir is None else self.aggregator.update(ir, value, ts)
        return ir

    def update_all(self, ir: Any, rows: Sequence[Row], times: Sequence[int]) -> Any:
        values, times = self.all_values(rows, times)
        if not values:
            return ir
        if ir is None:
            ir, values, times = self.aggregator.prepare(values[0], times[0]), values[1:], times[1:]
        return self.aggregator.update_all(ir, values, times)

    def all_values(self, rows: Sequence[Row], times: Sequence[int]) -> tuple[Sequence[Any], Sequence[int]]:
        """Those of many rows, and the time of each."""
        at = self.at
        values = [row[at] for row in rows]
        if None not in values:
            return values, times
        return [value for value in values if value is not None], [ts for value, ts in zip(values, times, strict=True) if value is not None]

    def delete(self, ir: Any, row: Row, ts: int) -> Any:
        if self.aggregator.deletable:
            for value in self.values(row):
                ir = self.aggregator.inverse(value, ts) if ir is None else self.aggregator.delete(ir, value, ts)
        return ir

    def merge(self, ir: Any, other: Any) -> Any:
        return merged(self.aggregator, ir, other)

    def merge_all(self, irs: list[Any]) -> Any:
        return all_merged(self.aggregator, irs)

    def clone(self, ir: Any) -> Any:
        return None if ir is None else self.aggregator.clone(ir)

    def finalize(self, ir: Any) -> Any:
        """Numbers that are not finite become null, here and in no other kind of column."""
        if ir is None:
            return None
        output = self.aggregator.finalize(ir)
        return None if self._floating and not isfinite(output) else output

    def stored(self, ir: Any) -> Any:
        return None if ir is None else self.aggregator.stored(ir)

    def loaded(self, stored: Any) -> Any:
        return None if stored is None else self.aggregator.loaded(stored)


class Vector(Direct):
    """A list of values a row; its nulls are skipped."""

    def values(self, row: Row) -> Iterable[Any]:
        return [value for value in row[self.at] or () if value is not None]

    def all_values(self, rows: Sequence[Row], times: Sequence[int]) -> tuple[Sequence[Any], Sequence[int]]:
        pairs = [(value, ts) for row, ts in zip(rows, times, strict=True) for value in self.values(row)]
        return [value for value, _ in pairs], [ts for _, ts in pairs]


class _Keyed(Column):
    """IRs by key, in a dict."""

    def __init__(self, operation: Aggregator, at: int) -> None:
        super().__init__(operation, at)
        self.ir_type = MapType(STRING, operation.ir_type)
        self.output_type = MapType(STRING, operation.output_type)

    def merge(self, ir: Any, other: Any) -> Any:
        if other is None:
            return ir
        if ir is None:
            return self.clone(other)
        for key, value in other.items():
            if value is not None:
                ir[key] = merged(self.aggregator, ir.get(key), value)
        return ir

    def merge_all(self, irs: list[Any]) -> Any:
        keyed = [ir for ir in irs if ir is not None]
        if not keyed:
            return None
        if irs[0] is None:
            keyed[0] = self.clone(keyed[0])
        keys = dict.fromkeys(key for ir in keyed for key in ir)
        return {key: all_merged(self.aggregator, [ir.get(key) for ir in keyed]) for key in keys}

    def clone(self, ir: Any) -> Any:
        return None if ir is None else {key: self.aggregator.clone(value) for key, value in ir.items()}

    def finalize(self, ir: Any) -> Any:
        return None if ir is None else {key: self.aggregator.finalize(value) for key, value in ir.items()}

    def stored(self, ir: Any) -> Any:
        return None if ir is None else {key: self.aggregator.stored(value) for key, value in ir.items()}

    def loaded(self, stored: Any) -> Any:
        return None if stored is None else {key: self.aggregator.loaded(value) for key, value in stored.items()}

    def _updated(self, irs: dict[str, Any], key: str, value: Any, ts: int) -> None:
        ir = irs.get(key)
        irs[key] = self.aggregator.prepare(value, ts) if ir is None else self.aggregator.update(ir, value, ts)

    def _deleted(self, irs: dict[str, Any], key: str, value: Any, ts: int) -> None:
        ir = irs.get(key)
        irs[key] = self.aggregator.inverse(value, ts) if ir is None else self.aggregator.delete(ir, value, ts)


class Bucketed(_Keyed):
    """By the value of another column. ``source``: the column whose values are bucketed, direct or a vector."""

    def __init__(self, source: Direct, bucket_at: int) -> None:
        super().__init__(source.aggregator, source.at)
        self._values = source.values
        self.vector = isinstance(source, Vector)
        self.bucket_at = bucket_at

    def update(self, ir: Any, row: Row, ts: int) -> Any:
        bucket = row[self.bucket_at]
        if bucket is not None:
            for value in self._values(row):
                ir = {} if ir is None else ir
                self._updated(ir, bucket, value, ts)
        return ir

    def delete(self, ir: Any, row: Row, ts: int) -> Any:
        bucket = row[self.bucket_at]
        if bucket is not None and self.aggregator.deletable:
            for value in self._values(row):
                ir = {} if ir is None else ir
                self._deleted(ir, bucket, value, ts)
        return ir


class Mapped(_Keyed):
    """By the keys of a map column. An empty map makes an empty result, not null."""

    def update(self, ir: Any, row: Row, ts: int) -> Any:
        values = row[self.at]
        if values is None:
            return ir
        irs = {} if ir is None else ir
        for key, value in values.items():
            if value is not None:
                self._updated(irs, key, value, ts)
        return irs

    def delete(self, ir: Any, row: Row, ts: int) -> Any:
        values = row[self.at]
        if values is None:
            return ir
        irs = {} if ir is None else ir
        for key, value in values.items():
            if value is not None:
                self._deleted(irs, key, value, ts)
        return irs


class ElementWise(Column):
    """By position in a list column. All lists of a column have one length and no nulls."""

    def __init__(self, operation: Aggregator, at: int) -> None:
        super().__init__(operation, at)
        self.ir_type = ListType(operation.ir_type)
        self.output_type = ListType(operation.output_type)

    def update(self, ir: Any, row: Row, ts: int) -> Any:
        values = self._elements(ir, row)
        if values is None:
            return ir
        if ir is None:
            return [self.aggregator.prepare(value, ts) for value in values]
        return [self.aggregator.update(element, value, ts) for element, value in zip(ir, values, strict=True)]

    def delete(self, ir: Any, row: Row, ts: int) -> Any:
        values = self._elements(ir, row)
        if values is None:
            return ir
        if ir is None:
            return [self.aggregator.inverse(value, ts) for value in values]
        return [self.aggregator.delete(element, value, ts) for element, value in zip(ir, values, strict=True)]

    def merge(self, ir: Any, other: Any) -> Any:
        if other is None:
            return ir
        if ir is None:
            return self.clone(other)
        self._same_length(ir, other)
        return [self.aggregator.merge(a, b) for a, b in zip(ir, other, strict=True)]

    def merge_all(self, irs: list[Any]) -> Any:
        merged_so_far = None
        for ir in irs:
            merged_so_far = self.merge(merged_so_far, ir)
        return merged_so_far

    def clone(self, ir: Any) -> Any:
        return None if ir is None else [self.aggregator.clone(element) for element in ir]

    def finalize(self, ir: Any) -> Any:
        return None if ir is None else [self.aggregator.finalize(element) for element in ir]

    def stored(self, ir: Any) -> Any:
        return None if ir is None else [self.aggregator.stored(element) for element in ir]

    def loaded(self, stored: Any) -> Any:
        return None if stored is None else [self.aggregator.loaded(element) for element in stored]

    def _elements(self, ir: Any, row: Row) -> list[Any] | None:
        values: list[Any] | None = row[self.at]
        if values is not None:
            if None in values:
                raise InvalidRequest("a list has a null element, which an element-wise aggregation cannot take")
            if ir is not None:
                self._same_length(ir, values)
        return values

    @staticmethod
    def _same_length(existing: Sequence[Any], new: Sequence[Any]) -> None:
        if len(existing) != len(new):
            raise InvalidRequest(f"an element-wise aggregation of lists of {len(existing)} elements met one of {len(new)}")


def column(part: Part, input_type: StructType) -> Column:
    """The column that a part makes over rows of ``input_type``.

    Raises:
        InvalidRequest: the row has no such column, or the combination is one that Chronon refuses.
        Unsupported: it needs a library that is not installed.
    """
    at, data_type = _input(input_type, part.input_column)
    simple = part.operation not in TIMED
    if simple and isinstance(data_type, MapType):
        return _mapped(part, at, data_type)
    vector = simple and isinstance(data_type, ListType) and data_type.element in SCALAR
    element = data_type.element if vector and isinstance(data_type, ListType) else data_type
    made = aggregator(part.operation, element, part.arg_map)
    if simple and part.element_wise:
        return _element_wise(part, at, made, vector=vector)
    source = Vector(made, at) if vector else Direct(made, at)
    return source if part.bucket is None else Bucketed(source, _bucket(part.bucket, input_type))


def _mapped(part: Part, at: int, data_type: MapType) -> Column:
    if part.bucket is not None:
        raise InvalidRequest(f"{part.output_name}: a map column cannot be bucketed, its keys are the buckets", field="buckets")
    return Mapped(aggregator(part.operation, data_type.value, part.arg_map), at)


def _element_wise(part: Part, at: int, made: Aggregator, *, vector: bool) -> Column:
    if not vector:
        raise InvalidRequest(f"{part.output_name}: elementWise needs a list of plain values as input", field="elementWise")
    if part.bucket is not None:
        raise InvalidRequest(f"{part.output_name}: an element-wise aggregation cannot be bucketed", field="buckets")
    return ElementWise(made, at)


def _bucket(name: str, input_type: StructType) -> int:
    at, data_type = _input(input_type, name)
    if data_type != STRING:
        raise InvalidRequest(f"bucket {name} must be a string column: cast it in the selects", field="buckets")
    return at


def _input(input_type: StructType, name: str) -> tuple[int, DataType]:
    for at, field in enumerate(input_type.fields):
        if field.name == name:
            return at, field.type
    raise InvalidRequest(f"no column {name} among the inputs: {', '.join(input_type.names) or 'there are none'}", field="inputColumn")


def merged(operation: Aggregator, ir: Any, other: Any) -> Any:
    """Absent on the right leaves the left; absent on the left takes a copy of the right."""
    if other is None:
        return ir
    return operation.clone(other) if ir is None else operation.merge(ir, other)


def all_merged(operation: Aggregator, irs: list[Any]) -> Any:
    present = [ir for ir in irs if ir is not None]
    if not present:
        return None
    if irs[0] is None:
        present[0] = operation.clone(present[0])
    return operation.merge_all(present)

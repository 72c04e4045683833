"""Arrow's columns as the values of ``model.types``, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from chronoserve.model import types
from chronoserve.model.types import DataType, Field, ListType, MapType, StructType, UnknownType
from chronoserve.sql.types import chronon_type

_SCALARS: Mapping[DataType, pa.DataType] = {
    types.BOOLEAN: pa.bool_(),
    types.BYTE: pa.int8(),
    types.SHORT: pa.int16(),
    types.INT: pa.int32(),
    types.LONG: pa.int64(),
    types.FLOAT: pa.float32(),
    types.DOUBLE: pa.float64(),
    types.STRING: pa.string(),
    types.BINARY: pa.binary(),
    types.DATE: pa.date32(),
    types.TIMESTAMP: pa.timestamp("us", "UTC"),
}
_TYPES = {arrow: known for known, arrow in _SCALARS.items()} | {pa.large_string(): types.STRING, pa.large_binary(): types.BINARY}


def struct_of(schema: pa.Schema) -> StructType:
    """A table's columns. Structs inside are named after their columns, as Chronon names them."""
    return StructType("", tuple(Field(field.name, chronon_type(field.name, data_type(field.type))) for field in schema))


def data_type(arrow: pa.DataType) -> DataType:
    """The type of a column; UnknownType, with Spark's name of it, for what Chronon lacks."""
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return ListType(data_type(arrow.value_type))
    if pa.types.is_map(arrow):
        return MapType(data_type(arrow.key_type), data_type(arrow.item_type))
    if pa.types.is_struct(arrow):
        return StructType("", tuple(Field(each.name, data_type(each.type)) for each in arrow))
    if pa.types.is_timestamp(arrow):
        return types.TIMESTAMP
    if pa.types.is_decimal(arrow):
        return UnknownType(f"decimal({arrow.precision},{arrow.scale})")
    return _TYPES.get(arrow) or UnknownType(str(arrow))


def arrow_type(known: DataType) -> pa.DataType:
    """The column that holds values of a type; a column of nulls for an unknown one."""
    match known:
        case ListType(element):
            return pa.list_(arrow_type(element))
        case MapType(key, value):
            return pa.map_(arrow_type(key), arrow_type(value))
        case StructType(_, fields):
            return pa.struct([pa.field(field.name, arrow_type(field.type)) for field in fields])
        case _:
            return _SCALARS.get(known, pa.null())


def values(column: pa.Array, known: DataType) -> list[Any]:
    """A column's values in order, as ``model.types`` describes them."""
    match known:
        case ListType(element):
            return _cut(column, values(column.values, element), list)
        case MapType(key, value):
            pairs = list(zip(values(column.keys, key), values(column.items, value), strict=True))
            return _cut(column, pairs, dict)
        case StructType(_, fields):
            parts = [values(part, field.type) for part, field in zip(column.flatten(), fields, strict=True)]
            rows = zip(*parts, strict=True) if parts else iter([()] * len(column))
            return [row if valid else None for row, valid in zip(rows, column.is_valid().to_pylist(), strict=True)]
        case types.DATE:
            return column.cast(pa.int32()).to_pylist()  # type: ignore[no-any-return]
        case types.TIMESTAMP:
            return column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
        case types.LONG | types.INT | types.DOUBLE | types.FLOAT if not column.null_count:
            return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
        case _:
            return column.to_pylist()  # type: ignore[no-any-return]


def _cut(column: pa.Array, children: list[Any], build: Any) -> list[Any]:
    """Each row's stretch of a list's children. Offsets count from the start of the children, whatever the column's own offset is."""
    bounds = column.offsets.to_pylist()
    return [
        build(children[start:end]) if valid else None
        for start, end, valid in zip(bounds[:-1], bounds[1:], column.is_valid().to_pylist(), strict=True)
    ]


def array(rows: Sequence[Any], known: DataType) -> pa.Array:
    """A column of values; structs by position or by name."""
    plain = rows if known in _SCALARS else [_plain(value, known) for value in rows]
    return pa.array(plain, arrow_type(known), from_pandas=False)


def _plain(value: Any, known: DataType) -> Any:
    if value is None:
        return None
    match known:
        case ListType(element):
            return [_plain(item, element) for item in value]
        case MapType(key, item):
            return [(_plain(name, key), _plain(held, item)) for name, held in value.items()]
        case StructType(_, fields):
            parts = [value.get(field.name) for field in fields] if isinstance(value, Mapping) else value
            return {field.name: _plain(part, field.type) for field, part in zip(fields, parts, strict=True)}
        case UnknownType():
            return None
        case _:
            return value

"""Chronon's values and their types for the tests of the encodings, and what a client reads from a reply."""

import math
import struct
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from chronoserve.model.boxed import Byte, Float, Int, Short
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    DataType,
    Field,
    ListType,
    MapType,
    StructType,
)
from chronoserve.v1 import fetcher_pb2


def as_float(value: float) -> float:
    """The nearest number that 32 bits hold."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.sampled_from(["f" * 120, "f" * 900, "ü" * 60, "f" * 20_000])
INTEGERS = {BYTE: 8, SHORT: 16, INT: 32, LONG: 64, DATE: 32, TIMESTAMP: 64}
PRIMITIVES: Mapping[DataType, st.SearchStrategy[Any]] = {
    **{kind: st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) for kind, bits in INTEGERS.items()},
    DOUBLE: st.floats(),
    FLOAT: st.floats(width=32),
    BOOLEAN: st.booleans(),
    STRING: st.text(st.characters(codec="utf-8"), max_size=200),
    BINARY: st.binary(max_size=200),
}
STRUCT_NAMES = st.lists(st.sampled_from(["a", "b", "ü", "long_name_of_a_field"]), unique=True, max_size=3)


def structs(element: st.SearchStrategy[DataType]) -> st.SearchStrategy[DataType]:
    return STRUCT_NAMES.flatmap(
        lambda names: st.tuples(*(element for _ in names)).map(
            lambda types: StructType("S", tuple(Field(name, kind) for name, kind in zip(names, types, strict=True)))
        )
    )


TYPES: st.SearchStrategy[DataType] = st.recursive(
    st.sampled_from(list(PRIMITIVES)),
    lambda inner: st.builds(ListType, inner) | st.builds(MapType, st.sampled_from([STRING, LONG, BOOLEAN]), inner) | structs(inner),
    max_leaves=4,
)


def values(data_type: DataType) -> st.SearchStrategy[Any]:
    """Values of the type as the fetcher answers them, null among them."""
    return st.none() | _values(data_type)


def _values(data_type: DataType) -> st.SearchStrategy[Any]:
    match data_type:
        case ListType(element):
            return st.lists(values(element), max_size=3)
        case MapType(key, value):
            return st.dictionaries(PRIMITIVES[key], values(value), max_size=3)
        case StructType(_, fields):
            positional = st.tuples(*(values(field.type) for field in fields))
            return positional | positional.map(lambda row: dict(zip(data_type.names, row, strict=True)))
        case _:
            return PRIMITIVES[data_type]


BOXED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.sampled_from([Int(-7), Short(300), Byte(-128), Float(1.5)])
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def typed_rows(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, DataType]]:
    """Features with the types of most of them; what has none is boxed."""
    types = draw(st.dictionaries(NAMES, TYPES, max_size=6))
    features = {name: draw(values(kind)) for name, kind in types.items()}
    features |= draw(st.dictionaries(NAMES.filter(lambda name: name not in types), BOXED, max_size=2))
    return features, types


def field_name(key: object) -> str:
    return {True: "true", False: "false"}[key] if isinstance(key, bool) else str(key)


def expected(value: Any, data_type: DataType | None) -> Any:
    """The value as ``read`` answers it from the wire."""
    match value, data_type:
        case None, _:
            return None
        case bool(), _:
            return value
        case bytes() | str(), _:
            return value
        case int(), _:
            return ("int", int(value))
        case float(), _:
            as_32 = data_type == FLOAT or isinstance(value, Float)
            return ("float" if as_32 else "double", bits(as_float(value) if as_32 else value))
        case tuple(), StructType(_, fields):
            return {field.name: expected(each, field.type) for field, each in zip(fields, value, strict=True)}
        case dict(), StructType():
            return {name: expected(each, data_type.type_of(name)) for name, each in value.items()}
        case dict(), MapType(_, element):
            return {field_name(key): expected(each, element) for key, each in value.items()}
        case dict(), _:
            return {field_name(key): expected(each, None) for key, each in value.items()}
        case _:
            return [expected(each, data_type.element if isinstance(data_type, ListType) else None) for each in value]


def read(value: fetcher_pb2.Value) -> Any:
    """What a client reads: which member is set matters, and so does every bit of a double."""
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "int_value":
            return ("int", value.int_value)
        case "float_value":
            return ("float", bits(value.float_value))
        case "double_value":
            return ("double", bits(value.double_value))
        case "list_value":
            return [read(each) for each in value.list_value.values]
        case "map_value":
            return {name: read(each) for name, each in value.map_value.entries.items()}
        case str() as kind:
            return getattr(value, kind)
        case None:
            raise AssertionError("a Value holds nothing")


def bits(value: float) -> bytes | str:
    return "NaN" if math.isnan(value) else struct.pack("<d", value)


def column_values(column: fetcher_pb2.FeatureColumn, rows_in_call: int) -> dict[int, Any]:
    """Values by row, as ``read`` answers them."""
    rows = list(column.rows) or list(range(rows_in_call))
    nulls = list(column.nulls) or [False] * len(rows)
    assert len(nulls) == len(rows)
    kind = column.WhichOneof("values")
    assert kind is not None
    found = iter(getattr(column, kind).values)
    convert = {
        "int_values": lambda value: ("int", value),
        "float_values": lambda value: ("float", bits(value)),
        "double_values": lambda value: ("double", bits(value)),
        "other_values": read,
    }.get(kind, lambda value: value)
    by_row = {row: None if null else convert(next(found)) for row, null in zip(rows, nulls, strict=True)}
    assert next(found, None) is None, "a value for each place that is not null"
    return by_row

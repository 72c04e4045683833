"""Values that came without types, as JSON's or another service's, in the boxes that their declared type asks for.

Chronon passes on whatever a handler answers, checked against no schema (spec/online-fetch.md §11). So nothing is refused
here: a number takes its declared box where that loses nothing, and what does not fit its type stays as it was read.
"""

import base64
import binascii
import struct
from collections.abc import Callable, Mapping

from chronoserve.model.boxed import INT_MAX, INT_MIN, Byte, Float, Int, Short, as_json_reads
from chronoserve.model.types import (
    BINARY,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    TIMESTAMP,
    DataType,
    ListType,
    MapType,
    StructType,
)

_FLOAT = struct.Struct("<f")

_INTEGERS: Mapping[DataType, tuple[int, int, Callable[[int], int]]] = {
    BYTE: (-(1 << 7), (1 << 7) - 1, Byte),
    SHORT: (-(1 << 15), (1 << 15) - 1, Short),
    INT: (INT_MIN, INT_MAX, Int),
    DATE: (INT_MIN, INT_MAX, Int),
    LONG: (-(1 << 63), (1 << 63) - 1, int),
    TIMESTAMP: (-(1 << 63), (1 << 63) - 1, int),
}


def from_json(values: Mapping[str, object], schema: StructType | None) -> dict[str, object]:
    """The values of a JSON object: declared ones as their type says (bytes are Base64), others as a JSON reader of the JVM boxes them."""
    return {name: boxed(value, schema.type_of(name) if schema else None, json=True) for name, value in values.items()}


def from_service(values: Mapping[str, object], schema: StructType | None) -> dict[str, object]:
    """The same of values whose reader knows integers, floats and bytes apart: what is not declared stays as it is."""
    return {name: boxed(value, schema.type_of(name) if schema else None, json=False) for name, value in values.items()}


def boxed(value: object, data_type: DataType | None, *, json: bool) -> object:
    """``value`` in the box of ``data_type``; as it was read where there is no type, or the value does not fit it."""
    match value, data_type:
        case None | bool(), _:
            return value
        case list() | tuple(), _:
            element = data_type.element if isinstance(data_type, ListType) else None
            return [boxed(each, element, json=json) for each in value]
        case dict(), _:
            return {name: boxed(each, _entry_type(data_type, name), json=json) for name, each in value.items()}
        case int() | float(), _:
            number = _number(value, data_type)
            return _as_read(value, json=json) if number is None else number
        case str(), _ if json and data_type == BINARY:
            return _from_base64(value)
        case _:
            return value


def _entry_type(data_type: DataType | None, name: str) -> DataType | None:
    match data_type:
        case MapType(_, value):
            return value
        case StructType():
            return data_type.type_of(name)
        case _:
            return None


def _number(value: float, data_type: DataType | None) -> float | None:
    """The number in its type's box; None where the type is none of numbers, or cannot hold it."""
    if data_type == DOUBLE:
        return float(value)
    if data_type == FLOAT:
        return _to_float(value)
    found = _INTEGERS.get(data_type) if data_type is not None else None
    if found is None or (isinstance(value, float) and not value.is_integer()):
        return None
    low, high, box = found
    return box(int(value)) if low <= value <= high else None


def _to_float(value: float) -> Float | None:
    try:
        return Float(_FLOAT.unpack(_FLOAT.pack(value))[0])
    except OverflowError:
        return None


def _from_base64(text: str) -> object:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text


def _as_read(value: float, *, json: bool) -> float:
    return as_json_reads(value) if json and type(value) is int else value

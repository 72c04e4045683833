"""chronoserve.v1.Value: from Chronon's values to its bytes, by declared type or by what the value is, and back for keys.

Bodies are made by hand: for a row of features that costs 60 to 75 % of what the generated classes do
(docs/decisions/0009-feature-encodings.md), and the tests check that both give equal messages.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from chronoserve.model.boxed import INT_MAX, INT_MIN, Float, Int
from chronoserve.model.errors import Internal, InvalidRequest
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
    ListType,
    MapType,
    StructType,
)
from chronoserve.model.values import SMALL_VARINTS, varint
from chronoserve.v1 import fetcher_pb2

Encode = Callable[[Any], bytes]
"""A value that is not null as the fields of a Value message."""

NULL = b"\x08\x00"
TRUE, FALSE = b"\x10\x01", b"\x10\x00"
INT_TAG, FLOAT_TAG, DOUBLE_TAG, STRING_TAG, BYTES_TAG, LIST_TAG, MAP_TAG = b"\x18", b"\x25", b"\x29", b"2", b":", b"B", b"J"
FIRST, SECOND = b"\n", b"\x12"
"""Tags of length-delimited fields 1 and 2: an element of a list or an entry of a map; an entry's key and its value."""

pack_float = struct.Struct("<f").pack
pack_double = struct.Struct("<d").pack

SMALL = len(SMALL_VARINTS)
_MASK = (1 << 64) - 1
_LOW_BITS = SMALL.bit_length() - 1
_CONTINUED = tuple(bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(SMALL))
"""The low 14 bits of a longer varint."""


def signed_varint(number: int) -> bytes:
    """An int64 as protobuf writes it: two's complement."""
    if 0 <= number < SMALL:
        return SMALL_VARINTS[number]
    number &= _MASK
    out = b""
    while number >= SMALL:
        out += _CONTINUED[number & SMALL - 1]
        number >>= _LOW_BITS
    return out + SMALL_VARINTS[number]


def length(size: int) -> bytes:
    """A length in front of its bytes."""
    return SMALL_VARINTS[size] if size < SMALL else varint(size)


def utf8(text: str) -> bytes:
    """As Java encodes: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace")


def _integer(value: int) -> bytes:
    return INT_TAG + signed_varint(value)


def _float(value: float) -> bytes:
    return FLOAT_TAG + pack_float(value)


def _double(value: float) -> bytes:
    return DOUBLE_TAG + pack_double(value)


def _boolean(value: bool) -> bytes:
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    raise TypeError


def _string(value: str) -> bytes:
    data = utf8(value)
    return STRING_TAG + length(len(data)) + data


def _bytes(value: bytes) -> bytes:
    return BYTES_TAG + length(len(value)) + value


_PRIMITIVES: Mapping[DataType | None, Encode] = {
    **dict.fromkeys((BYTE, SHORT, INT, LONG, DATE, TIMESTAMP), _integer),
    FLOAT: _float,
    DOUBLE: _double,
    BOOLEAN: _boolean,
    STRING: _string,
    BINARY: _bytes,
}


def encoder(data_type: DataType | None) -> Encode:
    """How values of the type are encoded; None, and types that Chronon lacks: by what each value is."""
    if data_type in _PRIMITIVES:
        return _PRIMITIVES[data_type]
    match data_type:
        case ListType(element):
            return _list_encoder(encoder(element))
        case MapType(_, value):
            return _map_encoder(encoder(value))
        case StructType():
            return _struct_encoder(data_type)
        case _:
            return encode_boxed


def encode(data_type: DataType | None, value: object) -> bytes:
    """One value, null included. A value that is not what its type says is encoded as what it is."""
    if value is None:
        return NULL
    try:
        return encoder(data_type)(value)
    except (TypeError, ValueError, AttributeError, OverflowError, struct.error):
        return encode_boxed(value)


def _list_encoder(element: Encode) -> Encode:
    def encode_list(value: Any) -> bytes:
        bodies = [NULL if each is None else element(each) for each in value]
        return _wrapped(LIST_TAG, b"".join([piece for body in bodies for piece in (FIRST, length(len(body)), body)]))

    return encode_list


def _map_encoder(element: Encode) -> Encode:
    def encode_map(value: Mapping[Any, Any]) -> bytes:
        return _map_of((key_text(key), NULL if each is None else element(each)) for key, each in value.items())

    return encode_map


def _struct_encoder(data_type: StructType) -> Encode:
    names = data_type.names
    encoders = [encoder(field.type) for field in data_type.fields]
    by_name = dict(zip(names, encoders, strict=True))

    def encode_struct(value: Any) -> bytes:
        if isinstance(value, dict):
            return _map_of((name, NULL if each is None else by_name.get(name, encode_boxed)(each)) for name, each in value.items())
        fields = zip(names, encoders, value, strict=True)
        return _map_of((name, NULL if each is None else encode_field(each)) for name, encode_field, each in fields)

    return encode_struct


def encode_boxed(value: Any) -> bytes:
    """A value that no type describes, by its Python type and box. Raises Internal for what none of Chronon's types holds."""
    match value:
        case None:
            return NULL
        case bool():
            return _boolean(value)
        case int():
            return _integer(value)
        case Float():
            return _float(value)
        case float():
            return _double(value)
        case str():
            return _string(value)
        case bytes():
            return _bytes(value)
        case list() | tuple():
            return _list_encoder(encode_boxed)(value)
        case Mapping():
            return _map_encoder(encode_boxed)(value)
        case _ if type(value).__module__ in ("decimal", "datetime"):
            return _string(str(value))
        case _:
            raise Internal(f"a feature is a {type(value).__name__}, which is none of Chronon's types")


def key_text(key: Any) -> str:
    """A map's key as the name of an entry, as Java's JSON writers print it."""
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case None:
            return "null"
        case bytes():
            return key.hex()
        case _:
            return str(key)


def _map_of(entries: Any) -> bytes:
    return _wrapped(MAP_TAG, b"".join([entry(name_part(name), body) for name, body in entries]))


def name_part(name: str) -> bytes:
    """The key of an entry of a map."""
    data = utf8(name)
    return FIRST + length(len(data)) + data


def entry(name: bytes, body: bytes) -> bytes:
    """An entry of field 1, a map of values. ``name``: by ``name_part``."""
    value = SECOND + length(len(body)) + body
    return FIRST + length(len(name) + len(value)) + name + value


def _wrapped(tag: bytes, data: bytes) -> bytes:
    return tag + length(len(data)) + data


# the other way: keys of a request


def decode(value: fetcher_pb2.Value) -> object:
    """A key as ``chronoserve.model.boxed`` says: an integer that fits into 32 bits is an Integer, as JSON readers of the JVM take it.

    Raises:
        InvalidRequest: the Value holds nothing; a null is a ``null_value``.
    """
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "int_value":
        number: int = value.int_value
        return Int(number) if INT_MIN <= number <= INT_MAX else number
    return _decode_rarer(kind, value)


def _decode_rarer(kind: str | None, value: fetcher_pb2.Value) -> object:
    match kind:
        case "null_value":
            return None
        case "float_value":
            return Float(value.float_value)
        case "list_value":
            return [decode(each) for each in value.list_value.values]
        case "map_value":
            return {name: decode(each) for name, each in value.map_value.entries.items()}
        case None:
            raise InvalidRequest("a key has a Value that holds nothing; a null is a null_value", field="keys")
        case _:
            return getattr(value, kind)

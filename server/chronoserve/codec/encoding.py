"""Writers of Avro values: one closure for each type, which coerces as Chronon's ``Row.to`` does (spec §2 "Emitting a value").

Numbers are narrowed as Java narrows them, anything becomes a text where a text is declared; booleans and bytes are never made of
something else. Structs are tuples or lists by position, or dicts by name where a missing field is null. Items of lists and values
of maps may not be null.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from chronoserve.codec.varints import long_bytes
from chronoserve.model import java_numbers, types
from chronoserve.model.boxed import Float
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType, ListType, MapType, Primitive, StructType

Write = Callable[[object, bytearray], None]
"""Appends a value that is not null. Raises Refused."""

_PACK_FLOAT, _PACK_DOUBLE = struct.Struct("<f").pack, struct.Struct("<d").pack
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class Refused(ValueError):
    """A value that its type cannot hold; ``path`` leads to it from the record, ``why`` says what is wrong, both without the value."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path = ""

    def within(self, step: str) -> "Refused":
        self.path = step + self.path
        return self


def utf8(text: str) -> bytes:
    """As Java encodes it: halves of surrogate pairs are joined where both are there, and are ``?`` alone."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        joined = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
        return joined.encode("utf-8", "replace")


def java_text(value: object) -> str:
    """``toString()`` of a value: ``true``, ``1.0E10``, ``[a, 1]``, ``{k=v}``. Raises Refused for bytes, whose text names an address."""
    match value:
        case None:
            return "null"
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case Float():
            return java_numbers.float_text(value)
        case float():
            return java_numbers.double_text(value)
        case list():
            return f"[{', '.join(java_text(item) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{java_text(key)}={java_text(item)}' for key, item in value.items())}}}"
        case _:
            raise Refused(f"a {type(value).__name__} has no text form")


def writer(data_type: DataType) -> Write:
    """Raises InvalidRequest for a type without an Avro form."""
    match data_type:
        case Primitive() if data_type in _PRIMITIVES:
            return _PRIMITIVES[data_type]
        case ListType(element):
            return _list(writer(element))
        case MapType(types.STRING, value):
            return _map(writer(value))
        case StructType():
            return _struct(data_type)
        case _:
            raise InvalidRequest(f"values of the type {types.short_name(data_type)} have no Avro form: cast the column to string")


def _refused(value: object, wanted: str) -> NoReturn:
    raise Refused(f"is a {type(value).__name__} where {wanted} belongs")


def _integer(bits: int) -> Write:
    half = 1 << bits - 1

    def write(value: object, out: bytearray) -> None:
        if type(value) is int and -half <= value < half:
            out += long_bytes(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            out += long_bytes(java_numbers.wrapped(value, bits))
        elif isinstance(value, float):
            out += long_bytes(java_numbers.truncated(value, bits))
        else:
            _refused(value, "a number")

    return write


def _narrow(bits: int) -> Write:
    """A Short or a Byte outside of a record's field: Java narrows a floating number by way of an int."""
    write_int = _integer(bits)

    def write(value: object, out: bytearray) -> None:
        write_int(java_numbers.truncated(value, 32) if isinstance(value, float) else value, out)

    return write


def _float(value: object, out: bytearray) -> None:
    out += _PACK_FLOAT(java_numbers.as_float32(_as_double(value)))


def _double(value: object, out: bytearray) -> None:
    out += _PACK_DOUBLE(value if type(value) is float else _as_double(value))


def _as_double(value: object) -> float:
    if not isinstance(value, float | int) or isinstance(value, bool):
        _refused(value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise Refused("is an integer beyond the range of doubles") from None


def _boolean(value: object, out: bytearray) -> None:
    if not isinstance(value, bool):
        _refused(value, "a boolean")
    out.append(value)


def _string(value: object, out: bytearray) -> None:
    encoded = utf8(value if isinstance(value, str) else java_text(value))
    out += long_bytes(len(encoded))
    out += encoded


def _binary(value: object, out: bytearray) -> None:
    if not isinstance(value, bytes | bytearray | memoryview):
        _refused(value, "bytes")
    out += long_bytes(len(value))
    out += value


_PRIMITIVES: Mapping[DataType, Write] = {
    types.BOOLEAN: _boolean,
    types.BYTE: _narrow(8),
    types.SHORT: _narrow(16),
    types.INT: _integer(32),
    types.LONG: _integer(64),
    types.FLOAT: _float,
    types.DOUBLE: _double,
    types.STRING: _string,
    types.BINARY: _binary,
}


def _list(write_item: Write) -> Write:
    def write(value: object, out: bytearray) -> None:
        if not isinstance(value, list | tuple):
            _refused(value, "a list")
        if value:
            out += long_bytes(len(value))
        index = 0
        try:
            for index, item in enumerate(value):  # noqa: B007 — the handler below needs it
                if item is None:
                    _refused_null()
                write_item(item, out)
        except Refused as refused:
            raise refused.within(f"[{index}]") from None
        out.append(0)

    return write


def _map(write_item: Write) -> Write:
    def write(value: object, out: bytearray) -> None:
        if not isinstance(value, Mapping):
            _refused(value, "a map")
        if value:
            out += long_bytes(len(value))
        step = " key"
        try:
            for key, item in value.items():
                step = " key"
                _string(_refused_null() if key is None else key, out)
                step = "{}"
                write_item(_refused_null() if item is None else item, out)
        except Refused as refused:
            raise refused.within(step) from None
        out.append(0)

    return write


def _refused_null() -> NoReturn:
    raise Refused("is null, which Avro allows only in fields")


def _struct(struct_type: StructType) -> Write:
    """Each field is a union with null. A byte or short in it cannot be written, as Chronon cannot (spec §3.4)."""
    writers = [_field_writer(field.type) for field in struct_type.fields]
    names = struct_type.names

    def write(value: object, out: bytearray) -> None:
        items = _positional(value, names)
        index = 0
        try:
            for index, item in enumerate(items):
                if item is None:
                    out.append(0)
                else:
                    out.append(2)
                    writers[index](item, out)
        except Refused as refused:
            raise refused.within(f".{names[index]}") from None

    return write


def _positional(value: object, names: Sequence[str]) -> Sequence[object]:
    if isinstance(value, tuple | list):
        if len(value) < len(names):
            raise Refused(f"has {len(value)} values where the struct has {len(names)} fields")
        return value if len(value) == len(names) else value[: len(names)]
    if isinstance(value, Mapping):
        return [value.get(name) for name in names]
    _refused(value, "a struct")


def _field_writer(data_type: DataType) -> Write:
    return _unwritable if data_type in {types.BYTE, types.SHORT} else writer(data_type)


def _unwritable(_value: object, _out: bytearray) -> None:
    raise Refused("is a byte or a short, which Chronon cannot store in a field: cast the column to int")

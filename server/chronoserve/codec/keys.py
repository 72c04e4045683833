"""Request keys as the bytes under which uploads and streams stored them (spec/online-fetch.md §6.2, §6.5).

Chronon tries twice: first with the keys as given, where the Java box of a number must be the schema's; then with each key
cast to its column's type, which helps longs, doubles and strings only. ``chronoserve.model.boxed`` says which Python value
is which box.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from chronoserve.codec.avro import REPEATED, type_of
from chronoserve.codec.encoding import Refused, java_text, utf8, writer
from chronoserve.codec.varints import long_bytes
from chronoserve.model import boxed, types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.java_numbers import truncated
from chronoserve.model.naming import sanitize
from chronoserve.model.types import DataType, Field, StructType

_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1
_LONG_TEXT = re.compile(r"[+-]?\d+")
_DOUBLE_TEXT = re.compile(r"[+-]?(NaN|Infinity|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?)", re.ASCII)
_HEX_DOUBLE_TEXT = re.compile(r"([+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+)[fFdD]?")
_BLANKS = "".join(map(chr, range(0x21)))

_NULL, _SOME = b"\x00", b"\x02"
_HEADS = tuple(_SOME + long_bytes(length) for length in range(512))
"""What stands before a text of so many bytes."""

_JAVA_NAMES = {"int": "Long", "Int": "Integer", "float": "Double", "str": "String", "bool": "Boolean"}

WriteKey = Callable[[object], bytes]
"""The bytes of one key, union index included. Raises Refused where the value is not of the very box that the type wants."""


def cast_to(value: object, data_type: DataType) -> object:
    """The cast of Chronon's second attempt, and of keys before they are logged.

    To a long, from numbers (truncated, held within 64 bits) and decimal texts; to a double, from numbers and texts; to a string,
    from anything. Every other type, and a boolean for a number, leaves the value as it is. Raises InvalidRequest for a text
    that is no number.
    """
    if value is None:
        return None
    if data_type == types.LONG:
        return _cast_to_long(value)
    if data_type == types.DOUBLE:
        return _cast_to_double(value)
    if data_type == types.STRING:
        return _cast_to_string(value)
    return value


def _cast_to_long(value: object) -> object:
    match value:
        case bool():
            return value
        case int():
            return int(value)
        case float():
            return truncated(value, 64)
        case str():
            return _parsed_long(value)
        case _:
            return value


def _parsed_long(text: str) -> int:
    if _LONG_TEXT.fullmatch(text) and len(text) < 4000 and _LONG_MIN <= (number := int(text)) <= _LONG_MAX:
        return number
    raise InvalidRequest("a text that is no decimal integer of 64 bits cannot be made a long")


def _cast_to_double(value: object) -> object:
    match value:
        case bool():
            return value
        case int() | float():
            return _widened(value)
        case str():
            return _parsed_double(value)
        case _:
            return value


def _widened(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise InvalidRequest("an integer beyond the range of doubles cannot be made a double") from None


def _parsed_double(text: str) -> float:
    trimmed = text.strip(_BLANKS)
    if _DOUBLE_TEXT.fullmatch(trimmed):
        return float(trimmed.replace("Infinity", "inf") if trimmed[-1] in "yN" else trimmed.rstrip("fFdD"))
    if hexadecimal := _HEX_DOUBLE_TEXT.fullmatch(trimmed):
        return float.fromhex(hexadecimal[1])
    raise InvalidRequest("a text that is no decimal number cannot be made a double")


def _cast_to_string(value: object) -> str:
    try:
        return java_text(value)
    except Refused as refused:
        raise InvalidRequest(refused.why) from None


class KeyCodec:
    """Encodes request keys for one group by. Immutable; may be shared.

    ``type``: the key schema's type, in whose order the keys are written.
    """

    def __init__(self, key_schema: str, key_columns: Sequence[str] = ()) -> None:
        """``key_columns``: the group by's, where they are known: a schema has the sanitised form of their names, in their order.

        Raises InvalidRequest where ``key_schema`` is none that Chronon writes.
        """
        self.type: StructType = type_of(key_schema)
        columns = key_columns if _line_up(self.type.names, key_columns) else self.type.names
        self._keys = [_Key(field, column) for field, column in zip(self.type.fields, columns, strict=True)]
        self.encode: Callable[[Mapping[str, object]], bytes] = self._specialised()

    def encode_as_given(self, keys: Mapping[str, object]) -> bytes:
        """The first attempt alone. Raises InvalidRequest that names the column."""
        return b"".join([key.written(key.found(keys)) for key in self._keys])

    def _encode(self, keys: Mapping[str, object]) -> bytes:
        """Extra keys are ignored. A key that is missing or null is a 0 where it is a number, else null, as it is for Chronon.

        Raises InvalidRequest that names the column whose key is not, and cannot be made, of its type; and the column that is
        missing where Chronon could not see it under either of its names.
        """
        try:
            return b"".join([key.write(key.found(keys)) for key in self._keys])
        except Refused:
            return b"".join([key.written(key.cast(key.found(keys))) for key in self._keys])

    def _specialised(self) -> Callable[[Mapping[str, object]], bytes]:
        """``_encode``, with the way shortened for the common key: one string."""
        if len(self._keys) != 1 or self._keys[0].field.type != types.STRING or self._keys[0].renamed:
            return self._encode
        name, encode = self._keys[0].field.name, self._encode

        def encode_string(keys: Mapping[str, object]) -> bytes:
            value = keys.get(name)
            if type(value) is str and len(value) < 128:
                try:
                    data = value.encode()
                except UnicodeEncodeError:
                    return encode(keys)
                return _HEADS[len(data)] + data
            return encode(keys)

        return encode_string


def _line_up(names: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether a schema with these names was made of these columns."""
    return [name.partition(REPEATED)[0] for name in names] == [sanitize(column).partition(REPEATED)[0] for column in columns]


class _Key:
    """One column of a key: its field in the schema, and the name that requests have for it."""

    def __init__(self, field: Field, column: str) -> None:
        self.field = field
        self.column = column
        self.renamed = column != field.name
        self.write: WriteKey = _key_writer(field.type)

    def found(self, keys: Mapping[str, object]) -> object:
        """The value of either name; a key of the column's own name goes first."""
        if not self.renamed:
            return keys.get(self.field.name)
        for name in (self.column, self.field.name):
            if name in keys:
                return keys[name]
        raise InvalidRequest(f"the key {self.column!r} is missing", field=self.column)

    def cast(self, value: object) -> object:
        try:
            return cast_to(value, self.field.type)
        except InvalidRequest as refused:
            raise InvalidRequest(f"key {self.column!r}: {refused.message}", field=self.column) from None

    def written(self, value: object) -> bytes:
        try:
            return self.write(value)
        except Refused as refused:
            raise InvalidRequest(f"key {self.column!r} {refused.why}", field=self.column) from None


def _key_writer(data_type: DataType) -> WriteKey:
    if data_type in _STRICT:
        return _STRICT[data_type]
    write = writer(data_type)

    def write_key(value: object) -> bytes:
        if value is None:
            return _NULL
        out = bytearray(_SOME)
        write(value, out)
        return bytes(out)

    return write_key


def _boxed(box: type, wanted: str, data_type: DataType, zero: object) -> WriteKey:
    """A number, which is 0 where it is missing."""
    write = writer(data_type)

    def write_key(value: object) -> bytes:
        if value is None:
            value = zero
        elif type(value) is not box:
            raise Refused(f"is a {_java_name(value)} where {wanted} belongs")
        out = bytearray(_SOME)
        write(value, out)
        return bytes(out)

    return write_key


def _java_name(value: object) -> str:
    name = type(value).__name__
    return _JAVA_NAMES.get(name, name)


def _long_key(value: object) -> bytes:
    if type(value) is int and _LONG_MIN <= value <= _LONG_MAX:
        return _SOME + long_bytes(value)
    if value is None:
        return b"\x02\x00"
    raise Refused(f"is a {_java_name(value)} where a Long belongs")


def _string_key(value: object) -> bytes:
    if isinstance(value, str):
        data = utf8(value)
        return (_HEADS[len(data)] if len(data) < len(_HEADS) else _SOME + long_bytes(len(data))) + data
    if value is None:
        return _NULL
    raise Refused(f"is a {_java_name(value)} where a String belongs")


def _boolean_key(value: object) -> bytes:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return b"\x02\x01" if value else b"\x02\x00"
    raise Refused(f"is a {_java_name(value)} where a Boolean belongs")


_int_key = _boxed(boxed.Int, "an Integer", types.INT, 0)
_STRICT: Mapping[DataType, WriteKey] = {
    types.LONG: _long_key,
    types.STRING: _string_key,
    types.BOOLEAN: _boolean_key,
    types.INT: _int_key,
    types.SHORT: _int_key,
    types.BYTE: _int_key,
    types.FLOAT: _boxed(boxed.Float, "a Float", types.FLOAT, 0.0),
    types.DOUBLE: _boxed(float, "a Double", types.DOUBLE, 0.0),
}

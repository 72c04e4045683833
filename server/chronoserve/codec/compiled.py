"""Decoders and encoders of Chronon's records, made once for each schema."""

from collections.abc import Mapping, Sequence

from chronoserve.codec.decoding import Decode, compile_decode
from chronoserve.codec.encoding import Refused, writer
from chronoserve.model.errors import CorruptValue, InvalidRequest
from chronoserve.model.types import StructType


class Decoder:
    """Turns bytes of one schema into tuples, one value for each field. Immutable; may be shared.

    ``decode`` raises CorruptValue where the bytes are of another schema or damaged; bytes after the record are ignored.
    """

    __slots__ = ("decode", "names", "type")

    def __init__(self, data_type: StructType) -> None:
        """Takes some milliseconds: keep decoders. Raises InvalidRequest for a type without an Avro form."""
        self.type = data_type
        self.names: tuple[str, ...] = data_type.names
        self.decode: Decode = compile_decode(data_type)

    def decode_rows(self, values: Sequence[bytes]) -> list[tuple[object, ...]]:
        """Many records; raises CorruptValue where any is corrupt."""
        decode = self.decode
        return [decode(value) for value in values]

    def decode_each(self, values: Sequence[bytes]) -> list[tuple[object, ...] | CorruptValue]:
        """Many records, in their places; where one is corrupt, the error is in its place."""
        return [self._tried(value) for value in values]

    def _tried(self, value: bytes) -> tuple[object, ...] | CorruptValue:
        try:
            return self.decode(value)
        except CorruptValue as corrupt:
            return corrupt

    def decode_columns(self, values: Sequence[bytes]) -> list[tuple[object, ...]]:
        """One tuple for each field, as long as ``values``; raises CorruptValue where any is corrupt."""
        return list(zip(*self.decode_rows(values), strict=True)) if values else [()] * len(self.names)


class Encoder:
    """Turns rows of one schema into bytes, coercing values as ``codec.encoding`` says."""

    __slots__ = ("_write", "type")

    def __init__(self, data_type: StructType) -> None:
        """Raises InvalidRequest for a type without an Avro form."""
        self.type = data_type
        self._write = writer(data_type)

    def encode(self, row: Sequence[object] | Mapping[str, object]) -> bytes:
        """One record: by position, or by name where a missing field is null. Raises InvalidRequest that names the field."""
        out = bytearray()
        try:
            self._write(row, out)
        except Refused as refused:
            path = refused.path.removeprefix(".")
            raise InvalidRequest(f"{path or 'the row'} {refused.why}", field=path) from None
        return bytes(out)


def decoder(data_type: StructType) -> Decoder:
    return Decoder(data_type)


def encoder(data_type: StructType) -> Encoder:
    return Encoder(data_type)

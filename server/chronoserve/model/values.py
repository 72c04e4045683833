"""Timed values as they travel from a store to the wire: the bytes of a chronoserve.v1.GetResponse.

A *timed value* is ``0a <length> (0a <length> <value> 10 <millis>)``: one ``values`` field of that message. Several in
a row are the list of values of a key, none (``b""``) is a miss. Stores keep exactly these bytes, so a read needs no
decoding between the engine and the client, and ``protoc --decode chronoserve.v1.GetResponse`` reads what is stored.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chronoserve.model.errors import CorruptValue

VALUES_TAG = 0x0A
BYTES_TAG = 0x0A
MILLIS_TAG = 0x10
VARINT_BYTES_MAX = 10


class TimedValue(NamedTuple):
    """``millis``: event time in epoch milliseconds."""

    bytes: bytes
    millis: int


def varint(number: int) -> bytes:
    """A non-negative integer as a protobuf varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


SMALL_VARINTS = tuple(varint(n) for n in range(1 << 14))


def encode(value: bytes, millis: int) -> bytes:
    """One timed value in its travelling form. proto3 leaves out empty bytes and a zero time, and so does this."""
    body = b"".join((b"\n", varint(len(value)), value)) if value else b""
    if millis:
        body += b"\x10" + varint(millis)
    return b"".join((b"\n", varint(len(body)), body))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and the offset behind it. A varint has ten bytes at most, whatever the data claims."""
    number = 0
    for shift in range(0, 7 * VARINT_BYTES_MAX, 7):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
    raise CorruptValue("a stored value has a number that does not end")


def iterate(data: bytes) -> Iterator[tuple[int, int, TimedValue]]:
    """The timed values in ``data`` in order, each with its start and end offsets.

    Raises:
        CorruptValue: ``data`` is not a row of timed values.
    """
    at, size = 0, len(data)
    try:
        while at < size:
            start = at
            if data[at] != VALUES_TAG:
                raise CorruptValue("a stored value does not have the layout of chronoserve.v1.GetResponse")
            length, at = _read_varint(data, at + 1)
            end = at + length
            value, millis = b"", 0
            if at < end and data[at] == BYTES_TAG:
                length, at = _read_varint(data, at + 1)
                value = data[at : at + length]
                at += length
            if at < end and data[at] == MILLIS_TAG:
                millis, at = _read_varint(data, at + 1)
            if at != end or end > size:
                raise CorruptValue("a stored value does not have the layout of chronoserve.v1.GetResponse")
            yield start, end, TimedValue(value, millis)
    except IndexError:
        raise CorruptValue("a stored value ends before its length says") from None


def decode(data: bytes) -> list[TimedValue]:
    """The timed values in ``data``, in order; empty for a miss.

    Raises:
        CorruptValue: ``data`` is not a row of timed values.
    """
    return [value for _, _, value in iterate(data)]


def latest(data: bytes) -> TimedValue | None:
    """The newest of the values in ``data``; None for a miss."""
    return max(decode(data), key=lambda value: value.millis, default=None)


def since(data: bytes, after_ts_millis: int) -> bytes:
    """``data`` without the values before ``after_ts_millis`` (inclusive, K3)."""
    return b"".join(data[start:end] for start, end, value in iterate(data) if value.millis >= after_ts_millis)

"""Avro's integers, lengths and block counts: zig-zag varints, at most ten bytes long."""

from collections.abc import Callable

from chronoserve.model.boxed import INT_MAX, INT_MIN

ZIGZAG = tuple((byte >> 1) ^ -(byte & 1) for byte in range(128))
"""The number that one byte without a continuation bit is."""
LENGTH = tuple(byte >> 1 if byte < 128 and not byte & 1 else -1 for byte in range(256))
"""The length that one byte is; -1 where it is none by itself."""

_BITS_64 = 1 << 64
_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1


class Malformed(ValueError):
    """Bytes that no Avro writer makes."""


def read_long(data: bytes, start: int) -> tuple[int, int]:
    """The long at ``start``, and where it ends. Raises Malformed, or IndexError where the data ends first.

    Written out up to the six bytes that times in epoch millis have. Continuation bits are subtracted once, not masked one by one.
    """
    first = data[start]
    if first < 128:
        return ZIGZAG[first], start + 1
    second = data[start + 1]
    if second < 128:
        number = first + (second << 7) - 0x80
        return (number >> 1) ^ -(number & 1), start + 2
    third = data[start + 2]
    if third < 128:
        number = first + (second << 7) + (third << 14) - 0x4080
        return (number >> 1) ^ -(number & 1), start + 3
    fourth = data[start + 3]
    number = first + (second << 7) + (third << 14) + (fourth << 21) - 0x20_4080
    if fourth < 128:
        return (number >> 1) ^ -(number & 1), start + 4
    fifth = data[start + 4]
    if fifth < 128:
        number += (fifth << 28) - 0x1000_0000
        return (number >> 1) ^ -(number & 1), start + 5
    sixth = data[start + 5]
    if sixth < 128:
        number += (fifth << 28) + (sixth << 35) - 0x8_1000_0000
        return (number >> 1) ^ -(number & 1), start + 6
    return _read_to_the_end(data, start + 6, number + (fifth << 28) + (sixth << 35) - 0x408_1000_0000)


def _read_to_the_end(data: bytes, position: int, number: int) -> tuple[int, int]:
    shift = 42
    while (byte := data[position]) > 127:
        number += (byte - 128) << shift
        shift += 7
        position += 1
        if shift > 63:
            raise Malformed
    number += byte << shift
    if number >= _BITS_64:
        raise Malformed
    return (number >> 1) ^ -(number & 1), position + 1


def read_int(data: bytes, start: int) -> tuple[int, int]:
    """As ``read_long``, of 32 bits."""
    number, end = read_long(data, start)
    if not INT_MIN <= number <= INT_MAX:
        raise Malformed
    return number, end


def read_narrow(bits: int) -> Callable[[bytes, int], tuple[int, int]]:
    """A reader as ``read_long``, of signed numbers of that many bits."""
    limit = 1 << bits - 1

    def read(data: bytes, start: int) -> tuple[int, int]:
        number, end = read_long(data, start)
        if not -limit <= number < limit:
            raise Malformed
        return number, end

    return read


def read_length(data: bytes, start: int) -> tuple[int, int]:
    """The length of a text or of bytes, and where it ends. It may reach beyond the data: whoever slices sees that."""
    number, end = read_long(data, start)
    if number < 0:
        raise Malformed
    return number, end


def read_sized_block(data: bytes, start: int, count: int) -> tuple[int, int]:
    """What follows a negative ``count`` of items: their size in bytes, which is not needed. Returns the number of items."""
    _, end = read_length(data, start)
    return -count, end


def long_bytes(number: int) -> bytes:
    """The bytes of a long; raises OverflowError beyond 64 bits."""
    if not _LONG_MIN <= number <= _LONG_MAX:
        raise OverflowError
    rest = (number << 1) ^ (number >> 63)
    if rest < 0x80:
        return _ONE_BYTE[rest]
    if rest < 0x4000:
        return bytes((rest & 127 | 128, rest >> 7))
    if rest < 0x20_0000:
        return bytes((rest & 127 | 128, rest >> 7 & 127 | 128, rest >> 14))
    written = []
    while rest > 127:
        written.append(rest & 127 | 128)
        rest >>= 7
    written.append(rest)
    return bytes(written)


_ONE_BYTE = tuple(bytes([byte]) for byte in range(128))

"""Timed values out of their travelling form (model.values), fast for what fetches read: one newest value, or many small ones.

Both have the general reader behind them and answer exactly what it answers; only the shapes that stores write in bulk are
read by shorter paths (bench/fetch_inprocess.py: 200 values in 45 us against 250).
"""

import struct
from typing import NamedTuple

from chronoserve.model import values

_SLICE = 7
"""Bytes of a time with its tag, for times between 2004 and 3084: every one of them is a varint of six bytes."""
_LANE_TAG = values.MILLIS_TAG
_CONTINUED = 0x0000_8080_8080_8000
"""The continuation bits of such a time in its lane of eight bytes, tag first: five set, the last one clear."""
_ENDS = 0x0080_8080_8080_8000
_MASKS = tuple((0x7F << (8 * at), at) for at in range(6))


class TimedRows(NamedTuple):
    """Values with their times in epoch milliseconds, both in the order of the store."""

    values: list[bytes]
    times: list[int]


def newest(data: bytes) -> tuple[bytes, int] | None:
    """The value with the greatest time, and that time; None for a miss. Of equal times the first.

    Raises:
        CorruptValue: ``data`` is not a row of timed values.
    """
    if not data:
        return None
    size = len(data)
    if size > 16 and data[0] == values.VALUES_TAG:
        length, at = data[1], 2
        if length > 0x7F:
            length, at = length & 0x7F | data[2] << 7, 3
            if length > 0x3FFF:
                length, at = length & 0x3FFF | data[3] << 14, 4
        if at + length == size and data[at] == values.BYTES_TAG and data[size - _SLICE] == values.MILLIS_TAG and size - at > 9:
            found = _only(data, at + 1, size - _SLICE)
            if found is not None:
                return found
    latest = values.latest(data)
    return None if latest is None else (latest.bytes, latest.millis)


def _only(data: bytes, at: int, end: int) -> tuple[bytes, int] | None:
    """The value whose length stands at ``at`` and which ends at ``end``, where a time of six bytes follows; None if it is not so."""
    length = data[at]
    at += 1
    if length > 0x7F:
        length, at = length & 0x7F | data[at] << 7, at + 1
        if length > 0x3FFF:
            length, at = length & 0x3FFF | data[at] << 14, at + 1
    lane = int.from_bytes(data[end : end + _SLICE], "little")
    if at + length != end or lane & _ENDS != _CONTINUED:
        return None
    bits = lane >> 8
    millis = (
        bits & 0x7F
        | bits >> 1 & 0x3F80
        | bits >> 2 & 0x1F_C000
        | bits >> 3 & 0xFE0_0000
        | bits >> 4 & 0x7_F000_0000
        | bits >> 5 & 0x3F8_0000_0000
    )
    return data[at:end], millis


def rows(data: bytes) -> TimedRows:
    """Every value in ``data``.

    Raises:
        CorruptValue: ``data`` is not a row of timed values.
    """
    if not data:
        return TimedRows([], [])
    found = _small(data)
    if found is not None:
        return found
    decoded = values.decode(data)
    return TimedRows([value.bytes for value in decoded], [value.millis for value in decoded])


def _small(data: bytes) -> TimedRows | None:
    """The values where all of them and their times have the usual lengths; None where one has not."""
    found: list[bytes] = []
    stamps: list[bytes] = []
    take, stamp = found.append, stamps.append
    at, size = 0, len(data)
    try:
        while at < size:
            length = data[at + 1]
            if length < 0x80:
                end = at + 4 + data[at + 3]
                take(data[at + 4 : end])
                at += 2 + length
            else:
                body = at + 3
                length = length & 0x7F | data[at + 2] << 7
                inner = data[body + 1]
                if inner < 0x80:
                    end = body + 2 + inner
                    take(data[body + 2 : end])
                else:
                    end = body + 3 + (inner & 0x7F | data[body + 2] << 7)
                    take(data[body + 3 : end])
                at = body + length
            stamp(data[end:at])
    except IndexError:
        return None
    times = _times(stamps) if at == size else None
    return None if times is None else TimedRows(found, times)


def _times(stamps: list[bytes]) -> list[int] | None:
    """Times with their tags as integers, all in one go: each in its lane of eight bytes of one large number.

    None where one is not six bytes behind its tag, and so no time that this reads.
    """
    count = len(stamps)
    lanes = b"\0".join(stamps)
    if len(lanes) != 8 * count - 1:
        return None
    number = int.from_bytes(lanes, "little")
    ones = _ones(count)
    if number & ones * (_ENDS | 0xFF) != ones * (_CONTINUED | _LANE_TAG):
        return None
    number >>= 8
    millis = 0
    for mask, shift in _MASKS:
        millis |= (number & ones * mask) >> shift
    return list(struct.unpack(f"<{count}q", millis.to_bytes(8 * count, "little")))


def _ones(count: int) -> int:
    """A one in each of ``count`` lanes."""
    if count < len(_ONES):
        return _ONES[count]
    return int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")


_ONES = tuple(int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little") for count in range(257))

"""The stored image of a CPC sketch, judged before the library sees it.

The library trusts what an image says: a row or a column out of range makes it write outside of its memory. So the counts in
the header are held against the length, the coded pairs are read here first, and a window's stream gets so many ones behind it
that none of its codes can run past the end.

Layout: a header of 8 bytes (its length in ints, version, family, lg k, first interesting column, flags, hash of the seed);
coupons; with both parts, pairs of the table; with a history and a window or neither part, two doubles; words of the table;
words of the window; a lone table's two doubles; the window's stream; the table's stream. All numbers little endian.
"""

import re
import struct
from functools import cache, lru_cache
from typing import NamedTuple

from chronoserve.aggregate.murmur import murmur3
from chronoserve.model.errors import CorruptValue

LG_K = range(4, 27)
_SEED = 9001
_SEED_HASH = 0x93CC
_FAMILY = 16
_HEADER = struct.Struct("<BBBBBBH")
_SEEN, _COMPRESSED, _HISTORY, _TABLE, _WINDOW = 1, 2, 4, 8, 16
_BOTH = _TABLE | _WINDOW
_INTS = {0: 2, _HISTORY: 2, _TABLE: 4, _TABLE | _HISTORY: 8, _WINDOW: 4, _WINDOW | _HISTORY: 8, _BOTH: 6, _BOTH | _HISTORY: 10}
_COLUMNS = 64
_WINDOW_COLUMNS = 8
_COUPONS_A_ROW = 59
"""More would move a window past the last column."""
_LONGEST_CODE = 12
_LOOK_AHEAD = 10
_KEPT, _KEPT_BYTES = 4096, 160
"""Small images that were judged lately are known again: those of hops, which come with each request for a key."""


class _Layout(NamedTuple):
    lg_k: int
    ints: int
    pairs: int
    """0: no table."""
    table_at: int
    table: int
    window_at: int
    window: int
    """In words, as ``table``; ``*_at``: where the header says so. 0: no window."""


def empty(lg_k: int) -> bytes:
    """The image of a union of sketches that saw nothing, as Java writes it."""
    return _HEADER.pack(2, 1, _FAMILY, lg_k, 0, _COMPRESSED, _SEED_HASH)


def singleton(value: bytes, lg_k: int) -> bytes:
    """The image of a sketch that saw one value."""
    row, column = coupon(value, lg_k)
    code = _codes()[column]
    stream = int((code + "1" + f"{row:0{lg_k}b}"[::-1])[::-1], 2)
    words = -(-(len(code) + 1 + max(lg_k, 10)) // 32)
    header = _HEADER.pack(4, 1, _FAMILY, lg_k, 0, _COMPRESSED | _TABLE, _SEED_HASH)
    return header + struct.pack("<II", 1, words) + stream.to_bytes(4 * words, "little")


def coupon(value: bytes, lg_k: int) -> tuple[int, int]:
    """Where a value falls in a sketch: (row, column)."""
    h1, h2 = murmur3(value, _SEED)
    return h1 & (1 << lg_k) - 1, min(64 - h2.bit_length(), _COLUMNS - 1)


def checked(image: bytes) -> bytes:
    """An image that the library reads to the same sketch, and within bounds.

    Raises:
        CorruptValue: the image is none of a CPC sketch.
    """
    return _checked_lately(image) if len(image) <= _KEPT_BYTES else _checked(image)


def _checked(image: bytes) -> bytes:
    layout = _layout(image)
    if not layout.pairs and not layout.window:
        return image
    table_start = 4 * (layout.ints + layout.window)
    if layout.pairs:
        _check_pairs(image[table_start:], layout)
    return _with_room(image, layout, table_start) if layout.window else image


_checked_lately = lru_cache(maxsize=_KEPT)(_checked)


def _layout(image: bytes) -> _Layout:
    if len(image) < _HEADER.size:
        raise _corrupt()
    ints, version, family, lg_k, column, flags, seed_hash = _HEADER.unpack_from(image)
    kind = flags & (_HISTORY | _BOTH)
    if (version, family, seed_hash, flags & ~kind & ~_SEEN) != (1, _FAMILY, _SEED_HASH, _COMPRESSED):
        raise _corrupt()
    if lg_k not in LG_K or column >= _COLUMNS or ints != _INTS[kind] or len(image) < 4 * ints:
        raise _corrupt()
    layout = _counted(image, ints, lg_k, kind) if kind & _BOTH else _Layout(lg_k, ints, 0, 0, 0, 0, 0)
    if 4 * (ints + layout.table + layout.window) != len(image):
        raise _corrupt()
    return layout


def _counted(image: bytes, ints: int, lg_k: int, kind: int) -> _Layout:
    """A table alone lists all coupons; a window, which every sketch of k/2 coupons has, leaves it the exceptions."""
    coupons, second = struct.unpack_from("<II", image, 8)
    at = 12
    if kind & _BOTH == _BOTH:
        at += 20 if kind & _HISTORY else 4
    table_at, window_at = at, at + 4 if kind & _TABLE else at
    (table,) = struct.unpack_from("<I", image, table_at) if kind & _TABLE else (0,)
    (window,) = struct.unpack_from("<I", image, window_at) if kind & _WINDOW else (0,)
    pairs = second if kind & _BOTH == _BOTH else coupons if kind & _TABLE else 0
    windowed = bool(kind & _WINDOW)
    if windowed != (2 * coupons >= 1 << lg_k) or not 0 < coupons <= _COUPONS_A_ROW << lg_k or pairs > coupons:
        raise _corrupt()
    if (kind & _TABLE and not 0 < pairs <= 16 * table) or (windowed and 1 << lg_k > 32 * window):
        raise _corrupt()
    return _Layout(lg_k, ints, pairs, table_at, table, window_at, window)


def _check_pairs(stream: bytes, layout: _Layout) -> None:
    """Each pair: a code for the column's distance, and the row's in Golomb's code, whose quotient is unary.

    The library looks a code's length ahead; behind the last pair there must be as much as its writers leave there.
    """
    low_bits = max((1 << layout.lg_k) // layout.pairs, 1).bit_length() - 1
    bits = f"{int.from_bytes(stream, 'little'):0{8 * len(stream)}b}"[::-1]
    end = _all_pairs(low_bits, layout.pairs).match(bits)
    if end is None or end.end() + max(_LOOK_AHEAD - low_bits, 0) > len(bits):
        raise _corrupt()
    columns = _columns()
    last = _COLUMNS - 1 - (_WINDOW_COLUMNS if layout.window else 0)
    none = "0" * low_bits
    row, column = 0, -1
    for code, zeros, low in _pair(low_bits).findall(bits, 0, end.end()):
        if zeros or low != none:
            row += (len(zeros) << low_bits) + (int(low[::-1], 2) if low else 0)
            column = -1
        column += 1 + columns[code]
        if column > last:
            raise _corrupt()
    if row >> layout.lg_k:
        raise _corrupt()


_CODE = r"1{0,4}0|11111(?:00|01[01])|111111(?:000[01]|00100|(?!000|00100)[01]{6})"


@cache
def _pair(low_bits: int) -> re.Pattern[str]:
    """One pair, lowest bit first."""
    return re.compile(f"({_CODE})(0*)1([01]{{{low_bits}}})")


@lru_cache(maxsize=_KEPT)
def _all_pairs(low_bits: int, pairs: int) -> re.Pattern[str]:
    return re.compile(f"(?:(?:{_CODE})0*1[01]{{{low_bits}}}){{{pairs}}}")


@cache
def _codes() -> tuple[str, ...]:
    """The prefix code of column distances, lowest bit first: nearly unary, and no longer than 12 bits."""
    short = ("0", "10", "110", "1110", "11110", "1111100", "11111010", "11111011", "1111110000", "1111110001", "11111100100")
    return short + tuple(f"111111{distance - 1:06b}" for distance in range(len(short), _COLUMNS + 1))


@cache
def _columns() -> dict[str, int]:
    return {code: distance for distance, code in enumerate(_codes())}


def _with_room(image: bytes, layout: _Layout, table_start: int) -> bytes:
    """With so many ones behind the window's stream that all its codes find bits to be read from."""
    more = -(-(_LONGEST_CODE << layout.lg_k) // 32) + 2
    head = bytearray(image[: 4 * layout.ints])
    struct.pack_into("<I", head, layout.window_at, layout.window + more)
    return b"".join((head, image[4 * layout.ints : table_start], b"\xff" * (4 * more), image[table_start:]))


def _corrupt() -> CorruptValue:
    return CorruptValue("an APPROX_UNIQUE_COUNT is no image of a CPC sketch")

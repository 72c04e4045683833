"""The order of Scala 2.12's immutable maps: insertion up to four entries, beyond that a trie over hash codes.

Hash codes of numbers are those that make equal numbers of any type meet: a double with no fraction hashes as the integer,
one that a float holds as the float. All are unsigned numbers of 32 bits.
"""

import struct
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

from chronoserve.aggregate.java import double_hash, long_hash
from chronoserve.model.java_numbers import as_float32

_MASK = 0xFFFFFFFF
_IN_ORDER_MAX = 4
_LEVEL_BITS = 5


def scala_order(entries: Iterable[tuple[Any, int]], key_hash: Callable[[Any], int]) -> list[tuple[Any, int]]:
    """Entries, put one after another into an immutable map, as it iterates over them."""
    listed = list(entries)
    return listed if len(listed) <= _IN_ORDER_MAX else sorted(listed, key=lambda entry: _path(key_hash(entry[0])))


def scala_long_hash(number: int) -> int:
    return number & _MASK if -0x80000000 <= number <= 0x7FFFFFFF else long_hash(number)


def scala_double_hash(number: float) -> int:
    if isfinite(number) and number == int(number) and abs(number) < 1 << 63:
        return scala_long_hash(int(number))
    if as_float32(number) == number:
        return int.from_bytes(struct.pack(">f", number), "big")
    return double_hash(number)


def _path(hashed: int) -> tuple[int, ...]:
    """Through the trie, five bits a level, lowest first; of the hash code after Scala has spread it."""
    spread = hashed + (~(hashed << 9) & _MASK) & _MASK
    spread ^= spread >> 14
    spread = spread + (spread << 4) & _MASK
    spread ^= spread >> 10
    return tuple(spread >> shift & 31 for shift in range(0, 32, _LEVEL_BITS))

"""Java's numbers as SQL has them: how they wrap and narrow. Their texts are those of model.java_numbers."""

import math
import struct
from collections.abc import Callable

SINGLE = struct.Struct("<f")
LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1
INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1


def float32(number: float) -> float:
    """The nearest float of 32 bits; infinite where it overflows."""
    try:
        return SINGLE.unpack(SINGLE.pack(number))[0]  # type: ignore[no-any-return]
    except OverflowError:
        return math.copysign(math.inf, number)


def wrapped(bits: int) -> Callable[[int], int]:
    """A function that keeps an integer's lowest ``bits`` bits, as two's complement."""
    half, mask = 1 << (bits - 1), (1 << bits) - 1

    def wrap(number: int) -> int:
        return ((number + half) & mask) - half

    return wrap


wrap_byte, wrap_short, wrap_int, wrap_long = wrapped(8), wrapped(16), wrapped(32), wrapped(64)


def saturated(number: float, low: int, high: int) -> int:
    """Java's ``(int)`` or ``(long)`` of a floating number: towards zero, NaN is 0, what is too large is the limit."""
    if number != number:  # noqa: PLR0124 - NaN
        return 0
    if number >= high:
        return high
    return low if number <= low else int(number)


def double_to_long(number: float) -> int:
    return saturated(number, LONG_MIN, LONG_MAX)


def double_to_int(number: float) -> int:
    return saturated(number, INT_MIN, INT_MAX)

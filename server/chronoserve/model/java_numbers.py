"""How Java narrows numbers and prints them: what Chronon does to values whose declared type is another number, or text."""

import math
import struct

_FLOAT = struct.Struct("<f")
_DECIMAL_FROM, _DECIMAL_BELOW = 1e-3, 1e7
"""Java prints magnitudes in this range without an exponent."""


def wrapped(number: int, bits: int) -> int:
    """The lowest ``bits`` of a two's complement number: ``Long.intValue`` and its like."""
    half = 1 << bits - 1
    return (number + half & (1 << bits) - 1) - half


def truncated(number: float, bits: int) -> int:
    """Toward zero, held at the ends of a signed number of ``bits``, NaN as 0: Java's cast of a double."""
    if number != number:  # noqa: PLR0124 — NaN
        return 0
    limit = 1 << bits - 1
    if -limit <= number < limit:
        return int(number)
    return limit - 1 if number > 0 else -limit


def as_float32(number: float) -> float:
    """The nearest number that 32 bits hold; infinite beyond their range."""
    try:
        return float(_FLOAT.unpack(_FLOAT.pack(number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def double_text(number: float) -> str:
    """``Double.toString``: ``1.5``, ``1.0E10``, ``NaN``. The shortest digits that read back the same.

    JDK 18 and older print a digit or two more for a few magnitudes beyond 2**52, which nobody should store by text.
    """
    return _laid_out(_two_figures(repr(abs(number)), number), number)


def float_text(number: float) -> str:
    """``Float.toString`` of a number that 32 bits hold."""
    magnitude = abs(number)
    shortest = next((text for text in (f"{magnitude:.{digits}g}" for digits in range(1, 9)) if as_float32(float(text)) == magnitude), None)
    return _laid_out(_two_figures(shortest or f"{magnitude:.9g}", number), number)


def _two_figures(digits: str, number: float) -> str:
    """Where one figure is enough, Java prints two, the nearest: the smallest double is 4.9E-324, not 5.0E-324."""
    return f"{abs(number):.1e}" if digits[1:2] == "e" else digits


def _laid_out(digits: str, number: float) -> str:
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    sign = "-" if math.copysign(1.0, number) < 0 else ""
    if number == 0:
        return f"{sign}0.0"
    mantissa, _, exponent = digits.partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    figures = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(figures)
    figures = figures.rstrip("0") or "0"
    if _DECIMAL_FROM <= abs(number) < _DECIMAL_BELOW:
        return sign + _decimal(figures, point)
    return f"{sign}{figures[0]}.{figures[1:] or '0'}E{point - 1}"


def _decimal(figures: str, point: int) -> str:
    if point <= 0:
        return f"0.{'0' * -point}{figures}"
    return f"{figures[:point].ljust(point, '0')}.{figures[point:] or '0'}"

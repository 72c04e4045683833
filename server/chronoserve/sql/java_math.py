"""Functions of doubles whose last bit Java computes otherwise than the C library does.

Java's StrictMath is the freely available fdlibm; where Spark calls it (or a formula over it), so do these.
"""

import math
from decimal import MAX_EMAX, MIN_EMIN, Context

WIDE = Context(prec=800, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Wide enough for any double written out."""
LN2 = math.log(2.0)
DEGREES_PER_RADIAN = 180.0 / math.pi
RADIANS_PER_DEGREE = math.pi / 180.0


def power(base: float, exponent: float) -> float:
    """``Math.pow``: NaN where 1 meets NaN or infinity, and for negative bases to fractions; never an error."""
    if exponent != exponent or (abs(base) == 1.0 and math.isinf(exponent)):  # noqa: PLR0124 - NaN
        return math.nan
    if base != base:  # noqa: PLR0124 - NaN
        return 1.0 if exponent == 0 else math.nan
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        if base == 0:
            return math.copysign(math.inf, base) if exponent % 2 == 1 else math.inf
        return math.nan


def rint(number: float) -> float:
    if number - number != 0 or abs(number) >= 1 << 52:
        return number
    return math.copysign(float(round(number)), number)


def cube_root(number: float) -> float:
    return math.cbrt(number)


def expm1(number: float) -> float:
    return math.expm1(number)


def log1p(number: float) -> float:
    return math.log1p(number)


def log2(number: float) -> float:
    return math.log(number) / LN2


def sine(number: float) -> float:
    return math.sin(number)


def cosine(number: float) -> float:
    return math.cos(number)


def tangent(number: float) -> float:
    return math.tan(number)


def sinh(number: float) -> float:
    try:
        return math.sinh(number)
    except OverflowError:
        return math.copysign(math.inf, number)


def cosh(number: float) -> float:
    return math.cosh(number)


def tanh(number: float) -> float:
    return math.tanh(number)


def asinh(number: float) -> float:
    """Spark's formula, which is not the library's: infinite where the square overflows."""
    if number == -math.inf:
        return number
    try:
        return math.log(number + math.sqrt(number * number + 1.0))
    except ValueError:
        return -math.inf


def acosh(number: float) -> float:
    return math.log(number + math.sqrt(number * number - 1.0))


def atanh(number: float) -> float:
    if abs(number) == 1.0:
        return math.copysign(math.inf, number)
    return 0.5 * (math.log1p(number) - math.log1p(-number))


def degrees(number: float) -> float:
    return number * DEGREES_PER_RADIAN


def radians(number: float) -> float:
    return number * RADIANS_PER_DEGREE

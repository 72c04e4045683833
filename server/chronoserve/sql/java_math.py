"""Functions of doubles as Spark composes them.

``sin``, ``cos`` and ``tan`` are the C library's: Spark takes Java's intrinsics for the processor, and in a few of a thousand
cases the last bit differs. The others are fdlibm's, as Spark's are.
"""

import math
from decimal import MAX_EMAX, MIN_EMIN, Context

from chronoserve.sql import fdlibm

WIDE = Context(prec=800, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Wide enough for any double written out."""
LN2 = fdlibm.log(2.0)
DEGREES_PER_RADIAN = 180.0 / math.pi
RADIANS_PER_DEGREE = math.pi / 180.0


def rint(number: float) -> float:
    if number - number != 0 or abs(number) >= 1 << 52:
        return number
    return math.copysign(float(round(number)), number)


def log2(number: float) -> float:
    return fdlibm.log(number) / LN2


def asinh(number: float) -> float:
    """Spark's formula, which is not the library's: infinite where the square overflows."""
    if number == -math.inf:
        return number
    inside = number + math.sqrt(number * number + 1.0)
    return fdlibm.log(inside) if not inside < 0 else math.nan


def acosh(number: float) -> float:
    inside = number + math.sqrt(number * number - 1.0)
    return fdlibm.log(inside)


def atanh(number: float) -> float:
    if abs(number) == 1.0:
        return math.copysign(math.inf, number)
    return 0.5 * (math.log1p(number) - math.log1p(-number))


def degrees(number: float) -> float:
    return number * DEGREES_PER_RADIAN


def radians(number: float) -> float:
    return number * RADIANS_PER_DEGREE

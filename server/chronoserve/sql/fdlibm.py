"""Elementary functions by the formulas of fdlibm, which is what Java's StrictMath computes, to the last bit.

The C library of this machine rounds some of them otherwise: the cube root in every second case. The constants are the
published minimax coefficients.
"""

import math
import struct

WORDS = struct.Struct("<q")
DOUBLE = struct.Struct("<d")
HIGH_WORD = ~0xFFFFFFFF


def bits_of(number: float) -> int:
    return WORDS.unpack(DOUBLE.pack(number))[0]  # type: ignore[no-any-return]


def of_bits(bits: int) -> float:
    return DOUBLE.unpack(WORDS.pack(bits))[0]  # type: ignore[no-any-return]


def high(number: float) -> float:
    """The number with the lower half of its bits cleared."""
    return of_bits(bits_of(number) & HIGH_WORD)


def polynomial(x: float, *coefficients: float) -> float:
    """c0 + x (c1 + x (c2 + …))."""
    total = 0.0
    for coefficient in reversed(coefficients):
        total = coefficient + x * total
    return total


# roots

CBRT_BIAS, CBRT_BIAS_SUBNORMAL = 715_094_163, 696_219_795
SMALLEST_NORMAL = 2.0**-1022


def cbrt(number: float) -> float:
    if number == 0 or number - number != 0:
        return number
    x = abs(number)
    if x < SMALLEST_NORMAL:
        rough = ((bits_of(x * 2.0**54) >> 32) // 3 + CBRT_BIAS_SUBNORMAL) << 32
    else:
        rough = ((bits_of(x) >> 32) // 3 + CBRT_BIAS) << 32
    t = of_bits(rough)
    r = t * t / x
    s = 19.0 / 35.0 + r * t
    t *= 5.0 / 14.0 + 45.0 / 28.0 / (s + 99.0 / 70.0 + -864.0 / 1225.0 / s)
    t = of_bits(((bits_of(t) >> 32) + 1) << 32)
    s = t * t
    r = x / s
    r = (r - t) / (t + t + r)
    return math.copysign(t + t * r, number)


def hypot(x: float, y: float) -> float:
    if math.isinf(x) or math.isinf(y):
        return math.inf
    if x != x or y != y:  # noqa: PLR0124 - NaN
        return math.nan
    a, b = max(abs(x), abs(y)), min(abs(x), abs(y))
    if b == 0 or (bits_of(a) >> 32) - (bits_of(b) >> 32) > 0x3C00000:
        return a + b
    scale = 0
    if a > 2.0**500:
        scale = 600
    elif b < 2.0**-500:
        scale = -600 if b >= SMALLEST_NORMAL else -1022
    a, b = math.ldexp(a, -scale), math.ldexp(b, -scale)
    return math.ldexp(hypot_of_ordered(a, b), scale)


def hypot_of_ordered(a: float, b: float) -> float:
    w = a - b
    if w > b:
        first = high(a)
        rest = a - first
        return math.sqrt(first * first - (b * -b - rest * (a + first)))
    a += a
    y1 = high(b)
    y2 = b - y1
    t1 = high(a)
    t2 = a - t1
    return math.sqrt(t1 * y1 - (w * -w - (t1 * y2 + t2 * b)))


# angles

HALF_PI_HIGH, HALF_PI_LOW, QUARTER_PI = 1.57079632679489655800e00, 6.12323399573676603587e-17, 7.85398163397448278999e-01
PI_LOW = 1.2246467991473531772e-16
ATAN_HIGH = (4.63647609000806093515e-01, QUARTER_PI, 9.82793723247329054082e-01, HALF_PI_HIGH)
ATAN_LOW = (2.26987774529616870924e-17, 3.06161699786838301793e-17, 1.39033110312309984516e-17, HALF_PI_LOW)
ATAN_EVEN = (
    3.33333333333329318027e-01,
    1.42857142725034663711e-01,
    9.09088713343650656196e-02,
    6.66107313738753120669e-02,
    4.97687799461593236017e-02,
    1.62858201153657823623e-02,
)
ATAN_ODD = (
    -1.99999999998764832476e-01,
    -1.11111104054623557880e-01,
    -7.69187620504482999495e-02,
    -5.83357013379057348645e-02,
    -3.65315727442169155270e-02,
)
ARC_P = (
    1.66666666666666657415e-01,
    -3.25565818622400915405e-01,
    2.01212532134862925881e-01,
    -4.00555345006794114027e-02,
    7.91534994289814532176e-04,
    3.47933107596021167570e-05,
)
ARC_Q = (1.0, -2.40339491173441421878e00, 2.02094576023350569471e00, -6.88283971605453293030e-01, 7.70381505559019352791e-02)


def atan(number: float) -> float:
    if number != number:  # noqa: PLR0124 - NaN
        return number
    x = abs(number)
    if x >= 2.0**66:
        return math.copysign(HALF_PI_HIGH + HALF_PI_LOW, number)
    if x < 0.4375:
        return number if x < 2.0**-29 else number - number * atan_series(number)
    if x < 0.6875:
        place, x = 0, (2.0 * x - 1.0) / (2.0 + x)
    elif x < 1.1875:
        place, x = 1, (x - 1.0) / (x + 1.0)
    elif x < 2.4375:
        place, x = 2, (x - 1.5) / (1.0 + 1.5 * x)
    else:
        place, x = 3, -1.0 / x
    return math.copysign(ATAN_HIGH[place] - ((x * atan_series(x) - ATAN_LOW[place]) - x), number)


def atan_series(x: float) -> float:
    z = x * x
    w = z * z
    return z * polynomial(w, *ATAN_EVEN) + w * polynomial(w, *ATAN_ODD)


def atan2(y: float, x: float) -> float:
    if x == 0 or y == 0 or x - x != 0 or y - y != 0:
        return math.atan2(y, x)
    if x == 1.0:
        return atan(y)
    exponents = (bits_of(abs(y)) >> 52) - (bits_of(abs(x)) >> 52)
    if exponents > 60:
        z = HALF_PI_HIGH + 0.5 * PI_LOW
    elif x < 0 and exponents < -60:
        z = 0.0
    else:
        z = atan(abs(y / x))
    if x > 0:
        return math.copysign(z, y)
    return math.pi - (z - PI_LOW) if y > 0 else (z - PI_LOW) - math.pi


def arc_ratio(z: float) -> float:
    return z * polynomial(z, *ARC_P) / polynomial(z, *ARC_Q)


def acos(x: float) -> float:
    """NaN outside of -1 to 1."""
    if not -1.0 <= x <= 1.0:
        return math.nan
    if x == 1.0:
        return 0.0
    if x == -1.0:
        return math.pi + 2.0 * HALF_PI_LOW
    if abs(x) < 0.5:
        return HALF_PI_HIGH + HALF_PI_LOW if abs(x) <= 2.0**-57 else HALF_PI_HIGH - (x - (HALF_PI_LOW - x * arc_ratio(x * x)))
    if x < 0:
        z = (1.0 + x) * 0.5
        s = math.sqrt(z)
        return math.pi - 2.0 * (s + (arc_ratio(z) * s - HALF_PI_LOW))
    z = (1.0 - x) * 0.5
    s = math.sqrt(z)
    df = high(s)
    c = (z - df * df) / (s + df)
    return 2.0 * (df + (arc_ratio(z) * s + c))


def asin(number: float) -> float:
    """NaN outside of -1 to 1."""
    x = abs(number)
    if not x <= 1.0:
        return math.nan
    if x == 1.0:
        return number * HALF_PI_HIGH + number * HALF_PI_LOW
    if x < 0.5:
        return number if x < 2.0**-27 else number + number * arc_ratio(number * number)
    t = (1.0 - x) * 0.5
    s = math.sqrt(t)
    ratio = arc_ratio(t)
    if x >= 0.975:
        return math.copysign(HALF_PI_HIGH - (2.0 * (s + s * ratio) - HALF_PI_LOW), number)
    w = high(s)
    c = (t - w * w) / (s + w)
    p = 2.0 * s * ratio - (HALF_PI_LOW - 2.0 * c)
    return math.copysign(QUARTER_PI - (p - (QUARTER_PI - 2.0 * w)), number)


# exponentials

LN2_HIGH, LN2_LOW, LN2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10, 6.93147180559945286227e-01
EXP_P = (
    1.66666666666666019037e-01,
    -2.77777777770155933842e-03,
    6.61375632143793436117e-05,
    -1.65339022054652515390e-06,
    4.13813679705723846039e-08,
)
EXP_MAX, EXP_MIN = 7.09782712893383973096e02, -7.45133219101941108420e02


def exp(number: float) -> float:
    if number - number != 0:
        return 0.0 if number == -math.inf else number
    if not EXP_MIN <= number <= EXP_MAX:
        return math.inf if number > 0 else 0.0
    if abs(number) <= 0.5 * LN2:
        if abs(number) < 2.0**-28:
            return 1.0 + number
        c = exp_remainder(number)
        return 1.0 - ((number * c) / (c - 2.0) - number)
    sign = math.copysign(1.0, number)
    power = int(sign) if abs(number) < 1.5 * LN2 else int(1.44269504088896338700 * number + 0.5 * sign)
    upper, lower = number - power * LN2_HIGH, power * LN2_LOW
    x = upper - lower
    c = exp_remainder(x)
    return math.ldexp(1.0 - ((lower - (x * c) / (2.0 - c)) - upper), power)


def exp_remainder(x: float) -> float:
    t = x * x
    return x - t * polynomial(t, *EXP_P)


def sinh(number: float) -> float:
    x = abs(number)
    if x - x != 0 or x < 2.0**-28:
        return number
    half = math.copysign(0.5, number)
    if x < 22.0:
        t = math.expm1(x)
        return half * (2.0 * t - t * t / (t + 1.0)) if x < 1.0 else half * (t + t / (t + 1.0))
    return half * exp(x) if x < EXP_MAX else half * exp(0.5 * x) * exp(0.5 * x)


def cosh(number: float) -> float:
    x = abs(number)
    if x - x != 0:
        return x
    if x < 0.5 * LN2:
        t = math.expm1(x)
        return 1.0 + t if x < 2.0**-55 else 1.0 + t * t / (1.0 + t + 1.0 + t)
    if x < 22.0:
        t = exp(x)
        return 0.5 * t + 0.5 / t
    return 0.5 * exp(x) if x < EXP_MAX else 0.5 * exp(0.5 * x) * exp(0.5 * x)


# logarithms

LG1, LG2, LG3, LG4 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01
LG5, LG6, LG7 = 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01
LOG10_OF_E, LOG10_2_HIGH, LOG10_2_LOW = 4.34294481903251816668e-01, 3.01029995663611771306e-01, 3.69423907715893078616e-13
FRACTION_WORD = 0xFFFFF
HALVED_FROM = 0x6A09C
"""The high bits of a fraction from which on the number is taken as half of it and one exponent more: near the root of 2."""


def parted(number: float) -> tuple[int, int]:
    """The exponent of a positive number, and its bits scaled so that they are not subnormal."""
    if number < SMALLEST_NORMAL:
        bits = bits_of(number * 2.0**54)
        return (bits >> 52) - 1023 - 54, bits
    bits = bits_of(number)
    return (bits >> 52) - 1023, bits


def log(number: float) -> float:
    """-infinity of 0, NaN below it."""
    if number <= 0:
        return -math.inf if number == 0 else math.nan
    if number - number != 0:
        return number
    mantissa, exponent = math.frexp(number)
    word = int((mantissa * 2.0 - 1.0) * 1048576.0)
    if word >= HALVED_FROM:
        f = mantissa - 1.0
    else:
        f, exponent = mantissa * 2.0 - 1.0, exponent - 1
    if FRACTION_WORD & 2 + word < 3:
        return log_near_one(f, exponent)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    rest = w * (LG2 + w * (LG4 + w * LG6)) + z * (LG1 + w * (LG3 + w * (LG5 + w * LG7)))
    if 0x6147A <= word <= 0x6B851:
        half = 0.5 * f * f
        if exponent == 0:
            return f - (half - s * (half + rest))
        return exponent * LN2_HIGH - ((half - (s * (half + rest) + exponent * LN2_LOW)) - f)
    if exponent == 0:
        return f - s * (f - rest)
    return exponent * LN2_HIGH - ((s * (f - rest) - exponent * LN2_LOW) - f)


def log_near_one(f: float, exponent: int) -> float:
    if f == 0:
        return exponent * LN2_HIGH + exponent * LN2_LOW if exponent else 0.0
    rest = f * f * (0.5 - 0.33333333333333333 * f)
    return f - rest if exponent == 0 else exponent * LN2_HIGH - ((rest - exponent * LN2_LOW) - f)


def log10(number: float) -> float:
    """-infinity of 0, NaN below it."""
    if number == 0:
        return -math.inf
    if number < 0:
        return math.nan
    if number - number != 0:
        return number
    exponent, bits = parted(number)
    negative = int(exponent < 0)
    x = of_bits(bits & (1 << 52) - 1 | (0x3FF - negative) << 52)
    y = float(exponent + negative)
    return (y * LOG10_2_LOW + LOG10_OF_E * log(x)) + y * LOG10_2_HIGH


# powers

POW_L = (
    5.99999999999994648725e-01,
    4.28571428578550184252e-01,
    3.33333329818377432918e-01,
    2.72728123808534006489e-01,
    2.30660745775561754067e-01,
    2.06975017800338417784e-01,
)
POW_BASE, POW_HIGH, POW_LOW = (1.0, 1.5), (0.0, 5.84962487220764160156e-01), (0.0, 1.35003920212974897128e-08)
LG2_HIGH, LG2_LOW = 6.93147182464599609375e-01, -1.90465429995776804525e-09
CP, CP_HIGH, CP_LOW = 9.61796693925975554329e-01, 9.61796700954437255859e-01, -7.02846165095275826516e-09
INVERSE_LN2, INVERSE_LN2_HIGH, INVERSE_LN2_LOW = 1.44269504088896338700, 1.44269502162933349609, 1.92596299112661746887e-08


def power_of_positive(x: float, y: float) -> float:
    """X to the power of y, of a positive finite x that is not 1 and a finite y that is not 0."""
    upper, lower = log2_near_one(x) if abs(y) > 2.0**31 else log2_parts(x)
    if upper is None:
        return math.inf if (x > 1) == (y > 0) else 0.0
    y1 = high(y)
    low = (y - y1) * upper + y * lower
    top = y1 * upper
    z = low + top
    if z >= 1024.0 and (z > 1024.0 or low + 8.0085662595372944372e-17 > z - top):
        return math.inf
    if z <= -1075.0 and (z < -1075.0 or low <= z - top):
        return 0.0
    return two_to_the(z, top, low)


def log2_near_one(x: float) -> tuple[float | None, float]:
    """The logarithm for exponents so large that only an x near 1 does not overflow; None where it does."""
    if not 1.0 - 2.0**-20 <= x <= 1.0 + 2.0**-20:
        return None, 0.0
    t = x - 1.0
    w = (t * t) * (0.5 - t * (0.3333333333333333333333 - t * 0.25))
    u, v = INVERSE_LN2_HIGH * t, t * INVERSE_LN2_LOW - w * INVERSE_LN2
    upper = high(u + v)
    return upper, v - (upper - u)


def log2_parts(x: float) -> tuple[float, float]:
    """The logarithm to base 2 in two doubles, the first with its lower half cleared."""
    exponent, bits = parted(x)
    fraction = bits >> 32 & FRACTION_WORD
    word = fraction | 0x3FF00000
    place = 0 if fraction <= 0x3988E else 1
    if fraction >= 0xBB67A:
        place, exponent, word = 0, exponent + 1, word - 0x100000
    ax = of_bits(word << 32 | bits & 0xFFFFFFFF)
    base = POW_BASE[place]
    u, v = ax - base, 1.0 / (ax + base)
    ss = u * v
    s_high = high(ss)
    t_high = of_bits(((word >> 1 | 0x20000000) + 0x80000 + (place << 18)) << 32)
    s_low = v * ((u - s_high * t_high) - s_high * (ax - (t_high - base)))
    s2 = ss * ss
    r = s2 * s2 * polynomial(s2, *POW_L) + s_low * (s_high + ss)
    s2 = s_high * s_high
    t_high = high(3.0 + s2 + r)
    t_low = r - ((t_high - 3.0) - s2)
    u, v = s_high * t_high, s_low * t_high + t_low * ss
    p_high = high(u + v)
    z_high = CP_HIGH * p_high
    z_low = CP_LOW * p_high + (v - (p_high - u)) * CP + POW_LOW[place]
    upper = high(((z_high + z_low) + POW_HIGH[place]) + exponent)
    return upper, z_low - (((upper - exponent) - POW_HIGH[place]) - z_high)


def two_to_the(z: float, top: float, low: float) -> float:
    """2 to the power of ``top + low``, whose sum is ``z``."""
    whole = 0
    if abs(z) > 0.5:
        word = bits_of(z) >> 32 & 0xFFFFFFFF
        shift = (word >> 20 & 0x7FF) - 0x3FF
        rounded = word + (0x100000 >> shift + 1) & 0xFFFFFFFF
        shift = (rounded >> 20 & 0x7FF) - 0x3FF
        t = abs(of_bits((rounded & 0x7FFFFFFF & ~(FRACTION_WORD >> shift)) << 32))
        whole = (rounded & FRACTION_WORD | 0x100000) >> 20 - shift
        whole, t = (-whole, -t) if z < 0 else (whole, t)
        top -= t
    t = high(low + top)
    u, v = t * LG2_HIGH, (low - (t - top)) * LN2 + t * LG2_LOW
    z = u + v
    w = v - (z - u)
    t1 = exp_remainder(z)
    r = (z * t1) / (t1 - 2.0) - (w + z * w)
    return math.ldexp(1.0 - (r - z), whole)


def power(x: float, y: float) -> float:
    """``Math.pow``: NaN where 1 meets NaN or infinity, and for negative bases to fractions."""
    if y == 0:
        return 1.0
    if x != x or y != y or (abs(x) == 1.0 and math.isinf(y)):  # noqa: PLR0124 - NaN
        return math.nan
    if y == 1.0:
        return x
    if y == -1.0 and x != 0:
        return 1.0 / x
    if y == 2.0:
        return x * x
    odd = abs(y) < 2.0**53 and y % 2 == 1
    if x == 0 or x - x != 0 or math.isinf(y):
        return power_of_extreme(x, y, odd=odd)
    if y == 0.5 and x > 0:
        return math.sqrt(x)
    if x < 0 and y != math.floor(y):
        return math.nan
    magnitude = 1.0 if abs(x) == 1.0 else power_of_positive(abs(x), y)
    return -magnitude if x < 0 and odd else magnitude


def power_of_extreme(x: float, y: float, *, odd: bool) -> float:
    """Where the base is 0 or infinite, or the exponent is infinite."""
    if math.isinf(y):
        return math.inf if (abs(x) > 1) == (y > 0) else 0.0
    magnitude = math.inf if (x == 0) == (y < 0) else 0.0
    return math.copysign(magnitude, x) if odd else magnitude

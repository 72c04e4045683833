"""Java's numbers: how they wrap, narrow, and read as text (JDK 8 to 17, which do not always write the shortest text)."""

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


# text

PLAIN_CHARACTERS_MAX = 16
"""Up to 15 digits and a point: there, and between 0.001 and 10^7, the shortest text is also the one that Java finds."""


def double_text(number: float) -> str:
    """``Double.toString``."""
    if 0.001 <= number < 1e7 or -1e7 < number <= -0.001:
        text = repr(number)
        if len(text) <= PLAIN_CHARACTERS_MAX:
            return text
    return floating_text(number, 53, 1023)


def float_text(number: float) -> str:
    """``Float.toString`` of a float of 32 bits."""
    return floating_text(number, 24, 127)


def floating_text(number: float, bits: int, bias: int) -> str:
    if number != number:  # noqa: PLR0124 - NaN
        return "NaN"
    sign = "-" if math.copysign(1.0, number) < 0 else ""
    if math.isinf(number):
        return f"{sign}Infinity"
    if number == 0:
        return f"{sign}0.0"
    digits, exponent = java_digits(abs(number), bits, bias)
    return sign + laid_out(digits, exponent)


def laid_out(digits: str, exponent: int) -> str:
    """``digits`` with the point after the first ``exponent`` of them; with an E outside of 10^-3 … 10^7."""
    if 0 < exponent < 8:
        whole = digits[:exponent].ljust(exponent, "0")
        return f"{whole}.{digits[exponent:] or '0'}"
    if -3 < exponent <= 0:
        return f"0.{'0' * -exponent}{digits}"
    return f"{digits[0]}.{digits[1:] or '0'}E{exponent - 1}"


def java_digits(number: float, bits: int, bias: int) -> tuple[str, int]:
    """The decimal digits that the JDK finds, and where their point is: 0.digits x 10^exponent.

    It develops digits until what is left is within half a unit of the last bit, or nearly so: its bounds are not the
    tightest, so now and then a digit more comes out than the shortest text needs.
    """
    mantissa, power = math.frexp(number)
    binary = power - 1
    significand = int(math.ldexp(mantissa, bits))
    significant = bits
    if binary < 1 - bias:
        # a subnormal has fewer bits that mean something
        significant = bits - (1 - bias - binary)
    trailing = (significand & -significand).bit_length() - 1
    fraction_bits = bits - trailing
    tiny = max(0, fraction_bits - binary - 1)
    if tiny == 0 and binary <= 62:
        return whole_digits(
            significand << (binary - bits + 1) if binary >= bits - 1 else significand >> (bits - 1 - binary), binary, significant
        )
    return developed_digits(significand >> trailing, binary, fraction_bits, tiny, significant)


def whole_digits(value: int, binary: int, significant: int) -> tuple[str, int]:
    """A whole number below 2^63: its digits, less those that its bits do not determine."""
    insignificant = 0
    if binary > significant:
        doubtful = binary - significant - 1
        insignificant = len(str(1 << doubtful)) - 1 if doubtful > 1 else 0
    if insignificant:
        power = 10**insignificant
        rest = value % power
        value //= power
        value += rest >= power // 2
    text = str(value)
    return text.rstrip("0") or "0", len(text) + insignificant


def estimated_exponent(significand: int, binary: int, fraction_bits: int) -> int:
    """The JDK's guess of floor(log10): the first terms of a logarithm at 1.5."""
    fraction = significand / (1 << (fraction_bits - 1))
    return math.floor((fraction - 1.5) * 0.289529654 + 0.176091259 + binary * 0.301029995663981)


def developed_digits(significand: int, binary: int, fraction_bits: int, tiny: int, significant: int) -> tuple[str, int]:
    exponent = estimated_exponent(significand, binary, fraction_bits)
    fives, scale_fives = max(0, -exponent), max(0, exponent)
    twos, scale_twos = fives + tiny + binary, scale_fives + tiny
    margin_twos = twos - significant
    twos -= fraction_bits - 1
    common = min(twos, scale_twos)
    twos, scale_twos, margin_twos = twos - common, scale_twos - common, margin_twos - common
    if fraction_bits == 1:
        margin_twos -= 1
    if margin_twos < 0:
        twos, scale_twos, margin_twos = twos - margin_twos, scale_twos - margin_twos, 0
    rest, scale, margin = significand * 5**fives << twos, 5**scale_fives << scale_twos, 5**fives << margin_twos
    small = fraction_bits + twos + five_bits(fives) < 64 and scale_twos + 1 + five_bits(scale_fives + 1) < 64
    return long_division(rest, scale, margin, exponent, small=small)


def five_bits(power: int) -> int:
    """How many bits the JDK counts for 5^power."""
    return (5**power).bit_length() if 0 < power < 27 else 3 * power


def long_division(rest: int, scale: int, margin: int, exponent: int, *, small: bool) -> tuple[str, int]:
    tens = scale * 10
    digits: list[int] = []
    digit, rest = divmod(rest, scale)
    rest, margin = rest * 10, margin * 10
    low = rest < margin
    high = rest + margin > tens if small else rest + margin >= tens
    if digit == 0 and not high:
        exponent -= 1
    else:
        digits.append(digit)
    if exponent < -3 or exponent >= 8:
        low = high = False
    while not low and not high:
        digit, rest = divmod(rest, scale)
        rest, margin = rest * 10, margin * 10
        if small and margin >= 1 << 63:
            low = high = True
        else:
            low = rest < margin
            high = rest + margin > tens if small else rest + margin >= tens
        digits.append(digit)
    return rounded_digits(digits, exponent + 1, 2 * rest - tens, low=low, high=high)


def rounded_digits(digits: list[int], exponent: int, difference: int, *, low: bool, high: bool) -> tuple[str, int]:
    upwards = high and (not low or difference > 0 or (difference == 0 and digits[-1] % 2 == 1))
    text = "".join(map(str, digits))
    if upwards:
        raised = str(int(text) + 1)
        exponent += len(raised) - len(text.lstrip("0") or "0") if text[0] != "0" else len(raised.zfill(len(text))) - len(text)
        text = raised.zfill(len(text))
    return text.rstrip("0") or "0", exponent

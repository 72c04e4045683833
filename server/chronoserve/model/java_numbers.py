"""How Java narrows numbers and prints them: what Chronon does to values whose declared type is another number, or text.

Texts are those of JDK 8 to 17, which are not always the shortest that read back: 2.0E23 prints as 1.9999999999999998E23.
"""

import math
import struct

_FLOAT = struct.Struct("<f")


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
    """Text of a number of so many bits, the hidden one counted, whose least exponent is that of ``bias``."""
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
    wide = max(fraction_bits + twos + five_bits(fives), scale_twos + 1 + five_bits(scale_fives + 1))
    return long_division(rest, scale, margin, exponent, word=32 if wide < 32 else 64 if wide < 64 else None)


def five_bits(power: int) -> int:
    """How many bits the JDK counts for 5^power."""
    return (5**power).bit_length() if 0 < power < 27 else 3 * power


def long_division(rest: int, scale: int, margin: int, exponent: int, *, word: int | None) -> tuple[str, int]:
    """``word``: the bits of the JDK's numbers here, which overflow; None: big integers, which do not."""
    tens = scale * 10
    digits: list[int] = []
    digit, rest, margin = _next_digit(rest, scale, margin, word)
    low, high = _near(rest, margin, tens, word)
    if digit == 0 and not high:
        exponent -= 1
    else:
        digits.append(digit)
    if exponent < -3 or exponent >= 8:
        low = high = False
    while not low and not high:
        digit, rest, margin = _next_digit(rest, scale, margin, word)
        low, high = _near(rest, margin, tens, word) if margin > 0 else (True, True)
        digits.append(digit)
    return rounded_digits(digits, exponent + 1, _held(2 * rest - tens, word), low=low, high=high)


def _next_digit(rest: int, scale: int, margin: int, word: int | None) -> tuple[int, int, int]:
    """The digit; what is left after it, and how much may be left, both for the next."""
    digit, rest = divmod(rest, scale)
    return digit, rest * 10, _held(margin * 10, word)


def _near(rest: int, margin: int, tens: int, word: int | None) -> tuple[bool, bool]:
    """Whether the digits so far, and whether the next ones above, are near enough."""
    above = _held(rest + margin, word)
    return rest < margin, above >= tens if word is None else above > tens


def _held(number: int, word: int | None) -> int:
    return number if word is None else wrapped(number, word)


def rounded_digits(digits: list[int], exponent: int, difference: int, *, low: bool, high: bool) -> tuple[str, int]:
    upwards = high and (not low or difference > 0 or (difference == 0 and digits[-1] % 2 == 1))
    text = "".join(map(str, digits))
    if upwards:
        raised = str(int(text) + 1)
        exponent += len(raised) - len(text.lstrip("0") or "0") if text[0] != "0" else len(raised.zfill(len(text))) - len(text)
        text = raised.zfill(len(text))
    return text.rstrip("0") or "0", exponent

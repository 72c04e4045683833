"""``format_string`` (Java's Formatter) and ``format_number`` (Java's DecimalFormat)."""

import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

from chronoserve.model.errors import DerivationFailed, Unsupported
from chronoserve.model.java_numbers import double_text, float_text
from chronoserve.model.types import BINARY, BOOLEAN, DATE, DOUBLE, FLOAT, INT, STRING, TIMESTAMP, DataType, ListType, MapType, StructType
from chronoserve.sql.casts import BITS, caster
from chronoserve.sql.java_math import WIDE
from chronoserve.sql.nodes import Node, lenient, strict
from chronoserve.sql.registry import Function, accept, alias, refusal, special
from chronoserve.sql.types import NULL, DecimalType, is_integral, is_numeric

SPECIFIER = re.compile(r"%(?:(\d+)\$)?([-#+ 0,(<]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")
WIDTH_MAX = 10_000


def format_string(name: str, arguments: list[Node]) -> Node:
    pattern, *values = arguments
    kinds = [node.type for node in values]
    if any(isinstance(kind, ListType | MapType | StructType) for kind in kinds):
        raise Unsupported(f"{name} of arrays, maps and structs: Spark prints their place in memory; use cast(… as string)")

    def run(text: str | None, *found: Any) -> str | None:
        return None if text is None else filled(text, kinds, found)

    return lenient(name, STRING, run, accept(name, pattern, STRING), *values)


def filled(text: str, kinds: list[DataType], values: tuple[Any, ...]) -> str:
    """``text`` with its specifiers replaced.

    Raises:
        DerivationFailed: a specifier without a value, or for another type.
    """
    out: list[str] = []
    at = ordinary = last = 0
    for match in SPECIFIER.finditer(text):
        literal(text[at : match.start()], out)
        at = match.end()
        position, flags, width, _, letter = match.groups()
        if letter in "n%":
            out.append("\n" if letter == "n" else padded("%", flags, width))
            continue
        if "<" in flags:
            index = last
        elif position:
            index = int(position)
        else:
            ordinary += 1
            index = ordinary
        if not 1 <= index <= len(values):
            raise DerivationFailed(f"format_string: {match[0]} has no value")
        last = index
        out.append(one(match, kinds[index - 1], values[index - 1]))
    literal(text[at:], out)
    return "".join(out)


def literal(text: str, out: list[str]) -> None:
    if "%" in text:
        raise DerivationFailed("format_string: a % that begins no specifier")
    out.append(text)


def padded(text: str, flags: str, width: str | None) -> str:
    size = int(width or 0)
    if size > WIDTH_MAX:
        raise DerivationFailed(f"format_string: a width of more than {WIDTH_MAX}")
    return text.ljust(size) if "-" in flags else text.rjust(size)


def one(match: re.Match[str], kind: DataType, value: Any) -> str:
    """What a specifier makes of its value."""
    specifier = match[0]
    _, flags, width, precision, letter = match.groups()
    lower = letter.lower()
    if lower in "sbhc" or value is None:
        text = general(specifier, lower, kind, value, precision)
    elif lower in "dxo" and is_integral(kind):
        return cased(letter, integral(lower, flags, width, kind, value))
    elif lower in "feg" and (kind in (DOUBLE, FLOAT) or isinstance(kind, DecimalType)):
        return cased(letter, floating(lower, flags, width, precision, value))
    else:
        raise DerivationFailed(f"format_string: {specifier} takes no such value")
    return cased(letter, padded(text, flags, width))


def cased(letter: str, text: str) -> str:
    return text.upper() if letter.isupper() else text


def general(specifier: str, letter: str, kind: DataType, value: Any, precision: str | None) -> str:
    if letter == "b":
        text = "false" if value is None else ("true" if value else "false") if kind == BOOLEAN else "true"
    elif value is None:
        text = "null"
    elif letter == "c" and kind in (INT, *BITS):
        text = chr(value)
    elif letter == "s" and kind != BINARY:
        text = texts(kind, value)
    else:
        raise DerivationFailed(f"format_string: {specifier} takes no such value")
    return text if precision is None else text[: int(precision)]


def texts(kind: DataType, value: Any) -> str:
    """As Java prints what Spark hands over: dates and timestamps are the numbers that they are inside."""
    if kind == DOUBLE:
        return double_text(value)
    if kind == FLOAT:
        return float_text(value)
    return str(value) if kind in (DATE, TIMESTAMP) else str(caster(kind, STRING)(value))


def integral(letter: str, flags: str, width: str | None, kind: DataType, value: int) -> str:
    if letter != "d":
        unsigned = value & ((1 << BITS[kind]) - 1)
        digits = f"{unsigned:x}" if letter == "x" else f"{unsigned:o}"
        prefix = {"x": "0x", "o": "0"}[letter] if "#" in flags else ""
        return zero_padded("", prefix + digits, flags, width)
    digits = f"{abs(value):,}" if "," in flags else str(abs(value))
    return signed(value < 0, digits, flags, width)


def signed(negative: bool, digits: str, flags: str, width: str | None) -> str:
    if negative:
        return zero_padded("(" if "(" in flags else "-", digits + (")" if "(" in flags else ""), flags, width)
    return zero_padded("+" if "+" in flags else " " if " " in flags else "", digits, flags, width)


def zero_padded(sign: str, digits: str, flags: str, width: str | None) -> str:
    if "0" in flags and width:
        padded("", flags, width)
        digits = digits.rjust(int(width) - len(sign), "0")
    return padded(sign + digits, flags, width)


def floating(letter: str, flags: str, width: str | None, precision: str | None, value: Any) -> str:
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not number.is_finite():
        text = "NaN" if number.is_nan() else "Infinity"
        return signed(number < 0 if not number.is_nan() else False, text, flags.replace("0", ""), width)
    digits = 6 if precision is None else int(precision)
    if digits > WIDTH_MAX:
        raise DerivationFailed(f"format_string: a precision of more than {WIDTH_MAX}")
    text = (
        scientific(abs(number), digits)
        if letter == "e"
        else general_number(abs(number), digits)
        if letter == "g"
        else fixed(abs(number), digits)
    )
    if "," in flags and "e" not in text:
        whole, _, fraction = text.partition(".")
        text = f"{int(whole):,}" + (f".{fraction}" if fraction else "")
    return signed(number.is_signed(), text, flags, width)


def fixed(number: Decimal, digits: int) -> str:
    return f"{number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, WIDE):f}"


def scientific(number: Decimal, digits: int) -> str:
    exponent = number.adjusted() if number else 0
    mantissa = number.scaleb(-exponent, WIDE).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, WIDE)
    if mantissa >= 10:
        exponent += 1
        mantissa = number.scaleb(-exponent, WIDE).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, WIDE)
    return f"{mantissa:f}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def general_number(number: Decimal, digits: int) -> str:
    """``%g``: fixed from 10^-4 to 10^precision, scientific elsewhere."""
    digits = digits or 1
    rounded = number and number.quantize(Decimal(1).scaleb(number.adjusted() - digits + 1), ROUND_HALF_UP, WIDE)
    if not rounded or Decimal("0.0001") <= rounded < Decimal(10) ** digits:
        return fixed(number, digits - 1 - (rounded.adjusted() if rounded else 0))
    return scientific(number, digits - 1)


# format_number


def format_number(name: str, arguments: list[Node]) -> Node:
    """With commas and a fixed count of decimals, or by a DecimalFormat pattern."""
    number, places = arguments
    if not (is_numeric(number.type) or number.type == NULL):
        raise refusal(name, "a number", number)
    if places.type == STRING:
        return strict(name, STRING, by_pattern, number, places)
    if places.type not in (INT, NULL):
        raise refusal(name, "an int or a pattern", places)
    return strict(name, STRING, with_commas, number, accept(name, places, INT))


def with_commas(value: Any, places: int) -> str | None:
    if places < 0:
        return None
    if isinstance(value, float) and value - value != 0:
        return not_finite(value)
    number = decimal_digits(value, places)
    rounded = number.quantize(Decimal(1).scaleb(-min(places, 340)), ROUND_HALF_EVEN, WIDE)
    return f"{rounded:,f}" if rounded or not rounded.is_signed() else f"-{abs(rounded):,f}"


def decimal_digits(value: Any, places: int) -> Decimal:
    """A number as DecimalFormat has it: a double has the digits of its text, and is rounded by its exact value where it has more."""
    if not isinstance(value, float):
        return value if isinstance(value, Decimal) else Decimal(value)
    shown = Decimal(double_text(value))
    exponent = shown.as_tuple().exponent
    return shown if isinstance(exponent, int) and exponent >= -places else Decimal(value)


def not_finite(value: float) -> str:
    return "NaN" if value != value else "\u221e" if value > 0 else "-\u221e"  # noqa: PLR0124 - NaN


PATTERN = re.compile(r"([^#0,.]*)([#,]*)([0,]*)(?:\.(0*)(#*))?([^#0,.]*)")


def by_pattern(value: Any, pattern: str) -> str:
    """``#,##0.00`` and its like.

    Raises:
        DerivationFailed: the pattern has more than digits, a point and commas.
    """
    if not pattern:
        return str(with_commas(value, 0))
    match = PATTERN.fullmatch(pattern)
    if isinstance(value, float) and value - value != 0:
        return not_finite(value)
    if match is None:
        raise DerivationFailed("format_number: a pattern of #, 0, a comma and a point")
    prefix, optional, required, zeros, hashes, suffix = match.groups()
    places = len(zeros or "") + len(hashes or "")
    number = decimal_digits(value, places)
    text = f"{abs(number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN, WIDE):f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction[: len(zeros or "")] + fraction[len(zeros or "") :].rstrip("0")
    digits = len(required.replace(",", "")) or int(zeros == "" and bool(hashes or places == 0))
    whole = whole.lstrip("0").rjust(digits, "0") or ("" if fraction else "0")
    groups = optional + required
    if "," in groups:
        whole = grouped(whole, len(groups.rsplit(",", 1)[1]))
    sign = "-" if number < 0 or (isinstance(value, float) and number.is_signed()) else ""
    return f"{sign}{prefix}{whole}{'.' if fraction else ''}{fraction}{suffix}"


def grouped(digits: str, size: int) -> str:
    if not size:
        raise DerivationFailed("format_number: a comma at the end of a pattern")
    first = len(digits) % size
    parts = ([digits[:first]] if first else []) + [digits[at : at + size] for at in range(first, len(digits), size)]
    return ",".join(parts)


FORMAT_STRING = special("format_string(pattern, value, …)", 1, None, format_string, "Java's format: %s %d %.2f %05d %x.")
FUNCTIONS: tuple[Function, ...] = (
    FORMAT_STRING,
    alias("printf", FORMAT_STRING),
    special("format_number(number, places)", 2, 2, format_number, "With commas and so many decimals, or by a pattern as ``#,##0.00``."),
)

"""Number, typed and interval literals: ``42``, ``1.5BD``, ``date '2024-01-01'``, ``interval 2 days``."""

from decimal import Decimal

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BINARY, BYTE, DATE, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, TIMESTAMP
from chronoserve.sql.intervals import INTERVAL_FORMS, interval_of_text
from chronoserve.sql.numbers import float32
from chronoserve.sql.syntax import Literal
from chronoserve.sql.time_text import date_of_text, timestamp_of_text
from chronoserve.sql.types import PRECISION_MAX, DecimalType

DIGITS_MAX = 400
"""Of a number's text: the smallest double has fewer, and Python's own limit would be another kind of error."""
SUFFIXED = {"l": (LONG, 63), "s": (SHORT, 15), "y": (BYTE, 7)}


def number(text: str) -> Literal:
    """``text`` may begin with a minus: Spark reads it as part of the literal."""
    if len(text) > DIGITS_MAX:
        raise InvalidRequest(f"a number literal has at most {DIGITS_MAX} characters", field="expression")
    lower = text.lower()
    if lower.endswith("bd"):
        return decimal(lower[:-2])
    last = lower[-1]
    if last in SUFFIXED:
        return integer(int(lower[:-1]), text, *SUFFIXED[last])
    if last == "d":
        return Literal(finite(float(lower[:-1]), text), DOUBLE)
    if last == "f":
        return Literal(finite(float32(float(lower[:-1])), text), FLOAT)
    if "e" in lower:
        return Literal(finite(float(lower), text), DOUBLE)
    return decimal(lower) if "." in lower else whole(int(lower))


def finite(value: float, text: str) -> float:
    if value - value != 0:
        raise InvalidRequest(f"{text} is beyond what a floating number holds", field="expression")
    return value


def integer(value: int, text: str, data_type: object, bits: int) -> Literal:
    if not -(1 << bits) <= value < 1 << bits:
        raise InvalidRequest(f"{text} does not fit into {bits + 1} bits", field="expression")
    return Literal(value, data_type)  # type: ignore[arg-type]


def whole(value: int) -> Literal:
    if -(1 << 31) <= value < 1 << 31:
        return Literal(value, INT)
    return Literal(value, LONG) if -(1 << 63) <= value < 1 << 63 else decimal(str(value))


def decimal(text: str) -> Literal:
    value = Decimal(text)
    _, digits, exponent = value.as_tuple()
    scale = max(-int(exponent), 0)
    precision = max(len(digits) + max(int(exponent), 0), scale)
    if precision > PRECISION_MAX:
        raise InvalidRequest(f"a decimal literal has at most {PRECISION_MAX} digits", field="expression")
    return Literal(value.quantize(Decimal(1).scaleb(-scale)), DecimalType(precision, scale))


def typed(kind: str, text: str) -> Literal:
    """``date '…'``, ``timestamp '…'``, ``interval '…'``, ``x'…'``: a word before a string literal."""
    if kind == "date":
        return Literal(required(date_of_text(text), kind), DATE)
    if kind in ("timestamp", "timestamp_ltz"):
        return Literal(required(timestamp_of_text(text), kind), TIMESTAMP)
    if kind == "interval":
        return interval(text)
    if kind == "x":
        return hexadecimal(text)
    raise InvalidRequest(f"Spark SQL has no literals of the form {kind} '…'", field="expression")


def required(value: int | None, kind: str) -> int:
    if value is None:
        raise InvalidRequest(f"the text of a {kind} literal is no {kind}", field="expression")
    return value


def hexadecimal(text: str) -> Literal:
    try:
        return Literal(bytes.fromhex(text if len(text) % 2 == 0 else f"0{text}"), BINARY)
    except ValueError:
        raise InvalidRequest("x'…' takes hexadecimal digits", field="expression") from None


def interval(text: str) -> Literal:
    value = interval_of_text(text)
    if value is None:
        raise InvalidRequest(f"interval '…' takes number and unit pairs, as {INTERVAL_FORMS}", field="expression")
    return Literal(*value)


def string(text: str) -> Literal:
    return Literal(text, STRING)

"""``cast(value as type)`` with ANSI mode off: what does not fit wraps or becomes null, and nothing fails."""

import re
from collections.abc import Callable
from decimal import Decimal
from operator import itemgetter
from typing import Any

from chronoserve.model import java_numbers
from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    DataType,
    ListType,
    MapType,
    StructType,
)
from chronoserve.sql import numbers
from chronoserve.sql.datetimes import MICROS_PER_DAY, MICROS_PER_SECOND
from chronoserve.sql.decimals import fitting, java_text, of_double
from chronoserve.sql.interval_text import interval_caster
from chronoserve.sql.nodes import Node, applied, strict
from chronoserve.sql.time_text import TRIMMED, date_of_text, date_text, timestamp_of_text, timestamp_text
from chronoserve.sql.types import (
    INTEGRAL_ORDER,
    NULL,
    DecimalType,
    is_integral,
    is_interval,
    is_numeric,
    spark_name,
)
from chronoserve.sql.utf8 import utf8_text
from chronoserve.sql.values import map_key

Cast = Callable[[Any], Any]
"""Of a value that is not null; may give null."""

BITS: dict[DataType, int] = {BYTE: 8, SHORT: 16, INT: 32, LONG: 64}
WRAPS: dict[DataType, Callable[[int], int]] = {
    BYTE: numbers.wrap_byte,
    SHORT: numbers.wrap_short,
    INT: numbers.wrap_int,
    LONG: numbers.wrap_long,
}
TRUE_TEXTS = frozenset({"t", "true", "y", "yes", "1"})
FALSE_TEXTS = frozenset({"f", "false", "n", "no", "0"})


def cast(node: Node, target: DataType) -> Node:
    """``node`` as ``target``; the node itself where it is of that type.

    Raises:
        InvalidRequest: Spark casts no such type to the other.
    """
    if node.type == target:
        return node
    found = caster(node.type, target)
    if found is identity:
        return applied("cast", target, itemgetter(0), node)
    return strict("cast", target, found, node)


def caster(source: DataType, target: DataType) -> Cast:
    """The function behind a cast.

    Raises:
        InvalidRequest: Spark casts no such type to the other.
    """
    found = identity if source in (target, NULL) else nested(source, target) or to_atomic(source, target)
    if found is None:
        raise InvalidRequest(f"Spark SQL casts no {spark_name(source)} to {spark_name(target)}", field="expression")
    return found


def identity(value: Any) -> Any:
    return value


def to_atomic(source: DataType, target: DataType) -> Cast | None:
    if is_interval(source) or is_interval(target):
        return interval_caster(source, target)
    if target == STRING:
        return to_text(source)
    if isinstance(target, DecimalType):
        return to_decimal(source, target)
    if is_integral(target):
        return to_integral(source, target)
    makers: dict[DataType, Callable[[DataType], Cast | None]] = {
        BOOLEAN: to_boolean,
        DOUBLE: to_double,
        FLOAT: to_float,
        DATE: to_date,
        TIMESTAMP: to_timestamp,
        BINARY: to_binary,
    }
    maker = makers.get(target)
    return maker(source) if maker else None


# numbers


def to_integral(source: DataType, target: DataType) -> Cast | None:
    wrap = WRAPS[target]
    if is_integral(source):
        return identity if INTEGRAL_ORDER.index(source) <= INTEGRAL_ORDER.index(target) else wrap
    if source in (DOUBLE, FLOAT):
        if target == LONG:
            return numbers.double_to_long
        return numbers.double_to_int if target == INT else lambda value: wrap(numbers.double_to_int(value))
    if source == STRING:
        return text_to_integral(BITS[target])
    if source == BOOLEAN:
        return int
    if isinstance(source, DecimalType):
        return lambda value: wrap(int(value))
    if source == TIMESTAMP:
        return lambda value: wrap(value // MICROS_PER_SECOND)
    # a date has no number: Spark gives null
    return nothing if source == DATE else None


def nothing(value: Any) -> None:
    """What Spark makes null whatever the value is."""


INTEGRAL_TEXT = re.compile(r"([+-]?)(\d*)(?:\.\d*)?", re.ASCII)


def text_to_integral(bits: int) -> Cast:
    """A whole number's text; a fraction is cut off, as ``1.5`` and ``1.``; null where it is no number or too large."""
    limit = 1 << (bits - 1)

    def parse(text: str) -> int | None:
        match = INTEGRAL_TEXT.fullmatch(text.strip(TRIMMED))
        if match is None or not match[0] or match[0] in ("+", "-"):
            return None
        number = int(f"{match[1]}{match[2] or 0}")
        return number if -limit <= number < limit else None

    return parse


FLOATING_TEXT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[dDfF]?", re.ASCII)
HEXADECIMAL_TEXT = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?\d+[dDfF]?", re.ASCII)
SPECIAL_DOUBLES = {
    "nan": float("nan"),
    "inf": float("inf"),
    "+inf": float("inf"),
    "infinity": float("inf"),
    "+infinity": float("inf"),
    "-inf": float("-inf"),
    "-infinity": float("-inf"),
}


def text_to_double(text: str) -> float | None:
    """As Java parses one: blanks around it, ``1.5d``, ``0x1p3``; ``inf``, ``infinity`` and ``nan`` in any case."""
    stripped = text.strip(TRIMMED[:-1])
    if FLOATING_TEXT.fullmatch(stripped):
        return float(stripped.rstrip("dDfF"))
    if HEXADECIMAL_TEXT.fullmatch(stripped):
        return float.fromhex(stripped.rstrip("dDfF") if stripped[-1] in "dDfF" and "p" in stripped.lower() else stripped)
    return SPECIAL_DOUBLES.get(stripped.lower())


def text_to_float(text: str) -> float | None:
    number = text_to_double(text)
    return None if number is None else numbers.float32(number)


def to_double(source: DataType) -> Cast | None:
    if source == STRING:
        return text_to_double
    if source == FLOAT:
        return identity
    if source == TIMESTAMP:
        return lambda value: value / MICROS_PER_SECOND
    if source == DATE:
        return nothing
    return float if is_numeric(source) or source == BOOLEAN else None


def to_float(source: DataType) -> Cast | None:
    if source == STRING:
        return text_to_float
    if source == TIMESTAMP:
        return lambda value: numbers.float32(value / MICROS_PER_SECOND)
    if source == DATE:
        return nothing
    return (lambda value: numbers.float32(float(value))) if is_numeric(source) or source == BOOLEAN else None


def to_decimal(source: DataType, target: DecimalType) -> Cast | None:
    fit = fitting(target)
    if source == STRING:
        return lambda text: None if (number := text_to_decimal(text)) is None else fit(number)
    if source in (DOUBLE, FLOAT):
        text = java_numbers.double_text
        return lambda value: fit(Decimal(text(value))) if value - value == 0 else None
    if source == TIMESTAMP:
        return lambda value: fit(of_double(value / MICROS_PER_SECOND))
    if source == DATE:
        return nothing
    return (lambda value: fit(Decimal(value))) if is_numeric(source) or source == BOOLEAN else None


DECIMAL_TEXT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)


def text_to_decimal(text: str) -> Decimal | None:
    stripped = text.strip(TRIMMED)
    return Decimal(stripped) if DECIMAL_TEXT.fullmatch(stripped) else None


# the others


def to_boolean(source: DataType) -> Cast | None:
    if source == STRING:
        return text_to_boolean
    if source == DATE:
        return nothing
    return (lambda value: value != 0) if is_numeric(source) or source == TIMESTAMP else None


def text_to_boolean(text: str) -> bool | None:
    word = text.strip(TRIMMED).lower()
    return True if word in TRUE_TEXTS else False if word in FALSE_TEXTS else None


def to_date(source: DataType) -> Cast | None:
    if source == STRING:
        return date_of_text
    return (lambda value: value // MICROS_PER_DAY) if source == TIMESTAMP else None


def to_timestamp(source: DataType) -> Cast | None:
    if source == STRING:
        return timestamp_of_text
    if source == DATE:
        return midnight
    if is_integral(source):
        return seconds_to_micros
    if source in (DOUBLE, FLOAT):
        return lambda value: numbers.double_to_long(value * MICROS_PER_SECOND) if value - value == 0 else None
    if isinstance(source, DecimalType):
        return lambda value: numbers.wrap_long(int(value * MICROS_PER_SECOND))
    return int if source == BOOLEAN else None


def midnight(days: int) -> int:
    """Raises DerivationFailed beyond what microseconds of 64 bits reach, where Spark's arithmetic is exact and fails too."""
    micros = days * MICROS_PER_DAY
    if not numbers.LONG_MIN <= micros <= numbers.LONG_MAX:
        raise DerivationFailed("a date is beyond the range of timestamps")
    return micros


def seconds_to_micros(seconds: int) -> int:
    """Saturates, as Java's time units do."""
    return max(numbers.LONG_MIN, min(numbers.LONG_MAX, seconds * MICROS_PER_SECOND))


def to_binary(source: DataType) -> Cast | None:
    if source == STRING:
        return lambda text: text.encode("utf-8", "replace")
    if is_integral(source):
        size = BITS[source] // 8
        return lambda value: value.to_bytes(size, "big", signed=True)
    return None


# text


def to_text(source: DataType) -> Cast | None:
    if isinstance(source, DecimalType):
        return java_text
    texts: dict[DataType, Cast] = {
        BOOLEAN: lambda value: "true" if value else "false",
        DOUBLE: java_numbers.double_text,
        FLOAT: java_numbers.float_text,
        BINARY: utf8_text,
        DATE: date_text,
        TIMESTAMP: timestamp_text,
    }
    return str if is_integral(source) else texts.get(source) or nested_text(source)


def nullable_text(source: DataType) -> Cast:
    text = caster(source, STRING)
    return lambda value: "null" if value is None else text(value)


def nested_text(source: DataType) -> Cast | None:
    match source:
        case ListType(element):
            inner = nullable_text(element)
            return lambda values: f"[{', '.join(map(inner, values))}]"
        case MapType(key, value):
            name, held = nullable_text(key), nullable_text(value)
            return lambda entries: f"{{{', '.join(f'{name(k)} -> {held(v)}' for k, v in entries.items())}}}"
        case StructType(_, fields):
            texts = [nullable_text(field.type) for field in fields]
            return lambda values: f"{{{', '.join(text(value) for text, value in zip(texts, values, strict=True))}}}"
        case _:
            return None


# arrays, maps and structs


def nested(source: DataType, target: DataType) -> Cast | None:
    match source, target:
        case ListType(inner), ListType(wanted):
            return cast_list(nullable(caster(inner, wanted)))
        case MapType(key, value), MapType(wanted_key, wanted_value):
            return cast_map(caster(key, wanted_key), nullable(caster(value, wanted_value)), map_key(wanted_key) or identity)
        case StructType(_, fields), StructType(_, wanted_fields) if len(fields) == len(wanted_fields):
            return cast_struct([nullable(caster(a.type, b.type)) for a, b in zip(fields, wanted_fields, strict=True)])
        case _:
            return None


def nullable(inner: Cast) -> Cast:
    return inner if inner is identity else lambda value: None if value is None else inner(value)


def cast_list(element: Cast) -> Cast:
    return identity if element is identity else lambda values: [element(value) for value in values]


def cast_map(key: Cast, value: Cast, key_form: Cast) -> Cast:
    return lambda entries: {key_form(key(name)): value(held) for name, held in entries.items()}


def cast_struct(fields: list[Cast]) -> Cast:
    if all(field is identity for field in fields):
        return identity
    return lambda values: tuple(field(value) for field, value in zip(fields, values, strict=True))

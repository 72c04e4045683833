"""``try_cast``: null where Spark's ANSI cast fails. ``cast`` cuts, wraps and saturates there instead."""

import math
import re
from collections.abc import Callable

from chronoserve.model.errors import InvalidRequest, Unsupported
from chronoserve.model.types import BINARY, BOOLEAN, DATE, DOUBLE, FLOAT, STRING, TIMESTAMP, DataType, ListType, MapType, StructType
from chronoserve.sql.casts import BITS, Cast, cast, cast_list, cast_struct, caster, nullable
from chronoserve.sql.datetimes import MICROS_PER_SECOND
from chronoserve.sql.nodes import Node, strict
from chronoserve.sql.numbers import LONG_MAX, LONG_MIN
from chronoserve.sql.time_text import TRIMMED
from chronoserve.sql.types import DecimalType, is_integral, is_numeric, spark_name

WHOLE_TEXT = re.compile(r"[+-]?\d+", re.ASCII)


def try_cast(node: Node, target: DataType) -> Node:
    """``node`` as ``target``, null where its value is none of that type.

    Raises:
        InvalidRequest: Spark tries no such cast.
        Unsupported: we do not.
    """
    if node.type == target:
        return node
    found = try_caster(node.type, target)
    return cast(node, target) if found is None else strict("try_cast", target, found, node)


def try_caster(source: DataType, target: DataType) -> Cast | None:
    """The function behind it; None where ``cast`` does the same."""
    if refused(source, target):
        raise InvalidRequest(f"Spark SQL tries no cast of {spark_name(source)} to {spark_name(target)}", field="expression")
    match source, target:
        case ListType(inner), ListType(wanted):
            return None if inner == wanted else cast_list(each(inner, wanted))
        case StructType(_, fields), StructType(_, wanted_fields) if len(fields) == len(wanted_fields):
            return cast_struct([each(a.type, b.type) for a, b in zip(fields, wanted_fields, strict=True)])
        case MapType(), MapType():
            raise Unsupported("try_cast of maps: cast their values with transform_values")
        case _:
            return to_whole(source, BITS[target]) if is_integral(target) else to_time(source) if target == TIMESTAMP else None


def each(source: DataType, target: DataType) -> Cast:
    return nullable(try_caster(source, target) or caster(source, target))


def refused(source: DataType, target: DataType) -> bool:
    """Pairs that ``cast`` has and ANSI has not."""
    if source == DATE:
        return is_numeric(target) or target == BOOLEAN
    if target == BOOLEAN:
        return source == TIMESTAMP
    return (is_integral(source) and target == BINARY) or (source == BOOLEAN and target == TIMESTAMP)


def to_whole(source: DataType, bits: int) -> Cast | None:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    if source == STRING:
        return whole_text(low, high)
    if source in (DOUBLE, FLOAT):
        return whole_part(low, high)
    if is_integral(source) or isinstance(source, DecimalType):
        return lambda value: number if low <= (number := int(value)) <= high else None
    if source == TIMESTAMP:
        return lambda value: seconds if low <= (seconds := value // MICROS_PER_SECOND) <= high else None
    return None


def whole_text(low: int, high: int) -> Callable[[str], int | None]:
    """Digits alone: ``1.5`` is no whole number here."""

    def parse(text: str) -> int | None:
        stripped = text.strip(TRIMMED)
        if not WHOLE_TEXT.fullmatch(stripped) or len(stripped) > 100:
            return None
        number = int(stripped)
        return number if low <= number <= high else None

    return parse


def whole_part(low: int, high: int) -> Callable[[float], int | None]:
    """Cut towards zero where that fits; the limit of 64 bits is the double next to it."""

    def cut(value: float) -> int | None:
        if value - value != 0 or math.floor(value) > float(high) or math.ceil(value) < float(low):
            return None
        return max(low, min(high, int(value)))

    return cut


def to_time(source: DataType) -> Cast | None:
    if source not in (DOUBLE, FLOAT):
        return None

    def micros(value: float) -> int | None:
        found = value * MICROS_PER_SECOND
        return int(found) if found - found == 0 and LONG_MIN <= found <= LONG_MAX else None

    return micros

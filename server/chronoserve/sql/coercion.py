"""Which types meet, and where: Spark's widening and implicit casts with ANSI mode off.

Rules: numbers widen byte, short, int, long, decimal, float, double (a decimal and a float meet as double); comparing a
string with a number compares doubles (dates and timestamps are parsed); branches of a case, elements of an array and the
like become strings where one is a string.
"""

from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    STRING,
    TIMESTAMP,
    DataType,
    Field,
    ListType,
    MapType,
    StructType,
)
from chronoserve.sql.types import (
    INTEGRAL_ORDER,
    NULL,
    PRECISION_MAX,
    DayTimeInterval,
    DecimalType,
    NullType,
    YearMonthInterval,
    is_atomic,
    is_numeric,
)

NUMERIC_ORDER = (*INTEGRAL_ORDER, FLOAT, DOUBLE)
AS_DECIMAL: dict[DataType, DecimalType] = {
    kind: DecimalType(digits, 0) for kind, digits in zip(INTEGRAL_ORDER, (3, 5, 10, 20), strict=True)
}
SCALE_LEFT_MIN = 6
"""How many digits after the point a decimal result keeps when its precision must be cut."""


def bounded(precision: int, scale: int) -> DecimalType:
    return DecimalType(min(precision, PRECISION_MAX), min(scale, PRECISION_MAX))


def adjusted(precision: int, scale: int) -> DecimalType:
    """A decimal result that needs ``precision`` digits: beyond 38 it gives up fraction digits, down to six."""
    if precision <= PRECISION_MAX:
        return DecimalType(precision, scale)
    if scale < 0:
        return DecimalType(PRECISION_MAX, scale)
    whole = precision - scale
    return DecimalType(PRECISION_MAX, max(PRECISION_MAX - whole, min(scale, SCALE_LEFT_MIN)))


def wider_decimal(left: DecimalType, right: DecimalType) -> DecimalType:
    """The decimal that holds both: as many whole digits and as many fraction digits as either has."""
    scale = max(left.scale, right.scale)
    return bounded(max(left.precision - left.scale, right.precision - right.scale) + scale, scale)


def decimal_for(data_type: DataType) -> DecimalType | None:
    """The decimal that holds every value of an integral or decimal type."""
    return data_type if isinstance(data_type, DecimalType) else AS_DECIMAL.get(data_type)


def tightest(left: DataType, right: DataType) -> DataType | None:
    """The narrowest type that both become without loss of meaning; None where there is none (a decimal and a long have one)."""
    if left == right:
        return left
    if NULL in (left, right):
        return right if left == NULL else left
    if left in NUMERIC_ORDER and right in NUMERIC_ORDER:
        return max(left, right, key=NUMERIC_ORDER.index)
    if isinstance(left, DecimalType) or isinstance(right, DecimalType):
        return tightest_decimal(left, right)
    if {left, right} == {DATE, TIMESTAMP}:
        return TIMESTAMP
    return tightest_interval(left, right)


def tightest_decimal(left: DataType, right: DataType) -> DataType | None:
    if FLOAT in (left, right) or DOUBLE in (left, right):
        return DOUBLE
    first, second = decimal_for(left), decimal_for(right)
    return wider_decimal(first, second) if first and second else None


def tightest_interval(left: DataType, right: DataType) -> DataType | None:
    match left, right:
        case DayTimeInterval(first, last), DayTimeInterval(begin, end):
            return DayTimeInterval(min(first, begin), max(last, end))
        case YearMonthInterval(first, last), YearMonthInterval(begin, end):
            return YearMonthInterval(min(first, begin), max(last, end))
        case _:
            return None


def common(left: DataType, right: DataType, *, strings: bool = True) -> DataType | None:
    """The type in which branches, elements and the like meet. ``strings``: a string and another atomic type meet as strings."""
    found = tightest(left, right)
    if found is not None:
        return found
    if strings and STRING in (left, right):
        other = right if left == STRING else left
        return STRING if is_atomic(other) and other not in (BINARY, BOOLEAN) else None
    return common_nested(left, right, strings=strings)


def common_nested(left: DataType, right: DataType, *, strings: bool) -> DataType | None:
    match left, right:
        case ListType(first), ListType(second):
            element = common(first, second, strings=strings)
            return None if element is None else ListType(element)
        case MapType(first, value), MapType(second, other):
            key, held = common(first, second, strings=strings), common(value, other, strings=strings)
            return None if key is None or held is None else MapType(key, held)
        case StructType(_, first), StructType(_, second):
            return common_struct(first, second, strings=strings)
        case _:
            return None


def common_struct(left: tuple[Field, ...], right: tuple[Field, ...], *, strings: bool) -> DataType | None:
    if len(left) != len(right) or any(a.name.lower() != b.name.lower() for a, b in zip(left, right, strict=True)):
        return None
    types = [common(a.type, b.type, strings=strings) for a, b in zip(left, right, strict=True)]
    if any(found is None for found in types):
        return None
    return StructType("", tuple(Field(a.name, found) for a, found in zip(left, types, strict=True) if found is not None))


def common_of(types: list[DataType], *, strings: bool = True) -> DataType | None:
    """As ``common``, of many: strings are met last, as Spark orders them."""
    found: DataType | None = NULL
    ordered = [kind for kind in types if kind == STRING] + [kind for kind in types if kind != STRING] if strings else types
    for data_type in ordered:
        found = None if found is None else common(found, data_type, strings=strings)
    return found


def compared(left: DataType, right: DataType) -> DataType | None:
    """The type in which ``left`` and ``right`` are compared."""
    found = tightest(left, right)
    if found is not None:
        return found
    if STRING in (left, right):
        return compared_string(right if left == STRING else left)
    return common_nested(left, right, strings=False)


def compared_string(other: DataType) -> DataType | None:
    """What a string and ``other`` are compared as."""
    if isinstance(other, DecimalType):
        return DOUBLE
    return other if is_atomic(other) else None


def implicit(source: DataType, target: DataType) -> bool:
    """Whether a value of ``source`` is cast without being asked where a function takes ``target``."""
    if source in (target, NULL):
        return True
    if is_numeric(source) and is_numeric(target):
        return True
    if source == STRING:
        return is_numeric(target) or target in (DATE, TIMESTAMP, BINARY)
    if target == STRING:
        return is_atomic(source)
    if {source, target} == {DATE, TIMESTAMP}:
        return True
    match source, target:
        case ListType(inner), ListType(wanted):
            return implicit(inner, wanted)
        case MapType(key, value), MapType(wanted_key, wanted_value):
            return implicit(key, wanted_key) and implicit(value, wanted_value)
        case NullType(), _:
            return True
        case _:
            return False

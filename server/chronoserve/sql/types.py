"""Spark SQL's types: Chronon's own, and those that Chronon has no form for.

Inside this room a struct type has no name (types compare by shape); ``chronon_type`` gives it the name that Chronon's
planner would: the column's name capitalised, ``Element``, ``Key`` or ``Value`` for what is nested, then ``Struct``.
"""

import re
from dataclasses import dataclass

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
    Field,
    ListType,
    MapType,
    StructType,
    UnknownType,
)

PRECISION_MAX = 38
INTEGRAL_ORDER = (BYTE, SHORT, INT, LONG)


@dataclass(frozen=True, slots=True)
class DecimalType(DataType):
    """decimal(precision, scale); its values are ``decimal.Decimal`` with exactly ``scale`` digits after the point."""

    precision: int
    scale: int


@dataclass(frozen=True, slots=True)
class NullType(DataType):
    """The type of a bare ``null``."""


@dataclass(frozen=True, slots=True)
class CalendarInterval(DataType):
    """Months, days and microseconds together; a value is a tuple of the three."""


@dataclass(frozen=True, slots=True)
class DayTimeInterval(DataType):
    """A value is an int of microseconds. ``first`` and ``last``: 0 day, 1 hour, 2 minute, 3 second."""

    first: int = 0
    last: int = 3


@dataclass(frozen=True, slots=True)
class YearMonthInterval(DataType):
    """A value is an int of months. ``first`` and ``last``: 0 year, 1 month."""

    first: int = 0
    last: int = 1


@dataclass(frozen=True, slots=True)
class FunctionType(DataType):
    """The type of a lambda, which is no value: only higher-order functions take one."""


NULL = NullType()
CALENDAR_INTERVAL = CalendarInterval()
FUNCTION = FunctionType()

NAMES: dict[DataType, str] = {
    BOOLEAN: "boolean",
    BYTE: "tinyint",
    SHORT: "smallint",
    INT: "int",
    LONG: "bigint",
    FLOAT: "float",
    DOUBLE: "double",
    STRING: "string",
    BINARY: "binary",
    DATE: "date",
    TIMESTAMP: "timestamp",
    NULL: "void",
    CALENDAR_INTERVAL: "interval",
}
DAY_TIME_UNITS = ("day", "hour", "minute", "second")
YEAR_MONTH_UNITS = ("year", "month")


def struct(*fields: tuple[str, DataType]) -> StructType:
    return StructType("", tuple(Field(name, data_type) for name, data_type in fields))


def shape(data_type: DataType) -> DataType:
    """The same type with no struct names in it, so that types compare by shape; decimals of other rooms are understood."""
    match data_type:
        case ListType(element):
            return ListType(shape(element))
        case MapType(key, value):
            return MapType(shape(key), shape(value))
        case StructType(_, fields):
            return StructType("", tuple(Field(field.name, shape(field.type)) for field in fields))
        case UnknownType(text):
            return unknown_shape(text)
        case _:
            return data_type


def unknown_shape(text: str) -> DataType:
    decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", text)
    return DecimalType(int(decimal[1]), int(decimal[2])) if decimal else NULL


def spark_name(data_type: DataType) -> str:
    """What ``typeof`` says: ``map<string,array<bigint>>``."""
    match data_type:
        case ListType(element):
            return f"array<{spark_name(element)}>"
        case MapType(key, value):
            return f"map<{spark_name(key)},{spark_name(value)}>"
        case StructType(_, fields):
            return f"struct<{','.join(f'{field_name(field.name)}:{spark_name(field.type)}' for field in fields)}>"
        case DecimalType(precision, scale):
            return f"decimal({precision},{scale})"
        case DayTimeInterval(first, last):
            return interval_name(DAY_TIME_UNITS, first, last)
        case YearMonthInterval(first, last):
            return interval_name(YEAR_MONTH_UNITS, first, last)
        case _:
            return NAMES.get(data_type, "unknown")


def field_name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_]+", name) else f"`{name.replace('`', '``')}`"


def interval_name(units: tuple[str, ...], first: int, last: int) -> str:
    return f"interval {units[first]}" if first == last else f"interval {units[first]} to {units[last]}"


def chronon_type(name: str, data_type: DataType) -> DataType:
    """The type as Chronon declares it for a column called ``name``; UnknownType where Chronon has none."""
    title = name[:1].upper() + name[1:]
    match data_type:
        case ListType(element):
            return ListType(chronon_type(f"{title}Element", element))
        case MapType(key, value):
            return MapType(chronon_type(f"{title}Key", key), chronon_type(f"{title}Value", value))
        case StructType(_, fields):
            return StructType(f"{title}Struct", tuple(Field(field.name, chronon_type(field.name, field.type)) for field in fields))
        case NullType() | DecimalType() | CalendarInterval() | DayTimeInterval() | YearMonthInterval():
            return UnknownType(spark_name(data_type))
        case _:
            return data_type


def has_struct(data_type: DataType) -> bool:
    match data_type:
        case ListType(element):
            return has_struct(element)
        case MapType(key, value):
            return has_struct(key) or has_struct(value)
        case _:
            return isinstance(data_type, StructType)


def has_map(data_type: DataType) -> bool:
    match data_type:
        case ListType(element):
            return has_map(element)
        case StructType(_, fields):
            return any(has_map(field.type) for field in fields)
        case _:
            return isinstance(data_type, MapType)


def is_numeric(data_type: DataType) -> bool:
    return data_type in (BYTE, SHORT, INT, LONG, FLOAT, DOUBLE) or isinstance(data_type, DecimalType)


def is_integral(data_type: DataType) -> bool:
    return data_type in INTEGRAL_ORDER


def is_atomic(data_type: DataType) -> bool:
    return not isinstance(data_type, ListType | MapType | StructType | NullType | CalendarInterval | FunctionType)


def is_interval(data_type: DataType) -> bool:
    return isinstance(data_type, CalendarInterval | DayTimeInterval | YearMonthInterval)


def is_orderable(data_type: DataType) -> bool:
    """Whether ``<`` is defined: everything but maps, calendar intervals and what holds them."""
    match data_type:
        case ListType(element):
            return is_orderable(element)
        case StructType(_, fields):
            return all(is_orderable(field.type) for field in fields)
        case _:
            return not isinstance(data_type, MapType | CalendarInterval | FunctionType)

"""Casts of intervals, to and from text and numbers."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from chronoserve.model.types import STRING, DataType
from chronoserve.sql.datetimes import MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND
from chronoserve.sql.decimals import fitting
from chronoserve.sql.types import DAY_TIME_UNITS, YEAR_MONTH_UNITS, DayTimeInterval, DecimalType, YearMonthInterval, is_integral


def interval_caster(source: DataType, target: DataType) -> Callable[[Any], Any] | None:
    match source, target:
        case DayTimeInterval(), DayTimeInterval():
            return lambda value: value
        case YearMonthInterval(), YearMonthInterval():
            return lambda value: value
        case DayTimeInterval(first, last), _ if target == STRING:
            return lambda micros: f"INTERVAL '{day_time_text(micros, first, last)}' {span(DAY_TIME_UNITS, first, last)}"
        case YearMonthInterval(first, last), _ if target == STRING:
            return lambda months: f"INTERVAL '{year_month_text(months, first, last)}' {span(YEAR_MONTH_UNITS, first, last)}"
        case DayTimeInterval(first, last), _ if first == last and (is_integral(target) or isinstance(target, DecimalType)):
            return in_units((MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND)[first], target)
        case YearMonthInterval(first, last), _ if first == last and (is_integral(target) or isinstance(target, DecimalType)):
            return in_units(12 if first == 0 else 1, target)
        case _:
            return None


def in_units(size: int, target: DataType) -> Callable[[int], Any]:
    """How many units an interval is; whole ones only, unless the target is a decimal."""
    if isinstance(target, DecimalType):
        fit = fitting(target)
        return lambda interval: fit(Decimal(interval) / size)
    return lambda interval: int(Decimal(interval) / size)


def span(units: tuple[str, ...], first: int, last: int) -> str:
    return (units[first] if first == last else f"{units[first]} to {units[last]}").upper()


def year_month_text(months: int, first: int, last: int) -> str:
    sign, months = ("-" if months < 0 else ""), abs(months)
    if first == last:
        return f"{sign}{months // 12 if first == 0 else months}"
    return f"{sign}{months // 12}-{months % 12}"


def day_time_text(micros: int, first: int, last: int) -> str:
    """From the first unit, with two digits for each that follows; seconds with their fraction."""
    sign, rest = ("-" if micros < 0 else ""), abs(micros)
    parts: list[str] = []
    for index in range(first, last + 1):
        size = (MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND)[index]
        count, rest = divmod(rest, size)
        text = f"{count:02d}" if index > 0 else str(count)
        if index == 3 and rest:
            text += f".{rest:06d}".rstrip("0")
        parts.append(text)
    if first == 0 and last > 0:
        return f"{sign}{parts[0]} {':'.join(parts[1:])}"
    return sign + ":".join(parts)

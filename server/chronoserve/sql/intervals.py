"""Intervals: ``interval 1 day``, ``interval '1-2' year to month``; they are added to dates and timestamps, and compared."""

import re
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from chronoserve.model.errors import InvalidRequest, Unsupported
from chronoserve.model.types import DataType
from chronoserve.sql.datetimes import MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MILLI, MICROS_PER_MINUTE, MICROS_PER_SECOND
from chronoserve.sql.syntax import Call, Literal, Syntax
from chronoserve.sql.types import DAY_TIME_UNITS, YEAR_MONTH_UNITS, DayTimeInterval, YearMonthInterval

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERVAL_FORMS = "'1 day 2 hours'"
SINGULAR = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond")
UNITS = {form: unit for unit in SINGULAR if unit != "quarter" for form in (unit, f"{unit}s")}
MONTHS = {"year": 12, "month": 1}
MICROS = {
    "week": 7 * MICROS_PER_DAY,
    "day": MICROS_PER_DAY,
    "hour": MICROS_PER_HOUR,
    "minute": MICROS_PER_MINUTE,
    "second": MICROS_PER_SECOND,
    "millisecond": MICROS_PER_MILLI,
    "microsecond": 1,
}
PAIR = re.compile(r"\s*([+-]?)\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]+)")
YEAR_TO_MONTH = re.compile(r"([+-]?)(\d+)-(\d+)")
DAY_TIME = re.compile(r"([+-]?)(?:(\d+)(?: |$))?(?:(\d+):(\d+)(?::(\d+)(?:\.(\d{1,9}))?)?)?")


def type_of_units(units: "Sequence[str]") -> DataType:
    """The interval type that spans the named units."""
    months = [YEAR_MONTH_UNITS.index(unit) for unit in units if unit in MONTHS]
    days = [DAY_TIME_UNITS.index(day_time_unit(unit)) for unit in units if unit in MICROS]
    if months and days:
        raise InvalidRequest("an interval has years and months or days to seconds, not both", field="expression")
    return YearMonthInterval(min(months), max(months)) if months else DayTimeInterval(min(days), max(days))


def day_time_unit(unit: str) -> str:
    return {"week": "day", "millisecond": "second", "microsecond": "second"}.get(unit, unit)


def amount(unit: str, number: Decimal) -> int:
    """``number`` of ``unit`` in months or microseconds. Only seconds have fractions."""
    if number != number.to_integral_value() and unit != "second":
        raise InvalidRequest(f"an interval of {unit}s is a whole number of them", field="expression")
    return int((number * (MONTHS.get(unit) or MICROS[unit])).to_integral_value(ROUND_DOWN))


def interval_of_text(text: str) -> tuple[int, DataType] | None:
    """The value and type of ``1 day 2 hours``; None where it is no such text."""
    body = re.sub(r"^\s*interval\s", "", text.lower())
    total, units, at = 0, [], 0
    for match in PAIR.finditer(body):
        sign, digits, word = match.groups()
        if match.start() != at or word not in UNITS:
            return None
        at = match.end()
        units.append(UNITS[word])
        total += amount(UNITS[word], Decimal(f"{sign}{digits}"))
    return (total, type_of_units(units)) if units and not body[at:].strip() else None


def interval_of_parts(parts: list[tuple[Syntax, str, str]]) -> Syntax:
    """``interval <value> <unit> …`` with constant values, or ``'…' <unit> to <unit>``."""
    if any(until for _, _, until in parts):
        ((value, first, last),) = parts if len(parts) == 1 else [(parts[0][0], "", "")]
        return spanning(value, first, last)
    total = sum(amount(unit, constant(value)) for value, unit, _ in parts)
    return Literal(total, type_of_units([unit for _, unit, _ in parts]))


def constant(value: Syntax) -> Decimal:
    match value:
        case Literal(str() as text, _) if re.fullmatch(r"\s*[+-]?\s*\d+(\.\d*)?\s*", text):
            return Decimal(text.replace(" ", ""))
        case Literal(int() | Decimal() as number, _):
            return Decimal(number)
        case Call("negative", (inner,)):
            return -constant(inner)
        case _:
            raise Unsupported("interval literals take constant numbers; make_dt_interval and make_ym_interval take columns")


def spanning(value: Syntax, first: str, last: str) -> Literal:
    text = value.value if isinstance(value, Literal) else None
    if not isinstance(text, str) or not first:
        raise InvalidRequest("interval … to … takes one string, as '1-2' year to month", field="expression")
    if (first, last) == ("year", "month") and (match := YEAR_TO_MONTH.fullmatch(text.strip())):
        months = int(match[2]) * 12 + int(match[3])
        return Literal(-months if match[1] == "-" else months, YearMonthInterval())
    data_type = type_of_units([first, last])
    if not isinstance(data_type, DayTimeInterval) or not (match := DAY_TIME.fullmatch(text.strip())):
        raise InvalidRequest(f"{text!r} is no interval of {first} to {last}", field="expression")
    return Literal(clock_micros(match, first, last), data_type)


def clock_micros(match: re.Match[str], first: str, last: str) -> int:
    """Microseconds of ``1 02:03:04.5``; without seconds, ``2:03`` is hours and minutes, or minutes and seconds."""
    sign, days, hours, minutes, seconds, fraction = match.groups()
    if seconds is None and (first, last) == ("minute", "second"):
        hours, minutes, seconds = "0", hours, minutes
    micros = int((fraction or "").ljust(9, "0")[:6])
    for text, unit in ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second")):
        micros += int(text or 0) * MICROS[unit]
    return -micros if sign == "-" else micros

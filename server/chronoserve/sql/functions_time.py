"""Functions of dates and times, in UTC. There is no clock: a derivation's time is ``ts``, its date ``ds``."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import BOOLEAN, BYTE, DATE, DOUBLE, INT, LONG, SHORT, STRING, TIMESTAMP, DataType
from chronoserve.sql.casts import text_to_integral
from chronoserve.sql.datetimes import (
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MILLI,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    add_months,
    day_of,
    days_in_month,
    days_of,
)
from chronoserve.sql.nodes import Constant, Node, constant, strict
from chronoserve.sql.numbers import wrap_int
from chronoserve.sql.registry import (
    Function,
    accept,
    accept_all,
    alias,
    constant_of,
    refusal,
    simple,
    special,
)
from chronoserve.sql.time_text import timestamp_of_text
from chronoserve.sql.types import (
    DAY_TIME_UNITS,
    YEAR_MONTH_UNITS,
    DayTimeInterval,
    DecimalType,
    YearMonthInterval,
    is_numeric,
)

SECONDS_TYPE = DecimalType(8, 6)


# fields


def year_of(days: int) -> int:
    return day_of(days)[0]


def month_of(days: int) -> int:
    return day_of(days)[1]


def day_of_month(days: int) -> int:
    return day_of(days)[2]


def quarter_of(days: int) -> int:
    return (day_of(days)[1] + 2) // 3


def day_of_year(days: int) -> int:
    return days - first_of_year(day_of(days)[0]) + 1


def first_of_year(year: int) -> int:
    found = days_of(year, 1, 1)
    assert found is not None
    return found


def weekday(days: int) -> int:
    """0 is Monday."""
    return (days + 3) % 7


def day_of_week(days: int) -> int:
    """1 is Sunday."""
    return (days + 4) % 7 + 1


def iso_year(days: int) -> int:
    return day_of(days - weekday(days) + 3)[0]


def week_of_year(days: int) -> int:
    """ISO: the first week has the year's first Thursday."""
    thursday = days - weekday(days) + 3
    return (thursday - first_of_year(day_of(thursday)[0])) // 7 + 1


def hour_of(micros: int) -> int:
    return micros % MICROS_PER_DAY // MICROS_PER_HOUR


def minute_of(micros: int) -> int:
    return micros % MICROS_PER_HOUR // MICROS_PER_MINUTE


def second_of(micros: int) -> int:
    return micros % MICROS_PER_MINUTE // MICROS_PER_SECOND


def fractional_second(micros: int) -> Decimal:
    return Decimal(micros % MICROS_PER_MINUTE).scaleb(-6)


DATE_FIELDS: dict[str, tuple[Callable[[int], int], tuple[str, ...]]] = {
    "year": (year_of, ("y", "years", "yr", "yrs")),
    "yearofweek": (iso_year, ()),
    "quarter": (quarter_of, ("qtr",)),
    "month": (month_of, ("mon", "mons", "months")),
    "week": (week_of_year, ("w", "weeks")),
    "day": (day_of_month, ("d", "days")),
    "dayofweek": (day_of_week, ("dow",)),
    "dayofweek_iso": (lambda days: weekday(days) + 1, ("dow_iso",)),
    "doy": (day_of_year, ()),
}
TIME_FIELDS: dict[str, tuple[Callable[[int], Any], DataType, tuple[str, ...]]] = {
    "hour": (hour_of, INT, ("h", "hours", "hr", "hrs")),
    "minute": (minute_of, INT, ("m", "min", "mins", "minutes")),
    "second": (fractional_second, SECONDS_TYPE, ("s", "sec", "seconds", "secs")),
}


def date_part(name: str, arguments: list[Node]) -> Node:
    """``date_part(field, source)`` and ``extract(field from source)``."""
    title = constant_of(name, arguments[0], STRING)
    source = arguments[1]
    if title is None:
        return constant(None, DOUBLE)
    field = title.lower()
    if isinstance(source.type, DayTimeInterval | YearMonthInterval):
        return interval_part(name, field, source)
    for title, (function, names) in DATE_FIELDS.items():
        if field == title or field in names:
            return strict(title, INT, function, accept(name, source, DATE))
    for title, (reader, result, names) in TIME_FIELDS.items():
        if field == title or field in names:
            return strict(f"{title} part", result, reader, accept(name, source, TIMESTAMP))
    raise InvalidRequest(f"{name} knows no field {field}", field="expression")


INTERVAL_FIELDS: dict[str, tuple[type, DataType, Callable[[int], Any]]] = {
    "year": (YearMonthInterval, INT, lambda months: int(months / 12)),
    "month": (YearMonthInterval, BYTE, lambda months: int(months - 12 * int(months / 12))),
    "day": (DayTimeInterval, INT, lambda micros: toward_zero(micros, MICROS_PER_DAY)),
    "hour": (DayTimeInterval, BYTE, lambda micros: toward_zero(remaining(micros, MICROS_PER_DAY), MICROS_PER_HOUR)),
    "minute": (DayTimeInterval, BYTE, lambda micros: toward_zero(remaining(micros, MICROS_PER_HOUR), MICROS_PER_MINUTE)),
    "second": (DayTimeInterval, SECONDS_TYPE, lambda micros: Decimal(remaining(micros, MICROS_PER_MINUTE)).scaleb(-6)),
}


def toward_zero(number: int, unit: int) -> int:
    return number // unit if number >= 0 else -(-number // unit)


def remaining(number: int, unit: int) -> int:
    return number - unit * toward_zero(number, unit)


def within(field: str, kind: DataType) -> bool:
    """Whether an interval type has a field between its first and last units."""
    match kind:
        case DayTimeInterval(first, last):
            return first <= DAY_TIME_UNITS.index(field) <= last
        case YearMonthInterval(first, last):
            return first <= YEAR_MONTH_UNITS.index(field) <= last
        case _:
            return False


def interval_part(name: str, field: str, source: Node) -> Node:
    known = INTERVAL_FIELDS.get(field.removesuffix("s"))
    if known is None or not isinstance(source.type, known[0]) or not within(field.removesuffix("s"), source.type):
        raise InvalidRequest(f"{name}: that interval has no field {field}", field="expression")
    return strict(f"interval {field}", known[1], known[2], source)


# moving


def whole_days(name: str, node: Node) -> Node:
    """The count of days of ``date_add``: a whole number, or a constant text of one."""
    if node.type == STRING and isinstance(node, Constant):
        value = None if node.value is None or "." in node.value else text_to_integral(32)(node.value)
        if value is None and node.value is not None:
            raise InvalidRequest(f"{name} takes whole days, not {node.value!r}", field="expression")
        return constant(value, INT)
    if node.type in (INT, SHORT, BYTE) or not (is_numeric(node.type) or node.type == STRING):
        return accept(name, node, INT)
    raise refusal(name, "an int of days", node)


def date_add(sign: int) -> Callable[[str, list[Node]], Node]:
    def resolve(name: str, arguments: list[Node]) -> Node:
        start, days = accept(name, arguments[0], DATE), whole_days(name, arguments[1])
        return strict(f"date {sign}", DATE, lambda at, count: wrap_int(at + sign * count), start, days)

    return resolve


def months_later(days: int, months: int) -> int:
    found = add_months(days, months)
    if wrap_int(found) != found:
        raise DerivationFailed("integer overflow: a date beyond 32 bits of days")
    return found


def last_day(days: int) -> int:
    year, month, day = day_of(days)
    return days - day + days_in_month(year, month)


DAY_NAMES = {
    name: index
    for index, names in enumerate(
        ("MO MON MONDAY", "TU TUE TUESDAY", "WE WED WEDNESDAY", "TH THU THURSDAY", "FR FRI FRIDAY", "SA SAT SATURDAY", "SU SUN SUNDAY")
    )
    for name in names.split()
}


def next_day(days: int, name: str) -> int | None:
    wanted = DAY_NAMES.get(name.strip().upper())
    return None if wanted is None else days + 1 + (wanted - weekday(days) - 1) % 7


def months_between(name: str, arguments: list[Node]) -> Node:
    first, second, *rest = arguments
    rounded = accept(name, rest[0], BOOLEAN) if rest else constant(True, BOOLEAN)
    return strict(name, DOUBLE, month_distance, accept(name, first, TIMESTAMP), accept(name, second, TIMESTAMP), rounded)


SECONDS_PER_MONTH = 31 * 86_400


def month_distance(first: int, second: int, rounded: bool) -> float:
    """Whole months where both are the same day of the month, or both the last; else by months of 31 days."""
    (days1, time1), (days2, time2) = divmod(first, MICROS_PER_DAY), divmod(second, MICROS_PER_DAY)
    date1, date2 = day_of(days1), day_of(days2)
    months = (date1.year - date2.year) * 12 + date1.month - date2.month
    if date1.day == date2.day or (last_day(days1) == days1 and last_day(days2) == days2):
        return float(months)
    seconds = (date1.day - date2.day) * 86_400 + time1 // MICROS_PER_SECOND - time2 // MICROS_PER_SECOND
    distance = months + seconds / SECONDS_PER_MONTH
    return math.floor(distance * 1e8 + 0.5) / 1e8 if rounded else distance


# truncating


def first_of_quarter(days: int) -> int:
    year, month, _ = day_of(days)
    found = days_of(year, (month - 1) // 3 * 3 + 1, 1)
    assert found is not None
    return found


TRUNCATED_DATES: dict[str, Callable[[int], int]] = {
    "year": lambda days: first_of_year(day_of(days)[0]),
    "quarter": first_of_quarter,
    "month": lambda days: days - day_of(days)[2] + 1,
    "week": lambda days: days - weekday(days),
}
UNIT_NAMES = {
    **dict.fromkeys(("year", "yyyy", "yy"), "year"),
    **dict.fromkeys(("month", "mon", "mm"), "month"),
    "quarter": "quarter",
    "week": "week",
    **dict.fromkeys(("day", "dd"), "day"),
    **{unit: unit for unit in ("hour", "minute", "second", "millisecond", "microsecond")},
}
UNIT_MICROS = {
    "microsecond": 1,
    "millisecond": MICROS_PER_MILLI,
    "second": MICROS_PER_SECOND,
    "minute": MICROS_PER_MINUTE,
    "hour": MICROS_PER_HOUR,
    "day": MICROS_PER_DAY,
    "week": 7 * MICROS_PER_DAY,
}
UNIT_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def truncated_date(days: int, unit: str) -> int | None:
    function = TRUNCATED_DATES.get(UNIT_NAMES.get(unit.lower(), ""))
    return None if function is None else function(days)


def truncated_time(unit: str, micros: int) -> int | None:
    name = UNIT_NAMES.get(unit.lower(), "")
    if name in TRUNCATED_DATES:
        return TRUNCATED_DATES[name](micros // MICROS_PER_DAY) * MICROS_PER_DAY
    size = UNIT_MICROS.get(name)
    return None if size is None else micros - micros % size


def added_time(unit: str, count: int, micros: int) -> int:
    """``timestampadd``."""
    lower = unit.lower()
    if lower in UNIT_MONTHS:
        days, rest = divmod(micros, MICROS_PER_DAY)
        return add_months(days, count * UNIT_MONTHS[lower]) * MICROS_PER_DAY + rest
    size = UNIT_MICROS.get("day" if lower == "dayofyear" else lower)
    if size is None:
        raise DerivationFailed(f"timestampadd knows no unit {unit}")
    return micros + count * size


def time_between(unit: str, first: int, second: int) -> int:
    """``timestampdiff``: whole units from the first to the second time."""
    lower = unit.lower()
    if lower in UNIT_MONTHS:
        return toward_zero(whole_months(first, second), UNIT_MONTHS[lower])
    size = UNIT_MICROS.get("day" if lower == "dayofyear" else lower)
    if size is None:
        raise DerivationFailed(f"timestampdiff knows no unit {unit}")
    return toward_zero(second - first, size)


def whole_months(first: int, second: int) -> int:
    date1, date2 = day_of(first // MICROS_PER_DAY), day_of(second // MICROS_PER_DAY)
    months = (date2.year - date1.year) * 12 + date2.month - date1.month
    within1 = date1.day * MICROS_PER_DAY + first % MICROS_PER_DAY
    within2 = date2.day * MICROS_PER_DAY + second % MICROS_PER_DAY
    if months > 0 and within2 < within1:
        return months - 1
    return months + 1 if months < 0 and within2 > within1 else months


# functions


def with_unit(function: Callable[..., int], result: DataType, *wanted: DataType) -> Callable[[str, list[Node]], Node]:
    def resolve(name: str, arguments: list[Node]) -> Node:
        unit, *rest = arguments
        return strict(name, result, function, accept(name, unit, STRING), *accept_all(name, rest, wanted))

    return resolve


def of_date(usage: str, function: Callable[[int], int], doc: str) -> Function:
    return simple(usage, (DATE,), INT, function, doc)


def of_time(usage: str, function: Callable[[int], int], doc: str) -> Function:
    """A field of a time of day; a text may be a time without a date here."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        (source,) = arguments
        if source.type != STRING:
            return strict(name, INT, function, accept(name, source, TIMESTAMP))
        return strict(name, INT, lambda text: None if (micros := timestamp_of_text(text, today=0)) is None else function(micros), source)

    return special(usage, 1, 1, resolve, doc)


DAY = of_date("day(date)", day_of_month, "Day of the month.")
DATE_ADD = special("date_add(date, days)", 2, 2, date_add(1), "So many days later.")
DATEDIFF = simple("datediff(end, start)", (DATE, DATE), INT, lambda end, start: end - start, "Days from start to end.")
DATE_PART = special("date_part(field, value)", 2, 2, date_part, "A field of a date, timestamp or interval; also extract(field from value).")
FUNCTIONS: tuple[Function, ...] = (
    of_date("year(date)", year_of, "Year."),
    of_date("quarter(date)", quarter_of, "Quarter, 1 to 4."),
    of_date("month(date)", month_of, "Month, 1 to 12."),
    DAY,
    alias("dayofmonth", DAY),
    of_date("dayofweek(date)", day_of_week, "Day of the week, 1 being Sunday."),
    of_date("weekday(date)", weekday, "Day of the week, 0 being Monday."),
    of_date("dayofyear(date)", day_of_year, "Day of the year."),
    of_date("weekofyear(date)", week_of_year, "ISO week of the year."),
    of_time("hour(time)", hour_of, "Hour, 0 to 23."),
    of_time("minute(time)", minute_of, "Minute."),
    of_time("second(time)", second_of, "Second."),
    DATE_PART,
    alias("datepart", DATE_PART),
    DATE_ADD,
    alias("dateadd", DATE_ADD),
    special("date_sub(date, days)", 2, 2, date_add(-1), "So many days earlier."),
    DATEDIFF,
    alias("date_diff", DATEDIFF),
    simple(
        "add_months(date, months)", (DATE, INT), DATE, months_later, "So many months later; the month's last day where it has no such day."
    ),
    special(
        "months_between(end, start, rounded)",
        2,
        3,
        months_between,
        "Months from start to end; fractions are of 31 days, rounded to 8 digits.",
    ),
    simple("last_day(date)", (DATE,), DATE, last_day, "The last day of the month."),
    simple("next_day(date, weekday)", (DATE, STRING), DATE, next_day, "The first such weekday after the date."),
    simple("trunc(date, unit)", (DATE, STRING), DATE, truncated_date, "The first day of the year, quarter, month or week."),
    simple("date_trunc(unit, time)", (STRING, TIMESTAMP), TIMESTAMP, truncated_time, "A time cut to a unit."),
    Function(
        "add units",
        3,
        3,
        with_unit(added_time, TIMESTAMP, INT, TIMESTAMP),
        "timestampadd(unit, count, time)",
        "So many units later; also dateadd(unit, count, time).",
    ),
    Function(
        "units between",
        3,
        3,
        with_unit(time_between, LONG, TIMESTAMP, TIMESTAMP),
        "timestampdiff(unit, start, end)",
        "Whole units from start to end; also datediff(unit, start, end).",
    ),
)

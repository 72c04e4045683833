"""Dates and times as Spark counts them: days and microseconds since the epoch, proleptic Gregorian, in UTC."""

import re
from datetime import MAXYEAR, MINYEAR, date
from typing import NamedTuple

MICROS_PER_SECOND = 1_000_000
MICROS_PER_MILLI = 1_000
MICROS_PER_MINUTE = 60 * MICROS_PER_SECOND
MICROS_PER_HOUR = 60 * MICROS_PER_MINUTE
MICROS_PER_DAY = 24 * MICROS_PER_HOUR
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
DAYS_PER_400_YEARS = 146_097
MONTH_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Day(NamedTuple):
    year: int
    month: int
    day: int


def day_of(days: int) -> Day:
    """Year, month and day of a count of days; years outside of Python's calendar too."""
    ordinal = days + EPOCH_ORDINAL
    if 1 <= ordinal <= 3_652_059:
        found = date.fromordinal(ordinal)
        return Day(found.year, found.month, found.day)
    cycles, rest = divmod(ordinal - 1, DAYS_PER_400_YEARS)
    found = date.fromordinal(rest + 1)
    return Day(found.year + 400 * cycles, found.month, found.day)


def days_of(year: int, month: int, day: int) -> int | None:
    """Days since the epoch; None where there is no such day."""
    if not (1 <= month <= 12 and 1 <= day <= days_in_month(year, month)):
        return None
    if MINYEAR <= year <= MAXYEAR:
        return date(year, month, day).toordinal() - EPOCH_ORDINAL
    cycles, rest = divmod(year - 1, 400)
    return date(rest + 1, month, day).toordinal() - EPOCH_ORDINAL + cycles * DAYS_PER_400_YEARS


def is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    return 29 if month == 2 and is_leap(year) else MONTH_DAYS[month]


def add_months(days: int, months: int) -> int:
    """The same day of another month, or that month's last day."""
    year, month, day = day_of(days)
    count = year * 12 + month - 1 + months
    year, month = count // 12, count % 12 + 1
    found = days_of(year, month, min(day, days_in_month(year, month)))
    return found if found is not None else 0


# zones

ZONE = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?(\d{1,2}))?(?::?(\d{2}))?")


def zone_offset(text: str) -> int | None:
    """Microseconds east of Greenwich of a fixed zone: ``Z``, ``UTC``, ``+01:00``. Regions are not known here: None."""
    if text in ("Z", "UTC", "GMT", "UT", "UCT", "Zulu", "Etc/UTC", "Etc/GMT", "Greenwich", "Universal"):
        return 0
    match = ZONE.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    if hours > 18 or minutes > 59 or seconds > 59 or hours * 3600 + minutes * 60 + seconds > 18 * 3600:
        return None
    micros = (hours * 3600 + minutes * 60 + seconds) * MICROS_PER_SECOND
    return -micros if match[1] == "-" else micros

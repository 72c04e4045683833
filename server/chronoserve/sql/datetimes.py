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


# text

DATE_TEXT = re.compile(r"([+-]?\d{4,7})(?:-(\d{1,2})(?:-(\d{1,2})(?:[ T].*)?)?)?", re.DOTALL)
TRIMMED = "".join(map(chr, range(33))) + "\x7f"
TIMESTAMP_TEXT = re.compile(
    r"(?:(?P<year>[+-]?\d{4,6})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2})(?P<gap>[ T])?)?)?)?"
    r"(?:(?P<alone>T)?(?P<hour>\d{1,2}):(?:(?P<minute>\d{1,2})(?::(?:(?P<second>\d{1,2})(?:\.(?P<fraction>\d*))?)?)?)?)?"
    r"\s*(?P<zone>\S.*)?",
    re.ASCII | re.DOTALL,
)


def date_of_text(text: str) -> int | None:
    """``cast(text as date)``: ``2024-02-29``, ``2024-2``, ``2024``, and anything behind the day after a blank or T."""
    match = DATE_TEXT.fullmatch(text.strip(TRIMMED))
    if match is None:
        return None
    year, month, day = match.groups()
    return days_of(int(year), int(month or 1), int(day or 1))


def timestamp_of_text(text: str) -> int | None:
    """``cast(text as timestamp)``: a date, a time of day, both, and a zone; None where it is neither."""
    stripped = text.strip(TRIMMED)
    match = TIMESTAMP_TEXT.fullmatch(stripped)
    if match is None or not stripped:
        return None
    found = match.groupdict()
    if found["year"] is None or (found["hour"] is not None and found["gap"] is None):
        # a time without a day is today's, and we have no clock: Spark's answer would differ by the day
        return None
    if found["hour"] is None and found["zone"] is not None:
        return None
    days = days_of(int(found["year"]), int(found["month"] or 1), int(found["day"] or 1))
    time = time_of(found)
    offset = zone_offset(found["zone"]) if found["zone"] else 0
    if days is None or time is None or offset is None:
        return None
    micros = days * MICROS_PER_DAY + time - offset
    return micros if -(1 << 63) <= micros < 1 << 63 else None


def time_of(found: dict[str, str | None]) -> int | None:
    hour, minute, second = (int(found[unit] or 0) for unit in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    return hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + second * MICROS_PER_SECOND + int(fraction)


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


def date_text(days: int) -> str:
    year, month, day = day_of(days)
    return f"{year_text(year)}-{month:02d}-{day:02d}"


def year_text(year: int) -> str:
    if 0 <= year <= 9999:
        return f"{year:04d}"
    return f"+{year}" if year > 9999 else f"-{-year:04d}"


def timestamp_text(micros: int) -> str:
    """``2024-02-29 10:20:30.5``: fractions without trailing zeros."""
    days, rest = divmod(micros, MICROS_PER_DAY)
    second, fraction = divmod(rest, MICROS_PER_SECOND)
    text = f"{date_text(days)} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") if fraction else text

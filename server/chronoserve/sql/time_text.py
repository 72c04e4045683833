"""Dates and timestamps from text and as text, as ``cast`` reads and writes them."""

import re
from datetime import date

from chronoserve.model.errors import DerivationFailed
from chronoserve.sql.datetimes import (
    EPOCH_ORDINAL,
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    day_of,
    days_of,
    zone_offset,
)
from chronoserve.sql.julian import named
from chronoserve.sql.zones import from_zone

TRIMMED = "".join(map(chr, range(33))) + "\x7f"
"""The characters that Spark passes over at both ends."""
PLAIN_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
"""What nearly all dates look like."""
DATE_TEXT = re.compile(r"([+-]?\d{4,7})(?:-(\d{1,2})(?:-(\d{1,2})(?:[ T].*)?)?)?", re.ASCII | re.DOTALL)
TIME_OF_DAY = r"(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d*))?)?)?\s*(?P<zone>\S.*)?"
TIMESTAMP_TEXT = re.compile(
    rf"(?P<year>[+-]?\d{{4,6}})(?:-(?P<month>\d{{1,2}})(?:-(?P<day>\d{{1,2}})(?:[ T]{TIME_OF_DAY})?)?)?", re.ASCII | re.DOTALL
)
TIME_TEXT = re.compile(rf"T?(?=\d{{1,2}}:){TIME_OF_DAY}", re.ASCII | re.DOTALL)


def date_of_text(text: str) -> int | None:
    """``cast(text as date)``: ``2024-02-29``, ``2024-2``, ``2024``, and anything behind the day after a blank or T."""
    if PLAIN_DATE.fullmatch(text):
        try:
            return date.fromisoformat(text).toordinal() - EPOCH_ORDINAL
        except ValueError:
            return None if text[:4] != "0000" else days_of(0, int(text[5:7]), int(text[8:]))
    match = DATE_TEXT.fullmatch(text.strip(TRIMMED))
    if match is None:
        return None
    year, month, day = match.groups()
    return days_of(int(year), int(month or 1), int(day or 1))


def timestamp_of_text(text: str, *, today: int | None = None) -> int | None:
    """``cast(text as timestamp)``: a date, a time of day behind it, and a zone behind that; null where it is something else.

    A time of day alone is one of ``today``, and null without: Spark takes the day on which it runs, and there is no clock here.
    """
    stripped = text.strip(TRIMMED)
    match = TIMESTAMP_TEXT.fullmatch(stripped) or (TIME_TEXT.fullmatch(stripped) if today is not None else None)
    if match is None:
        return None
    found = match.groupdict()
    days = days_of(int(found["year"]), int(found["month"] or 1), int(found["day"] or 1)) if "year" in found else today
    time = time_of(found)
    if days is None or time is None:
        return None
    micros = in_utc(days * MICROS_PER_DAY + time, found["zone"])
    return micros if micros is not None and -(1 << 63) <= micros < 1 << 63 else None


def time_of(found: dict[str, str | None]) -> int | None:
    hour, minute, second = (int(found[unit] or 0) for unit in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    return hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + second * MICROS_PER_SECOND + int(fraction)


def in_utc(micros: int, zone: str | None) -> int | None:
    """What clocks in a zone show, in UTC; None where the zone is not known."""
    offset = zone_offset(zone) if zone else 0
    if offset is not None:
        return micros - offset
    try:
        return from_zone(micros, zone or "")
    except DerivationFailed:
        return None


def date_text(days: int) -> str:
    """As the legacy formatter writes dates: years before 1 by their era, those beyond 9999 as they are."""
    year, month, day = day_of(named(days))
    return f"{year if year > 0 else 1 - year:04d}-{month:02d}-{day:02d}"


def timestamp_text(micros: int) -> str:
    """``2024-02-29 10:20:30.5``: fractions without trailing zeros, a sign before years that have not four digits."""
    days, rest = divmod(micros, MICROS_PER_DAY)
    second, fraction = divmod(rest, MICROS_PER_SECOND)
    year, month, day = day_of(days)
    sign = "+" if year > 9999 else "-" if year < 0 else ""
    text = f"{sign}{abs(year):04d}-{month:02d}-{day:02d} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") if fraction else text

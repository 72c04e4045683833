"""Time zones by name, for the functions that take one; everything else is UTC."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chronoserve.model.errors import DerivationFailed
from chronoserve.sql.datetimes import zone_offset

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a clock's face, in no zone
CALENDAR_FIRST = -62_135_510_400_000_000
CALENDAR_LAST = 253_402_128_000_000_000
SHORT_NAMES = {
    "PST": "America/Los_Angeles",
    "EST": "-05:00",
    "MST": "-07:00",
    "CST": "America/Chicago",
    "JST": "Asia/Tokyo",
    "IST": "Asia/Kolkata",
    "HST": "-10:00",
    "CTT": "Asia/Shanghai",
    "ECT": "Europe/Paris",
    "ACT": "Australia/Darwin",
}


@lru_cache(maxsize=64)
def zone_of(text: str) -> ZoneInfo:
    """The zone of that name.

    Raises:
        DerivationFailed: there is none.
    """
    try:
        return ZoneInfo(SHORT_NAMES.get(text, text))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DerivationFailed(f"the time zone {text} is not known") from error


def to_zone(micros: int, text: str) -> int:
    """What clocks in a zone show at a time in UTC, as if that were UTC."""
    offset = fixed_offset(text)
    if offset is not None:
        return micros + offset
    found = (EPOCH + timedelta(microseconds=within_calendar(micros))).astimezone(zone_of(text)).utcoffset()
    assert found is not None
    return micros + found // timedelta(microseconds=1)


def from_zone(micros: int, text: str) -> int:
    """The time in UTC at which clocks in a zone show this; where they show it twice, the first; where never, after the gap."""
    offset = fixed_offset(text)
    if offset is not None:
        return micros - offset
    found = (NAIVE_EPOCH + timedelta(microseconds=within_calendar(micros))).replace(tzinfo=zone_of(text)).utcoffset()
    assert found is not None
    return micros - found // timedelta(microseconds=1)


def within_calendar(micros: int) -> int:
    """A time of the years that Python knows; a zone's offset is the same before and after them."""
    return max(CALENDAR_FIRST, min(CALENDAR_LAST, micros))


def fixed_offset(text: str) -> int | None:
    return zone_offset(SHORT_NAMES.get(text, text))

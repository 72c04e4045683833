"""The calendar of Java's older formatters: Julian until 1582-10-04, which 1582-10-15 follows.

Spark's own days are of the Gregorian calendar at all times. Where such a formatter writes one of them, it writes the date of the same
name in its own calendar, which falls on another weekday; the ten dates that calendar has not become the one after them.
"""

from chronoserve.sql.datetimes import days_of

FIRST_GREGORIAN = -141_427
"""1582-10-15, in days since 1970-01-01."""
DATES_LEFT_OUT = 10


def named(days: int) -> int:
    """The day whose name is written for ``days``."""
    return FIRST_GREGORIAN if FIRST_GREGORIAN - DATES_LEFT_OUT <= days < FIRST_GREGORIAN else days


def counted(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of this calendar."""
    if (year, month, day) >= (1582, 10, 15):
        found = days_of(year, month, day)
        assert found is not None
        return found
    after_february = (month - 3) % 12
    years = year - (month < 3)
    return 365 * years + years // 4 + (153 * after_february + 2) // 5 + day - 719_471

"""Dates and timestamps from and to texts, numbers and other time zones, in UTC."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from chronoserve.model.errors import DerivationFailed, InvalidRequest, Unsupported
from chronoserve.model.types import DATE, DOUBLE, INT, LONG, STRING, TIMESTAMP
from chronoserve.sql.casts import cast
from chronoserve.sql.datetimes import (
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MILLI,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    days_of,
    zone_offset,
)
from chronoserve.sql.nodes import Constant, Node, constant, strict
from chronoserve.sql.numbers import LONG_MAX, LONG_MIN, double_to_long, wrap_long
from chronoserve.sql.registry import (
    EXACT_DATE,
    EXACT_STRING,
    EXACT_TIMESTAMP,
    INTEGRAL,
    Function,
    accept,
    accept_all,
    alias,
    refusal,
    simple,
    special,
)
from chronoserve.sql.time_patterns import formatted, parsed, pieces
from chronoserve.sql.types import (
    NULL,
    DayTimeInterval,
    DecimalType,
    YearMonthInterval,
    is_integral,
    is_numeric,
)
from chronoserve.sql.zones import from_zone, to_zone, zone_of

DEFAULT_PATTERN = "yyyy-MM-dd HH:mm:ss"


def date_format(name: str, arguments: list[Node]) -> Node:
    time, pattern = accept(name, arguments[0], TIMESTAMP), accept(name, arguments[1], STRING)
    check_pattern(name, pattern)
    return strict(name, STRING, format_by, time, pattern)


def check_pattern(name: str, node: Node) -> None:
    if isinstance(node, Constant) and node.value is not None and pieces(node.value) is None:
        raise InvalidRequest(f"{name}: {node.value!r} is no date pattern", field="expression")


def format_by(micros: int, pattern: str) -> str:
    found = pieces(pattern)
    if found is None:
        raise DerivationFailed("a date pattern is not valid")
    return formatted(micros, found)


def parse_by(text: str, pattern: str) -> int | None:
    found = pieces(pattern)
    if found is None:
        raise DerivationFailed("a date pattern is not valid")
    return parsed(text, found)


def from_unix(seconds: int, pattern: str = DEFAULT_PATTERN) -> str:
    return format_by(wrap_long(seconds * MICROS_PER_SECOND), pattern)


def from_unixtime(name: str, arguments: list[Node]) -> Node:
    nodes = accept_all(name, arguments, (LONG, STRING))
    for node in nodes[1:]:
        check_pattern(name, node)
    return strict(name, STRING, from_unix, *nodes)


def unix_timestamp(name: str, arguments: list[Node]) -> Node:
    """Seconds of a date, a timestamp, or a text by a pattern."""
    if not arguments:
        raise Unsupported(f"{name}() reads the clock, and only derivations have one: the request's ts")
    source, *rest = arguments
    rest = [accept(name, node, EXACT_STRING) for node in rest]
    if source.type == DATE:
        return strict("unix seconds of date", LONG, lambda days: days * 86_400, source)
    if source.type == TIMESTAMP:
        return strict("unix_seconds", LONG, whole_seconds, source)
    if source.type not in (STRING, NULL):
        raise refusal(name, "a string, date or timestamp", source)
    text = accept(name, source, STRING)
    pattern = rest[0] if rest else constant(DEFAULT_PATTERN, STRING)
    check_pattern(name, pattern)
    return strict(
        "unix_timestamp",
        LONG,
        lambda value, by: None if (micros := parse_by(value, by)) is None else whole_seconds(micros),
        text,
        pattern,
    )


def whole_seconds(micros: int) -> int:
    """Toward zero, as ``unix_timestamp`` cuts; ``unix_seconds`` goes down."""
    return micros // MICROS_PER_SECOND if micros >= 0 else -(-micros // MICROS_PER_SECOND)


def to_timestamp(name: str, arguments: list[Node]) -> Node:
    source, *rest = arguments
    if not rest or source.type in (DATE, TIMESTAMP):
        known = is_numeric(source.type) or source.type in (DATE, TIMESTAMP)
        return cast(source if known else accept(name, source, STRING), TIMESTAMP)
    if is_numeric(source.type):
        raise refusal(name, "a string, date or timestamp", source)
    return parsed_time(name, source, rest[0])


def parsed_time(name: str, source: Node, pattern: Node) -> Node:
    pattern = accept(name, pattern, STRING)
    check_pattern(name, pattern)
    return strict("to_timestamp", TIMESTAMP, parse_by, accept(name, source, STRING), pattern)


def to_date(name: str, arguments: list[Node]) -> Node:
    if len(arguments) == 1:
        (source,) = arguments
        return cast(source if source.type in (DATE, TIMESTAMP) else accept(name, source, STRING), DATE)
    source, pattern = arguments
    return cast(source if source.type in (DATE, TIMESTAMP) else parsed_time(name, source, pattern), DATE)


def make_timestamp(name: str, arguments: list[Node]) -> Node:
    kinds = (INT, INT, INT, INT, INT, DecimalType(16, 6), STRING)
    return strict(name, TIMESTAMP, timestamp_of, *accept_all(name, arguments, kinds))


def timestamp_of(*fields: Any) -> int | None:
    """Of year, month, day, hour, minute, second (a decimal) and, if given, a zone."""
    year, month, day, hour, minute = (int(field) for field in fields[:5])
    second, *zones = fields[5:]
    zone = zones[0] if zones else "UTC"
    days = days_of(year, month, day)
    micros = int(second.scaleb(6))
    offset = zone_offset(zone)
    if days is None or not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= micros <= 60 * MICROS_PER_SECOND):
        return None
    if offset is None:
        return from_zone(days * MICROS_PER_DAY + hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + micros, zone)
    return days * MICROS_PER_DAY + hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + micros - offset


def timestamp_seconds(name: str, arguments: list[Node]) -> Node:
    (source,) = arguments
    if not (is_numeric(source.type) or source.type == NULL):
        raise refusal(name, "a number", source)
    if is_integral(source.type):
        return strict(name, TIMESTAMP, checked_seconds, source)
    if isinstance(source.type, DecimalType):
        return strict(name, TIMESTAMP, lambda seconds: int(seconds * MICROS_PER_SECOND), source)
    return strict(
        name,
        TIMESTAMP,
        lambda seconds: double_to_long(seconds * MICROS_PER_SECOND) if seconds - seconds == 0 else None,
        cast(source, DOUBLE),
    )


def checked_seconds(seconds: int) -> int:
    return in_long(seconds * MICROS_PER_SECOND)


def in_long(micros: int) -> int:
    if not LONG_MIN <= micros <= LONG_MAX:
        raise DerivationFailed("long overflow: the time is beyond what 64 bits of microseconds hold")
    return micros


def zoned(convert: Callable[[int, str], int]) -> Callable[[str, list[Node]], Node]:
    def resolve(name: str, arguments: list[Node]) -> Node:
        time, zone = accept(name, arguments[0], TIMESTAMP), accept(name, arguments[1], STRING)
        if isinstance(zone, Constant) and not isinstance(time, Constant) and zone.value is not None and zone_offset(zone.value) is None:
            known_zone(zone.value)
        return strict(name, TIMESTAMP, convert, time, zone)

    return resolve


def known_zone(text: str) -> ZoneInfo:
    try:
        return zone_of(text)
    except DerivationFailed as error:
        raise InvalidRequest(error.message, field="expression") from error


def make_dt_interval(name: str, arguments: list[Node]) -> Node:
    nodes = accept_all(name, arguments, (INT, INT, INT, DecimalType(18, 6)))

    def run(days: int = 0, hours: int = 0, minutes: int = 0, seconds: Decimal = Decimal(0)) -> int:
        return in_long(days * MICROS_PER_DAY + hours * MICROS_PER_HOUR + minutes * MICROS_PER_MINUTE + int(seconds.scaleb(6)))

    return strict(name, DayTimeInterval(), run, *nodes)


def months_of(years: int = 0, months: int = 0) -> int:
    total = years * 12 + months
    if not -(1 << 31) <= total < 1 << 31:
        raise DerivationFailed("integer overflow: an interval beyond 32 bits of months")
    return total


def make_ym_interval(name: str, arguments: list[Node]) -> Node:
    nodes = accept_all(name, arguments, (INT, INT))
    return strict(name, YearMonthInterval(), months_of, *nodes)


UNIX_TIMESTAMP = special(
    "unix_timestamp(value, pattern)", 0, 2, unix_timestamp, "Seconds since 1970; null where the text does not match the pattern."
)


TO_TIMESTAMP = special("to_timestamp(value, pattern)", 1, 2, to_timestamp, "A timestamp; null where the text is none.")
MAKE_TIMESTAMP = special(
    "make_timestamp(year, month, day, hour, minute, second, zone)",
    6,
    7,
    make_timestamp,
    "A timestamp; null where there is no such time.",
)
FUNCTIONS: tuple[Function, ...] = (
    special("date_format(time, pattern)", 2, 2, date_format, "A text by a SimpleDateFormat pattern."),
    special("from_unixtime(seconds, pattern)", 1, 2, from_unixtime, "A text of seconds since 1970."),
    UNIX_TIMESTAMP,
    alias("to_unix_timestamp", UNIX_TIMESTAMP),
    special("to_date(value, pattern)", 1, 2, to_date, "A date; null where the text is none."),
    TO_TIMESTAMP,
    alias("to_timestamp_ltz", TO_TIMESTAMP),
    alias("try_to_timestamp", TO_TIMESTAMP),
    simple("make_date(year, month, day)", (INT, INT, INT), DATE, days_of, "A date; null where there is no such day."),
    MAKE_TIMESTAMP,
    alias("make_timestamp_ltz", MAKE_TIMESTAMP),
    special("make_dt_interval(days, hours, minutes, seconds)", 0, 4, make_dt_interval, "An interval of days to seconds."),
    special("make_ym_interval(years, months)", 0, 2, make_ym_interval, "An interval of years and months."),
    special("timestamp_seconds(seconds)", 1, 1, timestamp_seconds, "The timestamp of seconds since 1970."),
    simple(
        "timestamp_millis(millis)",
        (INTEGRAL,),
        TIMESTAMP,
        lambda millis: in_long(millis * MICROS_PER_MILLI),
        "The timestamp of milliseconds since 1970.",
    ),
    simple("timestamp_micros(micros)", (INTEGRAL,), TIMESTAMP, lambda micros: micros, "The timestamp of microseconds since 1970."),
    simple("unix_seconds(time)", (EXACT_TIMESTAMP,), LONG, lambda micros: micros // MICROS_PER_SECOND, "Seconds since 1970."),
    simple("unix_millis(time)", (EXACT_TIMESTAMP,), LONG, lambda micros: micros // MICROS_PER_MILLI, "Milliseconds since 1970."),
    simple("unix_micros(time)", (EXACT_TIMESTAMP,), LONG, lambda micros: micros, "Microseconds since 1970."),
    simple("unix_date(date)", (EXACT_DATE,), INT, lambda days: days, "Days since 1970-01-01."),
    simple("date_from_unix_date(days)", (INT,), DATE, lambda days: days, "The date of days since 1970-01-01."),
    special("from_utc_timestamp(time, zone)", 2, 2, zoned(to_zone), "What clocks in a zone show at a time in UTC."),
    special("to_utc_timestamp(time, zone)", 2, 2, zoned(from_zone), "The time in UTC at which clocks in a zone show this."),
)

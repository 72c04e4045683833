"""Java's SimpleDateFormat: the patterns of ``date_format``, ``unix_timestamp`` and the like (Chronon's sessions use the legacy parser).

Parsing is strict about ranges and lenient about the rest: a number may have fewer digits than its letters, blanks before
a field are passed over, and what follows the last field does not matter. Times are UTC, names English.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from chronoserve.sql.datetimes import (
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MILLI,
    MICROS_PER_MINUTE,
    MICROS_PER_SECOND,
    day_of,
    days_of,
    zone_offset,
)
from chronoserve.sql.julian import FIRST_GREGORIAN, counted, named

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LETTERS = frozenset("GyYMLwWDdFEuaHkKhmsSzZX")
CENTURY_BEGINS = 1946
"""Two digits of a year mean one of the hundred from here. Java counts from eighty years ago; a pure function has no today."""


class Piece(NamedTuple):
    """A run of ``size`` times one letter, or literal text where ``letter`` is empty."""

    letter: str
    size: int
    text: str


class Moment(NamedTuple):
    """A time taken apart. ``days``: since 1970, in the formatters' own calendar (see julian). ``weekday``: 0 is Monday."""

    year: int
    month: int
    day: int
    days: int
    hour: int
    minute: int
    second: int
    millis: int

    @property
    def weekday(self) -> int:
        return (self.days + 3) % 7

    @property
    def day_of_year(self) -> int:
        return self.days - counted(self.year, 1, 1) + 1


def moment_of(micros: int) -> Moment:
    days, rest = divmod(micros, MICROS_PER_DAY)
    seconds, fraction = divmod(rest, MICROS_PER_SECOND)
    day = day_of(named(days))
    return Moment(
        *day,
        days if days >= FIRST_GREGORIAN else counted(*day),
        seconds // 3600,
        seconds // 60 % 60,
        seconds % 60,
        fraction // MICROS_PER_MILLI,
    )


TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|([^A-Za-z']+)", re.DOTALL)


@lru_cache(maxsize=256)
def pieces(pattern: str) -> tuple[Piece, ...] | None:
    """The pieces of a pattern; None where it is not valid."""
    found: list[Piece] = []
    at = 0
    while at < len(pattern):
        match = TOKEN.match(pattern, at)
        if match is None or (match[2] and match[2] not in LETTERS):
            return None
        if match[2]:
            found.append(Piece(match[2], len(match[0]), ""))
        else:
            quoted = match[1]
            text = match[3] if quoted is None else quoted.replace("''", "'") or "'"
            found.append(Piece("", 0, text))
        at = match.end()
    return tuple(found)


# formatting


def two_ends(count: int, number: int) -> str:
    return str(number).zfill(count)


def week_of_year(moment: Moment) -> int:
    """In English weeks: they begin on Sunday, and the week of January 1st is the first."""
    first_weekday = (moment.weekday - (moment.day_of_year - 1)) % 7
    offset = (first_weekday + 1) % 7
    week = (moment.day_of_year - 1 + offset) // 7 + 1
    days_in_year = counted(moment.year + 1, 1, 1) - counted(moment.year, 1, 1)
    last_offset = (first_weekday + days_in_year + 1) % 7
    return 1 if moment.day_of_year > days_in_year - last_offset and last_offset else week


def week_year(moment: Moment) -> int:
    return moment.year + (moment.month == 12 and week_of_year(moment) == 1)


def week_of_month(moment: Moment) -> int:
    first_weekday = (moment.weekday - (moment.day - 1)) % 7
    return (moment.day - 1 + (first_weekday + 1) % 7) // 7 + 1


def month_text(count: int, month: int) -> str:
    name = MONTHS[month - 1]
    return two_ends(count, month) if count < 3 else name[:3] if count == 3 else name


def year_text(count: int, year: int) -> str:
    return f"{year % 100:02d}" if count == 2 else two_ends(count, year if year > 0 else 1 - year)


FORMATS: dict[str, Callable[[Moment, int], str]] = {
    "G": lambda moment, _count: "AD" if moment.year > 0 else "BC",
    "y": lambda moment, count: year_text(count, moment.year),
    "Y": lambda moment, count: year_text(count, week_year(moment)),
    "M": lambda moment, count: month_text(count, moment.month),
    "L": lambda moment, count: month_text(count, moment.month),
    "w": lambda moment, count: two_ends(count, week_of_year(moment)),
    "W": lambda moment, count: two_ends(count, week_of_month(moment)),
    "D": lambda moment, count: two_ends(count, moment.day_of_year),
    "d": lambda moment, count: two_ends(count, moment.day),
    "F": lambda moment, count: two_ends(count, (moment.day - 1) // 7 + 1),
    "E": lambda moment, count: WEEKDAYS[moment.weekday] if count > 3 else WEEKDAYS[moment.weekday][:3],
    "u": lambda moment, count: two_ends(count, moment.weekday + 1),
    "a": lambda moment, _count: "AM" if moment.hour < 12 else "PM",
    "H": lambda moment, count: two_ends(count, moment.hour),
    "k": lambda moment, count: two_ends(count, moment.hour or 24),
    "K": lambda moment, count: two_ends(count, moment.hour % 12),
    "h": lambda moment, count: two_ends(count, moment.hour % 12 or 12),
    "m": lambda moment, count: two_ends(count, moment.minute),
    "s": lambda moment, count: two_ends(count, moment.second),
    "S": lambda moment, count: two_ends(count, moment.millis),
    "z": lambda _moment, count: "UTC" if count < 4 else "Coordinated Universal Time",
    "Z": lambda _moment, _count: "+0000",
    "X": lambda _moment, _count: "Z",
}


def formatted(micros: int, found: tuple[Piece, ...]) -> str:
    """A time by a pattern's pieces."""
    moment = moment_of(micros)
    return "".join(FORMATS[piece.letter](moment, piece.size) if piece.letter else piece.text for piece in found)


# parsing


class Parsed:
    """What has been read of a text so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.numbers: dict[str, int] = {}
        self.offset = 0

    def skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def number(self, digits_max: int | None) -> int | None:
        match = re.compile(r"-?\d+" if digits_max is None else rf"\d{{1,{digits_max}}}", re.ASCII).match(self.text, self.at)
        if match is None or len(match[0]) > 18:
            return None
        self.at = match.end()
        return int(match[0])

    def name(self, names: tuple[str, ...]) -> int | None:
        """The index of the longest of some names that stands here, whatever its case; three letters are enough."""
        rest = self.text[self.at :].lower()
        for cut in (None, 3):
            for index, name in enumerate(names):
                if rest.startswith(name[:cut].lower()):
                    self.at += len(name[:cut])
                    return index
        return None


NUMERIC = frozenset("yYMwWDdFuHkKhmsS")


def parsed(text: str, found: tuple[Piece, ...]) -> int | None:
    """Microseconds of a text by a pattern's pieces; None where it does not match."""
    state = Parsed(text)
    for index, piece in enumerate(found):
        following = found[index + 1] if index + 1 < len(found) else Piece("", 0, "")
        if not piece.letter:
            if not literal(state, piece.text):
                return None
        elif not field(state, piece, adjacent=is_number(following)):
            return None
    return assembled(state) if state.at else None


def is_number(piece: Piece) -> bool:
    return piece.letter in NUMERIC and not (piece.letter in "ML" and piece.size > 2) if piece.letter else False


def literal(state: Parsed, text: str) -> bool:
    if not state.text.startswith(text, state.at):
        return False
    state.at += len(text)
    return True


def field(state: Parsed, piece: Piece, *, adjacent: bool) -> bool:
    state.skip_blanks()
    letter, count = piece.letter, piece.size
    if letter in "ML" and count > 2:
        value = state.name(MONTHS)
        state.numbers["M"] = 0 if value is None else value + 1
        return value is not None
    if letter in "EGa":
        return text_field(state, letter)
    if letter in "zZX":
        return zone_field(state)
    before = state.at
    value = state.number(count if adjacent else None)
    if value is None:
        return False
    if letter in "yY" and count <= 2 and state.at - before == 2 and state.text[before].isdigit():
        value = CENTURY_BEGINS + (value - CENTURY_BEGINS) % 100
    state.numbers["M" if letter == "L" else letter] = value
    return True


def text_field(state: Parsed, letter: str) -> bool:
    names = {"E": WEEKDAYS, "G": ("BC", "AD"), "a": ("AM", "PM")}[letter]
    value = state.name(names)
    if value is None:
        return False
    state.numbers[letter] = value
    return True


ZONE_HOURS = {
    "PST": -8,
    "PDT": -7,
    "MST": -7,
    "MDT": -6,
    "CST": -6,
    "CDT": -5,
    "EST": -5,
    "EDT": -4,
    "BST": 1,
    "CET": 1,
    "CEST": 2,
    "EET": 2,
    "EEST": 3,
    "JST": 9,
}


def named_offset(text: str) -> int | None:
    return ZONE_HOURS[text] * MICROS_PER_HOUR if text in ZONE_HOURS else zone_offset(text)


ZONE = re.compile(r"[A-Z]{3,4}(?![a-z+-])|Z(?![a-z])|(?:UTC|GMT|UT)?[+-]\d{1,2}(?::?\d{2})?|UTC|GMT|UT|Z", re.IGNORECASE)


def zone_field(state: Parsed) -> bool:
    match = ZONE.match(state.text, state.at)
    offset = named_offset(match[0].upper()) if match else None
    if match is None or offset is None:
        return False
    state.at = match.end()
    state.offset = offset
    return True


RANGES = {"H": (0, 23), "k": (1, 24), "K": (0, 11), "h": (1, 12), "m": (0, 59), "s": (0, 59), "S": (0, 999), "M": (1, 12)}


def assembled(state: Parsed) -> int | None:
    """The time that the fields say; what is not said is of 1970-01-01 00:00."""
    numbers = state.numbers
    if any(letter in numbers and not low <= numbers[letter] <= high for letter, (low, high) in RANGES.items()):
        return None
    year = numbers.get("y", numbers.get("Y", 1970))
    if numbers.get("G") == 0:
        year = 1 - year
    days = days_of(year, numbers.get("M", 1), numbers.get("d", 1)) if year >= 1 or "G" in numbers else None
    if "D" in numbers and "M" not in numbers and "d" not in numbers:
        first, last = days_of(year, 1, 1), days_of(year, 12, 31)
        days = first + numbers["D"] - 1 if first is not None and last is not None and 1 <= numbers["D"] <= last - first + 1 else None
    if "w" in numbers and not {"M", "d", "D"} & numbers.keys():
        days = first_of_week(year, numbers["w"])
    if days is None or ("E" in numbers and (days + 3) % 7 != numbers["E"] and {"d", "D"} & numbers.keys()):
        return None
    hour = clock_hour(numbers)
    time = hour * MICROS_PER_HOUR + numbers.get("m", 0) * MICROS_PER_MINUTE + numbers.get("s", 0) * MICROS_PER_SECOND
    return days * MICROS_PER_DAY + time + numbers.get("S", 0) * MICROS_PER_MILLI - state.offset


def first_of_week(year: int, week: int) -> int | None:
    """The Sunday that a week begins with; the first week has January 1st."""
    first = days_of(year, 1, 1)
    return None if first is None or not 1 <= week <= 53 else first - (first + 4) % 7 + (week - 1) * 7


def clock_hour(numbers: dict[str, int]) -> int:
    if "H" in numbers:
        return numbers["H"]
    if "k" in numbers:
        return numbers["k"] % 24
    half = numbers.get("K", numbers.get("h", 0) % 12)
    return half + 12 * numbers.get("a", 0)

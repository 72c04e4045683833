"""Partitions of one day: a column, and how its texts stand for days (spec/integration.md §7.3). All days are UTC."""

import datetime as dt
import re
from dataclasses import dataclass

from chronoserve.model.errors import InvalidRequest

DAY_MILLIS = 86_400_000
_PATTERNS = {"yyyy": "%Y", "MM": "%m", "dd": "%d"}
_PIECES = re.compile(r"yyyy|MM|dd|'([^']*)'|[^A-Za-z']")


@dataclass(frozen=True, slots=True)
class PartitionSpec:
    """``format``: a pattern of Java's with yyyy, MM and dd, each once, as ``yyyy-MM-dd`` or ``yyyyMMdd``."""

    column: str = "ds"
    format: str = "yyyy-MM-dd"

    def __post_init__(self) -> None:
        if "".join(found.group() for found in _PIECES.finditer(self.format)) != self.format or any(
            self.format.count(piece) != 1 for piece in _PATTERNS
        ):
            raise InvalidRequest(f"PARTITION_FORMAT {self.format!r} must be made of yyyy, MM and dd, each once, as yyyy-MM-dd")

    def day(self, partition: str) -> dt.date:
        """Raises InvalidRequest where the text does not have the format to the letter."""
        try:
            day = dt.datetime.strptime(partition, self._strptime()).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            day = None
        if day is None or self.of(day) != partition:
            raise InvalidRequest(f"partition {partition!r} is no day in the form {self.format}", field="partition")
        return day

    def of(self, day: dt.date) -> str:
        """The text of a day."""
        texts = {"yyyy": f"{day.year:04}", "MM": f"{day.month:02}", "dd": f"{day.day:02}"}
        return "".join(texts.get(piece, piece) for piece in self._pieces())

    def _pieces(self) -> list[str]:
        """Patterns as they are, literals without their quotes."""
        return [found.group() if found.group(1) is None else found.group(1) for found in _PIECES.finditer(self.format)]

    def _strptime(self) -> str:
        return "".join(_PATTERNS.get(piece, piece.replace("%", "%%")) for piece in self._pieces())

    def shift(self, partition: str, days: int) -> str:
        """The partition so many days later. Raises InvalidRequest, also where the calendar has no such day."""
        try:
            return self.of(self.day(partition) + dt.timedelta(days=days))
        except OverflowError:
            raise InvalidRequest(f"{days:+} days from {partition} there is no day: years are 1 to 9999", field="partition") from None

    def start_millis(self, partition: str) -> int:
        """Midnight at the start of the day, in epoch milliseconds UTC. Raises InvalidRequest."""
        return (self.day(partition).toordinal() - EPOCH_ORDINAL) * DAY_MILLIS

    def end_millis(self, partition: str) -> int:
        """The end of the day: the time of a batch upload's rows (spec/online-fetch.md §3.3, 4). Raises InvalidRequest."""
        return self.start_millis(partition) + DAY_MILLIS


EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()

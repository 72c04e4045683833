"""JSON lines that ``multi-get`` and ``multi-put`` read, cut into batches that fit one call."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import msgspec

from chronoserve.app.notation import Notation, time_millis
from chronoserve_client import Get, Put

Request = TypeVar("Request", Get, Put)

BATCH_ROWS_MAX = 1000
BATCH_BYTES_MAX = 1 << 20
"""A batch ends with the row that brings it to this size: well below the 4 MiB that a server takes."""


class GetRow(msgspec.Struct, forbid_unknown_fields=True):
    """A line of ``multi-get``."""

    dataset: str
    key: str
    after: int | str | None = None

    def request(self, notation: Notation) -> Get:
        """Raises ValueError."""
        return Get(self.dataset, notation.parse(self.key), _millis(self.after))


class PutRow(msgspec.Struct, forbid_unknown_fields=True):
    """A line of ``multi-put``."""

    dataset: str
    key: str
    value: str
    ts: int | str | None = None
    token: str = ""

    def request(self, notation: Notation) -> Put:
        """Raises ValueError."""
        return Put(self.dataset, notation.parse(self.key), notation.parse(self.value), _millis(self.ts), notation.parse(self.token))


class BadRow(NamedTuple):
    """A line that is not what it must be, and why."""

    line: int
    message: str


@dataclass(slots=True)
class Batch(Generic[Request]):
    """Requests with the numbers of their lines, and the lines between them that are none."""

    good: list[Request] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def full(self) -> bool:
        return len(self.lines) + len(self.bad) >= BATCH_ROWS_MAX or self.size_bytes >= BATCH_BYTES_MAX


def read_gets(lines: Iterable[bytes], notation: Notation) -> Iterator[Batch[Get]]:
    """Batches of the lines that are not empty."""
    decoder = msgspec.json.Decoder(GetRow)
    return _batches(lines, lambda line: decoder.decode(line).request(notation))


def read_puts(lines: Iterable[bytes], notation: Notation) -> Iterator[Batch[Put]]:
    """Batches of the lines that are not empty."""
    decoder = msgspec.json.Decoder(PutRow)
    return _batches(lines, lambda line: decoder.decode(line).request(notation))


def _batches(lines: Iterable[bytes], read: Callable[[bytes], Request]) -> Iterator[Batch[Request]]:
    batch: Batch[Request] = Batch()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            batch.good.append(read(line))
        except ValueError as wrong:  # also what msgspec raises
            batch.bad.append(BadRow(number, str(wrong)))
        else:
            batch.lines.append(number)
            batch.size_bytes += len(line)
        if batch.full:
            yield batch
            batch = Batch()
    if batch.lines or batch.bad:
        yield batch


def _millis(time: int | str | None) -> int | None:
    return time_millis(time) if isinstance(time, str) else time

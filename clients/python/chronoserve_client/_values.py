"""What goes into calls and what comes out of them: plain values, no protobuf. Times are epoch milliseconds."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from chronoserve_client._errors import ChronoserveError


class Get(NamedTuple):
    """One key to read; a plain tuple does as well. ``after``: only values at or after this time (inclusive)."""

    dataset: str
    key: bytes
    after: int | None = None


class Put(NamedTuple):
    """One value to write; a plain tuple does as well.

    ``millis``: event time; None: the server's clock. ``idempotency_token``: names this write, at most 64 bytes. With
    both of them repeating the write changes nothing, and client and server repeat it where that may help.
    """

    dataset: str
    key: bytes
    value: bytes
    millis: int | None = None
    idempotency_token: bytes = b""

    @property
    def replayable(self) -> bool:
        return self.millis is not None and bool(self.idempotency_token)


GetLike = Get | tuple[str, bytes] | tuple[str, bytes, int | None]
PutLike = Put | tuple[str, bytes, bytes] | tuple[str, bytes, bytes, int | None] | tuple[str, bytes, bytes, int | None, bytes]


class TimedValue(NamedTuple):
    """A value and its event time."""

    value: bytes
    millis: int


@dataclass(frozen=True, slots=True)
class GetResult:
    """The answer for one key: values, oldest first; or a miss, which is no values; or an error.

    An error is never taken for a miss: what needs an answer (``found``, ``latest``, ``unwrap``) raises it.
    """

    values: tuple[TimedValue, ...] = ()
    error: ChronoserveError | None = None

    def unwrap(self) -> tuple[TimedValue, ...]:
        """The values, oldest first; empty for a miss.

        Raises:
            ChronoserveError: the key could not be answered.
        """
        if self.error is not None:
            raise self.error
        return self.values

    @property
    def found(self) -> bool:
        """The key has a value. Raises as ``unwrap``."""
        return bool(self.unwrap())

    @property
    def latest(self) -> TimedValue | None:
        """The newest value; None for a miss. Raises as ``unwrap``."""
        return newest(self.unwrap())


@dataclass(frozen=True, slots=True)
class PutResult:
    """The outcome of one write. WriteOutcomeUnknown: perhaps applied; any other error: certainly not."""

    error: ChronoserveError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def unwrap(self) -> None:
        """Raises: ChronoserveError: the write was not acknowledged."""
        if self.error is not None:
            raise self.error


class ScanEntry(NamedTuple):
    """A key with its values, oldest first."""

    key: bytes
    values: tuple[TimedValue, ...]


class Kind(enum.IntEnum):
    """How the values of a key relate to each other."""

    LATEST = 1
    """One value for each key: the newest event time wins, at equal times the later write."""
    TIMED = 2
    """Every value is kept until its ttl."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """``ttl``: how long a value lives after it was written; None: for ever. ``store``: the configured name of its store."""

    name: str
    kind: Kind
    ttl: timedelta | None
    store: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapability:
    """What one store can do. ``datasets``: patterns of names that it serves, first match wins."""

    store: str
    engine: str
    datasets: tuple[str, ...]
    key_bytes_max: int
    value_bytes_max: int
    multi_get_keys_max: int
    multi_put_keys_max: int
    timed: bool
    ttl: bool
    scan: bool
    delete: bool
    durable: bool
    durability: str
    linearizable: bool


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the server can do, and its bounds for one call."""

    stores: tuple[StoreCapability, ...]
    keys_per_call_max: int
    message_bytes_max: int


@dataclass(frozen=True, slots=True)
class BulkResult:
    """How a bulk load ended. ``errors``: of the first few refused rows."""

    rows_written: int
    rows_refused: int
    errors: tuple[ChronoserveError, ...]


@dataclass(frozen=True, slots=True)
class BulkProgress:
    """How far a bulk load is.

    ``rows``: written so far; ``rows_total``: in the source, 0 where its format does not tell. ``bytes_written`` and
    ``rate`` (rows a second) count from the last time that the load was taken up. ``resume_token``: continues a load that
    was broken off here. ``result``: in the last one only.
    """

    rows: int
    rows_total: int
    bytes_written: int
    rate: float
    resume_token: str
    result: BulkResult | None

    @property
    def done(self) -> bool:
        return self.result is not None


def newest(values: Sequence[TimedValue]) -> TimedValue | None:
    """The last of values that are oldest first; None where there is none."""
    return values[-1] if values else None

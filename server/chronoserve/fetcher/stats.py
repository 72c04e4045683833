"""Series of a join's statistics, of its log's, and of its consistency with what is computed offline (spec/online-fetch.md §17)."""

import enum
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chronoserve.aggregate.drift import quantiles, stability_index
from chronoserve.codec.avro import type_of
from chronoserve.codec.compiled import Decoder, decoder, encoder
from chronoserve.fetcher.ports import Clock, Read, Reads
from chronoserve.model import naming, values
from chronoserve.model.errors import CorruptValue, KVError, UnknownConf, UnknownDataset
from chronoserve.model.types import STRING, Field, StructType

DRIFT = "/drift"
PERCENTILE = "percentile"
KEY_TYPE = StructType("Key", (Field("JoinPath", STRING),))


class StatsOf(enum.Enum):
    """Which series: the value is the dataset that the offline jobs load."""

    JOIN = naming.STATS_DATASET
    LOG = naming.LOG_STATS_DATASET
    CONSISTENCY = naming.CONSISTENCY_DATASET


@dataclass(frozen=True, slots=True)
class StatsRequest:
    """``name``: ``team/join``, or ``team/join/drift`` for how its distributions move. Times are epoch milliseconds, inclusive."""

    name: str
    start_millis: int | None = None
    end_millis: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric: a number, a list (quantiles, or what the offline job wrote), or None."""

    millis: int
    value: object


Series = Mapping[str, Sequence[Point]]
"""Points by metric, in the order of time that the store keeps."""

Row = tuple[int, Mapping[str, object]]
"""A time and the metrics of it."""


async def fetch_series(reads: Reads, of: StatsOf, request: StatsRequest, *, clock: Clock, deadline: float) -> Series:
    """The series of a request, oldest first; empty where there are no points in its time.

    A point that cannot be decoded is left out of a series, and fails a drift.

    Raises:
        UnknownConf: no statistics of this name were ever uploaded.
        KVError: the store could not be asked, or a drift has an undecodable point.
    """
    drift = request.name.endswith(DRIFT)
    name = request.name.removesuffix(DRIFT) if drift else request.name
    codec = await _codec(reads, of, name, deadline)
    key = encoder(codec.key_type).encode([name])
    (found,) = await reads.multi_get([Read(of.value, key, request.start_millis or 0)], deadline=deadline)
    end = request.end_millis if request.end_millis is not None else clock()
    timed = [value for value in _timed(found) if value.millis <= end]
    if drift:
        return drifts([(millis, codec.metrics(data)) for data, millis in timed])
    return series(_decodable(codec.metrics, timed))


def series(rows: Sequence[Row]) -> Series:
    """Metrics as they are; sketches as their quantiles at 0.05, 0.25, 0.5, 0.75 and 0.95."""
    found: dict[str, list[Point]] = {}
    for millis, metrics in rows:
        for name, value in metrics.items():
            shown = quantiles(value) if isinstance(value, bytes) and name.endswith(PERCENTILE) else value
            found.setdefault(name, []).append(Point(millis, shown))
    return found


def drifts(rows: Sequence[Row]) -> Series:
    """For each metric that is a sketch, how far it moved from one time to the next, at the later one; fewer than two rows: nothing."""
    found: dict[str, list[Point]] = {}
    ordered = sorted(rows, key=lambda row: row[0])
    for (_, before), (millis, after) in itertools.pairwise(ordered):
        for name in before:
            one, other = before[name], after.get(name)
            if name.endswith(PERCENTILE) and isinstance(one, bytes) and isinstance(other, bytes):
                moved = stability_index(one, other)
                if moved is not None:
                    found.setdefault(name, []).append(Point(millis, moved))
    return found


@dataclass(frozen=True, slots=True)
class _Codec:
    key_type: StructType
    decoder: Decoder

    def metrics(self, data: bytes) -> dict[str, object]:
        return dict(zip(self.decoder.names, self.decoder.decode(data), strict=True))


async def _codec(reads: Reads, of: StatsOf, name: str, deadline: float) -> _Codec:
    asked = [Read(of.value, f"{name}__{side}Schema".encode()) for side in ("key", "value")]
    found = await reads.multi_get(asked, deadline=deadline)
    newest = [max(_timed(each), key=lambda value: value.millis, default=None) for each in found]
    if newest[0] is None or newest[1] is None:
        raise UnknownConf(f"there are no statistics of this name in {of.value}: has its job run and been loaded?")
    key_type, value_type = (type_of(value.bytes.decode(errors="replace")) for value in newest if value is not None)
    return _Codec(key_type, decoder(value_type))


def _timed(found: bytes | KVError) -> list[values.TimedValue]:
    """Raises what kept the store from answering; a dataset that was never made holds nothing."""
    if isinstance(found, UnknownDataset):
        return []
    if isinstance(found, KVError):
        raise found
    return values.decode(found)


def _decodable(metrics: Callable[[bytes], dict[str, object]], timed: Sequence[values.TimedValue]) -> list[Row]:
    rows: list[Row] = []
    for data, millis in timed:
        try:
            rows.append((millis, metrics(data)))
        except CorruptValue:
            continue
    return rows

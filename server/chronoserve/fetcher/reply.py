"""What one group by says of one key: stored values decoded, batch and stream merged (spec/online-fetch.md §7.2-§8)."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

from chronoserve.fetcher import timed
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.model.errors import CorruptValue, TimeBeforeBatch

Values = Sequence[Any]
"""Values of a group by in the order of its ``base_names``."""


class Batch(NamedTuple):
    """The batch side of a key. ``content``: Values (SNAPSHOT, no aggregations) or a BatchIr (TEMPORAL); None: nothing for the key.

    ``max_millis``: the time of the newest stored value, whether it was used or not; None: no value, or it came from a cache.
    """

    content: Any
    max_millis: int | None = None


NO_BATCH = Batch(None)


class Reply(NamedTuple):
    """``values`` None: Chronon's null map, nothing for the key. ``stream_millis``: time of the newest streamed value, 0: none."""

    values: Values | None
    stream_millis: int = 0
    late: bool = False


def load_batch(served: ServedGroupBy, data: bytes) -> Batch:
    """The newest batch value of a key, decoded; one from before the batch end is no longer data (§7.3).

    Raises:
        CorruptValue: the stored bytes do not have the uploaded schema.
    """
    newest = timed.newest(data)
    if newest is None:
        return NO_BATCH
    value, millis = newest
    if millis < served.batch_end:
        return Batch(None, millis)
    decoded = served.batch_decoder.decode(value)
    return Batch(decoded if served.sawtooth is None else served.sawtooth.load_batch(decoded), millis)


class StreamRows(NamedTuple):
    """Streamed values, decoded. ``newest``: the greatest time among all that were read, 0 where there are none."""

    rows: list[tuple[Any, ...]]
    times: list[int]
    newest: int
    any: bool
    """Whether there was any value, counting or not."""


NO_STREAM = StreamRows([], [], 0, any=False)


def load_stream(served: ServedGroupBy, stream: bytes, query_ts: int, *, skip_undecodable: bool) -> StreamRows:
    """``stream``: the streamed values of a key in travelling form.

    Raises:
        CorruptValue: the stored bytes do not have the streamed schema.
        TimeBeforeBatch: the query time is before the batch end, so that nothing could be answered.
    """
    if served.sawtooth is None:
        return NO_STREAM
    if query_ts < served.batch_end:
        raise TimeBeforeBatch(
            f"features of {served.name} at {query_ts} lie before the end of its batch data, {served.batch_end}: ask for a later time"
        )
    if not stream:
        return NO_STREAM
    values, times = timed.rows(stream)
    rows, kept = _decoded(served, values, times, query_ts, skip_undecodable=skip_undecodable)
    return StreamRows(rows, kept, max(times), any=True)


def merge(served: ServedGroupBy, batch: Batch, stream: StreamRows, query_ts: int) -> Reply:
    """Raises:
    CorruptValue, InvalidRequest: a value is none that Chronon writes for this group by.
    """
    if served.sawtooth is None:
        return Reply(batch.content)
    if batch.content is None and not stream.any:
        return Reply(None)
    values = served.sawtooth.merge(
        batch.content, stream.rows, stream.times, query_ts=query_ts, batch_end=served.batch_end, batch_max_ts=batch.max_millis
    )
    late = served.late_after is not None and query_ts > served.late_after and batch.content is not None
    return Reply(values, stream.newest, late)


def _decoded(
    served: ServedGroupBy, values: list[bytes], times: list[int], query_ts: int, *, skip_undecodable: bool
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """The rows that may count. What was streamed at or after the query time never does (§8.2), and is not decoded."""
    if times and times[-1] >= query_ts:
        end = bisect_left(times, query_ts)
        values, times = values[:end], times[:end]
    assert served.stream_decoder is not None
    if not skip_undecodable:
        return served.stream_decoder.decode_rows(values), times
    rows = served.stream_decoder.decode_each(values)
    decoded = [(row, time) for row, time in zip(rows, times, strict=True) if not isinstance(row, CorruptValue)]
    return [row for row, _ in decoded], [time for _, time in decoded]

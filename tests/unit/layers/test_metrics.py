"""Metrics: every batch, key, byte, miss and error is counted once, and nothing is changed."""

import pytest

from chronoserve.kvstore.layers.metrics import SECONDS_BUCKETS, Histogram, Metrics
from chronoserve.model.errors import CorruptValue, Throttled, Unavailable
from tests.unit.layers.stores import ScriptedStore, read, write
from tests.virtual_time import in_virtual_time, now

CORRUPT = CorruptValue("broken")


@in_virtual_time
async def test_reads_are_counted_by_what_became_of_them() -> None:
    layer = Metrics(ScriptedStore([b"12345", b"", b"1"], [b"xx", CORRUPT, b""], Unavailable("away")), "main")
    assert await layer.multi_get(read(b"a", b"b", b"c"), deadline=now() + 1) == [b"12345", b"", b"1"]
    assert await layer.multi_get(read(b"a", b"b", b"c"), deadline=now() + 1) == [b"xx", CORRUPT, b""]
    with pytest.raises(Unavailable):
        await layer.multi_get(read(b"a", b"b"), deadline=now() + 1)
    reads = layer.reads
    assert (reads.batches, reads.keys, reads.misses) == (3, 8, 2)
    assert reads.bytes >= 6
    assert dict(reads.errors) == {"CORRUPT_VALUE": 1, "STORE_UNAVAILABLE": 2}
    assert sum(reads.seconds.counts) == 3
    assert layer.writes.batches == 0


@in_virtual_time
async def test_writes_are_counted_by_what_became_of_them() -> None:
    layer = Metrics(ScriptedStore([None, Throttled("busy")], Throttled("busy")), "main")
    puts = [write(b"a"), write(b"bb")]
    await layer.multi_put(puts, deadline=now() + 1)
    with pytest.raises(Throttled):
        await layer.multi_put(puts, deadline=now() + 1)
    writes = layer.writes
    assert (writes.batches, writes.keys) == (2, 4)
    assert writes.bytes == sum(len(put.key) + len(put.timed_value) for put in puts)
    assert dict(writes.errors) == {"THROTTLED": 3}


def test_a_histogram_counts_by_upper_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, SECONDS_BUCKETS[0], SECONDS_BUCKETS[0] * 1.01, SECONDS_BUCKETS[-1], SECONDS_BUCKETS[-1] * 2):
        histogram.observe(seconds)
    assert histogram.counts[:2] == [2, 1]
    assert histogram.counts[-2:] == [1, 1]
    assert histogram.sum == pytest.approx(sum((0.0, SECONDS_BUCKETS[0] * 2.01, SECONDS_BUCKETS[-1] * 3)))

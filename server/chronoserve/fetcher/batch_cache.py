"""Decoded batch values kept between calls, by a budget of bytes (spec/online-fetch.md §9)."""

from cachebox import LRUCache

from chronoserve.fetcher.observe import CacheMetrics
from chronoserve.fetcher.ports import Clock
from chronoserve.fetcher.reply import Batch
from chronoserve.fetcher.served import ServedGroupBy

DECODED_BYTES_PER_BYTE = 12
ENTRY_BYTES = 600
"""What a decoded value takes in memory. On the values of golden/bench it is 6 to 11 bytes for each stored one."""

_Key = tuple[str, bytes, int]


class BatchCache:
    """Batches by (dataset, key, batch end). A new upload has a new batch end and so no use for them; one for the same day is
    seen when their time is up. Absent keys are not kept: they cost a read and no decoding.
    """

    def __init__(self, bytes_max: int, ttl_millis: int, clock: Clock, metrics: CacheMetrics) -> None:
        self._kept: LRUCache[_Key, tuple[Batch, int, int]] = LRUCache(max(1, bytes_max), getsizeof=_size)
        self._bytes_max = bytes_max
        self._ttl_millis = ttl_millis
        self._clock = clock
        self._metrics = metrics

    def get(self, served: ServedGroupBy, key: bytes) -> Batch | None:
        found = self._kept.get((served.batch_dataset, key, served.batch_end))
        if found is None or not 0 <= self._clock() - found[2] < self._ttl_millis:
            self._metrics.misses += 1
            return None
        self._metrics.hits += 1
        return found[0]

    def put(self, served: ServedGroupBy, key: bytes, batch: Batch, stored_bytes: int) -> None:
        """``stored_bytes``: the size of the batch before it was decoded."""
        size = ENTRY_BYTES + DECODED_BYTES_PER_BYTE * stored_bytes
        if batch.content is None or size > self._bytes_max:
            return
        before = len(self._kept)
        self._kept[served.batch_dataset, key, served.batch_end] = Batch(batch.content), size, self._clock()
        self._metrics.evictions += max(0, before + 1 - len(self._kept))
        self._metrics.entries = len(self._kept)
        self._metrics.bytes = self._kept.current_size()


def _size(_: _Key, value: tuple[Batch, int, int]) -> int:
    return value[1]

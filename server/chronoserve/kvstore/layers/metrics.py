"""How a store is doing, counted where it is called: batches, keys, bytes, misses, errors by reason, and time."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from chronoserve.kvstore.layers.layer import Flawless, Layer, bytes_read
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.errors import KVError

SECONDS_BUCKETS = (
    0.000005, 0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the latency histograms, in seconds: ours live under five milliseconds, and phases of a fetch under fifty µs."""


class Histogram:
    """Counts by upper bound; the last count is of what lies above all bounds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS_BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        self.sum += seconds


class OperationMetrics:
    """Running totals of one operation; whoever exports them reads the attributes."""

    __slots__ = ("batches", "bytes", "errors", "keys", "misses", "seconds")

    def __init__(self) -> None:
        self.batches = 0
        self.keys = 0
        self.bytes = 0
        self.misses = 0
        self.errors: Counter[str] = Counter()
        self.seconds = Histogram()

    def finished(self, began: float, keys: int) -> None:
        self.batches += 1
        self.keys += keys
        self.seconds.observe(perf_counter() - began)


class Metrics(Layer):
    """Counts what passes; changes nothing."""

    def __init__(self, store: KVStore, name: str) -> None:
        super().__init__(store)
        self.name = name
        self.reads = OperationMetrics()
        self.writes = OperationMetrics()

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        began = perf_counter()
        reads = self.reads
        try:
            results = await self.store.multi_get(requests, deadline=deadline)
        except KVError as error:
            reads.errors[error.reason] += len(requests)
            raise
        finally:
            reads.finished(began, len(requests))
        reads.misses += results.count(b"")
        size = bytes_read(results)
        if size is not None:
            reads.bytes += size
            return Flawless(results)
        reads.errors.update(result.reason for result in results if isinstance(result, KVError))
        return results

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        began = perf_counter()
        writes = self.writes
        try:
            results = await self.store.multi_put(requests, deadline=deadline)
        except KVError as error:
            writes.errors[error.reason] += len(requests)
            raise
        finally:
            writes.finished(began, len(requests))
        writes.bytes += sum(len(put.key) + len(put.timed_value) for put in requests)
        writes.errors.update(result.reason for result in results if result is not None)
        return results

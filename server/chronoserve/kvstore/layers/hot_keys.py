"""Which keys are read most: a sample of the reads, counted in bounded memory, without keeping a key.

Every SAMPLE-th key is counted under the hash of its bytes, in a frequent-items sketch: when its table is full, the median of
its counts is taken off all of them, and what is left with nothing goes. A key's count is then too low by at most ``error``.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import xxhash

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore

SAMPLE = 31
"""One key of so many is counted: a prime, so that batches of one size do not always show the same place."""
COUNTERS_MAX = 1024
WINDOW_SECONDS = 60.0
"""The report covers the window under way and the one before it."""

hash_of = xxhash.xxh3_64_intdigest

Key = tuple[str, int]
"""Name of the dataset, and XXH3 of the key's bytes."""


@dataclass(frozen=True, slots=True)
class HotKey:
    """``key_hash``: XXH3 (64 bits) of the key's bytes, as hex. ``reads``: about how many there were."""

    dataset: str
    key_hash: str
    reads: int


@dataclass(frozen=True, slots=True)
class HotReport:
    """``reads``: all that there were in the time reported, about. ``keys``: those read most, most first."""

    reads: int
    keys: list[HotKey]


def merged(reports: Sequence[HotReport], count: int) -> HotReport:
    """The reports of several processes as one."""
    sums: dict[tuple[str, str], int] = {}
    for each in (key for report in reports for key in report.keys):
        sums[each.dataset, each.key_hash] = sums.get((each.dataset, each.key_hash), 0) + each.reads
    hottest = sorted(sums.items(), key=lambda entry: -entry[1])[:count]
    return HotReport(sum(report.reads for report in reports), [HotKey(*key, reads) for key, reads in hottest])


class Frequent:
    """Counts of the most frequent of many items (Misra and Gries, with many decrements at once)."""

    __slots__ = ("counts", "error", "total")

    def __init__(self) -> None:
        self.counts: dict[Key, int] = {}
        self.total = 0
        self.error = 0

    def add(self, item: Key) -> None:
        counts = self.counts
        self.total += 1
        counts[item] = counts.get(item, 0) + 1
        if len(counts) > COUNTERS_MAX:
            self._shrink()

    def _shrink(self) -> None:
        median = sorted(self.counts.values())[len(self.counts) // 2]
        self.counts = {item: count - median for item, count in self.counts.items() if count > median}
        self.error += median


class HotKeys(Layer):
    """Looks at reads; changes nothing. Outside of all that merges reads, so that it sees what callers ask for."""

    def __init__(self, store: KVStore) -> None:
        super().__init__(store)
        self._passed = 0
        self._now = Frequent()
        self._before = Frequent()
        self._began = float("-inf")

    def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> Coroutine[Any, Any, list[GetResult]]:
        """As the port says, without a coroutine of its own."""
        passed = self._passed + len(requests)
        if passed >= SAMPLE:
            passed = self._count(requests, passed)
        self._passed = passed
        return self.store.multi_get(requests, deadline=deadline)

    def _count(self, requests: Sequence[GetRequest], passed: int) -> int:
        """Count each SAMPLE-th key of all that have passed; how many have passed since the last counted one."""
        now = asyncio.get_running_loop().time()
        if now - self._began >= WINDOW_SECONDS:
            self._turn(now)
        first = SAMPLE - (passed - len(requests)) - 1
        for dataset, key, _ in requests[first::SAMPLE]:
            self._now.add((dataset.name, hash_of(key)))
        return passed % SAMPLE

    def _turn(self, now: float) -> None:
        """The next window begins. After two windows without a sample there is nothing to remember."""
        self._before = self._now if now - self._began < 2 * WINDOW_SECONDS else Frequent()
        self._now = Frequent()
        self._began = now

    def report(self, count: int) -> HotReport:
        """The keys read most within the last one to two minutes."""
        sums = dict(self._before.counts)
        for item, seen in self._now.counts.items():
            sums[item] = sums.get(item, 0) + seen
        hottest = sorted(sums.items(), key=lambda entry: -entry[1])[:count]
        total = (self._now.total + self._before.total) * SAMPLE
        return HotReport(total, [HotKey(name, f"{digest:016x}", seen * SAMPLE) for (name, digest), seen in hottest])

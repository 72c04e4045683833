"""A store that fails on purpose, by a seed: for tests of everything above it."""

import random
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.errors import KVError, Throttled, Unavailable, WriteOutcomeUnknown


class Chaos(Layer):
    """Fails whole calls with probability ``call_failures`` and single items with probability ``item_failures``.

    A write that fails as WriteOutcomeUnknown was applied or not, by another draw; any other failed write was not.
    """

    def __init__(self, store: KVStore, *, seed: int, call_failures: float = 0.0, item_failures: float = 0.0) -> None:
        super().__init__(store)
        self._random = random.Random(seed)  # noqa: S311 - a seeded test double
        self._call_failures = call_failures
        self._item_failures = item_failures

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self._maybe_fail()
        results = await self.store.multi_get(requests, deadline=deadline)
        return [self._error() if self._random.random() < self._item_failures else result for result in results]

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self._maybe_fail()
        fates: list[PutResult] = [self._write_fate() for _ in requests]
        applied = [at for at, fate in enumerate(fates) if fate is None or (isinstance(fate, WriteOutcomeUnknown) and self._coin())]
        results = await self.store.multi_put([requests[at] for at in applied], deadline=deadline)
        for at, result in zip(applied, results, strict=True):
            fates[at] = fates[at] or result
        return fates

    def _maybe_fail(self) -> None:
        if self._random.random() < self._call_failures:
            raise self._error()

    def _write_fate(self) -> PutResult:
        if self._random.random() >= self._item_failures:
            return None
        return WriteOutcomeUnknown("chaos: no answer") if self._coin() else self._error()

    def _error(self) -> KVError:
        return Unavailable("chaos: unavailable") if self._coin() else Throttled("chaos: throttled")

    def _coin(self) -> bool:
        return self._random.random() < 0.5

"""One store of several may not hold every place of the process: what it cannot take is refused at once.

Admission lets callers wait for a place, and a store that does not answer would fill all of them until its breaker opens.
Here nothing waits, because whoever waited would hold one of those places.
"""

import random
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import Throttled

RETRY_AFTER_SECONDS = 0.05
"""Refused callers come back after this much plus up to as much again, so that they do not come back together."""


class Bulkhead(Layer):
    """Bounds the calls under way in one store."""

    def __init__(self, store: KVStore, *, inflight_calls_max: int) -> None:
        super().__init__(store)
        self.inflight_calls_max = inflight_calls_max
        self.calls = 0

    def _enter(self) -> None:
        if self.calls >= self.inflight_calls_max:
            after = RETRY_AFTER_SECONDS * (1 + random.random())  # noqa: S311 - jitter
            raise Throttled("this store is at its limit of calls under way; try again after the delay given", retry_after=after)
        self.calls += 1

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self._enter()
        try:
            return await self.store.multi_get(requests, deadline=deadline)
        finally:
            self.calls -= 1

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self._enter()
        try:
            return await self.store.multi_put(requests, deadline=deadline)
        finally:
            self.calls -= 1

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        self._enter()
        try:
            return await self.store.delete(keys, deadline=deadline)
        finally:
            self.calls -= 1

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        self._enter()
        try:
            return await self.store.scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)
        finally:
            self.calls -= 1

"""No more work at once than the process can finish in time: the rest is refused at once and told when to come back."""

import random
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import Throttled

RETRY_AFTER_SECONDS = 0.05
"""Refused callers come back after this much plus up to as much again, so that they do not come back together."""


class Admission(Layer):
    """Bounds the calls and keys under way. A call larger than the whole bound is admitted when nothing else is under way."""

    def __init__(self, store: KVStore, *, inflight_calls_max: int, inflight_keys_max: int) -> None:
        super().__init__(store)
        self.inflight_calls_max = inflight_calls_max
        self.inflight_keys_max = inflight_keys_max
        self.calls = 0
        self.keys = 0
        self.refused_total = 0

    def _enter(self, keys: int) -> None:
        if self.calls >= self.inflight_calls_max or (self.calls and self.keys + keys > self.inflight_keys_max):
            self.refused_total += 1
            after = RETRY_AFTER_SECONDS * (1 + random.random())  # noqa: S311 - jitter
            raise Throttled("the server is at its limit of work under way; try again after the delay given", retry_after=after)
        self.calls += 1
        self.keys += keys

    def _leave(self, keys: int) -> None:
        self.calls -= 1
        self.keys -= keys

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self._enter(keys := len(requests))
        try:
            return await self.store.multi_get(requests, deadline=deadline)
        finally:
            self._leave(keys)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self._enter(keys := len(requests))
        try:
            return await self.store.multi_put(requests, deadline=deadline)
        finally:
            self._leave(keys)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        self._enter(count := len(keys))
        try:
            return await self.store.delete(keys, deadline=deadline)
        finally:
            self._leave(count)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        self._enter(keys_max)
        try:
            return await self.store.scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)
        finally:
            self._leave(keys_max)

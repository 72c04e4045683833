"""No more calls in the stores at once than the bound: the rest waits a moment, then is told when to come back.

A refusal costs more than half of a served call, so refusing at once would spend the server on refusals as soon as clients
try again at once. A call without a place waits for one, newest first, because the newest has the most time left; only what
found none within ``WAIT_SECONDS_MAX`` is refused, which bounds the refusals a second by the calls that can wait. This decides
where a store is slow; a short processor is the business of the transport's limit of streams (docs/decisions/0006-overload.md).
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import Throttled

WAIT_SECONDS_MAX = 0.25
WAITING_CALLS_MAX = 1024
"""Calls that wait at most; further ones are refused at once."""
RETRY_AFTER_SECONDS = 0.05
"""Refused callers come back after this much plus up to as much again, so that they do not come back together."""

Waiter = asyncio.Future[None]


class Admission(Layer):
    """Bounds the calls and keys under way. A call larger than the whole bound is admitted when nothing else is under way."""

    def __init__(self, store: KVStore, *, inflight_calls_max: int, inflight_keys_max: int) -> None:
        super().__init__(store)
        self.inflight_calls_max = inflight_calls_max
        self.inflight_keys_max = inflight_keys_max
        self.calls = 0
        self.keys = 0
        self.refused_total = 0
        self._waiting: OrderedDict[Waiter, int] = OrderedDict()

    def _has_place(self, keys: int) -> bool:
        return self.calls < self.inflight_calls_max and (not self.calls or self.keys + keys <= self.inflight_keys_max)

    def _enter(self, keys: int) -> bool:
        """Take a place; False where there is none."""
        if not self._has_place(keys):
            return False
        self.calls += 1
        self.keys += keys
        return True

    async def _wait(self, keys: int, deadline: float) -> None:
        """Wait for a place, which is taken when this returns.

        Raises:
            Throttled: none came free in time.
        """
        if len(self._waiting) >= WAITING_CALLS_MAX:
            raise self._refusal()
        loop = asyncio.get_running_loop()
        place: Waiter = loop.create_future()
        self._waiting[place] = keys
        timer = loop.call_at(min(deadline, loop.time() + WAIT_SECONDS_MAX), self._give_up, place)
        try:
            await place
        except asyncio.CancelledError:
            if self._waiting.pop(place, None) is None and not place.cancelled() and place.exception() is None:
                self._leave(keys)  # the place was given in the very moment of the cancellation
            raise
        finally:
            timer.cancel()

    def _give_up(self, place: Waiter) -> None:
        self._waiting.pop(place, None)
        if not place.done():
            place.set_exception(self._refusal())

    def _refusal(self) -> Throttled:
        self.refused_total += 1
        after = RETRY_AFTER_SECONDS * (1 + random.random())  # noqa: S311 - jitter
        return Throttled("the server is at its limit of work under way; try again after the delay given", retry_after=after)

    def _leave(self, keys: int) -> None:
        self.calls -= 1
        self.keys -= keys
        while self._waiting:
            place, wanted = next(reversed(self._waiting.items()))
            if not place.done() and not self._has_place(wanted):
                return
            del self._waiting[place]
            if not place.done():
                self.calls += 1
                self.keys += wanted
                place.set_result(None)

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        if not self._enter(keys := len(requests)):
            await self._wait(keys, deadline)
        try:
            return await self.store.multi_get(requests, deadline=deadline)
        finally:
            self._leave(keys)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        if not self._enter(keys := len(requests)):
            await self._wait(keys, deadline)
        try:
            return await self.store.multi_put(requests, deadline=deadline)
        finally:
            self._leave(keys)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        if not self._enter(count := len(keys)):
            await self._wait(count, deadline)
        try:
            return await self.store.delete(keys, deadline=deadline)
        finally:
            self._leave(count)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        if not self._enter(keys_max):
            await self._wait(keys_max, deadline)
        try:
            return await self.store.scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)
        finally:
            self._leave(keys_max)

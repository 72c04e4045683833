"""A store that fails is left alone for a while, so that callers learn it at once and the store can recover."""

import asyncio
import enum
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer, bytes_read
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.errors import DeadlinePassed, Unavailable, WriteOutcomeUnknown

FAILURES_TO_OPEN = 5
"""Failed batches in a row, with no good one between them, that open the breaker."""
OPEN_SECONDS = 0.5
"""How long an open breaker refuses before it lets one batch try."""

STORE_FAILURES = (Unavailable, DeadlinePassed, WriteOutcomeUnknown)
"""Errors that speak of the store's health; a refused key or a corrupt value does not."""


class State(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Breaker(Layer):
    """Closed: all pass. Open: all are refused. Probing: one batch passes and its outcome decides."""

    def __init__(self, store: KVStore) -> None:
        super().__init__(store)
        self.state = State.CLOSED
        self.opened_total = 0
        self._failures = 0
        self._try_at = 0.0

    def _enter(self) -> None:
        if self.state is State.CLOSED:
            return
        now = asyncio.get_running_loop().time()
        if self.state is State.PROBING or now < self._try_at:
            wait = max(self._try_at - now, 0.01)
            raise Unavailable("the store has been failing and is not asked for a moment", retry_after=wait)
        self.state = State.PROBING

    def _succeeded(self) -> None:
        self._failures = 0
        self.state = State.CLOSED

    def _failed(self) -> None:
        self._failures += 1
        if self.state is State.PROBING or self._failures >= FAILURES_TO_OPEN:
            if self.state is not State.OPEN:
                self.opened_total += 1
            self.state = State.OPEN
            self._try_at = asyncio.get_running_loop().time() + OPEN_SECONDS

    def _abandoned(self) -> None:
        """A cancelled probe has no outcome: the next call probes again."""
        if self.state is State.PROBING:
            self.state = State.OPEN

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self._enter()
        try:
            results = await self.store.multi_get(requests, deadline=deadline)
        except STORE_FAILURES:
            self._failed()
            raise
        except BaseException:
            self._abandoned()
            raise
        if bytes_read(results) is None and all(isinstance(result, STORE_FAILURES) for result in results):
            self._failed()
        else:
            self._succeeded()
        return results

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self._enter()
        try:
            results = await self.store.multi_put(requests, deadline=deadline)
        except STORE_FAILURES:
            self._failed()
            raise
        except BaseException:
            self._abandoned()
            raise
        if results and all(isinstance(result, STORE_FAILURES) for result in results):
            self._failed()
        else:
            self._succeeded()
        return results

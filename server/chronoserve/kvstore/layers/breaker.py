"""A store that fails is left alone for a while, so that callers learn it at once and the store can recover."""

import asyncio
import enum
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer, has_errors
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.errors import DeadlinePassed, Unavailable, WriteOutcomeUnknown

FAILURES_TO_OPEN = 5
"""Failed batches in a row, with no good one between them, that open the breaker."""
OPEN_SECONDS = 0.5
"""How long an open breaker refuses before it lets one batch try."""

PATIENCE_SECONDS = 0.1
"""A batch that had less time than this says nothing of the store when it runs out: one hasty caller must not cut off the rest."""

STORE_FAILURES = (Unavailable, DeadlinePassed, WriteOutcomeUnknown)
"""Errors that speak of the store's health; a refused key or a corrupt value does not."""


class State(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


CLOSED = State.CLOSED
"""Looked up for every batch."""


class Breaker(Layer):
    """Closed: all pass. Open: all are refused. Probing: one batch passes and its outcome decides."""

    def __init__(self, store: KVStore) -> None:
        super().__init__(store)
        self.state = State.CLOSED
        self.opened_total = 0
        self._failures = 0
        self._try_at = 0.0

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        began, probe = asyncio.get_running_loop().time(), self.state is not CLOSED and self._probe()
        try:
            results = await self.store.multi_get(requests, deadline=deadline)
        except BaseException as error:
            self._raised(error, began, deadline, probe=probe)
            raise
        if has_errors(results) and all(isinstance(result, STORE_FAILURES) for result in results):
            self._failed(began, deadline, probe=probe)
        elif self._failures or probe:
            self._succeeded()
        return results

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        began, probe = asyncio.get_running_loop().time(), self.state is not CLOSED and self._probe()
        try:
            results = await self.store.multi_put(requests, deadline=deadline)
        except BaseException as error:
            self._raised(error, began, deadline, probe=probe)
            raise
        if results and all(isinstance(result, STORE_FAILURES) for result in results):
            self._failed(began, deadline, probe=probe)
        elif self._failures or probe:
            self._succeeded()
        return results

    def _probe(self) -> bool:
        """Let this batch decide. Raises Unavailable while it is not yet time for one, or another one is under way."""
        now = asyncio.get_running_loop().time()
        if self.state is State.PROBING or now < self._try_at:
            wait = max(self._try_at - now, 0.01)
            raise Unavailable("the store has been failing and is not asked for a moment", retry_after=wait)
        self.state = State.PROBING
        return True

    def _succeeded(self) -> None:
        self._failures = 0
        self.state = State.CLOSED

    def _raised(self, error: BaseException, began: float, deadline: float, *, probe: bool) -> None:
        """The layers above cancel what has not answered by its deadline, so a cancelled batch may be a silent store's."""
        silent = isinstance(error, asyncio.CancelledError) and asyncio.get_running_loop().time() >= deadline
        if silent or isinstance(error, STORE_FAILURES):
            self._failed(began, deadline, probe=probe)
        elif probe:
            self._abandoned()

    def _failed(self, began: float, deadline: float, *, probe: bool) -> None:
        now = asyncio.get_running_loop().time()
        if now >= deadline and now - began < PATIENCE_SECONDS:
            if probe:
                self._abandoned()
            return
        self._failures += 1
        if probe or self._failures >= FAILURES_TO_OPEN:
            if self.state is not State.OPEN:
                self.opened_total += 1
            self.state = State.OPEN
            self._try_at = now + OPEN_SECONDS

    def _abandoned(self) -> None:
        """A probe without an outcome: the next call probes again."""
        if self.state is State.PROBING:
            self.state = State.OPEN

"""A store that fails is left alone for a while, so that callers learn it at once and the store can recover."""

import asyncio
from collections.abc import Sequence

from chronoserve.kvstore.layers.circuit import Circuit, State
from chronoserve.kvstore.layers.layer import Layer, has_errors
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.errors import DeadlinePassed, Unavailable, WriteOutcomeUnknown

STORE_FAILURES = (Unavailable, DeadlinePassed, WriteOutcomeUnknown)
"""Errors that speak of the store's health; a refused key or a corrupt value does not."""


CLOSED = State.CLOSED
"""Looked up for every batch."""


class Breaker(Layer):
    """Closed: all pass. Open: all are refused. Probing: one batch passes and its outcome decides."""

    def __init__(self, store: KVStore) -> None:
        super().__init__(store)
        self.circuit = Circuit()

    @property
    def state(self) -> State:
        return self.circuit.state

    @property
    def opened_total(self) -> int:
        return self.circuit.opened_total

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        began, probe = asyncio.get_running_loop().time(), self.circuit.state is not CLOSED and self._probe()
        try:
            results = await self.store.multi_get(requests, deadline=deadline)
        except BaseException as error:
            self._raised(error, began, deadline, probe=probe)
            raise
        if has_errors(results) and all(isinstance(result, STORE_FAILURES) for result in results):
            self._failed(began, deadline, probe=probe)
        elif self.circuit.failures or probe:
            self.circuit.succeeded()
        return results

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        began, probe = asyncio.get_running_loop().time(), self.circuit.state is not CLOSED and self._probe()
        try:
            results = await self.store.multi_put(requests, deadline=deadline)
        except BaseException as error:
            self._raised(error, began, deadline, probe=probe)
            raise
        if results and all(isinstance(result, STORE_FAILURES) for result in results):
            self._failed(began, deadline, probe=probe)
        elif self.circuit.failures or probe:
            self.circuit.succeeded()
        return results

    def _probe(self) -> bool:
        """Let this batch decide. Raises Unavailable while it is not yet time for one, or another one is under way."""
        if wait := self.circuit.wait(asyncio.get_running_loop().time()):
            raise Unavailable("the store has been failing and is not asked for a moment", retry_after=wait)
        return True

    def _raised(self, error: BaseException, began: float, deadline: float, *, probe: bool) -> None:
        """The layers above cancel what has not answered by its deadline, so a cancelled batch may be a silent store's."""
        silent = isinstance(error, asyncio.CancelledError) and asyncio.get_running_loop().time() >= deadline
        if silent or isinstance(error, STORE_FAILURES):
            self._failed(began, deadline, probe=probe)
        elif probe:
            self.circuit.abandoned()

    def _failed(self, began: float, deadline: float, *, probe: bool) -> None:
        self.circuit.failed(began=began, now=asyncio.get_running_loop().time(), deadline=deadline, probe=probe)

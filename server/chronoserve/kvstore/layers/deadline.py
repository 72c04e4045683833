"""No call outlives its deadline, whatever the store below does, and no defect of it leaves a write's outcome in doubt.

Reads are timed by the coalescing layer, one timer for a whole flight; inline reads cannot wait. Everything else is
timed here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, Key, Page, PutRequest, PutResult
from chronoserve.model.dataset import Dataset, Properties
from chronoserve.model.errors import DeadlinePassed, KVError, WriteOutcomeUnknown

log = structlog.get_logger("chronoserve.kvstore")

LATE = "the deadline had passed before the store was asked"
UNANSWERED = "the store did not answer in time"
BROKEN = "the store failed during the write; the server's log has the details"


def _in_time(deadline: float) -> None:
    if deadline <= asyncio.get_running_loop().time():
        raise DeadlinePassed(LATE)


class Deadline(Layer):
    """Asks nothing of the store after the deadline and ends what has not answered by then."""

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        _in_time(deadline)
        return await self.store.multi_get(requests, deadline=deadline)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        return await _written(lambda: self.store.multi_put(requests, deadline=deadline), len(requests), deadline)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        return await _written(lambda: self.store.delete(keys, deadline=deadline), len(keys), deadline)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        _in_time(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)
        except TimeoutError:
            raise DeadlinePassed(UNANSWERED) from None

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        _in_time(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.create(name, properties, deadline=deadline)
        except TimeoutError:
            raise WriteOutcomeUnknown(UNANSWERED) from None

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        _in_time(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.load_datasets(deadline=deadline)
        except TimeoutError:
            raise DeadlinePassed(UNANSWERED) from None

    async def check(self, *, deadline: float) -> None:
        _in_time(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                await self.store.check(deadline=deadline)
        except TimeoutError:
            raise DeadlinePassed(UNANSWERED) from None


async def _written(write: Callable[[], Awaitable[list[PutResult]]], size: int, deadline: float) -> list[PutResult]:
    """The outcomes of ``size`` writes; unknown for all of them where the store gave no answer, or broke (K7)."""
    _in_time(deadline)
    try:
        async with asyncio.timeout_at(deadline):
            return await write()
    except TimeoutError:
        return [WriteOutcomeUnknown(UNANSWERED)] * size
    except KVError:
        raise
    except (Exception, asyncio.CancelledError) as defect:
        if isinstance(defect, asyncio.CancelledError) and _cancelled():
            raise
        log.exception("a store failed during a write", error=type(defect).__name__)
        return [WriteOutcomeUnknown(BROKEN)] * size


def _cancelled() -> bool:
    """Whether somebody cancelled this call; else the error comes from inside of the store."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

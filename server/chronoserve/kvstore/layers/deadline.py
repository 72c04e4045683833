"""No call outlives its deadline, whatever the store below does.

Reads are timed by the coalescing layer, one timer for a whole flight; inline reads cannot wait. Everything else is
timed here.
"""

import asyncio
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, Key, Page, PutRequest, PutResult
from chronoserve.model.dataset import Dataset, Properties
from chronoserve.model.errors import DeadlinePassed, WriteOutcomeUnknown

LATE = "the deadline had passed before the store was asked"
UNANSWERED = "the store did not answer in time"


def _passed(deadline: float) -> bool:
    return deadline <= asyncio.get_running_loop().time()


class Deadline(Layer):
    """Asks nothing of the store after the deadline and ends what has not answered by then."""

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        if _passed(deadline):
            raise DeadlinePassed(LATE)
        return await self.store.multi_get(requests, deadline=deadline)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        if _passed(deadline):
            raise DeadlinePassed(LATE)
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.multi_put(requests, deadline=deadline)
        except TimeoutError:
            return [WriteOutcomeUnknown(UNANSWERED)] * len(requests)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        if _passed(deadline):
            raise DeadlinePassed(LATE)
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.delete(keys, deadline=deadline)
        except TimeoutError:
            return [WriteOutcomeUnknown(UNANSWERED)] * len(keys)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)
        except TimeoutError:
            raise DeadlinePassed(UNANSWERED) from None

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.create(name, properties, deadline=deadline)
        except TimeoutError:
            raise WriteOutcomeUnknown(UNANSWERED) from None

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        try:
            async with asyncio.timeout_at(deadline):
                return await self.store.load_datasets(deadline=deadline)
        except TimeoutError:
            raise DeadlinePassed(UNANSWERED) from None

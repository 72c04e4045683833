"""What is safe to try again is tried again: a few times, with jitter, inside the deadline and a budget.

Safe are reads, writes that certainly were not applied, and writes of unknown outcome whose caller named both time and
token (``PutRequest.replayable``). The budget keeps retries to a tenth of the traffic, so that a failing store is not
buried under them. Drivers' own retries are off: this is the only place that tries again (spec/reliability.md §3).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chronoserve.kvstore.layers.layer import Layer, bytes_read
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.errors import KVError, WriteOutcomeUnknown

ATTEMPTS_MAX = 3
BACKOFF_SECONDS = 0.01
"""Upper bound of the first pause; each further one doubles it, and the pause is drawn evenly below the bound."""
BUDGET_RATIO = 0.1
"""Retries that each call earns."""
BUDGET_MAX = 10.0
"""Retries that can be saved up."""

Request = TypeVar("Request")
Result = TypeVar("Result")


class Retry(Layer):
    """Asks again for the items of a batch that failed in a way that another try may mend."""

    def __init__(self, store: KVStore, *, random_fraction: Callable[[], float] = random.random) -> None:
        super().__init__(store)
        self._random_fraction = random_fraction
        self._budget = BUDGET_MAX
        self.retries_total = 0

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self._budget = min(BUDGET_MAX, self._budget + BUDGET_RATIO)
        results = await _each(self.store.multi_get(requests, deadline=deadline), len(requests))
        if bytes_read(results) is not None:
            return results
        return await self._again(requests, results, self.store.multi_get, _read_again, deadline)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self._budget = min(BUDGET_MAX, self._budget + BUDGET_RATIO)
        results = await _each(self.store.multi_put(requests, deadline=deadline), len(requests))
        if not any(results):
            return results
        return await self._again(requests, results, self.store.multi_put, _write_again, deadline)

    async def _again(
        self,
        requests: Sequence[Request],
        results: list[Result],
        call: "Callable[..., Awaitable[list[Result]]]",
        wanted: Callable[[Request, Result], bool],
        deadline: float,
    ) -> list[Result]:
        loop = asyncio.get_running_loop()
        for attempt in range(1, ATTEMPTS_MAX):
            failed = [at for at, result in enumerate(results) if wanted(requests[at], result)]
            pause = self._pause(attempt, [results[at] for at in failed])
            if not failed or self._budget < 1 or loop.time() + pause >= deadline:
                break
            self._budget -= 1
            self.retries_total += 1
            await asyncio.sleep(pause)
            answers = await _each(call([requests[at] for at in failed], deadline=deadline), len(failed))
            for at, answer in zip(failed, answers, strict=True):
                results[at] = answer
        return results

    def _pause(self, attempt: int, errors: Sequence[object]) -> float:
        """Seconds; at least what the store asked for."""
        asked: float = max((error.retry_after or 0.0 for error in errors if isinstance(error, KVError)), default=0.0)
        return asked + self._random_fraction() * BACKOFF_SECONDS * (1 << (attempt - 1))


async def _each(call: Awaitable[list[Result]], size: int) -> list[Result]:
    """The call's results; an error of the whole batch stands in the place of each."""
    try:
        return await call
    except KVError as error:
        return [error] * size  # type: ignore[list-item]


def _read_again(_: GetRequest, result: GetResult) -> bool:
    return isinstance(result, KVError) and result.retryable


def _write_again(request: PutRequest, result: PutResult) -> bool:
    return result is not None and (result.retryable or (request.replayable and isinstance(result, WriteOutcomeUnknown)))

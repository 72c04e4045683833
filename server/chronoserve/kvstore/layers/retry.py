"""What is safe to try again is tried again: a few times, with jitter, inside the deadline and a budget.

Safe are reads, writes that certainly were not applied, and writes of unknown outcome whose caller named both time and
token (``PutRequest.replayable``). The budget keeps retries to a tenth of the traffic, so that a failing store is not
buried under them. Drivers' own retries are off: this is the only place that tries again (spec/reliability.md §3).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chronoserve.kvstore.layers.layer import Layer, has_errors
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import KVError, WriteOutcomeUnknown

ATTEMPTS_MAX = 3
BACKOFF_SECONDS = 0.01
"""Upper bound of the first pause; each further one doubles it, and the pause is drawn evenly below the bound."""
BUDGET_RATIO = 0.1
"""Retries that each call earns."""
BUDGET_MAX = 10.0
"""Retries that can be saved up."""
PAUSE_SECONDS_MAX = 0.1
"""A store that asks for a longer pause is not waited for: its caller hears it at once, with the delay, and decides."""

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
        if self._budget < BUDGET_MAX:
            self._budget += BUDGET_RATIO
        try:
            results = await self.store.multi_get(requests, deadline=deadline)
        except KVError as error:
            results = [error] * len(requests)
        if not has_errors(results):
            return results
        return await self._again(requests, results, self.store.multi_get, _reads_again, deadline)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self._budget = min(BUDGET_MAX, self._budget + BUDGET_RATIO)
        results = await _each(self.store.multi_put(requests, deadline=deadline), len(requests))
        if not any(results):
            return results
        return await self._again(requests, results, self.store.multi_put, _writes_again, deadline, merge=_write_outcome)

    async def _again(
        self,
        requests: Sequence[Request],
        results: list[Result],
        call: Callable[..., Awaitable[list[Result]]],
        wanted: Callable[[Sequence[Request], list[Result]], list[int]],
        deadline: float,
        *,
        merge: Callable[[Result, Result], Result] = lambda _, after: after,
    ) -> list[Result]:
        loop = asyncio.get_running_loop()
        for attempt in range(1, ATTEMPTS_MAX):
            failed = wanted(requests, results)
            pause = self._pause(attempt, [results[at] for at in failed])
            if not failed or self._budget < 1 or pause > PAUSE_SECONDS_MAX or loop.time() + pause >= deadline:
                break
            self._budget -= 1
            self.retries_total += 1
            await asyncio.sleep(pause)
            answers = await _each(call([requests[at] for at in failed], deadline=deadline), len(failed))
            for at, answer in zip(failed, answers, strict=True):
                results[at] = merge(results[at], answer)
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


def _reads_again(_: Sequence[GetRequest], results: list[GetResult]) -> list[int]:
    return [at for at, result in enumerate(results) if isinstance(result, KVError) and result.retryable]


def _writes_again(requests: Sequence[PutRequest], results: list[PutResult]) -> list[int]:
    """Without those that another write of the call would follow: written later, they would win at equal times (K2)."""
    safe: list[int] = []
    followed: set[tuple[Dataset, bytes, int]] = set()
    for at in range(len(requests) - 1, -1, -1):
        request, result = requests[at], results[at]
        place = (request.dataset, request.key, request.millis)
        unknown = isinstance(result, WriteOutcomeUnknown)
        if result is not None and (result.retryable or (unknown and request.replayable)) and place not in followed:
            safe.append(at)
        elif (result is None or unknown) and not request.dataset.timed:
            followed.add(place)
    return safe[::-1]


def _write_outcome(before: PutResult, after: PutResult) -> PutResult:
    """That a second try was certainly not applied says nothing of the first, whose outcome stays unknown (K7)."""
    return before if isinstance(before, WriteOutcomeUnknown) and after is not None else after

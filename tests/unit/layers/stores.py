"""Stores below the layers under test: one that answers when the test says so, and one that errs by a script."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from chronoserve.kvstore.port import Capability, GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties

LATEST = Dataset("LATEST", Properties(Kind.LATEST))
TIMED = Dataset("TIMED_STREAMING", Properties(Kind.TIMED))

CAPABILITY = Capability(
    engine="held",
    key_bytes_max=1 << 10,
    value_bytes_max=1 << 16,
    multi_get_keys_max=100,
    multi_put_keys_max=100,
    inflight_batches_max=4,
)

Request = TypeVar("Request")
Result = TypeVar("Result")


def read(*keys: bytes, after: int = 0) -> list[GetRequest]:
    return [(LATEST, key, after) for key in keys]


def value_of(request: GetRequest) -> bytes:
    """What every store here holds at a key."""
    return values.encode(b"value of " + request[1], 7)


def write(key: bytes, value: bytes = b"v", *, millis: int = 1, replayable: bool = False, dataset: Dataset = LATEST) -> PutRequest:
    return PutRequest(dataset, key, values.encode(value, millis), millis, b"n" * 16, 0, replayable)


@dataclass(eq=False)
class Batch(Generic[Request, Result]):
    """One call of the store: what it asked for, and whether it still waits."""

    requests: Sequence[Request]
    deadline: float
    default: Callable[[Request], Result]
    reply: asyncio.Future[list[Result]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: bool = False

    def answer(self, results: list[Result] | None = None) -> None:
        self.reply.set_result([self.default(request) for request in self.requests] if results is None else results)

    def fail(self, error: BaseException) -> None:
        self.reply.set_exception(error)

    async def wait(self) -> list[Result]:
        try:
            return await self.reply
        finally:
            self.ended = True


class HeldStore(KVStore):
    """Every call waits until the test answers it; ``reads`` and ``writes`` are the calls in the order of their arrival."""

    def __init__(self, **capability: Any) -> None:
        self.capability = replace(CAPABILITY, **capability)
        self.reads: list[Batch[GetRequest, GetResult]] = []
        self.writes: list[Batch[PutRequest, PutResult]] = []
        self.others: list[Batch[Any, Any]] = []
        self.closed = False

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self.reads.append(Batch(requests, deadline, value_of))
        return await self.reads[-1].wait()

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self.writes.append(Batch(requests, deadline, lambda _: None))
        return await self.writes[-1].wait()

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        return await self._other(keys, deadline)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        (page,) = await self._other(["scan"], deadline, Page([], b""))
        assert isinstance(page, Page)
        return page

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        (found,) = await self._other(["load"], deadline, {LATEST.name: LATEST, TIMED.name: TIMED})
        return dict(found)

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        (made,) = await self._other([name], deadline, Dataset(name, properties))
        assert isinstance(made, Dataset)
        return made

    async def _other(self, requests: Sequence[Any], deadline: float, result: Any = None) -> list[Any]:
        self.others.append(Batch(requests, deadline, lambda _: result))
        return await self.others[-1].wait()

    async def close(self) -> None:
        self.closed = True


class ScriptedStore(KVStore):
    """Answers at once, call by call from a script: a list of results, an error to raise, or None for success."""

    capability = CAPABILITY

    def __init__(self, *script: Any) -> None:
        """Each step: a list of results, an error to raise, or None for success."""
        self.script: list[Any] = list(script)
        self.calls: list[list[bytes]] = []
        """The keys of each call."""

    def _next(self, keys: list[bytes]) -> list[Any] | None:
        self.calls.append(keys)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        assert step is None or isinstance(step, list)
        return step

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        step = self._next([request[1] for request in requests])
        return [value_of(request) for request in requests] if step is None else step

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        step = self._next([request.key for request in requests])
        return [None] * len(requests) if step is None else step

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        self._next([])
        return {LATEST.name: LATEST}

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        self._next([])
        return Dataset(name, properties)

    async def close(self) -> None:
        """Nothing is open."""

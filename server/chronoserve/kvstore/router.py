"""Several stores behind one port: patterns of dataset names choose the store, batches are split and rejoined in order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import structlog

from chronoserve.kvstore.port import GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.model.dataset import Dataset, Properties
from chronoserve.model.errors import FailedPrecondition, Internal, KVError, WriteOutcomeUnknown

log = structlog.get_logger("chronoserve.kvstore")

T = TypeVar("T")
Request = TypeVar("Request", GetRequest, PutRequest, Key)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Route:
    """Datasets whose name matches ``pattern`` (``*`` and ``?`` as in a shell) live in the store named ``store``."""

    pattern: str
    store: str


class Router(KVStore):
    """Sends each dataset to the first route that matches it. Stores are asked concurrently and fail separately."""

    def __init__(self, stores: Mapping[str, KVStore], routes: Sequence[Route]) -> None:
        """``stores`` by configured name; every route names one of them, and the mapping is not empty."""
        self.stores = dict(stores)
        self.routes = tuple(routes)
        self._owners: dict[Dataset, KVStore] = {}
        self._only = next(iter(self.stores.values())) if len(self.stores) == 1 else None
        every = [store.capability for store in self.stores.values()]
        self.capability = replace(
            every[0],
            engine="+".join(sorted({capability.engine for capability in every})),
            key_bytes_max=min(capability.key_bytes_max for capability in every),
            value_bytes_max=min(capability.value_bytes_max for capability in every),
            reads_inline=all(capability.reads_inline for capability in every),
        )

    def store_name(self, dataset: str) -> str:
        """The configured name of the store for a dataset name.

        Raises:
            FailedPrecondition: no route matches.
        """
        name = self._route(dataset)
        if name is None:
            raise FailedPrecondition(f"no route of the configuration matches the dataset {dataset}; add one, or a last route for *")
        return name

    def _route(self, dataset: str) -> str | None:
        return next((route.store for route in self.routes if fnmatchcase(dataset, route.pattern)), None)

    def owner(self, dataset: Dataset) -> KVStore:
        """The store that holds ``dataset``, which has come from this router."""
        return self._only or self._owners[dataset]

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        """Of every store, without those that the routes send elsewhere or nowhere."""
        found: dict[str, Dataset] = {}
        for datasets in await _all(self.load_store(name, deadline=deadline) for name in self.stores):
            found.update(datasets)
        return found

    async def load_store(self, name: str, *, deadline: float) -> dict[str, Dataset]:
        """The datasets of the store named ``name``, without those that the routes send elsewhere or nowhere."""
        store = self.stores[name]
        found = await store.load_datasets(deadline=deadline)
        mine = {each: dataset for each, dataset in found.items() if self._route(each) == name}
        self._owners.update(dict.fromkeys(mine.values(), store))
        return mine

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        store = self.stores[self.store_name(name)]
        dataset = await store.create(name, properties, deadline=deadline)
        self._owners[dataset] = store
        return dataset

    def imply(self, name: str) -> Dataset | None:
        store = self.stores[self.store_name(name)]
        dataset = store.imply(name)
        if dataset is not None:
            self._owners[dataset] = store
        return dataset

    def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> Coroutine[Any, Any, list[GetResult]]:
        """As the port says, without a coroutine of its own."""
        if self._only is not None:
            return self._only.multi_get(requests, deadline=deadline)
        return self._split(requests, lambda store, part: store.multi_get(part, deadline=deadline), Internal)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        if self._only is not None:
            return await self._only.multi_put(requests, deadline=deadline)
        return await self._split(requests, lambda store, part: store.multi_put(part, deadline=deadline), WriteOutcomeUnknown)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        return await self._split(keys, lambda store, part: store.delete(part, deadline=deadline), WriteOutcomeUnknown)

    async def _split(
        self,
        requests: Sequence[Request],
        call: Callable[[KVStore, Sequence[Request]], Awaitable[list[Result]]],
        defect: type[KVError],
    ) -> list[Result]:
        """Ask each store for its part. A store that breaks answers ``defect`` for its own items and spoils no other's."""
        positions: dict[KVStore, list[int]] = {}
        for at, request in enumerate(requests):
            positions.setdefault(self.owner(request[0]), []).append(at)
        if len(positions) == 1:
            (store,) = positions
            return await call(store, requests)
        results: list[Result | None] = [None] * len(requests)

        async def ask(store: KVStore, places: list[int]) -> None:
            try:
                answers = await call(store, [requests[at] for at in places])
            except KVError as error:
                answers = [error] * len(places)  # type: ignore[list-item]
            except Exception as broken:
                log.exception("a store failed", error=type(broken).__name__)
                answers = [defect("the store failed; the server's log has the details")] * len(places)  # type: ignore[list-item]
            for at, answer in zip(places, answers, strict=True):
                results[at] = answer

        async with asyncio.TaskGroup() as group:
            for store, places in positions.items():
                group.create_task(ask(store, places))
        return results  # type: ignore[return-value]

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        return await self.owner(dataset).scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)

    async def check(self, *, deadline: float) -> None:
        await _all(store.check(deadline=deadline) for store in self.stores.values())

    async def close(self) -> None:
        await _all(store.close() for store in self.stores.values())


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Every call's result; the first error of them, but only when all have ended: none is left behind."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]

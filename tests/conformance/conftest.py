"""One fixture, ``bench``, for every store of ``stores.py``; an engine that is not installed is a visible skip."""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

import pytest
import pytest_asyncio

from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.kvstore.registry import open_store
from chronoserve.model.dataset import Dataset, Properties
from chronoserve.testing.clock import ManualClock
from chronoserve.testing.conformance import StoreBench
from tests.conformance.stores import STORES, Store
from tests.engines import engine_class
from tests.engines.engine import Engine, Installable

Found = TypeVar("Found", bound=Installable)

REQUIRED = set(os.environ.get("CHRONOSERVE_REQUIRE_ENGINES", "").split(","))


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    running: dict[str, Engine] = {}
    yield running
    for engine in running.values():
        engine.stop()


def installed(found: type[Found]) -> type[Found]:
    """An engine or environment that is there. Where it is not: skip by name, or fail if it is required."""
    if not found.installed():
        message = f"{found.name} is not installed: make engines ONLY={found.name}"
        if REQUIRED & {"all", found.name}:
            pytest.fail(message)
        pytest.skip(message)
    return found


def running_engine(name: str, engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine, started on first use. Where it is not installed: skip, or fail if it is required."""
    if name not in engines:
        engine = installed(engine_class(name))(tmp_path_factory.mktemp(name))
        engine.start()
        engines[name] = engine
    return engines[name]


@pytest.fixture(params=STORES, ids=lambda store: store.name, scope="session")
def store_line(request: pytest.FixtureRequest) -> Store:
    line: Store = request.param
    return line


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_bench(
    store_line: Store, engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StoreBench]:
    engine = running_engine(store_line.engine, engines, tmp_path_factory) if store_line.engine else None
    base = engine.url if engine else store_line.url.format(directory=tmp_path_factory.mktemp(store_line.name))
    url = base + store_line.options
    clock = ManualClock()
    store = await open_store(url, clock=clock)

    async def reopen() -> KVStore:
        return SharedMemory(store) if store_line.name == "memory" else await open_store(url, clock=clock)

    yield StoreBench(store, clock, reopen, engine, dict(store_line.except_for))
    await store.close()


@pytest.fixture
def bench(session_bench: StoreBench) -> StoreBench:
    session_bench.clock.reset()
    return session_bench


class SharedMemory(KVStore):
    """A second client of a memory store is the store itself; closing it leaves the first one open."""

    def __init__(self, store: KVStore) -> None:
        self._store = store
        self.capability = store.capability

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        return await self._store.load_datasets(deadline=deadline)

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        return await self._store.create(name, properties, deadline=deadline)

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return await self._store.multi_get(requests, deadline=deadline)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        return await self._store.multi_put(requests, deadline=deadline)

    async def close(self) -> None:
        """Leaves the store open for its owner."""

"""Both clients behind one face, so that every test of behaviour runs on both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self

import pytest

from chronoserve.v1 import kv_pb2
from chronoserve_client import AsyncClient, Client
from tests.unit.client.server import Running, running


class Threaded:
    """The sync client, a stream of it or an iterator of it, driven from asyncio by threads."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._inner.__enter__)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self._inner.__exit__, kind, error, trace)

    async def aclose(self) -> None:
        await asyncio.to_thread(self._inner.close)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)
        if name.startswith("stream_"):
            return lambda: Threaded(method())
        if name in {"scan", "bulk_put", "list_joins", "list_group_bys"}:
            return lambda *args, **kwargs: _iterate(method(*args, **kwargs))
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)


async def _iterate(items: Any) -> AsyncIterator[Any]:
    end = object()
    while (item := await asyncio.to_thread(next, items, end)) is not end:
        yield item


class MakeClient(Protocol):
    """A client of one flavour, closed at the end of the test."""

    async def __call__(self, target: str, **settings: Any) -> Any: ...


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running() as started:
        started.kv.datasets["clicks"] = kv_pb2.DatasetProperties(kind=kv_pb2.DATASET_KIND_TIMED)
        yield started


@pytest.fixture(params=["async", "sync"])
async def make_client(request: pytest.FixtureRequest) -> AsyncIterator[MakeClient]:
    async with AsyncExitStack() as stack:

        async def make(target: str, **settings: Any) -> Any:
            patient = {"timeout": 30, "write_timeout": 30} | settings  # the machine that runs the tests may be busy
            client = AsyncClient(target, **patient) if request.param == "async" else Threaded(Client(target, **patient))
            return await stack.enter_async_context(client)

        yield make


@pytest.fixture
async def client(make_client: MakeClient, server: Running) -> Any:
    return await make_client(server.target)


DAY = timedelta(days=1)

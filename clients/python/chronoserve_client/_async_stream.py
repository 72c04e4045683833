"""Batches on an open stream, for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from chronoserve_client import _calls, _fetches
from chronoserve_client._calls import Call
from chronoserve_client._channel import Settings
from chronoserve_client._features import Encoding, FeatureRow, FetchLike
from chronoserve_client._values import GetLike, GetResult, PutLike, PutResult
from chronoserve_client._waiters import CLOSED, Waiters, check_size

# ruff: noqa: ASYNC109  a timeout here is the deadline of the call

T = TypeVar("T")

Open = Callable[[AsyncIterator[Message]], Any]
"""Starts the call, given its requests."""


class _Flow:
    """One call from its start to its end. The reader task owns it; callers only put themselves in line."""

    def __init__(self, open_call: Open) -> None:
        self._requests: asyncio.Queue[Message | None] = asyncio.Queue()
        self._waiters = Waiters()
        self._moved = asyncio.Event()
        self._call = open_call(self._unsent())
        self._reader = asyncio.create_task(self._read(), name="chronoserve_client stream")

    @property
    def over(self) -> bool:
        return self._waiters.over

    @property
    def full(self) -> bool:
        return self._waiters.full

    def send(self, call: Call[Any]) -> asyncio.Future[Any]:
        """Put the request in line; the future is its response message."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiters.add(call, future)
        self._requests.put_nowait(call.request)
        return future

    async def room(self) -> None:
        """Wait until something was answered or the call is over."""
        self._moved.clear()
        await self._moved.wait()

    async def close(self) -> None:
        self._call.cancel()
        await asyncio.wait({self._reader})

    async def _unsent(self) -> AsyncIterator[Message]:
        while (message := await self._requests.get()) is not None:
            yield message

    async def _read(self) -> None:
        failure: grpc.RpcError | None = None
        try:
            async for response in self._call:
                self._waiters.answer(response)
                self._moved.set()
        except grpc.RpcError as exc:
            failure = exc
        finally:
            self._waiters.fail(failure)
            self._moved.set()
            self._requests.put_nowait(None)


class _AsyncStream:
    """An open stream. Safe for concurrent use; cancelling a call hurts no other.

    What is under way when the stream breaks ends with an error; the next call opens another stream.
    """

    def __init__(self, settings: Settings, open_call: Open) -> None:
        self._settings = settings
        self._open_call = open_call
        self._flow: _Flow | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream. Calls under way end with Unavailable, writes with WriteOutcomeUnknown."""
        self._closed = True
        if self._flow is not None:
            await self._flow.close()

    async def _ask(self, call: Call[T], timeout: float | None) -> T:
        check_size(call.request, self._settings.message_bytes_max)
        seconds = self._settings.seconds(timeout, write=call.write)
        try:
            async with asyncio.timeout(seconds):
                while (flow := self._current()).full:
                    await flow.room()
                response = await flow.send(call)
        except TimeoutError:
            raise call.late(seconds) from None
        return call.read(response)

    def _current(self) -> _Flow:
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._flow is None or self._flow.over:
            self._flow = _Flow(self._open_call)
        return self._flow


class AsyncMultiGetStream(_AsyncStream):
    """Reads on an open stream, for hot loops: they cost the server a quarter of a call. Made by ``AsyncClient.stream_multi_get``."""

    async def multi_get(self, requests: Iterable[GetLike], *, timeout: float | None = None) -> list[GetResult]:
        """As ``AsyncClient.multi_get``, but nothing is repeated."""
        return await self._ask(_calls.multi_get([_calls.get_message(request) for request in requests]), timeout)


class AsyncMultiPutStream(_AsyncStream):
    """Writes on an open stream. Made by ``AsyncClient.stream_multi_put``."""

    async def multi_put(self, requests: Iterable[PutLike], *, timeout: float | None = None) -> list[PutResult]:
        """As ``AsyncClient.multi_put``, but nothing is repeated."""
        return await self._ask(_calls.multi_put(requests), timeout)


class AsyncFetchStream(_AsyncStream):
    """Fetches on an open stream, for hot loops. Made by ``AsyncClient.stream_fetch``; nothing is repeated."""

    async def fetch_joins(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """As ``AsyncClient.fetch_joins``."""
        return await self._ask(_fetches.stream_fetch("joins", requests, encoding, freshness=freshness), timeout)

    async def fetch_group_bys(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """As ``AsyncClient.fetch_group_bys``."""
        return await self._ask(_fetches.stream_fetch("group_bys", requests, encoding, freshness=freshness), timeout)

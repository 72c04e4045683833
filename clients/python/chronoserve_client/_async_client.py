"""The client for asyncio."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from chronoserve.v1 import kv_pb2
from chronoserve_client import _calls, _fetches
from chronoserve_client._async_stream import AsyncFetchStream, AsyncMultiGetStream, AsyncMultiPutStream, Open
from chronoserve_client._calls import Call
from chronoserve_client._channel import (
    ATTEMPTS,
    DEFAULT_TARGET,
    MESSAGE_BYTES_MAX,
    READ_SECONDS,
    WRITE_SECONDS,
    Option,
    Settings,
    Token,
    methods,
)
from chronoserve_client._coalesce import Coalescer
from chronoserve_client._features import Encoding, Explained, FeatureRow, Fetch, FetchLike, GroupBySchema, JoinSchema
from chronoserve_client._retry import Attempts, Budget, BulkLoad
from chronoserve_client._values import (
    BulkProgress,
    Capabilities,
    Dataset,
    GetLike,
    GetResult,
    Kind,
    Put,
    PutLike,
    PutResult,
    ScanEntry,
    TimedValue,
    newest,
)
from chronoserve_client._waiters import CLOSED

# ruff: noqa: ASYNC109  a timeout here is the deadline that travels with the call

T = TypeVar("T")


class AsyncClient:
    """Fetches features, and reads and writes timed values, over gRPC, for asyncio.

    One client for a process is enough: it is safe for concurrent use on one event loop, connects when it is first used
    and stays connected. Use it as ``async with AsyncClient(…) as client``, or call ``aclose``.

    Every method takes ``timeout``, in seconds, for the whole call with its retries; without it the client's own holds.
    All errors of the service are ``ChronoserveError``; using a closed client is a ``RuntimeError``.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: bool | grpc.ChannelCredentials = False,
        token: Token | None = None,
        timeout: float = READ_SECONDS,
        write_timeout: float = WRITE_SECONDS,
        coalesce: bool = False,
        connections: int = 1,
        attempts: int = ATTEMPTS,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        options: Sequence[Option] = (),
    ) -> None:
        """Nothing is connected yet.

        Args:
            target: ``host:port``, ``unix:PATH`` or any other gRPC target.
            tls: True: TLS with the system's roots; credentials: yours, for mutual TLS or another root.
            token: sent as a bearer token; a function is asked at every call.
            timeout: seconds for a read.
            write_timeout: seconds for a write.
            coalesce: concurrent ``get`` calls go out together as one MultiGet.
            connections: calls are spread over so many; a connection is served by one worker of the server.
            attempts: how often a call that may be repeated is made, the first time included; 1: no retries.
            message_bytes_max: larger messages are neither sent nor accepted.
            options: gRPC channel options; they win over what this client sets.

        Raises:
            ValueError: a setting is out of its range.
        """
        self._settings = Settings(
            target=target, tls=tls, token=token, timeout=timeout, write_timeout=write_timeout, connections=connections,
            attempts=attempts, message_bytes_max=message_bytes_max, options=options,
        )  # fmt: skip
        self._budget = Budget()
        self._coalescer = Coalescer(self._get_group) if coalesce else None
        self._channels: list[grpc.aio.Channel] = []
        self._methods: Iterator[Mapping[str, Any]] = iter(())
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Disconnect. Calls under way end with Unavailable, writes with WriteOutcomeUnknown."""
        self._closed = True
        if self._coalescer is not None:
            await self._coalescer.aclose()
        for channel in self._channels:
            await channel.close(grace=None)

    # reads

    async def get(self, dataset: str, key: bytes, after: int | None = None, *, timeout: float | None = None) -> list[TimedValue]:
        """The values of a key, oldest first; empty for a miss. ``after``: epoch milliseconds, inclusive."""
        request = _calls.get_message((dataset, key, after))
        if self._coalescer is None:
            return await self._unary(_calls.get(request), timeout)
        self._check_open()
        return list(await self._coalescer.get(request, self._settings.seconds(timeout, write=False)))

    async def latest(self, dataset: str, key: bytes, after: int | None = None, *, timeout: float | None = None) -> TimedValue | None:
        """The newest value of a key; None for a miss. ``after``: epoch milliseconds, inclusive."""
        return newest(await self.get(dataset, key, after, timeout=timeout))

    async def multi_get(self, requests: Iterable[GetLike], *, timeout: float | None = None) -> list[GetResult]:
        """Many keys of any datasets: one result for each request, in request order, duplicates included."""
        return await self._unary(_calls.multi_get([_calls.get_message(request) for request in requests]), timeout)

    def stream_multi_get(self) -> AsyncMultiGetStream:
        """An open stream for hot loops: ``async with client.stream_multi_get() as stream: await stream.multi_get(…)``."""
        return AsyncMultiGetStream(self._settings, self._opener("StreamMultiGet"))

    async def scan(self, dataset: str, *, page_size: int = 0, timeout: float | None = None) -> AsyncIterator[ScanEntry]:
        """Every key of a dataset once, in the store's own order.

        ``page_size``: keys fetched at a time; 0: the server decides. ``timeout`` holds for each page.
        """
        page = await self._unary(_calls.scan(dataset, page_size, ""), timeout)
        while True:
            for entry in page.entries:
                yield entry
            if not page.next_token:
                return
            page = await self._unary(_calls.scan(dataset, page_size, page.next_token), timeout)

    # features

    async def fetch_joins(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """Features of joins, whose names may differ: one row for each request, in request order, duplicates included.

        ``encoding``: how they travel. ``freshness``: say for each part how new its data is.
        """
        return await self._unary(_fetches.fetch("joins", requests, encoding, freshness=freshness), timeout)

    async def fetch_group_bys(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """The same for group bys."""
        return await self._unary(_fetches.fetch("group_bys", requests, encoding, freshness=freshness), timeout)

    def stream_fetch(self) -> AsyncFetchStream:
        """An open stream for hot loops: ``async with client.stream_fetch() as stream: await stream.fetch_joins(…)``."""
        return AsyncFetchStream(self._settings, self._opener("StreamFetch"))

    async def join_schema(self, name: str, *, timeout: float | None = None) -> JoinSchema:
        """The schemas of a join's keys and features. Raises UnknownConf."""
        return await self._unary(_fetches.join_schema(name), timeout)

    async def group_by_schema(self, name: str, *, timeout: float | None = None) -> GroupBySchema:
        """The schemas of a group by's keys and features. Raises UnknownConf."""
        return await self._unary(_fetches.group_by_schema(name), timeout)

    async def list_joins(self, *, timeout: float | None = None) -> AsyncIterator[str]:
        """Names of the joins that are online. ``timeout`` holds for each page."""
        async for name in self._names("joins", timeout):
            yield name

    async def list_group_bys(self, *, timeout: float | None = None) -> AsyncIterator[str]:
        """Names of the group bys that are online. ``timeout`` holds for each page."""
        async for name in self._names("group_bys", timeout):
            yield name

    async def explain_join(
        self, name: str, keys: Mapping[str, object], at: int | None = None, *, timeout: float | None = None
    ) -> Explained:
        """Fetch a row and say where each feature came from, how fresh it is and how long each phase took."""
        return await self._unary(_fetches.explain("joins", Fetch(name, keys, at)), timeout)

    async def explain_group_by(
        self, name: str, keys: Mapping[str, object], at: int | None = None, *, timeout: float | None = None
    ) -> Explained:
        """The same for a group by."""
        return await self._unary(_fetches.explain("group_bys", Fetch(name, keys, at)), timeout)

    async def _names(self, kind: _fetches.Kind, timeout: float | None) -> AsyncIterator[str]:
        token = ""
        while True:
            page = await self._unary(_fetches.names(kind, token), timeout)
            for name in page.names:
                yield name
            token = page.next_token
            if not token:
                return

    # writes

    async def put(
        self,
        dataset: str,
        key: bytes,
        value: bytes,
        *,
        millis: int | None = None,
        idempotency_token: bytes = b"",
        timeout: float | None = None,
    ) -> None:
        """Write one value; returning means that it is acknowledged.

        ``millis``: event time in epoch milliseconds; None: the server's clock. With ``millis`` and ``idempotency_token``
        (at most 64 bytes) the write is repeated where the connection fails, without them never.

        Raises:
            WriteOutcomeUnknown: it may have been applied. Any other ChronoserveError: it certainly was not.
        """
        await self._unary(_calls.put(Put(dataset, key, value, millis, idempotency_token)), timeout)

    async def multi_put(self, requests: Iterable[PutLike], *, timeout: float | None = None) -> list[PutResult]:
        """Write many values, each on its own: one outcome for each request, in request order.

        Repeated as ``put`` is, where every request has its time and token.
        """
        return await self._unary(_calls.multi_put(requests), timeout)

    def stream_multi_put(self) -> AsyncMultiPutStream:
        """An open stream for batches of writes."""
        return AsyncMultiPutStream(self._settings, self._opener("StreamMultiPut"))

    async def delete(self, dataset: str, keys: Sequence[bytes], *, timeout: float | None = None) -> list[PutResult]:
        """Remove keys with all their values: one outcome for each key, in order. An absent key is fine. Never repeated."""
        return await self._unary(_calls.delete(dataset, keys), timeout)

    async def bulk_put(
        self, source: str, dataset: str, *, partition: str = "", resume_token: str = "", timeout: float | None = None
    ) -> AsyncIterator[BulkProgress]:
        """Have the server load a Parquet or Avro file, or a folder of them; yields its progress until ``done``.

        A load that breaks off is taken up again a few times. What it raises after that leaves the last ``resume_token``
        good for a later call. ``source`` is a path of the server's. ``partition``: as yyyy-MM-dd. ``timeout`` is for the
        whole load; None: no limit. Closing the iterator stops the load.
        """
        load = BulkLoad(source, dataset, partition, resume_token, timeout)
        while not load.done:
            call = self._method("BulkPut")(load.request(), timeout=load.remaining(), metadata=self._settings.metadata())
            try:
                async for message in call:
                    yield load.advance(message)
                load.check_done()
            except grpc.RpcError as failure:
                await asyncio.sleep(load.pause_after(failure))
            except asyncio.CancelledError:
                self._check_cut_off(load)
                raise
            finally:
                call.cancel()

    # datasets and the server

    async def create(
        self, dataset: str, kind: Kind | None = None, ttl: timedelta | None = None, *, timeout: float | None = None
    ) -> Dataset:
        """Make a dataset, or get the one that is there if it has these properties.

        ``kind`` None: TIMED for names that end in _STREAMING, LATEST for all others. ``ttl`` None: values live for ever.

        Raises:
            AlreadyExists: it is there with other properties.
        """
        return await self._unary(_calls.create(dataset, kind, ttl), timeout)

    async def describe(self, dataset: str = "", *, timeout: float | None = None) -> list[Dataset]:
        """The dataset, or without a name every dataset."""
        return await self._unary(_calls.describe(dataset), timeout)

    async def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """What the stores behind the server can do, and the server's bounds."""
        return await self._unary(_calls.capabilities(), timeout)

    async def health(self, *, timeout: float | None = None) -> bool:
        """The server takes calls. Never repeated: a server that cannot be reached raises Unavailable at once."""
        return await self._unary(_calls.health(), timeout)

    # transport

    async def _unary(self, call: Call[T], timeout: float | None) -> T:
        method = self._method(call.method)
        attempts = Attempts(call, self._settings.seconds(timeout, write=call.write), self._settings.attempts, self._budget)
        while True:
            try:
                response = await method(call.request, timeout=attempts.remaining(), metadata=self._settings.metadata())
            except grpc.RpcError as failure:
                await asyncio.sleep(attempts.pause_after(failure))
            except asyncio.CancelledError:
                self._check_cut_off(call)
                raise
            else:
                attempts.succeeded()
                return call.read(response)

    async def _get_group(self, requests: Sequence[kv_pb2.GetRequest], seconds: float) -> list[GetResult]:
        if len(requests) == 1:
            values = await self._unary(_calls.get(requests[0]), seconds)
            return [GetResult(tuple(values))]
        return await self._unary(_calls.multi_get(requests), seconds)

    def _opener(self, name: str) -> Open:
        return lambda requests: self._method(name)(requests, metadata=self._settings.metadata())

    def _method(self, name: str) -> Any:
        self._check_open()
        if not self._channels:
            self._connect()
        return next(self._methods)[name]

    def _connect(self) -> None:
        """Late, because a channel belongs to the loop that runs when it is made."""
        credentials, options = self._settings.credentials, self._settings.channel_options()
        for _ in range(self._settings.connections):
            if credentials is None:
                self._channels.append(grpc.aio.insecure_channel(self._settings.target, options=options))
            else:
                self._channels.append(grpc.aio.secure_channel(self._settings.target, credentials, options=options))
        self._methods = itertools.cycle([methods(channel) for channel in self._channels])

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(CLOSED)

    def _check_cut_off(self, call: Call[Any] | BulkLoad) -> None:
        """What waits for an answer is cancelled by gRPC when its channel closes; only the task's own cancellation may go on as one.

        Raises:
            ChronoserveError: ``aclose`` ended the call.
        """
        task = asyncio.current_task()
        if self._closed and task is not None and not task.cancelling():
            raise call.interrupted(CLOSED) from None

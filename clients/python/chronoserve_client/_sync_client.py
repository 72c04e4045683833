"""The client for threads."""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from chronoserve_client import _calls, _fetches
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
from chronoserve_client._features import Encoding, Explained, FeatureRow, Fetch, FetchLike, GroupBySchema, JoinSchema
from chronoserve_client._retry import Attempts, Budget, BulkLoad
from chronoserve_client._sync_stream import FetchStream, MultiGetStream, MultiPutStream, Open
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

T = TypeVar("T")


class Client:
    """Fetches features, and reads and writes timed values, over gRPC.

    One client for a process is enough: it is safe for concurrent use by threads and stays connected; make it after a
    fork, not before. Use it as ``with Client(…) as client``, or call ``close``.

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
        connections: int = 1,
        attempts: int = ATTEMPTS,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        options: Sequence[Option] = (),
    ) -> None:
        """Arguments and errors are those of ``AsyncClient``."""
        self._settings = Settings(
            target=target, tls=tls, token=token, timeout=timeout, write_timeout=write_timeout, connections=connections,
            attempts=attempts, message_bytes_max=message_bytes_max, options=options,
        )  # fmt: skip
        self._budget = Budget()
        self._channels = [self._channel() for _ in range(connections)]
        self._methods = itertools.cycle([methods(channel) for channel in self._channels])
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. Calls under way end with Unavailable, writes with WriteOutcomeUnknown."""
        self._closed = True
        for channel in self._channels:
            channel.close()

    # reads

    def get(self, dataset: str, key: bytes, after: int | None = None, *, timeout: float | None = None) -> list[TimedValue]:
        """The values of a key, oldest first; empty for a miss. ``after``: epoch milliseconds, inclusive."""
        return self._unary(_calls.get(_calls.get_message((dataset, key, after))), timeout)

    def latest(self, dataset: str, key: bytes, after: int | None = None, *, timeout: float | None = None) -> TimedValue | None:
        """The newest value of a key; None for a miss. ``after``: epoch milliseconds, inclusive."""
        return newest(self.get(dataset, key, after, timeout=timeout))

    def multi_get(self, requests: Iterable[GetLike], *, timeout: float | None = None) -> list[GetResult]:
        """Many keys of any datasets: one result for each request, in request order, duplicates included."""
        return self._unary(_calls.multi_get([_calls.get_message(request) for request in requests]), timeout)

    def stream_multi_get(self) -> MultiGetStream:
        """An open stream for hot loops: ``with client.stream_multi_get() as stream: stream.multi_get(…)``."""
        return MultiGetStream(self._settings, self._opener("StreamMultiGet"))

    def scan(self, dataset: str, *, page_size: int = 0, timeout: float | None = None) -> Iterator[ScanEntry]:
        """Every key of a dataset once, in the store's own order.

        ``page_size``: keys fetched at a time; 0: the server decides. ``timeout`` holds for each page.
        """
        page = self._unary(_calls.scan(dataset, page_size, ""), timeout)
        while True:
            yield from page.entries
            if not page.next_token:
                return
            page = self._unary(_calls.scan(dataset, page_size, page.next_token), timeout)

    # features

    def fetch_joins(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """Features of joins, whose names may differ: one row for each request, in request order, duplicates included.

        ``encoding``: how they travel. ``freshness``: say for each part how new its data is.
        """
        return self._unary(_fetches.fetch("joins", requests, encoding, freshness=freshness), timeout)

    def fetch_group_bys(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """The same for group bys."""
        return self._unary(_fetches.fetch("group_bys", requests, encoding, freshness=freshness), timeout)

    def stream_fetch(self) -> FetchStream:
        """An open stream for hot loops: ``with client.stream_fetch() as stream: stream.fetch_joins(…)``."""
        return FetchStream(self._settings, self._opener("StreamFetch"))

    def join_schema(self, name: str, *, timeout: float | None = None) -> JoinSchema:
        """The schemas of a join's keys and features. Raises UnknownConf."""
        return self._unary(_fetches.join_schema(name), timeout)

    def group_by_schema(self, name: str, *, timeout: float | None = None) -> GroupBySchema:
        """The schemas of a group by's keys and features. Raises UnknownConf."""
        return self._unary(_fetches.group_by_schema(name), timeout)

    def list_joins(self, *, timeout: float | None = None) -> Iterator[str]:
        """Names of the joins that are online. ``timeout`` holds for each page."""
        yield from self._names("joins", timeout)

    def list_group_bys(self, *, timeout: float | None = None) -> Iterator[str]:
        """Names of the group bys that are online. ``timeout`` holds for each page."""
        yield from self._names("group_bys", timeout)

    def explain_join(self, name: str, keys: Mapping[str, object], at: int | None = None, *, timeout: float | None = None) -> Explained:
        """Fetch a row and say where each feature came from, how fresh it is and how long each phase took."""
        return self._unary(_fetches.explain("joins", Fetch(name, keys, at)), timeout)

    def explain_group_by(self, name: str, keys: Mapping[str, object], at: int | None = None, *, timeout: float | None = None) -> Explained:
        """The same for a group by."""
        return self._unary(_fetches.explain("group_bys", Fetch(name, keys, at)), timeout)

    def _names(self, kind: _fetches.Kind, timeout: float | None) -> Iterator[str]:
        token = ""
        while True:
            page = self._unary(_fetches.names(kind, token), timeout)
            yield from page.names
            token = page.next_token
            if not token:
                return

    # writes

    def put(
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
        self._unary(_calls.put(Put(dataset, key, value, millis, idempotency_token)), timeout)

    def multi_put(self, requests: Iterable[PutLike], *, timeout: float | None = None) -> list[PutResult]:
        """Write many values, each on its own: one outcome for each request, in request order.

        Repeated as ``put`` is, where every request has its time and token.
        """
        return self._unary(_calls.multi_put(requests), timeout)

    def stream_multi_put(self) -> MultiPutStream:
        """An open stream for batches of writes."""
        return MultiPutStream(self._settings, self._opener("StreamMultiPut"))

    def delete(self, dataset: str, keys: Sequence[bytes], *, timeout: float | None = None) -> list[PutResult]:
        """Remove keys with all their values: one outcome for each key, in order. An absent key is fine. Never repeated."""
        return self._unary(_calls.delete(dataset, keys), timeout)

    def bulk_put(
        self, source: str, dataset: str, *, partition: str = "", resume_token: str = "", timeout: float | None = None
    ) -> Iterator[BulkProgress]:
        """Have the server load a Parquet or Avro file, or a folder of them; yields its progress until ``done``.

        A load that breaks off is taken up again a few times. What it raises after that leaves the last ``resume_token``
        good for a later call. ``source`` is a path of the server's. ``partition``: as yyyy-MM-dd. ``timeout`` is for the
        whole load; None: no limit. Closing the iterator stops the load.
        """
        load = BulkLoad(source, dataset, partition, resume_token, timeout)
        while not load.done:
            call = self._method("BulkPut")(load.request(), timeout=load.remaining(), metadata=self._settings.metadata())
            try:
                for message in call:
                    yield load.advance(message)
                load.check_done()
            except grpc.RpcError as failure:
                time.sleep(load.pause_after(failure))
            finally:
                call.cancel()

    # datasets and the server

    def create(self, dataset: str, kind: Kind | None = None, ttl: timedelta | None = None, *, timeout: float | None = None) -> Dataset:
        """Make a dataset, or get the one that is there if it has these properties.

        ``kind`` None: TIMED for names that end in _STREAMING, LATEST for all others. ``ttl`` None: values live for ever.

        Raises:
            AlreadyExists: it is there with other properties.
        """
        return self._unary(_calls.create(dataset, kind, ttl), timeout)

    def describe(self, dataset: str = "", *, timeout: float | None = None) -> list[Dataset]:
        """The dataset, or without a name every dataset."""
        return self._unary(_calls.describe(dataset), timeout)

    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """What the stores behind the server can do, and the server's bounds."""
        return self._unary(_calls.capabilities(), timeout)

    def health(self, *, timeout: float | None = None) -> bool:
        """The server takes calls. Never repeated: a server that cannot be reached raises Unavailable at once."""
        return self._unary(_calls.health(), timeout)

    # transport

    def _unary(self, call: Call[T], timeout: float | None) -> T:
        method = self._method(call.method)
        attempts = Attempts(call, self._settings.seconds(timeout, write=call.write), self._settings.attempts, self._budget)
        while True:
            try:
                response = method(call.request, timeout=attempts.remaining(), metadata=self._settings.metadata())
            except grpc.RpcError as failure:
                time.sleep(attempts.pause_after(failure))
            else:
                attempts.succeeded()
                return call.read(response)

    def _opener(self, name: str) -> Open:
        return lambda requests: self._method(name)(requests, metadata=self._settings.metadata())

    def _method(self, name: str) -> Any:
        if self._closed:
            raise RuntimeError(CLOSED)
        return next(self._methods)[name]

    def _channel(self) -> grpc.Channel:
        credentials, options = self._settings.credentials, self._settings.channel_options()
        if credentials is None:
            return grpc.insecure_channel(self._settings.target, options=options)
        return grpc.secure_channel(self._settings.target, credentials, options=options)

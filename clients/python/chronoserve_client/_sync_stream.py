"""Batches on an open stream, for threads."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from time import monotonic
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

T = TypeVar("T")

Open = Callable[[Iterator[Message]], Any]
"""Starts the call, given its requests."""


class _Flow:
    """One call from its start to its end. The reader thread owns it; callers only put themselves in line."""

    def __init__(self, open_call: Open, moved: threading.Condition) -> None:
        """``moved``: guards the line and tells when it has moved."""
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._waiters = Waiters()
        self._moved = moved
        self._call = open_call(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, name="chronoserve_client stream", daemon=True)
        self._reader.start()

    @property
    def over(self) -> bool:
        return self._waiters.over

    @property
    def full(self) -> bool:
        return self._waiters.full

    def send(self, call: Call[Any]) -> Future[Any]:
        """Put the request in line; the future is its response message. The caller holds ``moved``."""
        future: Future[Any] = Future()
        self._waiters.add(call, future)
        self._requests.put(call.request)
        return future

    def close(self) -> None:
        self._call.cancel()
        self._reader.join()

    def _read(self) -> None:
        failure: grpc.RpcError | None = None
        try:
            for response in self._call:
                with self._moved:
                    self._waiters.answer(response)
                    self._moved.notify()
        except grpc.RpcError as exc:
            failure = exc
        finally:
            with self._moved:
                self._waiters.fail(failure)
                self._moved.notify_all()
            self._requests.put(None)


class _Stream:
    """An open stream. Safe for concurrent use by threads; a call that runs out of time hurts no other.

    What is under way when the stream breaks ends with an error; the next call opens another stream.
    """

    def __init__(self, settings: Settings, open_call: Open) -> None:
        self._settings = settings
        self._open_call = open_call
        self._moved = threading.Condition()
        self._flow: _Flow | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the stream. Calls under way end with Unavailable, writes with WriteOutcomeUnknown."""
        with self._moved:
            self._closed = True
            flow = self._flow
        if flow is not None:
            flow.close()  # without the lock: the reader takes it to tell those who wait

    def _ask(self, call: Call[T], timeout: float | None) -> T:
        check_size(call.request, self._settings.message_bytes_max)
        seconds = self._settings.seconds(timeout, write=call.write)
        deadline = monotonic() + seconds
        try:
            response = self._send(call, deadline).result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            raise call.late(seconds) from None
        return call.read(response)

    def _send(self, call: Call[T], deadline: float) -> Future[Any]:
        with self._moved:
            while (flow := self._current()).full:
                if not self._moved.wait(max(0.0, deadline - monotonic())):
                    raise TimeoutError
            return flow.send(call)

    def _current(self) -> _Flow:
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._flow is None or self._flow.over:
            self._flow = _Flow(self._open_call, self._moved)
        return self._flow


class MultiGetStream(_Stream):
    """Reads on an open stream, for hot loops: they cost the server a quarter of a call. Made by ``Client.stream_multi_get``."""

    def multi_get(self, requests: Iterable[GetLike], *, timeout: float | None = None) -> list[GetResult]:
        """As ``Client.multi_get``, but nothing is repeated."""
        return self._ask(_calls.multi_get([_calls.get_message(request) for request in requests]), timeout)


class MultiPutStream(_Stream):
    """Writes on an open stream. Made by ``Client.stream_multi_put``."""

    def multi_put(self, requests: Iterable[PutLike], *, timeout: float | None = None) -> list[PutResult]:
        """As ``Client.multi_put``, but nothing is repeated."""
        return self._ask(_calls.multi_put(requests), timeout)


class FetchStream(_Stream):
    """Fetches on an open stream, for hot loops. Made by ``Client.stream_fetch``; nothing is repeated."""

    def fetch_joins(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """As ``Client.fetch_joins``."""
        return self._ask(_fetches.stream_fetch("joins", requests, encoding, freshness=freshness), timeout)

    def fetch_group_bys(
        self, requests: Iterable[FetchLike], *, encoding: Encoding = Encoding.MAP, freshness: bool = False, timeout: float | None = None
    ) -> list[FeatureRow]:
        """As ``Client.fetch_group_bys``."""
        return self._ask(_fetches.stream_fetch("group_bys", requests, encoding, freshness=freshness), timeout)

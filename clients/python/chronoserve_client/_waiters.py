"""Who waits for which answer of one stream. Answers come in the order of the requests, whoever still listens."""

from collections import deque
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message

from chronoserve_client import _errors
from chronoserve_client._calls import Call

INFLIGHT_MAX = 64
"""Requests of one stream that may be without an answer; further ones wait, inside their own timeouts."""

CLOSED = "this client or stream is closed; make another one"
STREAM_ENDED = "the stream ended before the answer; the next call opens another one"


class Future(Protocol):
    """What the futures of asyncio and those of threads have in common."""

    def done(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: Any, /) -> None: ...


class Waiters:
    """First in, first out. One who has given up keeps the place, so that its answer reaches nobody else."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Call[Any], Future]] = deque()
        self.over = False

    @property
    def full(self) -> bool:
        return len(self._waiting) >= INFLIGHT_MAX

    def add(self, call: Call[Any], future: Future) -> None:
        self._waiting.append((call, future))

    def answer(self, response: Any) -> None:
        """Hand the response message to the one who has waited longest."""
        _, future = self._waiting.popleft()
        if not future.done():
            future.set_result(response)

    def fail(self, failure: grpc.RpcError | None) -> None:
        """Tell all that there will be no more answers. ``failure`` None: the stream ended or was closed.

        A lost connection is everybody's. Any other failure is about the request whose answer was due; the others were
        cut off by it.
        """
        self.over = True
        code = None if failure is None or _errors.from_server(failure) else failure.code()
        # grpc.aio says INTERNAL where a write crosses the end of its stream, whatever that end was: it tells nothing
        told = failure is not None and code is not grpc.StatusCode.INTERNAL
        while self._waiting:
            call, future = self._waiting.popleft()
            error = call.error(failure) if failure is not None and told else call.interrupted(STREAM_ENDED)
            error.__cause__ = failure
            if not future.done():
                future.set_exception(error)
            told = told and code is grpc.StatusCode.UNAVAILABLE


def check_size(request: Message, bytes_max: int) -> None:
    """Refuse what would break a stream that others use.

    Raises:
        InvalidRequest: the message is larger than gRPC may send.
    """
    size = request.ByteSize()
    if size > bytes_max:
        raise _errors.InvalidRequest(f"the message has {size} bytes, {bytes_max} are allowed; send fewer items in a call")

"""One call of the native transport: what its handler sees of it, and how the handler is run.

``Context`` shows what the handlers use of grpc.aio.ServicerContext, so that they need not know which transport serves them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from enum import IntEnum
from typing import Any, NoReturn, Protocol

import grpc
import structlog

log = structlog.get_logger("chronoserve.wire")

UNSENT_BYTES_MAX = 64 << 10
"""Bytes of answers that a handler may be ahead of its client."""
TAKEN_BYTES = 32 << 10
"""The transport is told of messages that were taken once they have so many bytes; it waits at twice that."""

PREFIX_BYTES = 5
"""What precedes each message on the wire."""

Metadata = Iterable[tuple[str, str | bytes]]


class Kind(IntEnum):
    """What a command to the transport asks for; the numbers of native/src/lib.rs."""

    REPLY = 0
    WRITE = 1
    FINISH = 2
    DONE = 3
    CONSUMED = 4
    DRAIN = 5
    STOP = 6


REPLY, WRITE, FINISH, DONE, CONSUMED, DRAIN, STOP = map(int, Kind)

Command = tuple[Any, ...]
Send = Callable[[Command], None]


class NativeCall(Protocol):
    """What the transport knows of a call."""

    @property
    def id(self) -> int: ...
    @property
    def method(self) -> int: ...
    def time_remaining(self) -> float | None: ...
    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]: ...
    def peer(self) -> str: ...
    def peer_identities(self) -> tuple[bytes, ...] | None: ...


class Incoming(AsyncIterator[bytes]):
    """The messages of a client's stream."""

    __slots__ = ("_ended", "_id", "_messages", "_send", "_taken", "_waiter")

    def __init__(self, call_id: int, send: Send) -> None:
        self._id = call_id
        self._send = send
        self._messages: deque[bytes] = deque()
        self._taken = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def add(self, messages: list[bytes]) -> None:
        self._messages.extend(messages)
        self._wake()

    def end(self) -> None:
        """No more messages come."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> bool:
        """Until there is a message; False: none comes any more."""
        while not self._messages:
            if self._ended:
                return False
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return True

    def _took(self, size: int) -> None:
        self._taken += size
        if self._taken >= TAKEN_BYTES:
            self._send((CONSUMED, self._id, self._taken))
            self._taken = 0

    async def __anext__(self) -> bytes:
        if not self._messages and not await self._wait():
            raise StopAsyncIteration
        message = self._messages.popleft()
        self._took(len(message) or 1)
        return message

    async def take(self, count_max: int) -> list[bytes]:
        """The messages that have come, so many at most and at least one; none: there are no more. The transport bounds their bytes."""
        messages = self._messages
        if not messages and not await self._wait():
            return []
        if len(messages) <= count_max:
            taken = list(messages)
            messages.clear()
        else:
            taken = [messages.popleft() for _ in range(count_max)]
        self._took(sum(map(len, taken)) + taken.count(b""))
        return taken


class Context:
    """A call, as its handler sees it."""

    __slots__ = (
        "_call",
        "_send",
        "_trailing",
        "_unsent",
        "_waiter",
        "cancelled",
        "code",
        "details",
        "id",
        "incoming",
        "task",
        "time_remaining",
    )

    def __init__(self, call: NativeCall, send: Send) -> None:
        self._call = call
        self._send = send
        self.id = call.id
        self.time_remaining = call.time_remaining
        self.cancelled = False
        """Nobody waits for the answer."""
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.incoming: Incoming | None = None
        self.task: asyncio.Task[None] | None = None
        self._trailing: Metadata = ()
        self._unsent = 0
        self._waiter: asyncio.Future[None] | None = None

    # what handlers use

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._call.invocation_metadata()

    def peer(self) -> str:
        return self._call.peer()

    def peer_identities(self) -> tuple[bytes, ...] | None:
        return self._call.peer_identities()

    def set_trailing_metadata(self, trailing: Metadata) -> None:
        self._trailing = trailing

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """End the call. Raises what the handler must let pass."""
        self.code, self.details = code, details
        if trailing_metadata:
            self._trailing = trailing_metadata
        raise grpc.aio.AbortError

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; waits while the client takes none."""
        self._send((WRITE, self.id, [message]))
        self._unsent += PREFIX_BYTES + len(message)
        if self._unsent >= UNSENT_BYTES_MAX:
            await self._room()

    async def write_all(self, messages: list[bytes]) -> None:
        """Send several messages, at once as far as they are small; waits as ``write`` does."""
        size = PREFIX_BYTES * len(messages) + sum(map(len, messages))
        if self._unsent + size < UNSENT_BYTES_MAX:
            self._send((WRITE, self.id, messages))
            self._unsent += size
            return
        for message in messages:
            await self.write(message)

    async def _room(self) -> None:
        """Wait until the client has taken enough."""
        while self._unsent >= UNSENT_BYTES_MAX:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    # what the transport tells

    def written(self, size: int) -> None:
        """So many bytes have left."""
        self._unsent -= size
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()

    def turn_away(self) -> None:
        """End the call because the server ends."""
        self.code, self.details = grpc.StatusCode.UNAVAILABLE, "the server is stopping"
        if self.task is not None:
            self.task.cancel()

    # how it ends

    def finish(self) -> None:
        """Send the status that the handler has set; OK where it has set none."""
        code = 0 if self.code is None else int(self.code.value[0])
        self._send((FINISH, self.id, code, self.details, list(self._trailing)))

    def fail(self, error: BaseException) -> None:
        """Send what became of a handler that raised."""
        if self.cancelled:
            self._send((DONE, self.id))
            return
        if self.code is None:
            log.error("a handler failed", error=type(error).__name__, exc_info=error)
            self.code, self.details = grpc.StatusCode.UNKNOWN, "the server failed; its log has the details"
        self.finish()


Handler = Callable[[Any, Any], Any]


async def answer_once(handler: Callable[[Any, Any], Awaitable[bytes]], request: Any, context: Context, send: Send) -> None:
    """Run a handler that answers one message."""
    try:
        reply = await handler(request, context)
    except BaseException as error:
        context.fail(error)
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise
        return
    if context.code is None and not context._trailing:  # noqa: SLF001 - one half of the same thing
        send((REPLY, context.id, reply))
    else:
        send((WRITE, context.id, [reply]))
        context.finish()


async def answer_many(handler: Handler, request: Any, context: Context, *, generator: bool) -> None:
    """Run a handler that answers a stream: an asynchronous generator, or a coroutine that writes."""
    try:
        if generator:
            async with aclosing(handler(request, context)) as replies:
                async for reply in replies:
                    await context.write(reply)
        else:
            await handler(request, context)
    except BaseException as error:
        context.fail(error)
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise
        return
    context.finish()

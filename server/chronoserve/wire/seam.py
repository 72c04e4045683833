"""The one narrow seam between the transport and everything else: ``handler(bytes, context) -> bytes``.

Every method passes here once: it is counted, its caller is identified, its deadline is taken from the call, and whatever
it raises becomes a status. A native transport would replace this room's neighbours, not the handlers.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from chronoserve.kvstore.layers.metrics import Histogram
from chronoserve.model.errors import Internal, InvalidRequest, KVError
from chronoserve.service.access import Caller
from chronoserve.wire.draining import Draining, Messages
from chronoserve.wire.status import code, status

log = structlog.get_logger("chronoserve.wire")

DEADLINE_MARGIN_SECONDS = 0.002
"""The server answers this much before the client gives up, so that the client hears the reason."""

STATUS_DETAILS = "grpc-status-details-bin"

Parsed = TypeVar("Parsed", bound=Message)


class Context(Protocol):
    """What the handlers use of grpc.aio.ServicerContext."""

    def time_remaining(self) -> float | None: ...
    def invocation_metadata(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds that a call has where the client names none, and at most."""

    read_default: float = 1.0
    write_default: float = 5.0
    longest: float = 30.0


@dataclass(slots=True)
class MethodMetrics:
    """Calls of one method by status name, and their time."""

    calls: Counter[str] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class InFlight:
    """Calls under way: drain waits for none."""

    calls: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self) -> None:
        self.calls += 1

    def leave(self) -> None:
        self.calls -= 1
        if not self.calls:
            self.idle.set()

    async def wait_idle(self) -> None:
        while self.calls:
            self.idle.clear()
            await self.idle.wait()


Identify = Callable[[Context], Awaitable[Caller]]
"""Names the caller of a call, or raises Unauthenticated."""


Around = Callable[[str, Callable[[bytes, Any], Awaitable[bytes]]], Callable[[bytes, Any], Awaitable[bytes]]]
"""Makes a unary method's handler, given its name, into one that does something around it."""


class Seam:
    """Wraps handlers for the transport. One a process."""

    def __init__(self, *, deadlines: Deadlines, identify: Identify | None, around: Around | None = None) -> None:
        """``identify`` None: authentication is off, and handlers get no caller. ``around``: what goes around unary handlers."""
        self.deadlines = deadlines
        self._around = around
        self.identify = identify
        self.in_flight = InFlight()
        self.draining = Draining()
        self.methods: dict[str, MethodMetrics] = {}

    def deadline(self, context: Context, default: float) -> float:
        """The call's absolute deadline on the loop's clock, a margin before the client's own."""
        now = asyncio.get_running_loop().time()
        remaining = context.time_remaining()
        if remaining is None:
            return now + default
        return now + min(remaining - DEADLINE_MARGIN_SECONDS, self.deadlines.longest)

    async def caller(self, context: Context) -> Caller | None:
        return None if self.identify is None else await self.identify(context)

    def unary(self, name: str, handler: Callable[[bytes, Any], Awaitable[bytes]]) -> "grpc.RpcMethodHandler[Any, Any]":
        """A unary method of raw bytes."""
        if self._around is not None:
            handler = self._around(name, handler)
        metrics = self.methods[name] = MethodMetrics()
        in_flight = self.in_flight
        draining = self.draining

        async def call(data: bytes, context: Any) -> bytes:
            began = perf_counter()
            outcome = "OK"
            in_flight.enter()
            try:
                reply = await handler(data, context)
                if draining.began:
                    await draining.hold(context)
            except BaseException as error:
                outcome, told = _judged(error, name)
                if told is not None:
                    await _abort(context, told, draining)
                raise
            else:
                return reply
            finally:
                in_flight.leave()
                metrics.calls[outcome] += 1
                metrics.seconds.observe(perf_counter() - began)

        return grpc.unary_unary_rpc_method_handler(call)

    def unary_stream(self, name: str, handler: Callable[[bytes, Any], AsyncGenerator[bytes]]) -> "grpc.RpcMethodHandler[Any, Any]":
        """A method that answers a stream of raw bytes."""
        return grpc.unary_stream_rpc_method_handler(self._streaming(name, handler))

    def stream_stream(
        self, name: str, handler: Callable[[AsyncIterator[bytes], Any], AsyncGenerator[bytes]]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """A bidirectional method of raw bytes. While the server drains, it ends between two messages."""

        def drained(messages: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes]:
            return handler(Messages(messages, self.draining), context)

        return grpc.stream_stream_rpc_method_handler(self._streaming(name, drained))

    def conversation(self, name: str, handler: Callable[["Conversation"], Awaitable[None]]) -> "grpc.RpcMethodHandler[Any, Any]":
        """A bidirectional method that takes several messages at a time. While the server drains, it ends between two takings."""

        async def talk(messages: AsyncIterator[bytes], context: Any) -> None:
            await handler(Conversation(Messages(messages, self.draining), context, self.draining))

        return grpc.stream_stream_rpc_method_handler(self._counted(name, talk))

    def _streaming(self, name: str, handler: Callable[[Any, Any], AsyncGenerator[bytes]]) -> Callable[[Any, Any], Awaitable[None]]:
        draining = self.draining

        async def write(request: Any, context: Any) -> None:
            async with aclosing(handler(request, context)) as replies:
                async for reply in replies:
                    if draining.began:
                        await draining.hold(context)
                    await context.write(reply)

        return self._counted(name, write)

    def _counted(self, name: str, handler: Callable[[Any, Any], Awaitable[None]]) -> Callable[[Any, Any], Awaitable[None]]:
        metrics = self.methods[name] = MethodMetrics()
        in_flight = self.in_flight
        draining = self.draining

        async def call(request: Any, context: Any) -> None:
            began = perf_counter()
            outcome = "OK"
            in_flight.enter()
            try:
                await handler(request, context)
            except BaseException as error:
                outcome, told = _judged(error, name)
                if told is not None:
                    await _abort(context, told, draining)
                raise
            finally:
                in_flight.leave()
                metrics.calls[outcome] += 1
                metrics.seconds.observe(perf_counter() - began)

        return call


class Conversation:
    """Both halves of a stream whose messages are taken and answered several at a time."""

    __slots__ = ("_draining", "_messages", "_write_all", "context")

    def __init__(self, messages: Messages, context: Any, draining: Draining) -> None:
        self.context = context
        self._messages = messages
        self._draining = draining
        self._write_all: Callable[[list[bytes]], Awaitable[None]] = getattr(context, "write_all", self._write_each)

    async def take(self, count_max: int) -> list[bytes]:
        """See ``Messages.take``."""
        return await self._messages.take(count_max)

    async def answer(self, replies: list[bytes]) -> None:
        """Send ``replies`` in their order; waits while the client takes none."""
        if self._draining.began:
            await self._draining.hold(self.context)
        await self._write_all(replies)

    async def _write_each(self, replies: list[bytes]) -> None:
        for reply in replies:
            await self.context.write(reply)


def _judged(error: BaseException, method: str) -> tuple[str, KVError | None]:
    """The outcome's name, and what the client is told; None: the error is the transport's own and it must see it."""
    if isinstance(error, grpc.aio.AbortError):
        return "ABORTED", None
    if isinstance(error, asyncio.CancelledError) and _is_cancelled():
        return "CANCELLED", None
    if not isinstance(error, KVError):
        log.error("a handler failed", method=method, error=type(error).__name__, exc_info=error)
        error = Internal("the server failed; its log has the details")
    return code(error).name, error


async def _abort(context: Any, error: KVError, draining: Draining) -> None:
    """End the call with the error's status. Always raises what ends the handler."""
    if draining.began:
        await draining.hold(context)
    details = status(error)
    context.set_trailing_metadata(((STATUS_DETAILS, details.SerializeToString()),))
    try:
        await context.abort(code(error), error.message)
    except grpc.aio.AbortError as aborted:
        raise aborted from None


def _is_cancelled() -> bool:
    """Whether somebody cancelled this call. A stray CancelledError of something below must become a status, or the client hangs."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def parse(message: type[Parsed], data: bytes) -> Parsed:
    """``data`` as a message. Raises InvalidRequest where it is none."""
    try:
        return message.FromString(data)
    except DecodeError:
        raise InvalidRequest(f"the request is not a {message.DESCRIPTOR.full_name} message; check that the client's stubs match") from None

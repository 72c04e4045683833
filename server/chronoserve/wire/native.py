"""The transport of native/: HTTP/2 in a thread of its own, handlers on the loop as ever.

The thread hands over what has arrived in batches and is handed replies in batches, one wake-up each way for all that a turn
of the loop has. It holds no Python object and never takes Python's lock (docs/decisions/0011-native-transport.md).
"""

import asyncio
import inspect
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import grpc
import structlog

from chronoserve.model.errors import InvalidRequest
from chronoserve.wire.data_port import (
    AFTER_DRAIN_SECONDS,
    CONNECTION_AGE_GRACE_SECONDS,
    CONNECTION_AGE_SECONDS,
    KEEPALIVE_SECONDS,
    METADATA_BYTES_MAX,
    Handlers,
    Transport,
)
from chronoserve.wire.listening import Listening
from chronoserve.wire.native_call import DRAIN, STOP, Command, Context, Incoming, NativeCall, answer_many, answer_once
from chronoserve.wire.seam import Seam
from chronoserve.wire.tls import TLSFiles
from chronoserve.wire.transports import native_module

log = structlog.get_logger("chronoserve.server")

KEEPALIVE_ANSWER_SECONDS = 20.0
HANDSHAKE_SECONDS = 20.0
"""Within which a new connection must have greeted."""
LAST_WORDS_SECONDS = 0.1
"""What streams that nobody counts, such as a probe that watches, get to hear the last news."""
STOP_SECONDS = 2.0
JOIN_SECONDS = 0.2
"""What a thread that has said its last word gets to be gone."""
STALE_CALLS = 2
"""Handlers of one connection that may be alive, in multiples of its streams: calls that were given up end a moment later."""


class NativeTransport(Protocol):
    """The class ``Transport`` of the native module."""

    def start(self, sockets: list[tuple[int, bool]]) -> None: ...
    def fileno(self) -> int: ...
    def take(self) -> list[tuple[int, Any, Any]]: ...
    def send(self, commands: list[Command]) -> None: ...
    def join(self, seconds: float) -> bool: ...


class Method:
    """How one method is served."""

    __slots__ = ("generator", "handler", "response_streaming", "takes_stream")

    def __init__(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> None:
        self.takes_stream = bool(handler.request_streaming)
        self.response_streaming = bool(handler.response_streaming)
        shape = f"{'stream' if self.takes_stream else 'unary'}_{'stream' if self.response_streaming else 'unary'}"
        self.handler: Callable[[Any, Any], Any] = getattr(handler, shape)
        self.generator = inspect.isasyncgenfunction(self.handler)


def methods_of(handlers: Handlers) -> dict[str, Method]:
    """Every method by its path."""
    found: dict[str, Method] = {}
    for service in handlers:
        # grpcio tells only whether a path is among them, not which paths there are
        by_path: dict[str, Any] = service._method_handlers  # type: ignore[attr-defined] # noqa: SLF001
        for path, handler in by_path.items():
            if handler.request_deserializer or handler.response_serializer:
                raise TypeError(f"{path} is not a method of raw bytes")
            found[path] = Method(handler)
    return found


class NativePort:
    """A data port on the native transport."""

    def __init__(self, transport: Transport, handlers: Handlers, seam: Seam) -> None:
        self._options = transport
        self._seam = seam
        self._by_path = methods_of(handlers)
        self._methods = list(self._by_path.values())
        self._calls: dict[int, Context] = {}
        self._commands: list[Command] = []
        self._idle = asyncio.Event()
        self._ended = asyncio.Event()
        self._broken = False
        self._serves = False
        self._listening = Listening(reuse_port=transport.reuse_port)
        self._transport: NativeTransport
        self._loop: asyncio.AbstractEventLoop
        self._events: tuple[Callable[[Any, Any], None], ...] = (
            self._begin,
            self._messages,
            self._end,
            self._cancel,
            self._written,
            self._log,
            self._told_idle,
            self._told_end,
        )

    # starting

    async def start(self) -> list[str]:
        self._loop = asyncio.get_running_loop()
        self._transport = self._open()
        self._listening.bind(self._options.listen)
        self._transport.start(self._listening.give_away())
        self._loop.add_reader(self._transport.fileno(), self._arrived)
        self._serves = True
        return self._listening.addresses

    def _open(self) -> NativeTransport:
        module = native_module()
        if module is None:
            raise InvalidRequest("the native transport is not built for this Python: run `make native`, or set transport to grpcio")
        methods = [(path, method.takes_stream, method.response_streaming) for path, method in self._by_path.items()]
        try:
            transport: NativeTransport = module.Transport(methods, _options(self._options), _tls(self._options.tls))
        except ValueError as wrong:
            raise InvalidRequest(str(wrong)) from wrong
        return transport

    # serving

    def _arrived(self) -> None:
        """Everything that has come since the last time."""
        events = self._events
        for kind, call, carried in self._transport.take():
            events[kind](call, carried)

    def _begin(self, call: NativeCall, message: bytes | None) -> None:
        context = Context(call, self._send)
        method = self._methods[call.method]
        self._calls[context.id] = context
        request: Any = message
        if method.takes_stream:
            request = context.incoming = Incoming(context.id, self._send)
        context.task = asyncio.Task(self._run(method, request, context), loop=self._loop, name="call")

    async def _run(self, method: Method, request: Any, context: Context) -> None:
        try:
            if method.response_streaming:
                await answer_many(method.handler, request, context, generator=method.generator)
            else:
                await answer_once(method.handler, request, context, self._send)
        finally:
            del self._calls[context.id]

    def _messages(self, call_id: int, messages: list[bytes]) -> None:
        if (context := self._calls.get(call_id)) is not None and context.incoming is not None:
            context.incoming.add(messages)

    def _end(self, call_id: int, _: None) -> None:
        if (context := self._calls.get(call_id)) is not None and context.incoming is not None:
            context.incoming.end()

    def _cancel(self, call_id: int, _: None) -> None:
        if (context := self._calls.get(call_id)) is not None:
            context.cancel()

    def _written(self, call_id: int, size: int) -> None:
        if (context := self._calls.get(call_id)) is not None:
            context.written(size)

    def _log(self, level: str, said: tuple[str, str]) -> None:
        text, reason = said
        getattr(log, level)(text, **({"reason": reason} if reason else {}))

    def _told_idle(self, _: None, __: None) -> None:
        self._idle.set()

    def _told_end(self, _: None, reason: str) -> None:
        """Without its transport a server is none: it says so and ends."""
        self._ended.set()
        if reason:
            self._broken = True
            log.error("the transport has ended", reason=reason)
            os.kill(os.getpid(), signal.SIGTERM)

    def _send(self, command: Command) -> None:
        """Hand ``command`` over together with what else this turn of the loop brings."""
        if not self._commands:
            self._loop.call_soon(self._flush)
        self._commands.append(command)

    def _flush(self) -> None:
        commands, self._commands = self._commands, []
        if commands:
            self._transport.send(commands)

    # ending

    async def drain(self, seconds: float) -> bool:
        if not self._serves:
            return True  # it could not listen
        end = self._loop.time() + seconds
        await self._say_goodbye()
        drained = await self._calls_end(end)
        if not drained:
            log.warning("drain ran out of time", calls_under_way=self._seam.in_flight.calls)
        elif not self._idle.is_set():
            for context in list(self._calls.values()):
                context.turn_away()
            await self._wait_idle(AFTER_DRAIN_SECONDS)
        await self._stop()
        return drained and not self._broken

    async def _say_goodbye(self) -> None:
        """Send GOAWAY on every connection while no caller sends anything (chronoserve.wire.draining).

        The transport loses no call that is under way to it. But a client may have chosen the connection for a call that it
        has not sent yet, and some fail it when the GOAWAY comes just then.
        """
        draining = self._seam.draining
        draining.begin()
        await draining.quiet(lambda: self._seam.in_flight.calls)
        self._send((DRAIN,))
        self._flush()  # ahead of the replies that are held
        draining.release()

    async def _calls_end(self, end: float) -> bool:
        """Wait for all calls that count: those under way, and those that clients sent before they knew. False: not in time."""
        try:
            async with asyncio.timeout_at(end):
                while not self._idle.is_set():
                    await self._seam.in_flight.wait_idle()
                    await self._wait_idle(LAST_WORDS_SECONDS)
                    if not self._seam.in_flight.calls:
                        break
        except TimeoutError:
            return not self._seam.in_flight.calls
        return True

    async def _wait_idle(self, seconds: float) -> None:
        """Wait for the end of every connection, ``seconds`` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def _stop(self) -> None:
        self._send((STOP,))
        self._flush()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            log.error("the transport did not end in time")  # noqa: TRY400 - there is no more to say
        self._transport.join(JOIN_SECONDS)
        self._arrived()
        self._loop.remove_reader(self._transport.fileno())
        left = [context.task for context in self._calls.values() if context.task is not None]
        for context in list(self._calls.values()):
            context.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._listening.remove_files()


def _options(transport: Transport) -> dict[str, float]:
    return {
        "message_bytes_max": transport.message_bytes_max,
        "metadata_bytes_max": METADATA_BYTES_MAX,
        "streams_per_connection_max": transport.streams_per_connection_max,
        "calls_per_connection_max": transport.streams_per_connection_max * STALE_CALLS,
        "age_seconds": CONNECTION_AGE_SECONDS,
        "age_grace_seconds": CONNECTION_AGE_GRACE_SECONDS,
        "keepalive_seconds": KEEPALIVE_SECONDS,
        "keepalive_timeout_seconds": KEEPALIVE_ANSWER_SECONDS,
        "handshake_seconds": HANDSHAKE_SECONDS,
    }


def _tls(files: TLSFiles | None) -> tuple[str, str, str | None] | None:
    if files is None:
        return None
    files.read()  # what cannot be read has a text of its own
    return str(files.certificate), str(files.key), str(files.client_ca) if files.client_ca else None

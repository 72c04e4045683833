"""The seam: whatever a handler does, its call is counted once, ends with one status and leaves nothing under way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest

from chronoserve.model.errors import InvalidRequest, Throttled, Unavailable
from chronoserve.v1 import kv_pb2
from chronoserve.wire.draining import GOODBYE_SECONDS_MAX, HOLD_SECONDS_MAX, QUIET_SECONDS, QUIET_TIMES
from chronoserve.wire.seam import DEADLINE_MARGIN_SECONDS, STATUS_DETAILS, Deadlines, Seam, parse
from tests.unit.wire.context import Context
from tests.virtual_time import in_virtual_time, now, turns, until


def seam() -> Seam:
    return Seam(deadlines=Deadlines(read_default=1, write_default=5, longest=30), identify=None)


def counted(of: Seam) -> dict[str, int]:
    return dict(of.methods["M"].calls)


def unary(of: Seam, handler: Any) -> Any:
    """The method as the transport calls it."""
    return of.unary("M", handler).unary_unary


def stream(of: Seam, handler: Any) -> Any:
    return of.stream_stream("M", handler).stream_stream


def server_stream(of: Seam, handler: Any) -> Any:
    return of.unary_stream("M", handler).unary_stream


async def call_unary(of: Seam, context: Context, *behaviour: Any) -> Any:
    """A handler that raises or answers each thing."""

    async def handler(_: bytes, __: Any) -> bytes:
        (does,) = behaviour
        if isinstance(does, BaseException):
            raise does
        return bytes(does)

    return await unary(of, handler)(b"", context)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (InvalidRequest("bad"), "INVALID_ARGUMENT", "bad"),
        (Throttled("busy"), "RESOURCE_EXHAUSTED", "busy"),
        (ZeroDivisionError("secret"), "INTERNAL", "the server failed"),
        (asyncio.CancelledError(), "INTERNAL", "the server failed"),
        (SystemExit(), "INTERNAL", "the server failed"),
    ],
    ids=repr,
)
@in_virtual_time
async def test_every_exit_becomes_a_status(error: BaseException, status: str, text: str) -> None:
    """Even a stray CancelledError, which would leave the client hanging."""
    of, context = seam(), Context()
    with pytest.raises(grpc.aio.AbortError):
        await call_unary(of, context, error)
    assert context.status is not None
    assert context.status[0] == status
    assert text in context.status[1]
    assert "secret" not in context.status[1]
    assert STATUS_DETAILS in context.trailing
    assert (counted(of), of.in_flight.calls) == ({status: 1}, 0)


@in_virtual_time
async def test_a_good_call_is_counted_as_such() -> None:
    of = seam()
    assert await call_unary(of, Context(), b"reply") == b"reply"
    assert (counted(of), sum(of.methods["M"].seconds.counts), of.in_flight.calls) == ({"OK": 1}, 1, 0)


@in_virtual_time
async def test_a_cancelled_call_is_the_transport_s_and_gets_no_status() -> None:
    of, context = seam(), Context()

    async def handler(_: bytes, __: Any) -> bytes:
        await asyncio.get_running_loop().create_future()
        return b""

    call = asyncio.ensure_future(unary(of, handler)(b"", context))
    await until(lambda: of.in_flight.calls == 1)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert (context.status, counted(of), of.in_flight.calls) == (None, {"CANCELLED": 1}, 0)


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [
        (None, 1.0),
        (0.5, 0.5 - DEADLINE_MARGIN_SECONDS),
        (1e9, 30.0),
        (0.0, -DEADLINE_MARGIN_SECONDS),
        (30.001, 30.001 - DEADLINE_MARGIN_SECONDS),
    ],
)
@in_virtual_time
async def test_the_deadline_is_the_client_s_less_a_margin_the_default_without_and_the_longest_at_most(
    remaining: float | None, seconds: float
) -> None:
    assert seam().deadline(Context(seconds=remaining), 1.0) == pytest.approx(now() + seconds)


async def each(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


async def echo(messages: AsyncIterator[bytes], _: Any) -> AsyncGenerator[bytes]:
    async for message in messages:
        yield message
        if message == b"last":
            raise Throttled("enough")


@in_virtual_time
async def test_a_stream_answers_until_an_error_ends_it() -> None:
    of, context = seam(), Context()
    method = stream(of, echo)
    await method(each(b"1", b"2"), context)
    assert context.written == [b"1", b"2"]
    with pytest.raises(grpc.aio.AbortError):
        await method(each(b"last", b"3"), context)
    assert context.written == [b"1", b"2", b"last"]
    assert context.status == ("RESOURCE_EXHAUSTED", "enough")
    assert (counted(of), of.in_flight.calls) == ({"OK": 1, "RESOURCE_EXHAUSTED": 1}, 0)


class Endless:
    """A handler that notices when it is closed."""

    closed = False

    async def __call__(self, _: bytes, __: Any) -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            self.closed = True


class Full(Context):
    """A client that takes nothing."""

    async def write(self, reply: bytes) -> None:
        await asyncio.get_running_loop().create_future()


@in_virtual_time
async def test_a_stream_whose_client_is_gone_closes_its_handler_at_once() -> None:
    of, handler = seam(), Endless()
    call = asyncio.ensure_future(server_stream(of, handler)(b"", Full()))
    await until(lambda: of.in_flight.calls == 1)
    await turns(3)
    call.cancel()
    await asyncio.wait([call])
    assert handler.closed
    assert (counted(of), of.in_flight.calls) == ({"CANCELLED": 1}, 0)


def test_bytes_that_are_no_message_are_the_caller_s_fault() -> None:
    assert parse(kv_pb2.GetRequest, b"\x12\x01D").dataset == "D"
    with pytest.raises(InvalidRequest, match=r"chronoserve\.v1\.GetRequest"):
        parse(kv_pb2.GetRequest, b"\xff")


# draining


@in_virtual_time
async def test_replies_and_errors_are_held_from_the_beginning_of_the_drain_until_they_are_released() -> None:
    of = seam()
    contexts = [Context(), Context()]
    of.draining.begin()
    calls = [
        asyncio.ensure_future(call_unary(of, contexts[0], b"reply")),
        asyncio.ensure_future(call_unary(of, contexts[1], Unavailable("x"))),
    ]
    await turns(20)
    assert not any(call.done() for call in calls)
    assert contexts[1].status is None
    assert of.in_flight.calls == 2
    began = now()
    of.draining.release()
    assert await calls[0] == b"reply"
    with pytest.raises(grpc.aio.AbortError):
        await calls[1]
    assert now() == began


@pytest.mark.parametrize(("seconds", "held"), [(None, HOLD_SECONDS_MAX), (60.0, HOLD_SECONDS_MAX), (0.03, 0.015), (-1.0, 0.0)])
@in_virtual_time
async def test_no_reply_is_held_beyond_half_of_its_time_or_the_bound(seconds: float | None, held: float) -> None:
    of, began = seam(), now()
    of.draining.begin()
    assert await call_unary(of, Context(seconds=seconds), b"reply") == b"reply"
    assert now() - began == pytest.approx(held)


@in_virtual_time
async def test_after_the_release_nothing_is_held() -> None:
    of, began = seam(), now()
    of.draining.begin()
    of.draining.release()
    assert await call_unary(of, Context(), b"reply") == b"reply"
    assert now() == began


class Client(AsyncIterator[bytes]):
    """Messages that the test sends."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def __anext__(self) -> bytes:
        return await self.queue.get()


@in_virtual_time
async def test_a_stream_that_waits_for_a_message_ends_with_the_release() -> None:
    of, context, client = seam(), Context(), Client()
    call = asyncio.ensure_future(stream(of, echo)(client, context))
    client.queue.put_nowait(b"1")
    await until(lambda: context.written == [b"1"])
    await turns(3)
    of.draining.begin()
    await turns(5)
    assert not call.done()
    of.draining.release()
    with pytest.raises(grpc.aio.AbortError):
        await call
    assert context.status is not None
    assert context.status[0] == "UNAVAILABLE"
    assert "not processed" in context.status[1]
    assert counted(of) == {"UNAVAILABLE": 1}


@in_virtual_time
async def test_a_stream_that_works_answers_its_message_first() -> None:
    of, context, client = seam(), Context(), Client()
    gate = asyncio.Event()

    async def slow(messages: AsyncIterator[bytes], _: Any) -> AsyncGenerator[bytes]:
        async for message in messages:
            await gate.wait()
            yield message

    call = asyncio.ensure_future(stream(of, slow)(client, context))
    client.queue.put_nowait(b"1")
    client.queue.put_nowait(b"2")
    await until(lambda: client.queue.qsize() == 1)
    of.draining.begin()
    of.draining.release()
    await turns(5)
    assert not call.done()
    gate.set()
    with pytest.raises(grpc.aio.AbortError):
        await call
    assert context.written == [b"1"]
    assert client.queue.qsize() == 1


@in_virtual_time
async def test_a_client_that_goes_away_while_the_stream_is_ended_is_a_cancellation() -> None:
    of, context = seam(), Context()
    call = asyncio.ensure_future(stream(of, echo)(Client(), context))
    await until(lambda: of.in_flight.calls == 1)
    await turns(3)
    of.draining.begin()
    of.draining.release()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert context.status is None


@in_virtual_time
async def test_the_drain_waits_until_the_last_call_has_left() -> None:
    of = seam()
    for _ in range(2):
        of.in_flight.enter()
    waiting = asyncio.create_task(of.in_flight.wait_idle())
    for _ in range(2):
        await turns(3)
        assert not waiting.done()
        of.in_flight.leave()
    await waiting


@in_virtual_time
async def test_it_is_quiet_when_no_call_has_come_for_a_while() -> None:
    of, began = seam(), now()
    of.draining.begin()
    waiting = asyncio.create_task(of.draining.quiet(lambda: of.in_flight.calls))
    for _ in range(4):
        await asyncio.sleep(QUIET_SECONDS * 1.5)
        of.in_flight.enter()
    await waiting
    assert QUIET_SECONDS * (6 + QUIET_TIMES - 1) < now() - began < QUIET_SECONDS * (6 + QUIET_TIMES + 2)


@in_virtual_time
async def test_callers_that_never_cease_are_not_waited_for() -> None:
    of, began = seam(), now()

    async def never_cease() -> None:
        while True:
            await asyncio.sleep(QUIET_SECONDS / 3)
            of.in_flight.enter()

    callers = asyncio.create_task(never_cease())
    await of.draining.quiet(lambda: of.in_flight.calls)
    assert GOODBYE_SECONDS_MAX <= now() - began < HOLD_SECONDS_MAX
    callers.cancel()

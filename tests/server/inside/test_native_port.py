"""The native transport under handlers of the test's own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from chronoserve.testing.conformance import eventually
from chronoserve.wire.data_port import Transport
from chronoserve.wire.native import NativePort
from chronoserve.wire.seam import Deadlines, Seam
from tests.server.inside.serving import SECONDS, outcome

SERVICE = "test.Service"


pytestmark = pytest.mark.parametrize("transport", ["native"], indirect=True, scope="module")


@asynccontextmanager
async def served(**handlers: Any) -> AsyncIterator[tuple[NativePort, Callable[..., Any]]]:
    """A port with these handlers by method name, and a way to call one by name and kind."""
    generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
    port = NativePort(Transport(listen=["127.0.0.1:0"]), [generic], Seam(deadlines=Deadlines(), identify=None))
    (address,) = await port.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield port, lambda kind, name: getattr(channel, kind)(f"/{SERVICE}/{name}")
    finally:
        await port.drain(1)


async def test_all_four_kinds_of_methods() -> None:
    async def join(messages: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([message async for message in messages])

    async def split(data: bytes, context: Any) -> AsyncIterator[bytes]:
        for at in range(len(data)):
            yield data[at : at + 1]

    async def shout(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message.upper()

    async def once(data: bytes, context: Any) -> bytes:
        return data[::-1]

    async with served(
        Join=grpc.stream_unary_rpc_method_handler(join),
        Split=grpc.unary_stream_rpc_method_handler(split),
        Shout=grpc.stream_stream_rpc_method_handler(shout),
        Once=grpc.unary_unary_rpc_method_handler(once),
    ) as (_, method):
        assert await method("stream_unary", "Join")(iter([b"a", b"", b"bc"]), timeout=SECONDS) == b"abc"
        assert [each async for each in method("unary_stream", "Split")(b"abc", timeout=SECONDS)] == [b"a", b"b", b"c"]
        assert [each async for each in method("stream_stream", "Shout")(iter([b"a", b"bc"]), timeout=SECONDS)] == [b"A", b"BC"]
        assert await method("unary_unary", "Once")(b"abc", timeout=SECONDS) == b"cba"


async def test_metadata_go_both_ways() -> None:
    async def tell(data: bytes, context: Any) -> bytes:
        seen = dict(context.invocation_metadata())
        context.set_trailing_metadata((("x-bin", seen["a-bin"]), ("y", seen["b"]), ("peer", context.peer())))
        return b""

    async with served(Tell=grpc.unary_unary_rpc_method_handler(tell)) as (_, method):
        call = method("unary_unary", "Tell")(b"", metadata=(("a-bin", bytes(range(256))), ("b", "plain")), timeout=SECONDS)
        await call
        trailing = dict(tuple(await call.trailing_metadata()))
        assert trailing["x-bin"] == bytes(range(256))
        assert trailing["y"] == "plain"
        assert trailing["peer"].startswith("ipv4:127.0.0.1:")


async def test_a_handler_that_writes_far_ahead_of_its_client_waits() -> None:
    written = 0

    async def pour(data: bytes, context: Any) -> AsyncIterator[bytes]:
        nonlocal written
        while True:
            yield bytes(100_000)
            written += 1

    async with served(Pour=grpc.unary_stream_rpc_method_handler(pour)) as (port, method):
        call = method("unary_stream", "Pour")(b"", timeout=SECONDS)
        await call.read()
        await eventually(lambda: _waits_for_room(port), "the handler to wait for its client")
        assert written < 200
        for _ in range(200):
            assert len(await call.read()) == 100_000
        assert written >= 200, "it went on when the client took more"
        await eventually(lambda: _waits_for_room(port), "the handler to wait again")
        call.cancel()


async def _waits_for_room(port: NativePort) -> bool:
    """A client takes what its window holds and then nothing more, so a handler that is ahead waits until it is read."""
    return any(context._waiter is not None for context in port._calls.values())


async def test_a_handler_s_defect_is_unknown_in_general_terms() -> None:
    async def broken(data: bytes, context: Any) -> bytes:
        raise ZeroDivisionError("secret")

    with capture_logs() as said:
        async with served(Broken=grpc.unary_unary_rpc_method_handler(broken)) as (_, method):
            assert await outcome(method("unary_unary", "Broken")(b"", timeout=SECONDS)) == (
                "UNKNOWN",
                "the server failed; its log has the details",
            )
    assert [each["error"] for each in said if each["event"] == "a handler failed"] == ["ZeroDivisionError"]


async def test_an_answer_that_cannot_be_sent_ends_its_own_call_only() -> None:
    async def answer(data: bytes, context: Any) -> Any:
        if data == b"metadata":
            context.set_trailing_metadata((("no name", "x"),))
        return None if data == b"nothing" else data

    with capture_logs() as said:
        async with served(Answer=grpc.unary_unary_rpc_method_handler(answer)) as (_, method):
            call = method("unary_unary", "Answer")
            asked = [b"good", b"metadata", b"nothing", b"good"] * 5
            outcomes = await asyncio.gather(*(outcome(call(data, timeout=SECONDS)) for data in asked))
    assert [code for code, _ in outcomes] == ["OK", "INTERNAL", "INTERNAL", "OK"] * 5
    assert [each["log_level"] for each in said if each["event"] == "an answer cannot be sent"] == ["error"] * 10


async def test_a_client_that_goes_away_cancels_its_handler() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def wait(data: bytes, context: Any) -> bytes:
        begun.set()
        try:
            await asyncio.sleep(SECONDS)
        except asyncio.CancelledError:
            ended.set()
            raise
        return b""

    async with served(Wait=grpc.unary_unary_rpc_method_handler(wait)) as (port, method):
        for way in ("cancel", "deadline"):
            begun.clear()
            ended.clear()
            call = method("unary_unary", "Wait")(b"", timeout=0.3 if way == "deadline" else SECONDS)
            async with asyncio.timeout(SECONDS):
                await begun.wait()
                if way == "cancel":
                    call.cancel()
                await ended.wait()
            await asyncio.gather(call, return_exceptions=True)
        await eventually(lambda: _settled(port), "the end of all calls")


async def _settled(port: NativePort) -> bool:
    return not port._calls


async def test_a_server_without_its_transport_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *given: signals.append(given))
    with capture_logs() as said:
        async with served() as (port, _):
            port._told_end(None, "a defect")
            assert signals == [(os.getpid(), signal.SIGTERM)]
            assert not await port.drain(1), "that is no good end"
    assert [each["event"] for each in said if each["log_level"] == "error"] == ["the transport has ended"]

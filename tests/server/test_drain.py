"""SIGTERM under load: what was under way completes, nobody who waits for answers loses a call, and the exit code says so."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from chronoserve.v1 import kv_pb2
from tests.server.conftest import StartServer
from tests.server.running import RunningServer, eventually, kv_stub

CALLERS = 50
CONNECTIONS = 5
RESTARTS = 3
SECONDS = 20.0
HELD_SECONDS = 0.1
"""How long a call may be kept to make a drain wait."""
VALUE = b"v" * 100


@dataclass
class Load:
    """Callers in a closed loop: how many calls had the right answer, and what the others got."""

    completed: int = 0
    failed: list[str] = field(default_factory=list)
    stopping: bool = False

    async def call_in_a_loop(self, stub: Any, caller: int) -> None:
        request = kv_pb2.MultiGetRequest(
            requests=[kv_pb2.GetRequest(dataset="D", key_bytes=b"%d" % (n % 10)) for n in range(caller % 20 + 1)]
        )
        while not self.stopping:
            try:
                answer = await stub.MultiGet(request, wait_for_ready=True, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                self.failed.append(f"{error.code().name}: {error.details()}")
            else:
                assert [item.values[0].bytes for item in answer.responses] == [VALUE] * len(request.requests)
                self.completed += 1

    async def until(self, more: int) -> None:
        """Wait for so many more calls."""
        wanted = self.completed + more
        async with asyncio.timeout(SECONDS):
            while self.completed < wanted:  # noqa: ASYNC110 - a poll keeps the callers free of bookkeeping
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def load(address: str) -> AsyncIterator[Load]:
    """Callers who call until the block ends, on connections of their own."""
    running = Load()
    channels = [
        grpc.aio.insecure_channel(
            address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_retries", 0),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 200),
            ],
        )
        for _ in range(CONNECTIONS)
    ]
    stubs: list[Any] = [kv_stub(channel) for channel in channels]
    callers = [asyncio.create_task(running.call_in_a_loop(stubs[n % CONNECTIONS], n)) for n in range(CALLERS)]
    try:
        await running.until(CALLERS)
        yield running
        running.stopping = True
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*callers)
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        for channel in channels:
            await channel.close(None)


@pytest.fixture
def port() -> Iterator[int]:
    """A port that stays ours while no server listens on it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def start_on(start_server: StartServer, port: int, store: str) -> RunningServer:
    return start_server("--listen", f"127.0.0.1:{port}", "--http", "127.0.0.1:0", "--store", store)


async def fill(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = kv_stub(channel)
        await stub.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
        puts = [kv_pb2.PutRequest(dataset="D", key_bytes=b"%d" % n, value_bytes=VALUE) for n in range(10)]
        await stub.MultiPut(kv_pb2.MultiPutRequest(requests=puts), timeout=SECONDS)


@pytest.fixture
async def store(start_server: StartServer, port: int, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a store that holds what the callers read."""
    url = f"lmdb://{tmp_path_factory.mktemp('store')}"
    server = start_on(start_server, port, url)
    await fill(server.address)
    assert server.stop() == 0
    return url


async def test_no_call_fails_while_servers_are_replaced_one_after_the_other(start_server: StartServer, port: int, store: str) -> None:
    server = await asyncio.to_thread(start_on, start_server, port, store)
    async with load(server.address) as running:
        for _ in range(RESTARTS):
            await running.until(500)
            assert await asyncio.to_thread(server.stop) == 0, server.log
            server = await asyncio.to_thread(start_on, start_server, port, store)
        await running.until(500)
    assert running.failed == []
    assert await asyncio.to_thread(server.stop) == 0


async def test_a_successor_may_start_before_its_predecessor_stops(start_server: StartServer, port: int, store: str) -> None:
    """With SO_REUSEPORT both listen for a while: nobody has to wait."""
    server = await asyncio.to_thread(start_on, start_server, port, store)
    async with load(server.address) as running:
        for _ in range(RESTARTS):
            await running.until(500)
            successor = await asyncio.to_thread(start_on, start_server, port, store)
            assert await asyncio.to_thread(server.stop) == 0, server.log
            server = successor
        await running.until(500)
    assert running.failed == []


async def test_a_unix_socket_drains_as_well(start_server: StartServer, folder_of_sockets: object, store: str) -> None:
    address = f"unix:{folder_of_sockets}/drain.sock"
    words = ("--listen", address, "--http", "127.0.0.1:0", "--store", store)
    server = await asyncio.to_thread(start_server, *words)
    async with load(address) as running:
        await running.until(500)
        assert await asyncio.to_thread(server.stop) == 0, server.log
        server = await asyncio.to_thread(start_server, *words)
        await running.until(500)
    assert running.failed == []


async def test_an_idle_stream_does_not_hold_the_drain_and_hears_why_it_ends(start_server: StartServer) -> None:
    server = await asyncio.to_thread(start_server, "--store", "memory://")
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = kv_stub(channel).StreamMultiGet()
        await stream.write(kv_pb2.MultiGetRequest())
        await stream.read()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await asyncio.to_thread(server.stop) == 0
        assert loop.time() - began < 5, "the drain would last 10 s"
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "open the stream again" in str(ended.value.details())


@contextlib.asynccontextmanager
async def client_that_does_not_read(server: RunningServer) -> AsyncIterator[None]:
    """Asks for more than the connection buffers and takes none of it: its call stays under way."""
    small_window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16)]  # or it would grow until an answer fits
    async with grpc.aio.insecure_channel(server.address, options=small_window) as channel:
        stub: Any = kv_stub(channel)
        await stub.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
        await stub.Put(kv_pb2.PutRequest(dataset="D", key_bytes=b"k", value_bytes=bytes(3_000_000)), timeout=SECONDS)
        stream = stub.StreamMultiGet()
        for _ in range(10):
            await stream.write(kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(dataset="D", key_bytes=b"k")]))
        await asyncio.to_thread(eventually, lambda: server.metric("chronoserve_calls_in_flight") == 1, "the call to be under way")
        yield
        stream.cancel()


def server_with_drain(start_server: StartServer, seconds: float) -> RunningServer:
    return start_server(config=f'limits.drain_seconds = {seconds}\n[stores.m]\nurl = "memory://"\n')


async def test_calls_that_the_drain_s_time_does_not_suffice_for_are_cut_off_and_the_exit_code_is_1(start_server: StartServer) -> None:
    server = await asyncio.to_thread(server_with_drain, start_server, 1.0)
    async with client_that_does_not_read(server):
        assert await asyncio.to_thread(server.stop) == 1
    (warning,) = server.events("drain ran out of time")
    assert warning["calls_under_way"] == 1
    assert server.event("stopped")["drained"] is False


async def test_while_it_drains_it_says_not_ready_and_takes_no_connection_and_a_second_signal_ends_it_at_once(
    start_server: StartServer,
) -> None:
    server = await asyncio.to_thread(server_with_drain, start_server, 60.0)
    assert await asyncio.to_thread(server.get, "/readyz") == (200, '{"status": "ready"}')
    async with client_that_does_not_read(server):
        server.signal(signal.SIGTERM)
        await asyncio.to_thread(server.event, "draining")
        status, body = await asyncio.to_thread(server.get, "/readyz")
        assert (status, "draining" in body) == (503, True)
        assert (await asyncio.to_thread(server.get, "/healthz"))[0] == 200
        await asyncio.to_thread(eventually, lambda: refuses_connections(server.address), "the end of listening")
        assert server.process.poll() is None
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 1


def refuses_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionError:
        return True
    return False


def test_interrupt_drains_too(start_server: StartServer) -> None:
    server = start_server("--store", "memory://")
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert server.event("stopped")["drained"] is True

"""A server in the test's own loop: everything that ``chronoserve serve`` runs, without a process around it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import msgspec

from chronoserve.app.compose import compose
from chronoserve.app.settings import Settings
from chronoserve.app.worker import Worker
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.kvstore.port import KVStore
from chronoserve.kvstore.router import Route, Router
from chronoserve.service.bulk import BulkLoader
from chronoserve.service.features import FeatureLimits, Features
from chronoserve.service.gateway import Gateway, Limits
from chronoserve.testing.clock import ManualClock
from chronoserve.v1 import kv_pb2, kv_pb2_grpc
from chronoserve.wire.data_port import Transport
from chronoserve.wire.seam import Deadlines, Seam
from chronoserve.wire.server import GrpcServer

SECONDS = 20.0
"""Time limit of one call in these tests: generous, because they share a small machine."""


TRANSPORT = "auto"
"""What the servers run on; the fixtures change it."""


def stub_of(channel: grpc.aio.Channel) -> Any:
    """The generated stub, which has no types for asyncio."""
    return cast("Any", kv_pb2_grpc.KVStoreStub)(channel)


@dataclass
class Running:
    """A server that listens, and a client of it."""

    worker: Worker
    channel: grpc.aio.Channel

    @property
    def addresses(self) -> list[str]:
        return self.worker.server.addresses

    @property
    def kv(self) -> Any:
        return stub_of(self.channel)

    async def create(self, name: str, **properties: Any) -> None:
        await self.kv.Create(kv_pb2.CreateRequest(dataset=name, properties=kv_pb2.DatasetProperties(**properties)), timeout=SECONDS)


def settings(**given: Any) -> Settings:
    """Settings as the configuration file would give them; a memory store and a free port unless told otherwise."""
    defaults = {
        "listen": ["127.0.0.1:0"],
        "http": None,
        "stores": {"main": {"url": "memory://"}},
        "log_level": "error",
        "transport": TRANSPORT,
    }
    made = msgspec.convert({**defaults, **given}, Settings)
    made.verify()
    return made


@asynccontextmanager
async def serving(**given: Any) -> AsyncIterator[Running]:
    """Serve until the block ends, then drain."""
    chosen = settings(**given)
    worker = Worker(chosen, await compose(chosen))
    await worker.start()
    try:
        async with grpc.aio.insecure_channel(worker.server.addresses[0]) as channel:
            yield Running(worker, channel)
    finally:
        await worker.stop(5)


@asynccontextmanager
async def serving_store(store: KVStore, **limits: Any) -> AsyncIterator[tuple[GrpcServer, Any]]:
    """A server without layers over a store that the test has made, and a stub of it."""
    router = Router({"main": store}, [Route("*", "main")])
    gateway = Gateway(router, router, clock=ManualClock(), limits=Limits(**limits))
    seam = Seam(deadlines=Deadlines(), identify=None)
    features = Features(Fetcher(gateway, clock=ManualClock(), lists=gateway), FeatureLimits())
    bulk = BulkLoader(gateway, roots=None, clock=ManualClock())
    server = GrpcServer(gateway, features, seam, bulk, Transport(listen=["127.0.0.1:0"], native=TRANSPORT == "native"))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
            yield server, stub_of(channel)
    finally:
        await server.drain(5)


def raw(channel: grpc.aio.Channel, method: str, **kinds: bool) -> Any:
    """A method by its path, in bytes. ``client_streaming`` and ``server_streaming`` say its kind."""
    name = f"{'stream' if kinds.get('client_streaming') else 'unary'}_{'stream' if kinds.get('server_streaming') else 'unary'}"
    return cast("Any", getattr(channel, name))(method)


async def outcome(call: Any) -> tuple[str, str]:
    """The status name and text of a call that is awaited or read to its end."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


def descriptors() -> int:
    """File descriptors that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))

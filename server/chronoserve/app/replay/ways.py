"""The ways to replay worlds, by name: each opens a fresh store for every world of one recording."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from chronoserve.app.replay.memory_face import MemoryFace
from chronoserve.app.replay.worlds import OpenFace

Way = Callable[[Path], AbstractAsyncContextManager[OpenFace]]


@asynccontextmanager
async def in_process(_: Path) -> AsyncIterator[OpenFace]:
    """No server: the fetcher on a memory store of this process."""
    yield MemoryFace.open


@asynccontextmanager
async def over_grpc(_: Path) -> AsyncIterator[OpenFace]:
    """A server for each world, asked by gRPC."""
    from chronoserve.app.replay.grpc_face import GrpcFace

    yield GrpcFace.open


@asynccontextmanager
async def over_http(_: Path) -> AsyncIterator[OpenFace]:
    """A server for each world, asked by HTTP as Chronon's service is."""
    from chronoserve.app.replay.http_face import HttpFace

    yield HttpFace.open


WAYS: Mapping[str, Way] = {"process": in_process, "grpc": over_grpc, "http": over_http}

"""Server reflection, v1 and v1alpha: the two differ in the name of their package only, so one servicer serves both."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from chronoserve.v1 import fetcher_pb2, kv_pb2
from chronoserve.wire.seam import Seam, parse

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
DESCRIBED = (kv_pb2.DESCRIPTOR, fetcher_pb2.DESCRIPTOR)
"""Importing the stubs puts their files into the default pool."""


class MethodAwarePool:
    """protobuf's pool finds no method by its full name, which is what ghz and ``grpcurl describe`` ask for."""

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - the pool's own name
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            if method in found.methods_by_name:
                return found.file
            raise


def reflection_handlers(services: list[str], seam: Seam) -> "list[grpc.GenericRpcHandler[Any, Any]]":
    """Handlers that describe ``services`` and themselves, to callers who name themselves where that is asked for."""
    servicer = ReflectionServicer((*services, *SERVICES), pool=MethodAwarePool(descriptor_pool.Default()))

    async def info(messages: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes]:
        await seam.caller(context)
        async for reply in servicer.ServerReflectionInfo(_requests(messages), context):
            yield reply.SerializeToString()

    method = seam.stream_stream("ServerReflectionInfo", info)
    return [grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method}) for service in SERVICES]


async def _requests(messages: AsyncIterator[bytes]) -> AsyncGenerator[reflection_pb2.ServerReflectionRequest]:
    async for data in messages:
        yield parse(reflection_pb2.ServerReflectionRequest, data)

"""Server reflection, v1 and v1alpha: the two differ in the name of their package only, so one servicer serves both."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from chronoserve.v1 import fetcher_pb2, kv_pb2
from chronoserve.wire.seam import Seam, parse

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
DESCRIBED = (kv_pb2.DESCRIPTOR, fetcher_pb2.DESCRIPTOR)
"""Importing the stubs puts their files into the default pool."""


V1 = "grpc.reflection.v1."
V1_FILE = "grpc/reflection/v1/reflection.proto"


def _pool_of_v1() -> descriptor_pool.DescriptorPool:
    """A pool that describes reflection v1, for which grpcio has no stubs: v1alpha under the other name.

    It is apart from protobuf's default pool, where it would be in the way of whoever brings stubs of v1.
    """
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = V1_FILE, V1.rstrip(".")
    alpha = f".{reflection_pb2.DESCRIPTOR.package}."
    for field in (field for message in file.message_type for field in message.field if field.type_name):
        field.type_name = field.type_name.replace(alpha, f".{V1}")
    for method in file.service[0].method:
        method.input_type, method.output_type = (name.replace(alpha, f".{V1}") for name in (method.input_type, method.output_type))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


class MethodAwarePool:
    """protobuf's pool finds no method by its full name, which is what ghz and ``grpcurl describe`` ask for."""

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool
        self._v1 = _pool_of_v1()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileByName(self, name: str) -> Any:  # noqa: N802 - the pool's own name
        return (self._v1 if name == V1_FILE else self._pool).FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - the pool's own name
        pool = self._v1 if symbol.startswith(V1) else self._pool
        try:
            return pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = pool.FindServiceByName(service)
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

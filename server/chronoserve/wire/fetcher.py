"""The Fetcher service: its messages are designed, its methods answer UNIMPLEMENTED until the fetcher room exists."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

from chronoserve.model.errors import Unsupported
from chronoserve.v1 import fetcher_pb2
from chronoserve.wire.seam import Seam

SERVICE = "chronoserve.v1.Fetcher"


def fetcher_handlers(seam: Seam) -> "grpc.GenericRpcHandler[Any, Any]":
    """Every method of the service."""

    async def unsupported(_: bytes, context: Any) -> bytes:
        await seam.caller(context)
        raise Unsupported("this server does not fetch features yet; the KVStore service reads and writes their bytes")

    async def unsupported_stream(_: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes]:
        yield await unsupported(b"", context)

    handlers = {
        method.name: seam.stream_stream(method.name, unsupported_stream)
        if method.client_streaming
        else seam.unary(method.name, unsupported)
        for method in fetcher_pb2.DESCRIPTOR.services_by_name["Fetcher"].methods
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)

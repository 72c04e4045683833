"""The comparison from below: MultiGet as one writes it on the first day.

grpc.aio on the asyncio loop, redis-py, one protobuf object for each key made by nested constructors. It reads what the
Go peer reads: Redis keys ``peer:<dataset>:<key>``, values of eight bytes of event time and then the bytes.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
import redis.asyncio

from chronoserve.v1 import kv_pb2, kv_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[kv_pb2.MultiGetRequest, kv_pb2.MultiGetResponse]"

MILLIS_BYTES = 8


def to_response(stored: bytes | str | None) -> kv_pb2.GetResponse:
    if not isinstance(stored, bytes):
        return kv_pb2.GetResponse()
    millis = int.from_bytes(stored[:MILLIS_BYTES], "big")
    return kv_pb2.GetResponse(values=[kv_pb2.TimedValue(bytes=stored[MILLIS_BYTES:], millis=millis)])


class NaiveKVStore(kv_pb2_grpc.KVStoreServicer):
    """Only the reads that the benchmark makes."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client

    async def MultiGet(self, request: kv_pb2.MultiGetRequest, context: Context) -> kv_pb2.MultiGetResponse:  # noqa: N802 - in the proto
        keys = [f"peer:{get.dataset}:".encode() + get.key_bytes for get in request.requests]
        values = await self._redis.mget(keys)
        return kv_pb2.MultiGetResponse(responses=[to_response(value) for value in values])

    async def StreamMultiGet(  # noqa: N802 - the name in the proto
        self, request_iterator: AsyncIterator[kv_pb2.MultiGetRequest], context: Context
    ) -> AsyncIterator[kv_pb2.MultiGetResponse]:
        async for request in request_iterator:
            yield await self.MultiGet(request, context)


async def serve(listen: str, redis_url: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        server = grpc.aio.server()
        kv_pb2_grpc.add_KVStoreServicer_to_server(NaiveKVStore(client), server)  # type: ignore[no-untyped-call]  # generated
        server.add_insecure_port(listen)
        await server.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        await server.stop(grace=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:50062")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    options = parser.parse_args()
    asyncio.run(serve(options.listen, options.redis))


if __name__ == "__main__":
    main()

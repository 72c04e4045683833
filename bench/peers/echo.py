"""A transport alone, grpc.aio or the native one, on uvloop: it answers each MultiGet with ready bytes of the right size.

It parses nothing and reads no store, so what a server spends beyond it is the server's own: its codec, its layers and
its store. Every answer holds the same value for each key; the load client counts such answers as wrong.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
import uvloop

from chronoserve.app.serve import let_threads_finish
from chronoserve.model import values
from chronoserve.v1 import kv_pb2
from chronoserve.wire.data_port import Transport
from chronoserve.wire.grpcio import GrpcioPort
from chronoserve.wire.native import NativePort
from chronoserve.wire.seam import Deadlines, Seam

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"

SERVICE = "chronoserve.v1.KVStore"


class Echo:
    """``request_bytes_of_key``: bytes that one key takes in a MultiGetRequest; ``answer``: what one key is answered."""

    def __init__(self, request_bytes_of_key: int, answer: bytes) -> None:
        self._request_bytes_of_key = request_bytes_of_key
        self._answer = answer
        self._answers: dict[int, bytes] = {}

    def _reply(self, request: bytes) -> bytes:
        keys = len(request) // self._request_bytes_of_key
        reply = self._answers.get(keys)
        if reply is None:
            reply = self._answers[keys] = self._answer * keys
        return reply

    async def unary(self, request: bytes, context: Context) -> bytes:
        return self._reply(request)

    async def stream(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield self._reply(request)


def echo_of(dataset: str, key: bytes, value: bytes, millis: int) -> Echo:
    request = kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(key_bytes=key, dataset=dataset)])
    one = values.encode(value, millis)
    answer = b"".join((b"\n", values.varint(len(one)), one))
    return Echo(request.ByteSize(), answer)


async def serve(listen: str, echo: Echo, *, native: bool) -> None:
    handlers = {
        "MultiGet": grpc.unary_unary_rpc_method_handler(echo.unary),
        "StreamMultiGet": grpc.stream_stream_rpc_method_handler(echo.stream),
    }
    seam = Seam(deadlines=Deadlines(), identify=None)
    server = (NativePort if native else GrpcioPort)(
        Transport(listen=[listen]), [grpc.method_handlers_generic_handler(SERVICE, handlers)], seam
    )
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.drain(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:50063")
    parser.add_argument("--dataset", default="bench")
    parser.add_argument("--value-bytes", type=int, default=200)
    parser.add_argument("--transport", choices=("grpcio", "native"), default="grpcio")
    options = parser.parse_args()
    echo = echo_of(options.dataset, b"user_00000000", b"0" * options.value_bytes, 1_700_000_000_000)
    let_threads_finish()  # as our server does
    uvloop.run(serve(options.listen, echo, native=options.transport == "native"))


if __name__ == "__main__":
    main()

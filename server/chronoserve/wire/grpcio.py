"""The transport that grpcio brings: the reference, and what serves where the native one is not built."""

import asyncio
from typing import Any

import grpc
import structlog

from chronoserve.wire.data_port import (
    AFTER_DRAIN_SECONDS,
    CONNECTION_AGE_GRACE_SECONDS,
    CONNECTION_AGE_SECONDS,
    KEEPALIVE_SECONDS,
    METADATA_BYTES_MAX,
    Handlers,
    Transport,
)
from chronoserve.wire.listening import cannot_listen
from chronoserve.wire.seam import Seam
from chronoserve.wire.tls import CertificateWatch

log = structlog.get_logger("chronoserve.server")

PING_INTERVAL_SECONDS_MIN = 10


def channel_arguments(transport: Transport) -> list[tuple[str, Any]]:
    """What grpc core is told."""
    return [
        ("grpc.max_receive_message_length", transport.message_bytes_max),
        ("grpc.max_send_message_length", -1),  # replies are bounded by the request's keys and the stores' value limits
        ("grpc.max_concurrent_streams", transport.streams_per_connection_max),
        # else calls are refused without reason where a client uses all its streams: those just answered still count
        ("grpc.http.overload_protection", 0),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX // 2),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.max_connection_age_ms", CONNECTION_AGE_SECONDS * 1000),
        ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_SECONDS * 1000),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_SECONDS_MIN * 1000),
        ("grpc.so_reuseport", int(transport.reuse_port)),
    ]


class GrpcioPort:
    """A data port on grpc.aio."""

    def __init__(self, transport: Transport, handlers: Handlers, seam: Seam) -> None:
        self._transport = transport
        self._seam = seam
        self._server = grpc.aio.server(options=channel_arguments(transport))
        self._server.add_generic_rpc_handlers(tuple(handlers))

    async def start(self) -> list[str]:
        credentials = CertificateWatch(self._transport.tls).credentials() if self._transport.tls else None
        addresses = [self._listen(address, credentials) for address in self._transport.listen]
        await self._server.start()
        return addresses

    def _listen(self, address: str, credentials: grpc.ServerCredentials | None) -> str:
        try:
            port = self._add_port(address, credentials)
        except RuntimeError as failed:
            raise cannot_listen(address) from failed
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def _add_port(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials)

    async def drain(self, seconds: float) -> bool:
        stopping = await self._say_goodbye(seconds)
        try:
            async with asyncio.timeout(seconds):
                await self._seam.in_flight.wait_idle()
        except TimeoutError:
            log.warning("drain ran out of time", calls_under_way=self._seam.in_flight.calls)
            await stopping
            return False
        await asyncio.wait([stopping], timeout=AFTER_DRAIN_SECONDS)
        await self._server.stop(0)
        await stopping
        return True

    async def _say_goodbye(self, seconds: float) -> "asyncio.Task[None]":
        """Send GOAWAY on every connection while no caller sends anything (chronoserve.wire.draining); the server's stopping."""
        draining = self._seam.draining
        draining.begin()
        await draining.quiet(lambda: self._seam.in_flight.calls)
        stopping = asyncio.create_task(self._server.stop(seconds))
        await asyncio.sleep(0)  # GOAWAY goes out in the first step of that task
        draining.release()
        return stopping

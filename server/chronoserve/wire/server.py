"""The gRPC server: its transport options, its services, and how it drains."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_channelz.v1._async import ChannelzServicer
from grpc_channelz.v1.channelz_pb2_grpc import add_ChannelzServicer_to_server

from chronoserve.model.errors import InvalidRequest
from chronoserve.service.bulk import BulkLoader
from chronoserve.service.gateway import Gateway
from chronoserve.wire import fetcher, health, kv
from chronoserve.wire.health import HealthService
from chronoserve.wire.kv import KVStoreService
from chronoserve.wire.reflection import reflection_handlers
from chronoserve.wire.seam import Deadlines, Seam
from chronoserve.wire.tls import CertificateWatch, TLSFiles

log = structlog.get_logger("chronoserve.server")

METADATA_BYTES_MAX = 16 << 10
CONNECTION_AGE_SECONDS = 1800
CONNECTION_AGE_GRACE_SECONDS = 30
KEEPALIVE_SECONDS = 30
PING_INTERVAL_SECONDS_MIN = 10
AFTER_DRAIN_SECONDS = 0.5
"""What the transport gets to hand out the last replies once no handler is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """What the transport is told; bounds of spec/reliability.md §6."""

    listen: Sequence[str]
    message_bytes_max: int = 4 << 20
    streams_per_connection_max: int = 100
    reuse_port: bool = True
    tls: TLSFiles | None = None

    def options(self) -> list[tuple[str, Any]]:
        """Channel arguments of grpc core."""
        return [
            ("grpc.max_receive_message_length", self.message_bytes_max),
            ("grpc.max_send_message_length", -1),  # replies are bounded by the request's keys and the stores' value limits
            ("grpc.max_concurrent_streams", self.streams_per_connection_max),
            # else calls are refused without reason where a client uses all its streams: those just answered still count
            ("grpc.http.overload_protection", 0),
            ("grpc.max_metadata_size", METADATA_BYTES_MAX // 2),
            ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.max_connection_age_ms", CONNECTION_AGE_SECONDS * 1000),
            ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_SECONDS * 1000),
            ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
            ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_SECONDS_MIN * 1000),
            ("grpc.so_reuseport", int(self.reuse_port)),
        ]


class GrpcServer:
    """One process's data port. ``start``, then ``drain`` once."""

    def __init__(self, gateway: Gateway, seam: Seam, bulk: BulkLoader, transport: Transport) -> None:
        self.health = HealthService([kv.SERVICE, fetcher.SERVICE])
        self.seam = seam
        self._transport = transport
        self._server = grpc.aio.server(options=transport.options())
        service = KVStoreService(gateway, seam, message_bytes_max=transport.message_bytes_max, bulk=bulk)
        services = [kv.SERVICE, fetcher.SERVICE, health.SERVICE]
        self._server.add_generic_rpc_handlers(
            (service.handlers(), fetcher.fetcher_handlers(seam), self.health.handlers(), *reflection_handlers(services, seam))
        )
        self.addresses: list[str] = []

    async def start(self) -> None:
        """Listen on every address.

        Raises:
            InvalidRequest: an address cannot be listened on; the message names it.
        """
        credentials = CertificateWatch(self._transport.tls).credentials() if self._transport.tls else None
        for address in self._transport.listen:
            self.addresses.append(self._listen(address, credentials))
        await self._server.start()

    def _listen(self, address: str, credentials: grpc.ServerCredentials | None) -> str:
        try:
            port = self._add_port(address, credentials)
        except RuntimeError as failed:
            raise InvalidRequest(f"cannot listen on {address}: is it taken, or not an address of this machine?") from failed
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def _add_port(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials)

    async def drain(self, seconds: float) -> bool:
        """Say NOT_SERVING, take no new connections, let the calls under way finish; False where ``seconds`` did not suffice."""
        self.health.drain()
        stopping = await self._say_goodbye(seconds)
        try:
            async with asyncio.timeout(seconds):
                await self.seam.in_flight.wait_idle()
        except TimeoutError:
            log.warning("drain ran out of time", calls_under_way=self.seam.in_flight.calls)
            await stopping
            return False
        await asyncio.wait([stopping], timeout=AFTER_DRAIN_SECONDS)
        await self._server.stop(0)
        await stopping
        return True

    async def _say_goodbye(self, seconds: float) -> "asyncio.Task[None]":
        """Send GOAWAY on every connection while no caller sends anything (chronoserve.wire.draining); the server's stopping."""
        draining = self.seam.draining
        draining.begin()
        await draining.quiet(lambda: self.seam.in_flight.calls)
        stopping = asyncio.create_task(self._server.stop(seconds))
        await asyncio.sleep(0)  # GOAWAY goes out in the first step of that task
        draining.release()
        return stopping


class AdminGrpcServer:
    """channelz, on a port of its own: it shows the peers of every connection."""

    def __init__(self, listen: str) -> None:
        self._server = grpc.aio.server()
        add_ChannelzServicer_to_server(ChannelzServicer(), self._server)
        seam = Seam(deadlines=Deadlines(), identify=None)
        self._server.add_generic_rpc_handlers(tuple(reflection_handlers(["grpc.channelz.v1.Channelz"], seam)))
        self._listen = listen
        self.address = ""

    async def start(self) -> None:
        """Raises InvalidRequest where the address cannot be listened on."""
        try:
            port = self._server.add_insecure_port(self._listen)
        except RuntimeError as failed:
            raise InvalidRequest(f"cannot listen on {self._listen} for the admin services") from failed
        await self._server.start()
        self.address = f"{self._listen.rpartition(':')[0]}:{port}"

    async def stop(self) -> None:
        await self._server.stop(0)

"""The gRPC server: its services, and the transport that serves them."""

import grpc
from grpc_channelz.v1._async import ChannelzServicer
from grpc_channelz.v1.channelz_pb2_grpc import add_ChannelzServicer_to_server

from chronoserve.model.errors import InvalidRequest
from chronoserve.service.bulk import BulkLoader
from chronoserve.service.features import Features
from chronoserve.service.gateway import Gateway
from chronoserve.wire import fetcher, health, kv
from chronoserve.wire.data_port import DataPort, Transport
from chronoserve.wire.fetcher import FetcherService
from chronoserve.wire.grpcio import GrpcioPort
from chronoserve.wire.health import HealthService
from chronoserve.wire.kv import KVStoreService
from chronoserve.wire.native import NativePort
from chronoserve.wire.reflection import reflection_handlers
from chronoserve.wire.seam import Deadlines, Seam


class GrpcServer:
    """One process's data port. ``start``, then ``drain`` once."""

    def __init__(self, gateway: Gateway, features: Features, seam: Seam, bulk: BulkLoader, transport: Transport) -> None:
        self.health = HealthService([kv.SERVICE, fetcher.SERVICE])
        self.seam = seam
        service = KVStoreService(gateway, seam, message_bytes_max=transport.message_bytes_max, bulk=bulk)
        fetching = FetcherService(features, seam, message_bytes_max=transport.message_bytes_max)
        services = [kv.SERVICE, fetcher.SERVICE, health.SERVICE]
        handlers = (service.handlers(), fetching.handlers(), self.health.handlers(), *reflection_handlers(services, seam))
        self._port: DataPort = (NativePort if transport.native else GrpcioPort)(transport, handlers, seam)
        self.addresses: list[str] = []

    async def start(self) -> None:
        """Listen on every address.

        Raises:
            InvalidRequest: an address cannot be listened on; the message names it.
        """
        self.addresses += await self._port.start()

    async def drain(self, seconds: float) -> bool:
        """Say NOT_SERVING, take no new connections, let the calls under way finish; False where ``seconds`` did not suffice."""
        self.health.drain()
        return await self._port.drain(seconds)


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

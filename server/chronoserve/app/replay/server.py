"""A server of ours in this process, on ports of its own, for recordings that are replayed over the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from chronoserve.app.compose import clock, compose
from chronoserve.app.connection import Server
from chronoserve.app.replay.faces import RecordedPut
from chronoserve.app.replay.handlers import recorded_registry
from chronoserve.app.replay.memory_face import SETTINGS
from chronoserve.app.settings import Settings
from chronoserve.app.worker import Worker
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.service.features import Features
from chronoserve.wire.http import HttpServer
from chronoserve.wire.http_features import FeatureRoutes
from chronoserve_client import AsyncClient, Put

WRITE_SECONDS = 30.0
LOOPBACK = "127.0.0.1:0"


def settings() -> Settings:
    """Those of a world in process, with the layers that a server has around its store."""
    return msgspec.structs.replace(SETTINGS, listen=[LOOPBACK], layers=True)


class ReplayTarget(Protocol):
    """A server that worlds are replayed through."""

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        """MultiPut. Raises ChronoserveError where one is refused."""

    async def stop(self) -> None: ...


class RunningServer:
    """Somebody's server, with whatever its store holds already; the datasets of a recording are made as they come."""

    def __init__(self, server: Server) -> None:
        self._client = server.client()
        self._made: set[str] = set()

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        for dataset in dict.fromkeys(put.dataset for put in puts):
            if dataset not in self._made:
                await self._client.create(dataset)
                self._made.add(dataset)
        await _put(self._client, puts)

    async def stop(self) -> None:
        await self._client.aclose()


async def _put(client: AsyncClient, puts: Sequence[RecordedPut]) -> None:
    for result in await client.multi_put([Put(*put) for put in puts]):
        result.unwrap()


@dataclass(slots=True)
class ReplayServer:
    """Both faces over one memory store, which starts empty. The fetcher's clock stands still, as that of ``MemoryFace`` does."""

    worker: Worker
    http: HttpServer
    client: AsyncClient

    @classmethod
    async def start(cls) -> "ReplayServer":
        composed = await compose(settings())
        now = clock()
        fetcher = Fetcher(composed.gateway, clock=lambda: now, registry=recorded_registry(), lists=composed.gateway)
        composed.features = Features(fetcher, composed.features.limits)
        worker = Worker(settings(), composed)
        await worker.start()
        routes = FeatureRoutes(worker.composed.features, worker.seam)
        http = HttpServer(ready=worker.unready, scrape=worker.scrape, configuration={}, routes=routes, body_bytes_max=64 << 20)
        await http.start(LOOPBACK)
        client = AsyncClient(worker.server.addresses[0], write_timeout=WRITE_SECONDS)
        return cls(worker, http, client)

    @property
    def address(self) -> str:
        """Of the gRPC port."""
        return self.worker.server.addresses[0]

    @property
    def http_url(self) -> str:
        return f"http://{self.http.address}"

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        await _put(self.client, puts)

    async def stop(self) -> None:
        await self.client.aclose()
        await self.http.stop()
        await self.worker.stop(0)

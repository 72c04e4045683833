"""One serving process: open the stores, listen, say so, and drain when told to stop."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from prometheus_client import generate_latest

from chronoserve.app.collector import settle_garbage_collector
from chronoserve.app.compose import Composed, clock, compose
from chronoserve.app.extended import Extended
from chronoserve.app.settings import AuthSettings, Settings, policy
from chronoserve.kvstore.layers.hot_keys import HotReport
from chronoserve.model.errors import InvalidRequest
from chronoserve.service.bulk import BulkLoader
from chronoserve.service.identity import JWTVerifier, StaticTokens, TokenVerifier
from chronoserve.warehouse.port import Warehouse
from chronoserve.wire import fetcher, kv, transports
from chronoserve.wire.auth import Authenticator
from chronoserve.wire.data_port import Transport
from chronoserve.wire.exposition import Observed, registry
from chronoserve.wire.fetch_exposition import FetchObserved
from chronoserve.wire.health import NOT_SERVING, SERVING
from chronoserve.wire.seam import Deadlines, Seam
from chronoserve.wire.server import AdminGrpcServer, GrpcServer
from chronoserve.wire.tls import TLSFiles

log = structlog.get_logger("chronoserve")

POLICY_CHECK_SECONDS = 2.0
"""How often the policy file is looked at for changes."""
HEALTH_CHECK_SECONDS = 2.0
"""How often the stores are asked for a sign of life, for grpc.health."""
LOG_SECONDS_MIN = 1.0
"""What the response log has at least to write what waits, however long the calls took to end."""
HOT_KEYS_MAX = 100


class Worker:
    """Everything that one process runs, started and stopped in order."""

    def __init__(self, settings: Settings, composed: Composed, extended: Extended | None = None) -> None:
        """``extended``: what ``composed`` was composed with, started and closed together with the rest."""
        limits = settings.limits
        self.settings = settings
        self.composed = composed
        self._extended = extended
        tracing = extended.tracing if extended else None
        self._authenticator = _authenticator(settings.auth, certificates=bool(settings.tls and settings.tls.client_ca))
        deadlines = Deadlines(
            read_default=limits.read_seconds_default, write_default=limits.write_seconds_default, longest=limits.call_seconds_max
        )
        self.seam = Seam(deadlines=deadlines, identify=self._authenticator, around=tracing.around if tracing else None)
        bulk = _loader(settings, composed)
        transport = Transport(
            listen=settings.listen,
            message_bytes_max=limits.message_bytes_max,
            streams_per_connection_max=limits.streams_per_connection_max,
            tls=TLSFiles(*_tls_paths(settings)) if settings.tls else None,
            native=transports.is_native(settings.transport),
        )
        self.server = GrpcServer(composed.gateway, composed.features, self.seam, bulk, transport)
        self._admin = AdminGrpcServer(settings.admin) if settings.admin else None
        fetch = extended.observed(composed) if extended else FetchObserved(composed.fetch_metrics)
        self._registry = registry(Observed(self.seam, composed.admission, dict(composed.router.stores), fetch))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if self._extended:
            await self._extended.start(self.composed)
        await self.server.start()
        if self._admin:
            await self._admin.start()
        self._tasks.append(asyncio.create_task(self._watch_stores()))
        if self._authenticator is not None and self.settings.auth is not None and self.settings.auth.policy_file:
            self._tasks.append(asyncio.create_task(_watch_file(Path(self.settings.auth.policy_file), self._reload_policy)))

    @property
    def admin_address(self) -> str | None:
        return self._admin.address if self._admin else None

    async def scrape(self) -> bytes:
        """Metrics as Prometheus text."""
        return generate_latest(self._registry)

    async def hot_keys(self) -> HotReport:
        """The keys that are read most."""
        found = self.composed.hot_keys
        return HotReport(0, []) if found is None else found.report(HOT_KEYS_MAX)

    async def unready(self) -> dict[str, str]:
        """Why this process cannot serve; empty where at least one store answers and it is not draining."""
        if not self.server.health.serving:
            return {"server": "draining"}
        found = dict(await self.composed.unready())
        return found if len(found) == len(self.composed.router.stores) else {}

    async def stop(self, seconds: float) -> bool:
        """Drain and close; False where calls had to be cut off."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        drained = await self.server.drain(seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._admin:
            await self._admin.stop()
        if self._extended:
            await self._extended.close(max(end - loop.time(), LOG_SECONDS_MIN))
        await self.composed.close()
        return drained

    def _reload_policy(self) -> None:
        """A policy file that is not right changes nothing: neither who may, nor what callers hear."""
        assert self._authenticator is not None
        assert self.settings.auth is not None
        try:
            self._authenticator.adopt(policy(self.settings.auth))
        except InvalidRequest as wrong:
            log.error("keeping the old policy", reason=wrong.message)  # noqa: TRY400 - the reason says it all
        else:
            log.info("policy reloaded")

    async def _watch_stores(self) -> None:
        """Keeps grpc.health in step with the stores: each has an entry, and the service follows the last one standing."""
        health = self.server.health
        while True:
            found = await self.composed.unready()
            if not health.serving:
                return
            for name in self.composed.router.stores:
                health.set(f"store/{name}", NOT_SERVING if name in found else SERVING)
            everything_down = len(found) == len(self.composed.router.stores)
            for service in (kv.SERVICE, fetcher.SERVICE):
                health.set(service, NOT_SERVING if everything_down else SERVING)
            await asyncio.sleep(HEALTH_CHECK_SECONDS)


async def serve(settings: Settings, *, started: Callable[[Worker], Awaitable[None]], stopping: Callable[[], Awaitable[None]]) -> int:
    """Run one worker until SIGTERM or SIGINT; the exit code.

    ``started`` is awaited when it listens, ``stopping`` after it has drained. A second signal ends it at once; so does the
    first one while the stores are being opened, because nothing is under way then.
    """
    signals = asyncio.Queue[int]()
    loop = asyncio.get_running_loop()
    extended = Extended(settings)
    try:
        worker = Worker(settings, await compose(settings, extended.extensions), extended)
    except BaseException:
        await extended.close(0)
        raise
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        await worker.start()
        settle_garbage_collector()
        await started(worker)
        await signals.get()
    except BaseException:
        await worker.stop(0)
        raise
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, os._exit, 1)
    log.info("draining", seconds=settings.limits.drain_seconds)
    drained = await worker.stop(settings.limits.drain_seconds)
    await stopping()
    log.info("stopped", drained=drained)
    return 0 if drained else 1


def _loader(settings: Settings, composed: Composed) -> BulkLoader:
    """BulkPut's loader. The warehouse is opened by each load that names a table: what its reading needs is large to import."""
    found = settings.warehouse
    if found is None:
        return BulkLoader(composed.gateway, roots=settings.bulk_places(), clock=clock)

    def opened() -> Warehouse:
        from chronoserve.warehouse.places import open_warehouse

        return open_warehouse(found.url)

    return BulkLoader(composed.gateway, roots=settings.bulk_places(), clock=clock, warehouse=opened, partitions=found.partitions())


def _authenticator(auth: AuthSettings | None, *, certificates: bool) -> Authenticator | None:
    if auth is None:
        return None
    verifiers: list[TokenVerifier] = [StaticTokens(auth.tokens)] if auth.tokens else []
    if auth.jwt is not None:
        try:
            key = Path(auth.jwt.key_file).read_text()
        except (OSError, UnicodeDecodeError) as unreadable:
            raise InvalidRequest(f"auth.jwt.key_file cannot be read as text: {auth.jwt.key_file}") from unreadable
        verifiers.append(JWTVerifier(key=key, algorithms=auth.jwt.algorithms, audience=auth.jwt.audience, issuer=auth.jwt.issuer))
    return Authenticator(verifiers, policy(auth), certificates=certificates)


def _tls_paths(settings: Settings) -> tuple[Path, Path, Path | None]:
    assert settings.tls is not None
    return Path(settings.tls.certificate), Path(settings.tls.key), Path(settings.tls.client_ca) if settings.tls.client_ca else None


async def _watch_file(path: Path, changed: Callable[[], None]) -> None:
    """Calls ``changed`` whenever the file's time or size differ from the last look."""
    last = _stamp(path)
    while True:
        await asyncio.sleep(POLICY_CHECK_SECONDS)
        now = _stamp(path)
        if now != last:
            last = now
            changed()


def _stamp(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        stat = path.stat()
        return stat.st_mtime_ns, stat.st_size
    return None

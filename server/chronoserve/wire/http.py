"""The HTTP port: liveness, readiness, metrics and the effective configuration; and features, where it is given their routes.

It imports no grpc: the supervisor of several workers has one of these, and hands the connections that want features to them.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from chronoserve.kvstore.layers.hot_keys import HotReport
from chronoserve.model.errors import InvalidRequest

Scrape = Callable[[], Awaitable[bytes]]
"""The process's metrics as Prometheus text."""
Ready = Callable[[], Awaitable[Mapping[str, str]]]
"""What is not ready, by name, with the reason; empty: all is."""

Hot = Callable[[], Awaitable[HotReport]]
"""The keys that are read most."""

HOT_KEYS_SHOWN = 20
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ADMIN_PATHS = frozenset({b"/healthz", b"/readyz", b"/metrics", b"/config", b"/hotkeys"})
KEEPALIVE_SECONDS = 60.0
"""Chronon's service closes idle connections after this long."""
STOP_SECONDS = 1.0
"""What replies under way get when the server stops; it has drained before."""


class Routes(Protocol):
    """More routes for the port."""

    def add_to(self, router: web.UrlDispatcher) -> None: ...


class HttpServer:
    """``/healthz`` says that the process runs, ``/readyz`` that it can serve: a store that is down makes it not ready."""

    def __init__(
        self,
        *,
        ready: Ready,
        scrape: Scrape,
        configuration: Mapping[str, Any],
        hot_keys: Hot | None = None,
        routes: Routes | None = None,
        body_bytes_max: int = 4 << 20,
        one_request_each: bool = False,
    ) -> None:
        """``one_request_each``: connections end with their first reply."""
        self._ready = ready
        self._scrape = scrape
        self._configuration = configuration
        app = web.Application(client_max_size=body_bytes_max)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/config", self._config)
        if hot_keys is not None:
            self._hot = hot_keys
            app.router.add_get("/hotkeys", self._hot_keys)
        if routes is not None:
            routes.add_to(app.router)
        if one_request_each:
            app.on_response_prepare.append(_close)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=STOP_SECONDS)
        self.address = ""

    async def start(self, listen: str | None = None) -> None:
        """Listen, or where no address is given wait for connections to ``adopt``.

        Raises:
            InvalidRequest: the address cannot be listened on.
        """
        await self._runner.setup()
        if listen is None:
            return
        host, _, port = listen.rpartition(":")
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port), reuse_port=False).start()
        except (OSError, ValueError, OverflowError) as failed:
            await self._runner.cleanup()
            raise InvalidRequest(f"cannot listen on {listen} for HTTP: is it taken, or not HOST:PORT of this machine?") from failed
        self.address = f"{host}:{self._runner.addresses[0][1]}"

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that somebody else has accepted."""
        assert self._runner.server is not None, "started"
        await asyncio.get_running_loop().connect_accepted_socket(self._runner.server, connection)

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ping(self, _: web.Request) -> web.Response:
        """As Chronon's service answers it."""
        return web.json_response("Pong!")

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = await self._ready()
        if reasons:
            return web.json_response({"status": "not ready", "reasons": dict(reasons)}, status=503)
        return web.json_response({"status": "ready"})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._scrape(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    async def _config(self, request: web.Request) -> web.Response:
        """For who is on this machine: those who fetch features from elsewhere have no business with it."""
        return web.json_response(self._configuration) if _local(request.remote) else _not_here()

    async def _hot_keys(self, request: web.Request) -> web.Response:
        """``?top=``: how many. Keys are shown as hashes (docs/operating/metrics.md)."""
        if not _local(request.remote):
            return _not_here()
        asked = request.query.get("top", str(HOT_KEYS_SHOWN))
        if not asked.isdecimal():
            return web.json_response({"errors": ["top is a number"]}, status=400)
        report = await self._hot()
        keys = [
            {"dataset": key.dataset, "key_hash": key.key_hash, "reads": key.reads, "share": round(key.reads / report.reads, 4)}
            for key in report.keys[: int(asked)]
        ]
        return web.json_response({"reads": report.reads, "keys": keys})


def _not_here() -> web.Response:
    return web.json_response({"errors": ["this page is shown on this machine only"]}, status=403)


def _local(peer: str | None) -> bool:
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


async def _close(_: web.Request, response: web.StreamResponse) -> None:
    """It is asked when the headers are made already."""
    response.force_close()
    response.headers["Connection"] = "close"

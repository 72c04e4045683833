"""The HTTP admin port: liveness, readiness, metrics and the effective configuration with its secrets redacted."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from chronoserve.model.errors import InvalidRequest

Scrape = Callable[[], Awaitable[bytes]]
"""The process's metrics as Prometheus text."""

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class AdminHttpServer:
    """``/healthz`` says that the process runs, ``/readyz`` that it can serve: a store that is down makes it not ready."""

    def __init__(
        self, listen: str, *, ready: Callable[[], Awaitable[Mapping[str, str]]], scrape: Scrape, configuration: Mapping[str, Any]
    ) -> None:
        """``ready`` answers what is not ready, by name, with the reason; empty: all is."""
        self._listen = listen
        self._ready = ready
        self._scrape = scrape
        self._configuration = configuration
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/ping", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/config", self._config)
        self._runner = web.AppRunner(app, access_log=None)
        self.address = ""

    async def start(self) -> None:
        """Raises InvalidRequest where the address cannot be listened on."""
        host, _, port = self._listen.rpartition(":")
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port), reuse_port=False).start()
        except (OSError, ValueError, OverflowError) as failed:
            await self._runner.cleanup()
            raise InvalidRequest(f"cannot listen on {self._listen} for HTTP: is it taken, or not HOST:PORT of this machine?") from failed
        self.address = f"{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = await self._ready()
        if reasons:
            return web.json_response({"status": "not ready", "reasons": dict(reasons)}, status=503)
        return web.json_response({"status": "ready"})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._scrape(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    async def _config(self, _: web.Request) -> web.Response:
        return web.json_response(self._configuration)

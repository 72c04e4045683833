"""``chronoserve serve``: one worker in this process, or a supervisor with several."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from chronoserve.app.handover import Door, Guests, handover_socket
from chronoserve.app.questions import ANSWER_SECONDS, END, answer, ask
from chronoserve.app.settings import Settings
from chronoserve.app.supervisor import Supervisor, hot_report, reasons, socket_directory
from chronoserve.kvstore.layers.hot_keys import HotReport
from chronoserve.wire import transports
from chronoserve.wire.http import Hot, HttpServer, Ready, Scrape

if TYPE_CHECKING:
    from chronoserve.app.worker import Worker

log = structlog.get_logger("chronoserve")


ABOVE_SECONDS = 2 * ANSWER_SECONDS
"""What a worker waits for its supervisor, which asks every worker before it answers."""


def let_threads_finish() -> None:
    """Ask Linux not to let a thread that wakes up take the processor from one that runs (SCHED_BATCH).

    The transport wakes the loop for each of a call's three events. With the ordinary policy the loop runs at once, finds
    one event and goes to sleep again: 12 switches a call. Without it the transport's thread hands over what it has first:
    2 switches a call, a tenth less CPU, and larger batches for the stores. Shares of the processor stay what they are.

    Threads inherit it, so it is set before grpc is imported (docs/decisions/0007-sched-batch.md).
    """
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where there is one: a sixth less CPU a call (spec/performance.md §1)."""
    let_threads_finish()
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(main)
    return int(uvloop.run(main))


async def serve_alone(settings: Settings) -> int:
    """One worker and the HTTP port in this process."""
    from chronoserve.app.worker import serve

    async with AsyncExitStack() as stack:

        async def started(worker: "Worker") -> None:
            http = []
            if settings.http:
                port = _http_of_worker(settings, worker, worker.unready, worker.scrape, worker.hot_keys)
                await port.start(settings.http)
                stack.push_async_callback(port.stop)
                http.append(port.address)
            _say_serving(settings, worker.server.addresses, http, worker.admin_address)

        return await serve(settings, started=started, stopping=stack.aclose)


async def serve_with_workers(settings: Settings) -> int:
    """A supervisor with ``settings.workers`` processes; the HTTP port is here, and its connections are handed to them."""
    from chronoserve.wire.ports import reserve_port

    reserved = [reserve_port(address) for address in settings.listen]
    settings = msgspec.structs.replace(settings, listen=[address for address, _ in reserved])
    async with AsyncExitStack() as stack:
        for _, holder in reserved:
            if holder is not None:
                stack.callback(holder.close)
        directory = Path(stack.enter_context(socket_directory()))
        supervisor = Supervisor(settings, directory)
        http = []
        if settings.http:
            door = await _door(settings, supervisor, stack)
            http.append(door.address)
            server = await answer(str(supervisor_socket(directory)), supervisor.answers())
            stack.callback(server.close)
        running = asyncio.create_task(supervisor.run())
        if await supervisor.serves():
            _say_serving(settings, settings.listen, http, None)
        return await running


async def _door(settings: Settings, supervisor: Supervisor, stack: AsyncExitStack) -> Door:
    own = HttpServer(
        ready=supervisor.unready,
        scrape=supervisor.scrape,
        hot_keys=supervisor.hot_keys,
        configuration=settings.redacted(),
        one_request_each=True,
    )
    await own.start()
    stack.push_async_callback(own.stop)
    assert settings.http
    door = Door(settings.http, own=own.adopt, workers=[handover_socket(worker.socket) for worker in supervisor.workers])
    await door.start()
    stack.push_async_callback(door.stop)
    return door


async def serve_under_supervisor(settings: Settings, socket: str) -> int:
    """One of several workers: it answers its supervisor's questions on ``socket``, and drains when the supervisor is gone."""
    from chronoserve.app.worker import serve

    loop = asyncio.get_running_loop()
    above = str(supervisor_socket(Path(socket).parent))

    async def ready_above() -> dict[str, str]:
        found = reasons(await ask(above, "ready", ABOVE_SECONDS))
        return {"supervisor": "does not answer"} if found is None else found

    async def scrape_above() -> bytes:
        return await ask(above, "metrics", ABOVE_SECONDS) or b""

    async def hot_keys_above() -> HotReport:
        return hot_report(await ask(above, "hot keys", ABOVE_SECONDS)) or HotReport(0, [])

    async with AsyncExitStack() as stack:

        async def started(worker: "Worker") -> None:
            def orphaned() -> None:
                """The supervisor holds the other end of standard input, and only its death closes it."""
                loop.remove_reader(sys.stdin.fileno())
                if worker.server.health.serving:
                    log.warning("the supervisor is gone")
                    os.kill(os.getpid(), signal.SIGTERM)

            async def ready() -> bytes:
                return msgspec.json.encode(await worker.unready())

            async def metrics() -> bytes:
                return await worker.scrape() + END

            loop.add_reader(sys.stdin.fileno(), orphaned)
            if settings.http:
                port = _http_of_worker(settings, worker, ready_above, scrape_above, hot_keys_above)
                await port.start()
                stack.push_async_callback(port.stop)
                guests = Guests(handover_socket(Path(socket)), port.adopt)
                await guests.start()
                stack.callback(guests.stop)

            async def hot_keys() -> bytes:
                return msgspec.json.encode(await worker.hot_keys())

            server = await answer(socket, {b"ready": ready, b"metrics": metrics, b"hot keys": hot_keys})
            stack.callback(server.close)

        return await serve(settings, started=started, stopping=stack.aclose)


def supervisor_socket(directory: Path) -> Path:
    """Where the supervisor answers questions of its workers."""
    return directory / "supervisor.sock"


def _http_of_worker(settings: Settings, worker: "Worker", ready: Ready, scrape: Scrape, hot_keys: Hot) -> HttpServer:
    """The HTTP port of a process that fetches features."""
    from chronoserve.wire.http_features import FeatureRoutes

    return HttpServer(
        ready=ready,
        scrape=scrape,
        hot_keys=hot_keys,
        configuration=settings.redacted(),
        routes=FeatureRoutes(worker.composed.features, worker.seam),
        body_bytes_max=settings.limits.message_bytes_max,
    )


def _say_serving(settings: Settings, listen: list[str], http: list[str], admin: str | None) -> None:
    about = {"listen": listen, "http": http, "admin": admin, "workers": settings.workers, "transport": _transport(settings)}
    log.info("serving", **about)


def _transport(settings: Settings) -> str:
    return transports.name(settings.transport)


def settings_from_supervisor() -> Settings:
    """What the supervisor has written to standard input, which it then keeps open for as long as it lives."""
    return msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)

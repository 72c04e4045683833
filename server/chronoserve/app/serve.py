"""``chronoserve serve``: one worker in this process, or a supervisor with several."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog

from chronoserve.app.settings import Settings
from chronoserve.app.supervisor import END, Supervisor, socket_directory
from chronoserve.wire import transports
from chronoserve.wire.http import AdminHttpServer

log = structlog.get_logger("chronoserve")


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
    """One worker and the admin port in this process."""
    from chronoserve.app.worker import Worker, serve

    admin: list[AdminHttpServer] = []

    async def started(worker: Worker) -> None:
        admin.extend(await _admin(settings, worker.unready, worker.scrape))
        http = [each.address for each in admin]
        log.info("serving", listen=worker.server.addresses, http=http, admin=worker.admin_address, workers=1, transport=_transport(settings))

    async def stopping() -> None:
        for each in admin:
            await each.stop()

    return await serve(settings, started=started, stopping=stopping)


async def serve_with_workers(settings: Settings) -> int:
    """A supervisor with ``settings.workers`` processes; the admin port is here."""
    from chronoserve.wire.ports import reserve_port

    reserved = [reserve_port(address) for address in settings.listen]
    settings = msgspec.structs.replace(settings, listen=[address for address, _ in reserved])
    with socket_directory() as directory:
        supervisor = Supervisor(settings, Path(directory))
        admin = await _admin(settings, supervisor.unready, supervisor.scrape)
        running = asyncio.create_task(supervisor.run())
        try:
            if await supervisor.serves():
                log.info("serving", listen=settings.listen, http=[each.address for each in admin], workers=settings.workers, transport=_transport(settings))
            return await running
        finally:
            for each in admin:
                await each.stop()
            for _, holder in reserved:
                if holder is not None:
                    holder.close()


async def serve_under_supervisor(settings: Settings, socket: str) -> int:
    """One of several workers: it answers its supervisor's questions on ``socket``, and drains when the supervisor is gone."""
    from chronoserve.app.worker import Worker, serve

    server: list[asyncio.Server] = []

    async def started(worker: Worker) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            question = (await reader.readline()).strip()
            writer.write(await worker.scrape() + END if question == b"metrics" else msgspec.json.encode(await worker.unready()))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

        def orphaned() -> None:
            """The supervisor holds the other end of standard input, and only its death closes it."""
            loop.remove_reader(sys.stdin.fileno())
            if worker.server.health.serving:
                log.warning("the supervisor is gone")
                os.kill(os.getpid(), signal.SIGTERM)

        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), orphaned)
        server.append(await asyncio.start_unix_server(answer, socket))

    async def stopping() -> None:
        for each in server:
            each.close()

    return await serve(settings, started=started, stopping=stopping)


async def _admin(
    settings: Settings, ready: Callable[[], Awaitable[dict[str, str]]], scrape: Callable[[], Awaitable[bytes]]
) -> list[AdminHttpServer]:
    """The admin port, if one is configured, listening."""
    if not settings.http:
        return []
    server = AdminHttpServer(settings.http, ready=ready, scrape=scrape, configuration=settings.redacted())
    await server.start()
    return [server]


def _transport(settings: Settings) -> str:
    return transports.name(settings.transport)


def settings_from_supervisor() -> Settings:
    """What the supervisor has written to standard input, which it then keeps open for as long as it lives."""
    return msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)

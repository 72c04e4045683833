"""One HTTP port for several workers: the supervisor accepts, and hands connections that want features to the workers.

It looks at a connection's first line without taking it. What asks for the supervisor's own pages stays, so they are answered
whatever the workers do; every other connection goes to one of them with all that is in it, and costs nothing here after that.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from chronoserve.model.errors import InvalidRequest
from chronoserve.wire.http import ADMIN_PATHS

log = structlog.get_logger("chronoserve.http")

Adopt = Callable[[socket.socket], Awaitable[None]]
"""Takes a connection over."""

BACKLOG = 1024
UNDECIDED_MAX = 1024
"""Connections that have not said what they want; one that comes when so many are there is closed."""
FIRST_LINE_SECONDS = 10.0
FIRST_LINE_BYTES_MAX = 2048
"""Whatever has not ended its first line by then is a worker's business."""
PEEK_SECONDS = 0.005
"""How often a line that has only begun is looked at again."""

NO_WORKER = b'{"errors":["no worker takes calls at the moment; try again"]}'
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(NO_WORKER), NO_WORKER)
)


def handover_socket(worker_socket: Path) -> Path:
    """Where a worker takes connections, beside the socket where it answers questions."""
    return worker_socket.with_suffix(".http")


class Door:
    """The port. ``start``, then ``stop`` once."""

    def __init__(self, listen: str, *, own: Adopt, workers: Sequence[Path]) -> None:
        """``own`` takes the connections that want the supervisor's pages; ``workers``: the sockets of ``Guests``."""
        self._listen = listen
        self._own = own
        self._ways = [_Way(path) for path in workers]
        self._next = itertools.cycle(range(len(self._ways)))
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._undecided: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self) -> None:
        """Raises InvalidRequest where the address cannot be listened on."""
        host, _, port = self._listen.rpartition(":")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), family=family, type=socket.SOCK_STREAM)
            self._socket = socket.create_server(found[0][4][:2], family=family, backlog=BACKLOG)
        except (OSError, ValueError, OverflowError) as failed:
            raise InvalidRequest(f"cannot listen on {self._listen} for HTTP: is it taken, or not HOST:PORT of this machine?") from failed
        self._socket.setblocking(False)
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        self._accepting = asyncio.create_task(self._accept(self._socket))

    async def stop(self) -> None:
        tasks = [*self._undecided, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        for way in self._ways:
            way.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as failed:  # out of file descriptors, or the peer is gone already
                log.warning("a connection was not taken", reason=os.strerror(failed.errno or 0))
                await asyncio.sleep(PEEK_SECONDS)
                continue
            if len(self._undecided) >= UNDECIDED_MAX:
                connection.close()
                continue
            connection.setblocking(False)
            task = asyncio.create_task(self._decide(connection))
            self._undecided.add(task)
            task.add_done_callback(self._undecided.discard)

    async def _decide(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(FIRST_LINE_SECONDS):
                line = await _first_line(connection)
        except (OSError, TimeoutError):
            connection.close()
            return
        except BaseException:
            connection.close()
            raise
        if _path(line) in ADMIN_PATHS:
            await self._own(connection)
        else:
            await self._hand_over(connection)

    async def _hand_over(self, connection: socket.socket) -> None:
        """To the next worker that can take it; this process's hold of it ends either way."""
        with contextlib.closing(connection):
            for _ in self._ways:
                if self._ways[next(self._next)].send(connection):
                    return
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(connection, UNAVAILABLE)


class _Way:
    """To one worker. It is found again after the worker was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, connection: socket.socket) -> bool:
        """Hand it over; False where the worker cannot take it. Never waits."""
        for _ in range(2):  # the first failure may be about a worker that was here before
            try:
                way = self._socket or self._connect()
                socket.send_fds(way, [b"\0"], [connection.fileno()])
            except BlockingIOError:
                return False
            except OSError:
                self.close()
            else:
                return True
        return False

    def _connect(self) -> socket.socket:
        way = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        way.setblocking(False)
        try:
            way.connect(str(self._path))
        except OSError:
            way.close()
            raise
        self._socket = way
        return way

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


async def _first_line(connection: socket.socket) -> bytes:
    """The first line, or as much of it as FIRST_LINE_BYTES_MAX holds; it stays in the connection. Raises OSError where it ends before."""
    while True:
        await _readable(connection)
        seen = connection.recv(FIRST_LINE_BYTES_MAX, socket.MSG_PEEK)
        if not seen:
            raise ConnectionError
        if b"\n" in seen or len(seen) == FIRST_LINE_BYTES_MAX:
            return seen
        await asyncio.sleep(PEEK_SECONDS)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())


def _path(line: bytes) -> bytes:
    words = line.split(b" ", 2)
    return words[1].partition(b"?")[0] if len(words) > 2 else b""


class Guests:
    """A worker's side: takes the connections that the supervisor hands over."""

    def __init__(self, path: Path, adopt: Adopt) -> None:
        self._path = path
        self._adopt = adopt
        self._listening: socket.socket | None = None
        self._ways: set[socket.socket] = set()
        self._adopting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """The path may be that of a worker that died."""
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(self._path.unlink)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(self._path))
        self._listening.listen()
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._connected, self._listening)

    def stop(self) -> None:
        """No more connections; those under way go on."""
        loop = asyncio.get_running_loop()
        for each in (*self._ways, *([self._listening] if self._listening else [])):
            loop.remove_reader(each.fileno())
            each.close()
        self._ways.clear()

    def _connected(self, listening: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            way, _ = listening.accept()
            way.setblocking(False)
            self._ways.add(way)
            asyncio.get_running_loop().add_reader(way.fileno(), self._arrived, way)

    def _arrived(self, way: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(way, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            connection.setblocking(False)
            task = asyncio.create_task(self._adopt_one(connection))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)
        if not data:
            asyncio.get_running_loop().remove_reader(way.fileno())
            self._ways.discard(way)
            way.close()

    async def _adopt_one(self, connection: socket.socket) -> None:
        try:
            await self._adopt(connection)
        except OSError:  # it has gone on its way here
            connection.close()

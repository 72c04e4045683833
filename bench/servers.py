"""The servers that are compared, and the Redis behind them, as processes on cores of their own."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench import dataset, machine, tools
from chronoserve.wire import transports
from tests.engines.engine import Process, free_port, listens

READY_SECONDS = 30.0
HEALTH_SECONDS = 1.0

GO = "go"
NAIVE = "naive"
NAIVE_HELD = "naive-held"
TRANSPORT = "transport"
TRANSPORT_GRPCIO = "transport-grpcio"
ECHOES = (TRANSPORT, TRANSPORT_GRPCIO)
OURS = "chronoserve"
ON_GRPCIO = "chronoserve-grpcio"
SHORT_QUEUE = "chronoserve-short-queue"
SHORT_QUEUE_STREAMS = 24
"""Of a connection."""
SHORT_QUEUE_CALLS = 16
"""In the stores at a time."""
BARE = "chronoserve-bare"
LMDB = "chronoserve-lmdb"

DEFAULT_TRANSPORT = transports.name("auto")
"""What a server of this environment runs on where nobody says otherwise: the bars are judged on it."""

LABELS = {
    OURS: f"chronoserve ({DEFAULT_TRANSPORT})",
    ON_GRPCIO: "chronoserve on grpcio",
    BARE: "chronoserve, layers off",
    LMDB: "chronoserve on LMDB",
    GO: "Go peer (grpc-go, rueidis)",
    NAIVE: f"naive Python (grpcio {tools.NEWEST_GRPCIO})",
    NAIVE_HELD: "naive Python (our grpcio)",
    TRANSPORT: f"transport alone ({DEFAULT_TRANSPORT}, echo)",
    TRANSPORT_GRPCIO: "transport alone (our grpcio, echo)",
}


class Server(Process):
    """One server that listens on a loopback port."""

    def __init__(self, command: Sequence[str | Path], port: int, log: Path, env: dict[str, str] | None = None) -> None:
        self.port = port
        super().__init__(machine.pinned(machine.SERVER_CORE, list(command)), log=log, env=env)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait_for_exit(self, seconds: float) -> None:
        """Wait for a server that was told to end.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``seconds``.
        """
        self._process.wait(seconds)


class Redis(Process):
    """Without persistence, on the client's core."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        command: list[str | Path] = [
            tools.redis_server(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        super().__init__(machine.pinned(machine.CLIENT_CORE, command), log=directory / "redis.log", cwd=directory)
        self.wait_until(lambda: listens(self.port), seconds=READY_SECONDS)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


def serving(target: str) -> bool:
    """Whether the server's health service says so."""
    # a channel with a connection of its own: shared ones sit out a backoff after the server was away
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@dataclass(frozen=True, slots=True)
class _Kind:
    """``command``: from the port to listen on; ``store``: the URL of the store to fill through the server, if any."""

    command: Callable[[int], Sequence[str | Path]]
    store: str = ""
    env: dict[str, str] | None = None


class Fleet:
    """Starts each server when it is first asked for, with its data in place, and keeps it until the end."""

    def __init__(self, directory: Path, redis: Redis) -> None:
        self._directory = directory
        self._redis = redis
        self._running: dict[str, Server] = {}
        self._filled: set[str] = set()
        self._kinds = self._all_kinds()

    def _all_kinds(self) -> dict[str, _Kind]:
        redis, lmdb = self._redis.url, f"lmdb://{self._directory / 'lmdb'}"
        short_queue = {"streams_per_connection_max": SHORT_QUEUE_STREAMS, "inflight_calls_max": SHORT_QUEUE_CALLS}
        naive, echo = tools.HERE / "peers" / "naive.py", (sys.executable, tools.HERE / "peers" / "echo.py")
        return {
            OURS: _Kind(lambda port: self._serve(port, redis), redis),
            ON_GRPCIO: _Kind(lambda port: [*self._serve(port, redis), "--transport", "grpcio"], redis),
            SHORT_QUEUE: _Kind(lambda port: [*self._serve(port, redis), *self._limits(short_queue)], redis),
            BARE: _Kind(lambda port: [*self._serve(port, redis), "--without-layers"], redis),
            LMDB: _Kind(lambda port: self._serve(port, lmdb), lmdb),
            GO: _Kind(lambda port: [tools.go_peer(), "-listen", f"127.0.0.1:{port}", "-redis", f"127.0.0.1:{self._redis.port}"]),
            NAIVE: _Kind(
                lambda port: [tools.newest_grpcio_python(), naive, "--listen", f"127.0.0.1:{port}", "--redis", redis],
                env={"PYTHONPATH": str(tools.ROOT / "server")},
            ),
            NAIVE_HELD: _Kind(lambda port: [sys.executable, naive, "--listen", f"127.0.0.1:{port}", "--redis", redis]),
            TRANSPORT: _Kind(lambda port: [*echo, "--listen", f"127.0.0.1:{port}", "--transport", DEFAULT_TRANSPORT]),
            TRANSPORT_GRPCIO: _Kind(lambda port: [*echo, "--listen", f"127.0.0.1:{port}", "--transport", "grpcio"]),
        }

    def _limits(self, limits: dict[str, int]) -> list[str | Path]:
        """Words for a server with these limits, such as those of docs/decisions/0006-overload.md."""
        config = self._directory / "limits.toml"
        config.write_text("[limits]\n" + "".join(f"{name} = {limit}\n" for name, limit in limits.items()))
        return ["--config", config]

    @staticmethod
    def _serve(port: int, store: str) -> list[str | Path]:
        listen = ["--listen", f"127.0.0.1:{port}", "--http", "off"]
        return [tools.chronoserve(), "serve", *listen, "--store", store, "--workers", "1"]

    def fresh(self, name: str, port: int | None = None) -> Server:
        """A new process of the server that the caller ends; its data is in the store."""
        kind, port = self._kinds[name], port or free_port()
        server = Server(kind.command(port), port, self._directory / f"{name}.log", kind.env)
        ready = (lambda: serving(server.target)) if kind.store else (lambda: listens(port))
        server.wait_until(ready, seconds=READY_SECONDS)
        if kind.store and kind.store not in self._filled:
            dataset.load_server(server.target)
            self._filled.add(kind.store)
        return server

    def get(self, name: str) -> Server:
        if name not in self._running:
            self._running[name] = self.fresh(name)
        return self._running[name]

    def release(self) -> None:
        """Stop all servers of ``get``; later ones start again with the same data."""
        for server in self._running.values():
            server.stop()
        self._running.clear()


def leave_the_servers_core() -> None:
    """Keep this process away from the core of the servers.

    Raises:
        RuntimeError: the machine has one core only.
    """
    if len(os.sched_getaffinity(0)) < machine.CORES_MIN:
        raise RuntimeError("the benchmark needs two cores: one for the server and one for Redis and the client")
    os.sched_setaffinity(0, {machine.CLIENT_CORE})

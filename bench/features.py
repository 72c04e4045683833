"""Features: the recorded workloads over gRPC beside the JVM's figures, a wide join from Redis, and the memory of many joins.

The JVM's figures were measured elsewhere and are carried here by the Go peer: recorded are multiples of its MultiGet of 10, which
is measured in the same rounds (tests/golden/bench/README.md).
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from bench import bars, machine, recorded, servers, tools, wide
from bench.bars import Bar
from bench.client import LoadClient
from bench.grid import CALLERS, CONNECTIONS, unary
from bench.grid import measure as measure_point
from bench.recorded import Workload
from bench.servers import Fleet, Server
from chronoserve_client import Client, Encoding
from chronoserve_client._fetches import fetch_message
from tests.engines.engine import free_port

METHOD = "/chronoserve.v1.Fetcher/FetchJoins"
TRANSPORTS = ("grpcio", "native")
PURE = TRANSPORTS[0]
"""Nothing but Python of ours: what the wide join and the memory are judged on."""
BATCHES = (1, 10)
QUESTIONS = {1: 1000, 10: 300}
WARM_UP_SECONDS = 2.0

JVM_HTTP_TIMES_MAX = {"bench_w4_heavy": 1.5}
"""Beyond the JVM's HTTP service; 1 where nothing is said."""
JVM_IN_PROCESS_TIMES_MAX = 2.5

WIDE_GROUP_BYS = 10
WIDE_USERS = 1000
WIDE_TIMES_MAX = 450 / 128
"""Of our own MultiGet of 1 from the same Redis (spec/performance.md §5)."""

LOADED_JOINS, LOADED_GROUP_BYS = 200, 20
LOADED_MIB_MAX = 400.0
ROWS_OF_CALL = 50


@dataclass(frozen=True, slots=True, order=True)
class Load:
    """One thing to measure: a join, fetched so many rows a call, on a transport."""

    workload: str
    rows: int
    transport: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians of the rounds: server CPU for each row."""

    load: Load
    cpu_us: float
    p50_us: float
    rows_per_s: float


@dataclass(slots=True)
class Features:
    """``go_us``: CPU of the Go peer's MultiGet of 10; ``checked``: rows that were equal to the JVM's before anything was timed."""

    go_us: float
    checked: int
    figures: list[Figure]
    described: dict[str, tuple[str, int]]
    """Description and number of features by workload."""
    wide_us: float = 0.0
    multi_get_us: float = 0.0
    loaded_mib: float = 0.0


class Trial:
    """All of it, on servers of its own."""

    def __init__(self, fleet: Fleet, redis_url: str, client: LoadClient, directory: Path, tell: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._redis_url = redis_url
        self._client = client
        self._directory = directory
        self._tell = tell

    def _serve(self, transport: str, store: str) -> Server:
        port = free_port()
        words = ["serve", "--listen", f"127.0.0.1:{port}", "--http", "off", "--store", store, "--workers", "1"]
        command: list[str | Path] = [tools.chronoserve(), *words, "--transport", transport]
        server = Server(command, port, self._directory / f"features-{transport}-{port}.log")
        server.wait_until(lambda: servers.serving(server.target), seconds=servers.READY_SECONDS)
        return server

    def run(self, rounds: int, seconds: float) -> Features:
        """Everything, the rounds of all servers interleaved."""
        found = self._recorded(rounds, seconds)
        found.wide_us, found.multi_get_us = self._wide(rounds, seconds)
        found.loaded_mib = self._loaded()
        return found

    # the recorded workloads

    def _recorded(self, rounds: int, seconds: float) -> Features:
        world = recorded.recorded()
        running: dict[str, Server] = {}
        samples: dict[Load, list[tuple[float, float, float]]] = defaultdict(list)
        go: list[float] = []
        try:
            for transport in TRANSPORTS:
                self._tell(f"features: loading {len(world.puts):,} values, {transport}")
                running[transport] = self._serve(transport, "memory://")
                recorded.load(running[transport].target, world.puts)
            checked = sum(recorded.check(server.target, world.workloads) for server in running.values())
            files = self._files(running[PURE], world.workloads)
            loads = [Load(each.name, rows, transport) for each in world.workloads for rows in BATCHES for transport in TRANSPORTS]
            for load in loads:
                self._ask(running[load.transport], files[load.workload, load.rows], min(seconds, WARM_UP_SECONDS))
            for number in range(rounds):
                go.append(measure_point(self._fleet, self._client, unary(servers.GO, 10), seconds).cpu_us)
                for load in loads:
                    self._tell(f"features: round {number + 1} of {rounds}: {load.workload}, {load.rows} rows, {load.transport}")
                    samples[load].append(self._ask(running[load.transport], files[load.workload, load.rows], seconds))
        finally:
            for server in running.values():
                server.stop()
        figures = [_figure(load, found) for load, found in samples.items()]
        return Features(median(go), checked, figures, {each.name: (each.description, each.features) for each in world.workloads})

    def _files(self, server: Server, workloads: Sequence[Workload]) -> dict[tuple[str, int], Path]:
        """Requests with the bytes of their answers, which are the same on every transport."""
        draw = random.Random(1)
        files = {}
        for workload in workloads:
            for rows in BATCHES:
                requests = [workload.requests(draw.choices(workload.keys, k=rows)) for _ in range(QUESTIONS[rows])]
                files[workload.name, rows] = self._file(server, f"{workload.name}-{rows}", requests)
        return files

    def _file(self, server: Server, name: str, requests: Sequence[Any]) -> Path:
        bodies = [fetch_message(each, Encoding.MAP, freshness=False).SerializeToString() for each in requests]
        with grpc.insecure_channel(server.target) as channel:
            call = channel.unary_unary(METHOD)
            for body in bodies[:10]:  # layouts settle after a few calls
                call(body, timeout=recorded.CALL_SECONDS)
            answers = [call(body, timeout=recorded.CALL_SECONDS) for body in bodies]
        return recorded.keep_questions(self._directory / f"{name}.questions", zip(bodies, answers, strict=True))

    def _ask(self, server: Server, questions: Path, seconds: float) -> tuple[float, float, float]:
        """Server CPU and p50 of a call in microseconds, and calls a second.

        Raises:
            RuntimeError: a call failed, or its answer was not the right one.
        """
        options: dict[str, str | float] = {"method": METHOD, "questions": str(questions), "callers": CALLERS, "connections": CONNECTIONS}
        before = machine.cpu_us(server.pid)
        answer = self._client.run(server.target, seconds, **options)
        spent = machine.cpu_us(server.pid) - before
        if answer.failures or not answer.ok:
            raise RuntimeError(f"{questions.stem}: {answer.ok} calls were answered, others failed: {answer.failures}")
        return spent / answer.ok, answer.latency.p50_us, answer.ok_per_s

    # a wide join from Redis

    def _wide(self, rounds: int, seconds: float) -> tuple[float, float]:
        """CPU of a fetch of 200 features, and of our MultiGet of 1 from the same Redis, on the pure transport."""
        self._tell("features: a join of 200 features from Redis")
        server = self._serve(PURE, self._redis_url)
        try:
            names = [f"wide.g{n}" for n in range(WIDE_GROUP_BYS)]
            puts = [*map(wide.serving_info, names), wide.join("wide/join.v1", names), *wide.values(names, WIDE_USERS)]
            recorded.load(server.target, puts)
            requests = [[("wide/join.v1", {"user": f"user_{n}"}, wide.AT_MILLIS)] for n in range(WIDE_USERS)]
            file = self._file(server, "wide", requests)
            self._fleet.get(servers.OURS)  # it has filled the dataset that MultiGet reads
            self._ask(server, file, min(seconds, WARM_UP_SECONDS))
            fetches, gets = [], []
            for _ in range(rounds):
                fetches.append(self._ask(server, file, seconds)[0])
                before = machine.cpu_us(server.pid)
                answer = self._client.run(server.target, seconds, keys=1, callers=CALLERS, connections=CONNECTIONS)
                if answer.failures or not answer.ok:
                    raise RuntimeError(f"MultiGet of 1: others failed: {answer.failures}")
                gets.append((machine.cpu_us(server.pid) - before) / answer.ok)
        finally:
            server.stop()
        return median(fetches), median(gets)

    # many joins

    def _loaded(self) -> float:
        """Memory of a worker that has answered every one of the joins, and whose cache of batch IRs is as full as the workloads make it.

        The store is Redis: what LMDB maps would count as the worker's.
        """
        self._tell(f"features: memory with {LOADED_JOINS} joins of {LOADED_GROUP_BYS} group bys")
        world = recorded.recorded()
        server = self._serve(PURE, self._redis_url)
        try:
            names = [f"wide.j{n}" for n in range(LOADED_JOINS)]
            groups = {name: [f"{name}_g{n}" for n in range(LOADED_GROUP_BYS)] for name in names}
            every = [each for found in groups.values() for each in found]
            puts = [*map(wide.serving_info, every), *(wide.join(f"wide/{name}", groups[name]) for name in names)]
            recorded.load(server.target, puts)
            recorded.load(server.target, list(wide.values(every, 1)))
            recorded.load(server.target, world.puts)
            with Client(server.target, timeout=recorded.CALL_SECONDS) as client:
                for workload in world.workloads:
                    for start in range(0, len(workload.keys), ROWS_OF_CALL):
                        client.fetch_joins(workload.requests(workload.keys[start : start + ROWS_OF_CALL]))
                for _ in range(4):  # until layouts are compiled
                    for name in names:
                        (row,) = client.fetch_joins([(f"wide/{name}", {"user": "user_0"}, wide.AT_MILLIS)])
                        if len(row.features) != LOADED_GROUP_BYS * wide.FEATURES_OF_GROUP_BY:
                            raise RuntimeError(f"wide/{name} has {len(row.features)} features: {row.error} {dict(row.part_errors)}")
            return machine.resident_mib(server.pid)
        finally:
            server.stop()


def _figure(load: Load, rounds: Sequence[tuple[float, float, float]]) -> Figure:
    cpu_us, p50_us, per_s = (median(values) for values in zip(*rounds, strict=True))
    return Figure(load, cpu_us / load.rows, p50_us, per_s * load.rows)


def judge(found: Features) -> list[Bar]:
    """The bars of issue 4."""
    judged = []
    for figure in found.figures:
        name, rows = figure.load.workload, figure.load.rows
        times = JVM_HTTP_TIMES_MAX.get(name, 1.0) if rows == 1 else JVM_IN_PROCESS_TIMES_MAX
        jvm = (recorded.JVM_HTTP_OF_GO if rows == 1 else recorded.JVM_IN_PROCESS_OF_GO)[name] * found.go_us
        label = f"{name}, {rows} {'row' if rows == 1 else 'rows'} a call, CPU a row, transport {figure.load.transport}"
        judged.append(bars.at_most(label, figure.cpu_us, times * jvm, "{:.0f} µs"))
    ratio = found.wide_us / found.multi_get_us
    judged.append(bars.at_most("join of 200 features from Redis, against our MultiGet of 1", ratio, WIDE_TIMES_MAX, "{:.2f} x"))
    name = f"memory with {LOADED_JOINS} joins of {LOADED_GROUP_BYS} group bys"
    judged.append(bars.at_most(name, found.loaded_mib, LOADED_MIB_MAX, "{:.0f} MiB"))
    return judged


COLUMNS = ("workload", "features", "rows a call", "native", "pure Python", "JVM HTTP service", "JVM in process")


def rows(found: Features) -> list[tuple[str, ...]]:
    """CPU µs a row, with the JVM's figures as the Go peer carries them to this machine."""
    by_load = {figure.load: figure.cpu_us for figure in found.figures}
    table = []
    for name, (_, features) in found.described.items():
        for count in BATCHES:
            ours = [f"{by_load[Load(name, count, transport)]:.0f}" for transport in ("native", PURE)]
            http = f"{recorded.JVM_HTTP_OF_GO[name] * found.go_us:.0f}" if count == 1 else ""
            inside = f"{recorded.JVM_IN_PROCESS_OF_GO[name] * found.go_us:.0f}" if count != 1 else ""
            table.append((name.removeprefix("bench_"), str(features), str(count), *ours, http, inside))
    return table

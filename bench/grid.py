"""Closed loops: which server, which call, how many keys, how many callers; measured in interleaved rounds."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from bench import machine
from bench.client import LoadClient
from bench.servers import ECHOES, Fleet

CALLERS = 50
CONNECTIONS = 4
WARM_UP_SECONDS = 1.0

UNARY = "unary"
STREAM = "stream"
PIPELINED = "pipelined"

STREAMS, UNDER_WAY = 4, 12
"""Of a pipelined load: a stream a connection, as a client library keeps one for all that its process asks, and no more messages
under way than there are callers of unary calls."""


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One thing to measure."""

    mode: str
    keys: int
    callers: int
    server: str

    @property
    def name(self) -> str:
        return f"{self.server}/{self.mode}/{self.keys}/{self.callers}"


def unary(server: str, keys: int, callers: int = CALLERS) -> Point:
    return Point(UNARY, keys, callers, server)


def stream(server: str, keys: int) -> Point:
    """As many streams as callers, each with one message under way."""
    return Point(STREAM, keys, CALLERS, server)


def pipelined(server: str, keys: int) -> Point:
    """Few streams, each with several messages under way."""
    return Point(PIPELINED, keys, STREAMS * UNDER_WAY, server)


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one point. ``cpu_us``: time of the server's processes for each call (each message on a stream)."""

    cpu_us: float
    calls_per_s: float
    p50_us: float
    p99_us: float
    client_cpu_us: float


Samples = dict[Point, list[Sample]]


def measure(fleet: Fleet, client: LoadClient, point: Point, seconds: float) -> Sample:
    """One round.

    Raises:
        RuntimeError: a call failed, or its answer was wrong: speed without answers is no result.
    """
    server = fleet.get(point.server)
    options: dict[str, str | float] = {"mode": point.mode, "keys": point.keys, "callers": point.callers, "connections": CONNECTIONS}
    if point.mode == PIPELINED:
        options |= {"mode": STREAM, "callers": STREAMS, "under_way": UNDER_WAY}
    if point.server in ECHOES:
        options["check"] = "false"
    before = machine.cpu_us(server.pid)
    answer = client.run(server.target, seconds, **options)
    spent = machine.cpu_us(server.pid) - before
    if answer.failures or not answer.ok:
        raise RuntimeError(f"{point.name}: {answer.ok} calls were answered, others failed: {answer.failures}")
    return Sample(spent / answer.ok, answer.ok_per_s, answer.latency.p50_us, answer.latency.p99_us, answer.client_cpu_us)


def run(fleet: Fleet, client: LoadClient, points: Iterable[Point], *, rounds: int, seconds: float, tell: Callable[[str], None]) -> Samples:
    """Measure every point once a round, the servers of one kind of call next to each other."""
    ordered = sorted(set(points))
    samples: Samples = defaultdict(list)
    for server in sorted({point.server for point in ordered}):
        tell(f"warming up {server}")
        client.run(fleet.get(server).target, WARM_UP_SECONDS)
    for number in range(rounds):
        for point in ordered:
            tell(f"round {number + 1} of {rounds}: {point.name}")
            samples[point].append(measure(fleet, client, point, seconds))
    return dict(samples)


def middle(samples: Iterable[Sample]) -> Sample:
    """The median of each figure."""
    rows = list(samples)
    return Sample(
        cpu_us=median(row.cpu_us for row in rows),
        calls_per_s=median(row.calls_per_s for row in rows),
        p50_us=median(row.p50_us for row in rows),
        p99_us=median(row.p99_us for row in rows),
        client_cpu_us=median(row.client_cpu_us for row in rows),
    )

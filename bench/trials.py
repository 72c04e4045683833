"""What a closed loop cannot show: overload, memory, restarts under load, and the load of ghz through reflection."""

import base64
import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import bars, dataset, machine, servers, tools
from bench.bars import Bar
from bench.client import Answer, LoadClient, parse, total
from bench.grid import CALLERS, CONNECTIONS
from bench.servers import Fleet, Server

KEYS = 10
"""Keys of a call in every trial here."""

IDLE_MIB_MAX = 90.0
GROWTH_MIB_MAX = 256.0

OVERLOAD_TIMES = 10
OVERLOAD_KEYS = 100
"""A call that costs the server more than it costs the client and Redis, who share a core: with ten keys the native transport makes
the client the bottleneck, and the trial would show how the client bears its own overload."""
OVERLOAD_DEADLINE = "1s"
UNDER_WAY_SECONDS = 0.25
"""The client lets as many calls be under way as the peak answers in this time, most of them waiting there for a stream. gRPC gives
streams to the oldest call first: with a longer queue each would get one when its deadline ends."""

PEAK_SECONDS = 10.0
DUE_TIMES_MIN = 9.5
"""A client that kept up with less did not show the overload, and the other figures of the trial say nothing."""

GOODPUT_MIN = 0.70
P99_TIMES_MAX = 3.0

RESTARTS = 20
RESTART_CALLS_MIN = 100_000
RESTART_CALLERS = 50
RESTART_CALLS_PER_S = 2000.0
"""Of one worker at least; it sets how long the server runs between two restarts."""

RESTART_DEADLINE = "60s"
EXIT_SECONDS_MAX = 15.0

GHZ_MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class Overload:
    idle_mib: float
    peak_mib: float
    at_peak: Answer
    flooded: Answer


def overload(fleet: Fleet, client: LoadClient, seconds: float, tell: Callable[[str], None], *, connections: int) -> Overload:
    """Ten times the calls that one worker answers, whatever it answers, after its peak was measured."""
    server = fleet.fresh(servers.SHORT_QUEUE)
    try:
        client.run(server.target, 1.0, keys=OVERLOAD_KEYS)
        idle = machine.resident_mib(server.pid)
        tell("overload: the peak")
        at_peak = client.run(server.target, PEAK_SECONDS, keys=OVERLOAD_KEYS, callers=CALLERS, connections=CONNECTIONS)
        rate = at_peak.ok_per_s * OVERLOAD_TIMES
        tell(f"overload: {rate:.0f} calls a second for {seconds:.0f} s")
        options: dict[str, str | float] = {
            "connections": connections,
            "deadline": OVERLOAD_DEADLINE,
            "rate": rate,
            "under_way_max": int(at_peak.ok_per_s * UNDER_WAY_SECONDS),
        }
        flooded = client.run(server.target, seconds, mode="open", keys=OVERLOAD_KEYS, **options)
        return Overload(idle, machine.resident_peak_mib(server.pid), at_peak, flooded)
    finally:
        server.stop()


def overload_bars(found: Overload) -> list[Bar]:
    """Of a server whose limit of streams holds the excess at the clients, and whose admission refuses some of the rest."""
    flooded, opened = found.flooded, found.flooded.open
    assert opened is not None, "an open loop says so"
    goodput = flooded.ok_per_s / found.at_peak.ok_per_s
    p99_times = flooded.latency.p99_us / found.at_peak.latency.p99_us
    due = opened.offered / flooded.seconds / found.at_peak.ok_per_s
    held = (opened.not_sent + opened.held_at_client) / opened.offered
    from_due_ms = opened.latency_from_due.p99_us / 1000
    told, refused = opened.refused - opened.refused_without_retry_info, opened.refused
    silent = total(opened.health.failures)
    return [
        bars.at_most("memory of an idle worker", found.idle_mib, IDLE_MIB_MAX, "{:.0f} MiB"),
        bars.at_most("memory added under overload", found.peak_mib - found.idle_mib, GROWTH_MIB_MAX, "{:.0f} MiB"),
        bars.at_least("overload: calls due, against the peak", due, DUE_TIMES_MIN, "{:.1f} x"),
        Bar("overload: calls held at the client", f"{held:.0%}", "no bar", held=None),
        bars.at_least("overload: answered calls against the peak", goodput, GOODPUT_MIN, "{:.0%}"),
        bars.at_most("overload: p99 of answered calls from when they left, against the peak's", p99_times, P99_TIMES_MAX, "{:.1f} x"),
        Bar("overload: p99 of answered calls from when they were due", f"{from_due_ms:.0f} ms", "no bar", held=None),
        Bar("overload: refusals with RetryInfo", f"{told:,} of {refused:,}", "all, and > 0", told == refused > 0),
        Bar("overload: p99 of refusals", f"{opened.refused_latency.p99_us / 1000:.0f} ms", "no bar", held=None),
        Bar("overload: health checks not answered", f"{silent} of {opened.health.checks}", "0", silent == 0),
    ]


@dataclass(frozen=True, slots=True)
class Restarts:
    restarts: int
    exit_seconds_max: float
    answer: Answer


def _restart(fleet: Fleet, server: Server) -> tuple[Server, float]:
    """End the server in order and start its successor on the same port; the seconds that the end took."""
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    server.wait_for_exit(EXIT_SECONDS_MAX)
    took = time.monotonic() - began
    return fleet.fresh(servers.OURS, server.port), took


def restarts(fleet: Fleet, client: LoadClient, tell: Callable[[str], None], *, count: int = RESTARTS) -> Restarts:
    """SIGTERM under load, again and again. Callers wait for a connection, and no call is made twice."""
    running_seconds = 1.3 * RESTART_CALLS_MIN / RESTARTS / RESTART_CALLS_PER_S
    server = fleet.fresh(servers.OURS)
    options: dict[str, str | float] = {"wait_for_ready": "true", "deadline": RESTART_DEADLINE, "callers": RESTART_CALLERS, "keys": 1}
    load = client.start(server.target, 3600.0, connections=CONNECTIONS, **options)
    longest = 0.0
    try:
        for number in range(count):
            time.sleep(running_seconds)
            tell(f"restart {number + 1} of {count}")
            server, took = _restart(fleet, server)
            longest = max(longest, took)
        time.sleep(running_seconds)
        load.terminate()
        output, _ = load.communicate(timeout=120)
    finally:
        load.kill()
        server.stop()
    return Restarts(count, longest, parse(output))


def restart_bars(found: Restarts) -> list[Bar]:
    failed = total(found.answer.failures)
    calls, needed = found.answer.ok + failed, RESTART_CALLS_MIN * found.restarts // RESTARTS
    name = f"failed calls over {found.restarts} restarts by SIGTERM, callers wait for a connection"
    return [Bar(name, f"{failed} of {calls:,}", f"0 of ≥ {needed:,}", failed == 0 and calls >= needed)]


@dataclass(frozen=True, slots=True)
class GhzRun:
    """``cpu_us``: of the server for each call; latencies as ghz saw them, in microseconds."""

    server: str
    calls: int
    cpu_us: float
    p50_us: float
    p99_us: float


def _ghz_messages(path: Path) -> Path:
    step = dataset.KEYS // (GHZ_MESSAGES * KEYS)
    numbers = [range(start * KEYS * step, (start + 1) * KEYS * step, step) for start in range(GHZ_MESSAGES)]
    requests = [[{"keyBytes": base64.b64encode(dataset.key(n)).decode(), "dataset": dataset.NAME} for n in keys] for keys in numbers]
    path.write_text(json.dumps([{"requests": each} for each in requests]))
    return path


def ghz(fleet: Fleet, directory: Path, name: str, seconds: float) -> GhzRun:
    """MultiGet of 10 by ghz, which learns the messages from the server's reflection.

    Raises:
        RuntimeError: a call failed.
    """
    server = fleet.get(name)
    data = _ghz_messages(directory / "ghz.json")
    what = ["--insecure", "--call", "chronoserve.v1.KVStore.MultiGet", "--data-file", str(data)]
    how = ["-c", str(CALLERS), "--connections", str(CONNECTIONS), "-z", f"{seconds}s", "--duration-stop", "wait", "-O", "json"]
    before = machine.cpu_us(server.pid)
    command = machine.pinned(machine.CLIENT_CORE, [tools.ghz(), *what, *how, server.target])
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=seconds + 120)
    spent = machine.cpu_us(server.pid) - before
    found = json.loads(done.stdout)
    spread = {row["percentage"]: row["latency"] / 1000 for row in found["latencyDistribution"]}
    counts = dict(found["statusCodeDistribution"])
    calls = counts.pop("OK", 0)
    if counts or not calls:
        raise RuntimeError(f"ghz against {name}: {calls} calls were answered, others failed: {counts}")
    return GhzRun(name, calls, spent / calls, spread[50], spread[99])

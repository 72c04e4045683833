"""The load client (``bench/load``, in Go) from Python: one run, its answer as values."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import dataset, machine

SLACK_SECONDS = 60.0
"""A run that takes this much longer than asked for hangs."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds."""

    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class Failure:
    """What was seen of one status. ``example``: a message that came with it."""

    count: int
    example: str


Failures = dict[str, Failure]
"""By the name of the status."""


def total(failures: Failures) -> int:
    return sum(failure.count for failure in failures.values())


@dataclass(frozen=True, slots=True)
class Health:
    """``checks``: answered or not; ``failures``: those that were not answered with SERVING within a second."""

    checks: int
    failures: Failures
    latency: Latency


@dataclass(frozen=True, slots=True)
class Open:
    """The part of an answer that only an open loop has; ``bench/load/open.go`` describes the fields."""

    rate_per_s: float
    offered: int
    not_sent: int
    held_at_client: int
    latency_from_due: Latency
    refused: int
    refused_without_retry_info: int
    refused_latency: Latency
    health: Health


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client saw. ``ok``: calls with the right answer; a wrong one is a failure of status DataLoss."""

    ok: int
    seconds: float
    ok_per_s: float
    failures: Failures
    latency: Latency
    client_cpu_us: float
    open: Open | None = None


def _failures(found: dict[str, Any] | None) -> Failures:
    return {name: Failure(**failure) for name, failure in (found or {}).items()}


def _health(found: dict[str, Any]) -> Health:
    return Health(found["checks"], _failures(found["failures"]), Latency(**found["latency"]))


def _open(found: dict[str, Any]) -> Open:
    latencies = {name: Latency(**found[name]) for name in ("latency_from_due", "refused_latency")}
    return Open(**{**found, **latencies, "health": _health(found["health"])})


def parse(text: str | bytes) -> Answer:
    """The JSON object that the client prints."""
    found = json.loads(text)
    del found["mode"]
    opened = _open(found.pop("open")) if "open" in found else None
    return Answer(**{**found, "failures": _failures(found["failures"]), "latency": Latency(**found["latency"])}, open=opened)


@dataclass(frozen=True, slots=True)
class LoadClient:
    """Runs on the client's core. ``options`` are the flags of the binary, without their dashes."""

    binary: Path

    def _command(self, target: str, seconds: float, options: dict[str, str | float]) -> list[str]:
        flags = {
            "target": target,
            "for": f"{seconds}s",
            "dataset": dataset.NAME,
            "key-space": dataset.KEYS,
            "value-bytes": dataset.VALUE_BYTES,
        }
        words = [f"-{name}={value}" for name, value in {**flags, **options}.items()]
        return [str(word) for word in machine.pinned(machine.CLIENT_CORE, [self.binary, *words])]

    def run(self, target: str, seconds: float, **options: str | float) -> Answer:
        """Load ``target`` and wait for the end."""
        command = self._command(target, seconds, {name.replace("_", "-"): value for name, value in options.items()})
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=seconds + SLACK_SECONDS)
        return parse(done.stdout)

    def start(self, target: str, seconds: float, **options: str | float) -> "subprocess.Popen[bytes]":
        """Load ``target`` in the background; SIGTERM ends it in order, ``parse`` reads its output."""
        command = self._command(target, seconds, {name.replace("_", "-"): value for name, value in options.items()})
        return subprocess.Popen(command, stdout=subprocess.PIPE)

"""A server in a process of its own: what it listens on, what it says, and its end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from chronoserve.v1 import kv_pb2_grpc

START_SECONDS = 30.0
STOP_SECONDS = 20.0
HAPPENS_SECONDS = 15.0
"""Within which something that is about to happen must have happened; a busy machine is no defect."""
POLL_SECONDS = 0.02


class RunningServer:
    """``python -m chronoserve serve WORDS``, started and listening."""

    def __init__(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chronoserve", "serve", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.serving = self.event("serving", START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self._lines.extend(lines)

    @property
    def log(self) -> str:
        """What it has said so far on standard error."""
        return "".join(list(self._lines))

    def events(self, name: str) -> list[dict[str, Any]]:
        """The entries of its log with this ``event``, oldest first."""
        entries = [json.loads(line) for line in list(self._lines) if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == name]

    def event(self, name: str, seconds: float = HAPPENS_SECONDS) -> dict[str, Any]:
        """Wait for an entry and answer the first."""
        eventually(lambda: bool(self.events(name)) or self.process.poll() is not None, f"log entry {name!r}", seconds)
        found = self.events(name)
        assert found, f"the server ended without {name!r}: {self.log}"
        return found[0]

    @property
    def address(self) -> str:
        return str(self.serving["listen"][0])

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the HTTP admin port."""
        try:
            with urllib.request.urlopen(f"http://{self.serving['http'][0]}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to drain, and wait; the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit code; a server that does not end within STOP_SECONDS is killed and the test fails."""
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end: {self.log}") from None
        self._reader.join()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(STOP_SECONDS)


def eventually(condition: Callable[[], bool], what: str, seconds: float = HAPPENS_SECONDS) -> None:
    """Poll until ``condition`` holds; for tests without a loop."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(POLL_SECONDS)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kv_stub(channel: Any) -> Any:
    """The generated stub, whose types nobody has written down."""
    stub: Any = kv_pb2_grpc.KVStoreStub
    return stub(channel)

"""Several workers on one address over SO_REUSEPORT, and one process that watches them and holds the HTTP port.

The supervisor never imports grpc: workers are started afresh, not forked, so no thread or channel crosses a fork. Each
worker gets its settings on standard input (they may hold secrets, and arguments are visible to everybody), which stays open
so that the worker learns of the supervisor's death, and answers questions on a Unix socket of its own.
"""

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from chronoserve.app.questions import ANSWER_SECONDS, END, Answers, ask
from chronoserve.app.settings import Settings
from chronoserve.kvstore.layers.hot_keys import HotReport, merged

log = structlog.get_logger("chronoserve.supervisor")

RESTART_SECONDS = 0.2
"""Pause before a dead worker is started again; after too many deaths RESTART_SECONDS_LATER."""
RESTART_SECONDS_LATER = 5.0
DEATHS_MAX = 5
DEATHS_WINDOW_SECONDS = 60.0
"""More than DEATHS_MAX in this time: the server says that it is not ready."""
START_CHECK_SECONDS = 0.05
"""How often the workers are asked whether they listen, until they do."""
HOT_KEYS_MAX = 100
DRAIN_EXTRA_SECONDS = 3.0
"""What a worker gets beyond its drain before it is killed."""


class WorkerProcess:
    """One worker, started again whenever it dies."""

    def __init__(self, index: int, settings: Settings, directory: Path) -> None:
        self.index = index
        self.socket = directory / f"worker-{index}.sock"
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.deaths: deque[float] = deque(maxlen=DEATHS_MAX + 1)

    async def run(self, stopping: asyncio.Event) -> int:
        """Keep one process alive until ``stopping``; the last exit code."""
        while True:
            self._process = await self._start()
            if stopping.is_set():
                self.signal(signal.SIGTERM)
            code = await self._process.wait()
            if stopping.is_set():
                return code
            self.deaths.append(time.monotonic())
            log.error("a worker died", worker=self.index, exit_code=code, pid=self._process.pid)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), RESTART_SECONDS_LATER if self.failing else RESTART_SECONDS)
            if stopping.is_set():
                return code

    async def _start(self) -> asyncio.subprocess.Process:
        """In a session of its own: Ctrl-C in a terminal is for the supervisor, which then tells the workers once."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "chronoserve", "serve", "--worker-socket", str(self.socket)),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None
        if not process.stdin.is_closing():  # it may be dead already: then its exit code tells, and uvloop would raise here
            process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        return process

    @property
    def failing(self) -> bool:
        """Whether it has died too often lately."""
        recent = [death for death in self.deaths if death > time.monotonic() - DEATHS_WINDOW_SECONDS]
        return len(recent) >= DEATHS_MAX

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ask(self, question: str) -> bytes | None:
        """The worker's answer; None where it gives none in time."""
        return await ask(str(self.socket), question, ANSWER_SECONDS)


class Supervisor:
    """All workers of a server."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self.workers = [WorkerProcess(index, settings.of_worker(index), directory) for index in range(settings.workers)]
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Until SIGTERM or SIGINT: 0 where every worker has drained."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        codes = await asyncio.gather(*(worker.run(self._stopping) for worker in self.workers))
        return 0 if set(codes) <= {0, -signal.SIGTERM} else 1  # SIGTERM ends a worker only before it serves

    async def serves(self) -> bool:
        """Wait until every worker listens; False where the server was told to stop before, or where some worker never will."""
        while not self._stopping.is_set():
            if any(worker.failing for worker in self.workers):
                log.error("giving up: a worker dies before it serves")
                self._stop()
            if None not in await self._ask_all("ready"):
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), START_CHECK_SECONDS)
        return False

    def _stop(self) -> None:
        """First: drain. Again: at once."""
        again = self._stopping.is_set()
        self._stopping.set()
        for worker in self.workers:
            worker.signal(signal.SIGKILL if again else signal.SIGTERM)
        if not again:
            patience = self._settings.limits.drain_seconds + DRAIN_EXTRA_SECONDS
            asyncio.get_running_loop().call_later(patience, self._kill)

    def _kill(self) -> None:
        for worker in self.workers:
            worker.signal(signal.SIGKILL)

    async def unready(self) -> dict[str, str]:
        """Reasons by worker; empty: every worker can serve."""
        if self._stopping.is_set():
            return {"server": "draining"}
        why_not: dict[str, str] = {}
        for worker, said in zip(self.workers, await self._ask_all("ready"), strict=True):
            name = f"worker {worker.index}"
            if worker.failing:
                why_not[name] = f"died {DEATHS_MAX} times within {DEATHS_WINDOW_SECONDS:.0f} s"
            elif (found := reasons(said)) is None:
                why_not[name] = "does not answer"
            elif found:
                why_not[name] = "; ".join(f"{part}: {why}" for part, why in found.items())
        return why_not

    def answers(self) -> Answers:
        """What a worker may ask, for pages of the supervisor that somebody wants from it."""

        async def ready() -> bytes:
            return msgspec.json.encode(await self.unready())

        async def hot_keys() -> bytes:
            return msgspec.json.encode(await self.hot_keys())

        return {b"ready": ready, b"metrics": self.scrape, b"hot keys": hot_keys}

    async def hot_keys(self) -> HotReport:
        """The workers' reports as one; without those that do not answer."""
        reports = [hot_report(answer) for answer in await self._ask_all("hot keys")]
        return merged([report for report in reports if report is not None], HOT_KEYS_MAX)

    async def scrape(self) -> bytes:
        """The workers' metrics as one text, each sample with its worker's label."""
        answers = await self._ask_all("metrics")
        merged = CollectorRegistry()
        merged.register(_Merged({str(at): text.decode() for at, text in enumerate(answers) if text is not None and text.endswith(END)}))
        return generate_latest(merged)

    async def _ask_all(self, question: str) -> list[bytes | None]:
        return list(await asyncio.gather(*(worker.ask(question) for worker in self.workers)))


def reasons(answer: bytes | None) -> dict[str, str] | None:
    """Why somebody is not ready, as answered; None where there was no answer, or its giver died over it."""
    try:
        return None if answer is None else msgspec.json.decode(answer, type=dict[str, str])
    except msgspec.DecodeError:
        return None


def hot_report(answer: bytes | None) -> HotReport | None:
    """Hot keys, as answered; None where there was no answer, or its giver died over it."""
    try:
        return None if answer is None else msgspec.json.decode(answer, type=HotReport)
    except msgspec.DecodeError:
        return None


class _Merged(Collector):
    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for worker, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                merged.samples += [sample._replace(labels={**sample.labels, "worker": worker}) for sample in family.samples]
        return families.values()


def socket_directory() -> tempfile.TemporaryDirectory[str]:
    """A folder that only this user can open, for the workers' sockets."""
    return tempfile.TemporaryDirectory(prefix="chronoserve-")

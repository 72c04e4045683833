"""The queue between the fetcher and a sink: it never delays a request, is bounded, and counts what it drops.

Control events publish the schemas that rows need. They are never dropped: a full queue still takes them, a sink that fails
gets them again before any row, and until one is written there is nothing to read its rows with anyway.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from chronoserve.ingest.response_log.sink import Sink
from chronoserve.model.errors import KVError
from chronoserve.model.logged import LoggedResponse

log = structlog.get_logger("chronoserve.response_log")

BATCH_ROWS_MAX = 1000
LINGER_SECONDS = 0.05
"""What a batch waits for more rows."""
SETTLE_SECONDS = 1.0
ATTEMPTS_MAX = 4
"""Tries for a row that its sink refuses."""
PAUSE_SECONDS = 0.1
"""Pause before the second try; each further one doubles it."""
PAUSE_SECONDS_MAX = 5.0
LOG_SECONDS = 10.0
"""Failures of the sink are logged at most this often."""
CONTROLS_MAX = 10_000
"""Control events that wait at most: one for each join's schema. Beyond this the oldest go, and are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """Rows and bytes of keys and values that wait for the sink."""

    rows_max: int = 20_000
    bytes_max: int = 64 << 20


@dataclass(slots=True)
class LogMetrics:
    """Running totals. ``dropped`` by reason: ``queue full``, ``refused`` (on each try), ``lost`` (taken by the sink, but never
    finished), ``drain`` (no time was left), ``closed`` (it came later), ``controls`` (too many control events waited).
    """

    offered: int = 0
    written: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """Batches that the sink refused, by the error's reason."""


class QueuedResponseLog:
    """A ResponseLog in front of a sink. ``start`` it on the loop, ``close`` it once."""

    def __init__(self, sink: Sink, *, clock: Callable[[], int], limits: QueueLimits | None = None) -> None:
        """``clock``: epoch milliseconds."""
        self.metrics = LogMetrics()
        self._sink = sink
        self._clock = clock
        self._limits = limits or QueueLimits()
        self._rows: deque[LoggedResponse] = deque()
        self._controls: dict[bytes, LoggedResponse] = {}
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        self._logged_at = float("-inf")

    @property
    def waiting(self) -> int:
        """Rows that wait for the sink."""
        return len(self._rows) + len(self._controls)

    def offer(self, response: LoggedResponse) -> None:
        """Take the row, or drop and count it."""
        self.metrics.offered += 1
        if response.control:
            self._controls[response.key_bytes] = response
            if len(self._controls) > CONTROLS_MAX:
                del self._controls[next(iter(self._controls))]
                self.metrics.dropped["controls"] += 1
        else:
            size = len(response.key_bytes) + len(response.value_bytes)
            if len(self._rows) >= self._limits.rows_max or self._bytes + size > self._limits.bytes_max or self._closed:
                self.metrics.dropped["closed" if self._closed else "queue full"] += 1
                return
            self._rows.append(response)
            self._bytes += size
        self._arrived.set()

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write_on())

    async def close(self, seconds: float) -> None:
        """Write what waits, within the time given; what is left then is dropped and counted."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._closing.set()
        self._arrived.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=seconds)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        self._closed = True
        self.metrics.dropped["drain"] += self.waiting
        await self._finish(self._sink.close(seconds=max(0.0, end - loop.time())))
        if lost := self.metrics.dropped["drain"] + self.metrics.dropped["lost"]:
            log.warning("logged responses were lost", rows=lost)

    async def _write_on(self) -> None:
        while True:
            await self._more()
            if self.waiting:
                await self._deliver(self._take())
            elif self._closing.is_set():
                return
            await self._finish(self._sink.settle(now_millis=self._clock()))

    async def _finish(self, work: Awaitable[None]) -> None:
        try:
            await work
        except KVError as failed:
            self._failed(failed)
        if lost := self._sink.lost:
            self._sink.lost = 0
            self.metrics.dropped["lost"] += lost
            self.metrics.written -= lost

    async def _more(self) -> None:
        """Wait for rows, then a moment for a batch of them."""
        if not self.waiting and not self._closing.is_set():
            self._arrived.clear()
            await _until(self._arrived, SETTLE_SECONDS)
        if 0 < self.waiting < BATCH_ROWS_MAX:
            await _until(self._closing, LINGER_SECONDS)

    def _take(self) -> list[LoggedResponse]:
        """The next batch, control events first."""
        batch = list(self._controls.values())
        self._controls.clear()
        while self._rows and len(batch) < BATCH_ROWS_MAX:
            row = self._rows.popleft()
            self._bytes -= len(row.key_bytes) + len(row.value_bytes)
            batch.append(row)
        return batch

    async def _deliver(self, batch: Sequence[LoggedResponse]) -> None:
        """Write the batch; rows that the sink refuses on each try are dropped, control events are kept for the next batch."""
        pause = PAUSE_SECONDS
        try:
            batch = await self._attempt(batch)
            for _ in range(ATTEMPTS_MAX - 1):
                if not batch:
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
                batch = await self._attempt(batch)
        except asyncio.CancelledError:
            self.metrics.dropped["drain"] += len(batch)
            raise
        controls = {row.key_bytes: row for row in batch if row.control}
        if rows := len(batch) - len(controls):
            self.metrics.dropped["refused"] += rows
        if self._closing.is_set():
            self.metrics.dropped["drain"] += len(controls)
        else:
            self._controls = controls | self._controls

    async def _attempt(self, batch: Sequence[LoggedResponse]) -> Sequence[LoggedResponse]:
        try:
            refused = await self._sink.write(batch)
        except KVError as failed:
            self._failed(failed)
            return batch
        self.metrics.written += len(batch) - len(refused)
        if refused:
            self.metrics.failures["rows refused"] += 1
        return refused

    def _failed(self, failed: KVError) -> None:
        self.metrics.failures[failed.reason] += 1
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("the response log's sink failed", reason=failed.reason, error=failed.message)


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

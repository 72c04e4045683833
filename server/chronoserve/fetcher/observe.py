"""What the fetcher tells of itself: time by phase, rows by status, parts and their freshness, caches.

Running totals that cost a request next to nothing; whoever exports them reads the attributes (chronoserve.wire.exposition),
or listens to whole calls (``FetchMetrics.listeners``: StatsD, OpenTelemetry), which costs nothing while nobody does.
"""

import enum
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter

from chronoserve.kvstore.layers.metrics import SECONDS_BUCKETS, Histogram
from chronoserve.model.features import FeatureRow, RowStatus

PARTS_MAX = 1000
"""Group bys that are told apart; what comes later counts under ``OTHERS``, so that labels stay bounded."""
OTHERS = "(others)"


class Phase(enum.IntEnum):
    """What a fetch spends its time on.

    QUEUE: from its arrival at the handler to its start: who calls, and what for. ENCODE: from features to the reply's bytes.
    """

    QUEUE = 0
    METADATA = 1
    STORE = 2
    DECODE = 3
    MERGE = 4
    DERIVE = 5
    ENCODE = 6
    EXTERNAL = 7


class KindMetrics:
    """Fetches of joins, or of group bys. ``statuses`` counts rows by RowStatus, ``phases`` has a histogram for each Phase."""

    __slots__ = ("calls", "failures", "kind", "phases", "rows", "seconds", "statuses")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.calls = 0
        self.rows = 0
        self.statuses = [0] * (max(RowStatus) + 1)
        self.failures: Counter[str] = Counter()
        """Parts and rows that failed, by the error's reason."""
        self.seconds = Histogram()
        self.phases = tuple(Histogram() for _ in Phase)

    def phase(self, phase: Phase, seconds: float) -> None:
        """Count a phase that is measured where the call itself is not known: QUEUE and ENCODE belong to the wire."""
        self.phases[phase].observe(seconds)


class PartMetrics:
    """One group by. ``batch_end_millis`` and ``stream_millis``: the newest that any answer had, epoch milliseconds; 0: none yet."""

    __slots__ = ("batch_end_millis", "errors", "group_by", "misses", "rows", "stream_millis", "team")

    def __init__(self, group_by: str, team: str | None = None) -> None:
        self.group_by = group_by
        self.team = team
        self.rows = 0
        self.misses = 0
        self.errors = 0
        self.batch_end_millis = 0
        self.stream_millis = 0

    def seen(self, batch_end_millis: int, stream_millis: int) -> None:
        """A row was answered from batch data up to the one time and streamed values up to the other."""
        self.rows += 1
        if batch_end_millis > self.batch_end_millis:  # noqa: PLR1730 - max() costs three times as much
            self.batch_end_millis = batch_end_millis
        if stream_millis > self.stream_millis:  # noqa: PLR1730
            self.stream_millis = stream_millis


class CacheMetrics:
    """One cache. ``bytes``: what it holds now, where it is bounded by bytes; ``entries`` likewise."""

    __slots__ = ("bytes", "entries", "evictions", "hits", "misses")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self.entries = 0
        self.bytes = 0


class Call:
    """One fetch under way. ``seconds`` adds up by Phase; each moment between two laps belongs to the phase named at its end."""

    __slots__ = ("_mark", "began", "kind", "names", "seconds")

    def __init__(self, kind: KindMetrics, names: Sequence[str] = ()) -> None:
        """``names``: the joins or group bys that are asked for, for those who listen."""
        self.kind = kind
        self.names = names
        self.seconds = [0.0] * len(Phase)
        self.began = self._mark = perf_counter()

    def lap(self, phase: Phase) -> None:
        """What passed since the last lap was ``phase``."""
        now = perf_counter()
        self.seconds[phase] += now - self._mark
        self._mark = now


Listener = Callable[[Call, Sequence[FeatureRow], float], None]
"""Hears of a call that ended, with its rows and its whole time in seconds. It must not raise, nor take long."""


class FetchMetrics:
    """The totals of one process. One instance, given to the fetcher and to those who export."""

    def __init__(self) -> None:
        self.joins = KindMetrics("join")
        self.group_bys = KindMetrics("group_by")
        self.parts: dict[str, PartMetrics] = {}
        self.caches: dict[str, CacheMetrics] = {}
        self.listeners: tuple[Listener, ...] = ()

    def part(self, group_by: str, team: str | None = None) -> PartMetrics:
        """The totals of a group by; a plan asks once and keeps them."""
        found = self.parts.get(group_by)
        if found is None:
            name, team = (group_by, team) if len(self.parts) < PARTS_MAX else (OTHERS, None)
            found = self.parts.setdefault(name, PartMetrics(name, team))
        return found

    def cache(self, name: str) -> CacheMetrics:
        """The totals of a cache, as ``batch_ir``."""
        return self.caches.setdefault(name, CacheMetrics())

    def finish(self, call: Call, rows: Sequence[FeatureRow]) -> None:
        """The call has its answer."""
        whole = perf_counter() - call.began
        kind = call.kind
        kind.calls += 1
        kind.rows += len(rows)
        kind.seconds.observe(whole)
        for histogram, seconds in zip(kind.phases, call.seconds):  # noqa: B905 - both have one entry for each Phase
            if seconds:
                histogram.counts[bisect_left(SECONDS_BUCKETS, seconds)] += 1
                histogram.sum += seconds
        statuses = kind.statuses
        for row in rows:
            statuses[row.status] += 1
            if row.part_errors:
                kind.failures.update([error.reason for error in row.part_errors.values()])
            if row.error is not None:
                kind.failures[row.error.reason] += 1
        for listener in self.listeners:
            listener(call, rows, whole)

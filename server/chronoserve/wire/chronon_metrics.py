"""Chronon's own metric names for dashboards that have them (spec/online-fetch.md §18), sent by StatsD.

Counters are exact and go out every FLUSH_SECONDS as what they have grown by. Distributions are those of one call in ten, with
their rate on each line, as Chronon samples them. A tag without a value is left out, where Chronon writes ``null``.

What Chronon measures apart and this server does not, is not sent: sizes of single reads (Prometheus has the store's), the two
decodings apart from each other, tries of the log's encoders, conversions from and to Java, and metadata caches by kind.
``overall.latency.millis`` is the whole of a call here; Chronon stamps it before the work is done.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from chronoserve.fetcher.external import SourceMetrics
from chronoserve.fetcher.observe import Call, KindMetrics, PartMetrics, Phase
from chronoserve.model.errors import UnknownConf
from chronoserve.model.features import FeatureRow
from chronoserve.model.naming import sanitize
from chronoserve.wire.fetch_exposition import FetchObserved
from chronoserve.wire.statsd import StatsdSocket, Tags, changes, event, line

PREFIX = "ai.zipline."
FLUSH_SECONDS = 1.0
SAMPLE = 10
"""The distributions of one call in so many are sent."""

LATENCIES = (
    ("external.latency.millis", (Phase.EXTERNAL,)),
    ("derivation.latency.millis", (Phase.DERIVE,)),
    ("internal.latency.millis", (Phase.METADATA, Phase.STORE, Phase.DECODE, Phase.MERGE)),
    ("multi_get.latency.millis", (Phase.STORE,)),
    ("group_by.aggregator.latency.millis", (Phase.MERGE,)),
)
CACHES = {"batch_ir": "batch_cache"}
"""Chronon's names of caches that have another here."""
FAILURES = {
    "join": {"UNKNOWN_CONF": "fetch_invalid_join_failure.count", None: "fetch_join_failure.count"},
    "group_by": {"UNKNOWN_CONF": "fetch_invalid_group_by_failure.count", None: "fetch_group_by_failure.count"},
}


class ChrononMetrics:
    """Listens to the fetcher and sends what it hears. ``start`` it on the loop; ``close`` sends the rest."""

    def __init__(self, observed: FetchObserved, socket: StatsdSocket, *, clock: Callable[[], int]) -> None:
        """``clock``: epoch milliseconds."""
        self._observed = observed
        self._socket = socket
        self._clock = clock
        self._calls = 0
        self._requests = {"join": Counter[str](), "group_by": Counter[str]()}
        self._failures = {"join": Counter[str](), "group_by": Counter[str]()}
        self._before: dict[str, dict[str, int]] = {}
        self._flushing: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._observed.metrics.listeners += (self.heard,)
        self._flushing = asyncio.create_task(self._flush_on())

    async def close(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
            self._observed.metrics.listeners = tuple(each for each in self._observed.metrics.listeners if each != self.heard)
        self.flush()
        self._socket.close()

    def built(self, caller_name: str, version: str) -> None:
        """A fetcher was built for somebody."""
        self._socket.send([event("caller_name_fetcher_version", f"{caller_name} {version}", [("environment", "fetcher")])])

    def heard(self, call: Call, rows: Sequence[FeatureRow], seconds: float) -> None:
        """A call has ended; the fetcher's listener."""
        kind = call.kind.kind
        self._requests[kind].update(_known(call, rows))
        self._failures[kind].update(row.error.reason for row in rows if row.error is not None)
        self._calls += 1
        if self._calls % SAMPLE == 0:
            self._socket.send(_distributions(call, rows, seconds))

    async def _flush_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.flush()

    def flush(self) -> None:
        """Send what the counters have grown by."""
        self._socket.send(self._lines())

    def _lines(self) -> Iterator[bytes]:
        yield from self._request_lines()
        metrics = self._observed.metrics
        for kind in (metrics.joins, metrics.group_bys):
            yield from self._kind_lines(kind)
        for part in list(metrics.parts.values()):
            yield from self._part_lines(part)
        for name, cache in list(metrics.caches.items()):
            totals = {"hits": cache.hits, "misses": cache.misses, "evictions": cache.evictions}
            for each, count in self._grown(f"cache {name}", totals):
                yield line(f"{PREFIX}join.fetch.{CACHES.get(name, name)}.{each}", count, "c", _tags())
        if self._observed.registry is not None:
            for name, source in list(self._observed.registry.sources.items()):
                yield from self._source_lines(name, source.metrics)
        if self._observed.log is not None:
            totals = {"count": self._observed.log.metrics.offered, "dropped.count": self._observed.log.metrics.dropped.total()}
            for each, count in self._grown("log", totals):
                yield line(f"{PREFIX}join.fetch.logging_request.{each}", count, "c", _tags())

    def _request_lines(self) -> Iterator[bytes]:
        for kind, counts in self._requests.items():
            for name, count in counts.items():
                tags: Tags = [(kind, name), ("team", _team(name)), *_tags(kind)]
                yield line(f"{PREFIX}{kind}.fetch.{kind}_request.count", count, "c", tags)
            counts.clear()
        for kind, counts in self._failures.items():
            names = FAILURES[kind]
            for reason, count in counts.items():
                metric = names.get(reason, names[None])
                yield line(f"{PREFIX}{kind}.fetch.{metric}", count, "c", [("exception", reason), *_tags(kind)])
            counts.clear()

    def _kind_lines(self, kind: KindMetrics) -> Iterator[bytes]:
        for reason, count in self._grown(f"failures {kind.kind}", kind.failures):
            yield line(f"{PREFIX}{kind.kind}.fetch.exception", count, "c", [("exception", reason), *_tags(kind.kind)])

    def _part_lines(self, part: PartMetrics) -> Iterator[bytes]:
        grown = dict(self._grown(f"part {part.group_by}", {"rows": part.rows, "misses": part.misses, "errors": part.errors}))
        if not grown:
            return
        tags: Tags = [("group_by", part.group_by), ("team", part.team), *_tags()]
        yield line(f"{PREFIX}join.fetch.group_by_request.count", sum(grown.values()), "c", tags)
        for source, newest in (("batch", part.batch_end_millis), ("streaming", part.stream_millis)):
            if newest:
                age = self._clock() - newest
                yield line(f"{PREFIX}join.fetch.{source}.response.freshness.millis", age, "d", tags)
                yield line(f"{PREFIX}join.fetch.{source}.response.freshness.minutes", age // 60_000, "d", tags)

    def _source_lines(self, name: str, metrics: SourceMetrics) -> Iterator[bytes]:
        failures = metrics.failures.total()
        totals = {
            "response.successes": metrics.rows - failures,
            "response.failures": failures,
            "response.value_count": metrics.values,
        }
        tags: Tags = [("group_by", f"ext_{sanitize(name)}"), *_tags()]
        for each, count in self._grown(f"source {name}", totals):
            yield line(f"{PREFIX}join.fetch.{each}", count, "c", tags)

    def _grown(self, of: str, totals: Mapping[str, int]) -> Iterable[tuple[str, int]]:
        """What the totals of something have grown by since the last flush."""
        return changes(totals, self._before.setdefault(of, {}))


def _distributions(call: Call, rows: Sequence[FeatureRow], seconds: float) -> Iterator[bytes]:
    kind = call.kind.kind
    tags: Tags = [*((kind, name) for name in sorted(set(_known(call, rows)))), *_tags(kind)]

    def distribution(name: str, value: float) -> bytes:
        return line(f"{PREFIX}{kind}.fetch.{name}", value, "d", tags, rate=1 / SAMPLE)

    yield distribution("overall.latency.millis", seconds * 1000)
    for name, phases in LATENCIES:
        if spent := sum(call.seconds[phase] for phase in phases):
            yield distribution(name, spent * 1000)
    for row in rows:
        if row.features is not None:
            yield distribution("response.keys.count", len(row.features))


def _known(call: Call, rows: Sequence[FeatureRow]) -> Iterator[str]:
    """The name of each row. Names that callers made up are no tags."""
    for name, row in zip(call.names, rows, strict=True):
        if not isinstance(row.error, UnknownConf):
            yield name


def _team(name: str) -> str | None:
    """The team of a join named ``team/join`` or of a group by named ``team.group_by``."""
    for separator in "/.":
        team, found, _ = name.partition(separator)
        if found:
            return team
    return None


def _tags(kind: str = "join") -> Tags:
    return [("environment", f"{kind}.fetch")]

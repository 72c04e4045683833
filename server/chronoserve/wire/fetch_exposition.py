"""Prometheus families of the fetcher: phases, rows by status, parts and their freshness, caches, sources, the response log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from chronoserve.fetcher.external import ExternalRegistry, Source
from chronoserve.fetcher.observe import OTHERS, FetchMetrics, Phase
from chronoserve.ingest.response_log.queue import QueuedResponseLog
from chronoserve.kvstore.layers.circuit import State
from chronoserve.model.features import RowStatus
from chronoserve.wire.histograms import add

SOURCES_MAX = 1000
"""External sources that are told apart; their names come from confs."""
CACHE_COUNTERS = {
    "hits": "Look-ups that a cache answered",
    "misses": "Look-ups that it could not answer",
    "evictions": "Entries that made room",
}
CACHE_GAUGES = {"entries": "Entries in a cache", "bytes": "Bytes that a cache holds, where it is bounded by them"}
PART_COUNTERS = {
    "rows": "Rows that a group by answered",
    "misses": "Rows that it had nothing for",
    "errors": "Rows that it could not answer",
}


@dataclass(frozen=True, slots=True)
class FetchObserved:
    """What a process that fetches has to show beside the rest."""

    metrics: FetchMetrics
    registry: ExternalRegistry | None = None
    log: QueuedResponseLog | None = None


class FetchCollector(Collector):
    """Turns the fetcher's totals into metric families when they are scraped."""

    def __init__(self, observed: FetchObserved) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        yield from _kinds(self._observed.metrics)
        yield from _parts(self._observed.metrics)
        yield from _caches(self._observed.metrics)
        if self._observed.registry is not None:
            yield from _sources(self._observed.registry.sources)
        if self._observed.log is not None:
            yield from _log(self._observed.log)


def _kinds(metrics: FetchMetrics) -> Iterator[Metric]:
    calls = CounterMetricFamily("chronoserve_fetch_calls", "Fetches of joins and of group bys", labels=["kind"])
    rows = CounterMetricFamily("chronoserve_fetch_rows", "Rows fetched, by their status", labels=["kind", "status"])
    failures = CounterMetricFamily("chronoserve_fetch_failures", "Parts and rows that failed, by reason", labels=["kind", "reason"])
    seconds = HistogramMetricFamily("chronoserve_fetch_seconds", "Time of a fetch, without the transport", labels=["kind"])
    phases = HistogramMetricFamily("chronoserve_fetch_phase_seconds", "Time of a fetch by phase", labels=["kind", "phase"])
    for kind in (metrics.joins, metrics.group_bys):
        calls.add_metric([kind.kind], kind.calls)
        for status in RowStatus:
            rows.add_metric([kind.kind, status.name.lower()], kind.statuses[status])
        for reason, count in list(kind.failures.items()):
            failures.add_metric([kind.kind, reason], count)
        add(seconds, [kind.kind], kind.seconds)
        for phase in Phase:
            add(phases, [kind.kind, phase.name.lower()], kind.phases[phase])
    yield from (calls, rows, failures, seconds, phases)


def _parts(metrics: FetchMetrics) -> Iterator[Metric]:
    label = ["group_by"]
    counters = {name: CounterMetricFamily(f"chronoserve_group_by_{name}", text, labels=label) for name, text in PART_COUNTERS.items()}
    batch = GaugeMetricFamily("chronoserve_group_by_batch_end_seconds", "End of the newest batch data answered, as Unix time", labels=label)
    stream = GaugeMetricFamily(
        "chronoserve_group_by_stream_seconds", "Time of the newest streamed value answered, as Unix time", labels=label
    )
    for name, part in list(metrics.parts.items()):
        for counter, family in counters.items():
            family.add_metric([name], getattr(part, counter))
        if part.batch_end_millis and name != OTHERS:
            batch.add_metric([name], part.batch_end_millis / 1000)
        if part.stream_millis and name != OTHERS:
            stream.add_metric([name], part.stream_millis / 1000)
    yield from (*counters.values(), batch, stream)


def _caches(metrics: FetchMetrics) -> Iterator[Metric]:
    label = ["cache"]
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
        name: CounterMetricFamily(f"chronoserve_cache_{name}", text, labels=label) for name, text in CACHE_COUNTERS.items()
    }
    families |= {name: GaugeMetricFamily(f"chronoserve_cache_{name}", text, labels=label) for name, text in CACHE_GAUGES.items()}
    for cache, totals in list(metrics.caches.items()):
        for name, family in families.items():
            family.add_metric([cache], getattr(totals, name))
    yield from families.values()


def _sources(sources: Mapping[str, Source]) -> Iterator[Metric]:
    label = ["source"]
    calls = CounterMetricFamily("chronoserve_external_calls", "Calls of an external source", labels=label)
    rows = CounterMetricFamily("chronoserve_external_rows", "Rows that it was asked for", labels=label)
    failures = CounterMetricFamily("chronoserve_external_failures", "Rows that it did not answer, by reason", labels=[*label, "reason"])
    seconds = HistogramMetricFamily("chronoserve_external_seconds", "Time of a call", labels=label)
    opened = CounterMetricFamily("chronoserve_external_breaker_opened", "Times its breaker opened", labels=label)
    refusing = GaugeMetricFamily("chronoserve_external_breaker_open", "1 while it is left alone", labels=label)
    for name, source in list(sources.items())[:SOURCES_MAX]:
        calls.add_metric([name], source.metrics.calls)
        rows.add_metric([name], source.metrics.rows)
        for reason, count in list(source.metrics.failures.items()):
            failures.add_metric([name, reason], count)
        add(seconds, [name], source.metrics.seconds)
        opened.add_metric([name], source.circuit.opened_total)
        refusing.add_metric([name], float(source.circuit.state is not State.CLOSED))
    yield from (calls, rows, failures, seconds, opened, refusing)


def _log(log: QueuedResponseLog) -> Iterator[Metric]:
    yield CounterMetricFamily("chronoserve_response_log_offered", "Rows and control events offered to the log", value=log.metrics.offered)
    yield CounterMetricFamily("chronoserve_response_log_written", "Of those, written", value=log.metrics.written)
    yield GaugeMetricFamily("chronoserve_response_log_waiting", "Of those, waiting", value=log.waiting)
    dropped = CounterMetricFamily("chronoserve_response_log_dropped", "Of those, dropped, by reason", labels=["reason"])
    for reason, count in list(log.metrics.dropped.items()):
        dropped.add_metric([reason], count)
    failures = CounterMetricFamily("chronoserve_response_log_failures", "Batches that the sink refused, by reason", labels=["reason"])
    for reason, count in list(log.metrics.failures.items()):
        failures.add_metric([reason], count)
    yield from (dropped, failures)

"""Prometheus text from the running totals that the layers and the seam keep; nothing here is on a request's path."""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from chronoserve.kvstore.layers.admission import Admission
from chronoserve.kvstore.layers.breaker import Breaker
from chronoserve.kvstore.layers.circuit import State
from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.layers.metrics import Metrics, OperationMetrics
from chronoserve.kvstore.layers.retry import Retry
from chronoserve.kvstore.port import KVStore
from chronoserve.wire.fetch_exposition import FetchCollector, FetchObserved
from chronoserve.wire.histograms import add
from chronoserve.wire.seam import Seam


class Observed(NamedTuple):
    """What one process has to show."""

    seam: Seam
    admission: Admission | None
    stores: dict[str, KVStore]
    fetch: FetchObserved | None = None


class ChronoserveCollector(Collector):
    """Turns the totals into metric families when they are scraped."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        yield from self._calls()
        yield from self._admission()
        yield from self._stores()

    def _calls(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("chronoserve_calls", "Calls by method and status", labels=["method", "status"])
        seconds = HistogramMetricFamily("chronoserve_call_seconds", "Time from request to reply", labels=["method"])
        for method, metrics in self._observed.seam.methods.items():
            for status, count in list(metrics.calls.items()):
                calls.add_metric([method, status], count)
            add(seconds, [method], metrics.seconds)
        yield calls
        yield seconds
        yield GaugeMetricFamily("chronoserve_calls_in_flight", "Calls under way", value=self._observed.seam.in_flight.calls)

    def _admission(self) -> Iterator[Metric]:
        admission = self._observed.admission
        if admission is not None:
            yield GaugeMetricFamily("chronoserve_admitted_keys", "Keys under way", value=admission.keys)
            yield GaugeMetricFamily("chronoserve_admitted_calls", "Calls under way in the stores", value=admission.calls)
            yield GaugeMetricFamily(
                "chronoserve_utilisation", "Share of the call limit in use", value=admission.calls / admission.inflight_calls_max
            )
            yield CounterMetricFamily("chronoserve_refused", "Calls refused for load", value=admission.refused_total)

    def _stores(self) -> Iterator[Metric]:
        labels = ["store", "operation"]
        totals = {
            name: CounterMetricFamily(f"chronoserve_store_{name}", text, labels=labels)
            for name, text in (
                ("batches", "Batches sent to the store"),
                ("keys", "Keys in them"),
                ("bytes", "Bytes of keys and values"),
                ("misses", "Keys without a value"),
            )
        }
        errors = CounterMetricFamily("chronoserve_store_errors", "Keys answered with an error", labels=[*labels, "reason"])
        seconds = HistogramMetricFamily("chronoserve_store_seconds", "Time of a batch in the store", labels=labels)
        retries = CounterMetricFamily("chronoserve_store_retries", "Batches sent again", labels=["store"])
        opened = CounterMetricFamily("chronoserve_store_breaker_opened", "Times the breaker opened", labels=["store"])
        refusing = GaugeMetricFamily("chronoserve_store_breaker_open", "1 while the breaker refuses", labels=["store"])
        for store, layer in ((name, each) for name, top in self._observed.stores.items() for each in layers(top)):
            if isinstance(layer, Metrics):
                for operation, metrics in (("read", layer.reads), ("write", layer.writes)):
                    _add_operation(totals, errors, seconds, [store, operation], metrics)
            elif isinstance(layer, Retry):
                retries.add_metric([store], layer.retries_total)
            elif isinstance(layer, Breaker):
                opened.add_metric([store], layer.opened_total)
                refusing.add_metric([store], float(layer.state is not State.CLOSED))
        yield from (*totals.values(), errors, seconds, retries, opened, refusing)


def layers(store: KVStore) -> Iterator[KVStore]:
    """A store's layers from the outside in, the back end last."""
    yield store
    while isinstance(store, Layer):
        store = store.store
        yield store


def registry(observed: Observed) -> CollectorRegistry:
    """A registry with everything that the process shows."""
    made = CollectorRegistry()
    made.register(ChronoserveCollector(observed))
    if observed.fetch is not None:
        made.register(FetchCollector(observed.fetch))
    return made


def _add_operation(
    totals: dict[str, CounterMetricFamily],
    errors: CounterMetricFamily,
    seconds: HistogramMetricFamily,
    labels: list[str],
    metrics: OperationMetrics,
) -> None:
    for name, family in totals.items():
        family.add_metric(labels, getattr(metrics, name))
    for reason, count in list(metrics.errors.items()):
        errors.add_metric([*labels, reason], count)
    add(seconds, labels, metrics.seconds)

"""Our histograms as Prometheus families."""

from collections.abc import Sequence

from prometheus_client.core import HistogramMetricFamily

from chronoserve.kvstore.layers.metrics import SECONDS_BUCKETS, Histogram


def add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    """Add a histogram's counts, which Prometheus wants as running totals."""
    running = 0
    buckets = []
    for bound, count in zip((*map(str, SECONDS_BUCKETS), "+Inf"), histogram.counts, strict=True):
        running += count
        buckets.append((bound, running))
    family.add_metric(labels, buckets, histogram.sum)

"""The fetcher's families as Prometheus reads them."""

import asyncio

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.observe import OTHERS, PARTS_MAX, Call, FetchMetrics, Phase
from chronoserve.ingest.response_log.queue import QueuedResponseLog
from chronoserve.model.errors import CorruptValue, ExternalFailed
from chronoserve.model.features import FeatureRow, RowStatus
from chronoserve.wire.exposition import Observed, registry
from chronoserve.wire.fetch_exposition import FetchObserved
from chronoserve.wire.seam import Deadlines, Seam
from tests.unit.fetcher.sources import source
from tests.unit.response_log.rows import ScriptedSink, control, row


class Shown:
    """Samples by name and the values of their labels, in any order."""

    def __init__(self, text: str) -> None:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        self._values = {(sample.name, frozenset(sample.labels.values())): sample.value for sample in samples}

    def __getitem__(self, asked: tuple[str, tuple[str, ...]]) -> float:
        return self._values[asked[0], frozenset(asked[1])]

    def __contains__(self, asked: tuple[str, tuple[str, ...]]) -> bool:
        return (asked[0], frozenset(asked[1])) in self._values


def scraped(observed: FetchObserved) -> Shown:
    return Shown(generate_latest(registry(Observed(Seam(deadlines=Deadlines(), identify=None), None, {}, observed))).decode())


def fetched(status: RowStatus, **part_errors: CorruptValue | ExternalFailed) -> FeatureRow:
    error = CorruptValue("broken") if status is RowStatus.ERROR else None
    return FeatureRow(status, {}, {}, {}, error, dict(part_errors))


def test_a_fetch_is_seen_by_phase_status_and_reason() -> None:
    metrics = FetchMetrics()
    call = Call(metrics.joins, ["team/join.v1"])
    call.lap(Phase.STORE)
    call.lap(Phase.DECODE)
    metrics.finish(call, [fetched(RowStatus.OK), fetched(RowStatus.DEGRADED, ext_geo=ExternalFailed("away")), fetched(RowStatus.ERROR)])
    metrics.joins.phase(Phase.ENCODE, 0.003)
    shown = scraped(FetchObserved(metrics))
    assert shown["chronoserve_fetch_calls_total", ("join",)] == 1
    assert shown["chronoserve_fetch_calls_total", ("group_by",)] == 0
    assert shown["chronoserve_fetch_seconds_count", ("join",)] == 1
    statuses = {status.name: shown["chronoserve_fetch_rows_total", ("join", status.name.lower())] for status in RowStatus}
    assert statuses == {"OK": 1, "MISSING": 0, "DEGRADED": 1, "ERROR": 1}
    assert shown["chronoserve_fetch_failures_total", ("join", "EXTERNAL_FAILED")] == 1
    assert shown["chronoserve_fetch_failures_total", ("join", "CORRUPT_VALUE")] == 1
    phases = {phase: shown["chronoserve_fetch_phase_seconds_count", ("join", phase.name.lower())] for phase in Phase}
    assert phases == {phase: float(phase in (Phase.STORE, Phase.DECODE, Phase.ENCODE)) for phase in Phase}
    assert shown["chronoserve_fetch_phase_seconds_bucket", ("join", "encode", "0.002")] == 0
    assert shown["chronoserve_fetch_phase_seconds_bucket", ("join", "encode", "0.005")] == 1
    assert call.seconds[Phase.STORE] > 0


def test_parts_show_how_fresh_they_are() -> None:
    metrics = FetchMetrics()
    part = metrics.part("team.g.v1", "team")
    assert metrics.part("team.g.v1") is part
    part.seen(1_700_000_000_000, 0)
    part.seen(1_600_000_000_000, 1_700_000_050_500)
    part.misses += 1
    shown = scraped(FetchObserved(metrics))
    assert shown["chronoserve_group_by_rows_total", ("team.g.v1",)] == 2
    assert shown["chronoserve_group_by_misses_total", ("team.g.v1",)] == 1
    assert shown["chronoserve_group_by_batch_end_seconds", ("team.g.v1",)] == 1_700_000_000
    assert shown["chronoserve_group_by_stream_seconds", ("team.g.v1",)] == 1_700_000_050.5


def test_labels_are_bounded() -> None:
    metrics = FetchMetrics()
    for at in range(PARTS_MAX + 10):
        metrics.part(f"g{at}").seen(5, 5)
    assert len(metrics.parts) == PARTS_MAX + 1
    assert metrics.parts[OTHERS].rows == 10
    shown = scraped(FetchObserved(metrics))
    assert ("chronoserve_group_by_batch_end_seconds", (OTHERS,)) not in shown


def test_caches_are_shown() -> None:
    metrics = FetchMetrics()
    cache = metrics.cache("batch_ir")
    assert metrics.cache("batch_ir") is cache
    cache.hits, cache.misses, cache.bytes, cache.entries = 3, 2, 100, 1
    shown = scraped(FetchObserved(metrics))
    assert shown["chronoserve_cache_hits_total", ("batch_ir",)] == 3
    assert shown["chronoserve_cache_misses_total", ("batch_ir",)] == 2
    assert shown["chronoserve_cache_bytes", ("batch_ir",)] == 100


async def test_sources_and_the_log_are_shown() -> None:
    asked = ExternalRegistry()

    async def broken(_: object) -> list[dict[str, object]]:
        raise ValueError

    asked.add("geo", broken)
    await asked.fetch(source(), [{}, {}], deadline=asyncio.get_running_loop().time() + 5)
    log = QueuedResponseLog(ScriptedSink(), clock=lambda: 0)
    log.offer(control())
    log.offer(row())
    shown = scraped(FetchObserved(FetchMetrics(), asked, log))
    assert shown["chronoserve_external_calls_total", ("geo",)] == 1
    assert shown["chronoserve_external_rows_total", ("geo",)] == 2
    assert shown["chronoserve_external_failures_total", ("geo", "error")] == 2
    assert shown["chronoserve_external_breaker_open", ("geo",)] == 0
    assert shown["chronoserve_response_log_offered_total", ()] == 2
    assert shown["chronoserve_response_log_waiting", ()] == 2
    assert shown["chronoserve_response_log_written_total", ()] == 0

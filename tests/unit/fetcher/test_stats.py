"""Series of statistics: what is read, what is shown of it, and drift between neighbours."""

from collections.abc import Sequence

import pytest

from chronoserve.codec.avro import schema_text
from chronoserve.codec.compiled import encoder
from chronoserve.fetcher.ports import Read
from chronoserve.fetcher.stats import KEY_TYPE, Point, StatsOf, StatsRequest, drifts, fetch_series, series
from chronoserve.model import values
from chronoserve.model.errors import CorruptValue, KVError, Unavailable, UnknownConf, UnknownDataset
from chronoserve.model.types import BINARY, LONG, Field, StructType
from tests.unit.aggregate.test_drift import image

NAME = "team/join.v1"
NOW = 10_000
VALUE_TYPE = StructType("Value", (Field("x_approx_percentile", BINARY), Field("x__null_sum", LONG), Field("total_count", LONG)))


class Store:
    """Reads of one dataset; remembers what was asked."""

    def __init__(self, rows: Sequence[tuple[bytes, int]] = (), *, schemas: bool = True) -> None:
        key = encoder(KEY_TYPE).encode([NAME])
        self.held: dict[bytes, list[tuple[bytes, int]]] = {key: list(rows)}
        if schemas:
            self.held[f"{NAME}__keySchema".encode()] = [(schema_text(KEY_TYPE, pretty=True).encode(), 1)]
            self.held[f"{NAME}__valueSchema".encode()] = [(b"older", 1), (schema_text(VALUE_TYPE, pretty=True).encode(), 2)]
        self.asked: list[Read] = []
        self.failure: KVError | None = None

    async def multi_get(self, requests: Sequence[Read], *, deadline: float) -> list[bytes | KVError]:
        self.asked += requests
        return [self.failure or self._found(request) for request in requests]

    def _found(self, request: Read) -> bytes:
        rows = self.held.get(request.key_bytes, [])
        return b"".join(values.encode(data, millis) for data, millis in rows if millis >= request.after_ts_millis)


def row(numbers: Sequence[float] | None, count: int) -> bytes:
    return encoder(VALUE_TYPE).encode([None if numbers is None else image(numbers), 0, count])


async def fetch(store: Store, request: StatsRequest, of: StatsOf = StatsOf.JOIN) -> object:
    return await fetch_series(store, of, request, clock=lambda: NOW, deadline=1.0)


async def test_a_series_has_its_metrics_in_order_with_sketches_as_quantiles() -> None:
    store = Store([(row([1.0, 2.0, 3.0, 4.0], 4), 100), (row(None, 0), 200)])
    assert await fetch(store, StatsRequest(NAME)) == {
        "x_approx_percentile": [Point(100, [1.0, 2.0, 3.0, 4.0, 4.0]), Point(200, None)],
        "x__null_sum": [Point(100, 0), Point(200, 0)],
        "total_count": [Point(100, 4), Point(200, 0)],
    }


async def test_both_ends_of_the_time_are_inclusive_and_the_end_is_now() -> None:
    store = Store([(row([1.0], count), count) for count in (100, 200, 300, NOW, NOW + 1)])
    found = await fetch(store, StatsRequest(NAME, 200, 300))
    assert isinstance(found, dict)
    assert [point.millis for point in found["total_count"]] == [200, 300]
    found = await fetch(store, StatsRequest(NAME, 300))
    assert isinstance(found, dict)
    assert [point.millis for point in found["total_count"]] == [300, NOW]
    assert store.asked[-1].after_ts_millis == 300


@pytest.mark.parametrize(
    ("of", "dataset"),
    [
        (StatsOf.JOIN, "CHRONON_STATS_BATCH"),
        (StatsOf.LOG, "CHRONON_LOG_STATS_BATCH"),
        (StatsOf.CONSISTENCY, "CHRONON_CONSISTENCY_METRICS_STATS_BATCH"),
    ],
)
async def test_each_series_has_its_dataset(of: StatsOf, dataset: str) -> None:
    store = Store()
    assert await fetch(store, StatsRequest(NAME), of) == {}
    assert {read.dataset for read in store.asked} == {dataset}


async def test_a_point_that_does_not_decode_is_left_out_of_a_series_and_fails_a_drift() -> None:
    store = Store([(row([1.0], 1), 100), (b"\x02\xff", 150), (row([1.0], 1), 200)])
    found = await fetch(store, StatsRequest(NAME))
    assert isinstance(found, dict)
    assert [point.millis for point in found["total_count"]] == [100, 200]
    with pytest.raises(CorruptValue):
        await fetch(store, StatsRequest(NAME + "/drift"))


async def test_drift_is_told_at_the_later_of_each_pair() -> None:
    store = Store([(row([1.0] * 4, 4), 100), (row([1.0] * 4, 4), 200), (row([2.0] * 4, 4), 300)])
    found = await fetch(store, StatsRequest(NAME + "/drift"))
    assert isinstance(found, dict)
    assert list(found) == ["x_approx_percentile"]
    first, second = found["x_approx_percentile"]
    assert first == Point(200, 0.0)
    assert second.millis == 300
    assert second.value > 20


async def test_unknown_names_and_failing_stores_are_told() -> None:
    with pytest.raises(UnknownConf, match="no statistics"):
        await fetch(Store(schemas=False), StatsRequest(NAME))
    store = Store()
    store.failure = UnknownDataset("there is no dataset")
    with pytest.raises(UnknownConf):
        await fetch(store, StatsRequest(NAME))
    store.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        await fetch(store, StatsRequest(NAME))


def test_drifts_sort_by_time_and_leave_nulls_out() -> None:
    rows: list[tuple[int, dict[str, object]]] = [
        (300, {"x_percentile": image([2.0]), "y_percentile": image([1.0])}),
        (100, {"x_percentile": image([2.0]), "y_percentile": None, "n": 5}),
        (200, {"x_percentile": image([2.0]), "y_percentile": image([1.0]), "n": 5}),
    ]
    found = drifts(rows)
    assert found == {"x_percentile": [Point(200, 0.0), Point(300, 0.0)], "y_percentile": [Point(300, 0.0)]}
    assert drifts(rows[:1]) == {}


def test_only_bytes_of_percentiles_become_quantiles() -> None:
    found = series([(1, {"a_approx_percentile": [1.0, 2.0], "blob": b"\x01"})])
    assert found == {"a_approx_percentile": [Point(1, [1.0, 2.0])], "blob": [Point(1, b"\x01")]}

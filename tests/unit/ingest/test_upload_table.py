"""Upload tables: judged whole before a row is written, the serving info last, from every row on."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from chronoserve.ingest.source import Row
from chronoserve.ingest.upload_table import UploadTable, dataset_of
from chronoserve.kvstore.backends.memory import MemoryStore
from chronoserve.kvstore.router import Route, Router
from chronoserve.model import values
from chronoserve.model.errors import CorruptValue, FailedPrecondition, InvalidRequest, KVError
from chronoserve.model.naming import SERVING_INFO_KEY
from chronoserve.model.partitions import PartitionSpec
from chronoserve.service.bulk import BulkLoader, Load
from chronoserve.service.gateway import Gateway, Limits
from chronoserve.testing.clock import ManualClock
from chronoserve.warehouse.port import Condition

DS = "2023-11-30"
BATCH_END = 1_701_388_800_000
DATASET = "TEAM_GB_V1_BATCH"
TABLE = "ns.team_gb_v1_upload"
FIRST = [(f"k{n}".encode(), f"v{n}".encode()) for n in range(7)]


def info(name: str = "team.gb.v1", end: str = "2023-12-01") -> bytes:
    return json.dumps({"groupBy": {"metaData": {"name": name}}, "batchEndDate": end}).encode()


class FakeTable:
    """A table in memory; ``rows`` as columns say, ``damaged`` fails on that batch."""

    name = TABLE
    format = "parquet"

    def __init__(self, rows: Sequence[tuple[Any, ...]], *, damaged: int | None = None, times: bool = False) -> None:
        self.rows = list(rows)
        self.damaged = damaged
        self.times = times
        self.asked: list[Sequence[Condition]] = []

    def schema(self, conditions: Sequence[Condition] = ()) -> pa.Schema:
        raise AssertionError("loads name their columns")

    def partition_columns(self) -> tuple[str, ...]:
        return ()

    def partitions(self, column: str) -> list[str]:
        return [DS]

    def fingerprint(self, conditions: Sequence[Condition] = ()) -> str:
        return str(len(self.rows))

    def read(self, columns: Sequence[str] | None = None, conditions: Sequence[Condition] = ()) -> Iterator[pa.RecordBatch]:
        self.asked.append(conditions)
        names = ["key_bytes", "value_bytes", *(["ts"] if self.times else [])]
        assert columns == names
        kinds = [pa.binary(), pa.binary(), pa.int64()]
        for n, rows in enumerate(_threes(self.rows)):
            if n == self.damaged:
                raise CorruptValue(f"{TABLE}: damaged")
            arrays = [pa.array([row[at] for row in rows], kinds[at]) for at in range(len(names))]
            yield pa.RecordBatch.from_arrays(arrays, names=names)


def _threes(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[at : at + 3] for at in range(0, len(rows), 3))


UPLOAD = [*FIRST[:2], (SERVING_INFO_KEY, info()), *FIRST[2:]]


def source(table: FakeTable, dataset: str = DATASET) -> UploadTable:
    return UploadTable(table, dataset=dataset, partition=DS, spec=PartitionSpec())


def loaded(found: UploadTable, start: int = 0) -> list[Row]:
    return [row for rows in found.batches(start) for row in rows]


def test_the_serving_info_comes_last_wherever_it_lies() -> None:
    for at in range(len(FIRST) + 1):
        table = FakeTable([*FIRST[:at], (SERVING_INFO_KEY, info()), *FIRST[at:]])
        found = source(table)
        assert found.count() == len(FIRST) + 1
        assert loaded(found) == [*(Row(key, value, None) for key, value in FIRST), Row(SERVING_INFO_KEY, info(), None)]
        assert table.asked[0] == (Condition("ds", "==", DS),)


def test_a_load_goes_on_from_any_row() -> None:
    whole = loaded(source(FakeTable(UPLOAD)))
    for start in range(len(whole) + 1):
        assert loaded(source(FakeTable(UPLOAD)), start) == whole[start:]


def test_a_table_written_again_while_it_is_loaded_ends_the_load_before_its_serving_info() -> None:
    table = FakeTable(UPLOAD)
    found = source(table).batches(0)
    seen = [next(found)]
    table.rows.append((b"more", b"v"))
    with pytest.raises(FailedPrecondition, match=f"{TABLE}/{DS} was written again while it was loaded: load it again"):
        seen += found
    assert SERVING_INFO_KEY not in [row.key for rows in seen for row in rows]


def test_an_upload_without_partitions_has_its_day_in_ds_whatever_partitions_are_called() -> None:
    table = FakeTable(UPLOAD)
    table.schema = lambda conditions=(): pa.schema([("key_bytes", pa.binary()), ("ds", pa.string())])  # type: ignore[method-assign]
    UploadTable(table, dataset=DATASET, partition=DS, spec=PartitionSpec("dt")).judge()
    assert table.asked == [(Condition("ds", "==", DS),)]


def test_rows_without_a_key_are_left_out_and_counted() -> None:
    found = source(FakeTable([(None, b"x"), *UPLOAD]))
    assert found.judge().rows_without_key == 1
    assert found.count() == len(loaded(found)) == len(UPLOAD)


def test_statistics_have_times_of_their_own_and_no_serving_info() -> None:
    table = FakeTable([(b"a", b"1", 5), (b"b", b"2", 6)], times=True)
    table.name = "ns.team_j_v1_daily_stats_upload"
    assert loaded(source(table, dataset_of(table.name))) == [Row(b"a", b"1", 5), Row(b"b", b"2", 6)]


@pytest.mark.parametrize(
    ("rows", "kind", "said"),
    [
        ([], FailedPrecondition, "no rows"),
        (FIRST, FailedPrecondition, "has 0 rows group_by_serving_info"),
        ([*UPLOAD, (SERVING_INFO_KEY, info())], FailedPrecondition, "has 2 rows group_by_serving_info"),
        ([*FIRST, (SERVING_INFO_KEY, b"{")], CorruptValue, "serving info is no JSON"),
        ([*FIRST, (SERVING_INFO_KEY, b"[]")], CorruptValue, "serving info is no JSON"),
        ([*FIRST, (SERVING_INFO_KEY, None)], CorruptValue, "serving info is no JSON"),
        ([*FIRST, (SERVING_INFO_KEY, info(name="team.other.v1"))], FailedPrecondition, "upload of team.other.v1"),
        ([*FIRST, (SERVING_INFO_KEY, info(end="2023-11-30"))], FailedPrecondition, "ends at 2023-11-30, not at 2023-12-01"),
    ],
)
def test_an_upload_that_is_not_whole_is_refused(rows: Sequence[tuple[Any, ...]], kind: type[KVError], said: str) -> None:
    with pytest.raises(kind) as refused:
        source(FakeTable(rows)).count()
    assert said in refused.value.message
    assert TABLE in refused.value.message
    assert DS in refused.value.message


@pytest.mark.parametrize(
    ("table", "dataset"),
    [
        ("ns.team_gb_v1_upload", "TEAM_GB_V1_BATCH"),
        ("default.quickstart_purchases_v1_upload", "QUICKSTART_PURCHASES_V1_BATCH"),
        ("ns.j_daily_stats_upload", "CHRONON_STATS_BATCH"),
        ("ns.j_logged_daily_stats_upload", "CHRONON_LOG_STATS_BATCH"),
        ("ns.j_consistency_upload", "CHRONON_CONSISTENCY_METRICS_STATS_BATCH"),
    ],
)
def test_the_dataset_of_a_table(table: str, dataset: str) -> None:
    assert dataset_of(table) == dataset


class OneTable:
    """A warehouse of one table."""

    def __init__(self, table: FakeTable) -> None:
        self._table = table

    def table(self, name: str) -> FakeTable:
        assert name == TABLE
        return self._table


class Online:
    """A loader over a memory store."""

    def __init__(self) -> None:
        self.clock = ManualClock(BATCH_END)
        router = Router({"main": MemoryStore(self.clock)}, [Route("*", "main")])
        self.gateway = Gateway(router, router, clock=self.clock, limits=Limits(create_on_put=True))

    async def load(self, table: FakeTable | None, name: str = TABLE, partition: str = DS) -> None:
        warehouse = None if table is None else lambda: OneTable(table)
        loader = BulkLoader(self.gateway, roots=[], clock=self.clock, warehouse=warehouse)
        async for _ in loader.run(Load(name, DATASET, partition)):
            pass

    async def value(self, key: bytes) -> values.TimedValue | None:
        class Get:
            dataset, key_bytes, after_ts_millis = DATASET, key, 0

        (found,) = await self.gateway.multi_get([Get()], deadline=1e12)
        assert isinstance(found, bytes)
        return values.latest(found)


async def test_rows_are_written_at_the_end_of_their_day() -> None:
    online = Online()
    await online.gateway.create(DATASET, None, 0, deadline=1e12)
    await online.load(FakeTable(UPLOAD))
    assert await online.value(b"k3") == (b"v3", BATCH_END)
    assert await online.value(SERVING_INFO_KEY) == (info(), BATCH_END)


@pytest.mark.parametrize("table", [FakeTable(FIRST), FakeTable(UPLOAD, damaged=2), FakeTable([*UPLOAD[:2], (b"x", None), *UPLOAD[2:]])])
async def test_nothing_is_written_of_an_upload_that_is_not_whole(table: FakeTable) -> None:
    online = Online()
    await online.gateway.create(DATASET, None, 0, deadline=1e12)
    with pytest.raises(KVError, match=TABLE):
        await online.load(table)
    assert await online.value(b"k0") is None


async def test_a_table_needs_a_warehouse_and_a_day() -> None:
    online = Online()
    await online.gateway.create(DATASET, None, 0, deadline=1e12)
    with pytest.raises(FailedPrecondition, match="no warehouse"):
        await online.load(None)
    with pytest.raises(InvalidRequest, match="one partition at a time"):
        await online.load(FakeTable(UPLOAD), partition="")

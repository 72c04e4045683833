"""What engines promise: rows of a key together and in order, errors of sources as they are; the SQL that Spark gets."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.model.errors import CorruptValue, FailedPrecondition
from chronoserve.upload.engine import DuckDB
from chronoserve.upload.spark import of_spark, statement
from tests.unit.upload.shop import DS, conf, entities, events, millis, rows, upload, write

EVENTS = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("ts", pa.int64())])
SCHEMA = pa.schema([("user", pa.string()), ("at", pa.int64())])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write(tmp_path, "shop.events", {DS: [{"user": f"u{number % 7}", "vl": number, "ts": millis(DS)} for number in range(50)]}, EVENTS)
    return tmp_path


@given(st.lists(st.lists(st.sampled_from([None, "", "a", "b", "B", "ü"]), max_size=20), max_size=6))
@settings(max_examples=30, deadline=None)
def test_keys_come_together_in_the_order_of_their_rows(tmp_path_factory: pytest.TempPathFactory, batches: list[list[str | None]]) -> None:
    numbers = iter(range(1000))
    made = [pa.RecordBatch.from_pylist([{"user": user, "at": next(numbers)} for user in users], SCHEMA) for users in batches]
    given_rows = [row for batch in made for row in batch.to_pylist()]
    engine = DuckDB(tmp_path_factory.mktemp("spill"), memory_bytes=64 << 20, threads=1)
    found = [row for batch in engine.sorted(SCHEMA, made, ["user"]) for row in batch.to_pylist()]
    assert sorted(given_rows, key=lambda row: (row["user"] is not None, (row["user"] or "").encode(), row["at"])) == found


def test_rows_that_memory_does_not_hold_go_to_disk(tmp_path: Path) -> None:
    """Some 130 MB of rows in 64 MB."""
    count, each = 40, 20_000

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(count):
            users = [f"{(start * each + number) * 7919 % 1_000_003:0150}" for number in range(each)]
            yield pa.RecordBatch.from_arrays([pa.array(users), pa.array(range(each), pa.int64())], schema=SCHEMA)

    total, last = 0, ""
    for batch in DuckDB(tmp_path, memory_bytes=64 << 20, threads=1).sorted(SCHEMA, batches(), ["user"]):
        users = batch.column("user")
        assert users[0].as_py() >= last
        total, last = total + batch.num_rows, users[-1].as_py()
    assert total == count * each


def test_a_source_s_own_error_comes_through(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"user": "a", "at": 1}], SCHEMA)
        raise FailedPrecondition("the partition is gone")

    with pytest.raises(FailedPrecondition, match="the partition is gone"):
        list(DuckDB(tmp_path, memory_bytes=64 << 20).sorted(SCHEMA, broken(), ["user"]))


def test_a_corrupt_file_is_named_with_its_partition(shop: Path) -> None:
    path = shop / "shop.db" / "events" / f"ds={DS}" / "part-0.parquet"
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    with pytest.raises(CorruptValue, match=rf"shop\.events.*ds={DS}"):
        rows(shop, conf(events()))


def test_files_that_disagree_on_a_type_are_refused(shop: Path) -> None:
    other = pa.schema([("user", pa.string()), ("vl", pa.string()), ("ts", pa.int64())])
    write(shop, "shop.events", {"2024-03-09": [{"user": "a", "vl": "x", "ts": millis("2024-03-09")}]}, other)
    with pytest.raises(FailedPrecondition, match=r"shop\.events.*ds=2024-03-09.*vl is string here and int64.*rewrite"):
        rows(shop, conf(events()))


def test_spark_gets_each_where_in_parentheses_and_partitions_as_texts(shop: Path) -> None:
    made = upload(shop, conf(events(wheres=["vl > 1 OR user = 'a'", "vl < 9"])))
    assert statement(made.plan.sources[0], "v", made.plan) == (
        "SELECT `ds` as `ds`, ts as `ts`, `user` as `user`, vl as `vl` FROM v".replace("`user` as", "user as")
        + f" WHERE cast(`ds` as string) >= '2024-03-06' AND cast(`ds` as string) <= '{DS}' AND (vl > 1 OR user = 'a') AND (vl < 9)"
    )


def test_spark_gets_the_end_of_the_day_where_rows_have_no_time(shop: Path) -> None:
    made = upload(shop, conf(events(timeColumn=None)))
    assert "(unix_timestamp(`ds`, 'yyyy-MM-dd') + 86400) * 1000 - 1 as `ts`" in statement(made.plan.sources[0], "v", made.plan)


def test_spark_reads_nothing_where_no_partition_can_count(shop: Path) -> None:
    write(shop, "shop.users", {DS: [{"user": "a"}]}, pa.schema([("user", pa.string())]))
    made = upload(shop, conf(entities("shop.users", startPartition="2024-03-11"), aggregations=None))
    assert statement(made.plan.sources[0], "v", made.plan).startswith("SELECT * FROM v WHERE 1 = 0 AND")


def test_our_errors_come_back_out_of_spark_s() -> None:
    told = RuntimeError("Job aborted\n chronoserve.model.errors.CorruptValue: shop.events is damaged\n at java.lang.Thread")
    assert isinstance(of_spark(told), CorruptValue)
    assert of_spark(told).message == "shop.events is damaged"
    assert "Job aborted" in of_spark(RuntimeError("Job aborted\n at java")).message

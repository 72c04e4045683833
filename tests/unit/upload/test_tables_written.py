"""Upload tables: what is in them, and that readers see the old one or the new one."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from pyiceberg.catalog import load_catalog

from chronoserve.ingest.upload_table import UploadTable
from chronoserve.model.errors import FailedPrecondition, KVError
from chronoserve.model.naming import SERVING_INFO_KEY
from chronoserve.model.partitions import PartitionSpec
from chronoserve.upload.engine import DuckDB
from chronoserve.upload.rows import SCHEMA, table_rows
from chronoserve.upload.serving_info import serving_info
from chronoserve.upload.table import DeltaTarget, IcebergTarget, ParquetTarget, UploadTarget
from chronoserve.warehouse.places import open_warehouse
from chronoserve.warehouse.port import Table
from tests.unit.upload.shop import DS, conf, events, millis, upload, write

EVENTS = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("ts", pa.int64())])
TABLE = "out.team_gb_v1_upload"
Place = tuple[UploadTarget, str]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write(tmp_path, "shop.events", {DS: [{"user": f"u{number}", "vl": number, "ts": millis(DS)} for number in range(500)]}, EVENTS)
    return tmp_path


@pytest.fixture(params=["parquet", "delta", "iceberg"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where an upload goes, and the warehouse that it is read from again."""
    folder = tmp_path / "made" / "out.db" / "team_gb_v1_upload"
    if request.param == "parquet":
        return ParquetTarget(TABLE, fs.LocalFileSystem(), str(folder)), str(tmp_path / "made")
    if request.param == "delta":
        return DeltaTarget(TABLE, str(folder)), str(tmp_path / "made")
    uri, root = f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/ice"
    return IcebergTarget(
        TABLE, load_catalog("spark", type="sql", uri=uri, warehouse=root)
    ), f"iceberg://spark?type=sql&uri={uri}&warehouse={root}"


def batches(shop: Path, topic: str | None = "t") -> Iterator[pa.RecordBatch]:
    text = conf(events(topic=topic))
    made = upload(shop, text)
    return table_rows(made, DuckDB(shop, memory_bytes=64 << 20), serving_info(made, text, open_warehouse(str(shop))))


def table(url: str) -> Table:
    return open_warehouse(url).table(TABLE)


def test_a_table_is_what_a_load_expects(shop: Path, place: Place) -> None:
    target, url = place
    assert target.replace(batches(shop)) == 501
    judged = UploadTable(table(url), dataset="TEAM_GB_V1_BATCH", partition=DS, spec=PartitionSpec()).judge()
    assert (judged.rows, judged.rows_without_key) == (501, 0)
    assert judged.serving_info is not None
    assert json.loads(judged.serving_info)["batchEndDate"] == "2024-03-11"


def test_a_second_upload_replaces_the_first(shop: Path, place: Place) -> None:
    target, url = place
    target.replace(batches(shop))
    target.replace(batches(shop))
    assert sum(batch.num_rows for batch in table(url).read()) == 501


def test_an_upload_that_fails_leaves_the_table_as_it_was(shop: Path, place: Place) -> None:
    target, url = place
    target.replace(batches(shop))

    def broken() -> Iterator[pa.RecordBatch]:
        yield next(batches(shop))
        raise FailedPrecondition("the source is gone")

    with pytest.raises(KVError, match="the source is gone"):
        target.replace(broken())
    assert sum(batch.num_rows for batch in table(url).read()) == 501


def test_some_rows_have_their_json_and_always_the_same(shop: Path) -> None:
    found = [row for batch in batches(shop) for row in batch.to_pylist()]
    shown = [row for row in found if row["key_json"] is not None]
    assert 1 < len(shown) < 25
    assert {row["ds"] for row in found} == {DS}
    assert found[-1]["key_bytes"] == SERVING_INFO_KEY
    assert found[-1]["value_json"] == found[-1]["value_bytes"].decode()
    user = json.loads(shown[0]["key_json"])["user"]["string"]
    assert user.startswith("u")
    assert "ai.chronon.data.CollapsedIrStruct" in shown[0]["value_json"]
    assert [row["key_json"] for batch in batches(shop) for row in batch.to_pylist()] == [row["key_json"] for row in found]


def test_files_of_another_writer_make_place(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "out.db" / "team_gb_v1_upload"
    folder.mkdir(parents=True)
    old = pa.Table.from_pylist([{"key_bytes": b"k", "value_bytes": b"v", "key_json": None, "value_json": None, "ds": DS}], SCHEMA)
    pq.write_table(old, folder / "part-00000-spark.parquet")
    (folder / "_SUCCESS").touch()
    target = ParquetTarget(TABLE, fs.LocalFileSystem(), str(folder))
    target.replace(batches(shop))
    assert sum(batch.num_rows for batch in table(str(tmp_path / "made")).read()) == 501
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_killed_uploads_left_goes_after_a_day(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "out.db" / "team_gb_v1_upload"
    folder.mkdir(parents=True)
    old, new = folder / "_1.writing", folder / "_2.writing"
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    ParquetTarget(TABLE, fs.LocalFileSystem(), str(folder)).replace(batches(shop))
    assert {path.name for path in folder.iterdir()} == {"_2.writing", "part-00000.zstd.parquet"}


def test_readers_meet_no_half_written_file(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "out.db" / "team_gb_v1_upload"
    target = ParquetTarget(TABLE, fs.LocalFileSystem(), str(folder))
    target.replace(batches(shop))
    seen: list[int] = []

    def watched() -> Iterator[pa.RecordBatch]:
        for batch in batches(shop):
            seen.append(sum(read.num_rows for read in table(str(tmp_path / "made")).read()))
            yield batch

    target.replace(watched())
    assert set(seen) == {501}


def test_a_serving_info_without_a_stream_has_no_input_schema(shop: Path) -> None:
    def info(topic: str | None) -> dict[str, object]:
        text = conf(events(topic=topic, wheres=["vl > 0"], selects={"vl": "vl", "user": "lower(user)"}))
        found: dict[str, object] = json.loads(serving_info(upload(shop, text), text, open_warehouse(str(shop))))
        return found

    assert "inputAvroSchema" not in info(None)
    streamed = json.loads(str(info("t")["inputAvroSchema"]))
    assert [field["name"] for field in streamed["fields"]] == ["user", "vl", "ts"]

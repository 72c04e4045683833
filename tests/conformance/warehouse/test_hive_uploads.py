"""Uploads into tables of a real Hive metastore: made, replaced, kept by day, refused, killed; loaded through it, and read by Spark."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hive_metastore import ttypes

from chronoserve.app.terminal import Screen
from chronoserve.app.upload import UploadJob
from chronoserve.app.upload_meter import UploadMeter
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, KVError
from chronoserve.upload.hive import HiveTarget
from chronoserve.upload.table import DayPartition
from chronoserve.warehouse.places import open_warehouse
from chronoserve.warehouse.port import Condition
from tests.conformance.conftest import installed, running_engine
from tests.conformance.test_upload_killed import Mortal
from tests.conformance.warehouse.metastores import client, described, make_database, storage
from tests.engines.engine import Engine
from tests.engines.environments import ROOT, Spark
from tests.engines.hive import HiveMetastore
from tests.unit.app.shell import run_process
from tests.unit.upload.shop import DS, conf, events, millis, write

EVENTS = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("ts", pa.int64())])
DAY_BEFORE, USERS = "2024-03-09", 40
NAME = "production/group_bys/team/gb.v1"
SECONDS = 300

Row = tuple[bytes, bytes, str]


@pytest.fixture(scope="module")
def metastore(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> HiveMetastore:
    found = running_engine("hive", engines, tmp_path_factory)
    assert isinstance(found, HiveMetastore)
    make_database(found, "uploads")
    return found


class Shop:
    """A group by over a folder of events, uploaded into the metastore. Its table has the test's own name."""

    def __init__(self, root: Path, metastore: HiveMetastore, name: str, **meta: Any) -> None:
        self.metastore, self.short = metastore, f"team_{name}_v1_upload"
        self.table, self.root = f"uploads.{self.short}", root
        found = json.loads(conf(events()))
        found["metaData"] |= {"name": f"team.{name}.v1", "outputNamespace": "uploads", **meta}
        self.conf = root / NAME
        self.conf.parent.mkdir(parents=True)
        self.conf.write_text(json.dumps(found))
        self.sell(1)

    def sell(self, each: int) -> None:
        rows = [{"user": f"u{user}", "vl": 1, "ts": millis(DAY_BEFORE, 1 + at)} for user in range(USERS) for at in range(each)]
        write(self.root, "shop.events", {DAY_BEFORE: rows}, EVENTS)

    def words(self, *more: str, ds: str = DS) -> list[str]:
        return ["--conf", str(self.conf), "--warehouse", str(self.root), "--output", self.metastore.url, "--ds", ds, *more]

    def upload(self, *, ds: str = DS, partitioned: bool = False, output: str | None = None) -> int:
        job = UploadJob.of(
            conf=self.conf, ds=ds, warehouse=str(self.root), output=output or self.metastore.url, engine="duckdb", table_format=None,
            memory_mb=64, partition_column="ds", partition_format="yyyy-MM-dd", partitioned=partitioned,
        )  # fmt: skip
        return job.run(UploadMeter(Screen(json_lines=True), self.table)).rows

    def expected(self) -> set[Row]:
        """The same upload into a folder."""
        self.upload(output=str(self.root / "beside"))
        return set(rows(open_warehouse(str(self.root / "beside")), self.table))

    def rows(self, *conditions: Condition) -> list[Row]:
        return rows(open_warehouse(self.metastore.url), self.table, *conditions)

    def described(self) -> Any:
        return described(self.metastore, "uploads", self.short)


def rows(warehouse: Any, table: str, *conditions: Condition) -> list[Row]:
    found = warehouse.table(table).read(["key_bytes", "value_bytes", "ds"], conditions)
    return [tuple(row.values()) for batch in found for row in batch.to_pylist()]


def test_a_new_table_is_chronon_s(metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, "new", tableProperties={"team": "growth"})
    assert shop.upload() == USERS + 1
    assert set(shop.rows()) == shop.expected()
    found = shop.described()
    assert {column.name: column.type for column in found.sd.cols} == {
        "key_bytes": "binary", "value_bytes": "binary", "key_json": "string", "value_json": "string", "ds": "string",
    }  # fmt: skip
    assert not found.partitionKeys
    expected = {"team": "growth", "chronon_generated": "true", "chronon_table_type": "upload"}
    assert {name: found.parameters[name] for name in expected} == expected
    assert (
        found.sd.location.startswith(f"file:{metastore.directory}/warehouse/uploads.db/{shop.short}/_") or "file:///" in found.sd.location
    )


def test_properties_come_from_teams_json_where_the_conf_has_none(metastore: HiveMetastore, tmp_path: Path) -> None:
    (tmp_path / "teams.json").write_text(json.dumps({"default": {"table_properties": {"source": "x"}}, "team": {}}))
    shop = Shop(tmp_path, metastore, "teams")
    shop.upload()
    assert shop.described().parameters["source"] == "x"


def test_the_last_upload_is_the_table_and_who_reads_the_one_before_ends_with_it(metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, "replaced")
    shop.upload()
    before = open_warehouse(metastore.url).table(shop.table)
    old = set(shop.rows())
    with client(metastore) as told:
        table = shop.described()
        told.alter_table("uploads", shop.short, counted(table))
    shop.sell(3)
    assert shop.upload() == USERS + 1
    assert set(shop.rows()) == shop.expected() != old
    assert {(row["key_bytes"], row["value_bytes"], row["ds"]) for batch in before.read() for row in batch.to_pylist()} == old
    assert not any("numRows" in name or "statistics" in name for name in shop.described().parameters)


def counted(table: Any) -> Any:
    """With what ANALYZE leaves, which would answer queries for the new files."""
    table.parameters |= {"numRows": "7", "spark.sql.statistics.numRows": "7"}
    return table


def test_a_partitioned_table_keeps_each_day(metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, "days")
    shop.upload(ds=DAY_BEFORE, partitioned=True)
    before = shop.rows()
    shop.upload()
    assert [key.name for key in shop.described().partitionKeys] == ["ds"]
    assert [column.name for column in shop.described().sd.cols] == ["key_bytes", "value_bytes", "key_json", "value_json"]
    shop.sell(2)
    shop.upload()
    assert open_warehouse(metastore.url).table(shop.table).partitions("ds") == [DAY_BEFORE, DS]
    assert set(shop.rows(Condition("ds", "==", DS))) == shop.expected()
    assert sorted(shop.rows(Condition("ds", "==", DAY_BEFORE))) == sorted(before)


def test_a_table_of_spark_s_is_replaced_where_it_is(metastore: HiveMetastore, tmp_path: Path) -> None:
    """Its files stay where they were, and are no longer the table's."""
    shop = Shop(tmp_path, metastore, "spark_made")
    columns = {"key_bytes": "binary", "value_bytes": "binary", "key_json": "string", "value_json": "string", "ds": "string"}
    made(shop, tmp_path / "spark_made", columns)
    pq.write_table(pa.table({"key_bytes": [b"old"], "value_bytes": [b"v"], "ds": [DS]}), tmp_path / "spark_made" / "part-0.parquet")
    assert shop.rows() == [(b"old", b"v", DS)]
    shop.upload()
    assert set(shop.rows()) == shop.expected()
    assert (tmp_path / "spark_made" / "part-0.parquet").exists()
    assert shop.described().tableType == "EXTERNAL_TABLE"


def made(shop: Shop, location: Path, columns: dict[str, str], *keys: str, **parameters: str) -> None:
    location.mkdir()
    table = ttypes.Table(
        tableName=shop.short, dbName="uploads", sd=storage(location, columns), tableType="EXTERNAL_TABLE",
        partitionKeys=[ttypes.FieldSchema(name=key, type="string") for key in keys], parameters={"EXTERNAL": "TRUE", **parameters},
    )  # fmt: skip
    with client(shop.metastore) as told:
        told.create_table(table)


BYTES = {"key_bytes": "binary", "value_bytes": "binary"}
TEXTS = {"key_json": "string", "value_json": "string"}


@dataclass(frozen=True)
class Other:
    """A table that uploads do not fit."""

    name: str
    columns: dict[str, str]
    said: str
    keys: tuple[str, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)


@pytest.mark.parametrize(
    "other",
    [
        Other("drifted", {**BYTES, **TEXTS, "value_bytes": "string"}, "its column value_bytes is string and must be binary", ("ds",)),
        Other("lacking", {**BYTES, "ds": "string"}, "its column key_json is missing and must be string"),
        Other("orc", {**BYTES, **TEXTS, "ds": "string"}, "is no table of Parquet files (orc)", (), {"spark.sql.sources.provider": "orc"}),
        Other("hourly", {**BYTES, **TEXTS}, "is partitioned by ds, hr", ("ds", "hr")),
    ],
    ids=lambda other: other.name,
)
def test_a_table_that_uploads_do_not_fit_is_refused_and_stays(other: Other, metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, other.name)
    made(shop, tmp_path / "there", other.columns, *other.keys, **other.parameters)
    before = shop.described()
    with pytest.raises((FailedPrecondition, InvalidRequest)) as refused:
        shop.upload()
    assert shop.table in refused.value.message
    assert other.said in refused.value.message
    assert "give another --output" in refused.value.message
    assert shop.described() == before
    assert not list((tmp_path / "there").rglob("*"))


def test_partitions_are_not_asked_of_a_table_without(metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, "flat")
    shop.upload()
    with pytest.raises(InvalidRequest, match="leave out --partitioned"):
        shop.upload(partitioned=True)


def test_a_database_that_is_not_there_is_named(metastore: HiveMetastore, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="CREATE DATABASE nowhere"):
        Shop(tmp_path, metastore, "lost", outputNamespace="nowhere").upload()


@pytest.mark.parametrize("partitioned", [False, True])
def test_an_upload_that_fails_leaves_metastore_and_folder_as_they_were(partitioned: bool, metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, f"fails_{partitioned}".lower())
    shop.upload(partitioned=partitioned)
    before, files = sorted(shop.rows()), below(metastore, shop)
    warehouse = open_warehouse(metastore.url)
    target = HiveTarget(shop.table, warehouse, DayPartition("ds", DS) if partitioned else None)  # type: ignore[arg-type]

    def broken() -> Any:
        yield pa.RecordBatch.from_pylist([{"key_bytes": b"k", "value_bytes": b"v", "key_json": None, "value_json": None, "ds": DS}], FLAT)
        raise FailedPrecondition("the source is gone")

    with pytest.raises(KVError, match="the source is gone"):
        target.replace(broken())
    assert sorted(shop.rows()) == before
    assert below(metastore, shop) == files


FLAT = pa.schema(
    [("key_bytes", pa.binary()), ("value_bytes", pa.binary()), *((name, pa.string()) for name in ("key_json", "value_json", "ds"))]
)


def below(metastore: HiveMetastore, shop: Shop) -> list[str]:
    folder = metastore.directory / "warehouse" / "uploads.db" / shop.short
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("partitioned", [False, True])
def test_readers_of_the_metastore_see_one_upload_wherever_it_dies(partitioned: bool, metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, f"killed_{partitioned}".lower())
    more = ("--partitioned", "--json") if partitioned else ("--json",)
    mortal = Mortal()
    assert mortal.upload(shop.words(*more))[0] == 0
    old, code, step = set(shop.rows()), -1, 0
    shop.sell(4)
    new = shop.expected()
    while code:
        step += 1 if step < 3 else 9
        code, _, _ = mortal.upload(shop.words(*more), step=step, published=True, own=True)
        found = shop.rows()
        assert set(found) in (old, new)
        assert len(found) == USERS + 1
    mortal.close()
    assert set(found) == new
    place = metastore.directory / "warehouse" / "uploads.db" / shop.short / ("ds=" + DS if partitioned else "")
    left = list(place.glob("_*"))
    assert len(left) > 1
    for path in left:
        os.utime(path, (1, 1))
    shop.upload()
    assert len(list(place.glob("_*"))) == 1
    assert set(shop.rows()) == new


def test_an_upload_is_loaded_through_the_metastore_and_fetched(metastore: HiveMetastore, tmp_path: Path) -> None:
    shop = Shop(tmp_path, metastore, "loaded")
    store = f"lmdb://{tmp_path}/store"
    done = run_process("upload", *shop.words("--bulk-load", "--store", store), cwd=tmp_path)
    assert done.code == 0, done.err
    assert f"{USERS + 1} rows written, 0 refused" in done.out
    fetched = run_process("fetch", "group-by", "team/loaded.v1", "-k", "user=u7", "--store", store, cwd=tmp_path)
    assert fetched.out.split()[:2] == ["vl_count_3d", "1"]


def test_spark_reads_what_was_uploaded_and_uploads_what_we_read(metastore: HiveMetastore, tmp_path: Path) -> None:
    installed(Spark)
    flat, days = Shop(tmp_path / "a", metastore, "spark_flat"), Shop(tmp_path / "b", metastore, "spark_days")
    for shop in (flat, days):
        shop.upload(ds=DAY_BEFORE, partitioned=shop is days)
        shop.upload()
        shop.sell(2)
        shop.upload()
    told = spark("read", metastore, flat.table, days.table)
    assert {tuple(row) for row in told[flat.table]} == {hexed(row) for row in flat.rows()}
    assert {tuple(row) for row in told[days.table]} == {hexed(row) for row in days.rows()}
    assert told["partitions"] == [[f"ds={DAY_BEFORE}"], [f"ds={DS}"]]
    expected = {shop.table: shop.expected() for shop in (flat, days)}
    for shop in (flat, days):
        spark("upload", metastore, str(shop.conf), str(shop.root), DS)
        assert {row[:2] for row in shop.rows(Condition("ds", "==", DS))} == {row[:2] for row in expected[shop.table]}
    assert len(days.rows()) == len(set(days.rows()))


def hexed(row: Row) -> tuple[str, str, str]:
    return row[0].hex(), row[1].hex(), row[2]


def spark(*words: Any) -> dict[str, Any]:
    what, metastore, *rest = words
    env = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "PYSPARK_PYTHON": str(Spark.python()), "TZ": "UTC"}
    script = Path(__file__).parent / "on_spark.py"
    command: list[str | Path] = [Spark.python(), script, what, f"thrift://127.0.0.1:{metastore.port}", str(metastore.directory), *rest]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found

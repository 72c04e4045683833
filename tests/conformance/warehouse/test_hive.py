"""The reader of a Hive metastore on a real one: partitions lie where it says, in the formats that its tables have."""

from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hive_metastore import ttypes
from pyiceberg.catalog import load_catalog

from chronoserve.model.errors import FailedPrecondition, Unavailable
from chronoserve.warehouse.places import open_warehouse
from chronoserve.warehouse.port import Condition
from tests.conformance.conftest import running_engine
from tests.conformance.warehouse.metastores import client, make_database, storage
from tests.engines.engine import Engine
from tests.engines.hive import HiveMetastore

COLUMNS = {"key_bytes": "binary", "n": "bigint"}


@pytest.fixture(scope="module")
def metastore(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> HiveMetastore:
    found = running_engine("hive", engines, tmp_path_factory)
    assert isinstance(found, HiveMetastore)
    make_database(found, "ns")
    return found


def make_table(metastore: HiveMetastore, name: str, location: Path, keys: tuple[str, ...] = ()) -> None:
    location.mkdir(parents=True, exist_ok=True)
    table = ttypes.Table(
        tableName=name,
        dbName="ns",
        sd=storage(location, COLUMNS),
        partitionKeys=[ttypes.FieldSchema(name=key, type="string") for key in keys],
        parameters={"EXTERNAL": "TRUE"},
        tableType="EXTERNAL_TABLE",
    )
    with client(metastore) as made:
        made.create_table(table)


def add_partition(metastore: HiveMetastore, table: str, location: Path, *values: str) -> None:
    location.mkdir(parents=True, exist_ok=True)
    with client(metastore) as made:
        made.add_partition(
            ttypes.Partition(values=list(values), dbName="ns", tableName=table, sd=storage(location, COLUMNS), parameters={})
        )


def rows(count: int, tag: str) -> pa.Table:
    return pa.table({"key_bytes": [f"{tag}{n}".encode() for n in range(count)], "n": pa.array(range(count), pa.int64())})


def read(metastore: HiveMetastore, table: str, *conditions: Condition) -> list[tuple[Any, ...]]:
    found = open_warehouse(metastore.url).table(f"ns.{table}").read(None, conditions)
    return sorted(tuple(row.values()) for batch in found for row in batch.to_pylist())


def test_partitions_are_read_where_the_metastore_says(metastore: HiveMetastore, tmp_path: Path) -> None:
    make_table(metastore, "moved", tmp_path / "moved", ("ds", "name"))
    elsewhere = tmp_path / "quite" / "elsewhere"
    add_partition(metastore, "moved", elsewhere, "20231130", "team/join.v1")
    pq.write_table(rows(2, "a"), elsewhere / "part-0.parquet")
    stray = tmp_path / "moved" / "ds=20231201" / "name=x"
    stray.mkdir(parents=True)
    pq.write_table(rows(9, "stray"), stray / "part-0.parquet")

    table = open_warehouse(metastore.url).table("ns.moved")
    assert table.partition_columns() == ("ds", "name")
    assert table.partitions("ds") == ["20231130"]
    assert read(metastore, "moved") == [(b"a0", 0, "20231130", "team/join.v1"), (b"a1", 1, "20231130", "team/join.v1")]
    assert read(metastore, "moved", Condition("name", "==", "other")) == []


def test_of_many_partitions_only_those_that_are_asked_for_are_fetched(metastore: HiveMetastore, tmp_path: Path) -> None:
    """Conditions on partitions are the metastore's to judge; names suffice where it is asked which there are."""
    make_table(metastore, "long", tmp_path / "long", ("ds",))
    days = [f"202311{day:02}" for day in range(1, 31)]
    for day in days:
        add_partition(metastore, "long", tmp_path / "long" / day, day)
    pq.write_table(rows(1, "a"), tmp_path / "long" / days[3] / "part-0.parquet")
    pq.write_table(rows(1, "b").rename_columns(["key_bytes", "m"]), tmp_path / "long" / days[8] / "part-0.parquet")
    table = open_warehouse(metastore.url).table("ns.long")
    assert table.partitions("ds") == days
    assert table.schema().names == ["key_bytes", "m", "ds"], "the newest that has files"
    assert table.schema([Condition("ds", "<=", days[5])]).names == ["key_bytes", "n", "ds"]
    assert read(metastore, "long", Condition("ds", ">=", days[8])) == [(b"b0", 0, days[8])]
    assert read(metastore, "long", Condition("ds", "==", days[3]), Condition("ds", "<=", days[3])) == [(b"a0", 0, days[3])]
    assert read(metastore, "long", Condition("ds", "==", '" or ds != "')) == []


def test_what_is_read_of_a_table_is_what_was_there_when_it_was_first_asked(metastore: HiveMetastore, tmp_path: Path) -> None:
    make_table(metastore, "steady", tmp_path / "steady", ("ds",))
    add_partition(metastore, "steady", tmp_path / "steady" / "1", "20231101")
    pq.write_table(rows(1, "old"), tmp_path / "steady" / "1" / "part-0.parquet")
    condition = (Condition("ds", "==", "20231101"),)
    table = open_warehouse(metastore.url).table("ns.steady")
    assert table.fingerprint(condition)
    with client(metastore) as made:
        known = made.get_partition("ns", "steady", ["20231101"])
        known.sd.location = f"file://{tmp_path}/steady/2"
        (tmp_path / "steady" / "2").mkdir()
        made.alter_partition("ns", "steady", known)
    pq.write_table(rows(1, "new"), tmp_path / "steady" / "2" / "part-0.parquet")
    assert [row["key_bytes"] for batch in table.read(None, condition) for row in batch.to_pylist()] == [b"old0"]
    assert [row[0] for row in read(metastore, "steady", *condition)] == [b"new0"]


def test_a_table_without_partitions(metastore: HiveMetastore, tmp_path: Path) -> None:
    make_table(metastore, "flat", tmp_path / "flat")
    pq.write_table(rows(3, "k"), tmp_path / "flat" / "part-0.parquet")
    assert [row[0] for row in read(metastore, "flat")] == [b"k0", b"k1", b"k2"]


def test_a_delta_table_is_known_by_its_log(metastore: HiveMetastore, tmp_path: Path) -> None:
    deltalake.write_deltalake(str(tmp_path / "delta"), rows(5, "old"))
    deltalake.write_deltalake(str(tmp_path / "delta"), rows(2, "new"), mode="overwrite")
    make_table(metastore, "delta", tmp_path / "delta")
    assert [row[0] for row in read(metastore, "delta")] == [b"new0", b"new1"]


def test_an_iceberg_table_is_known_by_its_properties(metastore: HiveMetastore, tmp_path: Path) -> None:
    writer = load_catalog("other", type="sql", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/lake")
    writer.create_namespace("ns")
    table = writer.create_table("ns.ice", rows(1, "x").schema)
    table.append(rows(2, "i"))
    uri = f"thrift://127.0.0.1:{metastore.port}"
    load_catalog("hive", type="hive", uri=uri).register_table("ns.ice", table.metadata_location)
    assert [row[0] for row in read(metastore, "ice")] == [b"i0", b"i1"]
    found = open_warehouse(f"iceberg://hive?type=hive&uri={uri}").table("ns.ice")
    assert sum(batch.num_rows for batch in found.read()) == 2


def test_what_is_not_there(metastore: HiveMetastore) -> None:
    for name in ("ns.nothing", "nowhere.t"):
        with pytest.raises(FailedPrecondition, match="no table"):
            open_warehouse(metastore.url).table(name)
    with pytest.raises(Unavailable, match="does not answer"):
        open_warehouse("hive://127.0.0.1:1").table("ns.t")

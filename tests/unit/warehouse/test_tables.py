"""The same rows read through every kind of table: columns, conditions, partitions, and what is not right."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import BinaryType, LongType, NestedField, StringType

from chronoserve.model.errors import CorruptValue, FailedPrecondition, InvalidRequest, KVError
from chronoserve.warehouse.places import open_warehouse
from chronoserve.warehouse.port import Condition, Operator, Table

DAYS = ("2023-11-29", "2023-11-30", "2023-12-01")
ROWS = [(f"{day}-{n}".encode(), n, day) for day in DAYS for n in range(3)]
COLUMNS = pa.schema([("key_bytes", pa.binary()), ("n", pa.int64()), ("ds", pa.string())])

Make = Callable[[Path], str]


def arrow(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=COLUMNS)


def hive_folder(root: Path) -> str:
    for day in DAYS:
        folder = root / "ns.db" / "t" / f"ds={day}"
        folder.mkdir(parents=True)
        pq.write_table(arrow([row for row in ROWS if row[2] == day]).drop(["ds"]), folder / "part-00000.parquet")
    (root / "ns.db" / "t" / "_SUCCESS").touch()
    (root / "ns.db" / "t" / "ds=2023-12-01" / "._part.crc").touch()
    return str(root)


def delta(root: Path) -> str:
    place = str(root / "ns.db" / "t")
    deltalake.write_deltalake(place, arrow([(b"old", 0, "2023-11-30")]), partition_by=["ds"])
    deltalake.write_deltalake(place, arrow(ROWS), mode="overwrite")
    return str(root)


def iceberg(root: Path) -> str:
    catalog = load_catalog("spark", type="sql", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}/ice")
    catalog.create_namespace("ns")
    fields = [NestedField(1, "key_bytes", BinaryType()), NestedField(2, "n", LongType()), NestedField(3, "ds", StringType())]
    spec = PartitionSpec(PartitionField(3, 1000, IdentityTransform(), "ds"))
    table = catalog.create_table("ns.t", Schema(*fields), partition_spec=spec)
    table.append(arrow(ROWS))
    return f"iceberg://spark?type=sql&uri=sqlite:///{root}/catalog.db&warehouse=file://{root}/ice"


def iceberg_without_catalog(root: Path) -> str:
    iceberg(root)
    (found,) = root.glob("ice/**/metadata")
    shutil.copytree(found.parent, root / "ns.db" / "t")
    metadata = max((root / "ns.db" / "t" / "metadata").glob("*.metadata.json"))
    metadata.rename(metadata.with_name("v7.metadata.json"))
    (root / "ns.db" / "t" / "metadata" / "version-hint.text").write_text("7")
    return str(root)


@pytest.fixture(params=[hive_folder, delta, iceberg, iceberg_without_catalog], ids=lambda make: make.__name__)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    make: Make = request.param
    return open_warehouse(make(tmp_path)).table("ns.t")


def rows(table: Table, columns: Sequence[str] | None = None, *conditions: Condition) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for batch in table.read(columns, conditions) for row in batch.to_pylist())


def test_all_rows_with_all_columns(table: Table) -> None:
    assert rows(table) == sorted(ROWS)
    assert table.schema().names == ["key_bytes", "n", "ds"]
    assert table.schema().field("ds").type == pa.string()
    assert table.schema().field("key_bytes").type == pa.binary()


def test_one_partition(table: Table) -> None:
    assert rows(table, ["key_bytes"], Condition("ds", "==", "2023-11-30")) == [(f"2023-11-30-{n}".encode(),) for n in range(3)]


def test_a_range_of_partitions(table: Table) -> None:
    found = rows(table, ["ds", "n"], Condition("ds", ">=", "2023-11-30"), Condition("ds", "<=", "2023-11-30"))
    assert found == [("2023-11-30", n) for n in range(3)]


def test_a_partition_that_is_not_there_has_no_rows(table: Table) -> None:
    assert rows(table, None, Condition("ds", "==", "2024-01-01")) == []


def test_partitions_are_listed(table: Table) -> None:
    assert table.partition_columns() == ("ds",)
    assert table.partitions("ds") == list(DAYS)


def test_a_missing_column_is_named_with_those_that_there_are(table: Table) -> None:
    with pytest.raises(FailedPrecondition, match=r"ns\.t has no column value_bytes; it has key_bytes, n, ds"):
        rows(table, ["value_bytes"])


def test_the_same_rows_have_the_same_fingerprint(table: Table) -> None:
    assert table.fingerprint() == table.fingerprint()


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    for url in (hive_folder(tmp_path / "a"), iceberg(tmp_path)):
        with pytest.raises(FailedPrecondition, match=r"ns\.nothing"):
            open_warehouse(url).table("ns.nothing")


def test_partition_values_are_decoded_and_stay_texts(tmp_path: Path) -> None:
    for value in ("name=team%2Fjoin.v1", "name=20231130"):
        folder = tmp_path / "ns.db" / "log" / "ds=20231130" / value
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"n": [1]}), folder / "a.parquet")
    table = open_warehouse(str(tmp_path)).table("ns.log")
    assert rows(table, ["name", "ds"]) == [("20231130", "20231130"), ("team/join.v1", "20231130")]
    assert rows(table, ["n"], Condition("name", "==", "team/join.v1")) == [(1,)]


def test_columns_that_older_files_lack_are_null(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    for day, columns in (("2023-11-29", {"n": [1]}), ("2023-11-30", {"n": [2], "more": ["x"]})):
        (folder / f"ds={day}").mkdir(parents=True)
        pq.write_table(pa.table(columns), folder / f"ds={day}" / "a.parquet")
    found = list(open_warehouse(str(tmp_path)).table("default.t").read(["n", "more"]))
    assert [row for batch in found for row in batch.to_pylist()] == [{"n": 1, "more": None}, {"n": 2, "more": "x"}]


def by_day(root: Path, **days: pa.Table) -> Table:
    """A table in Hive layout; days are named as d29 for 2023-11-29."""
    for day, rows in days.items():
        folder = root / "ns.db" / "t" / f"ds=2023-11-{day[1:]}"
        folder.mkdir(parents=True)
        pq.write_table(rows, folder / "part-0.parquet")
    return open_warehouse(str(root)).table("ns.t")


def test_the_newest_partition_asked_for_says_which_columns_there_are(tmp_path: Path) -> None:
    table = by_day(tmp_path, d28=pa.table({"n": [1]}), d29=pa.table({"n": [2], "m": [3]}), d30=pa.table({"n": [4], "m": [5], "o": [6]}))
    assert table.schema().names == ["n", "m", "o", "ds"]
    assert table.schema([Condition("ds", "<=", "2023-11-29")]).names == ["n", "m", "ds"]
    assert table.schema([Condition("ds", "==", "2024-01-01")]).names == ["n", "m", "o", "ds"], "of one that is not there: the newest's"
    read = pa.Table.from_batches(table.read(["m"], [Condition("ds", "<=", "2023-11-29")]))
    assert read.column("m").to_pylist() == [None, 3]


def test_no_other_partition_is_looked_at_for_the_columns(tmp_path: Path) -> None:
    table = by_day(tmp_path, d28=pa.table({"n": [1]}), d29=pa.table({"n": [2]}))
    (tmp_path / "ns.db" / "t" / "ds=2023-11-28" / "part-0.parquet").write_bytes(b"no Parquet")
    assert table.schema().names == ["n", "ds"]
    assert rows(table, ["n"], Condition("ds", "==", "2023-11-29")) == [(2,)]
    with pytest.raises(CorruptValue, match=r"ns\.t.*ds=2023-11-28.*write the partition again"):
        rows(table)


@pytest.mark.parametrize(("older", "newer", "read"), [
    (pa.array([1], pa.int32()), pa.array([2], pa.int64()), [1, 2]),
    (pa.array([1], pa.int8()), pa.array([2], pa.int32()), [1, 2]),
    (pa.array([0.5], pa.float32()), pa.array([0.25], pa.float64()), [0.5, 0.25]),
    (pa.array(["a"], pa.large_string()), pa.array(["b"], pa.string()), ["a", "b"]),
    (pa.nulls(1), pa.array([2], pa.int64()), [None, 2]),
])  # fmt: skip
def test_types_that_grew_are_read_as_the_newest(older: pa.Array, newer: pa.Array, read: list[Any], tmp_path: Path) -> None:
    table = by_day(tmp_path, d28=pa.table({"n": older}), d29=pa.table({"n": newer}))
    found = pa.Table.from_batches(table.read(["n"]))
    assert found.column("n").to_pylist() == read
    assert found.schema.field("n").type == newer.type


@pytest.mark.parametrize(("older", "newer"), [
    (pa.array([1], pa.int64()), pa.array([2], pa.int32())),
    (pa.array(["1"]), pa.array([2], pa.int64())),
    (pa.array([1], pa.int64()), pa.array([0.5])),
    (pa.array([0.5]), pa.array([0.5], pa.float32())),
    (pa.array([{"a": 1}]), pa.array([{"b": 1}])),
])  # fmt: skip
def test_types_that_drifted_are_named_with_their_partition(older: pa.Array, newer: pa.Array, tmp_path: Path) -> None:
    table = by_day(tmp_path, d28=pa.table({"n": older}), d29=pa.table({"n": newer}))
    with pytest.raises(FailedPrecondition) as drifted:
        rows(table)
    for said in ("ns.t", "ds=2023-11-28", f"n is {older.type} here and {newer.type}", "rewrite the older"):
        assert said in drifted.value.message
    assert rows(table, None, Condition("ds", "==", "2023-11-28")) == [(older[0].as_py(), "2023-11-28")]


def test_files_of_one_partition_that_disagree_are_named_with_it(tmp_path: Path) -> None:
    table = by_day(tmp_path, d28=pa.table({"n": [1]}))
    pq.write_table(pa.table({"n": ["text"]}), tmp_path / "ns.db" / "t" / "ds=2023-11-28" / "part-1.parquet")
    with pytest.raises(FailedPrecondition, match=r"ns\.t.*ds=2023-11-28.*disagree.*rewrite"):
        table.schema()


def test_the_default_namespace_lies_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    pq.write_table(pa.table({"n": [1]}), tmp_path / "t" / "part-0.parquet")
    assert rows(open_warehouse(f"file://{tmp_path}").table("default.t")) == [(1,)]


@pytest.mark.parametrize("name", ["", "..", "ns.", "ns.../etc", "ns...", "../x.t", "ns.a/../../b"])
def test_a_name_cannot_leave_the_warehouse(name: str, tmp_path: Path) -> None:
    hive_folder(tmp_path / "inside")
    with pytest.raises((InvalidRequest, FailedPrecondition)):
        open_warehouse(str(tmp_path / "inside")).table(name)


class TestWhatIsNotRight:
    """Each is a typed error that names the table and says what to do; none is an empty answer."""

    def refused(self, root: Path, kind: type[KVError], *said: str) -> None:
        with pytest.raises(kind) as error:
            rows(open_warehouse(str(root)).table("ns.t"))
        for text in ("ns.t", *said):
            assert text in error.value.message
        assert str(root) not in error.value.message

    def test_damaged_parquet(self, tmp_path: Path) -> None:
        hive_folder(tmp_path)
        (file,) = tmp_path.glob("**/ds=2023-11-30/*.parquet")
        damaged = bytearray(file.read_bytes())
        damaged[4:40] = bytes(36)
        file.write_bytes(damaged)
        self.refused(tmp_path, CorruptValue, "ds=2023-11-30", "write the partition again")

    def test_truncated_parquet(self, tmp_path: Path) -> None:
        hive_folder(tmp_path)
        (file,) = tmp_path.glob("**/ds=2023-11-30/*.parquet")
        file.write_bytes(file.read_bytes()[:-20])
        self.refused(tmp_path, CorruptValue, "ds=2023-11-30")

    def test_types_that_drift(self, tmp_path: Path) -> None:
        hive_folder(tmp_path)
        (file,) = tmp_path.glob("**/ds=2023-11-30/*.parquet")
        pq.write_table(pa.table({"key_bytes": [b"x"], "n": ["text"]}), file)
        self.refused(tmp_path, FailedPrecondition, "disagree", "rewrite")

    def test_a_half_written_iceberg_commit(self, tmp_path: Path) -> None:
        iceberg_without_catalog(tmp_path)
        (tmp_path / "ns.db" / "t" / "metadata" / "version-hint.text").write_text("8")
        with pytest.raises(FailedPrecondition, match=r"ns\.t .*version-hint"):
            open_warehouse(str(tmp_path)).table("ns.t")

    def test_a_missing_iceberg_file(self, tmp_path: Path) -> None:
        url = iceberg(tmp_path)
        next(tmp_path.glob("ice/**/*.parquet")).unlink()
        with pytest.raises(FailedPrecondition, match=r"ns\.t.*gone"):
            rows(open_warehouse(url).table("ns.t"))

    def test_a_missing_delta_file(self, tmp_path: Path) -> None:
        table = open_warehouse(delta(tmp_path)).table("ns.t")
        for file in tmp_path.glob("ns.db/t/**/*.parquet"):
            file.unlink()
        with pytest.raises(FailedPrecondition, match=r"ns\.t"):
            rows(table)


@pytest.mark.parametrize("url", ["hive://", "iceberg://", "nonsense://x/y"])
def test_a_url_that_names_no_warehouse(url: str) -> None:
    with pytest.raises(InvalidRequest):
        open_warehouse(url)


@pytest.mark.parametrize("operator", ["==", ">=", "<="])
def test_row_groups_that_cannot_fulfil_a_condition_are_not_decoded(tmp_path: Path, operator: Operator) -> None:
    folder = tmp_path / "ns.db" / "t"
    folder.mkdir(parents=True)
    path = folder / "part.parquet"
    pq.write_table(arrow(ROWS), path, row_group_size=3, compression="none", use_dictionary=False)
    kept, out = {"==": (DAYS[1:2], 0), ">=": (DAYS[1:], 0), "<=": (DAYS[:2], 2)}[operator]
    table, condition = open_warehouse(str(tmp_path)).table("ns.t"), Condition("ds", operator, DAYS[1])
    assert rows(table, ["key_bytes", "n", "ds"], condition) == sorted(row for row in ROWS if row[2] in kept)
    damaged, keys = bytearray(path.read_bytes()), pq.read_metadata(path).row_group(out).column(0)
    damaged[keys.data_page_offset : keys.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    assert rows(table, ["key_bytes", "n", "ds"], condition) == sorted(row for row in ROWS if row[2] in kept)
    with pytest.raises(CorruptValue, match=r"ns\.t"):
        rows(table)

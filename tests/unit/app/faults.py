"""Warehouses whose one upload table has one fault: damaged, incomplete, drifted or half written, in each format."""

import shutil
from collections.abc import Callable
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog

from tests.unit.app.test_cli_load import DS, TABLE, info, upload

INFO_KEY = b"group_by_serving_info"
ROWS = 9_000
FOLDER = "ns.db/team_gb_v1_upload"
PART = "part-0.snappy.parquet"


def rows(count: int = ROWS) -> pa.Table:
    keys = [INFO_KEY, *(b"k%d" % n for n in range(count))]
    found = [info(), *(b"v%d" % n for n in range(count))]
    return pa.table({"key_bytes": pa.array(keys, pa.binary()), "value_bytes": pa.array(found, pa.binary()), "ds": [DS] * len(keys)})


def write(warehouse: Path, table: pa.Table, name: str = PART) -> Path:
    path = warehouse / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=1_000, compression="none", use_dictionary=False)
    return path


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)


# each makes a warehouse with one fault in it, and answers its URL


def damaged_values_at_the_end(root: Path) -> str:
    path = write(root, rows())
    flipped(path, pq.read_metadata(path).row_group(8).column(1).data_page_offset)
    return str(root)


def cut_off(root: Path) -> str:
    path = write(root, rows())
    path.write_bytes(path.read_bytes()[:5_000])
    return str(root)


def another_day_only(root: Path) -> str:
    table = rows()
    write(root, table.set_column(2, "ds", pa.array(["2023-11-29"] * len(table))))
    return str(root)


def no_day_at_all(root: Path) -> str:
    write(root, rows().drop_columns("ds"))
    return str(root)


def no_serving_info(root: Path) -> str:
    write(root, rows().slice(1))
    return str(root)


def two_serving_infos(root: Path) -> str:
    write(root, rows())
    write(root, rows(3), "part-1.parquet")
    return str(root)


def a_row_without_value(root: Path) -> str:
    last = pa.table({"key_bytes": pa.array([b"last"], pa.binary()), "value_bytes": pa.array([None], pa.binary()), "ds": [DS]})
    write(root, pa.concat_tables([rows(), last]))
    return str(root)


def values_of_text(root: Path) -> str:
    table = rows(10)
    write(root, table.set_column(1, "value_bytes", pa.array(["text"] * len(table))))
    return str(root)


def types_that_drifted(root: Path) -> str:
    write(root, rows())
    table = rows(10).slice(1)
    write(root, table.set_column(0, "key_bytes", pa.array(range(10), pa.int64())), "part-1.parquet")
    return str(root)


def a_column_renamed(root: Path) -> str:
    write(root, rows().rename_columns(["key_bytes", "value", "ds"]))
    return str(root)


def another_group_by(root: Path) -> str:
    upload(root, 10, serving_info=info(name="team.other.v1"))
    return str(root)


def a_day_s_folder_cut_off(root: Path) -> str:
    """Of a table that keeps each day's upload; the other day is whole."""
    for day in ("2023-11-29", DS):
        folder = root / FOLDER / f"ds={day}"
        folder.mkdir(parents=True)
        pq.write_table(rows(50).drop_columns("ds"), folder / PART)
    (folder / PART).write_bytes((folder / PART).read_bytes()[:300])
    return str(root)


def a_day_s_folder_that_is_empty(root: Path) -> str:
    folder = root / FOLDER / "ds=2023-11-29"
    folder.mkdir(parents=True)
    pq.write_table(rows(50).drop_columns("ds"), folder / PART)
    (root / FOLDER / f"ds={DS}").mkdir()
    return str(root)


def delta(root: Path, table: pa.Table | None = None) -> str:
    """Two commits: another upload, and then this one in its place."""
    for made in (rows(5), rows(200) if table is None else table):
        deltalake.write_deltalake(str(root / FOLDER), made, mode="overwrite", schema_mode="overwrite")
    return str(root)


def a_delta_commit_without_its_file(root: Path) -> str:
    url = delta(root)
    for path in (root / FOLDER).glob("*.parquet"):
        path.unlink()
    return url


def a_delta_file_that_is_damaged(root: Path) -> str:
    url = delta(root)
    for path in (root / FOLDER).glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:200] + bytes(64))
    return url


def a_delta_commit_that_is_half_written(root: Path) -> str:
    url = delta(root)
    log = max((root / FOLDER / "_delta_log").glob("*.json"))
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    return url


def a_delta_table_of_another_day(root: Path) -> str:
    table = rows(20)
    return delta(root, table.set_column(2, "ds", pa.array(["2023-11-29"] * len(table))))


def a_delta_table_without_serving_info(root: Path) -> str:
    return delta(root, rows(20).slice(1))


def a_delta_table_whose_values_are_texts(root: Path) -> str:
    table = rows(20)
    return delta(root, table.set_column(1, "value_bytes", pa.array(["text"] * len(table))))


def a_delta_table_that_lacks_a_column(root: Path) -> str:
    return delta(root, rows(20).rename_columns(["key_bytes", "value", "ds"]))


def iceberg(root: Path, table: pa.Table | None = None) -> str:
    root.mkdir()
    catalog = load_catalog("spark", type="sql", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}/ice")
    catalog.create_namespace("ns")
    made = rows() if table is None else table
    catalog.create_table(TABLE, made.schema).append(made)
    return f"iceberg://spark?type=sql&uri=sqlite:///{root}/catalog.db&warehouse=file://{root}/ice"


def an_iceberg_commit_without_its_file(root: Path) -> str:
    url = iceberg(root)
    for path in root.glob("ice/**/data/**/*.parquet"):
        path.unlink()
    return url


def an_iceberg_commit_without_its_manifest(root: Path) -> str:
    url = iceberg(root)
    for path in root.glob("ice/**/metadata/*.avro"):
        path.write_bytes(path.read_bytes()[:100])
    return url


def an_iceberg_folder_between_two_commits(root: Path) -> str:
    """The version hint already names metadata that was never written in full."""
    iceberg(root)
    (found,) = root.glob("ice/**/metadata")
    place = root / FOLDER
    shutil.copytree(found.parent, place)
    (place / "metadata" / "version-hint.text").write_text("8")
    (place / "metadata" / "v8.metadata.json").write_text('{"format-version": 2, "table-uuid":')
    return str(root)


def an_iceberg_table_of_another_day(root: Path) -> str:
    table = rows(20)
    return iceberg(root, table.set_column(2, "ds", pa.array(["2023-11-29"] * len(table))))


def an_iceberg_table_without_serving_info(root: Path) -> str:
    return iceberg(root, rows(20).slice(1))


def an_iceberg_table_whose_values_are_texts(root: Path) -> str:
    table = rows(20)
    return iceberg(root, table.set_column(1, "value_bytes", pa.array(["text"] * len(table))))


def an_iceberg_file_that_is_damaged(root: Path) -> str:
    url = iceberg(root)
    for path in root.glob("ice/**/data/**/*.parquet"):
        path.write_bytes(path.read_bytes()[:200] + bytes(64))
    return url


FAULTS: dict[Callable[[Path], str], str] = {  # and a part of what is said of it
    damaged_values_at_the_end: "write the partition again",
    cut_off: "write the partition again",
    another_day_only: "has its upload run for that day?",
    no_day_at_all: "has no column ds",
    no_serving_info: "has 0 rows group_by_serving_info and must have one: upload it again",
    two_serving_infos: "has 2 rows group_by_serving_info and must have one: upload it again",
    a_row_without_value: "has a row without value_bytes: upload it again",
    values_of_text: "its column value_bytes is string and must be binary: upload it again",
    types_that_drifted: "rewrite the older",
    a_column_renamed: "has no column value_bytes",
    another_group_by: "holds the upload of team.other.v1",
    a_day_s_folder_cut_off: "write the partition again",
    a_day_s_folder_that_is_empty: "has its upload run for that day?",
    a_delta_commit_without_its_file: "again",
    a_delta_file_that_is_damaged: "again",
    a_delta_commit_that_is_half_written: "is no readable Delta table",
    a_delta_table_of_another_day: "has its upload run for that day?",
    a_delta_table_without_serving_info: "has 0 rows group_by_serving_info and must have one: upload it again",
    a_delta_table_whose_values_are_texts: "its column value_bytes is string and must be binary: upload it again",
    a_delta_table_that_lacks_a_column: "has no column value_bytes",
    an_iceberg_table_of_another_day: "has its upload run for that day?",
    an_iceberg_table_without_serving_info: "has 0 rows group_by_serving_info and must have one: upload it again",
    an_iceberg_table_whose_values_are_texts: "its column value_bytes is string and must be binary: upload it again",
    an_iceberg_file_that_is_damaged: "again",
    an_iceberg_commit_without_its_file: "again",
    an_iceberg_commit_without_its_manifest: "again",
    an_iceberg_folder_between_two_commits: "a commit may be half written",
}

IN_FOLDERS = {make: said for make, said in FAULTS.items() if "iceberg" not in make.__name__ or "folder" in make.__name__}
"""Those that need no catalog: the table is in ``FOLDER``."""

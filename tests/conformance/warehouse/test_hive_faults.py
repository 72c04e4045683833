"""The faults that uploads have in folders, in tables that a real Hive metastore knows: the same is said, and nothing is online."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hive_metastore import ttypes

from tests.conformance.conftest import running_engine
from tests.conformance.warehouse.metastores import client, make_database, storage
from tests.engines.engine import Engine
from tests.engines.hive import HiveMetastore
from tests.unit.app.faults import FOLDER, IN_FOLDERS, a_day_s_folder_cut_off, rows, write
from tests.unit.app.shell import run
from tests.unit.app.test_cli_load import DATASET, DS

COLUMNS = {"key_bytes": "binary", "value_bytes": "binary", "ds": "string"}


@pytest.fixture(scope="module")
def metastore(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> HiveMetastore:
    found = running_engine("hive", engines, tmp_path_factory)
    assert isinstance(found, HiveMetastore)
    make_database(found, "faults")
    return found


def refused(metastore: HiveMetastore, table: str, root: Path) -> str:
    store = f"lmdb://{root}/store"
    place = ["--warehouse", metastore.url, "--store", store, "--checkpoints", str(root / "loads"), "--dataset", DATASET]
    answer = run("load", f"faults.{table}", "--partition", DS, *place)
    assert answer.code == 1
    assert f"faults.{table}/{DS}" in answer.err
    assert "Traceback" not in answer.err
    assert str(root) not in answer.err
    assert run("kv", "scan", DATASET, "--store", store).err == "0 keys\n"
    return answer.err


@pytest.mark.parametrize("make", IN_FOLDERS, ids=lambda make: make.__name__)
def test_a_fault_is_named_with_its_remedy_and_nothing_is_online(
    make: Callable[[Path], str], metastore: HiveMetastore, tmp_path: Path
) -> None:
    make(tmp_path / "lake")
    days = [path.name for path in (tmp_path / "lake" / FOLDER).glob("ds=*")]
    register(metastore, make.__name__, tmp_path / "lake" / FOLDER, days)
    assert IN_FOLDERS[make] in refused(metastore, make.__name__, tmp_path)


def register(metastore: HiveMetastore, name: str, location: Path, days: list[str]) -> None:
    columns = {column: kind for column, kind in COLUMNS.items() if column != "ds" or not days}
    keys = [ttypes.FieldSchema(name="ds", type="string")] if days else []
    table = ttypes.Table(
        tableName=name, dbName="faults", sd=storage(location, columns), partitionKeys=keys, parameters={"EXTERNAL": "TRUE"},
        tableType="EXTERNAL_TABLE",
    )  # fmt: skip
    with client(metastore) as told:
        told.create_table(table)
        for day in days:
            place = storage(location / day, columns)
            told.add_partition(ttypes.Partition(values=[day.partition("=")[2]], dbName="faults", tableName=name, sd=place, parameters={}))


def test_a_partition_whose_folder_is_gone_has_no_rows(metastore: HiveMetastore, tmp_path: Path) -> None:
    a_day_s_folder_cut_off(tmp_path / "lake")
    register(metastore, "gone", tmp_path / "lake" / FOLDER, [f"ds={DS}"])
    shutil.rmtree(tmp_path / "lake" / FOLDER / f"ds={DS}")
    assert "has its upload run for that day?" in refused(metastore, "gone", tmp_path)


def test_a_partition_that_was_never_added_has_no_rows(metastore: HiveMetastore, tmp_path: Path) -> None:
    write(tmp_path / "lake", rows(5))
    register(metastore, "never_added", tmp_path / "lake" / FOLDER, ["ds=2023-11-29"])
    assert "has its upload run for that day?" in refused(metastore, "never_added", tmp_path)

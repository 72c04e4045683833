"""The Spark job: an upload table into Redis by executors, its serving info last, and nothing where something is not right."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoserve.app import load_spark
from chronoserve.app.compose import compose
from chronoserve.app.load_online import read
from chronoserve.app.settings import load as settings_of
from chronoserve.model import values
from tests.conformance.conftest import running_engine
from tests.engines.engine import Engine
from tests.engines.environments import ROOT, Spark
from tests.unit.app.faults import FOLDER, IN_FOLDERS
from tests.unit.app.test_cli_load import BATCH_END, DS, info

ROWS = 3_000
INFO_KEY = b"group_by_serving_info"
SECONDS = 300
REMEDIES = ("again", "has its upload run", "holds the upload of")


@pytest.fixture
def redis(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> str:
    return running_engine("redis", engines, tmp_path_factory).url


def write_table(folder: Path, rows: Sequence[tuple[bytes | None, bytes]], **columns: Any) -> str:
    """The name that Spark has for a folder of three Parquet files."""
    for part in range(3):
        some = rows[part::3]
        given = {
            "key_bytes": pa.array([key for key, _ in some], pa.binary()),
            "value_bytes": pa.array([value for _, value in some], pa.binary()),
            "ds": [DS] * len(some),
        }
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({**given, **{name: [value] * len(some) for name, value in columns.items()}}), folder / f"{part}.parquet")
    return f"parquet.`{folder}`"


def submit(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "PYSPARK_PYTHON": str(Spark.python()), "TZ": "UTC"}
    options = "--master local[2] --conf spark.ui.enabled=false --driver-memory 1g pyspark-shell"
    command: list[str | Path] = [Spark.python(), load_spark.__file__, *words]
    return subprocess.run(
        command, env={**environment, "PYSPARK_SUBMIT_ARGS": options}, capture_output=True, text=True, timeout=SECONDS, check=False
    )


async def online(store: str, dataset: str, *keys: bytes) -> list[tuple[bytes, int] | None]:
    composed = await compose(settings_of(None, {"stores": {"default": {"url": store}}}))
    try:
        found = await read(composed.gateway, dataset, keys)
    finally:
        await composed.close()
    newest = [values.latest(each) if isinstance(each, bytes) else None for each in found]
    return [None if each is None else (each.bytes, each.millis) for each in newest]


async def test_executors_write_the_rows_and_the_driver_the_serving_info(redis: str, tmp_path: Path) -> None:
    rows = [(b"k%d" % n, b"v%d" % n) for n in range(ROWS)]
    table = write_table(tmp_path / "upload", [*rows[:100], (INFO_KEY, info(name="spark.good")), (None, b"x"), *rows[100:]])
    done = submit("--table", table, "--partition", DS, "--store", redis, "--dataset", "SPARK_GOOD_BATCH")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{ROWS + 1} rows written, 0 refused" in done.stdout
    found = await online(redis, "SPARK_GOOD_BATCH", *(key for key, _ in rows), INFO_KEY)
    assert found == [*((value, BATCH_END) for _, value in rows), (info(name="spark.good"), BATCH_END)]


async def test_nothing_is_written_of_a_table_that_is_not_whole(redis: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "upload", [(b"k%d" % n, b"v") for n in range(9)])
    done = submit("--table", table, "--partition", DS, "--store", redis, "--dataset", "SPARK_BAD_BATCH")
    assert done.returncode == 1
    assert "has 0 rows group_by_serving_info and must have one" in done.stderr
    assert await online(redis, "SPARK_BAD_BATCH", b"k0", b"k8") == [None, None]


def test_every_fault_of_a_table_is_named_before_the_store_is_asked(tmp_path: Path) -> None:
    """No store is there at all: of a table that is whole, that is what is said."""
    whole = tmp_path / "whole"
    write_table(whole, [(b"k", b"v"), (INFO_KEY, info(name="team.gb.v1"))])
    makes = {make: said for make, said in IN_FOLDERS.items() if "delta" not in make.__name__ and "iceberg" not in make.__name__}
    for make in makes:
        make(tmp_path / make.__name__)
    folders = [*(str(tmp_path / make.__name__ / FOLDER) for make in makes), str(whole)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "PYSPARK_PYTHON": str(Spark.python()), "TZ": "UTC"}
    command: list[str | Path] = [Spark.python(), Path(__file__).parent / "faulty_loads.py", "redis://127.0.0.1:1", *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    *refused, last = map(json.loads, done.stdout.splitlines())
    assert last["kind"] == "Unavailable", last
    for make, answer in zip(makes, refused, strict=True):
        assert answer["kind"] in ("FailedPrecondition", "CorruptValue"), (make, answer)
        assert f"{make.__name__}/{FOLDER}`/{DS}" in answer["said"], (make, answer)
        assert any(remedy in answer["said"] for remedy in REMEDIES), (make, answer)


@pytest.mark.parametrize("store", ["lmdb:///anywhere/store", "memory://"])
def test_a_store_of_one_machine_is_refused_before_spark_starts(store: str) -> None:
    done = submit("--table", "ns.t_upload", "--partition", DS, "--store", store)
    assert done.returncode == 1
    assert "is on one machine" in done.stderr
    assert "SparkSession" not in done.stderr

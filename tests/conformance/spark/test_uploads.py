"""Recorded uploads on the Spark engine: what the JVM's Spark job wrote, made again by ours."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chronoserve.app.replay.notes import Case, explained
from chronoserve.app.replay.recording import UPLOADS, Single, parts, read
from chronoserve.app.replay.tables import MemoryWarehouse
from chronoserve.app.replay.uploads import compared, with_rows
from tests.engines.environments import ROOT, Spark
from tests.recordings import GOLDEN

TABLES = GOLDEN / "k_upload.jsonl.gz"
QUICKSTART = GOLDEN / "g_quickstart.jsonl.gz"
CSV = GOLDEN / "quickstart" / "data"
UPLOADS_COMPARED = int(os.environ.get("CHRONOSERVE_SPARK_UPLOADS", "89"))
QUICKSTART_UPLOADS = 13

Answers = dict[tuple[str | None, str, str], dict[str, Any]]

pytestmark = pytest.mark.timeout(900)


def made(*arguments: Path | str) -> Answers:
    """What our Spark engine answers to the uploads of a recording, in the arguments of made.py."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "PYSPARK_PYTHON": str(Spark.python()), "TZ": "UTC"}
    command = [Spark.python(), Path(__file__).parent / "made.py", *arguments]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {identity(each): each for each in map(json.loads, done.stdout.splitlines())}


def identity(record: dict[str, Any]) -> tuple[str | None, str, str]:
    return record.get("world"), record["group_by"], record["end_ds"]


def test_spark_makes_the_recorded_uploads(tmp_path: Path) -> None:
    answers = made(TABLES, tmp_path, str(UPLOADS_COMPARED))
    assert len(answers) == UPLOADS_COMPARED
    tables = MemoryWarehouse()
    for part in parts(read(TABLES)):
        assert isinstance(part, Single)
        record: dict[str, Any] = part.record
        match record["kind"]:
            case "table":
                tables.begin(record)
            case "rows":
                tables.add(record)
            case "upload" if UPLOADS in record and identity(record) in answers:
                compare(record, tables, answers[identity(record)])
            case _:
                pass


def test_spark_makes_the_uploads_of_the_quickstart(tmp_path: Path) -> None:
    answers = made(QUICKSTART, tmp_path, "0", CSV)
    assert len(answers) == QUICKSTART_UPLOADS
    tables = MemoryWarehouse()
    for file in sorted(CSV.glob("*.csv")):
        tables.add_csv(file)
    for upload in with_rows(read(QUICKSTART)):
        compare(upload, tables, answers[identity(upload)])


def compare(record: dict[str, Any], tables: MemoryWarehouse, answer: dict[str, Any]) -> None:
    assert ("error" in record) == ("error" in answer), (record["group_by"], answer.get("error"))
    if "error" not in answer:
        found = list(compared(record, tables, answer["rows"]))
        assert None not in explained(Case(record), found), (record["group_by"], [str(each) for each in found][:5])

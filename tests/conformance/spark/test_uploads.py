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
from chronoserve.app.replay.uploads import compared
from tests.engines.environments import ROOT, Spark
from tests.recordings import GOLDEN

RECORDING = GOLDEN / "k_upload.jsonl.gz"
UPLOADS_COMPARED = int(os.environ.get("CHRONOSERVE_SPARK_UPLOADS", "89"))

pytestmark = pytest.mark.timeout(900)


def test_spark_makes_the_recorded_uploads(tmp_path: Path) -> None:
    script = Path(__file__).parent / "made.py"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "PYSPARK_PYTHON": str(Spark.python()), "TZ": "UTC"}
    command: list[str | Path] = [Spark.python(), script, RECORDING, tmp_path, str(UPLOADS_COMPARED)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = {(each["world"], each["group_by"]): each for each in map(json.loads, done.stdout.splitlines())}
    assert len(answers) == UPLOADS_COMPARED
    tables = MemoryWarehouse()
    for part in parts(read(RECORDING)):
        assert isinstance(part, Single)
        record: dict[str, Any] = part.record
        match record["kind"]:
            case "table":
                tables.begin(record)
            case "rows":
                tables.add(record)
            case "upload" if UPLOADS in record and (record["world"], record["group_by"]) in answers:
                compare(record, tables, answers[record["world"], record["group_by"]])
            case _:
                pass


def compare(record: dict[str, Any], tables: MemoryWarehouse, answer: dict[str, Any]) -> None:
    assert ("error" in record) == ("error" in answer), (record["description"], answer.get("error"))
    if "error" not in answer:
        found = list(compared(record, tables, answer["rows"]))
        assert None not in explained(Case(record), found), (record["group_by"], [str(each) for each in found][:5])

"""The DAGs as Airflow itself reads them, on both of its lines."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chronoserve.airflow.plan import plan
from chronoserve.config.teams import load
from tests.conformance.conftest import REQUIRED
from tests.engines import installable
from tests.engines.environments import ROOT, Environment
from tests.recordings import GOLDEN

DAG_FILE = """from chronoserve.airflow import dags

globals().update(dags(repository={repository!r}, warehouse="/lake", store="redis://127.0.0.1"))
"""


@pytest.fixture(params=["airflow2", "airflow3"])
def airflow(request: pytest.FixtureRequest) -> type[Environment]:
    found = installable(request.param)
    assert issubclass(found, Environment)
    if not found.installed():
        message = f"{found.name} is not installed: make engines ONLY={found.name}"
        if REQUIRED & {"all", found.name}:
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "quickstart", tmp_path / "repository"))


def parsed(airflow: type[Environment], repository: Path) -> dict[str, Any]:
    """What Airflow makes of a DAG file that a user would write."""
    folder = repository.parent / "dags"
    folder.mkdir()
    (folder / "chronon.py").write_text(DAG_FILE.format(repository=str(repository)))
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(repository.parent / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "true",
        "PYTHONPATH": str(ROOT / "server"),
    }
    script = Path(__file__).parent / "parsed.py"
    done = subprocess.run([airflow.python(), script, folder], env=env, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_airflow_reads_every_planned_dag(airflow: type[Environment], repository: Path) -> None:
    found = parsed(airflow, repository)
    planned = plan(repository, load(repository / "teams.json"))

    assert found["errors"] == []
    assert set(found["dags"]) == set(planned)
    for dag_id, dag in planned.items():
        tasks = found["dags"][dag_id]["tasks"]
        for job in dag.jobs:
            assert tasks[job.task_id] == ([f"kv_upload__{job.name}"] if job.loads else [])
            if not dag.kind.streaming:
                assert job.task_id in tasks[job.skip_id]
            for wait in job.waits:
                assert job.skip_id in tasks[wait.task_id]
    assert "--mode upload" in found["commands"]["group_by_batch__quickstart__purchases__v1"]
    assert found["commands"]["group_by_batch__quickstart__purchases__v1"].endswith("--ds {{ ds }}")


def test_a_conf_that_is_wrong_is_an_import_error_that_names_it(airflow: type[Environment], repository: Path) -> None:
    (repository / "production" / "joins" / "team_a" / "broken").write_text("{")
    found = parsed(airflow, repository)
    assert "joins/team_a/broken is no compiled conf" in found["errors"][0]

"""Airflow's two lines, each in an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conformance.conftest import installed
from tests.engines import installable
from tests.engines.environments import ROOT, Environment


@pytest.fixture(params=["airflow2", "airflow3"], scope="session")
def airflow(request: pytest.FixtureRequest) -> type[Environment]:
    found = installable(request.param)
    assert issubclass(found, Environment)
    return installed(found)


def output(airflow: type[Environment], home: Path, *words: str | Path, seconds: float = 200, **more: str) -> str:
    """What a program of an Airflow environment prints. Its home, and with it its database, is below ``home``."""
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "PYTHONPATH": str(ROOT / "server"),
        **more,
    }
    done = subprocess.run([airflow.python(), *words], env=env, check=False, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout

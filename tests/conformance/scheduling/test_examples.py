"""docs/operating/scheduling.md: the examples of Dagster, Prefect and Kubernetes, on the quickstart's tables."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import installed
from tests.docs.scheduling import DAY, NEVER, SECONDS, Srv
from tests.engines.environments import Dagster, Environment, Prefect

GROUP_BYS = ("purchases", "returns", "users")
DAGSTER, PREFECT = 0, 1
"""Their numbers among the page's Python after Airflow's."""
PARSED = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"


@pytest.fixture
def srv(tmp_path: Path) -> Srv:
    return Srv.made(tmp_path)


def acted(environment: type[Environment], srv: Srv, example: str, *words: str, **env: str) -> dict[str, Any]:
    """What a script of this folder says of an example in a tool's own environment."""
    (srv.place / "example.py").write_text(example)
    script = Path(__file__).parent / f"{environment.name}_acted.py"
    places = {
        "CHRONON_REPO_PATH": f"{srv.place}/chronon",
        "CHRONOSERVE_WAREHOUSE": f"{srv.place}/warehouse",
        "CHRONON_ONLINE_ARGS": f"-Zstore=lmdb://{srv.place}/online",
    }
    done = srv.run([str(environment.python()), str(script), str(srv.place / "example.py"), *words], places | env)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_dagster(srv: Srv) -> None:
    dagster = installed(Dagster)
    example = srv.block("python", 1 + DAGSTER)
    found = acted(dagster, srv, example, DAY, NEVER, DAGSTER_DISABLE_TELEMETRY="yes", DAGSTER_HOME="")
    assets = [f"quickstart/{group_by}_v1" for group_by in GROUP_BYS]
    expected = [{"key": f"{group_by}.v1 {DAY}", "day": DAY, "asset": asset} for group_by, asset in zip(GROUP_BYS, assets, strict=True)]
    assert found["requests"] == {DAY: expected, NEVER: []}
    assert found["success"]
    assert found["materialized"] == assets
    assert set(found["retries"].values()) == {1}
    assert [srv.end_of_upload(group_by) for group_by in GROUP_BYS] == ["2024-04-01"] * 3


def test_prefect(srv: Srv) -> None:
    prefect = installed(Prefect)
    own_server = {
        "PREFECT_HOME": f"{srv.place}/prefect",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    found = acted(prefect, srv, srv.block("python", 1 + PREFECT), DAY, **own_server)
    assert found == {"state": "Completed", "waits_seconds": 48 * 3600, "retries": 1}
    assert sorted(call[0] for call in srv.calls()) == ["partition"] * 3 + ["run"] * 3
    assert [srv.end_of_upload(group_by) for group_by in GROUP_BYS] == ["2024-04-01"] * 3


def test_kubernetes(srv: Srv) -> None:
    """The container's command waits for its partition, and then makes the day."""
    parsed = subprocess.run(
        [installed(Dagster).python(), "-c", PARSED], input=srv.block("yaml"), capture_output=True, text=True, timeout=SECONDS, check=True
    )
    (job,) = json.loads(parsed.stdout)
    pods = job["spec"]["jobTemplate"]["spec"]
    (container,) = pods["template"]["spec"]["containers"]
    assert (job["kind"], job["spec"]["concurrencyPolicy"], job["spec"]["schedule"]) == ("CronJob", "Forbid", "30 0 * * *")
    assert (pods["backoffLimit"], pods["activeDeadlineSeconds"]) == (1, 48 * 3600)
    assert container["volumeMounts"][0]["name"] == pods["template"]["spec"]["volumes"][0]["name"]

    there, away = srv.place / f"warehouse/shop.db/purchases/ds={DAY}", srv.place / "away"
    there.rename(away)
    srv.program("sleep", f"mv {away} {there}")
    env = {each["name"]: each["value"] for each in container["env"]} | {"CHRONOSERVE_CHECKPOINTS": f"{srv.place}/loads"}
    done = srv.run([*container["command"], *container["args"]], env)
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in srv.calls()] == ["partition", "partition", "run"]
    assert srv.end_of_upload("purchases") == "2024-04-01"

    unknown = srv.run([*container["command"], *container["args"]], env | {"CHRONOSERVE_WAREHOUSE": "hive://127.0.0.1:1"})
    assert unknown.returncode == 2

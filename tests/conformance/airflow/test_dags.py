"""The DAGs as Airflow itself reads them, on both of its lines."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chronoserve.airflow.plan import Job, plan
from chronoserve.config.teams import load
from tests.conformance.airflow.conftest import output
from tests.engines.environments import Environment
from tests.recordings import GOLDEN

DAG_FILE = """from chronoserve.airflow import dags

globals().update(dags(repository={repository!r}, warehouse="/lake", store="redis://127.0.0.1", checkpoints="/var/lib/loads"{more}))
"""
BATCH = "chronon_group_by_batch_quickstart"
DAY, HOUR = 86_400.0, 3_600.0


@dataclass(frozen=True, slots=True)
class Parsed:
    """What Airflow made of a DAG folder, and the repository that its DAGs are of."""

    repository: Path
    errors: list[str]
    dags: dict[str, Any]
    pokes: list[str]


def parsed(airflow: type[Environment], folder: Path) -> dict[str, Any]:
    script = Path(__file__).parent / "parsed.py"
    found: dict[str, Any] = json.loads(
        output(airflow, folder.parent, script, folder, AIRFLOW__CORE__UNIT_TEST_MODE="true").splitlines()[-1]
    )
    return found


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def dag_file(home: Path, name: str, more: str = "") -> Path:
    """A DAG file that a user would write; the repository that it names, which has the recorded confs."""
    (home / "dags").mkdir(exist_ok=True)
    repository = Path(shutil.copytree(GOLDEN / "quickstart", home / name))
    (home / "dags" / f"{name}.py").write_text(DAG_FILE.format(repository=str(repository), more=more))
    return repository


@pytest.fixture(scope="module")
def plain(airflow: type[Environment], tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """One group by with a backfill and an upload, another whose values rarely change."""
    home = tmp_path_factory.mktemp("plain")
    repository = dag_file(home, "chronon")
    group_bys = repository / "production/group_bys/quickstart"
    change(group_bys / "returns.v1", backfillStartDate="2023-01-01")
    users = json.loads((group_bys / "users.v1").read_text())["metaData"]
    change(group_bys / "users.v1", metaData=users | {"customJson": '{"uploadSchedule": "@monthly"}'})
    return Parsed(repository, **parsed(airflow, home / "dags"))


@pytest.fixture(scope="module")
def own(airflow: type[Environment], tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """Settings of teams, and a second repository that cannot be read."""
    home = tmp_path_factory.mktemp("own")
    repository = dag_file(home, "chronon", ", task_args={'on_failure_callback': print, 'retries': 2}")
    teams = json.loads((repository / "teams.json").read_text())
    teams["default"] |= {"maintainer_emails": ["all@example.com"], "airflow_queue": "slow"}
    teams["quickstart"] |= {"team_name": "Quickstart", "user": "svc", "airflow_queue": "quick", "dag_start_date": "2024-02-29"}
    change(repository / "teams.json", **teams)
    (dag_file(home, "wrong") / "production" / "joins" / "team_a" / "broken").write_text("{")
    return Parsed(repository, **parsed(airflow, home / "dags"))


def expect_graph(tasks: Mapping[str, Any], job: Job) -> None:
    """Sensors → skip → job → load."""
    assert tasks[job.task_id]["then"] == ([f"kv_upload__{job.name}"] if job.loads else [])
    assert job.task_id in tasks[job.skip_id]["then"]
    for wait in job.waits:
        assert job.skip_id in tasks[wait.task_id]["then"]


def test_airflow_reads_every_planned_dag(plain: Parsed) -> None:
    planned = plan(plain.repository, load(plain.repository / "teams.json"))

    assert plain.errors == []
    assert set(plain.dags) == set(planned)
    for dag_id, dag in planned.items():
        read = plain.dags[dag_id]
        assert read["timeout"] == dag.kind.timeout.total_seconds()
        assert read["concurrency"] == (dag.kind.concurrency or 16)
        assert (read["start"], read["catchup"]) == (str(dag.kind.since), False)
        for job in dag.jobs:
            if dag.kind.streaming:
                assert set(read["tasks"]) == {job.task_id}
            else:
                expect_graph(read["tasks"], job)
    batch = plain.dags[BATCH]
    returns = batch["tasks"]["custom_skip__quickstart__returns__v1"]["then"]
    assert returns == ["group_by_batch__quickstart__returns__v1", "group_by_batch_backfill__quickstart__returns__v1"]
    assert (batch["runs"], plain.dags["chronon_group_by_streaming_quickstart"]["runs"]) == (16, 1)


def test_a_run_has_the_date_of_its_day(plain: Parsed) -> None:
    """A schedule that is a bare text has the date of the day after on Airflow 3: ``ds`` would be a day that has just begun."""
    daily = plain.dags["chronon_join_quickstart__training_set__v1"]
    assert [each[:10] for each in daily["after_march_30"]] == ["2024-03-31", "2024-04-01"]


def test_tasks_have_chronon_s_limits(plain: Parsed) -> None:
    tasks = plain.dags[BATCH]["tasks"]
    sensor, skip = tasks["wait_for_data__purchases_ds"], tasks["custom_skip__quickstart__purchases__v1"]
    job, load_task = tasks["group_by_batch__quickstart__purchases__v1"], tasks["kv_upload__quickstart__purchases__v1"]

    for waiting in (sensor, skip):
        assert (waiting["mode"], waiting["waits"]) == ("reschedule", 8 * DAY)
    assert (sensor["retries"], sensor["poke_interval"], sensor["max_active_tis_per_dag"]) == (3, 180, 1)
    assert (skip["retries"], skip["poke_interval"], skip["max_active_tis_per_dag"]) == (1, HOUR / 4, 10)
    for each in (job, load_task):
        assert (each["retries"], each["retry_delay"], each["max_active_tis_per_dag"], each["email_on_retry"]) == (1, 60, 1, False)
    assert sensor["command"] == "chronoserve partition data.purchases/ds={{ ds }} --warehouse /lake"
    assert job["command"].endswith("/purchases.v1 --ds {{ ds }}")
    assert "--mode upload" in job["command"]
    assert job["env"] == {"CHRONON_REPO_PATH": str(plain.repository), "CHRONOSERVE_WAREHOUSE": "/lake"}
    assert load_task["command"].endswith(
        "/purchases.v1 --partition {{ ds }} --warehouse /lake --store redis://127.0.0.1 --checkpoints /var/lib/loads"
    )
    assert load_task["env"] == {"PARTITION_COLUMN": "ds", "PARTITION_FORMAT": "yyyy-MM-dd"}
    conf = {"name": "quickstart.purchases.v1", "team": "quickstart", "conf_type": "group_bys", "mode": "upload"}
    assert job["params"].items() >= conf.items()
    assert plain.dags["chronon_join_team_a__j__with_env"]["tasks"]["compute_join__team_a__j__with_env"]["ram"] == 12_288


def test_a_warehouse_that_does_not_answer_is_retried_and_not_waited_for(plain: Parsed) -> None:
    assert plain.pokes == ["True", "False", "retried", "retried"]


def test_teams_settings_reach_their_tasks(own: Parsed) -> None:
    job = own.dags[BATCH]["tasks"]["group_by_batch__quickstart__purchases__v1"]
    assert (job["owner"], job["queue"], job["run_as_user"], job["since"]) == ("Quickstart", "quick", "svc", "2024-02-29")
    assert (job["email"], job["retries"], job["failure_callbacks"]) == (["all@example.com"], 2, True)
    other = own.dags["chronon_staging_query_batch_team_a"]["tasks"]["staging_query__team_a__s__v1"]
    assert (other["owner"], other["queue"], other["run_as_user"], other["since"]) == ("team_a", "slow", "svc_team_a", "2022-02-01")


def test_a_static_group_by_has_upload_days(plain: Parsed) -> None:
    tasks = plain.dags[BATCH]["tasks"]
    assert tasks["upload_cadence__quickstart__users__v1"]["then"] == ["group_by_batch__quickstart__users__v1"]
    assert tasks["custom_skip__quickstart__users__v1"]["then"] == ["group_by_batch__quickstart__users__v1"]
    assert "upload_cadence__quickstart__purchases__v1" not in tasks


def test_a_conf_that_is_wrong_is_an_import_error_that_names_it(own: Parsed) -> None:
    (error,) = own.errors
    assert "joins/team_a/broken is no compiled conf" in error

"""What is scheduled for compiled confs: ids, conditions, what each job waits for."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chronoserve.airflow.plan import Dag, Job, Wait, plan, task_safe
from chronoserve.config.teams import load
from chronoserve.model.errors import InvalidRequest
from tests.recordings import GOLDEN


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "quickstart", tmp_path / "repository"))


def planned(repository: Path) -> dict[str, Dag]:
    return plan(repository, load(repository / "teams.json"))


def change(repository: Path, conf: str, **meta_data: Any) -> None:
    path = repository / "production" / conf
    content = json.loads(path.read_text())
    content["metaData"] |= meta_data
    path.write_text(json.dumps(content))


def jobs(dag: Dag) -> dict[str, Job]:
    return {job.task_id: job for job in dag.jobs}


def test_the_recorded_confs(repository: Path) -> None:
    found = planned(repository)
    assert set(found) == {
        "chronon_group_by_batch_quickstart",
        "chronon_group_by_streaming_quickstart",
        "chronon_join_quickstart__training_set__v1",
        "chronon_join_quickstart__training_set__v2",
        "chronon_join_team_a__j__with_args",
        "chronon_join_team_a__j__with_env",
        "chronon_staging_query_batch_team_a",
        "chronon_stats_compute",
    }
    batch = jobs(found["chronon_group_by_batch_quickstart"])
    assert set(batch) == {
        "group_by_batch__quickstart__purchases__v1",
        "group_by_batch__quickstart__returns__v1",
        "group_by_batch__quickstart__users__v1",
        "group_by_batch_backfill__quickstart__schema__v1",
    }
    upload = batch["group_by_batch__quickstart__returns__v1"]
    assert upload.loads
    assert upload.mode == "upload"
    assert upload.waits == (Wait("wait_for_data__returns_ds", "data.returns/ds={{ ds }}", None),)
    assert upload.skip_id == "custom_skip__quickstart__returns__v1"
    streaming = found["chronon_group_by_streaming_quickstart"]
    assert [job.task_id for job in streaming.jobs] == ["group_by_streaming__quickstart__returns__v1"]
    assert streaming.schedule == "*/20 * * * *"
    assert streaming.jobs[0].waits == ()


def test_a_join_that_is_never_scheduled_has_no_dag(repository: Path) -> None:
    change(repository, "joins/team_a/j.with_env", offlineSchedule="@never")
    assert "chronon_join_team_a__j__with_env" not in planned(repository)


def test_a_join_has_its_own_schedule(repository: Path) -> None:
    change(repository, "joins/team_a/j.with_env", offlineSchedule="@weekly")
    assert planned(repository)["chronon_join_team_a__j__with_env"].schedule == "@weekly"


def test_consistency_is_scheduled_where_it_is_asked_for(repository: Path) -> None:
    change(repository, "joins/quickstart/training_set.v2", customJson='{"check_consistency": true}')
    (job,) = planned(repository)["chronon_online_offline_comparison_quickstart__training_set__v2"].jobs
    assert job.task_id == "compute_consistency__quickstart__training_set__v2"
    assert [wait.spec for wait in job.waits] == ["default.quickstart_training_set_v2_logged/ds={{ ds }}"]


def test_logs_are_flattened_where_answers_are_logged(repository: Path) -> None:
    change(repository, "joins/quickstart/training_set.v2", samplePercent=10.0)
    with pytest.raises(InvalidRequest, match="CHRONON_LOG_TABLE"):
        planned(repository)
    teams = json.loads((repository / "teams.json").read_text())
    teams["default"]["common_env"] |= {"CHRONON_LOG_TABLE": "default.log", "CHRONON_SCHEMA_TABLE": "default.schema"}
    (repository / "teams.json").write_text(json.dumps(teams))
    (job,) = planned(repository)["chronon_log_flattening_quickstart"].jobs
    assert job.arguments == ("--log-table", "default.log", "--schema-table", "default.schema")
    assert [wait.spec for wait in job.waits] == ["default.log/ds={{ ds }}/name=SCHEMA_PUBLISH_EVENT", "default.schema/ds={{ ds }}"]


def test_a_group_by_that_is_not_online_is_not_uploaded(repository: Path) -> None:
    change(repository, "group_bys/quickstart/returns.v1", online=0)
    found = planned(repository)
    assert "group_by_batch__quickstart__returns__v1" not in jobs(found["chronon_group_by_batch_quickstart"])
    assert "chronon_group_by_streaming_quickstart" not in found


def test_a_staging_query_waits_for_bare_partitions(repository: Path) -> None:
    (job,) = planned(repository)["chronon_staging_query_batch_team_a"].jobs
    assert job.waits == (Wait("wait_for_data__purchases", "data.purchases/ds={{ ds }}"),)


def test_a_file_that_is_no_conf_is_named(repository: Path) -> None:
    (repository / "production" / "joins" / "team_a" / "broken").write_text("{}")
    with pytest.raises(InvalidRequest, match="joins/team_a/broken"):
        planned(repository)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("team.gb.v1", "team__gb__v1"), ("db.t/ds={{ ds }}", "db__t"), ("db.t/ds=x/sub=a-b", "db__t__sub__a__b"), ("a_b", "a_b")],
)
def test_names_of_tasks(name: str, safe: str) -> None:
    assert task_safe(name) == safe

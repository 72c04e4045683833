"""What is scheduled for compiled confs: ids, conditions, what each job waits for."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from chronoserve.airflow.plan import CONSTANTS, UPLOAD_DAYS, Constants, Dag, Job, Kind, Wait, plan
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
    assert streaming.schedule == timedelta(minutes=20)
    assert streaming.jobs[0].waits == ()


def test_kinds_of_dags_have_chronon_s_limits(repository: Path) -> None:
    change(repository, "joins/quickstart/training_set.v2", customJson='{"check_consistency": true}')
    kinds = {dag_id: dag.kind for dag_id, dag in planned(repository).items()}
    assert kinds["chronon_group_by_batch_quickstart"] == Kind(since=date(2023, 2, 1), timeout=timedelta(days=4), concurrency=300)
    assert kinds["chronon_group_by_streaming_quickstart"] == Kind(timeout=timedelta(minutes=20), streaming=True)
    assert kinds["chronon_join_team_a__j__with_env"] == Kind(concurrency=100, ram_megabytes=12_288)
    assert kinds["chronon_staging_query_batch_team_a"] == kinds["chronon_online_offline_comparison_quickstart__training_set__v2"] == Kind()


def test_constants_are_the_user_s(repository: Path) -> None:
    constants = Constants(group_by_batch_concurrency=3, test_team="quickstart", time_parts=("day",))
    found = plan(repository, load(repository / "teams.json"), constants)
    batch = found["chronon_group_by_batch_quickstart"]
    assert batch.kind.concurrency == 3
    assert batch.jobs[0].arguments == ("--online-jar-fetch", str(repository / "scripts/fetch_online_staging_jar.py"))
    assert found["chronon_staging_query_batch_team_a"].jobs[0].arguments == ()
    assert constants.task_safe("a.b/day=1/ds=2") == "a__b__ds__2"


def test_a_group_by_with_a_backfill_and_an_upload_has_one_skip(repository: Path) -> None:
    path = repository / "production/group_bys/quickstart/returns.v1"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"backfillStartDate": "2023-01-01"}))
    change(repository, "group_bys/quickstart/returns.v1", offlineSchedule="@never")
    found = jobs(planned(repository)["chronon_group_by_batch_quickstart"])
    both = [found[f"{task}__quickstart__returns__v1"] for task in ("group_by_batch_backfill", "group_by_batch")]
    assert {job.skip_id for job in both} == {"custom_skip__quickstart__returns__v1"}
    assert both[0].waits == both[1].waits != ()


def test_a_static_group_by_is_uploaded_on_some_days(repository: Path) -> None:
    change(repository, "group_bys/quickstart/purchases.v1", customJson='{"uploadSchedule": "@weekly"}')
    found = jobs(planned(repository)["chronon_group_by_batch_quickstart"])["group_by_batch__quickstart__purchases__v1"]
    assert (found.cadence, found.cadence_id) == ("@weekly", "upload_cadence__quickstart__purchases__v1")


@pytest.mark.parametrize(
    ("conf", "cadence", "said"),
    [("returns.v1", "@weekly", "without streams"), ("purchases.v1", "@hourly", "must be one of @daily, @weekly")],
)
def test_upload_days_that_cannot_be(repository: Path, conf: str, cadence: str, said: str) -> None:
    change(repository, f"group_bys/quickstart/{conf}", customJson=json.dumps({"uploadSchedule": cadence}))
    with pytest.raises(InvalidRequest, match=said):
        planned(repository)


def test_upload_days() -> None:
    year = [date(2024, 1, 1) + timedelta(days) for days in range(366)]
    days = {cadence: [day for day in year if uploads(day)] for cadence, uploads in UPLOAD_DAYS.items()}
    assert days["@daily"] == year
    assert {f"{day:%a}" for day in days["@weekly"]} == {"Sun"}
    assert [f"{day:%m-%d}" for day in days["@quarterly"]] == ["01-01", "04-01", "07-01", "10-01"]
    assert [day.month for day in days["@monthly"]] == list(range(1, 13))


def test_a_dependency_that_is_none_is_named(repository: Path) -> None:
    change(repository, "group_bys/quickstart/returns.v1", dependencies=["data.returns/ds={{ ds }}"])
    with pytest.raises(InvalidRequest, match=r"quickstart\.returns\.v1 has a dependency that is none"):
        planned(repository)


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
    assert job.waits == (Wait("wf_flattened_log_table", "default.quickstart_training_set_v2_logged/ds={{ ds }}"),)


def test_statistics_wait_for_the_join_s_own_table(repository: Path) -> None:
    stats = jobs(planned(repository)["chronon_stats_compute"])["feature_stats__quickstart__training_set__v1"]
    assert stats.waits == (Wait("wf_default_quickstart_training_set_v1", "default.quickstart_training_set_v1/ds={{ ds }}"),)


def test_logs_are_flattened_where_answers_are_logged(repository: Path) -> None:
    change(repository, "joins/quickstart/training_set.v2", samplePercent=10.0)
    assert "chronon_log_flattening_quickstart" not in planned(repository)
    teams = json.loads((repository / "teams.json").read_text())
    teams["default"]["common_env"] |= {"CHRONON_LOG_TABLE": "default.log"}
    (repository / "teams.json").write_text(json.dumps(teams))
    with pytest.raises(InvalidRequest, match="CHRONON_SCHEMA_TABLE"):
        planned(repository)
    teams["default"]["common_env"] |= {"CHRONON_SCHEMA_TABLE": "default.schema"}
    (repository / "teams.json").write_text(json.dumps(teams))
    (job,) = planned(repository)["chronon_log_flattening_quickstart"].jobs
    assert job.arguments == ("--log-table", "default.log", "--schema-table", "default.schema")
    assert job.waits == (
        Wait("wf_raw_log_table", "default.log/ds={{ ds }}/name=SCHEMA_PUBLISH_EVENT"),
        Wait("wf_schema_table", "default.schema/ds={{ ds }}"),
    )


def test_a_group_by_that_is_not_online_is_not_uploaded(repository: Path) -> None:
    change(repository, "group_bys/quickstart/returns.v1", online=0)
    found = planned(repository)
    assert "group_by_batch__quickstart__returns__v1" not in jobs(found["chronon_group_by_batch_quickstart"])
    assert "chronon_group_by_streaming_quickstart" not in found


def test_a_staging_query_waits_for_bare_partitions(repository: Path) -> None:
    (job,) = planned(repository)["chronon_staging_query_batch_team_a"].jobs
    assert job.waits == (Wait("wf__data__purchases", "data.purchases/ds={{ ds }}"),)


def test_a_file_that_is_no_conf_is_named(repository: Path) -> None:
    (repository / "production" / "joins" / "team_a" / "broken").write_text("{}")
    with pytest.raises(InvalidRequest, match="joins/team_a/broken"):
        planned(repository)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("team.gb.v1", "team__gb__v1"), ("db.t/ds={{ ds }}", "db__t"), ("db.t/ds=x/sub=a-b", "db__t__sub__a__b"), ("a_b", "a_b")],
)
def test_names_of_tasks(name: str, safe: str) -> None:
    assert CONSTANTS.task_safe(name) == safe

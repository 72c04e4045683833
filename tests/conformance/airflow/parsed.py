"""Runs inside an Airflow environment: parses a DAG folder and prints what Airflow makes of it as JSON."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction

from chronoserve.airflow.sensors import PartitionSensor

try:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
    from airflow.serialization.serialized_objects import DagSerialization

    serialized = DagSerialization.serialize_dag
except ImportError:  # Airflow 2
    from airflow.exceptions import AirflowException, AirflowFailException
    from airflow.models import DagBag
    from airflow.serialization.serialized_objects import SerializedDAG

    serialized = SerializedDAG.serialize_dag

LAST = DataInterval(pendulum.datetime(2024, 3, 30), pendulum.datetime(2024, 3, 31))
ALWAYS = TimeRestriction(earliest=None, latest=None, catchup=True)


def dag_of(dag: Any) -> dict[str, Any]:
    following = dag.timetable.next_dagrun_info(last_automated_data_interval=LAST, restriction=ALWAYS)
    json.dumps(serialized(dag))  # as the scheduler gets it
    return {
        "tasks": {task.task_id: task_of(task) for task in dag.tasks},
        "runs": dag.max_active_runs,
        "concurrency": dag.max_active_tasks,
        "timeout": dag.dagrun_timeout.total_seconds(),
        "catchup": dag.catchup,
        "start": str(dag.start_date.date()),
        "after_march_30": [str(following.logical_date), str(following.run_after)],
    }


def task_of(task: Any) -> dict[str, Any]:
    names = ("owner", "queue", "email", "email_on_retry", "run_as_user", "retries", "max_active_tis_per_dag", "mode", "poke_interval")
    return {
        "then": sorted(task.downstream_task_ids),
        "command": getattr(task, "bash_command", None),
        "env": getattr(task, "env", None),
        "waits": getattr(task, "timeout", None),
        "retry_delay": task.retry_delay.total_seconds(),
        "ram": task.resources.ram.qty if task.resources else None,
        "since": str(task.start_date.astimezone(UTC).date()) if isinstance(task.start_date, datetime) else None,
        "params": dict(task.params),
        "failure_callbacks": bool(task.on_failure_callback),
        **{name: getattr(task, name, None) for name in names},
    }


def poke(code: int) -> str:
    """What a sensor makes of its command's exit code."""
    try:
        return str(PartitionSensor(task_id="sensor", bash_command=f"exit {code}").poke({}))
    except AirflowFailException:
        return "never again"
    except AirflowException:
        return "retried"


bag = DagBag(sys.argv[1])
dags = {dag_id: dag_of(dag) for dag_id, dag in bag.dags.items()}
print("\n" + json.dumps({"errors": list(bag.import_errors.values()), "dags": dags, "pokes": [poke(code) for code in (0, 1, 2, 127)]}))

"""Runs inside an Airflow environment with a database: acts out runs of DAGs, task by task, and prints how each task ended as JSON.

A step is ``{"dag": id, "day": date}``; with ``"left": {task: state}`` the run that the day has already is put back to running, and those
tasks of it to those states, as a scheduler that is at work would show them.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from airflow.models import DagRun, TaskInstance
from airflow.utils.session import create_session

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2; its notes on runs refer to users, whose table only this module declares
    from airflow.models import DagBag
    from airflow.providers.fab.auth_manager import models as _users  # noqa: F401

THREE = not hasattr(DagRun, "execution_date")

logging.disable(logging.CRITICAL)
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors


def run_of(session: Any, dag_id: str, at: datetime) -> Any:
    when = DagRun.logical_date if THREE else DagRun.execution_date
    return session.query(DagRun).filter(DagRun.dag_id == dag_id, when == at).one()


def leave(dag_id: str, at: datetime, states: dict[str, str]) -> None:
    with create_session() as session:
        run_id = run_of(session, dag_id, at).run_id
        session.query(DagRun).filter(DagRun.run_id == run_id, DagRun.dag_id == dag_id).update({"state": "running"})
        for task_id, state in states.items():
            tasks = session.query(TaskInstance).filter(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
            tasks.filter(TaskInstance.task_id == task_id).update({"state": state})


def act(dag_id: str, at: datetime) -> dict[str, Any]:
    dag = bag.dags[dag_id]
    dag.test(**({"logical_date": at} if THREE else {"execution_date": at}))
    with create_session() as session:
        run = run_of(session, dag_id, at)
        tasks = {task.task_id: {"state": task.state, "tries": task.try_number} for task in run.get_task_instances(session=session)}
        return {"state": run.state, "tasks": tasks}


found: list[dict[str, Any]] = []
for step in json.loads(sys.argv[2]):
    day = datetime.fromisoformat(step["day"]).replace(tzinfo=UTC)
    if "left" in step:
        leave(step["dag"], day, step["left"])
    else:
        found.append(act(step["dag"], day))
print("\n" + json.dumps(found))

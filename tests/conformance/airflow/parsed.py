"""Runs inside an Airflow environment: parses a DAG folder and prints what Airflow makes of it as JSON."""

import json
import sys

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2
    from airflow.models import DagBag

bag = DagBag(sys.argv[1])
found = {
    dag_id: {"tasks": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}, "runs": dag.max_active_runs}
    for dag_id, dag in bag.dags.items()
}
commands = {task.task_id: task.bash_command for dag in bag.dags.values() for task in dag.tasks if hasattr(task, "bash_command")}
print("\n" + json.dumps({"errors": list(bag.import_errors.values()), "dags": found, "commands": commands}))

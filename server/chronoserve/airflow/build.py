"""The plan as Airflow's DAGs: sensors → skip → ``chronoserve run`` → load. Works on Airflow 2.11 and 3."""

import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chronoserve.airflow.plan import CONCURRENCY, Concurrency, Dag, Job, Wait, plan
from chronoserve.config import teams as teams_file
from chronoserve.config.teams import Team, Teams

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import ShortCircuitOperator
    from airflow.providers.standard.sensors.bash import BashSensor
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import ShortCircuitOperator
    from airflow.sensors.bash import BashSensor

RETRY_DELAY = timedelta(minutes=1)
STREAMING_TIMEOUT = timedelta(minutes=20)
SENSOR_TIMEOUT = timedelta(hours=48)
SENSOR_RETRIES = 3
SENSOR_POKE = timedelta(minutes=5)
START_DATE = datetime(2023, 2, 1, tzinfo=UTC)

Sense = Callable[[Wait, DAG, Team], Any]
"""Makes the operator that waits for a partition."""

Load = Callable[[Job, DAG, Team], Any]
"""Makes the operator that brings an upload into the online store."""


def dags(
    repository: str,
    *,
    env: str = "production",
    command: str = "chronoserve",
    warehouse: str | None = None,
    store: str | None = None,
    concurrency: Concurrency = CONCURRENCY,
    sense: Sense | None = None,
    load: Load | None = None,
) -> dict[str, DAG]:
    """Every DAG of a configuration repository, by its id: put them into a DAG file's globals.

    ``command``: how a worker calls chronoserve. ``warehouse``: URL that partitions are looked for and uploads are read in.
    ``store``: URL of the store that uploads are loaded into. ``sense`` and ``load`` replace how a partition is waited for and how an
    upload is loaded: by a metastore's own sensor, or a job on the cluster.

    Raises:
        KVError: teams.json or a conf is not right; Airflow shows it as an import error of the DAG file.
    """
    root = Path(repository)
    teams = teams_file.load(root / "teams.json")
    shell = _Shell(command, root, env, warehouse, store)
    builder = _Builder(teams, shell, sense or shell.sensor, load or shell.loader)
    return {name: builder.dag(each) for name, each in plan(root, teams, concurrency).items()}


class _Shell:
    """Operators that call the command line."""

    def __init__(self, command: str, root: Path, env: str, warehouse: str | None, store: str | None) -> None:
        self._command = command
        self._root = root
        self._env = env
        self._warehouse = ("--warehouse", warehouse) if warehouse else ()
        self._store = ("--store", store) if store else ()
        self._settings = {"CHRONOSERVE_WAREHOUSE": warehouse} if warehouse else {}
        """For uploads without a jar."""

    def job(self, job: Job, dag: DAG) -> BashOperator:
        words = ("run", "--repo", str(self._root), "--env", self._env, "--mode", job.mode, "--conf", str(job.conf), *job.arguments)
        line = self._line(*words, "--ds", "{{ ds }}")
        return BashOperator(task_id=job.task_id, bash_command=line, env=self._settings, dag=dag, append_env=True)

    def sensor(self, wait: Wait, dag: DAG, team: Team) -> BashSensor:
        words = ("partition", wait.spec, *(("--end", wait.end, "--ds", "{{ ds }}") if wait.end else ()), *self._warehouse)
        return BashSensor(
            task_id=wait.task_id,
            bash_command=self._line(*words),
            dag=dag,
            mode="reschedule",
            retries=SENSOR_RETRIES,
            timeout=SENSOR_TIMEOUT.total_seconds(),
            poke_interval=SENSOR_POKE.total_seconds(),
        )

    def loader(self, job: Job, dag: DAG, team: Team) -> BashOperator:
        words = ("load", "--conf", str(job.conf), "--partition", "{{ ds }}", *self._warehouse, *self._store)
        return BashOperator(task_id=f"kv_upload__{job.name}", bash_command=self._line(*words), dag=dag, append_env=True)

    def _line(self, *words: str) -> str:
        """A command line; Airflow's templates in it stay open."""
        return " ".join([self._command, *(word if "{{" in word else shlex.quote(word) for word in words)])


class _Builder:
    """Turns planned DAGs into Airflow's."""

    def __init__(self, teams: Teams, shell: _Shell, sense: Sense, load: Load) -> None:
        self._teams = teams
        self._shell = shell
        self._sense = sense
        self._load = load

    def dag(self, planned: Dag) -> DAG:
        team = self._teams.team(planned.team)
        dag = DAG(
            planned.dag_id,
            schedule=planned.schedule,
            start_date=_start_date(team),
            catchup=False,
            max_active_tasks=planned.concurrency,
            max_active_runs=1,
            dagrun_timeout=STREAMING_TIMEOUT if planned.streaming else None,
            default_args=default_args(self._teams, team),
            tags=["chronon", team.name],
        )
        sensors: dict[str, Any] = {}
        for job in planned.jobs:
            self._job(job, dag, team, sensors, streaming=planned.streaming)
        return dag

    def _job(self, job: Job, dag: DAG, team: Team, sensors: dict[str, Any], *, streaming: bool) -> None:
        """Its operators, in the order in which they run. Jobs of a DAG share the sensors of what both wait for."""
        run = self._shell.job(job, dag)
        if streaming:
            return
        skip = ShortCircuitOperator(task_id=job.skip_id, python_callable=is_newest, dag=dag)
        for wait in job.waits:
            if wait.task_id not in sensors:
                sensors[wait.task_id] = self._sense(wait, dag, team)
            sensors[wait.task_id] >> skip
        skip >> run
        if job.loads:
            run >> self._load(job, dag, team)


def is_newest(data_interval_end: datetime | None = None, **_: Any) -> bool:
    """Whether no later day's run is due already: a day that was overtaken is skipped, because jobs fill holes themselves."""
    return data_interval_end is None or datetime.now(UTC) - data_interval_end < timedelta(days=1)


def default_args(teams: Teams, team: Team) -> dict[str, Any]:
    """What all tasks of a team share: its own settings, else the default's."""
    said: Mapping[str, object] = {**teams.default.settings, **team.settings}
    args: dict[str, Any] = {"owner": team.name, "retries": 1, "retry_delay": RETRY_DELAY, "depends_on_past": False}
    if said.get("airflow_queue"):
        args["queue"] = said["airflow_queue"]
    if said.get("maintainer_emails"):
        args |= {"email": said["maintainer_emails"], "email_on_failure": True}
    if user := team.user or teams.default.user:
        args["run_as_user"] = user
    return args


def _start_date(team: Team) -> datetime:
    said = team.settings.get("dag_start_date")
    return datetime.fromisoformat(said).replace(tzinfo=UTC) if isinstance(said, str) else START_DATE

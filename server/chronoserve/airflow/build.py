"""The plan as Airflow's DAGs: sensors → skip → ``chronoserve run`` → load. Works on Airflow 2.11 and 3."""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable

from chronoserve.airflow.plan import CONSTANTS, DAILY, UPLOAD_DAYS, Constants, Dag, Job, Wait, plan
from chronoserve.airflow.sensors import PartitionSensor, SkipSensor
from chronoserve.config import teams as teams_file
from chronoserve.config.teams import Team, Teams

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import ShortCircuitOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import ShortCircuitOperator

RETRY_DELAY = timedelta(minutes=1)
SENSOR_RETRIES = 3
SKIPS_AT_A_TIME = 10
"""Of one conf: they ask Airflow's database."""
WITHOUT_DAYS = ("@once", "@continuous")
PARTITION_SETTINGS = ("PARTITION_COLUMN", "PARTITION_FORMAT")
TEMPLATE = re.compile(r"(\{\{.*?\}\})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How sensors wait: without a worker's slot, looking again after ``poke``, ``skip_poke`` where Airflow's database is asked.

    ``timeout``: Chronon's sensors have 48 hours a try and 4 tries; Airflow does not try again when one that holds no slot has timed out,
    so that one try has them all. The run's own timeout comes before that.
    """

    poke: timedelta = timedelta(minutes=3)
    skip_poke: timedelta = timedelta(minutes=15)
    timeout: timedelta = (SENSOR_RETRIES + 1) * timedelta(hours=48)


PATIENCE = Patience()

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
    checkpoints: str | None = None,
    constants: Constants = CONSTANTS,
    patience: Patience = PATIENCE,
    task_args: Mapping[str, Any] | None = None,
    sense: Sense | None = None,
    load: Load | None = None,
) -> dict[str, DAG]:
    """Every DAG of a configuration repository, by its id: put them into a DAG file's globals.

    ``command``: how a worker calls chronoserve. ``warehouse``: URL that partitions are looked for and uploads are read in.
    ``store``: URL of the store that uploads are loaded into. ``checkpoints``: folder of the workers where a load that was killed left
    where it stood; None: the next try begins anew. ``task_args``: what every task gets beside what teams.json says, such as
    ``on_failure_callback`` or ``pool``. ``sense`` and ``load`` replace how a partition is waited for and how an upload is loaded: by a
    metastore's own sensor, or a job on the cluster.

    Raises:
        KVError: teams.json or a conf is not right; Airflow shows it as an import error of the DAG file.
    """
    root = Path(repository)
    teams = teams_file.load(root / "teams.json")
    shell = _Shell(
        command=command, root=root, env=env, warehouse=warehouse, store=store, checkpoints=checkpoints, patience=patience,
        common_env=teams.default.common_env,
    )  # fmt: skip
    builder = _Builder(
        teams=teams, shell=shell, patience=patience, task_args=task_args or {}, sense=sense or shell.sensor, load=load or shell.loader
    )
    return {name: builder.dag(each) for name, each in plan(root, teams, constants).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shell:
    """Operators that call the command line."""

    command: str
    root: Path
    env: str
    warehouse: str | None
    store: str | None
    checkpoints: str | None
    patience: Patience
    common_env: Mapping[str, str]

    def job(self, job: Job, dag: DAG) -> BashOperator:
        words = ("run", "--repo", str(self.root), "--env", self.env, "--mode", job.mode, "--conf", str(job.conf), *job.arguments)
        line = self._line(*words, "--ds", "{{ ds }}")
        said = {"name": job.conf_name, "team": job.team, "conf_type": job.conf_type, "conf_path": str(job.conf), "mode": job.mode}
        params = {**said, "production": job.production}
        env = {"CHRONON_REPO_PATH": str(self.root), **({"CHRONOSERVE_WAREHOUSE": self.warehouse} if self.warehouse else {})}
        return BashOperator(task_id=job.task_id, bash_command=line, env=env, params=params, dag=dag, append_env=True)

    def sensor(self, wait: Wait, dag: DAG, team: Team) -> PartitionSensor:
        words = (
            "partition",
            wait.spec,
            *(("--end", wait.end, "--ds", "{{ ds }}") if wait.end else ()),
            *_option("--warehouse", self.warehouse),
        )
        return PartitionSensor(
            task_id=wait.task_id, bash_command=self._line(*words), dag=dag, retries=SENSOR_RETRIES,
            **waiting(self.patience, self.patience.poke),
        )  # fmt: skip

    def loader(self, job: Job, dag: DAG, team: Team) -> BashOperator:
        places = {"--warehouse": self.warehouse, "--store": self.store, "--checkpoints": self.checkpoints}
        given = [word for option, value in places.items() for word in _option(option, value)]
        line = self._line("load", "--conf", str(job.conf), "--partition", "{{ ds }}", *given)
        env = {name: self.common_env[name] for name in PARTITION_SETTINGS if name in self.common_env}  # run reads teams.json itself
        return BashOperator(task_id=f"kv_upload__{job.name}", bash_command=line, env=env, dag=dag, append_env=True)

    def _line(self, *words: str) -> str:
        return " ".join([self.command, *map(_quoted, words)])


def _option(name: str, value: str | None) -> tuple[str, ...]:
    return (name, value) if value else ()


def _quoted(word: str) -> str:
    """A word of a command line; Airflow's templates in it stay open."""
    parts = TEMPLATE.split(word)
    return "".join(part if part.startswith("{{") else shlex.quote(part) for part in parts if part) or "''"


def waiting(patience: Patience, poke: timedelta) -> dict[str, Any]:
    """What sensors take."""
    return {"mode": "reschedule", "poke_interval": poke.total_seconds(), "timeout": patience.timeout.total_seconds()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Builder:
    """Turns planned DAGs into Airflow's."""

    teams: Teams
    shell: _Shell
    patience: Patience
    task_args: Mapping[str, Any]
    sense: Sense
    load: Load

    def dag(self, planned: Dag) -> DAG:
        team, kind = self.teams.team(planned.team), planned.kind
        ram = {"resources": {"ram": kind.ram_megabytes}} if kind.ram_megabytes else {}
        dag = DAG(
            planned.dag_id,
            schedule=_schedule(planned.schedule),
            start_date=_midnight(kind.since),
            catchup=False,
            dagrun_timeout=kind.timeout,
            default_args={**default_args(self.teams, team), **ram, **self.task_args},
            tags=["chronon", team.name],
            **({"max_active_tasks": kind.concurrency} if kind.concurrency else {}),
            **({"max_active_runs": 1} if kind.streaming else {}),
        )
        for job in planned.jobs:
            self._job(job, dag, team, streaming=kind.streaming)
        return dag

    def _job(self, job: Job, dag: DAG, team: Team, *, streaming: bool) -> None:
        """Its operators, in the order in which they run."""
        run = self.shell.job(job, dag)
        if streaming:
            return
        skip = self._skip(job, dag, team)
        skip >> run
        if job.cadence != DAILY:
            ShortCircuitOperator(task_id=job.cadence_id, python_callable=is_upload_day, op_args=[job.cadence, "{{ ds }}"], dag=dag) >> run
        loaded = self.load(job, dag, team) if job.loads else None
        if loaded is not None:
            run >> loaded
        skip.jobs += [job.task_id, *([loaded.task_id] if loaded is not None else [])]

    def _skip(self, job: Job, dag: DAG, team: Team) -> SkipSensor:
        """Jobs of a DAG share the sensors of what both wait for, and those of one conf what may skip them."""
        if job.skip_id in dag.task_dict:
            found: SkipSensor = dag.task_dict[job.skip_id]
            return found
        how = waiting(self.patience, self.patience.skip_poke)
        skip = SkipSensor(task_id=job.skip_id, max_active_tis_per_dag=SKIPS_AT_A_TIME, dag=dag, **how)
        for wait in job.waits:
            (dag.task_dict.get(wait.task_id) or self.sense(wait, dag, team)) >> skip
        return skip


def is_upload_day(cadence: str, ds: str) -> bool:
    """Whether a day's partition is uploaded: the DAG stays daily, so that it is always the newest there is."""
    return UPLOAD_DAYS[cadence](date.fromisoformat(ds))


def default_args(teams: Teams, team: Team) -> dict[str, Any]:
    """What all tasks of a team share: its own settings, else the default's."""
    said: Mapping[str, object] = {**teams.default.settings, **team.settings}
    args: dict[str, Any] = {
        "owner": said.get("team_name") or team.name,
        "retries": 1,
        "retry_delay": RETRY_DELAY,
        "depends_on_past": False,
        "email_on_failure": True,
        "email_on_retry": False,
        "max_active_tis_per_dag": 1,
    }
    for name, key in {"queue": "airflow_queue", "email": "maintainer_emails", "hive_cli_conn_id": "hive_cli_conn_id"}.items():
        if said.get(key):
            args[name] = said[key]
    if user := team.user or teams.default.user:
        args["run_as_user"] = user
    if isinstance(start := said.get("dag_start_date"), str):
        args["start_date"] = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return args


def _schedule(schedule: str | timedelta) -> Any:
    """Runs at the end of their day, whose date they have: what a bare text means in Airflow 2, and no longer in Airflow 3."""
    if isinstance(schedule, timedelta):
        return DeltaDataIntervalTimetable(schedule)
    return schedule if schedule in WITHOUT_DAYS else CronDataIntervalTimetable(schedule, timezone="UTC")


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

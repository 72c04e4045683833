"""What is scheduled: DAGs, their jobs and what each waits for (spec/integration.md §5.1-5.2). Reads confs, knows no Airflow."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chronoserve.config.teams import Teams
from chronoserve.model import naming
from chronoserve.model.errors import InvalidRequest

NEVER = "@never"
DAILY = "@daily"
STREAMING_SCHEDULE = "*/20 * * * *"
LOG_TABLE, SCHEMA_TABLE = "CHRONON_LOG_TABLE", "CHRONON_SCHEMA_TABLE"
TIME_PARTS = ("ds=", "ts=", "hr=")
"""Parts of a name that a partition in time begins with: they are no part of a task's name."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Wait:
    """A partition that must have landed. ``end``: from this day on there is nothing to wait for."""

    task_id: str
    spec: str
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a mode for a conf. ``loads``: its upload is then loaded into the store."""

    task_id: str
    name: str
    mode: str
    conf: Path
    waits: tuple[Wait, ...] = ()
    arguments: tuple[str, ...] = ()
    loads: bool = False

    @property
    def skip_id(self) -> str:
        """The task that leaves out days which a later one has overtaken."""
        return f"custom_skip__{self.name}"


@dataclass(slots=True, kw_only=True)
class Dag:
    """``team``: whose settings of teams.json its tasks get."""

    dag_id: str
    team: str
    schedule: str
    concurrency: int
    streaming: bool = False
    jobs: list[Job] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Tasks of one DAG that run at a time."""

    group_bys: int = 300
    joins: int = 100


CONCURRENCY = Concurrency()


@dataclass(frozen=True, slots=True)
class Conf:
    """A compiled conf with its place."""

    path: Path
    content: Mapping[str, Any]

    @property
    def meta_data(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.content["metaData"]
        return found

    @property
    def name(self) -> str:
        return str(self.meta_data["name"])

    @property
    def team(self) -> str:
        return str(self.meta_data.get("team") or self.name.partition(".")[0])

    @property
    def online(self) -> bool:
        return bool(self.meta_data.get("online"))

    @property
    def schedule(self) -> str:
        return str(self.meta_data.get("offlineSchedule") or DAILY)

    @property
    def streams(self) -> bool:
        """Whether any source has a topic."""
        sources = [source for each in self.content.get("sources") or () for source in each.values() if isinstance(source, dict)]
        return any(source.get("topic") or source.get("mutationTopic") for source in sources)

    @property
    def output_table(self) -> str:
        return f"{self.meta_data.get('outputNamespace', 'default')}.{naming.sanitize(self.name)}"

    def waits(self) -> tuple[Wait, ...]:
        """The dependencies that the compiler wrote."""
        return tuple(_wait(each) for each in self.meta_data.get("dependencies") or ())


def task_safe(name: str) -> str:
    """A name as tasks and DAGs may have: parts joined by ``__``, partitions in time left out."""
    parts = [part for part in name.split("/") if part and not part.startswith(TIME_PARTS)]
    return "__".join(_UNSAFE.sub("__", part) for part in parts)


def _wait(dependency: str) -> Wait:
    """A dependency as confs have it: a JSON object in a text, or the bare partition."""
    try:
        found = json.loads(dependency)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Wait(f"wait_for_{task_safe(dependency)}", dependency)
    return Wait(task_safe(str(found["name"])), str(found["spec"]), found.get("end"))


def confs(production: Path, kind: str) -> Iterator[Conf]:
    """The compiled confs of a kind, by path.

    Raises:
        InvalidRequest: a file is no compiled conf; the message names it.
    """
    for path in sorted((production / kind).glob("*/*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            Conf(path, content).meta_data["name"]
        except (ValueError, KeyError, TypeError, RecursionError) as broken:
            raise InvalidRequest(f"{kind}/{path.parent.name}/{path.name} is no compiled conf: compile it again") from broken
        yield Conf(path, content)


def plan(repository: Path, teams: Teams, concurrency: Concurrency = CONCURRENCY) -> dict[str, Dag]:
    """Every DAG by its id, those without a job left out.

    Raises:
        InvalidRequest: a conf cannot be read.
    """
    production = repository / "production"
    found = _Found(concurrency, teams.default.common_env)
    for conf in confs(production, "group_bys"):
        found.group_by(conf)
    for conf in confs(production, "joins"):
        found.join(conf)
    for conf in confs(production, "staging_queries"):
        found.staging_query(conf)
    return found.dags


@dataclass(slots=True)
class _Found:
    """The DAGs so far."""

    concurrency: Concurrency
    common_env: Mapping[str, str]
    dags: dict[str, Dag] = field(default_factory=dict)

    def group_by(self, conf: Conf) -> None:
        safe = task_safe(conf.name)
        batch = f"chronon_group_by_batch_{conf.team}"
        if conf.content.get("backfillStartDate") and conf.schedule != NEVER:
            job = Job(task_id=f"group_by_batch_backfill__{safe}", name=safe, mode="backfill", conf=conf.path, waits=conf.waits())
            self._add(batch, conf, job, self.concurrency.group_bys)
        if conf.online and conf.schedule != NEVER:
            job = Job(task_id=f"group_by_batch__{safe}", name=safe, mode="upload", conf=conf.path, waits=conf.waits(), loads=True)
            self._add(batch, conf, job, self.concurrency.group_bys)
        if conf.online and conf.streams:
            job = Job(task_id=f"group_by_streaming__{safe}", name=safe, mode="streaming", conf=conf.path)
            self._add(f"chronon_group_by_streaming_{conf.team}", conf, job, self.concurrency.group_bys, streaming=True)

    def join(self, conf: Conf) -> None:
        safe = task_safe(conf.name)
        if conf.schedule != NEVER:
            job = Job(task_id=f"compute_join__{safe}", name=safe, mode="backfill", conf=conf.path, waits=conf.waits())
            self._add(f"chronon_join_{safe}", conf, job, self.concurrency.joins, schedule=conf.schedule)
            stats = Wait(f"wait_for_{task_safe(conf.output_table)}_ds", f"{conf.output_table}/ds={{{{ ds }}}}")
            job = Job(task_id=f"feature_stats__{safe}", name=safe, mode="stats-summary", conf=conf.path, waits=(stats,))
            self._add("chronon_stats_compute", conf, job, self.concurrency.joins)
        if naming.custom(conf.meta_data.get("customJson"), "check_consistency") is True:
            logged = Wait(f"wait_for_{task_safe(conf.output_table)}_logged_ds", f"{conf.output_table}_logged/ds={{{{ ds }}}}")
            job = Job(
                task_id=f"compute_consistency__{safe}", name=safe, mode="consistency-metrics-compute", conf=conf.path, waits=(logged,)
            )
            self._add(f"chronon_online_offline_comparison_{safe}", conf, job, self.concurrency.joins)
        if (conf.meta_data.get("samplePercent") or 0) > 0:
            self._flattening(conf, safe)

    def _flattening(self, conf: Conf, safe: str) -> None:
        log, schema = self.common_env.get(LOG_TABLE), self.common_env.get(SCHEMA_TABLE)
        if not log or not schema:
            raise InvalidRequest(f"{conf.name} logs its answers: name {LOG_TABLE} and {SCHEMA_TABLE} in default.common_env of teams.json")
        waits = (
            Wait(f"wait_for_{task_safe(log)}_schema", f"{log}/ds={{{{ ds }}}}/name={naming.SCHEMA_PUBLISH_EVENT}"),
            Wait(f"wait_for_{task_safe(schema)}_ds", f"{schema}/ds={{{{ ds }}}}"),
        )
        arguments = ("--log-table", log, "--schema-table", schema)
        job = Job(task_id=f"log_flattening__{safe}", name=safe, mode="log-flattener", conf=conf.path, waits=waits, arguments=arguments)
        self._add(f"chronon_log_flattening_{conf.team}", conf, job, self.concurrency.joins)

    def staging_query(self, conf: Conf) -> None:
        safe = task_safe(conf.name)
        job = Job(task_id=f"staging_query__{safe}", name=safe, mode="backfill", conf=conf.path, waits=conf.waits())
        self._add(f"chronon_staging_query_batch_{conf.team}", conf, job, self.concurrency.joins)

    def _add(self, dag_id: str, conf: Conf, job: Job, concurrency: int, *, schedule: str = DAILY, streaming: bool = False) -> None:
        dag = self.dags.get(dag_id)
        if dag is None:
            kind = STREAMING_SCHEDULE if streaming else schedule
            dag = self.dags[dag_id] = Dag(dag_id=dag_id, team=conf.team, schedule=kind, concurrency=concurrency, streaming=streaming)
        dag.jobs.append(job)

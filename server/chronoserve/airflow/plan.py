"""What is scheduled: DAGs, their jobs and what each waits for (spec/integration.md §3.4, §5.1-5.2). Reads confs, knows no Airflow."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from chronoserve.config.teams import Teams
from chronoserve.model import naming
from chronoserve.model.errors import InvalidRequest

NEVER = "@never"
DAILY = "@daily"
STREAMING_SCHEDULE = timedelta(minutes=20)
LOG_TABLE, SCHEMA_TABLE = "CHRONON_LOG_TABLE", "CHRONON_SCHEMA_TABLE"
STAGING_JAR = "scripts/fetch_online_staging_jar.py"
"""Where the test team's jobs get their jar from, below the repository."""
TEMPORAL = 0
"""Chronon's accuracy of that name, in a compiled conf."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Wait:
    """A partition that must have landed. ``end``: the last day of its source; for later ones there is nothing to wait for."""

    task_id: str
    spec: str
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a mode for a conf. ``loads``: its upload is then loaded into the store. ``cadence``: the days that it runs on.

    ``name``: the conf's, as tasks may have it. ``conf_type``: ``group_bys`` or another folder of compiled confs.
    """

    task_id: str
    name: str
    mode: str
    conf: Path
    conf_name: str
    conf_type: str
    team: str
    production: bool
    waits: tuple[Wait, ...] = ()
    arguments: tuple[str, ...] = ()
    loads: bool = False
    cadence: str = DAILY

    @property
    def skip_id(self) -> str:
        """The task that leaves out days which a later one has overtaken; all jobs of a conf in a DAG share it."""
        return f"custom_skip__{self.name}"

    @property
    def cadence_id(self) -> str:
        """The task that leaves out days which are no upload days."""
        return f"upload_cadence__{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What DAGs of one kind have in common. ``concurrency``: tasks that run at a time; None: Airflow's own number.

    ``timeout``: of a run. ``ram_megabytes``: a hint to executors that schedule by it.
    """

    since: date = date(2022, 2, 1)
    timeout: timedelta = timedelta(days=4)
    concurrency: int | None = None
    ram_megabytes: int | None = None
    streaming: bool = False


@dataclass(slots=True, kw_only=True)
class Dag:
    """``team``: whose settings of teams.json its tasks get."""

    dag_id: str
    team: str
    schedule: str | timedelta
    kind: Kind
    jobs: list[Job] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What upstream's ``constants.py`` holds besides the path.

    ``time_parts``: columns of partitions in time, which are no part of a task's name. ``test_team``: its jobs use the jar that
    ``STAGING_JAR`` fetches.
    """

    group_by_batch_concurrency: int = 300
    join_concurrency: int = 100
    test_team: str = "chronon_test"
    time_parts: tuple[str, ...] = ("ds", "ts", "hr")

    def task_safe(self, name: str) -> str:
        """A name as tasks and DAGs may have: parts joined by ``__``, partitions in time left out."""
        in_time = tuple(f"{part}=" for part in self.time_parts)
        return _UNSAFE.sub("__", "__".join(part for part in name.split("/") if not part.startswith(in_time)))


CONSTANTS = Constants()


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
    def production(self) -> bool:
        return bool(self.meta_data.get("production"))

    @property
    def cadence(self) -> str:
        """The days on which it is uploaded, for group bys whose values rarely change.

        Raises:
            InvalidRequest: there is no such cadence, or streams replay everything after the last upload, so that it must be of yesterday.
        """
        found = naming.custom(self.meta_data.get("customJson"), "uploadSchedule") or DAILY
        if found not in UPLOAD_DAYS:
            raise InvalidRequest(f"{self.name}: uploadSchedule is {found!r} and must be one of {', '.join(UPLOAD_DAYS)}")
        if found != DAILY and (self.streams or self.content.get("accuracy") == TEMPORAL):
            raise InvalidRequest(f"{self.name}: uploadSchedule {found} is for group bys without streams: leave it out")
        return str(found)

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

    @property
    def dependencies(self) -> tuple[str, ...]:
        return tuple(self.meta_data.get("dependencies") or ())


UPLOAD_DAYS: Mapping[str, Callable[[date], bool]] = {
    DAILY: lambda _: True,
    "@weekly": lambda day: day.isoweekday() == 7,
    "@monthly": lambda day: day.day == 1,
    "@quarterly": lambda day: day.day == 1 and day.month in (1, 4, 7, 10),
}
"""Whether a partition's day is an upload day; weeks begin on Sunday, as those of cron do."""


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


def plan(repository: Path, teams: Teams, constants: Constants = CONSTANTS) -> dict[str, Dag]:
    """Every DAG by its id, those without a job left out.

    Raises:
        InvalidRequest: a conf cannot be read, or asks for what cannot be scheduled.
    """
    production = repository / "production"
    found = _Found(repository, constants, teams.default.common_env)
    for conf in confs(production, "group_bys"):
        found.group_by(conf)
    for conf in confs(production, "joins"):
        found.join(conf)
    for conf in confs(production, "staging_queries"):
        found.staging_query(conf)
    return found.dags


STREAMING = Kind(timeout=timedelta(minutes=20), streaming=True)
OTHERS = Kind()


@dataclass(slots=True)
class _Found:
    """The DAGs so far."""

    repository: Path
    constants: Constants
    common_env: Mapping[str, str]
    dags: dict[str, Dag] = field(default_factory=dict)

    def group_by(self, conf: Conf) -> None:
        dag_id, kind = (
            f"chronon_group_by_batch_{conf.team}",
            Kind(since=date(2023, 2, 1), concurrency=self.constants.group_by_batch_concurrency),
        )
        waits = self._waits(conf)
        if conf.content.get("backfillStartDate"):
            self._add(dag_id, kind, conf, self._job("group_by_batch_backfill", conf, "backfill", waits))
        if conf.online:  # offlineSchedule is of joins: Chronon uploads a group by that is online whatever it says
            upload = self._job("group_by_batch", conf, "upload", waits, loads=True, cadence=conf.cadence)
            self._add(dag_id, kind, conf, upload)
        if conf.online and conf.streams:
            job = self._job("group_by_streaming", conf, "streaming")
            self._add(f"chronon_group_by_streaming_{conf.team}", STREAMING, conf, job, schedule=STREAMING_SCHEDULE)

    def join(self, conf: Conf) -> None:
        safe, table = self.constants.task_safe(conf.name), conf.output_table
        many = Kind(concurrency=self.constants.join_concurrency)
        if conf.schedule != NEVER:
            kind = replace(many, ram_megabytes=12_288)
            job = self._job("compute_join", conf, "backfill", self._waits(conf))
            self._add(f"chronon_join_{safe}", kind, conf, job, schedule=conf.schedule)
            stats = Wait(f"wf_{naming.sanitize(table)}", f"{table}/ds={{{{ ds }}}}")
            self._add("chronon_stats_compute", many, conf, self._job("feature_stats", conf, "stats-summary", (stats,)))
        if naming.custom(conf.meta_data.get("customJson"), "check_consistency") is True:
            logged = Wait("wf_flattened_log_table", f"{table}_logged/ds={{{{ ds }}}}")
            job = self._job("compute_consistency", conf, "consistency-metrics-compute", (logged,))
            self._add(f"chronon_online_offline_comparison_{safe}", OTHERS, conf, job)
        if (conf.meta_data.get("samplePercent") or 0) > 0 and {LOG_TABLE, SCHEMA_TABLE} & self.common_env.keys():
            self._add(f"chronon_log_flattening_{conf.team}", many, conf, self._flattening(conf))

    def _flattening(self, conf: Conf) -> Job:
        """Scheduled where teams.json names the tables of the log: without them the answers are logged, and read elsewhere or not at all."""
        log, schema = self.common_env.get(LOG_TABLE), self.common_env.get(SCHEMA_TABLE)
        if not log or not schema:
            raise InvalidRequest(f"{conf.name} logs its answers: default.common_env of teams.json must name {LOG_TABLE} and {SCHEMA_TABLE}")
        waits = (
            Wait("wf_raw_log_table", f"{log}/ds={{{{ ds }}}}/name={naming.SCHEMA_PUBLISH_EVENT}"),
            Wait("wf_schema_table", f"{schema}/ds={{{{ ds }}}}"),
        )
        return self._job("log_flattening", conf, "log-flattener", waits, arguments=("--log-table", log, "--schema-table", schema))

    def staging_query(self, conf: Conf) -> None:
        bare = self.constants.task_safe
        waits = tuple(self._wait(conf, each) if each.startswith("{") else Wait(bare(f"wf__{each}"), each) for each in conf.dependencies)
        job = self._job("staging_query", conf, "backfill", waits)
        self._add(f"chronon_staging_query_batch_{conf.team}", OTHERS, conf, job)

    def _waits(self, conf: Conf) -> tuple[Wait, ...]:
        """The dependencies of a group by or join as the compiler wrote them: JSON objects in texts."""
        return tuple(self._wait(conf, each) for each in conf.dependencies)

    def _wait(self, conf: Conf, dependency: str) -> Wait:
        try:
            found = json.loads(dependency)
            return Wait(self.constants.task_safe(found["name"]), str(found["spec"]), found.get("end"))
        except (ValueError, KeyError, TypeError, AttributeError) as broken:
            raise InvalidRequest(f"{conf.name} has a dependency that is none: {dependency[:200]!r}; compile it again") from broken

    def _job(self, task: str, conf: Conf, mode: str, waits: tuple[Wait, ...] = (), *, arguments: tuple[str, ...] = (), loads: bool = False,
             cadence: str = DAILY) -> Job:  # fmt: skip
        name = self.constants.task_safe(conf.name)
        if conf.team == self.constants.test_team:
            arguments = (*arguments, "--online-jar-fetch", str(self.repository / STAGING_JAR))
        return Job(
            task_id=f"{task}__{name}", name=name, mode=mode, conf=conf.path, conf_name=conf.name, conf_type=conf.path.parents[1].name,
            team=conf.team, production=conf.production, waits=waits, arguments=arguments, loads=loads, cadence=cadence,
        )  # fmt: skip

    def _add(self, dag_id: str, kind: Kind, conf: Conf, job: Job, *, schedule: str | timedelta = DAILY) -> None:
        dag = self.dags.setdefault(dag_id, Dag(dag_id=dag_id, team=conf.team, schedule=schedule, kind=kind))
        dag.jobs.append(job)

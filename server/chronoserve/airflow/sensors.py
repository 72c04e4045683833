"""Airflow's side of waiting: for a partition by ``chronoserve partition``, and for the day before this one. Airflow 2.11 and 3."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

from chronoserve.airflow.overtaken import Day, Verdict, verdict

try:  # Airflow 3
    from airflow.providers.standard.sensors.bash import BashSensor
    from airflow.sdk import BaseSensorOperator
except ImportError:  # Airflow 2
    from airflow.sensors.base import BaseSensorOperator
    from airflow.sensors.bash import BashSensor

try:  # later versions of Airflow 3
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

RUN_FINISHED, RUN_UNFINISHED = ["success", "failed"], ["queued", "running"]


class PartitionSensor(BashSensor):  # type: ignore[misc]  # Airflow is not in the environment of the types
    """Waits while its command ends with 1, as ``chronoserve partition`` does; any other failure is retried as a task's failure is."""

    def __init__(self, **given: Any) -> None:
        super().__init__(retry_exit_code=1, **given)

    def poke(self, context: Any) -> bool:
        """Raises AirflowException, and not the kind that ends all retries, where it cannot be known."""
        try:
            return bool(super().poke(context))
        except AirflowFailException as unknown:
            raise AirflowException(f"it cannot be known whether the partition has landed: {unknown}") from unknown


class SkipSensor(BaseSensorOperator):  # type: ignore[misc]
    """Holds a conf's jobs back until those of the day before are done, and skips them where the day after is ready itself."""

    def __init__(self, *, jobs: Collection[str] = (), **given: Any) -> None:
        super().__init__(**given)
        self.jobs = list(jobs)

    def poke(self, context: Any) -> bool:
        """Raises AirflowSkipException where the day is left out."""
        at, timetable = context["dag_run"].logical_date, self.dag.timetable
        if at is None or not isinstance(timetable, CronDataIntervalTimetable):
            return True
        before, after = neighbours(timetable, at)
        waits = self.upstream_task_ids
        found = verdict(self._day(context, before), self._day(context, after), own=self.task_id, waits=waits, jobs=self.jobs)
        self.log.info("%s: the day before is %s, the day after %s", found.name, before, after)
        if found is Verdict.SKIP:
            raise AirflowSkipException(f"{after} has all that it waits for; its run does this one's work too")
        return found is Verdict.RUN

    def _day(self, context: Any, at: datetime) -> Day:
        ti = context["ti"]
        return _asked(ti, self.dag_id, at) if hasattr(ti, "get_task_states") else _read(self.dag_id, at)


def neighbours(timetable: CronDataIntervalTimetable, at: datetime) -> tuple[datetime, datetime]:
    """The logical dates of the runs before and after that of ``at``, which a run by hand may have anywhere."""
    moment = pendulum.instance(at)
    last = timetable.infer_manual_data_interval(run_after=moment)
    before = last.end if last.end < moment else last.start
    always = TimeRestriction(earliest=None, latest=None, catchup=True)
    following = timetable.next_dagrun_info(last_automated_data_interval=DataInterval(last.start, moment), restriction=always)
    return before, following.data_interval.end


def _asked(ti: Any, dag_id: str, at: datetime) -> Day:
    """Airflow 3: tasks ask the API server, and have no database."""
    states = ti.get_task_states(dag_id=dag_id, logical_dates=[at])
    tasks = {task: state for run in states.values() for task, state in run.items()}
    if ti.get_dr_count(dag_id=dag_id, logical_dates=[at], states=RUN_FINISHED):
        return Day(finished=True, tasks=tasks)
    unfinished = ti.get_dr_count(dag_id=dag_id, logical_dates=[at], states=RUN_UNFINISHED)
    return Day(finished=False if unfinished else None, tasks=tasks)


def _read(dag_id: str, at: datetime) -> Day:
    """Airflow 2: from its database."""
    from airflow.models import DagRun  # noqa: PLC0415 - tasks of Airflow 3 may not import it

    for run in DagRun.find(dag_id=dag_id, execution_date=at):
        return Day(finished=run.state in RUN_FINISHED, tasks={task.task_id: task.state for task in run.get_task_instances()})
    return Day()

"""Whether a day's jobs run, wait or are left out, by the days before and after it (spec/integration.md §5.2, custom skip).

Jobs fill holes themselves: where the inputs of the day after have landed, its run does this one's work too.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

RUNNING, SUCCESS = "running", "success"
FINISHED = frozenset({SUCCESS, "failed", "skipped", "upstream_failed", "removed"})
"""Airflow's states of tasks that nothing more happens to."""


class Verdict(Enum):
    WAIT = auto()
    RUN = auto()
    SKIP = auto()


@dataclass(frozen=True, slots=True)
class Day:
    """What Airflow knows of a DAG's run for a day. ``finished`` None: there is no run. ``tasks``: states by task id."""

    finished: bool | None = None
    tasks: Mapping[str, str | None] = field(default_factory=dict)


def verdict(before: Day, after: Day, *, own: str, waits: Collection[str], jobs: Collection[str]) -> Verdict:
    """``own``: the task that asks; ``waits``: the tasks that it comes after; ``jobs``: those that it holds back."""
    if not _settled(before, jobs):
        return Verdict.WAIT
    return Verdict.SKIP if _ready(after, own, waits) else Verdict.RUN


def _settled(before: Day, jobs: Collection[str]) -> bool:
    """Whether no job of the day before can still write what this one's would."""
    states = [before.tasks.get(job) for job in jobs]
    if RUNNING in states:
        return False
    return before.finished is not False or all(state in FINISHED for state in states)


def _ready(after: Day, own: str, waits: Collection[str]) -> bool:
    """Whether the day after has all that it waits for; a DAG that waits for nothing has it as soon as it is there."""
    if waits:
        return all(after.tasks.get(wait) == SUCCESS for wait in waits)
    return own in after.tasks

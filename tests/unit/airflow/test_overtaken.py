"""When a day's jobs run, wait or are left out."""

import pytest

from chronoserve.airflow.overtaken import Day, Verdict, verdict

NO_RUN = Day()
WAITS = ("wait_a", "wait_b")
JOBS = ("upload", "load")


def found(before: Day, after: Day = NO_RUN, waits: tuple[str, ...] = WAITS) -> Verdict:
    return verdict(before, after, own="skip", waits=waits, jobs=JOBS)


def day(*, finished: bool = False, **tasks: str | None) -> Day:
    return Day(finished=finished, tasks=tasks)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (NO_RUN, Verdict.RUN),
        (day(finished=True), Verdict.RUN),
        (day(finished=True, upload="failed"), Verdict.RUN),
        (day(upload="success", load="success"), Verdict.RUN),
        (day(upload="failed", load="upstream_failed"), Verdict.RUN),
        (day(upload="skipped", load="skipped"), Verdict.RUN),
        (day(), Verdict.WAIT),
        (day(upload="success", load="running"), Verdict.WAIT),
        (day(upload="success", load="up_for_retry"), Verdict.WAIT),
        (day(upload="success"), Verdict.WAIT),
        (day(upload=None, load=None), Verdict.WAIT),
        (day(finished=True, upload="running"), Verdict.WAIT),
    ],
)
def test_the_day_before_comes_first(before: Day, expected: Verdict) -> None:
    assert found(before) is expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (NO_RUN, Verdict.RUN),
        (day(wait_a="success", wait_b="success"), Verdict.SKIP),
        (day(finished=True, wait_a="success", wait_b="success"), Verdict.SKIP),
        (day(wait_a="success", wait_b="up_for_reschedule"), Verdict.RUN),
        (day(wait_a="success"), Verdict.RUN),
        (day(wait_a="failed", wait_b="success"), Verdict.RUN),
    ],
)
def test_a_day_is_left_out_when_the_next_is_ready(after: Day, expected: Verdict) -> None:
    assert found(NO_RUN, after) is expected
    assert found(day(upload="running"), after) is Verdict.WAIT


def test_a_dag_that_waits_for_nothing_is_ready_as_soon_as_it_is_there() -> None:
    assert found(NO_RUN, day(skip=None), waits=()) is Verdict.SKIP
    assert found(NO_RUN, NO_RUN, waits=()) is Verdict.RUN

"""The queue of the response log: bounded, in order, control events first, and every row accounted for."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.ingest.response_log.queue import (
    ATTEMPTS_MAX,
    BATCH_ROWS_MAX,
    CONTROLS_MAX,
    LINGER_SECONDS,
    SETTLE_SECONDS,
    QueuedResponseLog,
    QueueLimits,
)
from chronoserve.model.errors import Unavailable
from chronoserve.model.logged import LoggedResponse
from tests.unit.response_log.rows import ScriptedSink, control, eventually, row
from tests.virtual_time import in_virtual_time, now, turns

AWAY = Unavailable("away")


def queue(sink: ScriptedSink, **limits: int) -> QueuedResponseLog:
    return QueuedResponseLog(sink, clock=lambda: 0, limits=QueueLimits(**limits))


def accounted(log: QueuedResponseLog) -> int:
    return log.metrics.written + log.metrics.dropped.total() + log.waiting


@in_virtual_time
async def test_rows_are_written_in_order_in_one_batch_after_a_moment() -> None:
    sink = ScriptedSink()
    log = queue(sink)
    log.start()
    rows = [row(at) for at in range(5)]
    began = now()
    for each in rows:
        log.offer(each)
        await turns(2)
    await eventually(lambda: bool(sink.batches))
    assert now() - began == pytest.approx(LINGER_SECONDS, abs=0.002)
    assert sink.batches == [rows]
    await log.close(1)
    assert (log.metrics.offered, log.metrics.written, log.metrics.dropped.total()) == (5, 5, 0)
    assert sink.closed_with == pytest.approx(1)


@in_virtual_time
async def test_batches_are_bounded() -> None:
    sink = ScriptedSink()
    log = queue(sink)
    rows = [row(at) for at in range(2 * BATCH_ROWS_MAX + 5)]
    for each in rows:
        log.offer(each)
    log.start()
    await log.close(10)
    assert [len(batch) for batch in sink.batches] == [BATCH_ROWS_MAX, BATCH_ROWS_MAX, 5]
    assert sink.taken == rows


@pytest.mark.parametrize("limits", [{"rows_max": 3}, {"bytes_max": 3 * (4 + 10)}])
@in_virtual_time
async def test_a_full_queue_drops_rows_and_counts_them_but_takes_control_events(limits: dict[str, int]) -> None:
    sink = ScriptedSink()
    log = queue(sink, **limits)
    for at in range(5):
        log.offer(row(at))
    log.offer(control())
    assert log.metrics.dropped == {"queue full": 2}
    log.start()
    await log.close(1)
    assert sink.taken == [control(), row(0), row(1), row(2)]
    assert accounted(log) == log.metrics.offered == 6


@in_virtual_time
async def test_control_events_go_ahead_of_rows_and_once() -> None:
    sink = ScriptedSink()
    log = queue(sink)
    for offered in (row(0), control("b"), row(1), control("a"), control("b")):
        log.offer(offered)
    log.start()
    await log.close(1)
    assert sink.taken == [control("b"), control("a"), row(0), row(1)]


@in_virtual_time
async def test_control_events_are_bounded_too() -> None:
    log = queue(ScriptedSink())
    for at in range(CONTROLS_MAX + 2):
        log.offer(control(str(at)))
    assert log.waiting == CONTROLS_MAX
    assert log.metrics.dropped == {"controls": 2}


@pytest.mark.parametrize("failure", [AWAY, [0, 1]], ids=["batch", "rows"])
@in_virtual_time
async def test_what_the_sink_refuses_is_tried_again(failure: Any) -> None:
    sink = ScriptedSink(failure, failure)
    log = queue(sink)
    log.offer(control())
    log.offer(row(1))
    log.start()
    await eventually(lambda: log.metrics.written == 2)
    assert sink.taken == [control(), row(1)]
    await log.close(1)
    assert log.metrics.dropped.total() == 0
    assert log.metrics.failures == ({"STORE_UNAVAILABLE": 2} if failure is AWAY else {"rows refused": 2})


@in_virtual_time
async def test_rows_that_are_refused_each_time_go_control_events_stay() -> None:
    sink = ScriptedSink(*[AWAY] * ATTEMPTS_MAX)
    log = queue(sink)
    log.offer(control())
    log.offer(row(1))
    log.start()
    await eventually(lambda: log.metrics.dropped["refused"] == 1)
    log.offer(row(2))
    await eventually(lambda: log.metrics.written == 2)
    assert sink.taken == [control(), row(2)]
    await log.close(1)


@in_virtual_time
async def test_while_there_is_nothing_to_write_the_sink_may_settle() -> None:
    sink = ScriptedSink()
    log = queue(sink)
    log.start()
    await asyncio.sleep(10.5 * SETTLE_SECONDS)
    assert sink.settled == 10
    sink.script.append((AWAY,))
    sink.lost = 3
    await asyncio.sleep(SETTLE_SECONDS)
    assert log.metrics.failures == {"STORE_UNAVAILABLE": 1}
    assert log.metrics.dropped["lost"] == 3
    await log.close(1)


@in_virtual_time
async def test_a_silent_sink_cannot_hold_the_end_back() -> None:
    async def silent() -> list[int]:
        await asyncio.Event().wait()
        raise AssertionError

    sink = ScriptedSink(silent)
    log = queue(sink)
    for at in range(BATCH_ROWS_MAX + 1):
        log.offer(row(at))
    log.start()
    began = now()
    await log.close(2)
    assert now() - began == pytest.approx(2)
    assert log.metrics.dropped["drain"] == BATCH_ROWS_MAX + 1
    log.offer(row())
    assert log.metrics.dropped["closed"] == 1


@in_virtual_time
async def test_a_sink_that_is_away_ends_with_its_tries() -> None:
    sink = ScriptedSink(*[AWAY] * 100)
    log = queue(sink)
    log.offer(control())
    log.offer(row())
    log.start()
    began = now()
    await log.close(60)
    assert now() - began < 5
    assert +log.metrics.dropped == {"refused": 1, "drain": 1}


@in_virtual_time
async def test_it_can_be_closed_without_having_been_started() -> None:
    log = queue(ScriptedSink())
    log.offer(row())
    await log.close(1)
    assert log.metrics.dropped == {"drain": 1}


STEPS = st.lists(st.sampled_from(["row", "control", "wait"]), max_size=40)
SCRIPTS = st.lists(st.one_of(st.just(AWAY), st.lists(st.integers(0, 5), max_size=3)), max_size=12)


@given(STEPS, SCRIPTS, st.integers(1, 10))
def test_every_row_is_written_once_or_counted_as_dropped(steps: list[str], script: list[Any], rows_max: int) -> None:
    @in_virtual_time
    async def check() -> None:
        sink = ScriptedSink(*script)
        log = queue(sink, rows_max=rows_max)
        log.start()
        offered: list[LoggedResponse] = []
        for at, step in enumerate(steps):
            if step == "wait":
                await asyncio.sleep(LINGER_SECONDS)
            else:
                offered.append(row(at) if step == "row" else control(str(at)))
                log.offer(offered[-1])
        await log.close(60)
        assert len(sink.taken) == len(set(sink.taken)) == log.metrics.written
        assert set(sink.taken) <= set(offered)
        assert accounted(log) == len(offered)
        taken_rows = [each for each in sink.taken if not each.control]
        if not script:
            assert [each for each in offered if each in taken_rows] == taken_rows

    check()

"""Retry: only what is safe, few times, within the deadline and the budget."""

import asyncio
from typing import Any

import pytest

from chronoserve.kvstore.layers.retry import ATTEMPTS_MAX, BUDGET_MAX, PAUSE_SECONDS_MAX, Retry
from chronoserve.kvstore.port import PutResult
from chronoserve.model.errors import CorruptValue, DeadlinePassed, Internal, KVError, Throttled, Unavailable, WriteOutcomeUnknown
from tests.unit.layers.stores import TIMED, ScriptedStore, read, value_of, write
from tests.virtual_time import in_virtual_time, now

BUSY = Throttled("busy")
AWAY = Unavailable("away")
UNKNOWN = WriteOutcomeUnknown("no answer")
CORRUPT = CorruptValue("broken")


def over(*script: Any) -> tuple[Retry, ScriptedStore]:
    store = ScriptedStore(*script)
    return Retry(store, random_fraction=lambda: 0.5), store


@in_virtual_time
async def test_only_the_failed_items_of_a_read_are_asked_again_and_answers_keep_their_places() -> None:
    layer, store = over([b"A", BUSY, b"C", AWAY], [b"B", BUSY], [b"D"])
    assert await layer.multi_get(read(b"a", b"b", b"c", b"d"), deadline=now() + 1) == [b"A", b"B", b"C", b"D"]
    assert store.calls == [[b"a", b"b", b"c", b"d"], [b"b", b"d"], [b"d"]]
    assert layer.retries_total == 2


@in_virtual_time
async def test_a_failed_call_is_asked_again_as_a_whole() -> None:
    layer, store = over(AWAY)
    assert await layer.multi_get(read(b"a", b"b"), deadline=now() + 1) == [value_of(request) for request in read(b"a", b"b")]
    assert store.calls == [[b"a", b"b"]] * 2


@in_virtual_time
async def test_the_attempts_are_few() -> None:
    layer, store = over(AWAY, AWAY, AWAY, AWAY)
    assert await layer.multi_get(read(b"a"), deadline=now() + 9) == [AWAY]
    assert len(store.calls) == ATTEMPTS_MAX


@pytest.mark.parametrize("error", [CORRUPT, DeadlinePassed("late"), Internal("broken")], ids=lambda error: type(error).__name__)
@in_virtual_time
async def test_a_read_that_would_fail_again_is_not_asked_again(error: KVError) -> None:
    layer, store = over([error])
    assert await layer.multi_get(read(b"a"), deadline=now() + 1) == [error]
    assert len(store.calls) == 1


@in_virtual_time
async def test_nothing_is_asked_again_when_the_pause_would_outlast_the_deadline() -> None:
    layer, store = over(AWAY)
    assert await layer.multi_get(read(b"a"), deadline=now() + 0.004) == [AWAY]
    assert len(store.calls) == 1


@in_virtual_time
async def test_the_delay_that_the_store_asks_for_is_kept() -> None:
    layer, _ = over(Throttled("busy", retry_after=0.08))
    began = now()
    await layer.multi_get(read(b"a"), deadline=now() + 1)
    assert now() - began >= 0.08


@in_virtual_time
async def test_a_store_that_asks_for_a_long_pause_is_not_waited_for() -> None:
    """An open breaker says so: its callers must hear it at once."""
    error = Unavailable("open", retry_after=PAUSE_SECONDS_MAX * 2)
    layer, store = over(error)
    began = now()
    assert await layer.multi_get(read(b"a"), deadline=now() + 10) == [error]
    assert (now(), len(store.calls)) == (began, 1)


@in_virtual_time
async def test_a_failing_store_is_asked_a_tenth_more_at_most() -> None:
    layer, store = over(*[AWAY] * 5000)
    calls = 1000
    for _ in range(calls):
        await layer.multi_get(read(b"a"), deadline=now() + 1)
    assert len(store.calls) <= calls * 1.1 + BUDGET_MAX
    assert layer.retries_total >= calls * 0.1


@in_virtual_time
async def test_a_write_that_was_certainly_not_applied_is_written_again() -> None:
    layer, store = over([None, BUSY, CORRUPT], [None])
    assert await layer.multi_put([write(b"a"), write(b"b"), write(b"c")], deadline=now() + 1) == [None, None, CORRUPT]
    assert store.calls == [[b"a", b"b", b"c"], [b"b"]]


@in_virtual_time
async def test_a_write_of_unknown_outcome_is_written_again_only_where_that_is_safe() -> None:
    layer, store = over([UNKNOWN, UNKNOWN], [None])
    assert await layer.multi_put([write(b"a"), write(b"b", replayable=True)], deadline=now() + 1) == [UNKNOWN, None]
    assert store.calls == [[b"a", b"b"], [b"b"]]


@pytest.mark.parametrize("later", [AWAY, CORRUPT, [BUSY], [DeadlinePassed("late")]], ids=str)
@in_virtual_time
async def test_an_unknown_outcome_stays_unknown_when_a_later_try_was_certainly_not_applied(later: Any) -> None:
    """K7: the first try may have been applied, whatever became of the second."""
    layer, _ = over([UNKNOWN], later, later)
    assert await layer.multi_put([write(b"a", replayable=True)], deadline=now() + 1) == [UNKNOWN]


@pytest.mark.parametrize("after", [None, UNKNOWN], ids=["applied", "unknown"])
@in_virtual_time
async def test_a_write_that_another_of_the_call_has_followed_is_not_written_again(after: PutResult) -> None:
    """K2: written again now, it would be the later of the two."""
    layer, store = over([BUSY, after, BUSY], [None])
    puts = [write(b"a", b"1"), write(b"a", b"2"), write(b"b")]
    assert await layer.multi_put(puts, deadline=now() + 1) == [BUSY, after, None]
    assert store.calls == [[b"a", b"a", b"b"], [b"b"]]


@in_virtual_time
async def test_writes_of_a_key_at_other_times_or_in_timed_datasets_do_not_follow_each_other() -> None:
    layer, store = over([BUSY, None, BUSY, None], [None, None])
    puts = [write(b"a", millis=1), write(b"a", millis=2), write(b"t", dataset=TIMED), write(b"t", dataset=TIMED)]
    assert await layer.multi_put(puts, deadline=now() + 1) == [None] * 4
    assert store.calls[1] == [b"a", b"t"]


@in_virtual_time
async def test_two_failed_writes_of_a_key_are_written_again_in_their_order() -> None:
    layer, store = over([BUSY, BUSY])
    assert await layer.multi_put([write(b"a", b"1"), write(b"a", b"2")], deadline=now() + 1) == [None, None]
    assert store.calls[1] == [b"a", b"a"]


@in_virtual_time
async def test_a_cancelled_pause_ends_the_attempts() -> None:
    layer, store = over(AWAY)
    call = asyncio.create_task(layer.multi_get(read(b"a"), deadline=now() + 1))
    await asyncio.wait([call], timeout=0.001)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert len(store.calls) == 1

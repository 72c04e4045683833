"""Breaker: opens on a store that fails or says nothing, lets one batch try, and closes again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chronoserve.kvstore.layers.breaker import Breaker
from chronoserve.kvstore.layers.circuit import FAILURES_TO_OPEN, OPEN_SECONDS, PATIENCE_SECONDS, State
from chronoserve.kvstore.layers.coalesce import Coalesce
from chronoserve.kvstore.layers.deadline import Deadline
from chronoserve.kvstore.port import KVStore
from chronoserve.model.errors import CorruptValue, DeadlinePassed, KVError, Throttled, Unavailable, WriteOutcomeUnknown
from tests.unit.layers.stores import HeldStore, ScriptedStore, read, write
from tests.virtual_time import in_virtual_time, now, until

AWAY = Unavailable("away")
SECONDS = 1.0

Call = Callable[[KVStore, float], Awaitable[list[Any]]]

CALLS: dict[str, Call] = {
    "read": lambda layer, deadline: layer.multi_get(read(b"a", b"b"), deadline=deadline),
    "write": lambda layer, deadline: layer.multi_put([write(b"a"), write(b"b")], deadline=deadline),
}


async def outcome(call: Awaitable[list[Any]]) -> list[Any]:
    try:
        return await call
    except KVError as error:
        return [error]


def state_of(layer: Breaker) -> State:
    """A call, so that the type checker does not take an earlier state for granted."""
    return layer.state


async def fail(layer: Breaker, store: ScriptedStore, times: int, call: Call = CALLS["read"]) -> None:
    for _ in range(times):
        store.script.append(AWAY)
        await outcome(call(layer, now() + SECONDS))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    "failure", [AWAY, [AWAY, DeadlinePassed("late")], [WriteOutcomeUnknown("?")] * 2], ids=["call", "items", "unknown"]
)
@in_virtual_time
async def test_it_opens_after_failures_in_a_row_and_then_refuses_without_asking(call: Call, failure: Any) -> None:
    store = ScriptedStore(*[failure] * 100)
    layer = Breaker(store)
    for _ in range(FAILURES_TO_OPEN):
        assert state_of(layer) == State.CLOSED
        await outcome(call(layer, now() + SECONDS))
    assert (layer.state, layer.opened_total) == (State.OPEN, 1)
    (refused,) = await outcome(call(layer, now() + SECONDS))
    assert isinstance(refused, Unavailable)
    assert refused.retry_after == pytest.approx(OPEN_SECONDS)
    assert len(store.calls) == FAILURES_TO_OPEN


@in_virtual_time
async def test_one_good_batch_between_them_starts_the_count_again() -> None:
    store = ScriptedStore()
    layer = Breaker(store)
    for _ in range(3):
        await fail(layer, store, FAILURES_TO_OPEN - 1)
        await layer.multi_get(read(b"a"), deadline=now() + SECONDS)
    assert state_of(layer) == State.CLOSED


@pytest.mark.parametrize("error", [Throttled("busy"), CorruptValue("broken")], ids=lambda error: type(error).__name__)
@in_virtual_time
async def test_errors_that_say_nothing_of_the_store_s_health_do_not_open_it(error: KVError) -> None:
    store = ScriptedStore(*([[error], error] * FAILURES_TO_OPEN))
    layer = Breaker(store)
    for _ in range(2 * FAILURES_TO_OPEN):
        await outcome(layer.multi_get(read(b"a"), deadline=now() + SECONDS))
    assert state_of(layer) == State.CLOSED


@in_virtual_time
async def test_a_batch_in_which_something_was_answered_does_not_open_it() -> None:
    store = ScriptedStore(*[[AWAY, b""]] * (2 * FAILURES_TO_OPEN))
    layer = Breaker(store)
    for _ in range(2 * FAILURES_TO_OPEN):
        await layer.multi_get(read(b"a", b"b"), deadline=now() + SECONDS)
    assert state_of(layer) == State.CLOSED


@in_virtual_time
async def test_when_its_time_is_over_one_batch_tries_and_a_good_one_closes_it() -> None:
    store = HeldStore()
    layer = Breaker(store)
    await open_held(layer, store)
    await asyncio.sleep(OPEN_SECONDS)
    probe = asyncio.create_task(layer.multi_get(read(b"a"), deadline=now() + SECONDS))
    await until(lambda: len(store.reads) == FAILURES_TO_OPEN + 1)
    assert state_of(layer) == State.PROBING
    with pytest.raises(Unavailable):
        await layer.multi_get(read(b"b"), deadline=now() + SECONDS)
    store.reads[-1].answer()
    await probe
    assert state_of(layer) == State.CLOSED
    assert layer.opened_total == 1


@in_virtual_time
async def test_a_failed_probe_opens_it_again_for_the_whole_time() -> None:
    store = ScriptedStore()
    layer = Breaker(store)
    await fail(layer, store, FAILURES_TO_OPEN)
    await asyncio.sleep(OPEN_SECONDS)
    await fail(layer, store, 1)
    assert (layer.state, layer.opened_total) == (State.OPEN, 2)
    (refused,) = await outcome(layer.multi_get(read(b"a"), deadline=now() + SECONDS))
    assert refused.retry_after == pytest.approx(OPEN_SECONDS)


@in_virtual_time
async def test_a_cancelled_probe_leaves_the_trying_to_the_next_call() -> None:
    store = HeldStore()
    layer = Breaker(store)
    await open_held(layer, store)
    await asyncio.sleep(OPEN_SECONDS)
    probe = asyncio.create_task(layer.multi_get(read(b"a"), deadline=now() + SECONDS))
    await until(lambda: len(store.reads) == FAILURES_TO_OPEN + 1)
    probe.cancel()
    await asyncio.wait([probe])
    again = asyncio.create_task(layer.multi_get(read(b"a"), deadline=now() + SECONDS))
    await until(lambda: len(store.reads) == FAILURES_TO_OPEN + 2)
    store.reads[-1].answer()
    await again
    assert state_of(layer) == State.CLOSED


@in_virtual_time
async def test_a_straggler_s_cancellation_does_not_let_a_second_probe_through() -> None:
    store = HeldStore()
    layer = Breaker(store)
    straggler = asyncio.create_task(layer.multi_get(read(b"s"), deadline=now() + 60))
    await until(lambda: len(store.reads) == 1)
    await open_held(layer, store)
    await asyncio.sleep(OPEN_SECONDS)
    probe = asyncio.create_task(layer.multi_get(read(b"a"), deadline=now() + SECONDS))
    await until(lambda: state_of(layer) == State.PROBING)
    straggler.cancel()
    await asyncio.wait([straggler])
    with pytest.raises(Unavailable):
        await layer.multi_get(read(b"b"), deadline=now() + SECONDS)
    store.reads[-1].answer()
    await probe


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@in_virtual_time
async def test_it_opens_on_a_store_that_never_answers(call: Call) -> None:
    """The layers above cancel at the deadline; to the breaker that is silence, not a caller's change of mind."""
    layer = Breaker(HeldStore())
    top = Deadline(Coalesce(layer))
    for _ in range(FAILURES_TO_OPEN):
        await call(top, now() + SECONDS)
    await until(lambda: state_of(layer) == State.OPEN)


@in_virtual_time
async def test_hasty_callers_do_not_open_it() -> None:
    layer = Breaker(HeldStore())
    top = Deadline(Coalesce(layer))
    for _ in range(3 * FAILURES_TO_OPEN):
        await top.multi_get(read(b"a"), deadline=now() + PATIENCE_SECONDS / 2)
        await top.multi_put([write(b"a")], deadline=now() + PATIENCE_SECONDS / 2)
    assert state_of(layer) == State.CLOSED


@in_virtual_time
async def test_cancelled_callers_do_not_open_it() -> None:
    store = HeldStore()
    layer = Breaker(store)
    for n in range(3 * FAILURES_TO_OPEN):
        call = asyncio.create_task(layer.multi_get(read(b"a"), deadline=now() + SECONDS))
        await until(lambda: len(store.reads) == n + 1)  # noqa: B023 - awaited at once
        call.cancel()
        await asyncio.wait([call])
    assert state_of(layer) == State.CLOSED


async def open_held(layer: Breaker, store: HeldStore) -> None:
    """Open the breaker over a held store."""
    seen = len(store.reads)
    calls = [asyncio.create_task(outcome(layer.multi_get(read(b"x"), deadline=now() + SECONDS))) for _ in range(FAILURES_TO_OPEN)]
    await until(lambda: len(store.reads) == seen + FAILURES_TO_OPEN)
    for batch in store.reads[seen:]:
        batch.fail(Unavailable("away"))
    await asyncio.gather(*calls)
    assert state_of(layer) == State.OPEN

"""Deadline: nothing is asked too late, nothing outlives its time, and a write without an answer is of unknown outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chronoserve.kvstore.layers.deadline import Deadline
from chronoserve.kvstore.port import KVStore
from chronoserve.model.dataset import Kind, Properties
from chronoserve.model.errors import CorruptValue, DeadlinePassed, KVError, Throttled, WriteOutcomeUnknown
from tests.unit.layers.stores import LATEST, HeldStore, read, write
from tests.virtual_time import in_virtual_time, now, until

Call = Callable[[KVStore, float], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "multi_put": lambda store, deadline: store.multi_put([write(b"a"), write(b"b")], deadline=deadline),
    "delete": lambda store, deadline: store.delete([(LATEST, b"a"), (LATEST, b"b")], deadline=deadline),
    "scan": lambda store, deadline: store.scan(LATEST, b"", keys_max=1, bytes_max=1, deadline=deadline),
    "create": lambda store, deadline: store.create("NEW", Properties(Kind.LATEST), deadline=deadline),
    "load_datasets": lambda store, deadline: store.load_datasets(deadline=deadline),
    "check": lambda store, deadline: store.check(deadline=deadline),
}
UNANSWERED = {
    "multi_put": [WriteOutcomeUnknown, WriteOutcomeUnknown],
    "delete": [WriteOutcomeUnknown, WriteOutcomeUnknown],
    "scan": [DeadlinePassed],
    "create": [WriteOutcomeUnknown],
    "load_datasets": [DeadlinePassed],
    "check": [DeadlinePassed],
}


async def errors_of(call: Awaitable[Any]) -> list[type[Exception]]:
    """Of every item, or of the call as a whole."""
    try:
        return [type(item) for item in await call]
    except KVError as error:
        return [type(error)]


def read_one(store: KVStore, deadline: float) -> Awaitable[Any]:
    return store.multi_get(read(b"a"), deadline=deadline)


def asked(store: HeldStore) -> int:
    return len(store.reads) + len(store.writes) + len(store.others)


@pytest.mark.parametrize("name", [*CALLS, "multi_get"])
@in_virtual_time
async def test_after_the_deadline_the_store_is_not_asked(name: str) -> None:
    calls = {**CALLS, "multi_get": read_one}
    store = HeldStore()
    assert await errors_of(calls[name](Deadline(store), now())) == [DeadlinePassed]
    assert asked(store) == 0


@pytest.mark.parametrize("name", CALLS)
@in_virtual_time
async def test_what_has_no_answer_ends_at_the_deadline_and_is_cancelled_below(name: str) -> None:
    store, began = HeldStore(), now()
    assert await errors_of(CALLS[name](Deadline(store), began + 3)) == UNANSWERED[name]
    assert now() == pytest.approx(began + 3)
    assert all(batch.ended for batch in (*store.writes, *store.others))


@pytest.mark.parametrize("name", ["multi_put", "delete"])
@in_virtual_time
async def test_a_write_that_the_store_refuses_as_a_whole_stays_refused(name: str) -> None:
    store = HeldStore()
    call = asyncio.create_task(errors_of(CALLS[name](Deadline(store), now() + 1)))
    await until(lambda: asked(store) == 1)
    (*store.writes, *store.others)[0].fail(Throttled("busy"))
    assert await call == [Throttled]


@pytest.mark.parametrize("defect", [ZeroDivisionError(), asyncio.CancelledError()], ids=["exception", "stray cancellation"])
@pytest.mark.parametrize("name", ["multi_put", "delete"])
@in_virtual_time
async def test_a_write_in_which_the_store_breaks_is_of_unknown_outcome(name: str, defect: BaseException) -> None:
    store = HeldStore()
    call = asyncio.create_task(errors_of(CALLS[name](Deadline(store), now() + 1)))
    await until(lambda: asked(store) == 1)
    (*store.writes, *store.others)[0].fail(defect)
    assert await call == [WriteOutcomeUnknown, WriteOutcomeUnknown]


@pytest.mark.parametrize("name", CALLS)
@in_virtual_time
async def test_a_cancelled_call_is_cancelled_below(name: str) -> None:
    store = HeldStore()
    call = asyncio.create_task(errors_of(CALLS[name](Deadline(store), now() + 1)))
    await until(lambda: asked(store) == 1)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert all(batch.ended for batch in (*store.writes, *store.others))


@in_virtual_time
async def test_results_pass_unchanged() -> None:
    store = HeldStore()
    call = asyncio.create_task(Deadline(store).multi_put([write(b"a"), write(b"b")], deadline=now() + 1))
    await until(lambda: asked(store) == 1)
    corrupt = CorruptValue("broken")
    store.writes[0].answer([None, corrupt])
    assert await call == [None, corrupt]

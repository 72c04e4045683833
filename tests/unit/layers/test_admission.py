"""Admission and Bulkhead: never more under way than the bound, and places that come back whatever happens."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from chronoserve.kvstore.layers.admission import WAIT_SECONDS_MAX, WAITING_CALLS_MAX, Admission
from chronoserve.kvstore.layers.bulkhead import Bulkhead
from chronoserve.kvstore.port import GetRequest, GetResult
from chronoserve.model.errors import Throttled
from tests.unit.layers.stores import LATEST, HeldStore, read, value_of, write
from tests.virtual_time import in_virtual_time, now, turns, until

Read = asyncio.Task[list[GetResult]]


def start(layer: Admission | Bulkhead, keys: int = 1, seconds: float = 60) -> Read:
    return asyncio.create_task(layer.multi_get(read(*(b"%d" % n for n in range(keys))), deadline=now() + seconds))


def limited(store: HeldStore, calls: int = 2, keys: int = 100) -> Admission:
    return Admission(store, inflight_calls_max=calls, inflight_keys_max=keys)


async def refusal(call: Read) -> Throttled:
    with pytest.raises(Throttled) as caught:
        await call
    return caught.value


@in_virtual_time
async def test_calls_beyond_the_limit_wait_and_go_on_when_a_place_is_free() -> None:
    store = HeldStore()
    layer = limited(store)
    calls = [start(layer) for _ in range(3)]
    await until(lambda: len(store.reads) == 2)
    await turns(5)
    assert (layer.calls, len(store.reads)) == (2, 2)
    store.reads[0].answer()
    await until(lambda: len(store.reads) == 3)
    assert layer.calls == 2
    store.reads[1].answer()
    store.reads[2].answer()
    await asyncio.gather(*calls)
    assert (layer.calls, layer.keys, layer.refused_total) == (0, 0, 0)


@in_virtual_time
async def test_a_refusal_comes_in_time_and_says_when_to_come_back() -> None:
    store = HeldStore()
    layer = limited(store, calls=1)
    busy = start(layer)
    await until(lambda: len(store.reads) == 1)
    began = now()
    error = await refusal(start(layer))
    assert now() == pytest.approx(began + WAIT_SECONDS_MAX)
    assert error.retryable
    assert error.retry_after is not None
    assert 0 < error.retry_after < 1
    assert layer.refused_total == 1
    store.reads[0].answer()
    await busy


@in_virtual_time
async def test_nobody_waits_for_a_place_beyond_its_deadline() -> None:
    store = HeldStore()
    layer = limited(store, calls=1)
    busy = start(layer)
    await until(lambda: len(store.reads) == 1)
    began = now()
    await refusal(start(layer, seconds=0.05))
    assert now() == pytest.approx(began + 0.05)
    store.reads[0].answer()
    await busy


@in_virtual_time
async def test_the_queue_is_bounded_and_beyond_it_refusals_are_immediate() -> None:
    store = HeldStore()
    layer = limited(store, calls=1)
    busy = start(layer)
    waiting = [start(layer) for _ in range(WAITING_CALLS_MAX)]
    await turns(3)
    began = now()
    await refusal(start(layer))
    assert now() == began
    for call in waiting:
        call.cancel()
    await asyncio.wait(waiting)
    store.reads[0].answer()
    await busy
    assert (layer.calls, layer.keys) == (0, 0)


@in_virtual_time
async def test_keys_are_bounded_and_a_call_beyond_the_whole_bound_goes_alone() -> None:
    store = HeldStore()
    layer = limited(store, calls=10, keys=10)
    small = start(layer, keys=6)
    await until(lambda: len(store.reads) == 1)
    large = start(layer, keys=50)
    await turns(5)
    assert len(store.reads) == 1
    store.reads[0].answer()
    await until(lambda: len(store.reads) == 2)
    assert layer.keys == 50
    await refusal(start(layer))
    store.reads[1].answer()
    await asyncio.gather(small, large)
    assert (layer.calls, layer.keys) == (0, 0)


@pytest.mark.parametrize("answer", [True, False], ids=["in the moment the place is given", "while it waits"])
@in_virtual_time
async def test_a_cancelled_caller_gives_its_place_back(answer: bool) -> None:
    store = HeldStore()
    layer = limited(store, calls=1)
    busy, gone = start(layer), start(layer)
    await until(lambda: len(store.reads) == 1)
    await turns(2)
    if answer:
        store.reads[0].answer()
        await until(lambda: layer.calls == 1 and not layer._waiting)
    gone.cancel()
    await asyncio.wait([gone])
    if not answer:
        store.reads[0].answer()
    await busy
    assert (layer.calls, layer.keys) == (0, 0)


@in_virtual_time
async def test_every_operation_counts_and_is_uncounted() -> None:
    store = HeldStore()
    layer = limited(store, calls=10)
    calls: list[asyncio.Task[object]] = [
        asyncio.create_task(layer.multi_put([write(b"a")], deadline=now() + 1)),
        asyncio.create_task(layer.delete([(LATEST, b"a")] * 2, deadline=now() + 1)),
        asyncio.create_task(layer.scan(LATEST, b"", keys_max=3, bytes_max=1, deadline=now() + 1)),
    ]
    await until(lambda: layer.calls == 3)
    assert layer.keys == 6
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert (layer.calls, layer.keys) == (0, 0)


class CountingStore(HeldStore):
    """Answers after a random time and remembers the most calls and keys that it had at once."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.calls = self.keys = self.calls_most = self.keys_most = 0

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self.calls += 1
        self.keys += len(requests)
        self.calls_most, self.keys_most = max(self.calls, self.calls_most), max(self.keys, self.keys_most)
        try:
            await asyncio.sleep(self.rng.random() * 0.02)
            return [value_of(request) for request in requests]
        finally:
            self.calls -= 1
            self.keys -= len(requests)


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_the_bound_holds_under_random_load_with_cancellations(seed: int) -> None:
    rng = random.Random(seed)
    store = CountingStore(rng)
    layer = limited(store, calls=5, keys=40)
    outcomes = {"answered": 0, "refused": 0, "cancelled": 0}

    async def caller() -> None:
        for _ in range(60):
            call = start(layer, rng.randrange(1, 30), seconds=rng.random())
            await asyncio.wait([call], timeout=rng.random() * 0.4)
            call.cancel()
            await asyncio.wait([call])
            outcome = "cancelled" if call.cancelled() else "refused" if call.exception() else "answered"
            outcomes[outcome] += 1

    await asyncio.gather(*(caller() for _ in range(30)))
    assert min(outcomes.values()) > 50, outcomes
    assert store.calls_most == 5
    assert store.keys_most <= 40
    assert (layer.calls, layer.keys, len(layer._waiting)) == (0, 0, 0)


@in_virtual_time
async def test_a_bulkhead_refuses_at_once_because_waiting_would_hold_a_place_of_the_process() -> None:
    store = HeldStore()
    layer = Bulkhead(store, inflight_calls_max=2)
    calls = [start(layer), asyncio.create_task(layer.multi_put([write(b"a")], deadline=now() + 1))]
    await until(lambda: layer.calls == 2)
    began = now()
    for refused in (
        start(layer),
        asyncio.create_task(layer.multi_put([], deadline=now() + 1)),
        asyncio.create_task(layer.delete([], deadline=now() + 1)),
        asyncio.create_task(layer.scan(LATEST, b"", keys_max=3, bytes_max=1, deadline=now() + 1)),
    ):
        with pytest.raises(Throttled) as caught:
            await refused
        assert caught.value.retry_after
    assert now() == began
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert layer.calls == 0
    scan = asyncio.create_task(layer.scan(LATEST, b"", keys_max=3, bytes_max=1, deadline=now() + 1))
    delete = asyncio.create_task(layer.delete([(LATEST, b"a")], deadline=now() + 1))
    await until(lambda: len(store.others) == 2)
    for batch in store.others:
        batch.answer()
    await asyncio.gather(scan, delete)
    assert layer.calls == 0

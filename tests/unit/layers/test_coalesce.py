"""Coalesce: shared reads, each caller's own deadline and cancellation, and nothing shared that may be stale."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from chronoserve.kvstore.layers.coalesce import FLIGHT_KEYS_MAX, Coalesce
from chronoserve.kvstore.port import GetRequest, GetResult
from chronoserve.model.errors import AnswerTooLarge, CorruptValue, DeadlinePassed, Internal, Throttled, Unavailable
from tests.unit.layers.stores import LATEST, HeldStore, read, value_of
from tests.virtual_time import in_virtual_time, now, turns, until

Read = asyncio.Task[list[GetResult]]


class Bench:
    """The layer over a held store."""

    def __init__(self, inflight_batches_max: int = 4) -> None:
        self.store = HeldStore(inflight_batches_max=inflight_batches_max)
        self.layer = Coalesce(self.store)

    def start(self, *keys: bytes, seconds: float = 60, after: int = 0) -> Read:
        return asyncio.create_task(self.layer.multi_get(read(*keys, after=after), deadline=now() + seconds))

    async def departed(self, flights: int) -> None:
        await until(lambda: len(self.store.reads) == flights)


def expected(*keys: bytes) -> list[GetResult]:
    return [value_of(request) for request in read(*keys)]


def error_of(result: GetResult) -> type[Exception]:
    assert isinstance(result, Exception)
    return type(result)


@in_virtual_time
async def test_a_key_asked_twice_in_a_call_is_read_once_and_answered_twice() -> None:
    bench = Bench()
    call = bench.start(b"a", b"b", b"a", b"a")
    await bench.departed(1)
    assert list(bench.store.reads[0].requests) == read(b"a", b"b")
    bench.store.reads[0].answer()
    assert await call == expected(b"a", b"b", b"a", b"a")


@in_virtual_time
async def test_callers_that_arrive_together_share_one_read_of_distinct_keys() -> None:
    bench = Bench()
    calls = [bench.start(b"a", b"b"), bench.start(b"b", b"c"), bench.start(b"c"), bench.start()]
    await bench.departed(1)
    assert list(bench.store.reads[0].requests) == read(b"a", b"b", b"c")
    bench.store.reads[0].answer()
    assert await asyncio.gather(*calls) == [expected(b"a", b"b"), expected(b"b", b"c"), expected(b"c"), []]


@in_virtual_time
async def test_the_same_key_from_two_times_is_two_reads() -> None:
    bench = Bench()
    calls = [bench.start(b"a", after=1), bench.start(b"a", after=2)]
    await bench.departed(1)
    assert list(bench.store.reads[0].requests) == [(LATEST, b"a", 1), (LATEST, b"a", 2)]
    bench.store.reads[0].answer([b"one", b"two"])
    assert await asyncio.gather(*calls) == [[b"one"], [b"two"]]


@in_virtual_time
async def test_a_read_never_joins_a_departed_flight() -> None:
    """Its answer may be older than a write that the second caller has seen acknowledged."""
    bench = Bench()
    before = bench.start(b"a")
    await bench.departed(1)
    after = bench.start(b"a")
    await bench.departed(2)
    bench.store.reads[1].answer([b"new"])
    assert await after == [b"new"]
    bench.store.reads[0].answer([b"old"])
    assert await before == [b"old"]


@in_virtual_time
async def test_a_caller_sees_its_own_write_whatever_reads_are_under_way() -> None:
    bench = Bench(inflight_batches_max=1)
    slow = bench.start(b"a")
    await bench.departed(1)
    put = asyncio.create_task(bench.layer.multi_put([], deadline=now() + 1))
    await until(lambda: bool(bench.store.writes))
    bench.store.writes[0].answer([])
    await put
    mine = bench.start(b"a")
    await turns(5)
    assert len(bench.store.reads) == 1
    bench.store.reads[0].answer([b"old"])
    await bench.departed(2)
    bench.store.reads[1].answer([b"new"])
    assert (await slow, await mine) == ([b"old"], [b"new"])


@in_virtual_time
async def test_flights_are_bounded_and_those_who_wait_leave_together() -> None:
    bench = Bench(inflight_batches_max=2)
    first = bench.start(b"a")
    await bench.departed(1)
    second = bench.start(b"b")
    await bench.departed(2)
    waiting = []
    for n in range(5):
        waiting.append(bench.start(b"w%d" % n, b"shared"))
        await turns(3)
    assert len(bench.store.reads) == 2
    bench.store.reads[0].answer()
    await bench.departed(3)
    assert len(bench.store.reads[2].requests) == 6
    bench.store.reads[2].answer()
    assert await asyncio.gather(*waiting) == [expected(b"w%d" % n, b"shared") for n in range(5)]
    bench.store.reads[1].answer()
    assert [await first, await second] == [expected(b"a"), expected(b"b")]


@in_virtual_time
async def test_flights_are_split_at_their_size_and_a_larger_call_flies_alone() -> None:
    bench = Bench(inflight_batches_max=10)
    sizes = [FLIGHT_KEYS_MAX - 1, 1, 1, FLIGHT_KEYS_MAX + 5, 2]
    calls = [bench.start(*(b"%d-%d" % (n, key) for key in range(size))) for n, size in enumerate(sizes)]
    await bench.departed(4)
    assert [len(batch.requests) for batch in bench.store.reads] == [FLIGHT_KEYS_MAX, 1, FLIGHT_KEYS_MAX + 5, 2]
    for batch in bench.store.reads:
        batch.answer()
    assert [len(results) for results in await asyncio.gather(*calls)] == sizes


@in_virtual_time
async def test_each_caller_of_a_flight_is_answered_by_its_own_deadline() -> None:
    bench = Bench()
    began = now()
    short, long = bench.start(b"a", seconds=1), bench.start(b"a", seconds=5)
    assert [error_of(result) for result in await short] == [DeadlinePassed]
    assert now() == pytest.approx(began + 1)
    assert bench.store.reads[0].deadline == began + 5
    bench.store.reads[0].answer()
    assert await long == expected(b"a")


@in_virtual_time
async def test_a_flight_ends_when_the_last_deadline_has_passed() -> None:
    bench = Bench()
    calls = [bench.start(b"a", seconds=1), bench.start(b"b", seconds=2)]
    results = await asyncio.gather(*calls)
    assert [error_of(result) for (result,) in results] == [DeadlinePassed, DeadlinePassed]
    await until(lambda: bench.store.reads[0].ended)


@in_virtual_time
async def test_a_caller_without_room_is_answered_by_its_deadline_even_if_it_came_after_a_patient_one() -> None:
    bench = Bench(inflight_batches_max=1)
    flying = bench.start(b"a", seconds=100)
    await bench.departed(1)
    patient = bench.start(b"b", seconds=50)
    await turns(5)
    began = now()
    hasty = bench.start(b"c", seconds=0.5)
    assert [error_of(result) for result in await hasty] == [DeadlinePassed]
    assert now() == pytest.approx(began + 0.5)
    assert [error_of(result) for result in await patient] == [DeadlinePassed]
    assert now() == pytest.approx(began + 50)
    bench.store.reads[0].answer()
    assert await flying == expected(b"a")


@in_virtual_time
async def test_a_call_whose_time_is_over_before_departure_costs_the_store_nothing() -> None:
    bench = Bench()
    assert [error_of(result) for result in await bench.start(b"a", seconds=0)] == [DeadlinePassed]
    await turns(5)
    assert not bench.store.reads
    call = bench.start(b"b")
    await bench.departed(1)
    bench.store.reads[0].answer()
    assert await call == expected(b"b")


@in_virtual_time
async def test_one_cancelled_caller_changes_nothing_for_the_others() -> None:
    bench = Bench()
    gone, stays = bench.start(b"a", b"x"), bench.start(b"a", b"y")
    await bench.departed(1)
    gone.cancel()
    await turns(5)
    assert not bench.store.reads[0].ended
    bench.store.reads[0].answer()
    assert await stays == expected(b"a", b"y")
    assert gone.cancelled()


@in_virtual_time
async def test_a_flight_that_nobody_waits_for_is_cancelled_and_its_place_is_free() -> None:
    bench = Bench(inflight_batches_max=1)
    for attempt in range(3):
        calls = [bench.start(b"a"), bench.start(b"b")]
        await bench.departed(attempt + 1)
        for call in calls:
            call.cancel()
        await until(lambda: bench.store.reads[attempt].ended)  # noqa: B023 - awaited at once
    call = bench.start(b"c")
    await bench.departed(4)
    bench.store.reads[3].answer()
    assert await call == expected(b"c")


@in_virtual_time
async def test_a_caller_cancelled_before_departure_is_not_asked_for() -> None:
    bench = Bench(inflight_batches_max=1)
    flying = bench.start(b"a")
    await bench.departed(1)
    gone, stays = bench.start(b"b"), bench.start(b"c")
    await turns(3)
    gone.cancel()
    await turns(3)
    bench.store.reads[0].answer()
    await bench.departed(2)
    assert list(bench.store.reads[1].requests) == read(b"c")
    bench.store.reads[1].answer()
    assert (await flying, await stays) == (expected(b"a"), expected(b"c"))


@in_virtual_time
async def test_a_caller_cancelled_in_the_moment_of_its_deadline_leaves_only_once() -> None:
    """It has been answered and counted as gone already; to count it twice would end the others' read."""
    bench = Bench()
    short, long = bench.start(b"a", seconds=1), bench.start(b"b", seconds=5)
    await bench.departed(1)
    loop = asyncio.get_running_loop()
    loop.call_at(now() + 1, short.cancel)
    await asyncio.wait([short])
    await turns(5)
    assert not bench.store.reads[0].ended
    bench.store.reads[0].answer()
    assert await long == expected(b"b")


@in_virtual_time
async def test_a_flight_abandoned_before_its_first_step_frees_its_place() -> None:
    """On uvloop a timer may fire between the making of a task and its first step, and such a task never runs."""
    bench = Bench(inflight_batches_max=1)
    call = bench.start(b"a")
    await turns(1)
    loop = asyncio.get_running_loop()
    bench.layer._depart(loop)
    call.cancel()
    (flight,) = bench.layer._flights
    flight.leave()
    await turns(5)
    assert not bench.store.reads
    again = bench.start(b"b")
    await bench.departed(1)
    bench.store.reads[0].answer()
    assert await again == expected(b"b")


@in_virtual_time
async def test_an_error_of_the_whole_read_reaches_every_item_of_every_caller() -> None:
    bench = Bench()
    calls = [bench.start(b"a", b"b"), bench.start(b"c")]
    await bench.departed(1)
    bench.store.reads[0].fail(Throttled("slow down", retry_after=3))
    results = await asyncio.gather(*calls)
    assert [[error_of(item) for item in result] for result in results] == [[Throttled, Throttled], [Throttled]]


@in_virtual_time
async def test_an_error_of_one_item_stays_with_those_who_asked_for_it() -> None:
    bench = Bench()
    calls = [bench.start(b"a", b"b"), bench.start(b"b", b"c")]
    await bench.departed(1)
    bench.store.reads[0].answer([b"A", CorruptValue("broken"), b"C"])
    (a, b), (b_again, c) = await asyncio.gather(*calls)
    assert (a, error_of(b), error_of(b_again), c) == (b"A", CorruptValue, CorruptValue, b"C")


@in_virtual_time
async def test_a_defect_of_the_store_is_an_error_of_every_item_and_frees_the_place() -> None:
    bench = Bench(inflight_batches_max=1)
    call = bench.start(b"a", b"b")
    await bench.departed(1)
    bench.store.reads[0].fail(ZeroDivisionError())
    assert [error_of(result) for result in await call] == [Internal, Internal]
    again = bench.start(b"c")
    await bench.departed(2)
    bench.store.reads[1].answer()
    assert await again == expected(b"c")


@in_virtual_time
async def test_callers_whose_answers_are_too_large_together_are_asked_for_alone() -> None:
    bench = Bench()
    first, other, last = bench.start(b"a"), bench.start(b"b", b"c", b"b", seconds=30), bench.start(b"d")
    await bench.departed(1)
    bench.store.reads[0].answer([*expected(b"a", b"b"), *[AnswerTooLarge("together")] * 2])
    await bench.departed(2)
    assert await first == expected(b"a"), "there was room for all that it asked for"
    assert list(bench.store.reads[1].requests) == read(b"b", b"c")
    assert bench.store.reads[1].deadline == now() + 30
    bench.store.reads[1].answer([*expected(b"b"), AnswerTooLarge("alone")])
    await bench.departed(3)
    assert [type(result) for result in await other] == [bytes, AnswerTooLarge, bytes]
    assert list(bench.store.reads[2].requests) == read(b"d")
    bench.store.reads[2].fail(Throttled("busy"))
    assert [error_of(result) for result in await last] == [Throttled]
    assert len(bench.store.reads) == 3


@in_virtual_time
async def test_a_caller_alone_is_not_asked_for_again() -> None:
    bench = Bench()
    call = bench.start(b"a", b"b")
    await bench.departed(1)
    bench.store.reads[0].answer([AnswerTooLarge("alone")] * 2)
    assert [error_of(result) for result in await call] == [AnswerTooLarge] * 2
    assert len(bench.store.reads) == 1


@in_virtual_time
async def test_a_read_alone_ends_when_those_who_still_wait_have_left() -> None:
    bench = Bench(inflight_batches_max=1)
    first, second = bench.start(b"a"), bench.start(b"b", seconds=5)
    await bench.departed(1)
    bench.store.reads[0].answer([AnswerTooLarge("together")] * 2)
    await bench.departed(2)
    bench.store.reads[1].answer()
    assert await first == expected(b"a")
    await bench.departed(3)
    assert [error_of(result) for result in await second] == [DeadlinePassed]
    await until(lambda: bench.store.reads[2].ended)
    third = bench.start(b"c")
    await bench.departed(4)
    bench.store.reads[3].answer()
    assert await third == expected(b"c")


@in_virtual_time
async def test_close_answers_everybody_at_once() -> None:
    bench = Bench(inflight_batches_max=1)
    flying = bench.start(b"a")
    await bench.departed(1)
    boarding = bench.start(b"b")
    await turns(3)
    await bench.layer.close()
    results = [*await flying, *await boarding]
    assert [error_of(result) for result in results] == [Unavailable, Unavailable]
    assert bench.store.closed
    assert bench.store.reads[0].ended
    with pytest.raises(Unavailable):
        await bench.layer.multi_get(read(b"a"), deadline=now() + 1)


@in_virtual_time
async def test_close_answers_those_whose_flight_has_not_begun() -> None:
    bench = Bench()
    call = bench.start(b"a")
    await turns(1)
    bench.layer._depart(asyncio.get_running_loop())
    began = now()
    await bench.layer.close()
    assert [error_of(result) for result in await call] == [Unavailable]
    assert now() == began


class SlowStore(HeldStore):
    """Takes a random time for a value that is a function of the key."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(inflight_batches_max=8)
        self.rng = rng
        self.under_way = self.most_under_way = 0

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await asyncio.sleep(self.rng.random() * 0.01)
            return [value_of(request) for request in requests]
        finally:
            self.under_way -= 1


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_random_cancellations_and_deadlines_give_no_wrong_answer(seed: int) -> None:
    rng = random.Random(seed)
    store = SlowStore(rng)
    layer = Coalesce(store)
    answered = late = cancelled = 0

    async def caller() -> None:
        nonlocal answered, late, cancelled
        for _ in range(100):
            keys = [b"%d" % rng.randrange(50) for _ in range(rng.randrange(1, 5))]
            call = asyncio.create_task(layer.multi_get(read(*keys), deadline=now() + rng.choice((0.001, 0.004, 1))))
            await asyncio.wait([call], timeout=rng.random() * 0.03)
            if not call.done():
                call.cancel()
                await asyncio.wait([call])
            if call.cancelled():
                cancelled += 1
                continue
            result = call.result()
            if any(isinstance(item, DeadlinePassed) for item in result):
                assert all(isinstance(item, DeadlinePassed) for item in result)
                late += 1
            else:
                assert result == expected(*keys)
                answered += 1

    await asyncio.gather(*(caller() for _ in range(30)))
    assert min(answered, late, cancelled) > 100
    assert store.most_under_way == 8
    await turns(3)
    assert not store.under_way
    assert not layer._flights
    assert not layer._boarding

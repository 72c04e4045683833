"""Share: keys of one tick are asked once, and what another call could not answer is asked for again."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from chronoserve.kvstore.layers.share import Share
from chronoserve.kvstore.port import GetRequest, GetResult
from chronoserve.model.errors import AnswerTooLarge, CorruptValue, DeadlinePassed, Throttled
from tests.unit.layers.stores import HeldStore, read, value_of
from tests.virtual_time import in_virtual_time, now, until

Read = asyncio.Task[list[GetResult]]


class Bench:
    """The layer over a held store."""

    def __init__(self) -> None:
        self.store = HeldStore(pipelined=True)
        self.layer = Share(self.store)

    def start(self, *keys: bytes, seconds: float = 60) -> Read:
        return asyncio.create_task(self.layer.multi_get(read(*keys), deadline=now() + seconds))

    async def asked(self, *calls: Sequence[bytes]) -> None:
        await until(lambda: len(self.store.reads) == len(calls))
        assert [[key for _, key, _ in batch.requests] for batch in self.store.reads] == [list(keys) for keys in calls]


def expected(*keys: bytes) -> list[GetResult]:
    return [value_of(request) for request in read(*keys)]


@in_virtual_time
async def test_duplicates_within_a_call_are_asked_once() -> None:
    bench = Bench()
    call = bench.start(b"a", b"b", b"a")
    await bench.asked([b"a", b"b"])
    bench.store.reads[0].answer()
    assert await call == expected(b"a", b"b", b"a")


@in_virtual_time
async def test_calls_of_one_tick_ask_each_key_once() -> None:
    bench = Bench()
    calls = [bench.start(b"a", b"b"), bench.start(b"b", b"c", b"b"), bench.start(b"c", b"a"), bench.start()]
    await bench.asked([b"a", b"b"], [b"c"], [])
    for batch in bench.store.reads:
        batch.answer()
    assert await asyncio.gather(*calls) == [expected(b"a", b"b"), expected(b"b", b"c", b"b"), expected(b"c", b"a"), []]


@in_virtual_time
async def test_a_few_keys_of_a_large_call_are_asked_again() -> None:
    """To take one of many keys from another call costs more than to read it twice; what is a fair part of a call is taken."""
    bench = Bench()
    many = [b"%d" % n for n in range(40)]
    calls = [bench.start(b"3"), bench.start(*many), bench.start(*many[5:15]), bench.start(*many[35:], b"x")]
    await bench.asked([b"3"], many, [b"x"])
    for batch in bench.store.reads:
        batch.answer()
    assert await asyncio.gather(*calls) == [expected(b"3"), expected(*many), expected(*many[5:15]), expected(*many[35:], b"x")]


@in_virtual_time
async def test_a_later_tick_never_joins() -> None:
    bench = Bench()
    before = bench.start(b"a")
    await bench.asked([b"a"])
    after = bench.start(b"a")
    await bench.asked([b"a"], [b"a"])
    bench.store.reads[1].answer([b"new"])
    bench.store.reads[0].answer([b"old"])
    assert (await before, await after) == ([b"old"], [b"new"])


@in_virtual_time
async def test_a_cancelled_call_s_keys_are_asked_again_for_those_who_joined() -> None:
    bench = Bench()
    gone, stays = bench.start(b"a", b"b"), bench.start(b"b", b"c")
    await bench.asked([b"a", b"b"], [b"c"])
    gone.cancel()
    bench.store.reads[1].answer()
    await bench.asked([b"a", b"b"], [b"c"], [b"b"])
    bench.store.reads[2].answer()
    assert await stays == expected(b"b", b"c")


@in_virtual_time
async def test_what_another_call_had_no_time_for_is_asked_again() -> None:
    bench = Bench()
    short, long = bench.start(b"a", seconds=1), bench.start(b"a", seconds=9)
    await bench.asked([b"a"])
    bench.store.reads[0].answer([DeadlinePassed("late")])
    assert isinstance((await short)[0], DeadlinePassed)
    await bench.asked([b"a"], [b"a"])
    bench.store.reads[1].answer()
    assert await long == expected(b"a")


@in_virtual_time
async def test_what_another_call_had_no_room_for_is_asked_again_once_by_its_own_deadline() -> None:
    bench = Bench()
    large, small = bench.start(b"a", b"b", b"c"), bench.start(b"c", b"b", seconds=30)
    await bench.asked([b"a", b"b", b"c"])
    bench.store.reads[0].answer([*expected(b"a"), *[AnswerTooLarge("together")] * 2])
    assert [type(result) for result in await large] == [bytes, AnswerTooLarge, AnswerTooLarge]
    await until(lambda: len(bench.store.reads) == 2)
    assert sorted(bench.store.reads[1].requests) == read(b"b", b"c")
    assert bench.store.reads[1].deadline == now() + 30
    bench.store.reads[1].answer([AnswerTooLarge("alone")] * 2)
    assert [type(result) for result in await small] == [AnswerTooLarge] * 2
    assert len(bench.store.reads) == 2


@in_virtual_time
async def test_nobody_waits_for_another_call_beyond_its_own_deadline() -> None:
    bench = Bench()
    long, short = bench.start(b"a", seconds=9), bench.start(b"a", seconds=1)
    began = now()
    assert isinstance((await short)[0], DeadlinePassed)
    assert now() == pytest.approx(began + 1)
    bench.store.reads[0].answer()
    assert await long == expected(b"a")


@in_virtual_time
async def test_errors_of_items_are_shared_with_those_who_asked_for_them() -> None:
    bench = Bench()
    calls = [bench.start(b"a", b"b"), bench.start(b"b")]
    await bench.asked([b"a", b"b"])
    broken = CorruptValue("broken")
    bench.store.reads[0].answer([b"A", broken])
    assert await asyncio.gather(*calls) == [[b"A", broken], [broken]]


@in_virtual_time
async def test_a_call_that_fails_as_a_whole_does_not_spoil_the_others() -> None:
    bench = Bench()
    fails, joins = bench.start(b"a"), bench.start(b"a", b"b")
    await bench.asked([b"a"], [b"b"])
    bench.store.reads[0].fail(Throttled("busy"))
    bench.store.reads[1].answer()
    with pytest.raises(Throttled):
        await fails
    await bench.asked([b"a"], [b"b"], [b"a"])
    bench.store.reads[2].answer()
    assert await joins == expected(b"a", b"b")


class SlowStore(HeldStore):
    """Takes a random time, within the deadline, for a value that is a function of the key."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(pipelined=True)
        self.rng = rng
        self.under_way = 0

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        self.under_way += 1
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(self.rng.random() * 0.01)
        except TimeoutError:
            return [DeadlinePassed("late") for _ in requests]
        finally:
            self.under_way -= 1
        return [value_of(request) for request in requests]


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_random_cancellations_and_deadlines_give_no_wrong_answer(seed: int) -> None:
    rng = random.Random(seed)
    store = SlowStore(rng)
    layer = Share(store)
    outcomes = {"answered": 0, "late": 0, "cancelled": 0}

    async def caller() -> None:
        for _ in range(100):
            keys = [b"%d" % rng.randrange(20) for _ in range(rng.randrange(1, 5))]
            call = asyncio.create_task(layer.multi_get(read(*keys), deadline=now() + rng.choice((0.001, 0.004, 1))))
            await asyncio.wait([call], timeout=rng.choice((0.001, 0.002, 0.02)))
            call.cancel()
            await asyncio.wait([call])
            if call.cancelled():
                outcomes["cancelled"] += 1
                continue
            late = [isinstance(item, DeadlinePassed) for item in call.result()]
            outcomes["late" if any(late) else "answered"] += 1
            assert all(gone or item == right for gone, item, right in zip(late, call.result(), expected(*keys), strict=True))

    await asyncio.gather(*(caller() for _ in range(30)))
    assert min(outcomes.values()) > 100, outcomes
    await until(lambda: not store.under_way)
    assert not layer._this_tick

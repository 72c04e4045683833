"""How the gateway learns of datasets that others have made: few questions, fresh answers, nobody spoilt by another caller."""

import asyncio

import pytest

from chronoserve.kvstore.port import GetResult
from chronoserve.kvstore.router import Route, Router
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import DeadlinePassed, KVError, Unavailable, UnknownDataset
from chronoserve.service.gateway import Gateway, Limits, NamedPut
from chronoserve.testing.clock import ManualClock
from tests.unit.layers.stores import HeldStore
from tests.unit.service.bench import get
from tests.virtual_time import in_virtual_time, now, turns, until

Read = asyncio.Task[list[GetResult]]


class Bench:
    """A gateway over two stores that answer when the test says so."""

    def __init__(self) -> None:
        self.store, self.other = HeldStore(), HeldStore()
        self.router = Router({"main": self.store, "other": self.other}, [Route("O_*", "other"), Route("*", "main")])
        self.gateway = Gateway(self.router, self.router, clock=ManualClock(), limits=Limits())

    def start(self, *names: str, seconds: float = 60) -> Read:
        return asyncio.create_task(self.gateway.multi_get([get(name, b"k") for name in names], deadline=now() + seconds))

    async def asked(self, times: int) -> None:
        await until(lambda: len(self.store.others) == times)
        await turns(5)
        assert len(self.store.others) == times

    def answer(self, *names: str) -> None:
        """The last question: the store has these datasets."""
        self.store.others[-1].answer([{name: Dataset(name, Properties(Kind.LATEST)) for name in names}])


def kinds(results: list[GetResult]) -> list[type]:
    return [type(result) for result in results]


@in_virtual_time
async def test_a_call_asks_once_however_many_unknown_names_it_has() -> None:
    bench = Bench()
    call = bench.start(*(f"X_{n}" for n in range(5000)), *["X"] * 5000)
    await bench.asked(1)
    bench.answer()
    assert kinds(await call) == [UnknownDataset] * 10_000


@in_virtual_time
async def test_a_call_of_puts_asks_once_too() -> None:
    bench = Bench()
    puts = [NamedPut(f"X_{n}", b"k", b"v") for n in range(100)]
    call = asyncio.create_task(bench.gateway.multi_put(puts, deadline=now() + 1))
    await bench.asked(1)
    bench.answer()
    assert [type(result) for result in await call] == [UnknownDataset] * 100


@in_virtual_time
async def test_only_the_store_that_would_hold_it_is_asked() -> None:
    bench = Bench()
    call = bench.start("X")
    await bench.asked(1)
    assert not bench.other.others
    bench.answer()
    await call


@in_virtual_time
async def test_all_who_arrive_during_a_question_share_the_next_one_and_see_what_was_made_before_they_came() -> None:
    bench = Bench()
    first = bench.start("X")
    await bench.asked(1)
    later = [bench.start("X") for _ in range(50)]
    await turns(5)
    bench.answer()
    assert kinds(await first) == [UnknownDataset]
    await bench.asked(2)
    bench.answer("X")
    await until(lambda: sum(len(batch.requests) for batch in bench.store.reads) == 50)
    for batch in bench.store.reads:
        batch.answer([b""])
    assert [await call for call in later] == [[b""]] * 50
    assert len(bench.store.others) == 2


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
@in_virtual_time
async def test_a_question_given_up_by_its_caller_is_taken_over_by_those_who_share_it(how: str) -> None:
    bench = Bench()
    blocking = bench.start("X")
    await bench.asked(1)
    owner = bench.start("X", seconds=60 if how == "cancelled" else 1)
    await turns(3)
    sharers = [bench.start("X") for _ in range(5)]
    await turns(3)
    bench.answer()
    assert kinds(await blocking) == [UnknownDataset]
    await bench.asked(2)
    if how == "cancelled":
        owner.cancel()
        await asyncio.wait([owner])
    else:
        bench.store.others[-1].fail(DeadlinePassed("late"))
        assert kinds(await owner) == [DeadlinePassed]
    await bench.asked(3)
    bench.answer()
    assert [kinds(await call) for call in sharers] == [[UnknownDataset]] * 5
    assert len(bench.store.others) == 3


@in_virtual_time
async def test_nobody_waits_for_another_s_question_beyond_its_own_deadline() -> None:
    bench = Bench()
    owner = bench.start("X", seconds=60)
    await bench.asked(1)
    began = now()
    assert kinds(await bench.start("X", seconds=0.5)) == [DeadlinePassed]
    assert now() == pytest.approx(began + 0.5)
    bench.answer()
    assert kinds(await owner) == [UnknownDataset]


@in_virtual_time
async def test_a_store_that_cannot_be_asked_is_an_error_and_not_an_unknown_dataset() -> None:
    bench = Bench()
    call = bench.start("X", "Y", "X")
    await bench.asked(1)
    bench.store.others[-1].fail(Unavailable("away"))
    assert kinds(await call) == [Unavailable] * 3
    again = bench.start("X")
    await bench.asked(2)
    bench.answer()
    assert kinds(await again) == [UnknownDataset]


@in_virtual_time
async def test_a_store_that_cannot_be_asked_does_not_spoil_what_is_known_of_another() -> None:
    bench = Bench()
    call = bench.start("O_1", "X")
    await until(lambda: len(bench.other.others) == 1)
    bench.other.others[0].answer([{"O_1": Dataset("O_1", Properties(Kind.LATEST))}])
    await bench.asked(1)
    bench.store.others[-1].fail(Unavailable("away"))
    await until(lambda: len(bench.other.reads) == 1)
    bench.other.reads[0].answer([b"found"])
    found, failed = await call
    assert found == b"found"
    assert isinstance(failed, KVError)


@in_virtual_time
async def test_a_defect_in_the_question_is_not_everybody_s() -> None:
    bench = Bench()
    blocking = bench.start("X")
    await bench.asked(1)
    sharers = [bench.start("X") for _ in range(2)]
    await turns(3)
    bench.answer()
    await blocking
    await bench.asked(2)
    bench.store.others[-1].fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await sharers[0]
    await bench.asked(3)
    bench.answer()
    assert kinds(await sharers[1]) == [UnknownDataset]

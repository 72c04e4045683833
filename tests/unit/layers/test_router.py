"""Router: batches split and joined in order, stores asked together and failing apart."""

import asyncio
import random
from typing import Any

import pytest

from chronoserve.kvstore.port import KVStore
from chronoserve.kvstore.router import Route, Router
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import FailedPrecondition, Internal, KVError, Unavailable, WriteOutcomeUnknown
from tests.unit.layers.stores import HeldStore, value_of, write
from tests.virtual_time import in_virtual_time, now, until

ROUTES = [Route("A_*", "a"), Route("?B_*", "b"), Route("C_*", "c")]


class Catalogue(HeldStore):
    """A held store with datasets of its own."""

    def __init__(self, *names: str, **capability: Any) -> None:
        super().__init__(**capability)
        self.datasets = {name: Dataset(name, Properties(Kind.LATEST)) for name in names}
        self.loads = 0

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        self.loads += 1
        return dict(self.datasets)

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        return self.datasets.setdefault(name, Dataset(name, properties))


class Bench:
    """A router over three held stores with a dataset in each."""

    def __init__(self) -> None:
        self.stores = {"a": Catalogue("A_1"), "b": Catalogue("XB_1"), "c": Catalogue("C_1")}
        self.router = Router(self.stores, ROUTES)

    async def start(self) -> list[Dataset]:
        found = await self.router.load_datasets(deadline=now() + 1)
        return [found["A_1"], found["XB_1"], found["C_1"]]


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_a_batch_is_split_by_store_and_joined_in_the_order_of_its_requests(seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench()
    datasets = await bench.start()
    for _ in range(50):
        requests = [(rng.choice(datasets), b"%d" % rng.randrange(9), 0) for _ in range(rng.randrange(30))]
        call = asyncio.create_task(bench.router.multi_get(requests, deadline=now() + 1))
        asked = {store for dataset, _, _ in requests for store in bench.stores.values() if dataset in store.datasets.values()}
        await until(lambda: all(store.reads for store in asked) if asked else call.done())  # noqa: B023 - awaited at once
        for store in rng.sample(list(asked), len(asked)):
            assert [request for request in requests if request[0] in store.datasets.values()] == list(store.reads[0].requests)
            store.reads.pop().answer()
        assert await call == [value_of(request) for request in requests]


@in_virtual_time
async def test_writes_and_deletes_are_split_too() -> None:
    bench = Bench()
    a, b, _ = await bench.start()
    puts = [write(b"1", dataset=a), write(b"2", dataset=b), write(b"3", dataset=a)]
    put = asyncio.create_task(bench.router.multi_put(puts, deadline=now() + 1))
    await until(lambda: bool(bench.stores["a"].writes and bench.stores["b"].writes))
    error = Unavailable("away")
    bench.stores["a"].writes[0].answer([None, error])
    bench.stores["b"].writes[0].answer()
    assert await put == [None, None, error]
    delete = asyncio.create_task(bench.router.delete([(b, b"1"), (a, b"2")], deadline=now() + 1))
    await until(lambda: bool(bench.stores["a"].others and bench.stores["b"].others))
    bench.stores["a"].others[0].answer([error])
    bench.stores["b"].others[0].answer([None])
    assert await delete == [None, error]


@in_virtual_time
async def test_a_store_that_fails_fails_its_own_items_only() -> None:
    bench = Bench()
    a, b, c = await bench.start()
    requests = [(a, b"1", 0), (b, b"2", 0), (c, b"3", 0), (a, b"4", 0)]
    call = asyncio.create_task(bench.router.multi_get(requests, deadline=now() + 1))
    await until(lambda: all(store.reads for store in bench.stores.values()))
    error = Unavailable("away")
    bench.stores["a"].reads[0].fail(error)
    bench.stores["b"].reads[0].fail(ZeroDivisionError())
    bench.stores["c"].reads[0].answer()
    first, second, third, fourth = await call
    assert (first, third, fourth) == (error, value_of(requests[2]), error)
    assert isinstance(second, Internal)


@in_virtual_time
async def test_a_store_that_breaks_in_a_write_leaves_its_own_outcomes_unknown() -> None:
    bench = Bench()
    a, b, _ = await bench.start()
    call = asyncio.create_task(bench.router.multi_put([write(b"1", dataset=a), write(b"2", dataset=b)], deadline=now() + 1))
    await until(lambda: bool(bench.stores["a"].writes and bench.stores["b"].writes))
    bench.stores["a"].writes[0].fail(ZeroDivisionError())
    bench.stores["b"].writes[0].answer()
    first, second = await call
    assert isinstance(first, WriteOutcomeUnknown)
    assert second is None


@in_virtual_time
async def test_a_silent_store_is_no_concern_of_calls_to_others() -> None:
    bench = Bench()
    a, b, _ = await bench.start()
    silent = asyncio.create_task(bench.router.multi_get([(a, b"1", 0)], deadline=now() + 1))
    call = asyncio.create_task(bench.router.multi_get([(b, b"1", 0)], deadline=now() + 1))
    await until(lambda: bool(bench.stores["b"].reads))
    bench.stores["b"].reads[0].answer()
    began = now()
    assert await call == [value_of((b, b"1", 0))]
    assert now() == began
    silent.cancel()
    await asyncio.wait([silent])


@in_virtual_time
async def test_a_cancelled_batch_is_cancelled_in_every_store() -> None:
    bench = Bench()
    a, b, _ = await bench.start()
    call = asyncio.create_task(bench.router.multi_get([(a, b"1", 0), (b, b"2", 0)], deadline=now() + 1))
    await until(lambda: bool(bench.stores["a"].reads and bench.stores["b"].reads))
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert bench.stores["a"].reads[0].ended
    assert bench.stores["b"].reads[0].ended


@in_virtual_time
async def test_a_dataset_that_the_routes_send_to_another_store_is_not_served_from_this_one() -> None:
    stores = {"a": Catalogue("A_1", "C_1"), "b": Catalogue(), "c": Catalogue("C_1", "A_1")}
    router = Router(stores, ROUTES)
    found = await router.load_datasets(deadline=now() + 1)
    assert {name: router.owner(dataset) for name, dataset in found.items()} == {"A_1": stores["a"], "C_1": stores["c"]}
    assert found["A_1"] is stores["a"].datasets["A_1"]


@in_virtual_time
async def test_a_dataset_without_a_route_does_not_keep_the_others_from_being_served() -> None:
    bench = Bench()
    bench.stores["a"].datasets["LEFT_OVER"] = Dataset("LEFT_OVER", Properties(Kind.LATEST))
    assert "LEFT_OVER" not in await bench.router.load_datasets(deadline=now() + 1)
    with pytest.raises(FailedPrecondition, match="LEFT_OVER"):
        await bench.router.create("LEFT_OVER", Properties(Kind.LATEST), deadline=now() + 1)


@in_virtual_time
async def test_the_first_route_that_matches_decides() -> None:
    router = Router({"a": HeldStore(), "b": HeldStore()}, [Route("X_*", "a"), Route("*", "b")])
    assert [router.store_name(name) for name in ("X_1", "Y_1", "x_1", "X")] == ["a", "b", "b", "b"]


@in_virtual_time
async def test_create_goes_to_the_store_of_the_route_and_the_dataset_is_served_from_there() -> None:
    bench = Bench()
    made = await bench.router.create("A_2", Properties(Kind.TIMED), deadline=now() + 1)
    assert bench.router.owner(made) is bench.stores["a"]
    assert bench.stores["a"].datasets["A_2"] is made


@in_virtual_time
async def test_what_all_stores_can_do_is_what_the_router_can_do() -> None:
    stores: dict[str, KVStore] = {
        "a": HeldStore(engine="x", key_bytes_max=10, value_bytes_max=99, reads_inline=True),
        "b": HeldStore(engine="y", key_bytes_max=20, value_bytes_max=88),
    }
    capability = Router(stores, [Route("*", "a")]).capability
    assert (capability.engine, capability.key_bytes_max, capability.value_bytes_max, capability.reads_inline) == ("x+y", 10, 88, False)


class Broken(Catalogue):
    """Cannot be asked for its datasets and cannot be closed."""

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        raise Unavailable("away")

    async def close(self) -> None:
        raise Unavailable("stuck")


class Slow(Catalogue):
    """Takes its time to name its datasets."""

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        await asyncio.sleep(0.5)
        return await super().load_datasets(deadline=deadline)


@in_virtual_time
async def test_a_store_that_fails_leaves_no_question_to_another_behind() -> None:
    stores = {"a": Broken(), "b": Slow()}
    router = Router(stores, [Route("*", "a")])
    for question in (router.load_datasets, router.check):
        with pytest.raises(KVError):
            await question(deadline=now() + 1)
    assert stores["b"].loads == 2


@in_virtual_time
async def test_a_store_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    stores = {"a": Broken(), "b": Catalogue()}
    with pytest.raises(Unavailable):
        await Router(stores, [Route("*", "a")]).close()
    assert stores["b"].closed

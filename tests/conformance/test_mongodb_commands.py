"""The commands that a MongoDB server gets, on the engine that is to be had.

The conformance suite opens FerretDB 1 as the ``FerretDBStore`` that it asks for. Here it is written to as MongoDB is, with
the one concession that a command has one operation, since it does not say which of several it refused.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from chronoserve.kvstore.backends.mongodb import store as mongodb
from chronoserve.kvstore.backends.mongodb.connection import connect, make_indexes
from chronoserve.kvstore.backends.mongodb.store import MongoDBStore
from chronoserve.kvstore.port import KVStore
from chronoserve.kvstore.portions import Budget
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model.dataset import Kind
from chronoserve.model.values import TimedValue
from chronoserve.testing.clock import ManualClock
from chronoserve.testing.conformance import StoreBench
from tests.conformance.conftest import running_engine
from tests.engines.engine import Engine

pytestmark = pytest.mark.asyncio(loop_scope="session")


class OneByOne(MongoDBStore):
    updates_max = 1


@pytest_asyncio.fixture(loop_scope="session")
async def bench(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoreBench]:
    url = StoreURL.parse(running_engine("mongodb", engines, tmp_path_factory).url.rpartition("/")[0] + "/commands")
    clock = ManualClock()

    async def reopen() -> KVStore:
        databases = connect(url)
        await make_indexes(databases, asyncio.get_running_loop().time() + 20.0)
        return OneByOne(databases, clock)

    store = await reopen()
    yield StoreBench(store, clock, reopen)
    await store.close()


async def test_the_newest_wins_whatever_the_order_and_the_later_at_equal_times(bench: StoreBench) -> None:
    dataset = await bench.dataset()
    for millis, value, expected in ((20, b"a", b"a"), (10, b"b", b"a"), (20, b"c", b"c"), (30, b"d", b"d"), (29, b"e", b"d")):
        await bench.put(bench.write(dataset, b"k", value, millis), bench.write(dataset, b"new at %d" % millis, value, millis))
        assert [value.bytes for value in await bench.get(dataset, b"k")] == [expected]


async def test_an_expired_value_gives_way_to_an_older_one(bench: StoreBench) -> None:
    for kind in Kind:
        dataset = await bench.dataset(kind, ttl_millis=1000)
        await bench.put(bench.write(dataset, b"k", b"v", 9, b"token"))
        await bench.put(bench.write(dataset, b"k", b"v", 9, b"token"))
        bench.clock.advance(1000)
        assert await bench.get(dataset, b"k") == []
        millis = 9 if kind is Kind.TIMED else 8
        await bench.put(bench.write(dataset, b"k", b"v", millis, b"token"))
        assert await bench.get(dataset, b"k") == [TimedValue(b"v", millis)]


async def test_a_value_that_is_to_stay_takes_the_expiry_of_its_forerunner_away(bench: StoreBench) -> None:
    dataset = await bench.dataset(ttl_millis=1000)
    await bench.put(bench.write(dataset, b"k", b"v", 8))
    await bench.put(bench.write(dataset, b"k", b"w", 9)._replace(expires_at=0))
    bench.clock.advance(1000)
    assert await bench.get(dataset, b"k") == [TimedValue(b"w", 9)]


async def test_a_write_that_loses_does_not_read_the_value_it_loses_to(bench: StoreBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load of many rows that are there already would else be refused, for what the rows weigh together."""
    assert isinstance(bench.store, MongoDBStore)
    dataset = await bench.dataset()
    keys = [b"%d" % n for n in range(4)]
    await bench.put(*(bench.write(dataset, key, b"v" * 1000, 20) for key in keys))
    monkeypatch.setattr(bench.store.portions, "bytes_max", 2000)
    await bench.put(*(bench.write(dataset, key, b"older", 10) for key in keys))
    assert await bench.get(dataset, b"3") == [TimedValue(b"v" * 1000, 20)]


async def test_the_finds_of_a_call_have_one_budget_together(bench: StoreBench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(bench.store, MongoDBStore)
    monkeypatch.setattr(mongodb, "NAMES_MAX", 1)
    dataset = await bench.dataset()
    keys = [b"%d" % n for n in range(4)]
    await bench.put(*(bench.write(dataset, key, b"v" * 1000, 20) for key in keys))
    budgets: list[Budget] = []
    made = partial(_kept, budgets)
    monkeypatch.setattr(mongodb, "Budget", made)
    results = await bench.store.multi_get([(dataset, key, 0) for key in keys], deadline=bench.deadline())
    assert [len(result) > 1000 for result in results if isinstance(result, bytes)] == [True] * 4
    assert len(budgets) == 1


def _kept(budgets: list[Budget], bytes_max: int) -> Budget:
    budgets.append(Budget(bytes_max))
    return budgets[-1]

"""A read whose answers are far more than a message can hold ends before they are all in memory: on every store that asks an engine."""

import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chronoserve.kvstore.port import GetRequest, GetResult
from chronoserve.kvstore.portions import Portions
from chronoserve.model.dataset import Dataset, Kind
from chronoserve.model.errors import AnswerTooLarge
from chronoserve.testing.conformance import StoreBench
from tests.conformance.stores import STORES

ASKING = [store for store in STORES if store.engine]
"""The others have their values in this process's memory or on its disk, and count as they read."""

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("store_line", ASKING, ids=lambda store: store.name, indirect=True, scope="session"),
]

BUDGET = 4 << 20
KEYS = 64
HELD_BYTES_MAX = 3 * BUDGET
"""The answers, one reply of the engine, and what decoding it takes beside it."""


@asynccontextmanager
async def filled(bench: StoreBench, kind: Kind) -> AsyncIterator[tuple[Dataset, int]]:
    """A dataset of KEYS values of a MiB, or what the store takes, and their size; TIMED ones are under eight keys.

    They go afterwards: some engines walk over them whatever is asked, and every later test would wait for that.
    """
    dataset = await bench.dataset(kind)
    size = min(1 << 20, bench.store.capability.value_bytes_max)
    keys = [b"%d" % (n % 8 if dataset.timed else n) for n in range(KEYS)]
    try:
        for n, key in enumerate(keys):
            await bench.put(bench.write(dataset, key, b"%03d" % n + b"v" * (size - 3), n + 1))
        yield dataset, size
    finally:
        removed = await bench.store.delete([(dataset, key) for key in dict.fromkeys(keys)], deadline=bench.deadline())
    assert not any(removed), removed


@pytest.fixture
def portions(bench: StoreBench, monkeypatch: pytest.MonkeyPatch) -> Portions:
    found = getattr(bench.store, "portions", None)
    if found is None:
        pytest.skip("it does not ask in portions")
    fresh = Portions(min(1 << 20, bench.store.capability.value_bytes_max))
    fresh.bytes_max = BUDGET
    monkeypatch.setattr(bench.store, "portions", fresh)
    return fresh


async def read(bench: StoreBench, requests: list[GetRequest]) -> tuple[list[GetResult], int]:
    """The answers, and the most bytes that were held for them at once."""
    tracemalloc.start()
    try:
        results = await bench.store.multi_get(requests, deadline=bench.deadline())
        return results, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_latest_values_beyond_the_budget_are_refused(bench: StoreBench, portions: Portions) -> None:
    async with filled(bench, Kind.LATEST) as (dataset, size):
        for _ in range(2):
            results, held = await read(bench, [(dataset, b"%d" % n, 0) for n in range(KEYS)])
            answered = [result for result in results if isinstance(result, bytes)]
            assert results[: len(answered)] == answered
            assert len(answered) == BUDGET // (size + 20)
            assert all(isinstance(result, AnswerTooLarge) and "fewer keys" in result.message for result in results[len(answered) :])
            assert held < HELD_BYTES_MAX, held
        few = await bench.store.multi_get([(dataset, b"%d" % n, 0) for n in range(3)], deadline=bench.deadline())
        assert [len(result) > size for result in few if isinstance(result, bytes)] == [True] * 3


async def test_timed_values_beyond_the_budget_are_refused(bench: StoreBench, portions: Portions) -> None:
    async with filled(bench, Kind.TIMED) as (dataset, size):
        results, held = await read(bench, [(dataset, b"%d" % n, 0) for n in range(8)])
        assert isinstance(results[-1], AnswerTooLarge)
        assert held < 5 * 8 * size, "the values of a key come together from some engines: as bytes read, as rows and joined"
        (late,) = await bench.store.multi_get([(dataset, b"7", KEYS - 8)], deadline=bench.deadline())
        assert isinstance(late, bytes)
        assert late.count(b"055vvv") + late.count(b"063vvv") == 2


async def test_small_values_are_read_at_once_when_their_weight_is_known(bench: StoreBench, portions: Portions) -> None:
    dataset = await bench.dataset()
    await bench.put(*(bench.write(dataset, b"%d" % n, b"%d" % n, 1) for n in range(100)))
    requests = [(dataset, b"%d" % (n % 120), 0) for n in range(150)]
    for _ in range(3):
        results = await bench.store.multi_get(requests, deadline=bench.deadline())
        assert [result != b"" for result in results] == [n % 120 < 100 for n in range(150)]
    assert portions.fits(requests)

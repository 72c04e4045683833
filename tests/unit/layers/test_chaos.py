"""Chaos: fails by its seed, and never lies about a write."""

import pytest

from chronoserve.kvstore.backends.memory import MemoryStore
from chronoserve.kvstore.layers.chaos import Chaos
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import KVError, WriteOutcomeUnknown
from chronoserve.testing.clock import ManualClock
from tests.unit.layers.stores import write
from tests.virtual_time import in_virtual_time, now


async def run(seed: int) -> tuple[list[str], dict[bytes, bool]]:
    """Outcomes of writes of one key each, and whether the key is there afterwards."""
    store = MemoryStore(ManualClock())
    dataset = await store.create("D", Properties(Kind.LATEST), deadline=now() + 1)
    chaos = Chaos(store, seed=seed, call_failures=0.2, item_failures=0.5)
    outcomes: list[str] = []
    applied: dict[bytes, bool] = {}
    for n in range(100):
        outcomes += await put(chaos, dataset, [b"%d-%d" % (n, m) for m in range(3)])
    for n in range(100):
        for m in range(3):
            key = b"%d-%d" % (n, m)
            applied[key] = await store.multi_get([(dataset, key, 0)], deadline=now() + 1) != [b""]
    return outcomes, applied


async def put(chaos: Chaos, dataset: Dataset, keys: list[bytes]) -> list[str]:
    try:
        results = await chaos.multi_put([write(key, dataset=dataset) for key in keys], deadline=now() + 1)
    except KVError as error:
        return [type(error).__name__] * len(keys)
    return [type(result).__name__ if result else "ok" for result in results]


@in_virtual_time
async def test_a_seed_decides_everything() -> None:
    assert await run(7) == await run(7) != await run(8)


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_only_unknown_outcomes_leave_it_open_whether_a_write_was_applied(seed: int) -> None:
    outcomes, applied = await run(seed)
    unknown = set()
    for outcome, was_applied in zip(outcomes, applied.values(), strict=True):
        if outcome == WriteOutcomeUnknown.__name__:
            unknown.add(was_applied)
        else:
            assert was_applied == (outcome == "ok")
    assert unknown == {True, False}


@in_virtual_time
async def test_reads_fail_as_errors_and_never_as_misses() -> None:
    store = MemoryStore(ManualClock())
    dataset = await store.create("D", Properties(Kind.LATEST), deadline=now() + 1)
    await store.multi_put([write(b"a", dataset=dataset)], deadline=now() + 1)
    chaos = Chaos(store, seed=1, item_failures=0.5)
    results = await chaos.multi_get([(dataset, b"a", 0)] * 100, deadline=now() + 1)
    assert b"" not in results
    assert 20 < sum(isinstance(result, KVError) for result in results) < 80

"""All layers together, in the order of the composition root: what one bad store does to itself and to the others."""

import asyncio
import contextlib
import random
from collections.abc import Sequence

import pytest

from chronoserve.app.compose import layered
from chronoserve.kvstore.layers.admission import Admission
from chronoserve.kvstore.layers.chaos import Chaos
from chronoserve.kvstore.port import GetRequest, GetResult, PutRequest, PutResult
from chronoserve.kvstore.router import Route, Router
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import KVError, Unavailable, WriteOutcomeUnknown
from tests.unit.layers.stores import HeldStore, value_of, write
from tests.virtual_time import in_virtual_time, now, turns

GOOD = Dataset("GOOD", Properties(Kind.LATEST))
BAD = Dataset("BAD", Properties(Kind.LATEST))


class Store(HeldStore):
    """Answers after a while, or never."""

    def __init__(self, dataset: Dataset, seconds: float = 0.001) -> None:
        super().__init__(inflight_batches_max=64)
        self.dataset = dataset
        self.seconds: float | None = seconds
        self.calls = self.under_way = 0

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        return {self.dataset.name: self.dataset}

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        await self._work()
        return [value_of(request) for request in requests]

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        await self._work()
        return [None] * len(requests)

    async def _work(self) -> None:
        self.calls += 1
        self.under_way += 1
        try:
            await (asyncio.get_running_loop().create_future() if self.seconds is None else asyncio.sleep(self.seconds))
        finally:
            self.under_way -= 1


class Bench:
    """Two stores behind a router and admission, as ``compose`` builds them."""

    def __init__(self, calls_max: int = 16) -> None:
        self.good, self.bad = Store(GOOD), Store(BAD)
        self.router = Router(
            {"good": layered(self.good, "good", calls_max // 2), "bad": layered(self.bad, "bad", calls_max // 2)},
            [Route("GOOD", "good"), Route("BAD", "bad")],
        )
        self.top = Admission(self.router, inflight_calls_max=calls_max, inflight_keys_max=1000)

    async def read(self, dataset: Dataset, key: bytes = b"k", seconds: float = 1.0) -> GetResult:
        try:
            (result,) = await self.top.multi_get([(dataset, key, 0)], deadline=now() + seconds)
        except KVError as error:
            return error
        return result


@in_virtual_time
async def test_a_silent_store_with_patient_callers_does_not_slow_another() -> None:
    """Long before any deadline of theirs passes, and so before the breaker can know."""
    bench = Bench()
    await bench.router.load_datasets(deadline=now() + 1)
    bench.bad.seconds = None
    patient = [asyncio.create_task(bench.read(BAD, b"%d" % n, seconds=30)) for n in range(100)]
    await turns(20)
    for n in range(200):
        began = now()
        assert await bench.read(GOOD, b"%d" % n) == value_of((GOOD, b"%d" % n, 0))
        assert now() - began < 0.01
    for call in patient:
        call.cancel()
    await asyncio.wait(patient)
    await turns(5)
    assert (bench.bad.under_way, bench.top.calls, bench.top.keys) == (0, 0, 0)


@in_virtual_time
async def test_the_breaker_of_a_silent_store_opens_in_time_and_closes_soon_after_it_speaks() -> None:
    bench = Bench()
    await bench.router.load_datasets(deadline=now() + 1)
    bench.bad.seconds, began = None, now()
    calls = []
    while now() - began < 2:
        calls.append(asyncio.create_task(bench.read(BAD)))
        await asyncio.sleep(0.05)
    asked = bench.bad.calls
    for _ in range(20):
        at = now()
        assert isinstance(await bench.read(BAD), Unavailable)
        assert now() - at <= 0.1, "open means refused at once"
    assert bench.bad.calls - asked <= 2
    bench.bad.seconds, recovered = 0.001, now()
    while isinstance(await bench.read(BAD), KVError):  # noqa: ASYNC110 - a caller that comes back
        await asyncio.sleep(0.05)
    assert now() - recovered < 5
    await asyncio.gather(*calls)


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_a_store_that_fails_half_of_the_time_is_asked_a_tenth_more_at_most(seed: int) -> None:
    store = Store(BAD)
    top = layered(Chaos(store, seed=seed, call_failures=0.5), "bad")
    offered = 1000
    for n in range(offered):
        with contextlib.suppress(KVError):
            await top.multi_get([(BAD, b"%d" % n, 0)], deadline=now() + 1)
        await asyncio.sleep(0.01)
    assert store.calls <= 1.1 * offered + 10


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_rows_stay_aligned_under_duplicates_and_injected_failures(seed: int) -> None:
    rng = random.Random(seed)
    stores = {name: Store(dataset) for name, dataset in (("good", GOOD), ("bad", BAD))}
    router = Router(
        {name: layered(Chaos(store, seed=seed, call_failures=0.1, item_failures=0.3), name) for name, store in stores.items()},
        [Route("GOOD", "good"), Route("BAD", "bad")],
    )
    await router.load_datasets(deadline=now() + 1)
    right = wrong = 0

    async def caller() -> None:
        nonlocal right, wrong
        for _ in range(30):
            requests = [(rng.choice((GOOD, BAD)), b"%d" % rng.randrange(5), 0) for _ in range(rng.randrange(12))]
            try:
                results = await router.multi_get(requests, deadline=now() + 1)
            except KVError:
                continue
            assert len(results) == len(requests)
            for request, result in zip(requests, results, strict=True):
                assert isinstance(result, KVError) or result == value_of(request)
                wrong += isinstance(result, KVError)
                right += not isinstance(result, KVError)

    await asyncio.gather(*(caller() for _ in range(20)))
    assert min(right, wrong) > 100


class Ledger(Store):
    """Remembers which writes it has applied, in order."""

    def __init__(self) -> None:
        super().__init__(BAD)
        self.applied: list[bytes] = []

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        results = await super().multi_put(requests, deadline=deadline)
        self.applied += [put.key for put in requests]
        return results


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_a_write_is_reported_as_what_became_of_it(seed: int) -> None:
    """K7: ok was applied; any error but WriteOutcomeUnknown was not; and what cannot be replayed is applied once at most."""
    rng = random.Random(seed)
    ledger = Ledger()
    top = layered(Chaos(ledger, seed=seed, call_failures=0.1, item_failures=0.4), "bad")
    outcomes: dict[bytes, PutResult] = {}
    replayable: set[bytes] = set()
    for n in range(300):
        puts = [write(b"%d-%d" % (n, m), replayable=rng.random() < 0.5, dataset=BAD) for m in range(rng.randrange(1, 5))]
        replayable |= {put.key for put in puts if put.replayable}
        try:
            results = await top.multi_put(puts, deadline=now() + 1)
        except KVError as error:
            results = [error] * len(puts)
        outcomes.update({put.key: result for put, result in zip(puts, results, strict=True)})
        await asyncio.sleep(0.2)
    for key, outcome in outcomes.items():
        times = ledger.applied.count(key)
        if outcome is None:
            assert times >= 1
        elif not isinstance(outcome, WriteOutcomeUnknown):
            assert times == 0
        assert times <= 1 or key in replayable
    assert any(isinstance(outcome, WriteOutcomeUnknown) for outcome in outcomes.values())

"""How much is asked for at once, going by what keys have weighed."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.kvstore.port import GetRequest, GetResult
from chronoserve.kvstore.portions import SHARE, UNKNOWN_BYTES, Budget, Portions
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import AnswerTooLarge, DeadlinePassed, Unavailable

DATASET = Dataset("D_BATCH", Properties(Kind.LATEST))


def requests(keys: int, dataset: Dataset = DATASET) -> list[GetRequest]:
    return [(dataset, b"%d" % n, 0) for n in range(keys)]


class Engine:
    """Answers key n with ``sizes[n]`` bytes, an error for those below zero, and keeps how many keys it was asked for."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sizes
        self.asked: list[int] = []

    async def get(self, requests: Sequence[GetRequest]) -> list[GetResult]:
        self.asked.append(len(requests))
        sizes = [self.sizes[int(key)] for _, key, _ in requests]
        return [b"v" * size if size >= 0 else Unavailable("away") for size in sizes]

    async def read(self, portions: Portions, dataset: Dataset = DATASET) -> list[GetResult]:
        return await portions.read(requests(len(self.sizes), dataset), self.get)


async def test_small_values_are_one_portion_once_their_weight_is_known() -> None:
    portions, engine = Portions(), Engine([200] * 10_000)
    for _ in range(3):
        assert [len(result) for result in await engine.read(portions) if isinstance(result, bytes)] == [200] * 10_000
    first = portions.bytes_max // (SHARE * UNKNOWN_BYTES)
    assert engine.asked[0] == first
    assert engine.asked[-2:] == [10_000, 10_000]
    assert len(engine.asked) < 10
    assert portions.fits(requests(10_000))


async def test_a_missing_key_weighs_nothing_and_an_empty_call_is_answered() -> None:
    portions = Portions()
    assert await Engine([]).read(portions) == []
    assert await Engine([0] * 1000).read(portions) == [b""] * 1000


@given(sizes=st.lists(st.integers(-1, 300), max_size=60), bytes_max=st.integers(1, 4000), known=st.integers(1, 400))
async def test_what_fits_is_answered_in_order_and_the_rest_refused(sizes: list[int], bytes_max: int, known: int) -> None:
    portions, engine = Portions(key_bytes=known), Engine(sizes)
    portions.bytes_max = bytes_max
    results = await engine.read(portions)
    assert len(results) == len(sizes)
    fitting = [isinstance(result, AnswerTooLarge) for result in [*results, AnswerTooLarge("")]].index(True)
    assert all(isinstance(result, AnswerTooLarge) for result in results[fitting:])
    assert [len(result) if isinstance(result, bytes) else -1 for result in results[:fitting]] == sizes[:fitting]
    total = sum(max(0, size) for size in sizes[:fitting])
    assert total <= bytes_max
    assert fitting == len(sizes) or total + max(0, sizes[fitting]) > bytes_max


async def test_values_that_have_become_large_are_asked_for_in_few() -> None:
    portions = Portions(key_bytes=1)
    portions.bytes_max = 1000
    assert isinstance((await Engine([100] * 200).read(portions))[-1], AnswerTooLarge)
    engine = Engine([100] * 200)
    await engine.read(portions)
    assert sum(engine.asked) <= 12


async def test_an_answer_that_is_too_large_alone_ends_the_batch() -> None:
    async def get(requests: Sequence[GetRequest]) -> list[GetResult]:
        return [AnswerTooLarge("a series of a key") if key == b"1" else b"v" for _, key, _ in requests]

    results = await Portions(key_bytes=1).read([(DATASET, b"%d" % n, 0) for n in range(3)], get)
    assert [type(result) for result in results] == [bytes, AnswerTooLarge, AnswerTooLarge]


async def test_what_fails_does_not_make_large_values_forgotten() -> None:
    """Or the first batch after an outage would be asked for at once, and be more than the process holds."""
    portions = Portions()
    for _ in range(10):
        assert all(isinstance(result, Unavailable) for result in await Engine([-1] * 1000).read(portions))
    engine = Engine([1 << 20] * 200)
    await engine.read(portions)
    assert max(engine.asked) <= portions.bytes_max // (SHARE * UNKNOWN_BYTES)


async def test_a_few_small_answers_do_not_make_large_values_forgotten_and_many_make_them() -> None:
    portions = Portions()
    for _ in range(5):
        await Engine([200]).read(portions)
    assert not portions.fits(requests(32))
    for _ in range(300):
        await Engine([200]).read(portions)
    assert portions.fits(requests(200))


def test_a_budget_is_shared_and_stays_spent() -> None:
    budget = Budget(10)
    budget.take(4)
    budget.take(6)
    for _ in range(2):
        with pytest.raises(AnswerTooLarge):
            budget.take(1)


async def test_a_dataset_of_large_values_is_remembered_beside_one_of_small_values() -> None:
    """Reads of the small ones are one portion, and do not make the large ones be asked for at once."""
    portions, heavy = Portions(), Dataset("HEAVY", Properties(Kind.LATEST))
    for _ in range(5):
        await Engine([200] * 300).read(portions)
    await Engine([1 << 20] * 10).read(portions, heavy)
    for _ in range(20):
        small = Engine([200] * 300)
        await small.read(portions)
        assert small.asked == [300]
    large = Engine([1 << 20] * 200)
    assert isinstance((await large.read(portions, heavy))[-1], AnswerTooLarge)
    assert max(large.asked) <= 16
    together = [*requests(300), *requests(20, heavy)]
    assert portions.fits(together[:310])
    assert not portions.fits(together)
    while not portions.fits(requests(1000, heavy)):
        await Engine([200] * 1000).read(portions, heavy)
    assert portions.fits([*requests(1000), *requests(1000, heavy)])


async def test_what_came_before_a_failure_is_answered() -> None:
    async def get(some: Sequence[GetRequest]) -> list[GetResult]:
        if some[0][1] != b"0":
            raise DeadlinePassed("no time was left")
        return [b"v"] * len(some)

    portions = Portions()
    results = await portions.read(requests(100), get)
    first = portions.bytes_max // (SHARE * UNKNOWN_BYTES)
    assert results[:first] == [b"v"] * first
    assert [type(result) for result in results[first:]] == [DeadlinePassed] * (100 - first)

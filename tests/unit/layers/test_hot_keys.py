"""Hot keys: the sample is exact in its steps, the sketch keeps what is frequent, and no key is kept."""

import asyncio
import random
from collections import Counter

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.kvstore.layers.hot_keys import COUNTERS_MAX, SAMPLE, WINDOW_SECONDS, Frequent, HotKey, HotKeys, HotReport, merged
from tests.unit.layers.stores import ScriptedStore, read
from tests.virtual_time import in_virtual_time, now


@given(st.lists(st.integers(1, 100), max_size=30))
def test_each_key_that_the_step_falls_on_is_counted(sizes: list[int]) -> None:
    @in_virtual_time
    async def check() -> None:
        layer = HotKeys(ScriptedStore())
        every: list[bytes] = []
        for size in sizes:
            keys = [b"%d" % (len(every) + at) for at in range(size)]
            every += keys
            await layer.multi_get(read(*keys), deadline=now() + 1)
        counted = {key_hash for _, key_hash in layer._now.counts}
        assert counted == {xxhash.xxh3_64_intdigest(key) for key in every[SAMPLE - 1 :: SAMPLE]}
        assert layer._now.total == len(every) // SAMPLE

    check()


@in_virtual_time
async def test_the_hottest_come_first_with_their_share() -> None:
    layer = HotKeys(ScriptedStore())
    for at in range(SAMPLE * 100):
        await layer.multi_get(read(b"hot" if at % 4 else b"cold%d" % at), deadline=now() + 1)
    report = layer.report(3)
    hottest, *others = report.keys
    assert report.reads == 100 * SAMPLE
    assert hottest.key_hash == xxhash.xxh3_64(b"hot").hexdigest()
    assert hottest.reads == 75 * SAMPLE
    assert all(other.reads <= SAMPLE for other in others)
    assert layer.report(0).keys == []


@in_virtual_time
async def test_the_report_forgets() -> None:
    layer = HotKeys(ScriptedStore())

    async def ask(key: bytes) -> None:
        await layer.multi_get(read(*[key] * SAMPLE), deadline=now() + 1)

    await ask(b"a")
    await asyncio.sleep(WINDOW_SECONDS)
    await ask(b"b")
    assert len(layer.report(5).keys) == 2
    await asyncio.sleep(WINDOW_SECONDS)
    await ask(b"c")
    assert {each.key_hash for each in layer.report(5).keys} == {xxhash.xxh3_64(key).hexdigest() for key in (b"b", b"c")}
    await asyncio.sleep(3 * WINDOW_SECONDS)
    await ask(b"d")
    assert [each.key_hash for each in layer.report(5).keys] == [xxhash.xxh3_64(b"d").hexdigest()]


def test_reports_of_several_processes_become_one() -> None:
    first = HotReport(100, [HotKey("A", "aa", 50), HotKey("A", "bb", 10)])
    second = HotReport(200, [HotKey("A", "bb", 60), HotKey("B", "aa", 20)])
    assert merged([first, second], 2) == HotReport(300, [HotKey("A", "bb", 70), HotKey("A", "aa", 50)])
    assert merged([], 5) == HotReport(0, [])


def test_the_sketch_is_bounded_and_wrong_by_no_more_than_its_error() -> None:
    chance = random.Random(7)
    sketch = Frequent()
    truth = Counter[tuple[str, int]]()
    for _ in range(50_000):
        item = "D", int(chance.paretovariate(0.6)) % 20_000
        truth[item] += 1
        sketch.add(item)
        assert len(sketch.counts) <= COUNTERS_MAX
    assert sketch.total == 50_000
    for item, count in truth.items():
        assert count - sketch.error <= sketch.counts.get(item, 0) <= count
    hottest = [item for item, _ in truth.most_common(5)]
    assert [item for item, _ in Counter(sketch.counts).most_common(5)] == hottest

"""The conformance suite of the KVStore port: clauses K1-K11 of spec/product.md §4, one test class for every store.

A back end's tests subclass ``KVStoreConformance`` and provide one fixture, ``bench``: a ``StoreBench`` around an open
store. Everything here talks to the store through its port, on a real engine.
"""

import asyncio
import itertools
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import xxhash

from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import InvalidRequest, KVError, Unsupported, WriteOutcomeUnknown
from chronoserve.model.values import TimedValue
from chronoserve.testing.clock import ManualClock

T = TypeVar("T")

CALL_SECONDS = 20.0
"""Time limit of one call in the suite: generous, because engines share a small machine."""


class Engine(Protocol):
    """The engine behind a store, as far as faults need it."""

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""

    def start(self) -> None:
        """Start it again on the same address and data; returns when it listens."""

    def pause(self) -> None:
        """Stop it from answering without closing anything."""

    def resume(self) -> None: ...


@dataclass
class StoreBench:
    """An open store with what the suite needs around it."""

    store: KVStore
    clock: ManualClock
    reopen: Callable[[], Awaitable[KVStore]]
    """Another, independent client of the same engine and data: what a second server process would be."""
    engine: Engine | None = None
    except_for: dict[str, str] = field(default_factory=dict)
    """Tests that this store is exempt from, each with its reason."""

    def deadline(self, seconds: float = CALL_SECONDS) -> float:
        return asyncio.get_running_loop().time() + seconds

    async def dataset(self, kind: Kind = Kind.LATEST, ttl_millis: int = 0) -> Dataset:
        """A new dataset that no other test uses."""
        name = f"T_{uuid.uuid4().hex[:12].upper()}_{'STREAMING' if kind is Kind.TIMED else 'BATCH'}"
        return await self.store.create(name, Properties(kind, ttl_millis), deadline=self.deadline())

    def write(self, dataset: Dataset, key: bytes, value: bytes, millis: int, token: bytes | None = None) -> PutRequest:
        """A completed write, as the gateway makes it."""
        ttl = dataset.properties.ttl_millis
        nonce = xxhash.xxh3_128_digest(b"v" + value if token is None else b"t" + token)
        return PutRequest(dataset, key, values.encode(value, millis), millis, nonce, self.clock() + ttl if ttl else 0, token is not None)

    async def put(self, *puts: PutRequest) -> None:
        """Apply writes that must succeed."""
        results = await self.store.multi_put(puts, deadline=self.deadline())
        assert results == [None] * len(puts), results

    async def get(self, dataset: Dataset, key: bytes, after: int = 0) -> list[TimedValue]:
        """Read one key that must not fail."""
        (result,) = await self.store.multi_get([(dataset, key, after)], deadline=self.deadline())
        return read(result)


def read(result: GetResult) -> list[TimedValue]:
    """The values of a result that must not be an error."""
    if isinstance(result, KVError):
        raise AssertionError(f"expected values, got {result!r}") from result  # noqa: TRY004 - it is a failed expectation
    return values.decode(result)


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, *, seconds: float = CALL_SECONDS, pause: float = 0.01) -> None:
    """Poll until ``condition`` holds; fails naming ``what`` after ``seconds``."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not await condition():
        assert loop.time() < end, f"{what} did not happen within {seconds} s"
        await asyncio.sleep(pause)


class KVStoreConformance:
    """Subclass it, give it the fixture ``bench``, and every test must pass."""

    # K1: a batch answers every request, in order

    async def test_k1_answers_align_under_duplicates_and_misses(self, bench: StoreBench) -> None:
        latest, timed = await bench.dataset(), await bench.dataset(Kind.TIMED)
        keys = [b"key-%03d" % n for n in range(60)]
        await bench.put(*(bench.write(latest, key, b"L" + key, 1000) for key in keys[::2]))
        await bench.put(*(bench.write(timed, key, b"T" + key, 2000) for key in keys[::3]))
        rng = random.Random(7)
        for size in (0, 1, 2, 7, 100, 1000):
            requests: list[GetRequest] = [(rng.choice((latest, timed)), rng.choice(keys), 0) for _ in range(size)]
            results = await bench.store.multi_get(requests, deadline=bench.deadline())
            assert len(results) == size
            for (dataset, key, _), result in zip(requests, results, strict=True):
                index = keys.index(key)
                present = index % 2 == 0 if dataset is latest else index % 3 == 0
                mark, millis = (b"L", 1000) if dataset is latest else (b"T", 2000)
                assert read(result) == ([TimedValue(mark + key, millis)] if present else [])

    async def test_k1_a_put_of_many_keys_answers_each_in_order(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        puts = [bench.write(dataset, b"%d" % n, b"v%d" % n, n) for n in range(500)]
        assert await bench.store.multi_put(puts, deadline=bench.deadline()) == [None] * 500
        results = await bench.store.multi_get([(dataset, b"%d" % n, 0) for n in range(500)], deadline=bench.deadline())
        assert [read(result) for result in results] == [[TimedValue(b"v%d" % n, n)] for n in range(500)]

    async def test_k1_empty_batches_are_answered_empty(self, bench: StoreBench) -> None:
        assert await bench.store.multi_get([], deadline=bench.deadline()) == []
        assert await bench.store.multi_put([], deadline=bench.deadline()) == []

    async def test_k1_values_survive_byte_for_byte(self, bench: StoreBench) -> None:
        for kind in Kind:
            dataset = await bench.dataset(kind)
            odd = [b"\x00", b"\xff" * 3, b"a\r\nb", b'{"$gt": ""}', b"'; DROP TABLE x; --", bytes(range(256)), b"k" * 200, b"k:1", b"k"]
            await bench.put(*(bench.write(dataset, key, key[::-1] + b"\x00", 5) for key in odd))
            await bench.put(bench.write(dataset, b"empty", b"", 6), bench.write(dataset, b"zero", b"z", 0))
            for key in odd:
                assert await bench.get(dataset, key) == [TimedValue(key[::-1] + b"\x00", 5)]
            assert await bench.get(dataset, b"empty") == [TimedValue(b"", 6)]
            assert await bench.get(dataset, b"zero") == [TimedValue(b"z", 0)]

    async def test_k1_large_values_are_kept(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        size = min(300_000, bench.store.capability.value_bytes_max)
        value = random.Random(1).randbytes(size)
        await bench.put(*(bench.write(dataset, b"%d" % n, value, 5) for n in range(8)))
        results = await bench.store.multi_get([(dataset, b"%d" % n, 0) for n in range(8)], deadline=bench.deadline())
        assert [read(result) for result in results] == [[TimedValue(value, 5)]] * 8

    async def test_k1_keys_of_the_largest_size_are_kept(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        size = min(bench.store.capability.key_bytes_max, 4096)
        one, other = b"k" * size, b"k" * (size - 1) + b"l"
        await bench.put(bench.write(dataset, one, b"1", 1), bench.write(dataset, other, b"2", 1))
        assert await bench.get(dataset, one) == [TimedValue(b"1", 1)]
        assert await bench.get(dataset, other) == [TimedValue(b"2", 1)]

    async def test_keys_do_not_leak_between_datasets(self, bench: StoreBench) -> None:
        one, other, timed = await bench.dataset(), await bench.dataset(), await bench.dataset(Kind.TIMED)
        await bench.put(bench.write(one, b"k", b"1", 1))
        assert await bench.get(other, b"k") == []
        assert await bench.get(timed, b"k") == []

    # K2: kinds

    async def test_k2_latest_keeps_the_newest_event_time_in_any_order_of_arrival(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        for order in itertools.permutations((10, 20, 30)):
            key = b"-".join(b"%d" % n for n in order)
            for millis in order:
                await bench.put(bench.write(dataset, key, b"v%d" % millis, millis))
            assert await bench.get(dataset, key) == [TimedValue(b"v30", 30)]

    async def test_k2_latest_within_one_call(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        puts = [bench.write(dataset, b"k", b"v%d" % n, millis) for n, millis in enumerate((5, 9, 7, 9, 8))]
        await bench.put(*puts)
        assert await bench.get(dataset, b"k") == [TimedValue(b"v3", 9)]

    async def test_k2_at_equal_times_the_later_write_wins(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        other = await bench.reopen()
        try:
            theirs = (await other.load_datasets(deadline=bench.deadline()))[dataset.name]
            for millis in (1000, bench.clock()):
                for n, value in enumerate((b"b", b"c", b"a", b"zz", b"a")):
                    key = b"k%d" % millis
                    if n % 2:
                        write = bench.write(dataset, key, value, millis)._replace(dataset=theirs)
                        assert await other.multi_put([write], deadline=bench.deadline()) == [None]
                    else:
                        await bench.put(bench.write(dataset, key, value, millis))
                    assert await bench.get(dataset, key) == [TimedValue(value, millis)]
        finally:
            await other.close()

    async def test_k2_concurrent_writers_agree_on_the_newest(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        rng = random.Random(3)
        times = list(range(1, 41))
        rng.shuffle(times)
        keys = [b"a", b"b", b"c"]
        await asyncio.gather(*(bench.put(*(bench.write(dataset, key, b"v%d" % t, t) for key in keys)) for t in times))
        for key in keys:
            assert await bench.get(dataset, key) == [TimedValue(b"v40", 40)]

    async def test_k2_timed_returns_every_value_oldest_first(self, bench: StoreBench) -> None:
        dataset = await bench.dataset(Kind.TIMED)
        times = [50, 10, 40, 20, 30]
        await bench.put(*(bench.write(dataset, b"k", b"v%d" % t, t) for t in times[:3]))
        await bench.put(*(bench.write(dataset, b"k", b"v%d" % t, t) for t in times[3:]))
        assert await bench.get(dataset, b"k") == [TimedValue(b"v%d" % t, t) for t in sorted(times)]

    async def test_k2_timed_keeps_many_values_of_one_key(self, bench: StoreBench) -> None:
        dataset = await bench.dataset(Kind.TIMED)
        base = 1_700_000_000_000
        await bench.put(*(bench.write(dataset, b"hot", b"%d" % n, base + n) for n in range(700)))
        assert await bench.get(dataset, b"hot") == [TimedValue(b"%d" % n, base + n) for n in range(700)]
        assert len(await bench.get(dataset, b"hot", base + 650)) == 50

    # K3: after_ts_millis

    async def test_k3_after_is_inclusive(self, bench: StoreBench) -> None:
        latest, timed = await bench.dataset(), await bench.dataset(Kind.TIMED)
        await bench.put(bench.write(latest, b"k", b"v", 100))
        await bench.put(*(bench.write(timed, b"k", b"%d" % t, t) for t in (99, 100, 101)))
        assert await bench.get(latest, b"k", 100) == [TimedValue(b"v", 100)]
        assert await bench.get(latest, b"k", 101) == []
        assert [t.millis for t in await bench.get(timed, b"k", 100)] == [100, 101]
        assert [t.millis for t in await bench.get(timed, b"k", 102)] == []
        mixed: list[GetRequest] = [(timed, b"k", 101), (latest, b"k", 101), (timed, b"k", 0), (latest, b"k", 0), (timed, b"k", 101)]
        results = await bench.store.multi_get(mixed, deadline=bench.deadline())
        assert [[t.millis for t in read(result)] for result in results] == [[101], [], [99, 100, 101], [100], [101]]

    # K4: identity of TIMED values

    async def test_k4_writing_a_timed_value_again_changes_nothing(self, bench: StoreBench) -> None:
        dataset = await bench.dataset(Kind.TIMED)
        for _ in range(3):
            await bench.put(bench.write(dataset, b"k", b"v", 7), bench.write(dataset, b"k", b"w", 7, b"token"))
        assert sorted(await bench.get(dataset, b"k")) == [TimedValue(b"v", 7), TimedValue(b"w", 7)]
        await bench.put(bench.write(dataset, b"k", b"other text", 7, b"token"))
        assert sorted(await bench.get(dataset, b"k")) == [TimedValue(b"v", 7), TimedValue(b"w", 7)]

    async def test_k4_values_at_one_millisecond_are_kept_apart(self, bench: StoreBench) -> None:
        dataset = await bench.dataset(Kind.TIMED)
        await bench.put(bench.write(dataset, b"k", b"a", 7), bench.write(dataset, b"k", b"b", 7))
        await bench.put(bench.write(dataset, b"k", b"same", 8, b"1"), bench.write(dataset, b"k", b"same", 8, b"2"))
        found = await bench.get(dataset, b"k")
        assert sorted(found) == [TimedValue(b"a", 7), TimedValue(b"b", 7), TimedValue(b"same", 8), TimedValue(b"same", 8)]
        assert [t.millis for t in found] == [7, 7, 8, 8]

    # K6, K10: datasets and capabilities

    async def test_k6_create_answers_the_dataset_that_is_there(self, bench: StoreBench) -> None:
        dataset = await bench.dataset(Kind.TIMED, ttl_millis=3_600_000)
        again = await bench.store.create(dataset.name, Properties(Kind.LATEST), deadline=bench.deadline())
        assert again is dataset
        assert again.properties == Properties(Kind.TIMED, 3_600_000)

    async def test_k6_concurrent_creates_agree(self, bench: StoreBench) -> None:
        other = await bench.reopen()
        try:
            name = f"T_{uuid.uuid4().hex}"
            one = bench.store.create(name, Properties(Kind.LATEST, 1000), deadline=bench.deadline())
            two = other.create(name, Properties(Kind.TIMED, 2000), deadline=bench.deadline())
            first, second = await asyncio.gather(one, two)
            assert first.properties == second.properties
            assert (await bench.store.load_datasets(deadline=bench.deadline()))[name] is first
        finally:
            await other.close()

    async def test_k6_another_client_sees_datasets_and_values(self, bench: StoreBench) -> None:
        dataset = await bench.dataset(Kind.TIMED, ttl_millis=3_600_000)
        await bench.put(bench.write(dataset, b"k", b"v", 7))
        other = await bench.reopen()
        try:
            theirs = (await other.load_datasets(deadline=bench.deadline()))[dataset.name]
            assert theirs.properties == dataset.properties
            (result,) = await other.multi_get([(theirs, b"k", 0)], deadline=bench.deadline())
            assert read(result) == [TimedValue(b"v", 7)]
        finally:
            await other.close()

    async def test_k10_what_is_not_declared_is_refused(self, bench: StoreBench) -> None:
        capability = bench.store.capability
        dataset = await bench.dataset()
        await bench.put(bench.write(dataset, b"k", b"v", 7))
        if not capability.scan:
            await expect(Unsupported, bench.store.scan(dataset, b"", keys_max=1, bytes_max=1, deadline=bench.deadline()))
        if not capability.delete:
            await expect(Unsupported, bench.store.delete([(dataset, b"k")], deadline=bench.deadline()))
            assert await bench.get(dataset, b"k") == [TimedValue(b"v", 7)]

    # K9: expiry

    async def test_k9_expired_values_are_not_returned(self, bench: StoreBench) -> None:
        if not bench.store.capability.ttl:
            return
        for kind in Kind:
            short, forever = await bench.dataset(kind, ttl_millis=400), await bench.dataset(kind)
            await bench.put(bench.write(forever, b"k", b"v", 7))
            await bench.put(bench.write(short, b"k", b"old", 7), bench.write(short, b"k2", b"old", 8))
            bench.clock.advance(400)

            async def gone(dataset: Dataset = short) -> bool:
                requests: list[GetRequest] = [(dataset, b"k", 0), (dataset, b"k2", 0), (dataset, b"k", 7)]
                return await bench.store.multi_get(requests, deadline=bench.deadline()) == [b"", b"", b""]

            await eventually(gone, "expiry")
            assert await bench.get(forever, b"k") == [TimedValue(b"v", 7)]
            await bench.put(bench.write(short, b"k", b"new", 7)._replace(expires_at=bench.clock() + 3_600_000))
            assert await bench.get(short, b"k") == [TimedValue(b"new", 7)]

    # scan and delete

    async def test_delete_removes_every_value(self, bench: StoreBench) -> None:
        if not bench.store.capability.delete:
            return
        for kind in Kind:
            dataset = await bench.dataset(kind)
            now = bench.clock()
            await bench.put(*(bench.write(dataset, key, b"v%d" % t, t) for key in (b"a", b"b") for t in (now - 2, now - 1)))
            results = await bench.store.delete([(dataset, b"a"), (dataset, b"absent"), (dataset, b"a")], deadline=bench.deadline())
            assert results == [None] * 3
            assert await bench.get(dataset, b"a") == []
            assert len(await bench.get(dataset, b"b")) == (2 if kind is Kind.TIMED else 1)
            await bench.put(bench.write(dataset, b"a", b"back", now - 5))
            assert await bench.get(dataset, b"a") == [TimedValue(b"back", now - 5)]

    async def test_scan_pages_through_each_key_once(self, bench: StoreBench) -> None:
        if not bench.store.capability.scan:
            return
        for kind in Kind:
            dataset, other = await bench.dataset(kind), await bench.dataset(kind)
            expected = {b"key-%03d" % n: [TimedValue(b"v%d" % n, n + 1)] for n in range(130)}
            await bench.put(*(bench.write(dataset, key, v.bytes, v.millis) for key, (v,) in expected.items()))
            await bench.put(bench.write(other, b"stranger", b"v", 1))
            if kind is Kind.TIMED:
                await bench.put(bench.write(dataset, b"key-007", b"more", 9))
                expected[b"key-007"].append(TimedValue(b"more", 9))
            for keys_max, bytes_max in ((7, 1 << 20), (1000, 1 << 20), (1000, 100)):
                found: list[tuple[bytes, list[TimedValue]]] = []
                async for entries in self._pages(bench, dataset, keys_max, bytes_max):
                    found += [(key, values.decode(data)) for key, data in entries]
                assert len(found) == len(expected)
                assert dict(found) == expected
            empty = await bench.dataset(kind)
            last = await bench.store.scan(empty, b"", keys_max=5, bytes_max=1 << 20, deadline=bench.deadline())
            assert last.entries == []
            assert last.next_token == b""

    @staticmethod
    async def _pages(bench: StoreBench, dataset: Dataset, keys_max: int, bytes_max: int) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        token = b""
        for _ in range(10_000):
            page = await bench.store.scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=bench.deadline())
            assert len(page.entries) <= keys_max
            yield page.entries
            token = page.next_token
            if not token:
                return
        raise AssertionError("the scan does not end")

    async def test_scan_refuses_a_token_that_is_not_its_own(self, bench: StoreBench) -> None:
        if not bench.store.capability.scan or "scan_token" in bench.except_for:
            return
        dataset = await bench.dataset()
        for token in (b"\xff\xfe not a token" * 40, b"\x00"):
            try:
                page = await bench.store.scan(dataset, token, keys_max=5, bytes_max=1 << 20, deadline=bench.deadline())
            except InvalidRequest:
                continue
            assert page.entries == [], "a token is either refused or a position"

    # deadlines, cancellation, faults

    async def test_a_call_after_its_deadline_is_an_error_not_a_miss(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        await bench.put(bench.write(dataset, b"k", b"v", 1))
        if bench.store.capability.reads_inline:
            return
        results = await outcome(bench.store.multi_get([(dataset, b"k", 0)] * 3, deadline=bench.deadline(-1.0)), 3)
        assert all(isinstance(result, KVError) for result in results), results
        puts = [bench.write(dataset, b"k", b"late", 2)]
        (put,) = await outcome(bench.store.multi_put(puts, deadline=bench.deadline(-1.0)), 1)
        assert isinstance(put, KVError)
        assert not isinstance(put, WriteOutcomeUnknown), "nothing was sent, so the outcome is known"
        assert await bench.get(dataset, b"k") == [TimedValue(b"v", 1)]

    async def test_cancelled_calls_never_give_their_answers_to_others(self, bench: StoreBench) -> None:
        dataset = await bench.dataset()
        keys = [b"key-%02d" % n for n in range(50)]
        await bench.put(*(bench.write(dataset, key, b"value of " + key, 1) for key in keys))
        rng = random.Random(11)
        loop = asyncio.get_running_loop()
        before = len(asyncio.all_tasks())

        async def call(patience: float | None) -> None:
            chosen = [rng.choice(keys) for _ in range(rng.randint(1, 20))]
            pending = loop.create_task(bench.store.multi_get([(dataset, key, 0) for key in chosen], deadline=bench.deadline()))
            if patience is not None:
                loop.call_later(patience, pending.cancel)
            try:
                results = await pending
            except asyncio.CancelledError:
                return
            assert [read(result) for result in results] == [[TimedValue(b"value of " + key, 1)] for key in chosen]

        for _ in range(20):
            await asyncio.gather(*(call(rng.choice((None, 0.0, rng.random() / 500))) for _ in range(25)))

        async def settled() -> bool:
            return len(asyncio.all_tasks()) <= before

        await eventually(settled, "end of the cancelled calls' tasks")

    async def test_engine_gone_and_back(self, bench: StoreBench) -> None:
        if bench.engine is None:
            return
        dataset = await bench.dataset()
        await bench.put(bench.write(dataset, b"k", b"v", 1))
        bench.engine.kill()
        results = await outcome(bench.store.multi_get([(dataset, b"k", 0)] * 3, deadline=bench.deadline(2.0)), 3)
        assert all(isinstance(result, KVError) for result in results), results
        (put,) = await outcome(bench.store.multi_put([bench.write(dataset, b"k2", b"v", 1)], deadline=bench.deadline(2.0)), 1)
        assert isinstance(put, KVError)
        bench.engine.start()

        async def answers() -> bool:
            (result,) = await outcome(bench.store.multi_get([(dataset, b"k", 0)], deadline=bench.deadline(1.0)), 1)
            return not isinstance(result, KVError)

        await eventually(answers, "the first good answer after the engine listens", seconds=1.0)
        if bench.store.capability.durable:
            assert await bench.get(dataset, b"k") == [TimedValue(b"v", 1)]

    async def test_k7_k11_acknowledged_writes_survive_a_kill_in_mid_put(self, bench: StoreBench) -> None:
        if bench.engine is None:
            return
        dataset = await bench.dataset()
        acknowledged: dict[bytes, bytes] = {}
        refused: set[bytes] = set()
        written = itertools.count()
        killed = asyncio.Event()

        async def writer() -> None:
            while not killed.is_set():
                batch = [bench.write(dataset, b"key-%d" % n, b"v%d" % n, 1) for n in itertools.islice(written, 20)]
                results = await outcome(bench.store.multi_put(batch, deadline=bench.deadline(3.0)), len(batch))
                for put, result in zip(batch, results, strict=True):
                    if result is None:
                        acknowledged[put.key] = put.timed_value
                    elif not isinstance(result, WriteOutcomeUnknown):
                        refused.add(put.key)

        writers = [asyncio.create_task(writer()) for _ in range(4)]

        async def busy() -> bool:
            return len(acknowledged) >= 100

        await eventually(busy, "a hundred acknowledged writes")
        bench.engine.kill()
        killed.set()
        await asyncio.gather(*writers)
        bench.engine.start()

        async def answers() -> bool:
            (result,) = await outcome(bench.store.multi_get([(dataset, b"key-0", 0)], deadline=bench.deadline(1.0)), 1)
            return not isinstance(result, KVError)

        await eventually(answers, "a good answer after the restart", seconds=60.0)
        keys = [*acknowledged, *refused]
        results = await bench.store.multi_get([(dataset, key, 0) for key in keys], deadline=bench.deadline(60.0))
        for key, got in zip(keys, results, strict=True):
            assert not isinstance(got, KVError), got
            if key in refused:
                assert got == b"", "a write that was reported as not applied was applied"
            elif bench.store.capability.durable:
                assert got == acknowledged[key], "an acknowledged write was lost"

    async def test_k7_a_silent_engine_makes_writes_unknown_and_reads_errors(self, bench: StoreBench) -> None:
        if bench.engine is None:
            return
        dataset = await bench.dataset()
        await bench.put(bench.write(dataset, b"k", b"v", 1))
        loop = asyncio.get_running_loop()
        bench.engine.pause()
        try:
            began = loop.time()
            get = outcome(bench.store.multi_get([(dataset, b"k", 0)] * 2, deadline=bench.deadline(0.5)), 2)
            put = outcome(bench.store.multi_put([bench.write(dataset, b"k", b"w", 2)], deadline=bench.deadline(0.5)), 1)
            gets, puts = await asyncio.gather(get, put)
            assert loop.time() - began < 1.5, "the deadline was not kept"
            assert all(isinstance(result, KVError) for result in gets), gets
            assert isinstance(puts[0], WriteOutcomeUnknown), puts
        finally:
            bench.engine.resume()

        async def answers() -> bool:
            (result,) = await outcome(bench.store.multi_get([(dataset, b"k", 0)], deadline=bench.deadline(2.0)), 1)
            return not isinstance(result, KVError)

        await eventually(answers, "a good answer after the pause", seconds=60.0)
        assert await bench.get(dataset, b"k") in ([TimedValue(b"v", 1)], [TimedValue(b"w", 2)])


async def outcome(call: Awaitable[list[T]], size: int) -> list[T | KVError]:
    """The call's results, or the error that it raised in the place of each."""
    try:
        return list(await call)
    except KVError as error:
        return [error] * size


async def expect(error: type[KVError], call: Awaitable[object]) -> None:
    """The call must raise ``error``."""
    try:
        await call
    except error:
        return
    raise AssertionError(f"expected {error.__name__}")


__all__ = ["Engine", "KVStoreConformance", "StoreBench", "eventually", "expect", "outcome", "read"]

"""What DynamoDB leaves unprocessed (K8, R11): the real emulator behind a proxy that holds items of every batch back.

``CHRONOSERVE_LEFTOVER_LOOKUPS`` is the number of keys that the large test asks for; the bar R11 asks for a million.
"""

import base64
import os
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from chronoserve.kvstore.registry import open_store
from chronoserve.model.dataset import Kind
from chronoserve.model.errors import DeadlinePassed, Throttled, WriteOutcomeUnknown
from chronoserve.model.values import TimedValue
from chronoserve.testing.clock import ManualClock
from chronoserve.testing.conformance import StoreBench, read
from tests.conformance.conftest import running_engine
from tests.engines.dynamodb import DynamoDB
from tests.engines.engine import Engine

LOOKUPS = int(os.environ.get("CHRONOSERVE_LEFTOVER_LOOKUPS", "2000"))
LOOKUPS_AT_ONCE = 500
LEFTOVERS = {"BatchGetItem": "UnprocessedKeys", "BatchWriteItem": "UnprocessedItems"}
BODY_BYTES_MAX = 32 << 20

Holds = Callable[[bytes], bool]
"""Whether the item of a key is held back this time."""


class Proxy:
    """Passes calls on to DynamoDB, but leaves what it ``holds`` back of each batch unprocessed."""

    def __init__(self, endpoint: str, session: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._session = session
        self.holds: Holds = lambda _: False
        self.held_total = 0
        self.throttled_calls = 0
        """Batches that are refused as a whole before the first one is let through."""

    async def handle(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        body = await request.json()
        if operation not in LEFTOVERS:
            return await self._pass_on(request, body)
        if self.throttled_calls:
            self.throttled_calls -= 1
            return web.json_response({"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}, status=400)
        held = self._hold_back(body["RequestItems"])
        if not body["RequestItems"]:
            return web.json_response({LEFTOVERS[operation]: held})
        return await self._pass_on(request, body, left=(LEFTOVERS[operation], held))

    async def _pass_on(self, request: web.Request, body: dict[str, Any], left: tuple[str, dict[str, Any]] | None = None) -> web.Response:
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Target")}
        async with self._session.post(self._endpoint, json=body, headers=headers) as response:
            answer = await response.json(content_type=None)
        if left and response.status == 200:
            name, held = left
            for table, requests in answer.get(name, {}).items():
                held[table] = _joined(held.get(table), requests)
            answer[name] = held
        return web.json_response(answer, status=response.status)

    def _hold_back(self, tables: dict[str, Any]) -> dict[str, Any]:
        """Move what is held back out of ``tables``, and answer it in the same form."""
        held: dict[str, Any] = {}
        for table, wanted in list(tables.items()):
            requests = wanted["Keys"] if isinstance(wanted, dict) else wanted
            back = [request for request in requests if self.holds(_key_of(request))]
            passed = [request for request in requests if request not in back]
            self.held_total += len(back)
            tables[table] = {**wanted, "Keys": passed} if isinstance(wanted, dict) else passed
            if back:
                held[table] = {**wanted, "Keys": back} if isinstance(wanted, dict) else back
            if not passed:
                del tables[table]
        return held


def _joined(one: Any, other: Any) -> Any:
    if one is None:
        return other
    return {**one, "Keys": one["Keys"] + other["Keys"]} if isinstance(one, dict) else one + other


def _key_of(request: dict[str, Any]) -> bytes:
    if "PutRequest" in request:
        request = request["PutRequest"]["Item"]
    elif "DeleteRequest" in request:
        request = request["DeleteRequest"]["Key"]
    return base64.b64decode(request["pk"]["B"])


@pytest.fixture
def engine(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> DynamoDB:
    engine = running_engine("dynamodb", engines, tmp_path_factory)
    assert isinstance(engine, DynamoDB)
    return engine


@pytest_asyncio.fixture
async def proxy(engine: DynamoDB) -> AsyncIterator[tuple[Proxy, str]]:
    """The proxy and its endpoint."""
    async with aiohttp.ClientSession() as session:
        proxy = Proxy(engine.endpoint, session)
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_post("/", proxy.handle)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        yield proxy, f"http://{host}:{port}"
        await runner.cleanup()


@pytest_asyncio.fixture
async def bench(engine: DynamoDB, proxy: tuple[Proxy, str]) -> AsyncIterator[StoreBench]:
    """A store that goes through the proxy."""
    clock = ManualClock()
    url = engine.url.replace(engine.endpoint, proxy[1])
    store = await open_store(url, clock=clock)
    yield StoreBench(store, clock, lambda: open_store(url, clock=clock), engine)
    await store.close()


def half(seed: int) -> Holds:
    rng = random.Random(seed)
    return lambda _: rng.random() < 0.5


async def test_r11_no_stored_key_is_answered_as_a_miss(bench: StoreBench, proxy: tuple[Proxy, str]) -> None:
    latest, timed = await bench.dataset(), await bench.dataset(Kind.TIMED)
    keys = [b"key-%04d" % n for n in range(1000)]
    await bench.put(*(bench.write(latest, key, b"value of " + key, 1) for key in keys[:300]))
    await bench.put(*(bench.write(timed, key, b"value of " + key, 1) for key in keys[:30]))
    proxy[0].holds = half(seed=42)
    rng = random.Random(42)
    for _ in range(max(1, LOOKUPS // LOOKUPS_AT_ONCE)):
        asked = [(latest, rng.choice(keys), 0) for _ in range(LOOKUPS_AT_ONCE)] + [(timed, keys[7], 0)]
        results = await bench.store.multi_get(asked, deadline=bench.deadline())
        for (_, key, _), result in zip(asked, results, strict=True):
            assert read(result) == ([TimedValue(b"value of " + key, 1)] if key < keys[300] else [])
    assert proxy[0].held_total > LOOKUPS // 8


async def test_k8_writes_and_deletes_that_are_held_back_are_sent_again(bench: StoreBench, proxy: tuple[Proxy, str]) -> None:
    dataset = await bench.dataset(Kind.TIMED)
    keys = [b"key-%02d" % n for n in range(60)]
    proxy[0].holds = half(seed=7)
    await bench.put(*(bench.write(dataset, key, b"v%d" % t, t) for key in keys for t in (1, 2)))
    assert proxy[0].held_total > 30
    for key in keys:
        assert await bench.get(dataset, key) == [TimedValue(b"v1", 1), TimedValue(b"v2", 2)]
    assert await bench.store.delete([(dataset, key) for key in keys], deadline=bench.deadline()) == [None] * 60
    results = await bench.store.multi_get([(dataset, key, 0) for key in keys], deadline=bench.deadline())
    assert results == [b""] * 60


async def test_k8_a_key_that_is_never_processed_is_an_error_by_the_deadline(bench: StoreBench, proxy: tuple[Proxy, str]) -> None:
    dataset = await bench.dataset()
    keys = [b"key-%03d" % n for n in range(250)]
    await bench.put(*(bench.write(dataset, key, b"v" + key, 1) for key in keys[:200]))
    proxy[0].holds = lambda key: key in {keys[50], keys[249]}
    began = bench.deadline(0.0)
    results = await bench.store.multi_get([(dataset, key, 0) for key in keys], deadline=bench.deadline(2.0))
    assert bench.deadline(0.0) - began < 2.5
    for at, (key, result) in enumerate(zip(keys, results, strict=True)):
        if at in {50, 249}:
            assert isinstance(result, Throttled | DeadlinePassed), "a key that was not looked up must not be a miss"
        else:
            assert read(result) == ([TimedValue(b"v" + key, 1)] if at < 200 else [])


async def test_k7_a_write_that_is_never_processed_is_certainly_not_applied(bench: StoreBench, proxy: tuple[Proxy, str]) -> None:
    dataset = await bench.dataset(Kind.TIMED)
    await bench.put(bench.write(dataset, b"a", b"old", 1), bench.write(dataset, b"b", b"old", 1))
    proxy[0].holds = lambda key: key == b"a"
    puts = [bench.write(dataset, key, b"new", 2) for key in (b"a", b"b", b"a")]
    one, other, again = await bench.store.multi_put(puts, deadline=bench.deadline(2.0))
    assert isinstance(one, Throttled)
    assert other is None
    assert again is one
    assert [t.bytes for t in await bench.get(dataset, b"a")] == [b"old"]
    assert [t.bytes for t in await bench.get(dataset, b"b")] == [b"old", b"new"]
    deleted = await bench.store.delete([(dataset, b"b"), (dataset, b"a")], deadline=bench.deadline(2.0))
    assert deleted[0] is None
    assert isinstance(deleted[1], Throttled)
    assert [t.bytes for t in await bench.get(dataset, b"a")] == [b"old"]


async def test_a_delete_that_got_half_way_is_of_unknown_outcome(bench: StoreBench, proxy: tuple[Proxy, str]) -> None:
    dataset = await bench.dataset(Kind.TIMED)
    await bench.put(*(bench.write(dataset, b"k", b"v", t) for t in range(1, 41)))
    calls = iter([False] * 10)
    proxy[0].holds = lambda _: next(calls, True)
    (result,) = await bench.store.delete([(dataset, b"k")], deadline=bench.deadline(1.0))
    assert isinstance(result, WriteOutcomeUnknown)
    assert len(await bench.get(dataset, b"k")) == 30


async def test_k8_a_batch_that_is_throttled_as_a_whole_is_sent_again(bench: StoreBench, proxy: tuple[Proxy, str]) -> None:
    dataset, timed = await bench.dataset(), await bench.dataset(Kind.TIMED)
    await bench.put(bench.write(dataset, b"k", b"v", 1))
    proxy[0].throttled_calls = 3
    assert await bench.get(dataset, b"k") == [TimedValue(b"v", 1)]
    proxy[0].throttled_calls = 3
    await bench.put(bench.write(timed, b"k", b"v", 1))
    assert await bench.get(timed, b"k") == [TimedValue(b"v", 1)]


async def test_k8_keys_that_do_not_fit_into_one_reply_are_asked_again(bench: StoreBench) -> None:
    """The engine's own leftovers: 60 items of 390 KB are more than the 16 MB of one reply."""
    dataset = await bench.dataset()
    keys = [b"key-%02d" % n for n in range(60)]
    for at in range(0, 60, 10):
        await bench.put(*(bench.write(dataset, key, key * 65_000, 1) for key in keys[at : at + 10]))
    results = await bench.store.multi_get([(dataset, key, 0) for key in keys], deadline=bench.deadline(60.0))
    assert [read(result) for result in results] == [[TimedValue(key * 65_000, 1)] for key in keys]


async def test_an_item_of_the_largest_size_fits(bench: StoreBench) -> None:
    capability = bench.store.capability
    key, value = b"k" * capability.key_bytes_max, b"v" * capability.value_bytes_max
    for kind in Kind:
        dataset = await bench.dataset(kind, ttl_millis=3_600_000)
        await bench.put(bench.write(dataset, key, value, bench.clock()))
        assert await bench.get(dataset, key) == [TimedValue(value, bench.clock())]

"""What the scripts write, on a real server: against a model, and with keys among them that something else wrote."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronoserve.kvstore.backends.redis.connection import Refusal, pack
from chronoserve.kvstore.backends.redis.layout import key_prefix
from chronoserve.kvstore.backends.redis.node import Access, Node, at
from chronoserve.kvstore.backends.redis.scripts import SCRIPT_BYTES_MAX, SCRIPT_KEYS_MAX, SCRIPTS
from chronoserve.kvstore.port import KVStore
from chronoserve.kvstore.registry import StoreURL, open_store
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind
from chronoserve.model.errors import CorruptValue, Internal
from chronoserve.testing.clock import ManualClock
from chronoserve.testing.conformance import StoreBench
from tests.conformance.conftest import running_engine
from tests.engines.engine import Engine

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMES = (0, 1, 127, 2**35 - 1, 2**35, 1_701_388_800_000, 1_701_388_800_001, 2**42 - 1, 2**42, 2**53 - 1)
"""With as many bytes as they can have, and on both sides of the six that the script reads at once."""
LOOKS_LIKE_A_TIME = values.encode(b"", 1_701_388_800_000)[2:]
"""A value without a time that ends in these bytes ends as one with a time does."""
CONTENTS = (b"", b"v", LOOKS_LIKE_A_TIME, b"\x10\x05", b"x" * 130, b"y" * 20_000)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def bench(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoreBench]:
    engine = running_engine("redis", engines, tmp_path_factory)
    clock = ManualClock()

    async def reopen() -> KVStore:
        return await open_store(engine.url, clock=clock)

    store = await reopen()
    yield StoreBench(store, clock, reopen, engine)
    await store.close()


@pytest_asyncio.fixture(loop_scope="session")
async def node(bench: StoreBench) -> AsyncIterator[Node]:
    """The same server, without the store."""
    url = StoreURL.parse(bench.engine.url)  # type: ignore[union-attr]
    ((host, port),) = url.hosts
    node = Node(at((host, port or 0)), Access(database=3, scripts=SCRIPTS))
    yield node
    await node.close()


writes = st.lists(
    st.tuples(st.sampled_from((b"a", b"b", b"c")), st.sampled_from(TIMES), st.sampled_from(CONTENTS)), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(writes, min_size=1, max_size=4), ttl=st.sampled_from((0, 60_000)))
async def test_the_newest_of_each_key_stays_whatever_its_bytes_look_like(
    bench: StoreBench, calls: list[list[tuple[bytes, int, bytes]]], ttl: int
) -> None:
    dataset = await bench.dataset(ttl_millis=ttl)
    model: dict[bytes, tuple[int, bytes]] = {}
    for call in calls:
        await bench.put(*(bench.write(dataset, key, content, millis) for key, millis, content in call))
        for key, millis, content in call:
            if millis >= model.get(key, (0, b""))[0]:
                model[key] = (millis, content)
        for key, (millis, content) in model.items():
            assert await bench.get(dataset, key) == [values.TimedValue(content, millis)]


async def test_a_large_call_is_many_scripts_of_a_bounded_size(bench: StoreBench, node: Node) -> None:
    latest, timed = await bench.dataset(), await bench.dataset(Kind.TIMED)
    large = b"v" * 20_000
    for dataset in (latest, timed):
        await node.ask([pack(b"CONFIG", b"RESETSTAT")], deadline=bench.deadline())
        await bench.put(*(bench.write(dataset, b"%d" % n, b"v", 1) for n in range(2 * SCRIPT_KEYS_MAX + 1)))
        assert await calls_of(node, b"evalsha", bench) == 3
        await bench.put(*(bench.write(dataset, b"%d" % n, large, 2) for n in range(2 * (SCRIPT_BYTES_MAX // len(large) + 1))))
        assert await calls_of(node, b"evalsha", bench) == 5


async def calls_of(node: Node, command: bytes, bench: StoreBench) -> int:
    (info,) = await node.ask([pack(b"INFO", b"commandstats")], deadline=bench.deadline())
    (line,) = [line for line in info.splitlines() if line.startswith(b"cmdstat_%b:" % command)]
    return int(line.partition(b"calls=")[2].partition(b",")[0])


async def test_a_key_that_something_else_wrote_fails_alone(bench: StoreBench, node: Node) -> None:
    for kind in Kind:
        dataset = await bench.dataset(kind)
        await spoil(dataset, node, bench)
        puts = [bench.write(dataset, key, b"v", 5) for key in (b"a", b"list", b"b", b"a", b"list", b"c")]
        results = await bench.store.multi_put(puts, deadline=bench.deadline())
        assert [type(result) for result in results] == [type(None), CorruptValue, type(None), type(None), CorruptValue, type(None)]
        for key in (b"a", b"b", b"c"):
            assert await bench.get(dataset, key) == [values.TimedValue(b"v", 5)]


async def spoil(dataset: Dataset, node: Node, bench: StoreBench) -> None:
    await node.ask([pack(b"RPUSH", key_prefix(dataset) + b"list", b"x")], deadline=bench.deadline(), write=True)


async def test_a_string_that_is_no_timed_value_fails_alone(bench: StoreBench, node: Node) -> None:
    dataset = await bench.dataset()
    await node.ask([pack(b"SET", key_prefix(dataset) + b"odd", b"\xff\xff")], deadline=bench.deadline(), write=True)
    results = await bench.store.multi_put([bench.write(dataset, key, b"v", 5) for key in (b"a", b"odd", b"b")], deadline=bench.deadline())
    assert [type(result) for result in results] == [type(None), Internal, type(None)]


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(bench: StoreBench, node: Node) -> None:
    dataset = await bench.dataset()
    (reply,) = await node.ask([pack(b"SCRIPT", b"FLUSH")], deadline=bench.deadline())
    assert not isinstance(reply, Refusal)
    await bench.put(*(bench.write(dataset, b"%d" % n, b"v", 1) for n in range(300)))

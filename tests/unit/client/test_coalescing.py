"""Concurrent single gets go out together, and nobody feels the others."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from chronoserve.model import errors as server_errors
from chronoserve.v1 import kv_pb2
from chronoserve_client import AsyncClient, DeadlinePassed, InvalidRequest, Throttled, TimedValue, Unavailable, UnknownDataset
from chronoserve_client._coalesce import KEYS_MAX
from tests.unit.client.server import Running


@pytest.fixture
async def client(server: Running) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.target, coalesce=True, timeout=30) as client:
        yield client


def start(client: AsyncClient, *keys: bytes, dataset: str = "clicks", timeout: float | None = None) -> list[asyncio.Task[list[TimedValue]]]:
    return [asyncio.create_task(client.get(dataset, key, timeout=timeout)) for key in keys]


async def test_gets_of_one_tick_are_one_call(client: AsyncClient, server: Running) -> None:
    keys = [str(number).encode() for number in range(50)]
    for key in keys:
        server.kv.values[("clicks", key)] = [(1, key)]
    assert await asyncio.gather(*start(client, *keys)) == [[TimedValue(key, 1)] for key in keys]
    assert server.kv.calls == ["MultiGet"]


async def test_each_get_keeps_its_own_after(client: AsyncClient, server: Running) -> None:
    server.kv.values[("clicks", b"ada")] = [(1, b"x"), (2, b"y")]
    everything, since = await asyncio.gather(client.get("clicks", b"ada"), client.get("clicks", b"ada", 2))
    assert (everything, since) == ([(b"x", 1), (b"y", 2)], [(b"y", 2)])
    assert await client.latest("clicks", b"ada") == (b"y", 2)


async def test_a_get_alone_stays_a_get(client: AsyncClient, server: Running) -> None:
    assert await client.get("clicks", b"ada") == []
    with pytest.raises(UnknownDataset):
        await client.get("views", b"ada")
    assert server.kv.calls == ["Get", "Get"]


async def test_large_groups_are_split(client: AsyncClient, server: Running) -> None:
    await asyncio.gather(*start(client, *[b"ada"] * (KEYS_MAX + 2)))
    sizes = [len(sent.requests) for sent in server.kv.requests if isinstance(sent, kv_pb2.MultiGetRequest)]
    assert sorted(sizes) == [2, KEYS_MAX]


async def test_without_it_each_get_is_a_call(server: Running) -> None:
    async with AsyncClient(server.target, timeout=30) as client:
        await asyncio.gather(*start(client, b"ada", b"bob"))
    assert server.kv.calls == ["Get", "Get"]


async def test_each_caller_has_its_own_error(client: AsyncClient, server: Running) -> None:
    server.kv.values[("clicks", b"ada")] = [(1, b"x")]
    server.kv.bad_keys[b"hot"] = server_errors.Throttled("busy", retry_after=0.5)
    value, busy, unknown = await asyncio.gather(
        *start(client, b"ada", b"hot"), *start(client, b"ada", dataset="views"), return_exceptions=True
    )
    assert value == [(b"x", 1)]
    assert isinstance(busy, Throttled)
    assert busy.retry_after == 0.5
    assert isinstance(unknown, UnknownDataset)


async def test_a_call_that_fails_gives_each_caller_an_exception_of_its_own(client: AsyncClient, server: Running) -> None:
    server.kv.faults["MultiGet"].append(server_errors.Throttled("busy", retry_after=0.5))
    first, second = await asyncio.gather(*start(client, b"ada", b"bob"), return_exceptions=True)
    assert isinstance(first, Throttled)
    assert isinstance(second, Throttled)
    assert first is not second
    assert first.retry_after == second.retry_after == 0.5
    assert isinstance(second.__cause__, grpc.RpcError)


async def test_one_bad_key_does_not_refuse_the_others(client: AsyncClient, server: Running) -> None:
    server.kv.bad_keys[b"k" * 2000] = server_errors.InvalidRequest("a key is too long", field="key_bytes")
    results = await asyncio.gather(*start(client, b"ada", b"bob", b"k" * 2000, b"eve"), return_exceptions=True)
    assert results[:2] == [[], []]
    assert isinstance(results[2], InvalidRequest)
    assert results[3] == []


async def test_a_request_that_cannot_be_built_is_its_own_callers_error(client: AsyncClient) -> None:
    wrong, good = await asyncio.gather(client.get("clicks", "text"), client.get("clicks", b"ada"), return_exceptions=True)  # type: ignore[arg-type]
    assert isinstance(wrong, TypeError)
    assert good == []


async def test_cancelling_one_caller_hurts_no_other(client: AsyncClient, server: Running) -> None:
    server.kv.gate.clear()
    ada, bob = start(client, b"ada", b"bob")
    await server.kv.arrived.acquire()
    ada.cancel()
    server.kv.gate.set()
    assert await bob == []
    with pytest.raises(asyncio.CancelledError):
        await ada


async def test_who_is_cancelled_in_the_same_tick_is_not_asked_for(client: AsyncClient, server: Running) -> None:
    ada, bob, eve = start(client, b"ada", b"bob", b"eve")
    asyncio.get_running_loop().call_soon(ada.cancel)
    await asyncio.gather(bob, eve)
    (sent,) = server.kv.requests
    assert isinstance(sent, kv_pb2.MultiGetRequest)
    assert {request.key_bytes for request in sent.requests} >= {b"bob", b"eve"}
    assert ada.cancelled()


async def test_a_group_without_callers_is_cancelled(client: AsyncClient, server: Running) -> None:
    server.kv.gate.clear()
    callers = start(client, b"ada", b"bob")
    await server.kv.arrived.acquire()
    for caller in callers:
        caller.cancel()
    await asyncio.wait_for(server.kv.cancelled.wait(), 10)
    assert all(isinstance(error, asyncio.CancelledError) for error in await asyncio.gather(*callers, return_exceptions=True))


async def test_each_caller_waits_its_own_time(client: AsyncClient, server: Running) -> None:
    server.kv.gate.clear()
    (hasty,) = start(client, b"ada", timeout=0.05)
    (patient,) = start(client, b"bob", timeout=30)
    with pytest.raises(DeadlinePassed, match=r"0\.05 s"):
        await hasty
    assert not patient.done()
    server.kv.gate.set()
    assert await patient == []
    assert server.kv.calls == ["MultiGet"]


async def test_the_call_ends_with_the_most_patient(client: AsyncClient, server: Running) -> None:
    server.kv.gate.clear()
    ended = await asyncio.gather(*start(client, b"ada", timeout=0.02), *start(client, b"bob", timeout=0.05), return_exceptions=True)
    assert [type(error) for error in ended] == [DeadlinePassed, DeadlinePassed]


async def test_groups_are_repeated_as_reads_are(client: AsyncClient, server: Running) -> None:
    server.kv.faults["MultiGet"].append(grpc.StatusCode.UNAVAILABLE)
    assert await asyncio.gather(*start(client, b"ada", b"bob")) == [[], []]
    assert server.kv.calls == ["MultiGet", "MultiGet"]


async def test_closing_ends_groups_under_way_and_those_not_yet_sent(server: Running) -> None:
    client = AsyncClient(server.target, coalesce=True, timeout=30)
    server.kv.gate.clear()
    sent = start(client, b"ada", b"bob")
    await server.kv.arrived.acquire()
    unsent = start(client, b"eve")
    await asyncio.sleep(0)
    await client.aclose()
    ended = await asyncio.gather(*sent, *unsent, return_exceptions=True)
    assert [type(error) for error in ended] == [Unavailable] * 3
    with pytest.raises(RuntimeError, match="closed"):
        await client.get("clicks", b"ada")


async def test_nothing_is_left_behind(client: AsyncClient) -> None:
    await asyncio.gather(*start(client, b"ada", b"bob"))
    await asyncio.sleep(0)
    assert client._coalescer is not None
    assert not client._coalescer._tasks
    assert not client._coalescer._waiting

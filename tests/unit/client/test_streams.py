"""Batches on open streams: who gets which answer, and what happens when one breaks."""

import asyncio
from typing import Any

import grpc
import pytest

from chronoserve.model import errors as server_errors
from chronoserve_client import (
    DeadlinePassed,
    GetResult,
    InvalidRequest,
    Throttled,
    TimedValue,
    Unavailable,
    UnknownDataset,
    WriteOutcomeUnknown,
)
from chronoserve_client._waiters import INFLIGHT_MAX
from tests.unit.client.conftest import MakeClient
from tests.unit.client.server import Running


def one(value: bytes) -> list[GetResult]:
    return [GetResult((TimedValue(value, 1),))]


async def wait_arrived(server: Running, calls: int) -> None:
    for _ in range(calls):
        await asyncio.wait_for(server.kv.arrived.acquire(), 10)


async def test_batches_are_written_and_read(client: Any) -> None:
    async with client.stream_multi_put() as puts, client.stream_multi_get() as gets:
        good, bad = await puts.multi_put([("clicks", b"ada", b"x", 1), ("views", b"ada", b"x")])
        assert good.ok
        assert isinstance(bad.error, UnknownDataset)
        assert await gets.multi_get([("clicks", b"ada")]) == one(b"x")
        assert [result.found for result in await gets.multi_get([("clicks", b"bob"), ("clicks", b"ada")])] == [False, True]


async def test_concurrent_callers_get_their_own_answers(client: Any, server: Running) -> None:
    keys = [str(number).encode() for number in range(3 * INFLIGHT_MAX)]
    for key in keys:
        server.kv.values[("clicks", key)] = [(1, key)]
    async with client.stream_multi_get() as stream:
        answers = await asyncio.gather(*(stream.multi_get([("clicks", key)], timeout=30) for key in keys))
    assert answers == [one(key) for key in keys]
    assert len(server.kv.peers) == 1


@pytest.mark.parametrize("make_client", ["async"], indirect=True)
async def test_cancelling_one_caller_moves_no_answer(client: Any, server: Running) -> None:
    for key in (b"ada", b"bob", b"eve"):
        server.kv.values[("clicks", key)] = [(1, key)]
    server.kv.gate.clear()
    async with client.stream_multi_get() as stream:
        ada, bob, eve = (asyncio.create_task(stream.multi_get([("clicks", key)], timeout=30)) for key in (b"ada", b"bob", b"eve"))
        await wait_arrived(server, 1)
        bob.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bob
        server.kv.gate.set()
        assert (await ada, await eve) == (one(b"ada"), one(b"eve"))


async def test_running_out_of_time_moves_no_answer(client: Any, server: Running) -> None:
    for key in (b"ada", b"bob"):
        server.kv.values[("clicks", key)] = [(1, key)]
    async with client.stream_multi_get() as stream:
        server.kv.gate.clear()
        with pytest.raises(DeadlinePassed):
            await stream.multi_get([("clicks", b"ada")], timeout=0.05)
        server.kv.gate.set()
        assert await stream.multi_get([("clicks", b"bob")], timeout=30) == one(b"bob")


async def test_a_write_that_runs_out_of_time_is_of_unknown_outcome(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    async with client.stream_multi_put() as stream:
        with pytest.raises(WriteOutcomeUnknown):
            await stream.multi_put([("clicks", b"ada", b"x")], timeout=0.05)


async def test_what_waits_for_room_keeps_its_own_time(client: Any, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronoserve_client._waiters.INFLIGHT_MAX", 2)
    server.kv.gate.clear()
    async with client.stream_multi_get() as stream:
        patient = [asyncio.create_task(stream.multi_get([("clicks", b"ada")], timeout=30)) for _ in range(2)]
        await wait_arrived(server, 1)
        hasty = [asyncio.create_task(stream.multi_get([("clicks", b"bob")], timeout=0.05)) for _ in range(2)]
        ended = await asyncio.gather(*hasty, return_exceptions=True)
        assert {type(error) for error in ended} == {DeadlinePassed}
        server.kv.gate.set()
        assert await asyncio.gather(*patient) == [[GetResult()]] * 2
    assert len(server.kv.calls) <= 4


async def test_what_waits_for_room_goes_on_when_there_is_some(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronoserve_client._waiters.INFLIGHT_MAX", 1)
    async with client.stream_multi_get() as stream:
        answers = await asyncio.gather(*(stream.multi_get([("clicks", b"ada")], timeout=30) for _ in range(20)))
    assert answers == [[GetResult()]] * 20


async def test_a_broken_stream_fails_what_is_under_way_and_opens_again(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    server.kv.faults["MultiGet"].append(grpc.StatusCode.UNAVAILABLE)
    async with client.stream_multi_get() as stream:
        waiting = [asyncio.create_task(stream.multi_get([("clicks", b"ada")], timeout=30)) for _ in range(3)]
        await wait_arrived(server, 1)
        server.kv.gate.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(ended[0], Unavailable)
        assert await stream.multi_get([("clicks", b"ada")]) == [GetResult()]


async def test_a_refusal_is_of_the_batch_that_the_server_was_at(client: Any, server: Running) -> None:
    server.kv.read_ahead = 2
    server.kv.faults["MultiPut"].append(server_errors.Throttled("busy"))
    async with client.stream_multi_put() as stream:
        writing = [asyncio.create_task(stream.multi_put([("clicks", b"ada", b"x")], timeout=30)) for _ in range(2)]
        ended = await asyncio.gather(*writing, return_exceptions=True)
    # threads have no order: either may be the first
    assert {type(error) for error in ended} == {Throttled, WriteOutcomeUnknown}


async def test_a_lost_server_is_everybodys_error(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    async with client.stream_multi_get() as stream:
        waiting = [asyncio.create_task(stream.multi_get([("clicks", b"ada")], timeout=30)) for _ in range(3)]
        await wait_arrived(server, 1)
        await server.server.stop(0)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in ended} == {Unavailable}


async def test_a_batch_that_is_too_large_does_not_break_the_stream(make_client: MakeClient, server: Running) -> None:
    client = await make_client(server.target, message_bytes_max=1000)
    async with client.stream_multi_get() as stream:
        with pytest.raises(InvalidRequest, match="fewer items"):
            await stream.multi_get([("clicks", bytes(2000))])
        assert await stream.multi_get([("clicks", b"ada")]) == [GetResult()]


async def test_closing_a_stream_ends_its_calls(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    stream = await client.stream_multi_put().__aenter__()
    writing = asyncio.create_task(stream.multi_put([("clicks", b"ada", b"x")], timeout=30))
    await wait_arrived(server, 1)
    await stream.aclose()
    with pytest.raises(WriteOutcomeUnknown):
        await writing
    with pytest.raises(RuntimeError, match="closed"):
        await stream.multi_put([])


async def test_closing_the_client_ends_its_streams(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    async with client.stream_multi_get() as stream:
        reading = asyncio.create_task(stream.multi_get([("clicks", b"ada")], timeout=30))
        await wait_arrived(server, 1)
        await client.aclose()
        with pytest.raises(Unavailable):
            await reading
        with pytest.raises(RuntimeError, match="closed"):
            await stream.multi_get([])


async def test_a_stream_that_was_never_used_closes(client: Any) -> None:
    async with client.stream_multi_get():
        pass


@pytest.mark.parametrize("make_client", ["async"], indirect=True)
async def test_a_closed_stream_leaves_no_task_behind(client: Any, server: Running) -> None:
    async with client.stream_multi_get() as stream:
        await stream.multi_get([("clicks", b"ada")])
    for _ in range(10):  # ended tasks leave the loop's list in its next rounds
        await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if "chronoserve_client" in repr(task) or "_consume_request_iterator" in repr(task)]

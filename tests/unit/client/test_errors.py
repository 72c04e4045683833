"""How errors of items and calls arrive: the server's own, the transport's, and what they say of a write."""

import asyncio
import copy
import pickle
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

import chronoserve_client
from chronoserve.model import errors as server_errors
from chronoserve.model.errors import KVError
from chronoserve.wire.status import status
from chronoserve_client import (
    ChronoserveError,
    DeadlinePassed,
    Internal,
    InvalidRequest,
    Throttled,
    Unavailable,
    UnknownDataset,
    WriteOutcomeUnknown,
    _errors,
)
from tests.unit.client.conftest import MakeClient
from tests.unit.client.server import Running

KINDS = [kind for kind in vars(server_errors).values() if isinstance(kind, type) and issubclass(kind, KVError) and kind is not KVError]


def test_the_trees_of_server_and_client_are_one() -> None:
    ours = {kind.__name__: (kind.reason, kind.retryable) for kind in ChronoserveError.__subclasses__()}
    assert ours == {kind.__name__: (kind.reason, kind.retryable) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("make_client", ["async"], indirect=True)
async def test_each_error_of_the_server_arrives_as_its_own_class(kind: type[KVError], make_client: MakeClient, server: Running) -> None:
    client = await make_client(server.target, attempts=1)
    server.kv.faults["Get"].append(kind("as said"))
    server.kv.faults["Put"].append(kind("as said"))
    server.kv.bad_keys[b"bad"] = kind("of the item")
    expected = getattr(chronoserve_client, kind.__name__)
    with pytest.raises(expected, match=r"^as said$"):
        await client.get("clicks", b"ada")
    with pytest.raises(expected, match=r"^as said$"):
        await client.put("clicks", b"ada", b"x")
    (item,) = await client.multi_get([("clicks", b"bad")])
    assert (type(item.error), str(item.error)) == (expected, "of the item")


async def test_details_are_kept(client: Any, server: Running) -> None:
    server.kv.faults["Get"].extend(
        [server_errors.InvalidRequest("too long", field="key_bytes"), server_errors.Throttled("busy", retry_after=1.5)]
    )
    with pytest.raises(InvalidRequest) as wrong:
        await client.get("clicks", b"ada")
    assert (wrong.value.field, wrong.value.retry_after) == ("key_bytes", None)
    with pytest.raises(Throttled) as busy:
        await client.get("clicks", b"ada")
    assert (busy.value.retry_after, busy.value.message, busy.value.field) == (1.5, "busy", "")
    assert isinstance(busy.value.__cause__, grpc.RpcError)


def test_errors_can_be_copied_and_pickled() -> None:
    error = Throttled("busy", retry_after=1.5)
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(again), again.message, again.retry_after) == (Throttled, "busy", 1.5)


def test_a_reason_of_somebody_else_or_a_newer_server_falls_back_to_the_code() -> None:
    for info in (
        error_details_pb2.ErrorInfo(domain="elsewhere", reason="THROTTLED"),
        error_details_pb2.ErrorInfo(domain="chronoserve", reason="OF_NEXT_YEAR"),
    ):
        packed = any_pb2.Any()
        packed.Pack(info)
        error = _errors.of_item(status_pb2.Status(code=code_pb2.NOT_FOUND, message="gone", details=[packed]))
        assert (type(error), error.message) == (UnknownDataset, "gone")
    assert type(_errors.of_item(status_pb2.Status(code=code_pb2.UNKNOWN))) is Internal


def failure(code: grpc.StatusCode, details: str = "", trailers: tuple[tuple[str, bytes], ...] = ()) -> grpc.RpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details, None)


def test_details_that_are_not_ours_to_read_leave_the_code() -> None:
    garbage = failure(grpc.StatusCode.NOT_FOUND, "gone", (("grpc-status-details-bin", b"\xff\xff"),))
    assert type(_errors.of_call(garbage, write=False)) is UnknownDataset


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_write_that_may_have_left_is_of_unknown_outcome(code: grpc.StatusCode) -> None:
    error = _errors.of_call(failure(code, "of the transport"), write=True)
    refused = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "ALREADY_EXISTS",
               "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}  # fmt: skip
    assert isinstance(error, WriteOutcomeUnknown) == (code.name not in refused)
    assert not isinstance(_errors.of_call(failure(code), write=False), WriteOutcomeUnknown)


def test_what_the_server_says_of_a_write_is_believed() -> None:
    details = status(server_errors.Unavailable("the store is away")).SerializeToString()
    told = failure(grpc.StatusCode.UNAVAILABLE, "the store is away", (("grpc-status-details-bin", details),))
    assert type(_errors.of_call(told, write=True)) is Unavailable


async def test_nobody_listening_is_unavailable_for_writes_too(make_client: MakeClient, unused_tcp_port: int) -> None:
    client = await make_client(f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Unavailable):
        await client.get("clicks", b"ada", timeout=10)
    with pytest.raises(Unavailable):
        await client.put("clicks", b"ada", b"x", timeout=10)
    with pytest.raises(Unavailable):
        await client.health(timeout=10)


async def test_no_answer_in_time(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    with pytest.raises(DeadlinePassed):
        await client.get("clicks", b"ada", timeout=0.05)
    with pytest.raises(WriteOutcomeUnknown):
        await client.put("clicks", b"ada", b"x", timeout=0.05)
    with pytest.raises(WriteOutcomeUnknown):
        await client.delete("clicks", [b"ada"], timeout=0.05)


async def test_reads_and_writes_have_their_own_default_timeouts(make_client: MakeClient, server: Running) -> None:
    client = await make_client(server.target, timeout=0.05, write_timeout=30)
    server.kv.gate.clear()
    with pytest.raises(DeadlinePassed):
        await client.get("clicks", b"ada")
    await server.kv.arrived.acquire()
    writing = asyncio.create_task(client.put("clicks", b"ada", b"x"))
    await server.kv.arrived.acquire()
    server.kv.gate.set()
    await writing


async def test_a_request_that_is_too_large_names_the_way_out(make_client: MakeClient, server: Running) -> None:
    client = await make_client(server.target, message_bytes_max=1000)
    with pytest.raises(InvalidRequest, match="fewer items"):
        await client.put("clicks", b"ada", bytes(2000))
    with pytest.raises(InvalidRequest, match="fewer items"):
        await client.get("clicks", bytes(2000))


async def test_an_answer_that_is_too_large_leaves_a_write_unknown(make_client: MakeClient, server: Running) -> None:
    client = await make_client(server.target, message_bytes_max=1000)
    server.kv.values[("clicks", b"ada")] = [(1, bytes(2000))]
    with pytest.raises(InvalidRequest, match="fewer items"):
        await client.get("clicks", b"ada")
    error = _errors.of_call(failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (9 vs. 4)"), write=True)
    assert type(error) is WriteOutcomeUnknown


async def test_a_batch_that_is_not_answered_in_full_is_refused(client: Any, server: Running) -> None:
    server.kv.forgotten = 1
    with pytest.raises(Internal, match="1 of 2 items"):
        await client.multi_get([("clicks", b"ada"), ("clicks", b"bob")])
    with pytest.raises(WriteOutcomeUnknown, match="0 of 1 items"):
        await client.multi_put([("clicks", b"ada", b"x")])


async def test_a_bulk_load_without_a_result_is_not_taken_for_done(client: Any, server: Running) -> None:
    server.kv.forgotten = 1
    load = client.bulk_put("day.parquet", "clicks", resume_token="5")
    assert (await anext(load)).resume_token == "6"
    with pytest.raises(Internal, match="resume_token"):
        await anext(load)


async def test_a_closed_client_refuses_calls(client: Any) -> None:
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.get("clicks", b"ada")


async def test_closing_ends_the_calls_under_way(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    reading = asyncio.create_task(client.get("clicks", b"ada", timeout=30))
    await server.kv.arrived.acquire()
    writing = asyncio.create_task(client.put("clicks", b"ada", b"x", timeout=30))
    await server.kv.arrived.acquire()
    await client.aclose()
    with pytest.raises(Unavailable):
        await reading
    with pytest.raises(WriteOutcomeUnknown):
        await writing


async def test_closing_ends_a_bulk_load(client: Any, server: Running) -> None:
    server.kv.gate.clear()

    async def load() -> list[Any]:
        return [progress async for progress in client.bulk_put("day.parquet", "clicks")]

    loading = asyncio.create_task(load())
    await server.kv.arrived.acquire()
    await client.aclose()
    with pytest.raises(Unavailable):
        await loading


@pytest.mark.parametrize("make_client", ["async"], indirect=True)
async def test_cancelling_a_call_reaches_the_server(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    reading = asyncio.create_task(client.get("clicks", b"ada", timeout=30))
    await server.kv.arrived.acquire()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(server.kv.cancelled.wait(), 10)


@pytest.mark.parametrize("make_client", ["async"], indirect=True)
async def test_cancelling_a_bulk_load_reaches_the_server(client: Any, server: Running) -> None:
    server.kv.gate.clear()
    loading = asyncio.create_task(anext(client.bulk_put("day.parquet", "clicks")))
    await server.kv.arrived.acquire()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await asyncio.wait_for(server.kv.cancelled.wait(), 10)


async def test_leaving_a_bulk_load_stops_it(client: Any, server: Running) -> None:
    load = client.bulk_put("day.parquet", "clicks")
    assert (await anext(load)).rows == 1
    await load.aclose()
    assert server.kv.calls == ["BulkPut"]

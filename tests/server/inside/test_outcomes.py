"""What becomes of a call when the store below fails in every way that there is: a status, in time, that says the truth."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chronoserve.model.errors import CorruptValue, DeadlinePassed, KVError, Throttled, Unavailable, WriteOutcomeUnknown
from chronoserve.testing.conformance import eventually
from chronoserve.v1 import kv_pb2
from tests.server.inside.serving import SECONDS, outcome, serving_store
from tests.unit.layers.stores import LATEST, ScriptedStore, read, value_of

GET = kv_pb2.GetRequest(dataset="LATEST", key_bytes=b"k")
PUT = kv_pb2.PutRequest(dataset="LATEST", key_bytes=b"k", value_bytes=b"v")

Call = Callable[[Any], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "Get": lambda stub: stub.Get(GET, timeout=SECONDS),
    "Put": lambda stub: stub.Put(PUT, timeout=SECONDS),
    "MultiGet": lambda stub: stub.MultiGet(kv_pb2.MultiGetRequest(requests=[GET]), timeout=SECONDS),
    "MultiPut": lambda stub: stub.MultiPut(kv_pb2.MultiPutRequest(requests=[PUT]), timeout=SECONDS),
}
FAILURES = {
    "UNAVAILABLE": Unavailable("away"),
    "RESOURCE_EXHAUSTED": Throttled("busy", retry_after=0.25),
    "DEADLINE_EXCEEDED": DeadlinePassed("late"),
    "DATA_LOSS": CorruptValue("broken"),
    "UNKNOWN": WriteOutcomeUnknown("no answer"),
}


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found: dict[str, Any] = {}
    for packed in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                found[kind.DESCRIPTOR.name] = kind.FromString(packed.value)
    return found


async def loaded(*script: Any) -> ScriptedStore:
    """The script begins once the gateway has asked for the datasets."""
    return ScriptedStore(None, *script)


@pytest.mark.parametrize("name", ["Get", "Put"])
@pytest.mark.parametrize("code", FAILURES)
async def test_an_item_s_error_is_the_status_of_a_single_call(name: str, code: str) -> None:
    async with serving_store(await loaded([FAILURES[code]])) as (_, stub):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await CALLS[name](stub)
        assert caught.value.code().name == code
        found = details(caught.value)
        assert found["ErrorInfo"].reason == FAILURES[code].reason
        assert ("RetryInfo" in found) == FAILURES[code].retryable
        if code == "RESOURCE_EXHAUSTED":
            assert found["RetryInfo"].retry_delay.ToMilliseconds() == 250


@pytest.mark.parametrize("code", FAILURES)
async def test_an_item_s_error_stays_in_its_place_in_a_batch(code: str) -> None:
    error = FAILURES[code]
    async with serving_store(await loaded([None, error, None], [b"", error, value_of(read(b"k")[0])])) as (_, stub):
        done = await stub.MultiPut(kv_pb2.MultiPutRequest(requests=[PUT] * 3), timeout=SECONDS)
        assert [each.ok for each in done.responses] == [True, False, True]
        assert done.responses[1].error.code == getattr(grpc.StatusCode, code).value[0]
        found = await stub.MultiGet(kv_pb2.MultiGetRequest(requests=[GET] * 3), timeout=SECONDS)
        assert [(len(each.values), each.error.code) for each in found.responses] == [(0, 0), (0, done.responses[1].error.code), (1, 0)]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("code", FAILURES)
async def test_an_error_of_the_whole_call_is_its_status(name: str, code: str) -> None:
    async with serving_store(await loaded(FAILURES[code])) as (_, stub):
        assert await outcome(CALLS[name](stub)) == (code, FAILURES[code].message)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "defect", [ZeroDivisionError("secret"), asyncio.CancelledError(), KeyError(b"key")], ids=lambda each: type(each).__name__
)
async def test_a_defect_is_internal_in_general_terms_and_the_client_does_not_hang(name: str, defect: BaseException) -> None:
    async with serving_store(await loaded(defect)) as (server, stub):
        code, text = await outcome(CALLS[name](stub))
        assert (code, "secret" in text) == ("INTERNAL", False)
        assert server.seam.methods[name].calls["OK"] == 0
        assert await outcome(CALLS[name](stub)) == ("OK", "")


class StuckStore(ScriptedStore):
    """Never answers, and notices when it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0

    async def multi_get(self, requests: Any, *, deadline: float) -> Any:
        self.waiting += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.waiting -= 1

    multi_put = multi_get


@pytest.mark.parametrize("name", CALLS)
async def test_a_client_that_goes_away_stops_the_work_below(name: str) -> None:
    store = StuckStore()
    async with serving_store(store) as (server, stub):
        call = asyncio.ensure_future(CALLS[name](stub))

        async def waits() -> bool:
            return store.waiting == 1

        async def ended() -> bool:
            return (store.waiting, server.seam.in_flight.calls) == (0, 0)

        await eventually(waits, "the call reached the store")
        call.cancel()
        await eventually(ended, "the work stopped")
        assert server.seam.methods[name].calls["CANCELLED"] == 1


async def test_every_outcome_is_counted_once_by_method_and_status() -> None:
    async with serving_store(await loaded(None, [Throttled("busy")], ZeroDivisionError())) as (server, stub):
        for _ in range(3):
            await outcome(CALLS["Get"](stub))

        async def counted() -> bool:
            return sum(server.seam.methods["Get"].seconds.counts) == 3

        await eventually(counted, "the calls were counted")
        assert dict(server.seam.methods["Get"].calls) == {"OK": 1, "RESOURCE_EXHAUSTED": 1, "INTERNAL": 1}


def test_the_names_used_here_are_the_store_s() -> None:
    assert LATEST.name == "LATEST"
    assert all(isinstance(error, KVError) for error in FAILURES.values())

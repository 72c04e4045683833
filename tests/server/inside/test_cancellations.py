"""Cancelled calls leave no task, socket or wrong answer behind: every value is a function of its key (reliability.md R5)."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace

import grpc
import pytest

from chronoserve.app.compose import layered
from chronoserve.kvstore.layers.admission import Admission
from chronoserve.kvstore.port import GetRequest, GetResult, PutRequest, PutResult
from chronoserve.kvstore.router import Route, Router
from chronoserve.model.errors import DeadlinePassed, KVError, Throttled
from chronoserve.service.gateway import Gateway, Limits, NamedPut
from chronoserve.testing.clock import ManualClock
from chronoserve.testing.conformance import eventually
from chronoserve.v1 import kv_pb2
from tests.server.inside.serving import descriptors, serving_store
from tests.unit.layers.stores import CAPABILITY, LATEST, HeldStore, value_of
from tests.unit.service.bench import get
from tests.virtual_time import in_virtual_time, now, turns

CANCELLATIONS = 100_000
"""Half of them in each of the two ways to share reads."""
OVER_GRPC = 2_000


class SlowStore(HeldStore):
    """Answers after a random time within the deadline, sometimes with an error; the value of a key is a function of it."""

    def __init__(self, rng: random.Random, seconds: float, *, pipelined: bool) -> None:
        super().__init__()
        self.capability = replace(CAPABILITY, inflight_batches_max=16, pipelined=pipelined)
        self.rng = rng
        self.seconds = seconds
        self.under_way = 0

    async def load_datasets(self, *, deadline: float) -> dict[str, object]:  # type: ignore[override]
        return {LATEST.name: LATEST}

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        await self._work(deadline)
        return [value_of(request) for request in requests]

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        await self._work(deadline)
        return [None] * len(requests)

    async def _work(self, deadline: float) -> None:
        self.under_way += 1
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(self.rng.random() * self.seconds)
        except TimeoutError:
            raise DeadlinePassed("late") from None
        finally:
            self.under_way -= 1
        if self.rng.random() < 0.01:
            raise Throttled("busy")


@pytest.mark.parametrize("pipelined", [False, True], ids=["merged batches", "shared keys"])
@in_virtual_time
async def test_a_hundred_thousand_cancellations_in_process(pipelined: bool) -> None:
    rng = random.Random(5)
    store = SlowStore(rng, 0.01, pipelined=pipelined)
    router = Router({"main": layered(store, "main")}, [Route("*", "main")])
    admission = Admission(router, inflight_calls_max=150, inflight_keys_max=1000)
    gateway = Gateway(admission, router, clock=ManualClock(), limits=Limits())
    await gateway.start(deadline=now() + 1)
    cancelled = answered = wrong = 0

    async def reader() -> None:
        nonlocal cancelled, answered, wrong
        while cancelled < CANCELLATIONS // 2:
            keys = [b"%d" % rng.randrange(40) for _ in range(rng.randrange(1, 4))]
            call = asyncio.ensure_future(gateway.multi_get([get("LATEST", key) for key in keys], deadline=now() + 1))
            if rng.random() < 0.97:
                asyncio.get_running_loop().call_later(rng.random() * 0.008, call.cancel)
            try:
                results = await call
            except asyncio.CancelledError:
                cancelled += 1
            except KVError:
                continue
            else:
                answered += 1
                pairs = zip(keys, results, strict=True)
                wrong += sum(not isinstance(result, KVError) and result != value_of((LATEST, key, 0)) for key, result in pairs)

    async def writer() -> None:
        while cancelled < CANCELLATIONS // 2:
            call = asyncio.ensure_future(gateway.multi_put([NamedPut("LATEST", b"k", b"v", 1)], deadline=now() + 1))
            asyncio.get_running_loop().call_later(rng.random() * 0.01, call.cancel)
            await asyncio.wait([call])
            if not call.cancelled():
                call.exception()

    await asyncio.gather(*(reader() for _ in range(200)), *(writer() for _ in range(10)))
    await turns(10)
    assert wrong == 0
    assert answered > 1000
    assert (store.under_way, admission.calls, admission.keys) == (0, 0, 0)


async def test_thousands_of_cancelled_calls_over_the_wire() -> None:
    rng = random.Random(6)
    store = SlowStore(rng, 0.02, pipelined=False)
    async with serving_store(store) as (server, stub):
        await stub.GetCapabilities(kv_pb2.GetCapabilitiesRequest(), timeout=20)
        tasks, files = len(asyncio.all_tasks()), descriptors()
        outcomes = {"cancelled": 0, "answered": 0}

        async def caller(calls: int) -> None:
            for _ in range(calls):
                keys = [b"%d" % rng.randrange(1000) for _ in range(3)]
                requests = [kv_pb2.GetRequest(dataset="LATEST", key_bytes=key) for key in keys]
                call = stub.MultiGet(kv_pb2.MultiGetRequest(requests=requests), timeout=20)
                if rng.random() < 0.9:
                    asyncio.get_running_loop().call_later(rng.random() * 0.03, call.cancel)
                try:
                    reply = await call
                except asyncio.CancelledError:
                    outcomes["cancelled"] += 1
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 - one in a hundred
                else:
                    outcomes["answered"] += 1
                    assert [row.values[0].bytes for row in reply.responses] == [b"value of " + key for key in keys]

        await asyncio.gather(*(caller(OVER_GRPC // 20) for _ in range(20)))
        assert min(outcomes.values()) > OVER_GRPC // 20, outcomes

        async def settled() -> bool:
            return (server.seam.in_flight.calls, store.under_way) == (0, 0) and len(asyncio.all_tasks()) <= tasks

        await eventually(settled, "every cancelled call has ended")
        assert descriptors() <= files


async def test_cancelled_streams_leave_nothing_behind() -> None:
    rng = random.Random(7)
    store = SlowStore(rng, 0.02, pipelined=False)
    async with serving_store(store) as (server, stub):
        for _ in range(100):
            stream = stub.StreamMultiGet(timeout=20)
            request = kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(dataset="LATEST", key_bytes=b"k")])
            with contextlib.suppress(grpc.aio.AioRpcError):  # one in a hundred
                await stream.write(request)
                if rng.random() < 0.5:
                    await stream.read()
            stream.cancel()

        async def settled() -> bool:
            return (server.seam.in_flight.calls, store.under_way) == (0, 0)

        await eventually(settled, "every cancelled stream has ended")
        assert not server.seam.draining._idle

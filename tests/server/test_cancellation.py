"""Clients that go away at any moment: nobody gets another's answer, and nothing stays under way in a real process."""

import asyncio
import random
from typing import Any

import grpc

from chronoserve.v1 import kv_pb2
from tests.server.conftest import StartServer
from tests.server.running import eventually, kv_stub

CALLERS = 40
CALLS_EACH = 50
KEYS = 500
PATIENCE_SECONDS = 0.02
"""A caller waits for its answer for at most this long, chosen at random."""
SECONDS = 20.0


def value(key: bytes) -> bytes:
    return key * 7


async def test_random_cancellations_give_no_wrong_value_and_leave_nothing_under_way(start_server: StartServer) -> None:
    server = await asyncio.to_thread(start_server)
    keys = [b"%d" % n for n in range(KEYS)]
    rng = random.Random(5)
    answered = cancelled = 0
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = kv_stub(channel)
        await stub.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
        puts = [kv_pb2.PutRequest(dataset="D", key_bytes=key, value_bytes=value(key)) for key in keys]
        await stub.MultiPut(kv_pb2.MultiPutRequest(requests=puts), timeout=SECONDS)

        async def caller() -> None:
            nonlocal answered, cancelled
            for _ in range(CALLS_EACH):
                asked = rng.choices(keys, k=rng.randrange(1, 30))
                if rng.random() < 0.3:  # the same value again: a write that was given up changes nothing
                    writes = [kv_pb2.PutRequest(dataset="D", key_bytes=key, value_bytes=value(key)) for key in asked]
                    written = stub.MultiPut(kv_pb2.MultiPutRequest(requests=writes), timeout=SECONDS)
                    await asyncio.sleep(rng.random() * PATIENCE_SECONDS)
                    cancelled += written.cancel()
                requests = [kv_pb2.GetRequest(dataset="D", key_bytes=key) for key in asked]
                call = stub.MultiGet(kv_pb2.MultiGetRequest(requests=requests), timeout=SECONDS)
                try:
                    async with asyncio.timeout(rng.random() * PATIENCE_SECONDS):
                        answer = await call
                except TimeoutError:
                    cancelled += 1
                else:
                    assert [item.values[0].bytes for item in answer.responses] == [value(key) for key in asked]
                    answered += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        assert cancelled > CALLERS * CALLS_EACH // 10
        answer = await stub.MultiGet(
            kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(dataset="D", key_bytes=key) for key in keys]), timeout=SECONDS
        )
        assert [item.values[0].bytes for item in answer.responses] == [value(key) for key in keys]
    for gauge in ("chronoserve_calls_in_flight", "chronoserve_admitted_calls", "chronoserve_admitted_keys"):
        await asyncio.to_thread(eventually, lambda name=gauge: server.metric(name) == 0, f"{gauge} to be 0")  # type: ignore[misc]
    assert not server.events("a handler failed"), server.log
    assert await asyncio.to_thread(server.stop) == 0

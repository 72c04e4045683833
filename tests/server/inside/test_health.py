"""grpc.health.v1 on a running server: Check, Watch and List, for the process, its services and its stores."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chronoserve.testing.conformance import eventually
from tests.server.inside.serving import SECONDS, Running, outcome, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def health(server: Running) -> Any:
    return health_pb2_grpc.HealthStub(server.channel)


def request(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


async def test_watch_tells_the_status_and_every_change_of_it() -> None:
    async with serving() as server:
        watch = health(server).Watch(request("chronoserve.v1.KVStore"), timeout=SECONDS)
        unknown = health(server).Watch(request("later"), timeout=SECONDS)
        assert (await watch.read()).status == SERVING
        assert (await unknown.read()).status == SERVICE_UNKNOWN
        server.worker.server.health.set("chronoserve.v1.KVStore", NOT_SERVING)
        server.worker.server.health.set("later", SERVING)
        assert (await watch.read()).status == NOT_SERVING
        assert (await unknown.read()).status == SERVING
        watch.cancel()
        unknown.cancel()


async def test_watchers_and_probes_hear_of_the_drain_at_once() -> None:
    async with serving() as server:
        watch = health(server).Watch(request(""), timeout=SECONDS)
        assert (await watch.read()).status == SERVING
        loop = asyncio.get_running_loop()
        began = loop.time()
        stopping = asyncio.create_task(server.worker.server.drain(3))
        assert (await watch.read()).status == NOT_SERVING
        assert loop.time() - began < 1
        assert await server.worker.unready() == {"server": "draining"}
        watch.cancel()
        assert await stopping
        assert (await outcome(health(server).Check(request(""), timeout=0.5)))[0] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


async def test_a_cancelled_watch_leaves_nothing_behind() -> None:
    async with serving() as server:
        before = asyncio.all_tasks()
        for _ in range(20):
            watch = health(server).Watch(request(""), timeout=SECONDS)
            assert (await watch.read()).status == SERVING
            watch.cancel()
            assert await watch.code() is grpc.StatusCode.CANCELLED
            del watch

        async def settled() -> bool:
            return len(asyncio.all_tasks() - before) <= 1

        await eventually(settled, "the watches ended")

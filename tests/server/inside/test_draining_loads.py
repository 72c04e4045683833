"""A bulk load does not hold a drain: it ends between two batches, and its token says where to go on."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import fastavro
import grpc
import pytest

from chronoserve.kvstore.backends.memory import MemoryStore
from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import PutRequest, PutResult
from chronoserve.testing.clock import ManualClock
from chronoserve.v1 import kv_pb2
from tests.server.inside.serving import SECONDS, serving_store

ROWS = 60_000
"""Many more than a load has under way at once."""


class Held(Layer):
    """Writes its first batch at once and each further one when the test lets it."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(ManualClock()))
        self.batches = 0
        self.go_on = asyncio.Event()

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self.batches += 1
        if self.batches > 1:
            await self.go_on.wait()
        return await super().multi_put(requests, deadline=deadline)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.avro"
    fields = [{"name": "key_bytes", "type": "bytes"}, {"name": "value_bytes", "type": "bytes"}]
    with path.open("wb") as stream:
        records = ({"key_bytes": b"%d" % n, "value_bytes": b"v"} for n in range(ROWS))
        fastavro.writer(stream, {"type": "record", "name": "Row", "fields": fields}, records)
    return path


async def test_a_load_ends_between_two_batches_and_goes_on_elsewhere(rows: Path) -> None:
    store = Held()
    request = kv_pb2.BulkPutRequest(source_offline_table=str(rows), destination_online_dataset="D")
    async with serving_store(store) as (server, stub):
        await stub.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
        load = stub.BulkPut(request, timeout=SECONDS)
        messages = load.__aiter__()
        last = await anext(messages)
        draining = asyncio.create_task(server.drain(10))
        store.go_on.set()
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for message in messages:
                last = message
        assert await load.code() is grpc.StatusCode.UNAVAILABLE
        assert "resume_token" in await load.details()
        assert await draining
    assert not last.done
    assert last.rows < ROWS
    async with serving_store(store) as (_, stub):
        again = kv_pb2.BulkPutRequest(source_offline_table=str(rows), destination_online_dataset="D", resume_token=last.resume_token)
        rest = [message async for message in stub.BulkPut(again, timeout=SECONDS)]
        assert (rest[-1].done, rest[-1].rows) == (True, ROWS)
        get = kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(dataset="D", key_bytes=b"%d" % n) for n in range(0, ROWS, 10)])
        assert all(len(row.values) == 1 for row in (await stub.MultiGet(get, timeout=SECONDS)).responses)

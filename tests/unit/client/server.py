"""The KVStore service on a dict, in the test's own process, with faults and gates to order."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chronoserve.model.errors import AlreadyExists, DerivationFailed, InvalidRequest, KVError, UnknownConf, UnknownDataset
from chronoserve.model.features import FeatureRow, Freshness, RowStatus
from chronoserve.v1 import fetcher_pb2, fetcher_pb2_grpc, kv_pb2, kv_pb2_grpc
from chronoserve.wire.feature_replies import ReplyEncoder, fresh
from chronoserve.wire.seam import STATUS_DETAILS
from chronoserve.wire.status import code, put_response, status

Fault = KVError | grpc.StatusCode
"""An error of ours with its details, or a bare status as a proxy or the transport would give."""

PAGE_SIZE = 2
BULK_ROWS = 6


@dataclass
class FakeKV(kv_pb2_grpc.KVStoreServicer):
    """``faults``: what the next calls of a method end with. ``bad_keys``: what these keys answer in batches."""

    values: dict[tuple[str, bytes], list[tuple[int, bytes]]] = field(default_factory=dict)
    datasets: dict[str, kv_pb2.DatasetProperties] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    bad_keys: dict[bytes, KVError] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    metadata: dict[str, Any] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Calls wait for it; open unless a test closes it."""
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    forgotten: int = 0
    """Answers of batches that are left out, to break the contract; of a bulk load it is the result."""
    read_ahead: int = 0
    """Batches that StreamMultiPut wants to have before it begins with the first."""
    bulk_breaks: deque[int] = field(default_factory=deque)
    """Rows after which the next bulk loads break off."""

    def __post_init__(self) -> None:
        self.gate.set()

    async def enter(self, method: str, request: Message, context: Any) -> None:
        self.calls.append(method)
        self.requests.append(request)
        self.peers.add(context.peer())
        self.metadata = dict(context.invocation_metadata())
        self.arrived.release()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.faults[method]:
            await self.fail(self.faults[method].popleft(), context)

    async def fail(self, fault: Fault, context: Any) -> None:
        if isinstance(fault, grpc.StatusCode):
            await context.abort(fault, "the transport says so")
        else:
            context.set_trailing_metadata(((STATUS_DETAILS, status(fault).SerializeToString()),))
            await context.abort(code(fault), fault.message)

    def read(self, request: kv_pb2.GetRequest) -> kv_pb2.GetResponse:
        if request.key_bytes in self.bad_keys:
            raise self.bad_keys[request.key_bytes]
        if request.dataset not in self.datasets:
            raise UnknownDataset(f"no dataset {request.dataset}")
        found = self.values.get((request.dataset, request.key_bytes), [])
        since = request.after_ts_millis if request.HasField("after_ts_millis") else 0
        return kv_pb2.GetResponse(values=[kv_pb2.TimedValue(bytes=value, millis=millis) for millis, value in found if millis >= since])

    def read_item(self, request: kv_pb2.GetRequest) -> kv_pb2.GetResponse:
        try:
            return self.read(request)
        except KVError as error:
            return kv_pb2.GetResponse(error=status(error))

    def write(self, request: kv_pb2.PutRequest) -> KVError | None:
        if request.key_bytes in self.bad_keys:
            return self.bad_keys[request.key_bytes]
        if request.dataset not in self.datasets:
            return UnknownDataset(f"no dataset {request.dataset}")
        found = self.values.setdefault((request.dataset, request.key_bytes), [])
        found.append((request.ts_millis, request.value_bytes))
        found.sort()
        return None

    # ruff: noqa: N802  the names are those of the service

    async def Get(self, request: kv_pb2.GetRequest, context: Any) -> kv_pb2.GetResponse:
        await self.enter("Get", request, context)
        try:
            return self.read(request)
        except KVError as error:
            await self.fail(error, context)
            raise

    async def MultiGet(self, request: kv_pb2.MultiGetRequest, context: Any) -> kv_pb2.MultiGetResponse:
        await self.enter("MultiGet", request, context)
        if any(len(item.key_bytes) > 1000 for item in request.requests):
            await self.fail(InvalidRequest("a key is too long", field="requests.key_bytes"), context)
        answers = [self.read_item(item) for item in request.requests]
        return kv_pb2.MultiGetResponse(responses=answers[self.forgotten :])

    async def StreamMultiGet(self, requests: AsyncIterator[kv_pb2.MultiGetRequest], context: Any) -> AsyncIterator[kv_pb2.MultiGetResponse]:
        async for request in requests:
            yield await self.MultiGet(request, context)

    async def Put(self, request: kv_pb2.PutRequest, context: Any) -> kv_pb2.PutResponse:
        await self.enter("Put", request, context)
        error = self.write(request)
        if error is not None:
            await self.fail(error, context)
        return kv_pb2.PutResponse(ok=True)

    async def MultiPut(self, request: kv_pb2.MultiPutRequest, context: Any) -> kv_pb2.MultiPutResponse:
        await self.enter("MultiPut", request, context)
        answers = [put_response(self.write(item)) for item in request.requests]
        return kv_pb2.MultiPutResponse(responses=answers[self.forgotten :])

    async def StreamMultiPut(self, requests: AsyncIterator[kv_pb2.MultiPutRequest], context: Any) -> AsyncIterator[kv_pb2.MultiPutResponse]:
        unread = aiter(requests)
        for request in [await anext(unread) for _ in range(self.read_ahead)]:
            yield await self.MultiPut(request, context)
        async for request in unread:
            yield await self.MultiPut(request, context)

    async def Create(self, request: kv_pb2.CreateRequest, context: Any) -> kv_pb2.CreateResponse:
        await self.enter("Create", request, context)
        wanted = request.properties
        if not wanted.kind:
            wanted.kind = kv_pb2.DATASET_KIND_TIMED if request.dataset.endswith("_STREAMING") else kv_pb2.DATASET_KIND_LATEST
        if self.datasets.setdefault(request.dataset, wanted) != wanted:
            await self.fail(AlreadyExists(f"{request.dataset} has other properties"), context)
        return kv_pb2.CreateResponse(dataset=self.described(request.dataset))

    def described(self, name: str) -> kv_pb2.Dataset:
        return kv_pb2.Dataset(name=name, properties=self.datasets[name], store="dict")

    async def Delete(self, request: kv_pb2.DeleteRequest, context: Any) -> kv_pb2.DeleteResponse:
        await self.enter("Delete", request, context)
        for key in request.key_bytes:
            self.values.pop((request.dataset, key), None)
        return kv_pb2.DeleteResponse(responses=[put_response(None)] * len(request.key_bytes))

    async def Scan(self, request: kv_pb2.ScanRequest, context: Any) -> kv_pb2.ScanResponse:
        await self.enter("Scan", request, context)
        keys = [key for dataset, key in self.values if dataset == request.dataset]
        start = int(request.page_token or 0)
        end = start + (request.page_size or PAGE_SIZE)
        page = [(key, self.read(kv_pb2.GetRequest(dataset=request.dataset, key_bytes=key))) for key in keys[start:end]]
        entries = [kv_pb2.ScanEntry(key_bytes=key, values=found.values) for key, found in page]
        return kv_pb2.ScanResponse(entries=entries, next_page_token=str(end) if end < len(keys) else "")

    async def Describe(self, request: kv_pb2.DescribeRequest, context: Any) -> kv_pb2.DescribeResponse:
        await self.enter("Describe", request, context)
        names = [request.dataset] if request.dataset else sorted(self.datasets)
        return kv_pb2.DescribeResponse(datasets=[self.described(name) for name in names])

    async def GetCapabilities(self, request: kv_pb2.GetCapabilitiesRequest, context: Any) -> kv_pb2.GetCapabilitiesResponse:
        await self.enter("GetCapabilities", request, context)
        store = kv_pb2.StoreCapability(store="dict", engine="memory", datasets=["*"], key_bytes_max=1000, timed=True)
        return kv_pb2.GetCapabilitiesResponse(stores=[store], keys_per_call_max=10_000, message_bytes_max=4 << 20)

    async def BulkPut(self, request: kv_pb2.BulkPutRequest, context: Any) -> AsyncIterator[kv_pb2.BulkPutResponse]:
        await self.enter("BulkPut", request, context)
        start = int(request.resume_token or 0)
        rows_max = self.bulk_breaks.popleft() if self.bulk_breaks else BULK_ROWS
        for row in range(start + 1, BULK_ROWS + 1):
            if row > start + rows_max:
                await self.fail(grpc.StatusCode.UNAVAILABLE, context)
            yield kv_pb2.BulkPutResponse(rows=row, rows_total=BULK_ROWS, resume_token=str(row))
        if self.forgotten:
            return
        result = kv_pb2.BulkPutResult(rows_written=BULK_ROWS, rows_refused=1, errors=[status(InvalidRequest("row 7 has no key"))])
        yield kv_pb2.BulkPutResponse(rows=BULK_ROWS, rows_total=BULK_ROWS, done=True, result=result)


@dataclass
class FakeFetcher(fetcher_pb2_grpc.FetcherServicer):
    """``rows``: the answers by name, in the words of the server's own encoder; a name without one is unknown."""

    kv: FakeKV
    rows: dict[str, FeatureRow] = field(default_factory=dict)
    encoder: ReplyEncoder = field(default_factory=ReplyEncoder)

    def answer(self, request: fetcher_pb2.FetchRequest) -> fetcher_pb2.FetchResponse:
        unknown = FeatureRow(RowStatus.ERROR, None, {}, {}, UnknownConf("never uploaded"))
        rows = [self.rows.get(each.name, unknown) for each in request.requests][self.kv.forgotten :]
        packed = request.encoding == fetcher_pb2.ENCODING_PACKED
        data = (self.encoder.packed if packed else self.encoder.maps)(rows, freshness=request.include_freshness)
        response = fetcher_pb2.FetchResponse.FromString(data)
        if request.encoding == fetcher_pb2.ENCODING_AVRO:
            for each in response.responses:
                each.ClearField("features")
                each.avro, each.schema_hash = b"avro", "hash"
        return response

    async def FetchJoins(self, request: fetcher_pb2.FetchRequest, context: Any) -> fetcher_pb2.FetchResponse:
        await self.kv.enter("FetchJoins", request, context)
        return self.answer(request)

    async def FetchGroupBys(self, request: fetcher_pb2.FetchRequest, context: Any) -> fetcher_pb2.FetchResponse:
        await self.kv.enter("FetchGroupBys", request, context)
        return self.answer(request)

    async def StreamFetch(
        self, requests: AsyncIterator[fetcher_pb2.StreamFetchRequest], context: Any
    ) -> AsyncIterator[fetcher_pb2.FetchResponse]:
        async for request in requests:
            await self.kv.enter("StreamFetch", request, context)
            yield self.answer(request.fetch)

    async def GetJoinSchema(self, request: fetcher_pb2.GetJoinSchemaRequest, context: Any) -> fetcher_pb2.GetJoinSchemaResponse:
        await self.kv.enter("GetJoinSchema", request, context)
        info = fetcher_pb2.ValueInfo(name="f", group="g", prefix="p", left_keys=["k"], type="long")
        return fetcher_pb2.GetJoinSchemaResponse(
            name=request.name, key_schema="{}", value_schema="[]", schema_hash="hash", value_infos=[info]
        )

    async def GetGroupBySchema(self, request: fetcher_pb2.GetGroupBySchemaRequest, context: Any) -> fetcher_pb2.GetGroupBySchemaResponse:
        await self.kv.enter("GetGroupBySchema", request, context)
        return fetcher_pb2.GetGroupBySchemaResponse(name=request.name, key_schema="{}", value_schema="[]", batch_end_millis=7)

    async def ListJoins(self, request: fetcher_pb2.ListJoinsRequest, context: Any) -> fetcher_pb2.ListJoinsResponse:
        await self.kv.enter("ListJoins", request, context)
        page = int(request.page_token or 0)
        return fetcher_pb2.ListJoinsResponse(names=[f"t/j{page}"] if page != 1 else [], next_page_token=str(page + 1) if page < 2 else "")

    async def ListGroupBys(self, request: fetcher_pb2.ListGroupBysRequest, context: Any) -> fetcher_pb2.ListGroupBysResponse:
        await self.kv.enter("ListGroupBys", request, context)
        return fetcher_pb2.ListGroupBysResponse(names=["t.g"])

    async def Explain(self, request: fetcher_pb2.ExplainRequest, context: Any) -> fetcher_pb2.ExplainResponse:
        await self.kv.enter("Explain", request, context)
        reply = fetcher_pb2.ExplainResponse(feature_parts={"x": "g"})
        reply.response.MergeFromString(self.encoder.response(self.rows[request.request.name], freshness=True))
        reply.reads.add(part="g", dataset="G_BATCH", key_bytes=b"k", values=1, newest_millis=9, freshness=fresh(Freshness(5, 0)))
        reply.reads.add(part="g", dataset="G_STREAMING", key_bytes=b"k", after_ts_millis=5, error=status(DerivationFailed("no")))
        reply.phases.add(name="store").duration.FromMilliseconds(3)
        return reply


class FakeHealth(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    status = health_pb2.HealthCheckResponse.SERVING

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=self.status)


@dataclass
class Running:
    kv: FakeKV
    fetcher: FakeFetcher
    health: FakeHealth
    target: str
    server: grpc.aio.Server


@asynccontextmanager
async def running(credentials: grpc.ServerCredentials | None = None, target: str = "127.0.0.1:0") -> AsyncIterator[Running]:
    """A server on a free port of loopback, or on ``target``, to the end of the block."""
    kv, health, server = FakeKV(), FakeHealth(), grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    fetcher = FakeFetcher(kv)
    kv_pb2_grpc.add_KVStoreServicer_to_server(kv, server)  # type: ignore[no-untyped-call]
    fetcher_pb2_grpc.add_FetcherServicer_to_server(fetcher, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port(target) if credentials is None else server.add_secure_port(target, credentials)
    await server.start()
    try:
        yield Running(kv, fetcher, health, f"127.0.0.1:{port}", server)
    finally:
        kv.gate.set()
        await server.stop(None)

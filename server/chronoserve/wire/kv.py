"""The KVStore service: bytes in, bytes out; what it means is the gateway's business."""

import base64
import binascii
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from chronoserve.kvstore.port import Capability, GetResult, PutResult
from chronoserve.model.dataset import Dataset, Kind
from chronoserve.model.errors import CorruptValue, InvalidRequest, KVError, Unavailable
from chronoserve.service.bulk import BulkLoader, Load, Progress
from chronoserve.service.gateway import Gateway, NamedPut
from chronoserve.v1 import kv_pb2
from chronoserve.wire.reads import Get, Reads
from chronoserve.wire.replies import PUT_OK, check_size, header, multi_get_response, multi_put_response
from chronoserve.wire.seam import Conversation, Seam, parse
from chronoserve.wire.status import put_response, status
from chronoserve.wire.streams import KEYS_OF_BATCH_MAX, answer_stream

SERVICE = "chronoserve.v1.KVStore"


class KVStoreService:
    """One method for each RPC of ``chronoserve.v1.KVStore``."""

    def __init__(self, gateway: Gateway, seam: Seam, *, message_bytes_max: int, bulk: BulkLoader) -> None:
        self._gateway = gateway
        self._seam = seam
        self._message_bytes_max = message_bytes_max
        self._bulk = bulk
        self._reads = Reads(gateway)
        self._keys_of_batch = min(KEYS_OF_BATCH_MAX, gateway.limits.keys_per_call_max)

    def handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """All methods, for ``server.add_generic_rpc_handlers``."""
        seam = self._seam
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Create": seam.unary("Create", self.create),
                "Get": seam.unary("Get", self.get),
                "MultiGet": seam.unary("MultiGet", self.multi_get),
                "Put": seam.unary("Put", self.put),
                "MultiPut": seam.unary("MultiPut", self.multi_put),
                "BulkPut": seam.unary_stream("BulkPut", self.bulk_put),
                "StreamMultiGet": seam.conversation("StreamMultiGet", self.stream_multi_get),
                "StreamMultiPut": seam.conversation("StreamMultiPut", self.stream_multi_put),
                "Scan": seam.unary("Scan", self.scan),
                "Delete": seam.unary("Delete", self.delete),
                "Describe": seam.unary("Describe", self.describe),
                "GetCapabilities": seam.unary("GetCapabilities", self.get_capabilities),
            },
        )

    # the hot path

    async def multi_get(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context) if self._seam.identify else None
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        plain = self._reads.plain(data) if caller is None else None
        if plain is not None:
            return multi_get_response(await self._gateway.multi_get_known(plain, deadline=deadline), self._message_bytes_max)
        requests = parse(kv_pb2.MultiGetRequest, data).requests
        return multi_get_response(await self._gateway.multi_get(requests, deadline=deadline, caller=caller), self._message_bytes_max)

    async def get(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context) if self._seam.identify else None
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        request = parse(kv_pb2.GetRequest, data)
        (result,) = await self._gateway.multi_get((request,), deadline=deadline, caller=caller)
        if isinstance(result, KVError):
            raise result
        check_size(len(result), self._message_bytes_max)
        return result

    async def stream_multi_get(self, stream: Conversation) -> None:
        deadlines, seam = self._seam.deadlines, self._seam
        caller = await seam.caller(stream.context)

        def requests_of(data: bytes) -> Sequence[Get]:
            return self._reads.parse(data, caller)

        async def read(requests: list[Get]) -> list[GetResult]:
            return await self._reads.get(requests, seam.deadline(stream.context, deadlines.read_default), caller)

        def reply(results: Sequence[GetResult]) -> bytes:
            return multi_get_response(results, self._message_bytes_max)

        await answer_stream(stream, requests_of, read, reply, keys_max=self._keys_of_batch)

    # writes

    async def put(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.write_default)
        request = _named_put(parse(kv_pb2.PutRequest, data))
        (result,) = await self._gateway.multi_put((request,), deadline=deadline, caller=caller)
        if result is not None:
            raise result
        return PUT_OK

    async def multi_put(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.write_default)
        requests = [_named_put(put) for put in parse(kv_pb2.MultiPutRequest, data).requests]
        return multi_put_response(await self._gateway.multi_put(requests, deadline=deadline, caller=caller))

    async def stream_multi_put(self, stream: Conversation) -> None:
        deadlines, seam = self._seam.deadlines, self._seam
        caller = await seam.caller(stream.context)

        async def write(requests: list[NamedPut]) -> list[PutResult]:
            deadline = seam.deadline(stream.context, deadlines.write_default)
            return await self._gateway.multi_put(requests, deadline=deadline, caller=caller)

        await answer_stream(stream, _puts, write, multi_put_response, keys_max=self._keys_of_batch)

    async def delete(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.write_default)
        request = parse(kv_pb2.DeleteRequest, data)
        results = await self._gateway.delete(request.dataset, list(request.key_bytes), deadline=deadline, caller=caller)
        return kv_pb2.DeleteResponse(responses=[put_response(result) for result in results]).SerializeToString()

    async def bulk_put(self, data: bytes, context: Any) -> AsyncGenerator[bytes]:
        caller = await self._seam.caller(context)
        request = parse(kv_pb2.BulkPutRequest, data)
        load = Load(request.source_offline_table, request.destination_online_dataset, request.partition, request.resume_token)
        async with aclosing(self._bulk.run(load, caller)) as loading:
            async for progress in loading:
                yield _progress(progress).SerializeToString()
                if self._seam.draining.began and not progress.done:
                    raise Unavailable("the server is stopping; call again with the last resume_token")

    # datasets

    async def create(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.write_default)
        request = parse(kv_pb2.CreateRequest, data)
        kind, ttl_millis = _properties(request.properties)
        dataset = await self._gateway.create(request.dataset, kind, ttl_millis, deadline=deadline, caller=caller)
        return kv_pb2.CreateResponse(dataset=self._described(dataset)).SerializeToString()

    async def describe(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        request = parse(kv_pb2.DescribeRequest, data)
        found = await self._gateway.describe(request.dataset, deadline=deadline, caller=caller)
        return kv_pb2.DescribeResponse(datasets=[self._described(dataset) for dataset in found]).SerializeToString()

    async def scan(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        request = parse(kv_pb2.ScanRequest, data)
        token = _page_token(request.page_token)
        page = await self._gateway.scan(request.dataset, token, keys_max=request.page_size, deadline=deadline, caller=caller)
        reply = kv_pb2.ScanResponse(next_page_token=base64.urlsafe_b64encode(page.next_token).decode()).SerializeToString()
        return b"".join((*(_scan_entry(key, found) for key, found in page.entries), reply))

    async def get_capabilities(self, data: bytes, context: Any) -> bytes:
        await self._seam.caller(context)
        parse(kv_pb2.GetCapabilitiesRequest, data)
        router = self._gateway.router
        patterns = {name: [route.pattern for route in router.routes if route.store == name] for name in router.stores}
        return kv_pb2.GetCapabilitiesResponse(
            stores=[_capability(name, store.capability, patterns[name]) for name, store in router.stores.items()],
            keys_per_call_max=self._gateway.limits.keys_per_call_max,
            message_bytes_max=self._message_bytes_max,
        ).SerializeToString()

    def _described(self, dataset: Dataset) -> kv_pb2.Dataset:
        properties = kv_pb2.DatasetProperties(kind=kv_pb2.DatasetKind.Name(dataset.properties.kind))
        if dataset.properties.ttl_millis:
            properties.ttl.FromMilliseconds(dataset.properties.ttl_millis)
        return kv_pb2.Dataset(name=dataset.name, properties=properties, store=self._gateway.router.store_name(dataset.name))


def _puts(data: bytes) -> Sequence[NamedPut]:
    return [_named_put(put) for put in parse(kv_pb2.MultiPutRequest, data).requests]


def _named_put(put: kv_pb2.PutRequest) -> NamedPut:
    millis = put.ts_millis if put.HasField("ts_millis") else None
    return NamedPut(put.dataset, put.key_bytes, put.value_bytes, millis, put.idempotency_token)


def _properties(properties: kv_pb2.DatasetProperties) -> tuple[Kind | None, int]:
    if properties.kind not in (0, *Kind):
        raise InvalidRequest("properties.kind is LATEST, TIMED or unspecified", field="properties.kind")
    ttl: Duration = properties.ttl
    if ttl.nanos % 1_000_000:
        raise InvalidRequest("properties.ttl is in whole milliseconds", field="properties.ttl")
    return Kind(properties.kind) if properties.kind else None, ttl.seconds * 1000 + ttl.nanos // 1_000_000


def _progress(progress: Progress) -> kv_pb2.BulkPutResponse:
    reply = kv_pb2.BulkPutResponse(
        rows=progress.rows,
        bytes=progress.bytes,
        rate=progress.rows_a_second,
        rows_total=progress.rows_total,
        resume_token=progress.resume_token,
        done=progress.done,
    )
    if progress.done:
        reply.result.rows_written = progress.rows_written
        reply.result.rows_refused = progress.rows_refused
        reply.result.errors.extend(status(error) for error in progress.errors)
    return reply


def _page_token(text: str) -> bytes:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("page_token is not one that Scan answered", field="page_token") from None


def _scan_entry(key: bytes, found: bytes) -> bytes:
    """``entries`` of ScanResponse: field 1 is the key, field 2 the values, which a stored answer holds as field 1."""
    try:
        found_values = kv_pb2.GetResponse.FromString(found).values
    except DecodeError:
        raise CorruptValue("the store holds a value that does not have the layout of chronoserve.v1.GetResponse") from None
    entry = kv_pb2.ScanEntry(key_bytes=key, values=found_values).SerializeToString()
    return header(len(entry)) + entry


def _capability(name: str, capability: Capability, patterns: list[str]) -> kv_pb2.StoreCapability:
    return kv_pb2.StoreCapability(
        store=name,
        engine=capability.engine,
        datasets=patterns,
        key_bytes_max=capability.key_bytes_max,
        value_bytes_max=capability.value_bytes_max,
        multi_get_keys_max=capability.multi_get_keys_max,
        multi_put_keys_max=capability.multi_put_keys_max,
        timed=capability.timed,
        ttl=capability.ttl,
        scan=capability.scan,
        delete=capability.delete,
        durable=capability.durable,
        durability=capability.durability,
        linearizable=capability.linearizable,
    )

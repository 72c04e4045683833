"""The Fetcher service: features by join or group by, their schemas, their names, and where each comes from."""

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from time import perf_counter
from typing import Any

import grpc

from chronoserve.fetcher.fetch import Names
from chronoserve.fetcher.observe import Phase
from chronoserve.fetcher.trace import Trace, TracedRead
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.features import FeatureRow
from chronoserve.service.access import Caller
from chronoserve.service.avro_rows import hash_of
from chronoserve.service.features import ROWS_AT_ONCE, Features, Target
from chronoserve.v1 import fetcher_pb2
from chronoserve.wire import feature_requests
from chronoserve.wire.feature_replies import ReplyEncoder, fresh
from chronoserve.wire.seam import Seam, parse
from chronoserve.wire.status import status

SERVICE = "chronoserve.v1.Fetcher"
ENCODINGS = frozenset(fetcher_pb2.Encoding.values())


class FetcherService:
    """One method for each RPC of ``chronoserve.v1.Fetcher``."""

    def __init__(self, features: Features, seam: Seam, *, message_bytes_max: int) -> None:
        self._features = features
        self._seam = seam
        self._message_bytes_max = message_bytes_max
        self._encoder = ReplyEncoder()

    def handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """All methods, for ``server.add_generic_rpc_handlers``."""
        seam = self._seam
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "FetchJoins": seam.unary("FetchJoins", self.fetch_joins),
                "FetchGroupBys": seam.unary("FetchGroupBys", self.fetch_group_bys),
                "StreamFetch": seam.stream_stream("StreamFetch", self.stream_fetch),
                "GetJoinSchema": seam.unary("GetJoinSchema", self.get_join_schema),
                "GetGroupBySchema": seam.unary("GetGroupBySchema", self.get_group_by_schema),
                "ListJoins": seam.unary("ListJoins", self.list_joins),
                "ListGroupBys": seam.unary("ListGroupBys", self.list_group_bys),
                "Explain": seam.unary("Explain", self.explain),
            },
        )

    # the hot path

    async def fetch_joins(self, data: bytes, context: Any) -> bytes:
        arrived = perf_counter()
        caller = await self._seam.caller(context) if self._seam.identify else None
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        return await self._fetch(Target.JOINS, parse(fetcher_pb2.FetchRequest, data), deadline, caller, arrived)

    async def fetch_group_bys(self, data: bytes, context: Any) -> bytes:
        arrived = perf_counter()
        caller = await self._seam.caller(context) if self._seam.identify else None
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        return await self._fetch(Target.GROUP_BYS, parse(fetcher_pb2.FetchRequest, data), deadline, caller, arrived)

    async def stream_fetch(self, messages: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes]:
        caller = await self._seam.caller(context)
        async for data in messages:
            arrived = perf_counter()
            deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
            message = parse(fetcher_pb2.StreamFetchRequest, data)
            yield await self._fetch(feature_requests.target(message.target), message.fetch, deadline, caller, arrived)

    async def _fetch(
        self, target: Target, message: fetcher_pb2.FetchRequest, deadline: float, caller: Caller | None, arrived: float
    ) -> bytes:
        encoding = message.encoding
        if encoding not in ENCODINGS:
            raise InvalidRequest("encoding is one of MAP, PACKED and AVRO", field="encoding")
        self._features.check_rows(len(message.requests))
        requests = feature_requests.requests(message.requests)
        metrics = self._features.metrics(target)
        metrics.phase(Phase.QUEUE, perf_counter() - arrived)
        as_avro = encoding == fetcher_pb2.ENCODING_AVRO
        rows = await self._features.fetch(target, requests, deadline=deadline, caller=caller, with_base=as_avro)
        began = perf_counter()
        if encoding == fetcher_pb2.ENCODING_PACKED:
            reply = self._encoder.packed(rows, freshness=message.include_freshness)
        elif as_avro:
            names = [request.name for request in message.requests]
            written = await self._features.avro(target, names, rows, deadline=deadline)
            reply = self._encoder.avro(rows, written, freshness=message.include_freshness)
        else:
            reply = await self._maps(rows, freshness=message.include_freshness)
        metrics.phase(Phase.ENCODE, perf_counter() - began)
        return self._bounded(reply)

    async def _maps(self, rows: Sequence[FeatureRow], *, freshness: bool) -> bytes:
        """Replies of many rows are made in parts, others get their turn in between, and one that has become too large ends there."""
        if len(rows) <= ROWS_AT_ONCE:
            return self._encoder.maps(rows, freshness=freshness)
        reply = bytearray()
        for at in range(0, len(rows), ROWS_AT_ONCE):
            reply += self._encoder.maps(rows[at : at + ROWS_AT_ONCE], freshness=freshness)
            if len(reply) > self._message_bytes_max:
                break
            await asyncio.sleep(0)
        return bytes(reply)

    def _bounded(self, reply: bytes) -> bytes:
        """``reply``, unless it is larger than a client will take. Raises InvalidRequest with advice."""
        if len(reply) <= self._message_bytes_max:
            return reply
        raise InvalidRequest(
            f"the answer has more than the {self._message_bytes_max} bytes of a message: ask for fewer rows, "
            "or for ENCODING_PACKED, which sends names once",
            field="requests",
        )

    # schemas and names

    async def get_join_schema(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        request = parse(fetcher_pb2.GetJoinSchemaRequest, data)
        found = await self._features.join_schema(request.name, deadline=deadline, caller=caller)
        return fetcher_pb2.GetJoinSchemaResponse(
            name=found.name,
            key_schema=found.key_schema,
            value_schema=found.value_schema,
            schema_hash=found.schema_hash,
            value_infos=[
                fetcher_pb2.ValueInfo(name=info.name, group=info.group, prefix=info.prefix, left_keys=info.left_keys, type=info.type)
                for info in found.value_infos
            ],
        ).SerializeToString()

    async def get_group_by_schema(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        request = parse(fetcher_pb2.GetGroupBySchemaRequest, data)
        found = await self._features.group_by_schema(request.name, deadline=deadline, caller=caller)
        return fetcher_pb2.GetGroupBySchemaResponse(
            name=found.name,
            key_schema=found.key_schema,
            value_schema=found.value_schema,
            schema_hash=hash_of(found),
            input_schema=found.input_schema or "",
            selected_schema=found.selected_schema or "",
            batch_end_millis=found.batch_end_millis,
        ).SerializeToString()

    async def list_joins(self, data: bytes, context: Any) -> bytes:
        request = parse(fetcher_pb2.ListJoinsRequest, data)
        page = await self._names(Target.JOINS, request.page_size, request.page_token, context)
        return fetcher_pb2.ListJoinsResponse(names=page.names, next_page_token=_token_text(page.next_token)).SerializeToString()

    async def list_group_bys(self, data: bytes, context: Any) -> bytes:
        request = parse(fetcher_pb2.ListGroupBysRequest, data)
        page = await self._names(Target.GROUP_BYS, request.page_size, request.page_token, context)
        return fetcher_pb2.ListGroupBysResponse(names=page.names, next_page_token=_token_text(page.next_token)).SerializeToString()

    async def _names(self, target: Target, page_size: int, token: str, context: Any) -> Names:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        return await self._features.names(target, page_size=page_size, token=_token(token), deadline=deadline, caller=caller)

    async def explain(self, data: bytes, context: Any) -> bytes:
        caller = await self._seam.caller(context)
        deadline = self._seam.deadline(context, self._seam.deadlines.read_default)
        message = parse(fetcher_pb2.ExplainRequest, data)
        target = feature_requests.target(message.target)
        trace = Trace()
        asked = [feature_requests.request(message.request)]
        (row,) = await self._features.fetch(target, asked, deadline=deadline, caller=caller, trace=trace)
        reply = fetcher_pb2.ExplainResponse(
            reads=[_read(each) for each in trace.reads], phases=_phases(trace), feature_parts=trace.feature_parts
        )
        reply.response.MergeFromString(self._encoder.response(row, freshness=True))
        for each in reply.reads:
            if each.part in row.freshness:
                each.freshness.CopyFrom(fresh(row.freshness[each.part]))
        return self._bounded(reply.SerializeToString())


def _read(traced: TracedRead) -> fetcher_pb2.ExplainedRead:
    read = traced.read
    return fetcher_pb2.ExplainedRead(
        part=traced.part,
        dataset=read.dataset,
        key_bytes=read.key_bytes,
        after_ts_millis=read.after_ts_millis or None,
        values=traced.values,
        error=status(traced.error) if traced.error else None,
        newest_millis=traced.newest_millis,
        cached=traced.cached,
    )


def _phases(trace: Trace) -> list[fetcher_pb2.ExplainedPhase]:
    """In the order in which a fetch goes through them."""
    phases = []
    for phase, seconds in sorted(trace.seconds.items()):
        explained = fetcher_pb2.ExplainedPhase(name=phase.name.lower())
        explained.duration.FromMicroseconds(round(seconds * 1_000_000))
        phases.append(explained)
    return phases


def _token_text(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode()


def _token(text: str) -> bytes:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("page_token is not one that this method answered", field="page_token") from None

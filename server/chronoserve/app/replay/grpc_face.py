"""A world through a server's gRPC face: puts by MultiPut, then FetchJoins and FetchGroupBys, typed by the schema RPCs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, repeat
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from chronoserve.app.connection import MESSAGE_BYTES_MAX, Server
from chronoserve.app.replay.faces import Answers, CannotAsk, RecordedPut, Response, Tagged, check_boxes
from chronoserve.app.replay.server import ReplayServer, ReplayTarget, RunningServer
from chronoserve.codec.avro import type_of
from chronoserve.codec.tagged import tag
from chronoserve.model.boxed import Float
from chronoserve.model.errors import LateBatch
from chronoserve.model.features import FeatureRequest
from chronoserve.model.types import DATE, INTEGRAL, TIMESTAMP, DataType, ListType, MapType, StructType
from chronoserve.v1 import fetcher_pb2
from chronoserve.v1.fetcher_pb2_grpc import FetcherStub

SECONDS = 30.0
EXCEPTION = "_exception"
WHOLE = INTEGRAL | {DATE, TIMESTAMP}
SINGULAR = {f"{kind}_values": f"{kind}_value" for kind in ("bool", "int", "float", "double", "string", "bytes")}
"""A column's kind of values, and where a Value has one of them."""
BOXES = ("int", "long", "short", "byte")
Value = fetcher_pb2.Value


class GrpcAnswers:
    """Asks a server over gRPC, by turns for maps of values and for packed columns.

    It knows nothing of the types but what the server's schemas say. The third encoding, Avro, cannot tell absent from null.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str | None = None) -> None:
        self._encodings = cycle((fetcher_pb2.ENCODING_MAP, fetcher_pb2.ENCODING_PACKED))
        self._stub: Any = FetcherStub(channel)  # type: ignore[no-untyped-call] # generated
        self._metadata = [("authorization", f"Bearer {token}")] if token else None
        self._schemas: dict[tuple[str, str], _Schema] = {}

    @classmethod
    @asynccontextmanager
    async def to(cls, server: Server) -> "AsyncIterator[GrpcAnswers]":
        """A running server, reached as the command line says."""
        async with channel_to(server) as channel:
            yield cls(channel, server.token)

    def forget_schemas(self) -> None:
        """Ask for schemas again: confs may have changed."""
        self._schemas.clear()

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        for request in requests:
            check_boxes(request, (await self._schema(api, request.name)).key_type)
        call = self._stub.FetchJoins if api == "fetchJoin" else self._stub.FetchGroupBys
        message = fetcher_pb2.FetchRequest(requests=[_message(request) for request in requests], encoding=next(self._encodings))
        try:
            reply = await call(message, timeout=SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError as failed:
            return Answers(call_error={"class": failed.code().name, "message": failed.details() or ""})
        unpack(reply)
        return Answers([await self._response(api, *each) for each in zip(requests, reply.responses, guide, strict=True)])

    async def _response(self, api: str, request: FeatureRequest, found: fetcher_pb2.FeatureResponse, guide: Response | None) -> Response:
        status = fetcher_pb2.RowStatus.Name(found.status).removeprefix("ROW_STATUS_")
        response: Response = {"name": request.name, "at_millis": request.at_millis, "status": status}
        parts = {f"{stem}{EXCEPTION}": error.message for stem, error in found.part_errors.items() if _reason(error) != LateBatch.reason}
        if found.status == fetcher_pb2.ROW_STATUS_ERROR and not parts:
            return {**response, "error": {"class": _reason(found.error), "message": found.error.message}}
        if not found.features and not parts and api != "fetchJoin" and found.status == fetcher_pb2.ROW_STATUS_MISSING:
            return {**response, "values": None}
        types = (await self._schema(api, request.name)).types
        recorded = (guide or {}).get("values") or {}
        values = {name: tagged(value, types.get(name), recorded.get(name)) for name, value in found.features.items()}
        return {**response, "values": {**values, **parts}}

    async def _schema(self, api: str, name: str) -> "_Schema":
        """What the server says of keys and values."""
        key = api, name
        if key not in self._schemas:
            self._schemas[key] = await self._ask_schema(api, name)
        return self._schemas[key]

    async def _ask_schema(self, api: str, name: str) -> "_Schema":
        join = api == "fetchJoin"
        call = self._stub.GetJoinSchema if join else self._stub.GetGroupBySchema
        request = fetcher_pb2.GetJoinSchemaRequest if join else fetcher_pb2.GetGroupBySchemaRequest
        try:
            found = await call(request(name=name), timeout=SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError:
            return _Schema(None, {})
        return _Schema(type_of(found.key_schema), value_types(found.value_schema))


@dataclass(frozen=True, slots=True)
class _Schema:
    """``key_type`` None: the server has no schema. ``types``: of the values, by name."""

    key_type: StructType | None
    types: Mapping[str, DataType]


def unpack(reply: fetcher_pb2.FetchResponse) -> None:
    """Puts what stands in packed columns into the rows that have it, where the other encoding has it."""
    for column in reply.columns:
        kind = column.WhichOneof("values")
        values = iter(getattr(column, kind).values if kind else ())
        rows = column.rows or range(len(reply.responses))
        nulls = column.nulls or repeat(False)
        for row, null in zip(rows, nulls, strict=False):
            value = reply.responses[row].features[column.name]
            if null:
                value.null_value = 0  # type: ignore[assignment] # the only one there is
            elif kind == "other_values":
                value.CopyFrom(next(values))
            else:
                setattr(value, SINGULAR[kind], next(values))


def value_types(schema: str) -> dict[str, DataType]:
    """Types by feature; the fields of their structs have the names that they had before Avro wanted each name once."""
    found, clean = type_of(schema), type_of(schema, clean=True)
    return {field.name: original.type for field, original in zip(found.fields, clean.fields, strict=True)}


def _reason(error: status_pb2.Status) -> str:
    """Of ErrorInfo, as our errors carry it."""
    for detail in error.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return str(error.code)


def channel_to(server: Server) -> grpc.aio.Channel:
    """Not connected yet. Raises click.UsageError where the server's files do not go together."""
    credentials, options = server.credentials(), [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    if credentials is None:
        return grpc.aio.insecure_channel(server.target, options=options)
    return grpc.aio.secure_channel(server.target, credentials, options=options)


class GrpcFace:
    """A ``Face``."""

    def __init__(self, target: ReplayTarget, server: Server) -> None:
        self._target = target
        self._channel = channel_to(server)
        self._answers = GrpcAnswers(self._channel, server.token)

    @classmethod
    async def open(cls) -> "GrpcFace":
        """On a server of its own."""
        target = await ReplayServer.start()
        return cls(target, Server(target=target.address))

    @classmethod
    async def at(cls, server: Server) -> "GrpcFace":
        """On a running server."""
        return cls(RunningServer(server), server)

    async def close(self) -> None:
        await self._channel.close(None)
        await self._target.stop()

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        self._answers.forget_schemas()
        await self._target.put(puts)

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        return await self._answers.fetch(api, requests, guide)


def tagged(value: fetcher_pb2.Value, data_type: DataType | None, guide: Tagged) -> Tagged:
    """A value with the boxes of its type. A struct is positional, as Chronon has it, unless the recording has it by name."""
    match value.WhichOneof("kind"):
        case "null_value" | None:
            return None
        case "list_value":
            element = data_type.element if isinstance(data_type, ListType) else None
            guides = guide if isinstance(guide, list) else []
            common = next((each for each in guides if each is not None), None)
            return [
                tagged(each, element, guides[at] if at < len(guides) and guides[at] is not None else common)
                for at, each in enumerate(value.list_value.values)
            ]
        case "map_value" if isinstance(data_type, StructType):
            return _struct(value.map_value.entries, data_type, guide)
        case "map_value":
            element = data_type.value if isinstance(data_type, MapType) else None
            known = {key: each for key, each in guide["map"] if isinstance(key, str)} if _is(guide, "map") else {}
            return {"map": [[key, tagged(each, element, known.get(key))] for key, each in value.map_value.entries.items()]}
        case kind:
            return _scalar(kind, getattr(value, kind), data_type, guide)


def _scalar(kind: str, found: Any, data_type: DataType | None, guide: Tagged) -> Tagged:
    """An integer where the schema has no integer came that way from the request; the recording says in which box."""
    if kind == "int_value":
        return tag(found, data_type) if data_type in WHOLE else {_box(guide): found}
    return tag(Float(found)) if kind == "float_value" else tag(found)


def _box(guide: Tagged) -> str:
    return next((box for box in BOXES if _is(guide, box)), "int_value")


def _struct(entries: Mapping[str, fetcher_pb2.Value], data_type: StructType, guide: Tagged) -> Tagged:
    if _is(guide, "map"):
        by_name = {key: each for key, each in guide["map"] if isinstance(key, str)}
        return {"map": [[name, tagged(each, data_type.type_of(name), by_name.get(name))] for name, each in entries.items()]}
    if set(entries) != set(data_type.names):
        return {"fields": sorted(entries)}
    alike = _is(guide, "struct") and len(guide["struct"]) == len(data_type.fields)
    guides = guide["struct"] if alike else [None] * len(data_type.fields)
    return {"struct": [tagged(entries[field.name], field.type, each) for field, each in zip(data_type.fields, guides, strict=True)]}


def _is(guide: Tagged, box: str) -> bool:
    return isinstance(guide, dict) and box in guide


def _message(request: FeatureRequest) -> fetcher_pb2.FeatureRequest:
    """Raises CannotAsk."""
    message = fetcher_pb2.FeatureRequest(name=request.name, at_millis=request.at_millis)
    for name, value in request.keys.items():
        message.keys[name].CopyFrom(_value(value))
    return message


def _value(value: object) -> fetcher_pb2.Value:
    match value:
        case None:
            return Value(null_value=0)  # type: ignore[arg-type] # the only one there is
        case bool():
            return Value(bool_value=value)
        case int():
            return Value(int_value=value)
        case Float():
            return Value(float_value=value)
        case float():
            return Value(double_value=value)
        case str():
            return Value(string_value=value)
        case bytes():
            return Value(bytes_value=value)
        case list():
            return Value(list_value=fetcher_pb2.ListValue(values=[_value(each) for each in value]))
        case dict() if all(isinstance(key, str) for key in value):
            return Value(map_value=fetcher_pb2.MapValue(entries={key: _value(each) for key, each in value.items()}))
        case _:
            raise CannotAsk(f"a key that is a {type(value).__name__}")

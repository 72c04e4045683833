"""Handler of external sources that are a gRPC service: chronoserve.v1.ExternalSource of somebody else's server."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from chronoserve.fetcher.boxing import from_service
from chronoserve.fetcher.external import OUTGOING_HEADERS, Answer, Row
from chronoserve.fetcher.sources import ERROR_CHARS_MAX
from chronoserve.model.confs import ExternalSource
from chronoserve.model.errors import ExternalFailed, Internal, InvalidRequest, KVError
from chronoserve.v1 import external_pb2
from chronoserve.wire.feature_values import decode, encode_boxed, entry, length, name_part

METHOD = "/chronoserve.v1.ExternalSource/Fetch"
RESPONSE_BYTES_MAX = 4 << 20
ROWS_TAG = b"\x1a"
"""Field 3, length-delimited: ``rows``."""
SCHEMES = ("grpc://", "grpcs://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to ask: ``grpc://host:port`` in the clear, ``grpcs://`` with TLS. ``headers`` may hold secrets. ``ca_file``: PEM."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str | None = None
    response_bytes_max: int = RESPONSE_BYTES_MAX

    def __post_init__(self) -> None:
        """Raises InvalidRequest where this is no target."""
        if not self.url.startswith(SCHEMES) or not self.url.partition("://")[2]:
            raise InvalidRequest("the target of a gRPC service is grpc://HOST:PORT, or grpcs://HOST:PORT with TLS", field="url")

    def channel(self) -> grpc.aio.Channel:
        """A channel, which connects on the first call. Raises InvalidRequest where the CA cannot be read."""
        scheme, _, target = self.url.partition("://")
        options = [("grpc.max_receive_message_length", self.response_bytes_max), ("grpc.enable_http_proxy", 0)]
        if scheme == "grpc":
            return grpc.aio.insecure_channel(target, options=options)
        try:
            roots = Path(self.ca_file).read_bytes() if self.ca_file else None
        except OSError as unreadable:
            raise InvalidRequest("the CA file of an external source cannot be read", field="ca_file") from unreadable
        return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots), options=options)


class GrpcSource:
    """Asks one server for every source that it is registered for."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._metadata = tuple((name.lower(), value) for name, value in target.headers.items())
        self._channel: grpc.aio.Channel | None = None
        self._fetch: Any = None

    async def fetch(self, source: ExternalSource, rows: Sequence[Row], *, deadline: float) -> list[Answer]:
        """One answer for each row. Raises ExternalFailed where the server gave none."""
        if self._channel is None:
            self._channel = self._target.channel()
            self._fetch = self._channel.unary_unary(METHOD, None, None)  # bytes: the request is made by hand, as replies are
        seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            metadata = (*self._metadata, *OUTGOING_HEADERS.get().items())
            reply = await self._fetch(request(source, rows), timeout=seconds, metadata=metadata)
            answers = external_pb2.ExternalSourceFetchResponse.FromString(reply).answers
        except grpc.aio.AioRpcError as failed:
            raise ExternalFailed(f"its service answered {failed.code().name}") from failed
        except DecodeError as broken:
            raise ExternalFailed("its service answered something that is not an ExternalSourceFetchResponse") from broken
        return [_answer(source, answer) for answer in answers]

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)


def request(source: ExternalSource, rows: Sequence[Row]) -> bytes:
    """A serialised ExternalSourceFetchRequest. Raises ExternalFailed where a key is of no type that Value knows."""
    head = external_pb2.ExternalSourceFetchRequest(source=source.meta_data.name, factory_params=source.factory_params or {})
    try:
        bodies = [b"".join([entry(name_part(name), encode_boxed(key)) for name, key in row.items()]) for row in rows]
    except Internal as odd:
        raise ExternalFailed("a key is of a type that cannot be sent") from odd
    return head.SerializeToString() + b"".join([piece for body in bodies for piece in (ROWS_TAG, length(len(body)), body)])


def _answer(source: ExternalSource, answer: external_pb2.ExternalAnswer) -> Answer:
    if answer.HasField("error"):
        return ExternalFailed(answer.error.message[:ERROR_CHARS_MAX] or "its service has no answer for this row")
    try:
        return from_service({name: decode(value) for name, value in answer.values.items()}, source.value_schema)
    except KVError as odd:
        return ExternalFailed(f"its service answered a value that cannot be read: {odd.message}")

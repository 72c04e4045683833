"""grpc.health.v1: Check, Watch and List (gRFC A90). "" is the process; each service and each store has its own entry."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.values import varint
from chronoserve.wire.seam import parse

SERVICE = "grpc.health.v1.Health"
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


class HealthService:
    """Statuses by service name. Needs no identity: a probe has none."""

    def __init__(self, services: list[str]) -> None:
        self._statuses = dict.fromkeys(["", *services], SERVING)
        self._changed = asyncio.Event()

    def set(self, service: str, status: int) -> None:
        """Change one status and tell those who watch."""
        if self._statuses.get(service) != status:
            self._statuses[service] = status
            self._changed.set()
            self._changed = asyncio.Event()

    def drain(self) -> None:
        """Everything is NOT_SERVING from now on."""
        for service in self._statuses:
            self.set(service, NOT_SERVING)

    @property
    def serving(self) -> bool:
        return bool(self._statuses[""] == SERVING)

    def statuses(self) -> dict[str, str]:
        """Names of the statuses by service, for people."""
        return {service: HealthCheckResponse.ServingStatus.Name(status) for service, status in self._statuses.items()}

    def handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch),
                "List": grpc.unary_unary_rpc_method_handler(self.list),
            },
        )

    async def check(self, data: bytes, context: Any) -> bytes:
        status = self._statuses.get(await _service(data, context))
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service; List names them all")
        return bytes(HealthCheckResponse(status=status).SerializeToString())

    async def watch(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        service, last = await _service(data, context), None
        while True:
            changed = self._changed
            status = self._statuses.get(service, SERVICE_UNKNOWN)
            if status != last:
                yield HealthCheckResponse(status=status).SerializeToString()
                last = status
            await changed.wait()

    async def list(self, _: bytes, __: Any) -> bytes:
        """HealthListResponse, ``map<string, HealthCheckResponse> statuses = 1``: the stubs of grpcio 1.75 lack the message."""
        entries = (
            _field(1, service.encode()) + _field(2, HealthCheckResponse(status=status).SerializeToString())
            for service, status in self._statuses.items()
        )
        return b"".join(_field(1, entry) for entry in entries)


async def _service(data: bytes, context: Any) -> str:
    """The name that is asked for; the call ends where ``data`` is no request."""
    try:
        return str(parse(HealthCheckRequest, data).service)
    except InvalidRequest as malformed:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, malformed.message)
        raise


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data

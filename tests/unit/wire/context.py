"""The part of grpc.aio's ServicerContext that the handlers use."""

from typing import Any, NoReturn

import grpc


class Context:
    """A call as the transport shows it."""

    def __init__(self, *, seconds: float | None = None, metadata: tuple[tuple[str, Any], ...] = (), names: tuple[bytes, ...] = ()) -> None:
        self.seconds = seconds
        self.metadata = metadata
        self.names = names
        self.written: list[bytes] = []
        self.trailing: dict[str, Any] = {}
        self.status: tuple[str, str] | None = None

    def time_remaining(self) -> float | None:
        return self.seconds

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self.metadata

    def peer_identities(self) -> tuple[bytes, ...]:
        return self.names

    def set_trailing_metadata(self, metadata: tuple[tuple[str, Any], ...]) -> None:
        self.trailing.update(metadata)

    async def write(self, reply: bytes) -> None:
        self.written.append(reply)

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self.status = (code.name, details)
        raise grpc.aio.AbortError(details)

"""A transport, as the server sees it: it is handed handlers, listens, and ends without losing a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from chronoserve.wire.tls import TLSFiles

METADATA_BYTES_MAX = 16 << 10
CONNECTION_AGE_SECONDS = 1800
CONNECTION_AGE_GRACE_SECONDS = 30
KEEPALIVE_SECONDS = 30
AFTER_DRAIN_SECONDS = 0.5
"""What the transport gets to hand out the last replies once no handler is under way."""

Handlers = Sequence["grpc.GenericRpcHandler[Any, Any]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """What a transport is told; bounds of spec/reliability.md §6."""

    listen: Sequence[str]
    message_bytes_max: int = 4 << 20
    streams_per_connection_max: int = 100
    reuse_port: bool = True
    tls: TLSFiles | None = None
    native: bool = False


class DataPort(Protocol):
    """``start``, then ``drain`` once."""

    async def start(self) -> list[str]:
        """Listen on every address and answer them with the ports that were free.

        Raises:
            InvalidRequest: an address cannot be listened on, or a TLS file not be used; the message names it.
        """

    async def drain(self, seconds: float) -> bool:
        """Take no new connections, let the calls under way finish; False where ``seconds`` did not suffice."""

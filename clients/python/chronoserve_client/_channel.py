"""How a client reaches its server: the settings, checked once, and the channel options made of them."""

import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from chronoserve import __version__
from chronoserve.v1 import fetcher_pb2_grpc, kv_pb2_grpc
from chronoserve_client._retry import service_config

Token = str | Callable[[], str]
Option = tuple[str, Any]
Metadata = tuple[tuple[str, str], ...]

DEFAULT_TARGET = "127.0.0.1:50051"
READ_SECONDS = 1.0
WRITE_SECONDS = 5.0
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
KEEPALIVE_MILLIS = 30_000
KEEPALIVE_ANSWER_MILLIS = 10_000
RECONNECT_MILLIS_FIRST = 100
"""gRPC's own second would outlast every retry of a read."""
RECONNECT_MILLIS_MAX = 5_000
ATTEMPTS = 3
ATTEMPTS_MAX = 5
"""gRPC does not make more, whatever is asked of it."""

LOCAL_SCHEMES = ("unix:", "unix-abstract:")
ADDRESS_SCHEMES = ("dns:///", "ipv4:", "ipv6:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that a client is told. ``timeout`` and ``write_timeout`` are in seconds.

    Raises:
        ValueError: a setting is out of its range, or a token would travel in the clear.
    """

    target: str
    tls: bool | grpc.ChannelCredentials
    token: Token | None = field(repr=False)
    timeout: float
    write_timeout: float
    connections: int
    attempts: int
    message_bytes_max: int
    options: Sequence[Option]

    def __post_init__(self) -> None:
        if min(self.timeout, self.write_timeout) <= 0:
            raise ValueError("timeout and write_timeout are seconds above 0")
        if self.connections < 1:
            raise ValueError("connections is 1 or more")
        if not 1 <= self.attempts <= ATTEMPTS_MAX:
            raise ValueError(f"attempts is 1 (no retries) to {ATTEMPTS_MAX}")
        if self.token is not None and not self.tls and not stays_here(self.target):
            raise ValueError("a token is sent to other machines only with tls=True (or channel credentials): it could be read on the way")

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """None: plaintext."""
        if isinstance(self.tls, bool):
            return grpc.ssl_channel_credentials() if self.tls else None
        return self.tls

    def channel_options(self) -> list[Option]:
        """What a channel is made with; the caller's own ``options`` win over these."""
        defaults = {
            "grpc.primary_user_agent": f"chronoserve-python/{__version__}",
            "grpc.service_config": json.dumps(service_config(self.attempts)),
            "grpc.max_send_message_length": self.message_bytes_max,
            "grpc.max_receive_message_length": self.message_bytes_max,
            # a message that does not fit here is not repeated
            "grpc.per_rpc_retry_buffer_size": self.message_bytes_max,
            "grpc.keepalive_time_ms": KEEPALIVE_MILLIS,
            "grpc.keepalive_timeout_ms": KEEPALIVE_ANSWER_MILLIS,
            "grpc.keepalive_permit_without_calls": 0,
            "grpc.initial_reconnect_backoff_ms": RECONNECT_MILLIS_FIRST,
            "grpc.max_reconnect_backoff_ms": RECONNECT_MILLIS_MAX,
            # else channels to one target share one connection, and one connection is one worker of the server
            "grpc.use_local_subchannel_pool": int(self.connections > 1),
        }
        return [*{**defaults, **dict(self.options)}.items()]

    def metadata(self) -> Metadata | None:
        """What goes with every call. A token that is a function is asked each time, so that it may be renewed."""
        if self.token is None:
            return None
        token = self.token if isinstance(self.token, str) else self.token()
        return (("authorization", f"Bearer {token}"),)

    def seconds(self, timeout: float | None, *, write: bool) -> float:
        """The timeout of a call that names one or none."""
        if timeout is not None:
            return timeout
        return self.write_timeout if write else self.timeout


def methods(channel: grpc.Channel | grpc.aio.Channel) -> Mapping[str, Any]:
    """The RPCs of one channel by name; the services have no name in common."""
    stubs: tuple[Any, ...] = (kv_pb2_grpc.KVStoreStub, fetcher_pb2_grpc.FetcherStub, health_pb2_grpc.HealthStub)
    return {name: method for stub in stubs for name, method in vars(stub(channel)).items()}


def stays_here(target: str) -> bool:
    """Every address in the target is on this machine."""
    if target.startswith(LOCAL_SCHEMES):
        return True
    for scheme in ADDRESS_SCHEMES:
        target = target.removeprefix(scheme)
    return all(_is_loopback(address.rpartition(":")[0] or address) for address in target.split(","))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

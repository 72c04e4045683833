"""How a client is set up, and what of it the server sees."""

from datetime import UTC, datetime, timedelta
from inspect import signature
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chronoserve import __version__
from chronoserve.v1 import kv_pb2
from chronoserve_client import AsyncClient, Client
from chronoserve_client._channel import Settings, stays_here
from tests.unit.client.conftest import MakeClient
from tests.unit.client.server import Running, running


async def test_the_server_sees_who_calls(client: Any, server: Running) -> None:
    await client.get("clicks", b"ada")
    assert server.kv.metadata["user-agent"].startswith(f"chronoserve-python/{__version__} grpc-python")
    assert "authorization" not in server.kv.metadata


async def test_a_token_goes_with_every_call(make_client: MakeClient, server: Running) -> None:
    tokens = iter(["first", "second"])
    client = await make_client(server.target, token=lambda: next(tokens))
    for expected in ("first", "second"):
        await client.get("clicks", b"ada")
        assert server.kv.metadata["authorization"] == f"Bearer {expected}"
    fixed = await make_client(server.target, token="fixed")
    async with fixed.stream_multi_get() as stream:
        await stream.multi_get([("clicks", b"ada")])
    assert server.kv.metadata["authorization"] == "Bearer fixed"


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_a_token_does_not_leave_the_machine_in_the_clear(kind: type[AsyncClient | Client]) -> None:
    with pytest.raises(ValueError, match="tls=True"):
        kind("kv.example:50051", token="secret")


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/kv", "dns:///localhost:1", "ipv4:127.0.0.1:1,127.0.0.2:1"]
)
def test_targets_on_this_machine(target: str) -> None:
    assert stays_here(target)


@pytest.mark.parametrize("target", ["kv:1", "10.0.0.1:1", "dns:///kv:1", "ipv4:127.0.0.1:1,10.0.0.1:1", "localhost.example:1", "xds:///kv"])
def test_targets_elsewhere(target: str) -> None:
    assert not stays_here(target)


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"write_timeout": -1}, {"connections": 0}, {"attempts": 0}, {"attempts": 6}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AsyncClient(**wrong)


def settings(**changed: Any) -> Settings:
    defaults: dict[str, Any] = {"target": "localhost:1", "tls": False, "token": None, "timeout": 1, "write_timeout": 5,
                                "connections": 1, "attempts": 3, "message_bytes_max": 1000, "options": ()}  # fmt: skip
    return Settings(**defaults | changed)


def test_options_of_the_caller_win() -> None:
    ours = settings(options=[("grpc.keepalive_time_ms", 1), ("grpc.enable_retries", 0)]).channel_options()
    assert len(ours) == len(dict(ours))
    assert dict(ours)["grpc.keepalive_time_ms"] == 1
    assert dict(ours)["grpc.enable_retries"] == 0
    assert dict(settings().channel_options())["grpc.max_receive_message_length"] == 1000


def test_the_token_is_not_printed() -> None:
    assert "canary" not in repr(settings(token="canary"))


def test_the_defaults_are_those_of_the_server() -> None:
    for kind in (AsyncClient, Client):
        parameters = signature(kind).parameters
        assert (parameters["target"].default, parameters["timeout"].default, parameters["write_timeout"].default) == (
            "127.0.0.1:50051",
            1.0,
            5.0,
        )


async def test_calls_are_spread_over_connections(make_client: MakeClient, server: Running) -> None:
    client = await make_client(server.target, connections=3)
    for _ in range(6):
        await client.get("clicks", b"ada")
    assert len(server.kv.peers) == 3


async def test_one_connection_is_the_default(client: Any, server: Running) -> None:
    for _ in range(3):
        await client.get("clicks", b"ada")
    assert len(server.kv.peers) == 1


async def test_an_async_client_is_made_before_the_loop_runs(server: Running) -> None:
    import asyncio

    client = await asyncio.to_thread(AsyncClient, server.target, timeout=30)
    async with client:
        assert await client.get("clicks", b"ada") == []


async def test_a_client_that_was_never_used_closes(make_client: MakeClient) -> None:
    await make_client("127.0.0.1:1")


async def test_unix_sockets(make_client: MakeClient, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/kv"
    async with running(target=target) as server:
        server.kv.datasets["clicks"] = kv_pb2.DatasetProperties()
        client = await make_client(target, token="stays here")
        assert await client.get("clicks", b"ada") == []


async def test_tls(make_client: MakeClient) -> None:
    key, certificate = self_signed()
    async with running(grpc.ssl_server_credentials([(key, certificate)])) as server:
        server.kv.datasets["clicks"] = kv_pb2.DatasetProperties()
        client = await make_client(server.target, tls=grpc.ssl_channel_credentials(certificate), token="secret")
        assert await client.get("clicks", b"ada", timeout=30) == []
        assert server.kv.metadata["authorization"] == "Bearer secret"


def test_tls_may_use_the_roots_of_the_system() -> None:
    assert settings(tls=True).credentials is not None
    assert settings(tls=False).credentials is None


def self_signed() -> tuple[bytes, bytes]:
    """A key and a certificate of 127.0.0.1 for an hour, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chronoserve test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, certificate.public_bytes(serialization.Encoding.PEM)

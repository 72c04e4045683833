"""What only the native transport can get wrong: compression, its settings, and its own end."""

import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from chronoserve.app.settings import load
from chronoserve.model.errors import InvalidRequest
from chronoserve.v1 import kv_pb2
from chronoserve.wire import transports
from tests.server.conftest import StartServer
from tests.server.running import RunningServer, kv_stub

SECONDS = 20


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression])
def test_requests_may_be_compressed(server: RunningServer, compression: grpc.Compression) -> None:
    with grpc.insecure_channel(server.address, compression=compression) as channel:
        stub = kv_stub(channel)
        stub.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
        for value in (b"", b"v" * 100_000):
            stub.Put(kv_pb2.PutRequest(dataset="D", key_bytes=b"k", value_bytes=value), timeout=SECONDS)
            (found,) = stub.Get(kv_pb2.GetRequest(dataset="D", key_bytes=b"k"), timeout=SECONDS).values
            assert found.bytes == value
        (answer,) = stub.StreamMultiGet(
            iter([kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(dataset="D", key_bytes=b"k")] * 10)]), timeout=SECONDS
        )
        assert len(answer.responses) == 10


def test_a_small_message_that_becomes_a_huge_one_is_refused(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address, compression=grpc.Compression.Gzip) as channel:
        call: Any = channel.unary_unary("/chronoserve.v1.KVStore/Put")  # type: ignore[call-arg] # as other tests do
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(50 << 20), timeout=SECONDS)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_server_says_what_it_runs_on(server: RunningServer, transport: str) -> None:
    assert server.serving["transport"] == transport


def test_a_transport_that_is_not_there_is_refused_before_a_port_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chronoserve_native", None)
    given = {"stores": {"default": {"url": "memory://"}}}
    with pytest.raises(InvalidRequest, match="make native"):
        load(None, {**given, "transport": "native"})
    for choice in ("auto", "grpcio"):
        assert transports.name(load(None, {**given, "transport": choice}).transport) == "grpcio"
    with pytest.raises(InvalidRequest, match="transport"):
        load(None, {**given, "transport": "quic"})


def test_certificates_that_cannot_be_used_are_refused_before_a_port_opens(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing of the kind")
    files = ("--tls-cert", str(tmp_path / "x.pem"), "--tls-key", str(tmp_path / "x.pem"))
    with pytest.raises(AssertionError, match=r"TLS|tls|certificate|cannot listen"):
        start_server("--store", "memory://", *files)

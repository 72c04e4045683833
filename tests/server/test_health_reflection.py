"""What probes, operators and generic tools ask of a running server, on each of its addresses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client.parser import text_string_to_metric_families

from chronoserve.v1 import fetcher_pb2, kv_pb2
from tests.server.conftest import StartServer
from tests.server.running import RunningServer, eventually, kv_stub

SECONDS = 10
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
SERVICES = {"chronoserve.v1.KVStore", "chronoserve.v1.Fetcher", "grpc.health.v1.Health", *REFLECTIONS}
METHODS = [
    method.full_name
    for service in (kv_pb2.DESCRIPTOR.services_by_name["KVStore"], fetcher_pb2.DESCRIPTOR.services_by_name["Fetcher"])
    for method in service.methods
]


@pytest.fixture(scope="module")
def socket_path(folder_of_sockets: Path) -> str:
    return f"unix:{folder_of_sockets}/kv.sock"


@pytest.fixture(scope="module")
def server(start_server: StartServer, socket_path: str) -> RunningServer:
    """On two ports and a Unix socket, with an admin port for gRPC and one for HTTP."""
    listen = ("--listen", "127.0.0.1:0", "--listen", socket_path, "--listen", "127.0.0.1:0")
    return start_server(*listen, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0")


def test_every_address_serves_the_same_data(server: RunningServer, kv: Any, socket_path: str) -> None:
    addresses = server.serving["listen"]
    assert len(set(addresses)) == 3
    assert socket_path in addresses
    kv.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
    kv.Put(kv_pb2.PutRequest(dataset="D", key_bytes=b"k", value_bytes=b"v"), timeout=SECONDS)
    for address in addresses:
        with grpc.insecure_channel(address) as channel:
            (found,) = kv_stub(channel).Get(kv_pb2.GetRequest(dataset="D", key_bytes=b"k"), timeout=SECONDS).values
            assert found.bytes == b"v"


# grpc.health.v1


def test_check_knows_the_process_its_services_and_its_stores(channel: Any) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "chronoserve.v1.KVStore", "chronoserve.v1.Fetcher", "store/default"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS).status == SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        health.Check(health_pb2.HealthCheckRequest(service="x"), timeout=SECONDS)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_list_names_what_check_knows(channel: Any) -> None:
    data = channel.unary_unary("/grpc.health.v1.Health/List")(b"", timeout=SECONDS)
    for name in (b"", b"chronoserve.v1.KVStore", b"chronoserve.v1.Fetcher", b"store/default"):
        entry = b"\x0a" + bytes([len(name)]) + name + b"\x12\x02\x08\x01"
        assert b"\x0a" + bytes([len(entry)]) + entry in data


def test_watch_tells_that_the_server_drains(start_server: StartServer) -> None:
    server = start_server("--store", "memory://")
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == SERVING
        server.process.terminate()
        assert next(watch).status == NOT_SERVING
        with pytest.raises(grpc.RpcError):
            next(watch)
    assert server.wait() == 0, "a probe that watches does not hold the drain"


# reflection


def reflect(
    channel: Any, service: str, *requests: reflection_pb2.ServerReflectionRequest
) -> Iterator[reflection_pb2.ServerReflectionResponse]:
    """One stream with these requests; the messages of v1 and v1alpha have the same bytes."""
    call = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    yield from call(iter(requests), timeout=SECONDS)


def files_of(answer: reflection_pb2.ServerReflectionResponse) -> list[descriptor_pb2.FileDescriptorProto]:
    return [descriptor_pb2.FileDescriptorProto.FromString(each) for each in answer.file_descriptor_response.file_descriptor_proto]


@pytest.mark.parametrize("service", REFLECTIONS)
def test_reflection_lists_the_services(channel: Any, service: str) -> None:
    (answer,) = reflect(channel, service, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert {each.name for each in answer.list_services_response.service} == SERVICES


@pytest.mark.parametrize("service", REFLECTIONS)
def test_reflection_finds_each_service_message_and_method_by_name(channel: Any, service: str) -> None:
    """ghz and ``grpcurl describe`` ask for a method by its full name, which protobuf's own pool does not find."""
    symbols = [*SERVICES, *METHODS, "chronoserve.v1.GetRequest", "chronoserve.v1.DatasetKind", "google.rpc.Status"]
    requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol) for symbol in symbols]
    answers = list(reflect(channel, service, *requests))
    assert len(answers) == len(symbols)
    for symbol, answer in zip(symbols, answers, strict=True):
        described = files_of(answer)
        assert described, symbol
        assert any(symbol.startswith(f"{file.package}.") for file in described), symbol


@pytest.mark.parametrize("service", REFLECTIONS)
def test_reflection_says_not_found_and_goes_on(channel: Any, service: str) -> None:
    unknown = ("chronoserve.v1.KVStore.Drop", "chronoserve.v1.Nothing", "", ".", "x" * 10_000, "chronoserve.v1.KVStore.Get.Get")
    requests = [
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in unknown),
        reflection_pb2.ServerReflectionRequest(file_by_filename="../../etc/passwd"),
        reflection_pb2.ServerReflectionRequest(file_by_filename="chronoserve/v1/kv.proto"),
    ]
    *refused, found = reflect(channel, service, *requests)
    assert [answer.error_response.error_code for answer in refused] == [grpc.StatusCode.NOT_FOUND.value[0]] * len(refused)
    assert "chronoserve/v1/kv.proto" in [file.name for file in files_of(found)]


# the admin ports


def test_channelz_is_on_the_admin_port_and_nowhere_else(server: RunningServer, channel: Any, transport: str) -> None:
    with grpc.insecure_channel(server.serving["admin"]) as admin:
        found = channelz_pb2_grpc.ChannelzStub(admin).GetServers(channelz_pb2.GetServersRequest(), timeout=SECONDS)
        assert len(found.server) >= (2 if transport == "grpcio" else 1), "the data port's server, where grpcio has it, and its own"
        (answer,) = reflect(admin, REFLECTIONS[0], reflection_pb2.ServerReflectionRequest(list_services=""))
        assert {each.name for each in answer.list_services_response.service} == {"grpc.channelz.v1.Channelz", *REFLECTIONS}
        with pytest.raises(grpc.RpcError) as not_there:
            kv_stub(admin).Describe(kv_pb2.DescribeRequest(), timeout=SECONDS)
        assert not_there.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as hidden:
        channelz_pb2_grpc.ChannelzStub(channel).GetServers(channelz_pb2.GetServersRequest(), timeout=SECONDS)
    assert hidden.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_pages_for_probes_say_yes(server: RunningServer) -> None:
    assert server.get("/healthz") == (200, '{"status": "ok"}')
    assert server.get("/ping") == (200, '"Pong!"')
    assert server.get("/readyz") == (200, '{"status": "ready"}')
    assert server.get("/nothing")[0] == 404


def test_metrics_are_prometheus_text_and_count_each_call(server: RunningServer, kv: Any) -> None:
    def count(status: str) -> float:
        return server.metric("chronoserve_calls_total", method="Get", status=status)

    kv.Create(kv_pb2.CreateRequest(dataset="M"), timeout=SECONDS)
    before = count("OK"), count("NOT_FOUND"), server.metric("chronoserve_call_seconds_count", method="Get")
    for _ in range(3):
        kv.Get(kv_pb2.GetRequest(dataset="M", key_bytes=b"k"), timeout=SECONDS)
    with pytest.raises(grpc.RpcError):
        kv.Get(kv_pb2.GetRequest(dataset="NOT_THERE", key_bytes=b"k"), timeout=SECONDS)
    after = before[0] + 3, before[1] + 1, before[2] + 4
    eventually(
        lambda: (count("OK"), count("NOT_FOUND"), server.metric("chronoserve_call_seconds_count", method="Get")) == after, "the counts"
    )
    names = {family.name for family in text_string_to_metric_families(server.get("/metrics")[1])}
    documented = {"chronoserve_call_seconds", "chronoserve_store_seconds", "chronoserve_utilisation", "chronoserve_refused"}
    assert {*documented, "chronoserve_store_breaker_open"} <= names


def test_the_configuration_page_shows_what_is_in_force(server: RunningServer) -> None:
    status, body = server.get("/config")
    shown = json.loads(body)
    assert status == 200
    assert shown["limits"]["keys_per_call_max"] == 10_000
    assert shown["stores"]["default"]["url"].startswith("lmdb://")
    assert {**server.events("effective configuration")[0], **shown} == server.events("effective configuration")[0]

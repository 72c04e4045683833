"""What no honest client sends, as far as only a server in this process shows it: a typed refusal, and the server lives."""

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from chronoserve.v1 import kv_pb2
from chronoserve.wire.reflection import SERVICES as REFLECTIONS
from tests.server.inside.serving import SECONDS, Running, outcome, raw, serving


async def alive(server: Running) -> None:
    """The server still answers, and has nothing under way."""
    await server.create("ALIVE")
    request = kv_pb2.PutRequest(dataset="ALIVE", key_bytes=b"k", value_bytes=b"v")
    assert (await server.kv.Put(request, timeout=SECONDS)).ok
    assert server.worker.seam.in_flight.calls == 0


@pytest.mark.parametrize("method", ["Check", "Watch", "List"])
async def test_bytes_that_are_no_health_request(method: str) -> None:
    async with serving() as server:
        call = raw(server.channel, f"/grpc.health.v1.Health/{method}", server_streaming=method == "Watch")
        assert (await outcome(call(b"\xff\xff", timeout=SECONDS)))[0] == ("OK" if method == "List" else "INVALID_ARGUMENT")
        await alive(server)


@pytest.mark.parametrize("service", REFLECTIONS)
async def test_bytes_that_are_no_reflection_request(service: str) -> None:
    async with serving() as server:
        call = raw(server.channel, f"/{service}/ServerReflectionInfo", client_streaming=True, server_streaming=True)
        assert (await outcome(call(iter([b"\xff\xff"]), timeout=SECONDS)))[0] == "INVALID_ARGUMENT"
        await alive(server)


async def test_a_deadline_that_is_over_or_absurd_is_a_deadline() -> None:
    async with serving() as server:
        await server.create("D")
        request = kv_pb2.GetRequest(dataset="D", key_bytes=b"k")
        assert (await outcome(server.kv.Get(request, timeout=1e-6)))[0] == "DEADLINE_EXCEEDED"
        assert (await outcome(server.kv.Get(request, timeout=1e9)))[0] == "OK"
        assert (await outcome(server.kv.Get(request)))[0] == "OK"
        await alive(server)


async def test_a_connection_that_speaks_something_else_hurts_nobody() -> None:
    async with serving() as server:
        host, _, port = server.addresses[0].rpartition(":")
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 50, b""):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(garbage)
            if garbage:
                await reader.read()
            writer.close()
        await alive(server)


async def test_one_connection_has_so_many_streams_and_the_rest_wait() -> None:
    async with serving(limits={"streams_per_connection_max": 3}) as server:
        streams = [server.kv.StreamMultiGet(timeout=SECONDS) for _ in range(3)]
        for stream in streams:
            await stream.write(kv_pb2.MultiGetRequest())
            await stream.read()
        assert (await outcome(server.kv.GetCapabilities(kv_pb2.GetCapabilitiesRequest(), timeout=0.3)))[0] == "DEADLINE_EXCEEDED"
        async with grpc.aio.insecure_channel(server.addresses[0], options=[("grpc.use_local_subchannel_pool", 1)]) as other:
            assert (await outcome(raw(other, "/chronoserve.v1.KVStore/GetCapabilities")(b"", timeout=SECONDS)))[0] == "OK"
        for stream in streams:
            stream.cancel()


async def test_an_error_of_a_message_ends_its_stream_with_the_status() -> None:
    async with serving(limits={"keys_per_call_max": 3}) as server:
        stream = server.kv.StreamMultiGet(timeout=SECONDS)
        await stream.write(kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(dataset="D", key_bytes=b"k")] * 4))
        assert (await outcome(stream))[0] == "INVALID_ARGUMENT"


async def test_messages_sent_at_once_have_their_answers_before_the_bad_one_ends_the_stream() -> None:
    async with serving(limits={"keys_per_call_max": 3}) as server:
        await server.create("D")
        puts = [kv_pb2.PutRequest(dataset="D", key_bytes=b"%d" % n, value_bytes=b"v%d" % n, ts_millis=1) for n in range(40)]
        messages = [kv_pb2.MultiPutRequest(requests=[put]).SerializeToString() for put in puts]
        stream = raw(server.channel, "/chronoserve.v1.KVStore/StreamMultiPut", client_streaming=True, server_streaming=True)
        assert len([answer async for answer in stream(iter(messages), timeout=SECONDS)]) == 40
        gets = [kv_pb2.GetRequest(dataset="D" if n % 7 else "NOT_THERE", key_bytes=b"%d" % n) for n in range(40)]
        messages = [kv_pb2.MultiGetRequest(requests=[get]).SerializeToString() for get in gets]
        stream = raw(server.channel, "/chronoserve.v1.KVStore/StreamMultiGet", client_streaming=True, server_streaming=True)
        call = stream(timeout=SECONDS)
        for message in (*messages, b"\x0a\xff"):
            await call.write(message)
        found = [kv_pb2.MultiGetResponse.FromString(await call.read()).responses[0] for _ in messages]
        assert [each.values[0].bytes for each in found if each.values] == [b"v%d" % n for n in range(40) if n % 7]
        assert [n for n, each in enumerate(found) if each.error.code == grpc.StatusCode.NOT_FOUND.value[0]] == list(range(0, 40, 7))
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        await alive(server)


@pytest.mark.parametrize(
    "properties",
    [
        kv_pb2.DatasetProperties(kind=99),  # type: ignore[arg-type]
        kv_pb2.DatasetProperties(ttl=Duration(seconds=-1)),
        kv_pb2.DatasetProperties(ttl=Duration(nanos=-1)),
        kv_pb2.DatasetProperties(ttl=Duration(nanos=999_999)),
        kv_pb2.DatasetProperties(ttl=Duration(seconds=2**62)),
    ],
    ids=["kind", "negative", "negative nanos", "less than a millisecond", "endless"],
)
async def test_properties_that_cannot_be_are_refused(properties: kv_pb2.DatasetProperties) -> None:
    async with serving() as server:
        assert (await outcome(server.kv.Create(kv_pb2.CreateRequest(dataset="D", properties=properties), timeout=SECONDS)))[
            0
        ] == "INVALID_ARGUMENT"


async def test_a_negative_time_asks_for_every_value() -> None:
    async with serving() as server:
        await server.create("D")
        await server.kv.Put(kv_pb2.PutRequest(dataset="D", key_bytes=b"k", value_bytes=b"v", ts_millis=0), timeout=SECONDS)
        for after in (-1, -(2**63), 0):
            request = kv_pb2.GetRequest(dataset="D", key_bytes=b"k", after_ts_millis=after)
            assert len((await server.kv.Get(request, timeout=SECONDS)).values) == 1
            found = await server.kv.MultiGet(kv_pb2.MultiGetRequest(requests=[request] * 2), timeout=SECONDS)
            assert [len(each.values) for each in found.responses] == [1, 1]

"""Every method of chronoserve.v1.KVStore on a running server, by the generated stubs."""

from pathlib import Path

import fastavro
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from chronoserve.v1 import fetcher_pb2, kv_pb2
from tests.server.inprocess import SECONDS, outcome, raw, serving


def get(dataset: str, key: bytes, after: int | None = None) -> kv_pb2.GetRequest:
    return kv_pb2.GetRequest(dataset=dataset, key_bytes=key, after_ts_millis=after)


def put(dataset: str, key: bytes, value: bytes, ts: int | None = None) -> kv_pb2.PutRequest:
    return kv_pb2.PutRequest(dataset=dataset, key_bytes=key, value_bytes=value, ts_millis=ts)


def pairs(response: kv_pb2.GetResponse) -> list[tuple[bytes, int]]:
    return [(value.bytes, value.millis) for value in response.values]


def reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


async def test_what_is_put_is_got_one_by_one_and_in_batches() -> None:
    async with serving() as server:
        await server.create("D")
        await server.create("E_STREAMING")
        assert (await server.kv.Put(put("D", b"k", b"v", 7), timeout=SECONDS)).ok
        assert pairs(await server.kv.Get(get("D", b"k"), timeout=SECONDS)) == [(b"v", 7)]
        assert pairs(await server.kv.Get(get("D", b"k", 8), timeout=SECONDS)) == []
        batch = [put("E_STREAMING", b"k", b"2", 2), put("E_STREAMING", b"k", b"1", 1), put("NO", b"k", b"v"), put("D", b"", b"v")]
        done = await server.kv.MultiPut(kv_pb2.MultiPutRequest(requests=batch), timeout=SECONDS)
        assert [(each.ok, each.error.code) for each in done.responses] == [
            (True, 0),
            (True, 0),
            (False, grpc.StatusCode.NOT_FOUND.value[0]),
            (False, grpc.StatusCode.INVALID_ARGUMENT.value[0]),
        ]
        gets = [get("E_STREAMING", b"k"), get("D", b"none"), get("NO", b"k"), get("D", b"k"), get("D", b"k"), get("E_STREAMING", b"k", -5)]
        found = await server.kv.MultiGet(kv_pb2.MultiGetRequest(requests=gets), timeout=SECONDS)
        assert [pairs(each) for each in found.responses] == [[(b"1", 1), (b"2", 2)], [], [], [(b"v", 7)], [(b"v", 7)], [(b"1", 1), (b"2", 2)]]
        assert [reason(each.error) if each.HasField("error") else "" for each in found.responses] == ["", "", "UNKNOWN_DATASET", "", "", ""]


async def test_a_single_call_answers_its_error_as_the_status_of_the_call() -> None:
    async with serving() as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.kv.Put(put("NO", b"k", b"v"), timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        status = rpc_status.from_call(caught.value)
        assert status is not None
        assert reason(status) == "UNKNOWN_DATASET"
        assert (await outcome(server.kv.Get(get("D", b""), timeout=SECONDS)))[0] == "INVALID_ARGUMENT"


async def test_streams_answer_message_by_message_in_order() -> None:
    async with serving() as server:
        await server.create("D")
        puts = server.kv.StreamMultiPut(timeout=SECONDS)
        gets = server.kv.StreamMultiGet(timeout=SECONDS)
        for n in range(20):
            await puts.write(kv_pb2.MultiPutRequest(requests=[put("D", b"%d" % n, b"v", n)] * (n % 3)))
            done = await puts.read()
            assert [each.ok for each in done.responses] == [True] * (n % 3)
        for n in range(20):
            await gets.write(kv_pb2.MultiGetRequest(requests=[get("D", b"%d" % n)] * (n % 4)))
        for n in range(20):
            found = await gets.read()
            assert [pairs(each) for each in found.responses] == [[(b"v", n)] if n % 3 else []] * (n % 4)
        for stream in (puts, gets):
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK


async def test_an_error_of_a_message_ends_its_stream_with_the_status() -> None:
    async with serving(limits={"keys_per_call_max": 3}) as server:
        stream = server.kv.StreamMultiGet(timeout=SECONDS)
        await stream.write(kv_pb2.MultiGetRequest(requests=[get("D", b"k")] * 4))
        assert (await outcome(stream))[0] == "INVALID_ARGUMENT"


async def test_create_and_describe() -> None:
    async with serving() as server:
        properties = kv_pb2.DatasetProperties(kind=kv_pb2.DATASET_KIND_TIMED, ttl=Duration(seconds=90, nanos=5_000_000))
        request = kv_pb2.CreateRequest(dataset="D", properties=properties)
        made = (await server.kv.Create(request, timeout=SECONDS)).dataset
        assert (made.name, made.store, made.properties) == ("D", "main", properties)
        assert (await server.kv.Create(request, timeout=SECONDS)).dataset == made
        assert (await outcome(server.kv.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)))[0] == "ALREADY_EXISTS"
        await server.create("A")
        every = await server.kv.Describe(kv_pb2.DescribeRequest(), timeout=SECONDS)
        assert [dataset.name for dataset in every.datasets] == ["A", "D"]
        assert not every.datasets[0].properties.HasField("ttl")
        assert list((await server.kv.Describe(kv_pb2.DescribeRequest(dataset="D"), timeout=SECONDS)).datasets) == [made]
        assert (await outcome(server.kv.Describe(kv_pb2.DescribeRequest(dataset="X"), timeout=SECONDS)))[0] == "NOT_FOUND"


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
        assert (await outcome(server.kv.Create(kv_pb2.CreateRequest(dataset="D", properties=properties), timeout=SECONDS)))[0] == "INVALID_ARGUMENT"


async def test_scan_pages_through_every_key_once() -> None:
    async with serving() as server:
        await server.create("D_STREAMING")
        puts = [put("D_STREAMING", b"%03d" % (n // 2), b"v%d" % n, n) for n in range(90)]
        await server.kv.MultiPut(kv_pb2.MultiPutRequest(requests=puts), timeout=SECONDS)
        found: list[tuple[bytes, list[tuple[bytes, int]]]] = []
        token = ""
        while True:
            request = kv_pb2.ScanRequest(dataset="D_STREAMING", page_size=7, page_token=token)
            page = await server.kv.Scan(request, timeout=SECONDS)
            found += [(entry.key_bytes, [(value.bytes, value.millis) for value in entry.values]) for entry in page.entries]
            token = page.next_page_token
            if not token:
                break
        assert found == [(b"%03d" % n, [(b"v%d" % (2 * n), 2 * n), (b"v%d" % (2 * n + 1), 2 * n + 1)]) for n in range(45)]
        for bad in ({"page_token": "!"}, {"page_token": "ä"}, {"page_token": "x"}, {"page_size": -1}, {"page_size": 10_001}):
            assert (await outcome(server.kv.Scan(kv_pb2.ScanRequest(dataset="D_STREAMING", **bad), timeout=SECONDS)))[0] == "INVALID_ARGUMENT"


async def test_delete_removes_keys_and_absent_ones_are_fine() -> None:
    async with serving() as server:
        await server.create("D")
        await server.kv.Put(put("D", b"k", b"v"), timeout=SECONDS)
        request = kv_pb2.DeleteRequest(dataset="D", key_bytes=[b"k", b"none", b"k"])
        assert [each.ok for each in (await server.kv.Delete(request, timeout=SECONDS)).responses] == [True] * 3
        assert pairs(await server.kv.Get(get("D", b"k"), timeout=SECONDS)) == []


async def test_capabilities_are_data() -> None:
    async with serving(limits={"keys_per_call_max": 77, "message_bytes_max": 1 << 20}) as server:
        found = await server.kv.GetCapabilities(kv_pb2.GetCapabilitiesRequest(), timeout=SECONDS)
        assert (found.keys_per_call_max, found.message_bytes_max) == (77, 1 << 20)
        (store,) = found.stores
        assert (store.store, store.engine, list(store.datasets), store.timed, store.durable) == ("main", "memory", ["*"], True, False)
        assert store.durability


async def test_bulk_put_reports_progress_and_the_result(tmp_path: Path) -> None:
    path = tmp_path / "rows.avro"
    fields = [{"name": "key_bytes", "type": "bytes"}, {"name": "value_bytes", "type": "bytes"}]
    with path.open("wb") as stream:
        records = [{"key_bytes": b"%d" % n if n else b"", "value_bytes": b"v"} for n in range(4500)]
        fastavro.writer(stream, {"type": "record", "name": "Row", "fields": fields}, records)
    async with serving() as server:
        await server.create("D")
        request = kv_pb2.BulkPutRequest(source_offline_table=str(path), destination_online_dataset="D", partition="2023-11-13")
        messages = [message async for message in server.kv.BulkPut(request, timeout=SECONDS)]
        assert [message.rows for message in messages] == [2000, 4000, 4500, 4500]
        assert [message.done for message in messages] == [False, False, False, True]
        assert (messages[-1].result.rows_written, messages[-1].result.rows_refused) == (4499, 1)
        assert reason(messages[-1].result.errors[0]) == "INVALID_REQUEST"
        assert all(message.rate > 0 and message.resume_token for message in messages[:-1])
        assert pairs(await server.kv.Get(get("D", b"7"), timeout=SECONDS)) == [(b"v", 1_699_920_000_000)]
        again = kv_pb2.BulkPutRequest(
            source_offline_table=str(path), destination_online_dataset="D", partition="2023-11-13", resume_token=messages[1].resume_token
        )
        assert [message.rows async for message in server.kv.BulkPut(again, timeout=SECONDS)] == [4500, 4500]
        wrong = kv_pb2.BulkPutRequest(source_offline_table=str(path), destination_online_dataset="D", resume_token="1.2.3")
        assert (await outcome(server.kv.BulkPut(wrong, timeout=SECONDS)))[0] == "INVALID_ARGUMENT"


async def test_every_method_of_the_fetcher_answers_that_it_is_not_there_yet() -> None:
    async with serving() as server:
        for method in fetcher_pb2.DESCRIPTOR.services_by_name["Fetcher"].methods:
            kinds = {"client_streaming": method.client_streaming, "server_streaming": method.server_streaming}
            call = raw(server.channel, f"/chronoserve.v1.Fetcher/{method.name}", **kinds)
            argument = iter([b""]) if method.client_streaming else b""
            assert (await outcome(call(argument, timeout=SECONDS)))[0] == "UNIMPLEMENTED"


async def test_a_method_that_is_none_is_unimplemented() -> None:
    async with serving() as server:
        for path in ("/chronoserve.v1.KVStore/Nothing", "/chronoserve.v1.Nothing/Get", "/x"):
            assert (await outcome(raw(server.channel, path)(b"", timeout=SECONDS)))[0] == "UNIMPLEMENTED"

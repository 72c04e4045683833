"""Every RPC of the services, with generated stubs over a real connection."""

import queue
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fastavro
import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chronoserve.v1 import fetcher_pb2, fetcher_pb2_grpc, kv_pb2
from tests.server.conftest import StartServer
from tests.server.running import kv_stub

SECONDS = 10
ROWS = 5_000
"""More than one batch of a bulk load."""


def put(dataset: str, key: bytes, value: bytes, millis: int | None = None) -> kv_pb2.PutRequest:
    return kv_pb2.PutRequest(dataset=dataset, key_bytes=key, value_bytes=value, ts_millis=millis)


def get(dataset: str, key: bytes, after: int | None = None) -> kv_pb2.GetRequest:
    return kv_pb2.GetRequest(dataset=dataset, key_bytes=key, after_ts_millis=after)


def found(response: kv_pb2.GetResponse) -> list[tuple[bytes, int]]:
    return [(value.bytes, value.millis) for value in response.values]


def reason(error: Any) -> str:
    """The machine-readable name of an error."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(error).details)
    return str(info.reason)


@pytest.fixture
def timed(dataset: str, kv: Any) -> str:
    name = f"{dataset}_STREAMING"
    kv.Create(kv_pb2.CreateRequest(dataset=name), timeout=SECONDS)
    return name


def test_create_is_idempotent_and_refuses_other_properties(kv: Any) -> None:
    asked = kv_pb2.CreateRequest(dataset="C_STREAMING", properties=kv_pb2.DatasetProperties(ttl=Duration(seconds=3600)))
    answers = [kv.Create(asked, timeout=SECONDS).dataset for _ in range(2)]
    assert answers[0] == answers[1]
    assert (answers[0].name, answers[0].store) == ("C_STREAMING", "default")
    assert answers[0].properties == kv_pb2.DatasetProperties(kind=kv_pb2.DATASET_KIND_TIMED, ttl=Duration(seconds=3600))
    with pytest.raises(grpc.RpcError) as refused:
        kv.Create(kv_pb2.CreateRequest(dataset="C_STREAMING"), timeout=SECONDS)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason(refused.value) == "DATASET_EXISTS"


def test_put_and_get_of_one_key(kv: Any, dataset: str) -> None:
    assert found(kv.Get(get(dataset, b"k"), timeout=SECONDS)) == []
    assert kv.Put(put(dataset, b"k", b"new", 200), timeout=SECONDS).ok
    assert kv.Put(put(dataset, b"k", b"old", 100), timeout=SECONDS).ok
    assert found(kv.Get(get(dataset, b"k"), timeout=SECONDS)) == [(b"new", 200)]
    assert found(kv.Get(get(dataset, b"k", 200), timeout=SECONDS)) == [(b"new", 200)]
    assert found(kv.Get(get(dataset, b"k", 201), timeout=SECONDS)) == []


def test_a_single_call_answers_an_error_as_its_status(kv: Any, dataset: str) -> None:
    cases: dict[Callable[[], Any], grpc.StatusCode] = {
        lambda: kv.Get(get("NOT_THERE", b"k"), timeout=SECONDS): grpc.StatusCode.NOT_FOUND,
        lambda: kv.Put(put("NOT_THERE", b"k", b"v"), timeout=SECONDS): grpc.StatusCode.NOT_FOUND,
        lambda: kv.Get(get(dataset, b""), timeout=SECONDS): grpc.StatusCode.INVALID_ARGUMENT,
        lambda: kv.Put(put(dataset, b"k", b"v", -1), timeout=SECONDS): grpc.StatusCode.INVALID_ARGUMENT,
        lambda: kv.Put(put(dataset, b"k", b"v", 1 << 60), timeout=SECONDS): grpc.StatusCode.INVALID_ARGUMENT,
    }
    for call, code in cases.items():
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is code
        error: Any = refused.value
        assert rpc_status.from_call(error).message == error.details()


def test_timed_values_come_oldest_first_and_are_written_once(kv: Any, timed: str) -> None:
    for millis in (300, 100, 200, 300):
        kv.Put(put(timed, b"k", b"at %d" % millis, millis), timeout=SECONDS)
    assert found(kv.Get(get(timed, b"k"), timeout=SECONDS)) == [(b"at 100", 100), (b"at 200", 200), (b"at 300", 300)]
    assert found(kv.Get(get(timed, b"k", 200), timeout=SECONDS)) == [(b"at 200", 200), (b"at 300", 300)]


def test_a_batch_answers_every_request_in_order(kv: Any, dataset: str, timed: str) -> None:
    puts = [put(dataset, b"a", b"1", 1), put("NOT_THERE", b"a", b"2"), put(timed, b"a", b"3", 3), put(dataset, b"", b"4")]
    written = kv.MultiPut(kv_pb2.MultiPutRequest(requests=puts), timeout=SECONDS).responses
    assert [(each.ok, each.error.code) for each in written] == [(True, 0), (False, 5), (True, 0), (False, 3)]
    gets = [get(timed, b"a"), get(dataset, b"absent"), get(dataset, b"a"), get("NOT_THERE", b"a"), get(dataset, b"a")]
    read = kv.MultiGet(kv_pb2.MultiGetRequest(requests=gets), timeout=SECONDS).responses
    assert [(found(each), each.error.code) for each in read] == [([(b"3", 3)], 0), ([], 0), ([(b"1", 1)], 0), ([], 5), ([(b"1", 1)], 0)]


def test_streams_answer_each_message_in_order(kv: Any, dataset: str) -> None:
    sizes = [1, 50, 3, 200, 1, 17]
    puts = [[put(dataset, b"%d/%d" % (at, n), b"v%d/%d" % (at, n), 1) for n in range(size)] for at, size in enumerate(sizes)]
    written = list(kv.StreamMultiPut((kv_pb2.MultiPutRequest(requests=each) for each in puts), timeout=SECONDS))
    assert [len(answer.responses) for answer in written] == sizes
    assert all(item.ok for answer in written for item in answer.responses)
    gets = (kv_pb2.MultiGetRequest(requests=[get(dataset, each.key_bytes) for each in batch]) for batch in puts)
    read = list(kv.StreamMultiGet(gets, timeout=SECONDS))
    assert [[found(item)[0][0] for item in answer.responses] for answer in read] == [[each.value_bytes for each in batch] for batch in puts]


def test_a_stream_answers_a_message_before_the_next_one_comes(kv: Any, dataset: str) -> None:
    messages: queue.SimpleQueue[kv_pb2.MultiPutRequest | None] = queue.SimpleQueue()
    answers = kv.StreamMultiPut(iter(messages.get, None), timeout=SECONDS)
    for size in range(1, 6):
        messages.put(kv_pb2.MultiPutRequest(requests=[put(dataset, b"k", b"v", 1)] * size))
        assert len(next(answers).responses) == size
    messages.put(None)
    assert list(answers) == []


def test_scan_pages_through_each_key_once_and_delete_removes(kv: Any, dataset: str) -> None:
    keys = {b"key %03d" % n for n in range(250)}
    kv.MultiPut(kv_pb2.MultiPutRequest(requests=[put(dataset, key, b"of " + key, 5) for key in keys]), timeout=SECONDS)
    assert scanned(kv, dataset) == {key: [(b"of " + key, 5)] for key in keys}
    gone = [*sorted(keys)[:100], b"absent"]
    answers = kv.Delete(kv_pb2.DeleteRequest(dataset=dataset, key_bytes=gone), timeout=SECONDS).responses
    assert [answer.ok for answer in answers] == [True] * 101
    assert set(scanned(kv, dataset)) == keys - set(gone)


def scanned(kv: Any, dataset: str) -> dict[bytes, list[tuple[bytes, int]]]:
    """What pages of 40 hold; a key that comes twice fails the test."""
    entries: dict[bytes, list[tuple[bytes, int]]] = {}
    token = ""
    while True:
        page = kv.Scan(kv_pb2.ScanRequest(dataset=dataset, page_size=40, page_token=token), timeout=SECONDS)
        assert len(page.entries) <= 40
        for entry in page.entries:
            assert entry.key_bytes not in entries
            entries[entry.key_bytes] = [(value.bytes, value.millis) for value in entry.values]
        token = page.next_page_token
        if not token:
            return entries


def test_describe_answers_one_dataset_or_all(kv: Any, dataset: str, timed: str) -> None:
    (one,) = kv.Describe(kv_pb2.DescribeRequest(dataset=timed), timeout=SECONDS).datasets
    assert (one.name, one.properties.kind) == (timed, kv_pb2.DATASET_KIND_TIMED)
    names = [each.name for each in kv.Describe(kv_pb2.DescribeRequest(), timeout=SECONDS).datasets]
    assert names == sorted(names)
    assert {dataset, timed} <= set(names)
    with pytest.raises(grpc.RpcError) as refused:
        kv.Describe(kv_pb2.DescribeRequest(dataset="NOT_THERE"), timeout=SECONDS)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_capabilities_are_those_of_the_store_and_the_limits(kv: Any) -> None:
    answer = kv.GetCapabilities(kv_pb2.GetCapabilitiesRequest(), timeout=SECONDS)
    (store,) = answer.stores
    assert (store.store, store.engine, list(store.datasets), store.durable) == ("default", "lmdb", ["*"], True)
    assert (answer.keys_per_call_max, answer.message_bytes_max) == (10_000, 4 << 20)


def write_parquet(path: Path, rows: Sequence[tuple[bytes, bytes, int]]) -> None:
    keys, values, times = zip(*rows, strict=True)
    columns = {"key_bytes": pa.array(keys, pa.binary()), "value_bytes": pa.array(values, pa.binary()), "ts": pa.array(times, pa.int64())}
    pq.write_table(pa.table(columns), path)


def write_avro(path: Path, rows: Sequence[tuple[bytes, bytes, int]]) -> None:
    fields = [{"name": "key_bytes", "type": "bytes"}, {"name": "value_bytes", "type": "bytes"}, {"name": "ts", "type": "long"}]
    with path.open("wb") as stream:
        schema: dict[str, Any] = {"type": "record", "name": "Row", "fields": fields}
        fastavro.writer(stream, schema, ({"key_bytes": key, "value_bytes": value, "ts": ts} for key, value, ts in rows))


@pytest.mark.parametrize("form", ["parquet", "avro"])
def test_bulk_put_reports_progress_and_goes_on_from_a_token(kv: Any, dataset: str, form: str, tmp_path: Path) -> None:
    rows = [(b"%05d" % n, b"value %d" % n, 1000 + n) for n in range(ROWS)]
    path = tmp_path / f"rows.{form}"
    (write_parquet if form == "parquet" else write_avro)(path, rows)
    load = kv_pb2.BulkPutRequest(source_offline_table=str(path), destination_online_dataset=dataset)
    first = kv.BulkPut(load, timeout=60)
    token = next(first).resume_token
    first.cancel()
    load.resume_token = token
    progress = list(kv.BulkPut(load, timeout=60))
    assert [each.rows for each in progress] == sorted(each.rows for each in progress)
    assert [each.done for each in progress] == [False] * (len(progress) - 1) + [True]
    last = progress[-1]
    assert last.rows == ROWS
    assert 0 < last.result.rows_written < ROWS, "what was written before the token is not written again"
    assert last.rows_total == (ROWS if form == "parquet" else 0)
    assert last.result.rows_refused == 0
    for key, value, millis in rows[:: ROWS // 20]:
        assert found(kv.Get(get(dataset, key), timeout=SECONDS)) == [(value, millis)]


def test_bulk_put_refuses_what_it_cannot_read(kv: Any, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    for table in ("", str(tmp_path / "absent.parquet"), str(tmp_path / "broken.parquet"), "/etc/hostname"):
        with pytest.raises(grpc.RpcError) as refused:
            list(kv.BulkPut(kv_pb2.BulkPutRequest(source_offline_table=table, destination_online_dataset=dataset), timeout=SECONDS))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_bulk_put_reads_below_its_roots_only(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    for name in ("open/rows.parquet", "closed.parquet"):
        write_parquet(tmp_path / name, [(b"k", b"v", 1)])
    (tmp_path / "open" / "link.parquet").symlink_to(tmp_path / "closed.parquet")
    server = start_server(config=f'bulk_roots = ["{tmp_path}/open"]\n[stores.m]\nurl = "memory://"\n')
    with grpc.insecure_channel(server.address) as channel:
        kv = kv_stub(channel)
        kv.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
        for place, code in (("open/rows.parquet", None), ("closed.parquet", 9), ("open/../closed.parquet", 9), ("open/link.parquet", 9)):
            load = kv_pb2.BulkPutRequest(source_offline_table=f"{tmp_path}/{place}", destination_online_dataset="D")
            try:
                assert list(kv.BulkPut(load, timeout=SECONDS))[-1].done
            except grpc.RpcError as refused:
                assert refused.code().value[0] == code  # noqa: PT017 - the first one is read
            else:
                assert code is None
    server.stop()


EMPTY_FETCHES = {
    "FetchJoins": "OK",
    "FetchGroupBys": "OK",
    "StreamFetch": "INVALID_ARGUMENT",  # it names no target
    "GetJoinSchema": "NOT_FOUND",
    "GetGroupBySchema": "NOT_FOUND",
    "ListJoins": "OK",
    "ListGroupBys": "OK",
    "Explain": "INVALID_ARGUMENT",
}


@pytest.mark.parametrize(("name", "wanted"), EMPTY_FETCHES.items())
def test_an_empty_request_to_the_fetcher_is_answered_or_told_what_it_lacks(channel: Any, name: str, wanted: str) -> None:
    """Whatever the other tests have put into the store; tests/server/test_fetch.py has those with something in them."""
    methods = fetcher_pb2.DESCRIPTOR.services_by_name["Fetcher"].methods_by_name
    assert set(methods) == set(EMPTY_FETCHES)
    stub: Any = fetcher_pb2_grpc.FetcherStub
    call = getattr(stub(channel), name)
    request = getattr(fetcher_pb2, methods[name].input_type.name)()
    try:
        list(call(iter([request]), timeout=SECONDS)) if methods[name].client_streaming else call(request, timeout=SECONDS)
    except grpc.RpcError as refused:
        assert refused.code().name == wanted  # noqa: PT017 - some are answered
    else:
        assert wanted == "OK"

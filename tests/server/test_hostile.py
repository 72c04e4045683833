"""Requests that no honest client sends: each gets its own error, and the server goes on serving."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from chronoserve.v1 import kv_pb2
from tests.server.running import RunningServer

SECONDS = 20
KEYS_MAX = 10_000
MESSAGE_BYTES_MAX = 4 << 20
INVALID = grpc.StatusCode.INVALID_ARGUMENT
METHODS = kv_pb2.DESCRIPTOR.services_by_name["KVStore"].methods
RAW = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}

MALFORMED = [
    b"\xff",
    b"\x0a\xff\xff\xff\xff\x0f",  # a field of 4 GiB that is not there
    b"\x0a\x05ab",  # a field that ends early
    b"\x0b" * 1000,  # groups that never end
    b"\x00\x01",  # field number 0
    b"\xff" * 11,  # a tag longer than any
]

HOSTILE_NAMES = [
    "",
    "'; DROP TABLE chronon.datasets; --",
    'x" WITH compaction = {} --',
    "x); SELECT * FROM system.local; --",
    "*",
    "{hash}tag",
    "a\r\nFLUSHALL\r\n",
    "a:b",
    "$where",
    "system.$cmd",
    '{"$gt": ""}',
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows",
    "a/b",
    "a\x00b",
    "ünïcode",
    "\u202egnp.exe",
    "\U0001f4a3",
    "USERS_BATCH ",
    " USERS_BATCH",
    "USERS_BATCH\n",
    "%s%n%d",
    "${jndi:ldap://127.0.0.1/a}",
    "x" * 201,
    "x" * 100_000,
]


@pytest.fixture(autouse=True)
def _serves_afterwards(kv: Any, dataset: str, server: RunningServer) -> Iterator[None]:
    yield
    assert kv.Put(kv_pb2.PutRequest(dataset=dataset, key_bytes=b"after", value_bytes=b"all"), timeout=SECONDS).ok
    (value,) = kv.Get(kv_pb2.GetRequest(dataset=dataset, key_bytes=b"after"), timeout=SECONDS).values
    assert value.bytes == b"all"
    assert not server.events("a handler failed"), server.log


def refused(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


def call_raw(channel: Any, name: str, data: bytes) -> bytes:
    """Sends bytes to a method of KVStore, whatever shape it has, and answers its first reply."""
    method = METHODS.__getitem__([each.name for each in METHODS].index(name))
    kind = RAW[method.client_streaming, method.server_streaming]
    call = getattr(channel, kind)(f"/chronoserve.v1.KVStore/{name}")
    answer = call(iter([data]) if method.client_streaming else data, timeout=SECONDS)
    return bytes(next(answer) if method.server_streaming else answer)


def gets(dataset: str, keys: Sequence[bytes]) -> kv_pb2.MultiGetRequest:
    return kv_pb2.MultiGetRequest(requests=[kv_pb2.GetRequest(dataset=dataset, key_bytes=key) for key in keys])


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_a_message_that_is_none_is_an_invalid_argument(channel: Any, method: str) -> None:
    for data in MALFORMED:
        error = refused(lambda data=data: call_raw(channel, method, data))  # type: ignore[misc]
        assert error.code() is INVALID, data
        assert "check that the client's stubs match" in error.details()


def test_unknown_methods_and_services_are_unimplemented(channel: Any) -> None:
    for path in ("/chronoserve.v1.KVStore/Drop", "/chronoserve.v1.KVStore/", "/x.Y/Z", "/", "/../../etc/passwd"):
        assert refused(lambda path=path: channel.unary_unary(path)(b"", timeout=SECONDS)).code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[misc]


def test_a_message_over_the_limit_is_refused_and_the_connection_lives_on(channel: Any, kv: Any, dataset: str) -> None:
    for size in (MESSAGE_BYTES_MAX + 1, 3 * MESSAGE_BYTES_MAX):
        assert refused(lambda size=size: call_raw(channel, "Put", bytes(size))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[misc]
    value = bytes(MESSAGE_BYTES_MAX - 1000)
    assert refused(lambda: kv.Put(kv_pb2.PutRequest(dataset=dataset, key_bytes=b"", value_bytes=value), timeout=SECONDS)).code() is INVALID


def test_10_000_keys_are_served_and_10_001_are_not(kv: Any, dataset: str) -> None:
    keys = [b"%d" % n for n in range(KEYS_MAX)]
    puts = [kv_pb2.PutRequest(dataset=dataset, key_bytes=key, value_bytes=key) for key in keys]
    assert all(each.ok for each in kv.MultiPut(kv_pb2.MultiPutRequest(requests=puts), timeout=SECONDS).responses)
    answers = kv.MultiGet(gets(dataset, keys), timeout=SECONDS).responses
    assert [answer.values[0].bytes for answer in answers] == keys
    for call in (
        lambda: kv.MultiGet(gets(dataset, [*keys, b"more"]), timeout=SECONDS),
        lambda: kv.MultiPut(kv_pb2.MultiPutRequest(requests=[*puts, puts[0]]), timeout=SECONDS),
        lambda: kv.Delete(kv_pb2.DeleteRequest(dataset=dataset, key_bytes=[*keys, b"more"]), timeout=SECONDS),
        lambda: next(kv.StreamMultiGet(iter([gets(dataset, [*keys, b"more"])]), timeout=SECONDS)),
        lambda: kv.Scan(kv_pb2.ScanRequest(dataset=dataset, page_size=KEYS_MAX + 1), timeout=SECONDS),
    ):
        error = refused(call)
        assert error.code() is INVALID
        assert "10000" in error.details()


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name)[1:25])
def test_a_hostile_name_reaches_no_store(kv: Any, name: str) -> None:
    """It is refused by its form everywhere, in calls as in batches, and makes nothing."""
    before = kv.Describe(kv_pb2.DescribeRequest(), timeout=SECONDS).datasets
    get, put = kv_pb2.GetRequest(dataset=name, key_bytes=b"k"), kv_pb2.PutRequest(dataset=name, key_bytes=b"k", value_bytes=b"v")
    calls: list[Callable[[], Any]] = [
        lambda: kv.Create(kv_pb2.CreateRequest(dataset=name), timeout=SECONDS),
        lambda: kv.Get(get, timeout=SECONDS),
        lambda: kv.Put(put, timeout=SECONDS),
        lambda: kv.Scan(kv_pb2.ScanRequest(dataset=name), timeout=SECONDS),
        lambda: kv.Delete(kv_pb2.DeleteRequest(dataset=name, key_bytes=[b"k"]), timeout=SECONDS),
        lambda: next(kv.BulkPut(kv_pb2.BulkPutRequest(source_offline_table="x", destination_online_dataset=name), timeout=SECONDS)),
    ]
    if name:  # an empty one asks for all
        calls.append(lambda: kv.Describe(kv_pb2.DescribeRequest(dataset=name), timeout=SECONDS))
    for call in calls:
        error = refused(call)
        assert error.code() is INVALID
        assert len(error.details()) < 1000
    (read,) = kv.MultiGet(kv_pb2.MultiGetRequest(requests=[get]), timeout=SECONDS).responses
    (written,) = kv.MultiPut(kv_pb2.MultiPutRequest(requests=[put]), timeout=SECONDS).responses
    assert (read.error.code, written.error.code) == (INVALID.value[0], INVALID.value[0])
    assert kv.Describe(kv_pb2.DescribeRequest(), timeout=SECONDS).datasets == before


def test_a_name_that_is_no_utf_8_is_an_invalid_argument(channel: Any) -> None:
    for data in (b"\x12\x02\xc3\x28", b"\x12\x03\xed\xa0\x80"):
        assert refused(lambda data=data: call_raw(channel, "Get", b"\x0a\x01k" + data)).code() is INVALID  # type: ignore[misc]


def test_keys_and_values_beyond_the_store_s_limits_fail_alone(kv: Any, dataset: str) -> None:
    (store,) = kv.GetCapabilities(kv_pb2.GetCapabilitiesRequest(), timeout=SECONDS).stores
    longest, over = bytes(store.key_bytes_max), bytes(store.key_bytes_max + 1)
    puts = [kv_pb2.PutRequest(dataset=dataset, key_bytes=key, value_bytes=b"v") for key in (longest, over, b"k")]
    written = kv.MultiPut(kv_pb2.MultiPutRequest(requests=puts), timeout=SECONDS).responses
    assert [each.ok for each in written] == [True, False, True]
    assert str(store.key_bytes_max) in written[1].error.message
    read = kv.MultiGet(gets(dataset, [longest, over, b"k", b""]), timeout=SECONDS).responses
    assert [(len(each.values), each.error.code) for each in read] == [(1, 0), (0, 3), (1, 0), (0, 3)]
    if store.value_bytes_max < MESSAGE_BYTES_MAX:
        value = bytes(store.value_bytes_max + 1)
        assert (
            refused(lambda: kv.Put(kv_pb2.PutRequest(dataset=dataset, key_bytes=b"k", value_bytes=value), timeout=SECONDS)).code()
            is INVALID
        )
    token = bytes(65)
    put = kv_pb2.PutRequest(dataset=dataset, key_bytes=b"k", value_bytes=b"v", ts_millis=1, idempotency_token=token)
    assert "64" in refused(lambda: kv.Put(put, timeout=SECONDS)).details()


def test_an_answer_over_the_limit_is_refused_with_advice(kv: Any, dataset: str, server: RunningServer) -> None:
    keys = [b"a", b"b", b"c"]
    for key in keys:
        kv.Put(kv_pb2.PutRequest(dataset=dataset, key_bytes=key, value_bytes=bytes(1_900_000), ts_millis=7), timeout=SECONDS)
    assert len(kv.MultiGet(gets(dataset, keys[:2]), timeout=SECONDS).responses) == 2
    for call in (
        lambda: kv.MultiGet(gets(dataset, keys), timeout=SECONDS),
        lambda: kv.MultiGet(gets(dataset, keys[:1] * 60), timeout=SECONDS),
        lambda: kv.MultiGet(gets(dataset, keys[:1] * 2_000), timeout=SECONDS),
        lambda: next(kv.StreamMultiGet(iter([gets(dataset, keys)]), timeout=SECONDS)),
    ):
        error = refused(call)
        assert error.code() is INVALID
        assert "ask for fewer keys" in error.details()
    peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert peak is not None
    assert int(peak[1]) < 1 << 20, "a GiB; all that was asked for has four"


def test_a_timed_key_with_more_values_than_an_answer_holds_is_read_from_a_later_time_on(kv: Any, dataset: str) -> None:
    name = f"{dataset}_STREAMING"
    kv.Create(kv_pb2.CreateRequest(dataset=name), timeout=SECONDS)
    for millis in range(1, 4):
        kv.Put(kv_pb2.PutRequest(dataset=name, key_bytes=b"k", value_bytes=bytes(1_900_000), ts_millis=millis), timeout=SECONDS)
    error = refused(lambda: kv.Get(kv_pb2.GetRequest(dataset=name, key_bytes=b"k"), timeout=SECONDS))
    assert error.code() is INVALID
    assert "later time" in error.details()
    assert len(kv.Get(kv_pb2.GetRequest(dataset=name, key_bytes=b"k", after_ts_millis=2), timeout=SECONDS).values) == 2


def test_a_scan_s_pages_fit_a_message_whatever_the_values(kv: Any, dataset: str) -> None:
    """A page that ends at its size may hold one value more than that: with values of almost 2 MiB it still has to fit."""
    for n in range(4):
        kv.Put(kv_pb2.PutRequest(dataset=dataset, key_bytes=b"%d" % n, value_bytes=bytes((2 << 20) - 1000), ts_millis=1), timeout=SECONDS)
    seen, token = [], ""
    while True:
        page = kv.Scan(kv_pb2.ScanRequest(dataset=dataset, page_token=token), timeout=SECONDS)
        assert page.ByteSize() <= MESSAGE_BYTES_MAX
        seen += [entry.key_bytes for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert seen == [b"0", b"1", b"2", b"3"]


def test_page_tokens_of_nobody_are_refused_or_find_only_the_dataset_s_keys(kv: Any, dataset: str) -> None:
    kv.Put(kv_pb2.PutRequest(dataset=dataset, key_bytes=b"k", value_bytes=b"v"), timeout=SECONDS)
    for token in ("*", "AAAA", "____", "/////w==", "not base64", "A" * 100_000, "\u00e9"):
        try:
            page = kv.Scan(kv_pb2.ScanRequest(dataset=dataset, page_token=token), timeout=SECONDS)
        except grpc.RpcError as error:
            assert error.code() is INVALID, token  # noqa: PT017 - the other outcome is right as well
        else:
            assert {entry.key_bytes for entry in page.entries} <= {b"k"}


def test_resume_tokens_of_nobody_are_refused(kv: Any, dataset: str) -> None:
    for token in ("x", "AAAA", "9" * 5000, "{}"):
        load = kv_pb2.BulkPutRequest(source_offline_table="/etc", destination_online_dataset=dataset, resume_token=token)
        assert refused(lambda load=load: list(kv.BulkPut(load, timeout=SECONDS))).code() is INVALID  # type: ignore[misc]


def test_headers_beyond_the_limit_are_refused(kv: Any, dataset: str) -> None:
    error = refused(
        lambda: kv.Get(kv_pb2.GetRequest(dataset=dataset, key_bytes=b"k"), metadata=[("x-large", "h" * 100_000)], timeout=SECONDS)
    )
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

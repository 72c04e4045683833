"""What each call sends and answers, on both clients."""

from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from chronoserve.model import errors as server_errors
from chronoserve.v1 import kv_pb2
from chronoserve_client import (
    AlreadyExists,
    Dataset,
    Get,
    GetResult,
    InvalidRequest,
    Kind,
    Put,
    PutResult,
    ScanEntry,
    Throttled,
    TimedValue,
    UnknownDataset,
)
from tests.unit.client.conftest import DAY
from tests.unit.client.server import BULK_ROWS, Running


async def test_values_come_oldest_first(client: Any) -> None:
    await client.put("clicks", b"ada", b"new", millis=20)
    await client.put("clicks", b"ada", b"old", millis=10)
    assert await client.get("clicks", b"ada") == [TimedValue(b"old", 10), TimedValue(b"new", 20)]
    assert await client.latest("clicks", b"ada") == TimedValue(b"new", 20)


async def test_after_is_inclusive_and_zero_is_a_time(client: Any, server: Running) -> None:
    await client.put("clicks", b"ada", b"x", millis=10)
    assert await client.get("clicks", b"ada", 10) == [(b"x", 10)]
    assert await client.get("clicks", b"ada", after=11) == []
    assert await client.latest("clicks", b"ada", 11) is None
    await client.get("clicks", b"ada", 0)
    asked = server.kv.requests[-1]
    assert isinstance(asked, kv_pb2.GetRequest)
    assert asked.HasField("after_ts_millis")


async def test_an_absent_key_is_empty_and_an_unknown_dataset_an_error(client: Any) -> None:
    assert await client.get("clicks", b"nobody") == []
    with pytest.raises(UnknownDataset, match="no dataset views"):
        await client.get("views", b"ada")


async def test_a_batch_keeps_value_miss_and_error_apart(client: Any) -> None:
    await client.put("clicks", b"ada", b"x", millis=1)
    value, miss, error, again = await client.multi_get(
        [("clicks", b"ada"), Get("clicks", b"nobody", 5), ("views", b"ada"), ("clicks", b"ada")]
    )
    assert value == again == GetResult((TimedValue(b"x", 1),))
    assert (value.found, value.latest) == (True, (b"x", 1))
    assert (miss.found, miss.latest, miss.unwrap(), miss.error) == (False, None, (), None)
    assert isinstance(error.error, UnknownDataset)


@pytest.mark.parametrize("ask", [lambda result: result.found, lambda result: result.latest, lambda result: result.unwrap()])
def test_an_error_is_never_taken_for_a_miss(ask: Any) -> None:
    with pytest.raises(Throttled):
        ask(GetResult(error=Throttled("busy")))


async def test_an_empty_batch_is_answered(client: Any) -> None:
    assert await client.multi_get([]) == []
    assert await client.multi_put([]) == []


async def test_writes_of_a_batch_have_their_own_outcomes(client: Any, server: Running) -> None:
    server.kv.bad_keys[b"hot"] = server_errors.Throttled("slow down", retry_after=0.25)
    good, bad = await client.multi_put([Put("clicks", b"ada", b"x", 1, b"t"), ("clicks", b"hot", b"y")])
    assert (good, good.ok) == (PutResult(), True)
    good.unwrap()
    assert not bad.ok
    assert bad.error.retry_after == 0.25
    with pytest.raises(Throttled, match="slow down"):
        bad.unwrap()
    sent = server.kv.requests[-1]
    assert isinstance(sent, kv_pb2.MultiPutRequest)
    first, second = sent.requests
    assert (first.ts_millis, first.idempotency_token) == (1, b"t")
    assert not second.HasField("ts_millis")


async def test_datasets_are_made_once(client: Any) -> None:
    made = Dataset("views_STREAMING", Kind.TIMED, None, "dict")
    assert await client.create("views_STREAMING") == made
    assert await client.create("views_STREAMING", Kind.TIMED) == made
    with pytest.raises(AlreadyExists):
        await client.create("views_STREAMING", Kind.LATEST)
    assert await client.create("names", Kind.LATEST, ttl=DAY) == Dataset("names", Kind.LATEST, DAY, "dict")


async def test_describe_names_one_or_all(client: Any) -> None:
    await client.create("names")
    assert [found.name for found in await client.describe()] == ["clicks", "names"]
    assert await client.describe("names") == [Dataset("names", Kind.LATEST, None, "dict")]


async def test_delete_answers_each_key(client: Any) -> None:
    await client.put("clicks", b"ada", b"x")
    assert await client.delete("clicks", [b"ada", b"nobody"]) == [PutResult(), PutResult()]
    assert await client.get("clicks", b"ada") == []


@pytest.mark.parametrize("page_size", [0, 1, 5])
async def test_scan_goes_through_all_pages(client: Any, page_size: int) -> None:
    keys = [f"key {number}".encode() for number in range(5)]
    for key in keys:
        await client.put("clicks", key, b"x", millis=1)
    entries = [entry async for entry in client.scan("clicks", page_size=page_size)]
    assert entries == [ScanEntry(key, (TimedValue(b"x", 1),)) for key in keys]


async def test_scan_of_an_empty_dataset_yields_nothing(client: Any) -> None:
    assert [entry async for entry in client.scan("clicks")] == []


async def test_capabilities_are_plain_data(client: Any) -> None:
    capabilities = await client.capabilities()
    (store,) = capabilities.stores
    assert (store.engine, store.datasets, store.timed, store.scan) == ("memory", ("*",), True, False)
    assert capabilities.keys_per_call_max == 10_000


async def test_health_says_whether_calls_are_taken(client: Any, server: Running) -> None:
    assert await client.health() is True
    server.health.status = health_pb2.HealthCheckResponse.NOT_SERVING
    assert await client.health() is False


async def test_a_bulk_load_reports_progress_until_its_result(client: Any, server: Running) -> None:
    seen = [progress async for progress in client.bulk_put("day.parquet", "clicks", partition="2026-01-01")]
    assert [progress.rows for progress in seen] == [*range(1, BULK_ROWS + 1), BULK_ROWS]
    assert [progress.done for progress in seen] == [False] * BULK_ROWS + [True]
    result = seen[-1].result
    assert (result.rows_written, result.rows_refused) == (BULK_ROWS, 1)
    assert isinstance(result.errors[0], InvalidRequest)
    (sent,) = server.kv.requests
    assert isinstance(sent, kv_pb2.BulkPutRequest)
    assert (sent.source_offline_table, sent.destination_online_dataset, sent.partition) == ("day.parquet", "clicks", "2026-01-01")


async def test_a_broken_bulk_load_goes_on_where_it_was(client: Any, server: Running) -> None:
    server.kv.bulk_breaks.extend([2, 0, 3])
    seen = [progress async for progress in client.bulk_put("day.parquet", "clicks")]
    assert [progress.rows for progress in seen] == [*range(1, BULK_ROWS + 1), BULK_ROWS]
    tokens = [sent.resume_token for sent in server.kv.requests if isinstance(sent, kv_pb2.BulkPutRequest)]
    assert tokens == ["", "2", "2", "5"]


async def test_a_bulk_load_is_continued_by_hand(client: Any) -> None:
    seen = [progress.rows async for progress in client.bulk_put("day.parquet", "clicks", resume_token="4")]
    assert seen == [5, 6, 6]

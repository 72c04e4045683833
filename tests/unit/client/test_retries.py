"""What is repeated: reads by the service config, writes only where repeating them changes nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from chronoserve.model import errors as server_errors
from chronoserve.model.features import FeatureRow, RowStatus
from chronoserve.v1 import kv_pb2
from chronoserve_client import ChronoserveError, InvalidRequest, Put, Unavailable, WriteOutcomeUnknown
from chronoserve_client._retry import BACKOFF_SECONDS_MAX, BUDGET_MAX, READS, RESUMES_MAX, Budget, backoff, service_config
from tests.unit.client.conftest import MakeClient
from tests.unit.client.server import Running, running

AWAY = grpc.StatusCode.UNAVAILABLE

READ_CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "Get": lambda client: client.get("clicks", b"ada"),
    "MultiGet": lambda client: client.multi_get([("clicks", b"ada")]),
    "Describe": lambda client: client.describe("clicks"),
    "GetCapabilities": lambda client: client.capabilities(),
    "Scan": lambda client: collect(client.scan("clicks")),
    "FetchJoins": lambda client: client.fetch_joins([("t/j", {})]),
    "FetchGroupBys": lambda client: client.fetch_group_bys([("t.g", {})]),
    "GetJoinSchema": lambda client: client.join_schema("t/j"),
    "GetGroupBySchema": lambda client: client.group_by_schema("t.g"),
    "ListJoins": lambda client: anext(client.list_joins()),
    "ListGroupBys": lambda client: collect(client.list_group_bys()),
    "Explain": lambda client: client.explain_join("t/j", {}),
}
METHODS = [method for methods in READS.values() for method in methods]


async def collect(items: Any) -> list[Any]:
    return [item async for item in items]


@pytest.mark.parametrize("method", METHODS)
async def test_reads_are_repeated(client: Any, server: Running, method: str) -> None:
    server.fetcher.rows["t/j"] = FeatureRow(RowStatus.MISSING, None, {}, {})
    server.kv.faults[method].extend([AWAY, server_errors.Unavailable("the store is away")])
    await READ_CALLS[method](client)
    assert server.kv.calls == [method] * 3


async def test_reads_are_repeated_a_bounded_number_of_times(client: Any, server: Running) -> None:
    server.kv.faults["Get"].extend([AWAY] * 9)
    with pytest.raises(Unavailable):
        await client.get("clicks", b"ada")
    assert server.kv.calls == ["Get"] * 3


async def test_retrying_can_be_turned_off(make_client: MakeClient, server: Running) -> None:
    client = await make_client(server.target, attempts=1)
    server.kv.faults["Get"].append(AWAY)
    server.kv.faults["Put"].append(AWAY)
    with pytest.raises(Unavailable):
        await client.get("clicks", b"ada")
    with pytest.raises(WriteOutcomeUnknown):
        await client.put("clicks", b"ada", b"x", millis=1, idempotency_token=b"t")
    assert server.kv.calls == ["Get", "Put"]


async def test_a_server_that_comes_back_is_found_again(client: Any, server: Running) -> None:
    await client.get("clicks", b"ada")
    await server.server.stop(None)
    with pytest.raises(Unavailable):
        await client.get("clicks", b"ada")
    async with running(target=server.target) as again:
        again.kv.datasets["clicks"] = kv_pb2.DatasetProperties()
        async with asyncio.timeout(30):
            while not await answers(client):
                pass
    assert again.kv.calls == ["Get"]


async def answers(client: Any) -> bool:
    try:
        await client.get("clicks", b"ada")
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize(
    "fault", [server_errors.Throttled("busy"), server_errors.InvalidRequest("never"), server_errors.DeadlinePassed("late")]
)
async def test_nothing_but_unavailable_is_repeated(client: Any, server: Running, fault: server_errors.KVError) -> None:
    server.kv.faults["Get"].append(fault)
    server.kv.faults["Put"].append(fault)
    with pytest.raises(ChronoserveError, match=fault.message):
        await client.get("clicks", b"ada")
    with pytest.raises(ChronoserveError, match=fault.message):
        await client.put("clicks", b"ada", b"x", millis=1, idempotency_token=b"t")
    assert server.kv.calls == ["Get", "Put"]


@pytest.mark.parametrize("named", [{}, {"millis": 1}, {"idempotency_token": b"t"}])
async def test_a_write_without_time_and_token_is_never_repeated(client: Any, server: Running, named: dict[str, Any]) -> None:
    server.kv.faults["Put"].extend([AWAY, AWAY])
    with pytest.raises(WriteOutcomeUnknown):
        await client.put("clicks", b"ada", b"x", **named)
    assert server.kv.calls == ["Put"]


async def test_a_write_with_time_and_token_is_repeated(client: Any, server: Running) -> None:
    server.kv.faults["Put"].extend([AWAY, AWAY])
    await client.put("clicks", b"ada", b"x", millis=1, idempotency_token=b"t")
    first, second, third = server.kv.requests
    assert first == second == third
    assert isinstance(first, kv_pb2.PutRequest)


async def test_a_batch_is_repeated_only_if_all_its_writes_may_be(client: Any, server: Running) -> None:
    server.kv.faults["MultiPut"].extend([AWAY, AWAY])
    safe = Put("clicks", b"ada", b"x", 1, b"t")
    with pytest.raises(WriteOutcomeUnknown):
        await client.multi_put([safe, ("clicks", b"bob", b"y", 1)])
    assert server.kv.calls == ["MultiPut"]
    assert [result.ok for result in await client.multi_put([safe, safe])] == [True, True]
    assert server.kv.calls == ["MultiPut"] * 3


async def test_create_is_repeated_and_delete_is_not(client: Any, server: Running) -> None:
    server.kv.faults["Create"].append(AWAY)
    server.kv.faults["Delete"].append(AWAY)
    await client.create("names")
    with pytest.raises(WriteOutcomeUnknown):
        await client.delete("clicks", [b"ada"])
    assert server.kv.calls == ["Create", "Create", "Delete"]


async def test_an_attempt_of_unknown_outcome_is_not_forgotten(client: Any, server: Running) -> None:
    server.kv.faults["Put"].extend([AWAY, server_errors.Throttled("busy")])
    with pytest.raises(WriteOutcomeUnknown, match="busy; an earlier attempt may have been applied"):
        await client.put("clicks", b"ada", b"x", millis=1, idempotency_token=b"t")


async def test_writes_that_certainly_were_not_applied_end_as_such(client: Any, server: Running) -> None:
    server.kv.faults["Put"].extend([server_errors.Unavailable("the store is away")] * 3)
    with pytest.raises(Unavailable):
        await client.put("clicks", b"ada", b"x", millis=1, idempotency_token=b"t")
    assert server.kv.calls == ["Put"] * 3


async def test_a_bulk_load_gives_up_where_it_comes_no_further(client: Any, server: Running) -> None:
    server.kv.bulk_breaks.extend([1] + [0] * 9)
    load = client.bulk_put("day.parquet", "clicks")
    assert (await anext(load)).resume_token == "1"
    with pytest.raises(Unavailable):
        await anext(load)
    assert server.kv.calls == ["BulkPut"] * (1 + RESUMES_MAX)


async def test_a_bulk_load_that_is_refused_is_not_taken_up_again(client: Any, server: Running) -> None:
    server.kv.faults["BulkPut"].append(server_errors.InvalidRequest("no such file"))
    with pytest.raises(InvalidRequest, match="no such file"):
        await collect(client.bulk_put("day.parquet", "clicks"))
    assert server.kv.calls == ["BulkPut"]


def test_the_budget_stops_repeating_and_is_earned_back() -> None:
    budget = Budget()
    granted = [budget.spend() for _ in range(BUDGET_MAX)]
    assert sum(granted) == BUDGET_MAX // 2 - 1
    assert not granted[-1]
    for _ in range(10 * BUDGET_MAX):
        budget.earn()
    assert budget.spend()


def test_pauses_grow_to_a_bound() -> None:
    assert all(0 <= backoff(failures) <= BACKOFF_SECONDS_MAX for failures in range(1, 50))
    assert backoff(1) <= 0.02


def test_the_service_config_repeats_reads_only() -> None:
    config = json.loads(json.dumps(service_config(3)))
    (reads,) = config["methodConfig"]
    assert {(name["service"], name["method"]) for name in reads["name"]} == {
        (service, method) for service, methods in READS.items() for method in methods
    }
    assert reads["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert reads["retryPolicy"]["maxAttempts"] == 3
    assert config["retryThrottling"] == {"maxTokens": BUDGET_MAX, "tokenRatio": 0.1}

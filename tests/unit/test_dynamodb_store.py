"""The DynamoDB store over a scripted DynamoDB in this process: leftovers by the hundred thousand, errors, URLs."""

import asyncio
import base64
import json
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from chronoserve.kvstore.backends.dynamodb import store as dynamodb
from chronoserve.kvstore.backends.dynamodb.aws import Caller, Refused
from chronoserve.kvstore.backends.dynamodb.store import DynamoDBStore, Patience
from chronoserve.kvstore.port import GetRequest, PutRequest
from chronoserve.kvstore.portions import Portions
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import (
    AnswerTooLarge,
    CorruptValue,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    KVError,
    Throttled,
    Unavailable,
    WriteOutcomeUnknown,
)
from chronoserve.testing.clock import ManualClock

LOOKUPS = int(os.environ.get("CHRONOSERVE_LEFTOVER_LOOKUPS", "20000"))
LOOKUPS_AT_ONCE = 5000


class Script(Caller):
    """Answers the calls of a store from a dict of items; a call or a key can be told to fail."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, dict[str, Any]]] = {}
        """Items by table and by the base64 text of their keys."""
        self.holds: Callable[[], bool] = lambda: False
        self.fail: dict[str, KVError | Refused] = {}
        self.replies: dict[str, bytes] = {}
        self.calls: list[str] = []

    async def call(self, operation: str, body: bytes, *, deadline: float, writes: bool) -> bytes:
        self.calls.append(operation)
        if operation in self.fail:
            raise self.fail[operation]
        if operation in self.replies:
            return self.replies[operation]
        answer: dict[str, Any] = getattr(self, operation)(json.loads(body))
        return json.dumps(answer).encode()

    async def close(self) -> None:
        """Nothing is open."""

    def GetItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - DynamoDB's name
        item = self.items.setdefault(body["TableName"], {}).get(body["Key"]["dataset"]["S"])
        return {"Item": item} if item else {}

    def PutItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        item = body["Item"]
        self.items.setdefault(body["TableName"], {})[item["dataset"]["S"] if "dataset" in item else item["pk"]["B"]] = item
        return {}

    def CreateTable(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"TableDescription": {"TableStatus": "CREATING"}}

    def DescribeTable(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Table": {"TableStatus": "ACTIVE"}}

    def UpdateTimeToLive(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        raise Refused("ValidationException")

    def BatchGetItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        ((table, wanted),) = body["RequestItems"].items()
        texts = [key["pk"]["B"] for key in wanted["Keys"]]
        assert len(set(texts)) == len(texts) <= 100
        left = [text for text in texts if self.holds()]
        back = set(left)
        found = [self.items[table][text] for text in texts if text not in back and text in self.items[table]]
        return {"Responses": {table: found}, "UnprocessedKeys": {table: {"Keys": [{"pk": {"B": text}} for text in left]}} if left else {}}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def store(script: Script) -> DynamoDBStore:
    return DynamoDBStore(script, prefix="unit", clock=ManualClock(1_700_000_000_000), consistent=True, connections_max=8)


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def put(dataset: Dataset, key: bytes, value: bytes) -> PutRequest:
    return PutRequest(dataset, key, values.encode(value, 1), 1, b"n" * 16, 0, replayable=False)


async def latest(store: DynamoDBStore) -> Dataset:
    return await store.create("D_BATCH", Properties(Kind.LATEST), deadline=soon())


async def test_r11_half_of_every_batch_left_over_and_no_key_lost(store: DynamoDBStore, script: Script) -> None:
    dataset = await latest(store)
    keys = [b"%d" % n for n in range(2000)]
    assert await store.multi_put([put(dataset, key, key) for key in keys[:1500]], deadline=soon()) == [None] * 1500
    stored = {key: values.encode(key, 1) for key in keys[:1500]}
    rng = random.Random(11)
    script.holds = lambda: rng.random() < 0.5
    for _ in range(max(1, LOOKUPS // LOOKUPS_AT_ONCE)):
        asked: list[GetRequest] = [(dataset, rng.choice(keys), 0) for _ in range(LOOKUPS_AT_ONCE)]
        results = await store.multi_get(asked, deadline=soon())
        assert results == [stored.get(key, b"") for _, key, _ in asked]


async def test_all_left_over_for_ever_is_an_error_for_each_and_not_one_call_too_many(store: DynamoDBStore, script: Script) -> None:
    dataset = await latest(store)
    script.holds = lambda: True
    results = await store.multi_get([(dataset, b"a", 0), (dataset, b"b", 0), (dataset, b"a", 0)], deadline=soon(0.3))
    assert [type(result) for result in results] == [Throttled] * 3
    assert script.calls.count("BatchGetItem") < 60


async def test_a_failed_batch_fails_its_own_keys_only(store: DynamoDBStore, script: Script) -> None:
    dataset = await latest(store)
    script.fail["BatchGetItem"] = Unavailable("gone")
    timed = await store.create("D_STREAMING", Properties(Kind.TIMED), deadline=soon())
    script.replies["Query"] = b'{"Items": []}'
    one, other = await store.multi_get([(dataset, b"a", 0), (timed, b"a", 0)], deadline=soon())
    assert isinstance(one, Unavailable)
    assert other == b""


async def test_all_reads_of_a_call_have_one_budget_together(store: DynamoDBStore, script: Script) -> None:
    """Each of eight at once would else hold as much as the call may."""
    timed = await store.create("D_STREAMING", Properties(Kind.TIMED), deadline=soon())
    item = {"pk": {"B": "YQ=="}, "timed_value": {"B": base64.b64encode(values.encode(b"v" * 300, 1)).decode()}}
    script.replies["Query"] = json.dumps({"Items": [item], "LastEvaluatedKey": {"pk": {"B": "YQ=="}}}).encode()
    store.portions = Portions(key_bytes=1)
    store.portions.bytes_max = 1000
    results = await store.multi_get([(timed, b"%d" % n, 0) for n in range(8)], deadline=soon())
    assert [type(result) for result in results] == [AnswerTooLarge] * 8
    assert script.calls.count("Query") <= 3 + 8


async def test_leftovers_are_not_asked_for_beyond_the_budget(store: DynamoDBStore, script: Script) -> None:
    dataset = await latest(store)
    keys = [b"%d" % n for n in range(40)]
    await store.multi_put([put(dataset, key, b"v" * 300) for key in keys], deadline=soon())
    rng = random.Random(7)
    script.holds = lambda: rng.random() < 0.8
    store.portions = Portions(key_bytes=1)
    store.portions.bytes_max = 1000
    script.calls.clear()
    results = await store.multi_get([(dataset, key, 0) for key in keys], deadline=soon())
    answered = [result for result in results if isinstance(result, bytes)]
    assert answered == [values.encode(b"v" * 300, 1)] * len(answered)
    assert {type(result) for result in results[len(answered) :]} == {AnswerTooLarge}
    assert script.calls.count("BatchGetItem") <= 4


async def test_a_lost_condition_is_a_write_that_was_applied(store: DynamoDBStore, script: Script) -> None:
    dataset = await latest(store)
    script.fail["PutItem"] = Refused("ConditionalCheckFailedException")
    assert await store.multi_put([put(dataset, b"a", b"v")], deadline=soon()) == [None]


async def test_an_answer_that_is_not_dynamodbs_is_no_miss_and_no_success(store: DynamoDBStore, script: Script) -> None:
    dataset = await latest(store)
    script.replies = dict.fromkeys(("BatchGetItem", "BatchWriteItem"), b"<html>")
    (got,) = await store.multi_get([(dataset, b"a", 0)], deadline=soon())
    assert isinstance(got, CorruptValue)
    (deleted,) = await store.delete([(dataset, b"a")], deadline=soon())
    assert isinstance(deleted, WriteOutcomeUnknown)


async def test_a_table_that_is_still_being_made_is_not_shown_and_found_later(store: DynamoDBStore, script: Script) -> None:
    script.replies["DescribeTable"] = b'{"Table": {"TableStatus": "CREATING"}}'
    with pytest.raises(Unavailable, match="ask again"):
        await store.create("D_BATCH", Properties(Kind.LATEST), deadline=soon(0.1))
    script.replies["Scan"] = json.dumps({"Items": list(script.items["unit"].values())}).encode()
    assert await store.load_datasets(deadline=soon()) == {}
    del script.replies["DescribeTable"]
    dataset = await store.create("D_BATCH", Properties(Kind.TIMED), deadline=soon())
    assert dataset.properties == Properties(Kind.LATEST), "the first to claim the name decides"


async def test_patience_ends_before_the_deadline() -> None:
    began = soon(0.0)
    patience = Patience(began + 0.2)
    pauses = 0
    while await patience.pause(progress=False):
        pauses += 1
    assert soon(0.0) <= began + 0.2
    assert pauses < 40


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ProvisionedThroughputExceededException", Throttled),
        ("ThrottlingException", Throttled),
        ("RequestLimitExceeded", Throttled),
        ("TransactionConflictException", Unavailable),
        ("AccessDeniedException", FailedPrecondition),
        ("ExpiredTokenException", FailedPrecondition),
        ("ResourceNotFoundException", FailedPrecondition),
        ("ValidationException", Internal),
        ("HTTP 403", Internal),
    ],
)
def test_what_dynamodb_refuses_was_certainly_not_applied(code: str, error: type[KVError]) -> None:
    refusal = dynamodb._refusal(code)
    assert type(refusal) is error
    assert code in refusal.message


def test_a_delete_is_as_sure_as_all_of_its_items() -> None:
    unknown, throttled = WriteOutcomeUnknown("?"), Throttled("slow down")
    assert dynamodb._result_of_all([]) is None
    assert dynamodb._result_of_all([None, None]) is None
    assert dynamodb._result_of_all([throttled, throttled]) is throttled
    assert isinstance(dynamodb._result_of_all([None, throttled]), WriteOutcomeUnknown)
    assert isinstance(dynamodb._result_of_all([unknown, throttled]), WriteOutcomeUnknown)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("dynamodb:///prefix", "region"),
        ("dynamodb://eu-west-1", "prefix"),
        ("dynamodb://eu-west-1/a.b", "prefix"),
        ("dynamodb://eu-west-1/prefix/more", "prefix"),
        ("dynamodb://eu-west-1/prefix?consistent=maybe", "consistent"),
        ("dynamodb://eu-west-1/prefix?access_key=a", "together"),
        ("dynamodb://eu-west-1/prefix?endpoint=localhost:8000", "endpoint"),
        ("dynamodb://eu-west-1/prefix?endpoint=http://user:pw@host", "endpoint"),
        ("dynamodb://eu-west-1/prefix?connections=0", "connections"),
        ("dynamodb://eu-west-1/prefix?conections=3", "conections"),
    ],
)
async def test_a_url_that_cannot_work_is_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        await dynamodb.open_store(StoreURL.parse(url), clock=ManualClock())


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [("eu-west-1", "https://dynamodb.eu-west-1.amazonaws.com"), ("cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn")],
)
def test_the_endpoint_follows_from_the_region(region: str, endpoint: str) -> None:
    assert dynamodb._endpoint(StoreURL.parse(f"dynamodb://{region}/prefix"), region) == endpoint


async def test_opening_a_store_that_is_away_fails_and_leaves_nothing_open(free_port_url: str) -> None:
    with pytest.raises(Unavailable, match="endpoint"):
        await dynamodb.open_store(StoreURL.parse(free_port_url), clock=ManualClock())


@pytest.fixture
def free_port_url(unused_tcp_port: int) -> str:
    return f"dynamodb://eu-west-1/prefix?endpoint=http://127.0.0.1:{unused_tcp_port}&access_key=a&secret_key=b"

"""A user's store behind the port: what it may answer, and what it is told where it answers something else."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.api import Found, GetRequest, KVStore, TimedValue
from chronoserve.api.user_store import DATASETS_MAX, UserStore
from chronoserve.kvstore.port import PutRequest as PortPut
from chronoserve.kvstore.router import Route, Router
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import (
    CorruptValue,
    FailedPrecondition,
    InvalidRequest,
    KVError,
    Unavailable,
    Unsupported,
    WriteOutcomeUnknown,
)
from chronoserve.service.gateway import Gateway, Limits, NamedPut
from tests.unit.api.deployment import DictStore
from tests.virtual_time import in_virtual_time, now

BATCH, STREAM = Dataset("X_BATCH", Properties(Kind.LATEST)), Dataset("X_STREAMING", Properties(Kind.TIMED))


class Scripted(KVStore):
    """Answers, or raises, what the test says."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def multi_get(self, requests: Sequence[GetRequest]) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def multi_put(self, requests: Any) -> Any:
        return await self.multi_get(requests)


class ReadOnly(KVStore):
    async def multi_get(self, requests: Sequence[GetRequest]) -> Sequence[Found]:
        return [None] * len(requests)


class Foreign(KVError):
    """An error that the wire has no status for."""


def get(store: KVStore, *requests: tuple[Dataset, bytes, int]) -> Any:
    return UserStore(store).multi_get(requests, deadline=now() + 1)


def put(dataset: Dataset = BATCH, value: bytes = b"v") -> PortPut:
    return PortPut(dataset, b"k", values.encode(value, 5), 5, b"", 0, replayable=True)


async def test_it_is_asked_in_chronon_s_terms() -> None:
    store = DictStore()
    await get(store, (BATCH, b"a", 0), (STREAM, b"b", 7))
    assert store.asked == [GetRequest(b"a", "X_BATCH", None), GetRequest(b"b", "X_STREAMING", 7)]


@pytest.mark.parametrize(
    ("answer", "batch", "stream"),
    [
        (None, [], []),
        ([], [], []),
        ((), [], []),
        ([(b"a", 5)], [(b"a", 5)], [(b"a", 5)]),
        ([TimedValue(b"b", 9), (bytearray(b"a"), 5), (memoryview(b"c"), 3)], [(b"b", 9)], [(b"a", 5), (b"b", 9)]),
        ([(b"a", 5), (b"b", 5)], [(b"b", 5)], [(b"a", 5), (b"b", 5)]),
        ([(b"a", 3)], [], []),
    ],
)
async def test_values_travel_oldest_first_and_of_a_latest_dataset_only_the_newest(answer: Any, batch: Any, stream: Any) -> None:
    found = await get(Scripted([answer, answer]), (BATCH, b"k", 4), (STREAM, b"k", 4))
    assert [values.decode(each) for each in found] == [batch, stream]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("secret", "multi_get of Scripted gave a str: it has to give a list with an answer for each request"),
        (None, "multi_get of Scripted gave nothing"),
        ({}, "gave a dict"),
        ([None], "gave 1 answers to 2 requests: which is whose cannot be known"),
    ],
)
async def test_an_answer_that_is_no_list_for_the_requests_fails_the_batch_with_words(answer: Any, said: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await get(Scripted(answer), (BATCH, b"a", 0), (BATCH, b"b", 0))
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (b"secret", FailedPrecondition, "answered a bytes where a list of (bytes, millis) was due"),
        (TimedValue(b"secret", 5), FailedPrecondition, "answered a TimedValue where"),
        ((b"secret", 5), FailedPrecondition, "answered a bytes where"),
        ([("secret", 5)], FailedPrecondition, "answered (str, int) where"),
        ([(b"secret", "5")], FailedPrecondition, "answered (bytes, str) where"),
        ([(b"secret", True)], FailedPrecondition, "answered (bytes, bool) where"),
        ([(b"secret", -1)], FailedPrecondition, "answered a time of -1 where"),
        ([None], FailedPrecondition, "answered a NoneType where"),
        (ValueError("secret"), Unavailable, "multi_get of Scripted failed: ValueError"),
        (Foreign("secret"), Unavailable, "multi_get of Scripted failed: Foreign"),
        (CorruptValue("rotten"), CorruptValue, "rotten"),
    ],
)
async def test_an_answer_that_is_none_fails_its_request_alone(answer: Any, kind: type[KVError], said: str) -> None:
    good, bad = await get(Scripted([[(b"a", 5)], answer]), (BATCH, b"a", 0), (BATCH, b"b", 0))
    assert values.decode(good) == [(b"a", 5)]
    assert type(bad) is kind
    assert said in bad.message
    assert "secret" not in bad.message


@pytest.mark.parametrize(("raised", "kind"), [(ValueError("secret"), Unavailable), (InvalidRequest("no"), InvalidRequest)])
async def test_what_it_raises_fails_the_batch(raised: Exception, kind: type[KVError]) -> None:
    with pytest.raises(kind) as failed:
        await get(Scripted(raised), (BATCH, b"a", 0))
    assert "secret" not in failed.value.message


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([True], type(None)),
        ([False], Unavailable),
        ([ValueError()], Unavailable),
        ([InvalidRequest("no")], InvalidRequest),
        ([None], WriteOutcomeUnknown),
        ([1], WriteOutcomeUnknown),
    ],
)
async def test_outcomes_of_writes(answer: Any, kind: type[object]) -> None:
    (outcome,) = await UserStore(Scripted(answer)).multi_put([put()], deadline=now() + 1)
    assert type(outcome) is kind


async def test_a_write_that_raises_may_have_been_applied_unless_the_store_says_otherwise() -> None:
    with pytest.raises(WriteOutcomeUnknown, match="may have been applied"):
        await UserStore(Scripted(ValueError())).multi_put([put()], deadline=now() + 1)
    with pytest.raises(Unsupported, match="ReadOnly does not write"):
        await UserStore(ReadOnly()).multi_put([put()], deadline=now() + 1)
    with pytest.raises(FailedPrecondition, match="gave 0 answers to 1 requests"):
        await UserStore(Scripted([])).multi_put([put()], deadline=now() + 1)


def test_a_store_that_is_none() -> None:
    with pytest.raises(FailedPrecondition, match="gen_kv_store gave a dict"):
        UserStore({})  # type: ignore[arg-type]


def gateway(store: KVStore) -> Gateway:
    router = Router({"api": UserStore(store)}, [Route("*", "api")])
    return Gateway(router, router, clock=lambda: 1000, limits=Limits())


@in_virtual_time
async def test_every_name_is_a_dataset_of_it() -> None:
    store = DictStore()
    gate = gateway(store)
    await gate.start(deadline=now() + 1)
    missing, wrong = await gate.multi_get([GetRequest(b"a", "T_BATCH", 0), GetRequest(b"a", "no/name", 0)], deadline=now() + 1)  # type: ignore[list-item]
    assert missing == b""
    assert isinstance(wrong, InvalidRequest)
    puts = [NamedPut("T_STREAMING", b"a", b"1", 10), NamedPut("T_STREAMING", b"a", b"2", 20), NamedPut("T_BATCH", b"a", b"3", 30)]
    assert await gate.multi_put(puts, deadline=now() + 1) == [None] * 3
    found = await gate.multi_get([GetRequest(b"a", "T_STREAMING", 11), GetRequest(b"a", "T_BATCH", 0)], deadline=now() + 1)  # type: ignore[list-item]
    assert [values.decode(each) for each in found if isinstance(each, bytes)] == [[(b"2", 20)], [(b"3", 30)]]
    described = await gate.describe("", deadline=now() + 1)
    assert [(each.name, each.timed) for each in described] == [("T_BATCH", False), ("T_STREAMING", True)]
    await gate.create("NEW", Kind.TIMED, 0, deadline=now() + 1)
    assert store.created == ["NEW"]
    await gate.router.close()
    assert store.closed


@in_virtual_time
async def test_names_that_callers_make_up_are_bounded() -> None:
    store = UserStore(DictStore())
    assert all(store.imply(f"D{at}") is not None for at in range(DATASETS_MAX))
    assert store.imply("ONE_MORE") is None
    assert store.imply("D0") is not None


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 20)), max_size=6), st.integers(0, 20))
def test_a_timed_answer_has_each_value_since_the_time_and_a_latest_one_the_newest(found: list[tuple[bytes, int]], after: int) -> None:
    async def ask() -> list[list[TimedValue]]:
        answers = await UserStore(Scripted([found, found])).multi_get([(STREAM, b"k", after), (BATCH, b"k", after)], deadline=0)
        return [values.decode(answer) for answer in answers if isinstance(answer, bytes)]

    stream, batch = asyncio.run(ask())
    kept = [value for value in found if value[1] >= after]
    assert sorted(stream) == sorted(kept)
    assert [value.millis for value in stream] == sorted(millis for _, millis in kept)
    assert [value.millis for value in batch] == ([max(millis for _, millis in kept)] if kept else [])

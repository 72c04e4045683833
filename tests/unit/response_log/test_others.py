"""Rows into a dataset of the KV store, and to a user's function."""

import json
from collections.abc import Sequence

import pytest

from chronoserve.ingest.response_log.others import FunctionSink, KVSink, Put
from chronoserve.model.errors import Internal, KVError, Unavailable
from chronoserve.model.logged import LoggedResponse
from tests.unit.response_log.rows import control, row

MILLIS = 1_700_000_000_000


class Store:
    def __init__(self, *outcomes: KVError | None) -> None:
        self.outcomes = outcomes
        self.puts: list[Put] = []

    async def __call__(self, puts: Sequence[Put], deadline: float) -> Sequence[KVError | None]:
        self.puts.extend(puts)
        return self.outcomes or [None] * len(puts)


async def test_a_row_is_a_value_under_its_join_and_keys() -> None:
    store = Store()
    rows = [row(0), control(), row(5), row(0, millis=-5)]
    assert await KVSink("LOG", store, clock=lambda: MILLIS).write(rows) == []
    assert [put.key for put in store.puts] == [
        b"team/join.v1\0key0",
        b"SCHEMA_PUBLISH_EVENT\0hash",
        b"team/join.v1\0key5",
        b"team/join.v1\0key0",
    ]
    assert [put.ts_millis for put in store.puts] == [MILLIS, MILLIS, None, None], "times of the future and before 1970 are the store's"
    assert {put.dataset for put in store.puts} == {"LOG"}
    assert json.loads(store.puts[2].value)["ts_millis"] == MILLIS + 5
    assert store.puts[0].value == json.dumps(json.loads(store.puts[0].value), separators=(",", ":")).encode()


async def test_writes_that_fail_are_rows_refused() -> None:
    away = Unavailable("away")
    assert await KVSink("LOG", Store(None, away), clock=lambda: MILLIS).write([row(0), row(1)]) == [row(1)]
    with pytest.raises(Unavailable):
        await KVSink("LOG", Store(away, away), clock=lambda: MILLIS).write([row(0), row(1)])


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_user_s_function_gets_each_row_in_order(*, asynchronous: bool) -> None:
    taken: list[LoggedResponse] = []

    def take(row: LoggedResponse) -> None:
        if row.join_name == "bad":
            raise ValueError("secret")
        taken.append(row)

    async def take_later(row: LoggedResponse) -> None:
        take(row)

    sink = FunctionSink(take_later if asynchronous else take)
    bad = row(1, name="bad")
    assert await sink.write([row(0), bad, row(2)]) == [bad]
    assert taken == [row(0), row(2)]
    with pytest.raises(Internal, match="log_response raised ValueError"):
        await sink.write([bad])

"""What the Cassandra store asks of the driver, with a session that answers at once."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import cassandra
import pytest
from cassandra.cqltypes import BytesType, ListType, LongType, UTF8Type
from cassandra.protocol import ColumnMetadata
from cassandra.query import PreparedStatement

from chronoserve.kvstore.backends.cassandra.connection import Connection
from chronoserve.kvstore.backends.cassandra.layout import READS, WRITES, Statements
from chronoserve.kvstore.backends.cassandra.store import LATEST_KEYS_PER_READ, CassandraStore
from chronoserve.kvstore.port import Capability, PutRequest
from chronoserve.kvstore.portions import Portions
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import DeadlinePassed, KVError, Unavailable, WriteOutcomeUnknown

LATEST = Dataset("L", Properties(Kind.LATEST))
EXPIRING = Dataset("E", Properties(Kind.LATEST, ttl_millis=1000))
TIMED = Dataset("T", Properties(Kind.TIMED))
NOW = 1_000_000


def prepared_read(*names_and_types: tuple[str, Any]) -> PreparedStatement:
    columns = [ColumnMetadata("ks", "table", name, kind) for name, kind in names_and_types]
    return PreparedStatement(columns, b"id", None, "", "ks", 4, [], None)


KEYS = ("in(key)", ListType.apply_parameters([BytesType]))
STATEMENTS = cast("dict[str, Any]", {name: name for name in (*READS, *WRITES)}) | {
    "read_latest": prepared_read(("dataset", UTF8Type), KEYS),
    "read_timed": prepared_read(("dataset", UTF8Type), KEYS, ("millis", LongType)),
}


class Response:
    """A driver's future that is done."""

    attempted_hosts = ("a node",)
    has_more_pages = False

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def add_callbacks(self, callback: Callable[..., None], errback: Callable[..., None], callback_args: Any, errback_args: Any) -> None:
        callback(self._outcome, *callback_args)


class Cluster:
    """Connection and session in one: two nodes, of which one owns the keys that begin with ``a``."""

    lone_node = False
    capability = Capability(engine="cassandra", key_bytes_max=1, value_bytes_max=1, multi_get_keys_max=1, multi_put_keys_max=1)
    statements = Statements(**STATEMENTS)

    def __init__(self) -> None:
        self.session = self
        self.sent: list[tuple[Any, Any]] = []
        self.outcomes: dict[Any, Any] = {}

    def execute_async(self, statement: Any, values: Any, timeout: float | None) -> Response:
        self.sent.append((statement, values))
        return Response(self.outcomes.get(statement if isinstance(statement, str) else "read", None if isinstance(statement, str) else []))

    def owner(self, route: bytes) -> str:
        return "one" if route.startswith(b"\x00\x01L\x00\x00\x03a") else "other"

    def close(self) -> None:
        self.sent.clear()

    def values_of(self, statement: str) -> list[Any]:
        return [values for name, values in self.sent if name == statement]


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def store(cluster: Cluster) -> CassandraStore:
    return CassandraStore(cast("Connection", cluster), lambda: NOW)


def soon() -> float:
    return asyncio.get_running_loop().time() + 10


def put(dataset: Dataset, key: bytes, value: bytes, millis: int, expires_at: int = 0) -> PutRequest:
    return PutRequest(dataset, key, value, millis, b"n" * 16, expires_at, replayable=True)


async def test_keys_of_one_node_are_asked_for_together(cluster: Cluster, store: CassandraStore) -> None:
    keys = [b"%c%02d" % (owner, n) for n in range(LATEST_KEYS_PER_READ + 1) for owner in b"ab"]
    cluster.outcomes["read"] = [(b"a01", 5, b"value", 0)]
    store.portions = Portions(key_bytes=10)
    results = await store.multi_get([(LATEST, key, 0) for key in keys], deadline=soon())
    asked = [statement for statement, _ in cluster.sent]
    assert [len(statement.raw_values[1]) for statement in asked] == [LATEST_KEYS_PER_READ, 1] * 2
    assert [{key[:1] for key in statement.raw_values[1]} for statement in asked] == [{b"a"}, {b"a"}, {b"b"}, {b"b"}]
    assert [cluster.owner(statement.routing_key) for statement in asked] == ["one", "one", "other", "other"]
    assert [result for key, result in zip(keys, results, strict=True) if key == b"a01"] == [b"value"]
    assert set(results) == {b"value", b""}


async def test_a_failed_read_is_an_error_for_each_of_its_keys_and_no_other(cluster: Cluster, store: CassandraStore) -> None:
    cluster.outcomes["read"] = cassandra.ReadTimeout("late")
    results = await store.multi_get([(LATEST, b"a", 0), (TIMED, b"b", 3), (LATEST, b"a", 0)], deadline=soon())
    assert [type(result) for result in results] == [Unavailable] * 3


async def test_an_expired_newest_value_does_not_hide_a_live_one(cluster: Cluster, store: CassandraStore) -> None:
    cluster.outcomes["read"] = [(b"a", 9, b"expired", NOW)]
    cluster.outcomes["read_latest_rows"] = [(b"a", 9, b"expired", NOW), (b"a", 8, b"live", NOW + 1)]
    assert await store.multi_get([(EXPIRING, b"a", 0)], deadline=soon()) == [b"live"]
    assert await store.multi_get([(EXPIRING, b"a", 9)], deadline=soon()) == [b""]
    cluster.outcomes["read_latest_rows"] = cassandra.ReadTimeout("late")
    (result,) = await store.multi_get([(EXPIRING, b"a", 0)], deadline=soon())
    assert isinstance(result, KVError)


async def test_of_one_call_only_the_winner_of_a_latest_key_is_written(cluster: Cluster, store: CassandraStore) -> None:
    cluster.outcomes["put_latest"] = cassandra.OperationTimedOut()
    puts = [put(LATEST, b"k", b"%d" % n, millis) for n, millis in enumerate((5, 9, 7, 9, 8))]
    results = await store.multi_put(puts, deadline=soon())
    assert [values[4] for values in cluster.values_of("put_latest")] == [b"3"]
    assert [type(result) for result in results] == [WriteOutcomeUnknown] * 5


async def test_writes_of_one_process_are_ordered_even_within_a_microsecond(
    cluster: Cluster, store: CassandraStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 7_000)
    await store.multi_put([put(TIMED, b"k", b"v", n) for n in range(3)], deadline=soon())
    await store.delete([(TIMED, b"k")], deadline=soon())
    assert [values[4] for values in cluster.values_of("put_timed")] == [7, 8, 9]
    assert [values[0] for values in cluster.values_of("delete_timed")] == [10]


async def test_a_value_is_not_written_before_its_key_is_in_the_index(cluster: Cluster, store: CassandraStore) -> None:
    cluster.outcomes["put_key"] = cassandra.WriteTimeout("late", write_type=cassandra.WriteType.SIMPLE)
    (result,) = await store.multi_put([put(LATEST, b"k", b"v", 1)], deadline=soon())
    assert type(result) is Unavailable, "the value itself was certainly not applied"
    assert cluster.values_of("put_latest") == []
    del cluster.outcomes["put_key"]
    assert await store.multi_put([put(LATEST, b"k", b"v", 1)], deadline=soon()) == [None]
    assert len(cluster.values_of("put_latest")) == 1


async def test_a_key_is_indexed_anew_only_when_its_row_would_expire_too_early(cluster: Cluster, store: CassandraStore) -> None:
    for expires_at in (NOW + 1000, NOW + 2000, NOW + 2001, NOW + 2500):
        await store.multi_put([put(EXPIRING, b"k", b"v", 1, expires_at)], deadline=soon())
    assert [values[3] for values in cluster.values_of("put_key")] == [2, 5]
    for _ in range(2):
        await store.multi_put([put(LATEST, b"k", b"v", 1)], deadline=soon())
    assert [values[3] for values in cluster.values_of("put_key")] == [2, 5, 0]


async def test_nothing_is_asked_after_the_deadline(cluster: Cluster, store: CassandraStore) -> None:
    past = soon() - 20
    results = [
        *await store.multi_get([(LATEST, b"k", 0)], deadline=past),
        *await store.multi_put([put(LATEST, b"k", b"v", 1)], deadline=past),
        *await store.delete([(LATEST, b"k")], deadline=past),
    ]
    assert [type(result) for result in results] == [DeadlinePassed] * 3
    assert cluster.sent == []


async def test_a_closed_store_is_unavailable(cluster: Cluster, store: CassandraStore) -> None:
    await store.close()
    with pytest.raises(Unavailable):
        await store.multi_get([(LATEST, b"k", 0)], deadline=soon())
    assert cluster.sent == []

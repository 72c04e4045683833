"""The pure half of Cassandra's layout, and the URL."""

import pytest
from cassandra import ConsistencyLevel

from chronoserve.kvstore.backends.cassandra.connection import Settings, SteadyReconnection
from chronoserve.kvstore.backends.cassandra.layout import (
    KEY_BUCKETS,
    NATIVE_TTL_SECONDS_MAX,
    READS,
    WRITES,
    Position,
    Statements,
    bucket_of,
    join_timed,
    native_ttl_seconds,
    newest_live,
    routing_key,
)
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model.errors import InvalidRequest


def settings(url: str) -> Settings:
    return Settings.parse(StoreURL.parse(url))


def test_there_is_a_field_for_each_statement() -> None:
    assert set(Statements.__slots__) == READS.keys() | WRITES.keys()


def test_a_ttl_is_rounded_up_and_never_zero_for_what_expires() -> None:
    assert native_ttl_seconds(0, 5_000) == 0
    assert [native_ttl_seconds(5_000 + left, 5_000) for left in (1, 999, 1000, 1001, 400_000)] == [1, 1, 1, 2, 400]
    assert native_ttl_seconds(1_000, 5_000) == 1


def test_a_ttl_that_cassandra_would_refuse_is_left_to_the_filter() -> None:
    longest = NATIVE_TTL_SECONDS_MAX * 1000
    assert native_ttl_seconds(longest, 0) == NATIVE_TTL_SECONDS_MAX
    assert native_ttl_seconds(longest + 1, 0) == 0


def test_timed_rows_are_joined_by_key_without_expired_and_repeated_ones() -> None:
    rows = [
        (b"k", 1, b"n", b"expired;", 100),
        (b"k", 1, b"n", b"again;", 0),
        (b"k", 2, b"n", b"first;", 101),
        (b"k", 2, b"n", b"second;", 0),
        (b"k", 2, b"o", b"other;", 0),
        (b"l", 2, b"o", b"l;", 0),
    ]
    assert join_timed(rows, 100) == {b"k": b"again;first;other;", b"l": b"l;"}
    assert join_timed([], 100) == {}


def test_the_newest_live_value_counts() -> None:
    rows = [(b"k", 9, b"expired", 100), (b"k", 8, b"live", 101), (b"k", 7, b"older", 0)]
    assert newest_live(rows, 0, 100) == b"live"
    assert newest_live(rows, 8, 100) == b"live"
    assert newest_live(rows, 9, 100) == b""
    assert newest_live(rows[:1], 0, 100) == b""


def test_the_routing_key_is_the_composite_partition_key() -> None:
    assert routing_key("ab", b"\x00k") == b"\x00\x02ab\x00\x00\x02\x00k\x00"


def test_a_token_is_the_position_it_was_made_of() -> None:
    for key in (b"k", b"\x00", bytes(range(256))):
        assert Position.of_token(Position.after(key).token()) == Position(bucket_of(key), key)
    assert Position.of_token(b"") == Position(0, b"")
    assert {bucket_of(b"%d" % n) for n in range(5000)} == set(range(KEY_BUCKETS))


@pytest.mark.parametrize("token", [b"\x00", b"\x01", b"\x01\x05", b"\xff\xfe not a token" * 40, b"\x02" + Position.after(b"k").token()[1:]])
def test_a_strange_token_is_refused(token: bytes) -> None:
    with pytest.raises(InvalidRequest):
        Position.of_token(token)


def test_a_token_of_the_wrong_bucket_is_refused() -> None:
    bucket = (bucket_of(b"k") + 1) % KEY_BUCKETS
    with pytest.raises(InvalidRequest):
        Position.of_token(Position(bucket, b"k").token())


def test_the_url_has_defaults() -> None:
    found = settings("cassandra://h1,h2:9142/features")
    assert found.contact_points == (("h1", 9142), ("h2", 9142))
    assert found.keyspace == "features"
    assert (found.read_consistency, found.write_consistency) == (ConsistencyLevel.LOCAL_QUORUM,) * 2
    assert (found.replication, found.tls, found.verify_hostname, found.username) == (0, False, True, None)
    assert (found.connect_seconds, found.reconnect_seconds, found.heartbeat_seconds) == (5.0, 0.4, 5.0)
    assert settings("cassandra://h1/features").contact_points == (("h1", 9042),)


def test_the_url_sets_everything() -> None:
    found = settings(
        "cassandra://u:p%40@h/ks?consistency=one&write_consistency=all&local_dc=dc1&replication=2&ca=a&cert=b&key=c&verify_hostname=off"
    )
    assert (found.username, found.password) == ("u", "p@")
    assert "p@" not in repr(found)
    assert (found.read_consistency, found.write_consistency) == (ConsistencyLevel.ONE, ConsistencyLevel.ALL)
    assert (found.local_dc, found.replication, found.tls, found.verify_hostname) == ("dc1", 2, True, False)


@pytest.mark.parametrize(
    "rest",
    [
        *("h", "h/", "/ks", "h/a-b", 'h/a"b', "h/" + "k" * 49, "h/ks/more"),
        *("h/ks?consistency=serial", "h/ks?consistency=many", "h/ks?tls=maybe", "h/ks?cert=a", "h/ks?replicas=1", "h/ks?heartbeat_ms=0"),
    ],
)
def test_a_bad_url_is_refused(rest: str) -> None:
    with pytest.raises(InvalidRequest):
        settings(f"cassandra://{rest}")


def test_files_that_are_not_there_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        settings("cassandra://h/ks?ca=absent.pem").ssl_context()
    assert settings("cassandra://h/ks").ssl_context() is None


def test_nodes_are_dialled_at_a_steady_pace_for_ever() -> None:
    schedule = SteadyReconnection(0.4).new_schedule()
    assert all(0.3 <= next(schedule) <= 0.4 for _ in range(1000))

"""What chronoserve stores in Redis, without a Redis."""

import asyncio
from binascii import crc_hqx

import pytest

from chronoserve.kvstore.backends.redis.connection import pack
from chronoserve.kvstore.backends.redis.layout import (
    BulkHeads,
    decode_properties,
    encode_properties,
    key_prefix,
    member,
    mget_command,
    timed_values,
)
from chronoserve.kvstore.backends.redis.store import describe_durability, open_store
from chronoserve.kvstore.port import PutRequest
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import CorruptValue, InvalidRequest

TIMED = Dataset("CLICKS_STREAMING", Properties(Kind.TIMED, 1000))


def write(millis: int, nonce: bytes, expires_at: int) -> PutRequest:
    return PutRequest(TIMED, b"k", values.encode(b"%d" % millis, millis), millis, nonce * 16, expires_at, replayable=True)


def test_keys_with_heads_make_the_command_that_the_encoder_makes() -> None:
    prefix = key_prefix(TIMED)
    heads = BulkHeads(prefix)
    keys = [b"", b"a", b"a\r\nb", b"\xff" * 300, b"b"]
    assert mget_command([heads[len(key)] + key for key in keys]) == pack(b"MGET", *(prefix + key for key in keys))


def test_a_cluster_hashes_the_whole_key_whatever_it_holds() -> None:
    assert crc_hqx(b"123456789", 0) == 0x31C3, "the CRC that Redis Cluster is defined by"
    stored = key_prefix(TIMED) + b"{tag}"
    assert stored.index(b"}") == stored.index(b"{") + 1, "empty braces first: no hash tag"


def test_members_sort_by_time_and_then_nonce() -> None:
    puts = [write(1, b"z", 0), write(2, b"a", 0), write(2, b"b", 5), write(255, b"a", 0), write(256, b"a", 0), write(2**40, b"a", 0)]
    assert sorted(member(put) for put in reversed(puts)) == [member(put) for put in puts]


def test_expired_members_are_left_out() -> None:
    puts = [write(1, b"a", 100), write(2, b"a", 101), write(3, b"a", 0)]
    assert timed_values([member(put) for put in puts], 100) == b"".join(put.timed_value for put in puts[1:])
    assert timed_values([], 100) == b""


def test_properties_are_kept_as_json() -> None:
    assert encode_properties(TIMED.properties) == b'{"kind": "TIMED", "ttl_millis": 1000}'
    assert decode_properties(encode_properties(TIMED.properties)) == TIMED.properties
    for broken in (b"", b"[]", b'{"kind": "ODD", "ttl_millis": 0}', b'{"kind": "TIMED"}', b"\xff"):
        with pytest.raises(CorruptValue):
            decode_properties(broken)


def test_durable_is_what_survives_the_end_of_the_server() -> None:
    always = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "maxmemory": "0"}
    assert describe_durability(always) == (True, "on disk before it is acknowledged (appendfsync always)")
    for change in (
        {"appendonly": "no"},
        {"appendfsync": "everysec"},
        {"no-appendfsync-on-rewrite": "yes"},
        {"maxmemory": "100", "maxmemory-policy": "allkeys-lru"},
    ):
        assert not describe_durability(always | change)[0], change
    assert describe_durability(always | {"maxmemory": "100", "maxmemory-policy": "noeviction"})[0]
    assert not describe_durability({})[0]


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/x",
        "redis://h/1/2",
        "redis://h1,h2",
        "redis+odd://h",
        "redis://user@h",
        "redis://h?conections=2",
        "redis://h?connections=0",
        "redis://h?ca=/ca.pem",
        "rediss://h?ca=/nowhere/ca.pem",
        "redis+cluster://h/1",
        "redis+sentinel://h",
    ],
)
def test_a_wrong_url_is_refused_before_anything_is_dialled(url: str) -> None:
    with pytest.raises(InvalidRequest):
        asyncio.run(open_store(StoreURL.parse(url), clock=lambda: 0))

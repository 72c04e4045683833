"""The configuration: refused before a port opens, told without secrets, and the policy file read again."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chronoserve.app.settings import AuthSettings, Settings, load, policy
from chronoserve.model.errors import InvalidRequest
from chronoserve.service.access import Verb

CANARY = "canary-77aa"
MEMORY = {"stores": {"main": {"url": "memory://"}}}
DIGEST = hashlib.sha256(b"token").hexdigest()


def settings(**given: Any) -> Settings:
    return load(None, {**MEMORY, **given})


def test_nothing_but_a_store_is_needed_and_the_defaults_are_those_of_the_product() -> None:
    found = settings()
    assert (found.listen, found.http, found.admin, found.workers) == (["127.0.0.1:50051"], "127.0.0.1:9000", None, 1)
    limits = found.limits
    assert (limits.keys_per_call_max, limits.message_bytes_max, limits.drain_seconds) == (10_000, 4 << 20, 10.0)
    assert (limits.read_seconds_default, limits.write_seconds_default, limits.call_seconds_max) == (1.0, 5.0, 30.0)
    assert found.local_only


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"stores": {}}, "no store"),
        ({"listen": []}, "listen"),
        ({"listen": ["localhost"]}, "HOST:PORT"),
        ({"listen": [":50051"]}, "HOST:PORT"),
        ({"listen": ["::1:50051"]}, "HOST:PORT"),
        ({"listen": ["127.0.0.1:port"]}, "HOST:PORT"),
        ({"listen": ["127.0.0.1:65536"]}, "HOST:PORT"),
        ({"http": "9000"}, "HOST:PORT"),
        ({"admin": "here"}, "HOST:PORT"),
        ({"log_level": "loud"}, "log_level"),
        ({"workers": 0}, "workers"),
        ({"worker": 1}, "worker"),
        ({"limits": {"keys": 1}}, "keys"),
        ({"limits": {"drain_seconds": 0}}, "drain_seconds"),
        ({"limits": {"drain_seconds": "soon"}}, "drain_seconds"),
        ({"routes": [{"datasets": "*", "store": "other"}]}, "other"),
        ({"stores": {"a": {"url": "memory://"}, "b": {"url": "memory://"}}}, "routes"),
        ({"workers": 2}, "memory://"),
        ({"workers": 2, "stores": {"m": {"url": "lmdb:///x"}}, "listen": ["unix:/tmp/x"]}, "Unix socket"),
        ({"auth": {}}, "identify"),
        ({"auth": {"tokens": {CANARY: "alice"}}}, "SHA-256"),
        ({"auth": {"tokens": {DIGEST.upper(): "alice"}}}, "SHA-256"),
        ({"auth": {"tokens": {DIGEST: "alice"}, "policy": [{"identities": ["*"], "verbs": ["fly"], "datasets": ["*"]}]}}, "verbs"),
        ({"tls": {"certificate": "x"}}, "key"),
        ({"stores": {"main": {"url": "no url"}}}, "lmdb:///dir"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_its_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        settings(**given)
    assert says in caught.value.message
    assert CANARY not in caught.value.message


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:0", "localhost:1", "[::1]:50051", "[fe80::1%eth0]:1", "0.0.0.0:65535", "unix:/tmp/x", "unix:x y", "host-1.example:80"],
)
def test_addresses_of_every_kind_are_taken(address: str) -> None:
    assert settings(listen=[address]).listen == [address]


def test_a_file_is_read_flags_win_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text('workers = 1\nlog_level = "debug"\n[stores.main]\nurl = "memory://"\n')
    assert load(path, {}).log_level == "debug"
    assert load(path, {"log_level": "error"}).log_level == "error"
    for text in ("workers = ", 'workers = "two"', "unknown = 1"):
        path.write_text(text)
        with pytest.raises(InvalidRequest):
            load(path, {})
    with pytest.raises(InvalidRequest):
        load(tmp_path / "none.toml", {})


def test_a_secret_comes_from_the_environment_and_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", CANARY)
    found = settings(stores={"main": {"url": "redis://user:${STORE_PASSWORD}@host"}})
    assert found.stores["main"].url == f"redis://user:{CANARY}@host"
    assert CANARY not in str(found.redacted())
    with pytest.raises(InvalidRequest, match="NOT_SET"):
        settings(stores={"main": {"url": "redis://user:${NOT_SET}@host"}})


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{CANARY}@host:6379/0",
        f"redis://:{CANARY}@host",
        f"rediss://user:{CANARY}%40x@host",
        f"cassandra://user:{CANARY}@h1,h2/keyspace",
        f"dynamodb://region/prefix?secret_key={CANARY}&access_key={CANARY}&session_token={CANARY}",
        f"mongodb://user:{CANARY}@host/db?PASSWORD={CANARY}",
    ],
)
def test_what_is_told_of_the_configuration_holds_no_secret(url: str) -> None:
    auth = {"tokens": {DIGEST: "alice"}, "jwt": {"key_file": "/keys/jwt.pem", "algorithms": ["RS256"]}}
    told = settings(stores={"main": {"url": url}}, auth=auth).redacted()
    text = msgspec.json.encode(told).decode()
    assert CANARY not in text
    assert DIGEST not in text
    assert "alice" in text


def test_bulk_loads_read_any_place_only_where_nobody_else_can_ask() -> None:
    assert settings().bulk_places() is None
    assert settings(bulk_roots=["/data"]).bulk_places() == [Path("/data")]
    assert settings(listen=["127.0.0.1:1", "0.0.0.0:1"]).bulk_places() == []
    assert settings(listen=["10.0.0.1:1"], bulk_roots=["/data"]).bulk_places() == [Path("/data")]


def test_only_the_first_of_several_workers_has_the_unix_sockets() -> None:
    found = settings(workers=3, stores={"m": {"url": "lmdb:///x"}}, listen=["127.0.0.1:1", "unix:/tmp/x"])
    assert [found.of_worker(index).listen for index in range(3)] == [["127.0.0.1:1", "unix:/tmp/x"], ["127.0.0.1:1"], ["127.0.0.1:1"]]


def test_a_store_among_several_has_half_of_the_places() -> None:
    assert settings().inflight_calls_max_of_store() is None
    stores = {"a": {"url": "memory://"}, "b": {"url": "memory://"}}
    found = settings(stores=stores, routes=[{"datasets": "*", "store": "a"}], limits={"inflight_calls_max": 10})
    assert found.inflight_calls_max_of_store() == 5
    assert (
        settings(stores=stores, routes=[{"datasets": "*", "store": "a"}], limits={"inflight_calls_max": 1}).inflight_calls_max_of_store()
        == 1
    )


# the policy file

RULE = '[[policy]]\nidentities = ["alice"]\nverbs = ["read"]\ndatasets = ["A*"]\n'


def test_a_policy_is_the_rules_of_both_files(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(RULE)
    inline = [{"identities": ["bob"], "verbs": ["write", "admin"], "datasets": ["*"]}]
    found = policy(msgspec.convert({"policy": inline, "policy_file": str(path)}, AuthSettings))
    assert found.allows("alice", Verb.READ, "A1")
    assert found.allows("bob", Verb.ADMIN, "B")
    assert not found.allows("alice", Verb.WRITE, "A1")
    assert not found.allows("alice", Verb.READ, "B")
    path.write_text("")
    assert not policy(msgspec.convert({"policy_file": str(path)}, AuthSettings)).allows("alice", Verb.READ, "A1")


@pytest.mark.parametrize(
    "content",
    [
        b"[[policy",
        b"[[polcy]]\n",
        b'[[policy]]\nidentities = ["x"]\n',
        RULE.replace("read", "fly").encode(),
        RULE.encode() + b"extra = 1\n",
        b"\xff\xfe",
        None,
    ],
    ids=repr,
)
def test_a_policy_file_that_is_not_right_is_refused_whole(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="policy file"):
        policy(msgspec.convert({"policy_file": str(path)}, AuthSettings))


def test_a_warehouse_of_the_command_line_keeps_the_file_s_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[stores.m]\nurl = "memory://"\n[warehouse]\nurl = "s3://${LAKE}/w"\npartition_format = "yyyyMMdd"\n')
    monkeypatch.setenv("LAKE", "lake")
    found = load(path, {}).warehouse
    assert found is not None
    assert found.url == "s3://lake/w"
    other = load(path, {"warehouse": {"url": "/w", "partition_column": "day"}}).warehouse
    assert other is not None
    assert (other.url, other.partition_column, other.partition_format) == ("/w", "day", "yyyyMMdd")

"""Requests that nobody should send: each is answered or refused, none is our own failure, and those beside it get their features."""

import json
import random
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from chronoserve.v1 import fetcher_pb2
from chronoserve.wire.feature_values import length
from chronoserve_client import Client, RowStatus
from tests.server.bench_world import AT_MILLIS, load, world
from tests.server.conftest import StartServer
from tests.server.running import RunningServer

SECONDS = 20
MUTANTS = 2000
SERVICE = "/chronoserve.v1.Fetcher/"

NAMES = ["", " ", "a/b/c", "../../etc/passwd", "a\x00b", "ä", "{$gt: 1}", "\r\nFLUSHALL\r\n", "x" * 100_000, "bench_w1_small\n", "😀" * 100]
KEYS: list[Any] = [None, True, 1 << 62, -1, 1e308, float("nan"), "", "x" * 1_000_000, b"\xff" * 1000, [], {}, [[[[]]]], {"a": {"b": [1]}}]


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> RunningServer:
    started = start_server()
    load(started.address)
    return started


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address, timeout=SECONDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def good() -> tuple[str, dict[str, Any], int]:
    return "bench_w1_small", {"user": "user_0"}, AT_MILLIS


def wanted() -> dict[str, Any]:
    return world().samples["bench_w1_small"][0][1]


def status_of(channel: grpc.Channel, method: str, data: bytes) -> str:
    try:
        call: Any = channel.unary_unary
        call(SERVICE + method)(data, timeout=SECONDS)
    except grpc.RpcError as refused:
        return str(refused.code().name)
    return "OK"


def mutants(data: bytes, draw: random.Random) -> Iterator[bytes]:
    for _ in range(MUTANTS):
        mutant = bytearray(data)
        for _ in range(draw.randrange(1, 6)):
            at = draw.randrange(len(mutant))
            match draw.randrange(3):
                case 0:
                    mutant[at] = draw.randrange(256)
                case 1:
                    del mutant[at]
                case _:
                    mutant[at:at] = draw.randbytes(draw.randrange(1, 9))
        yield bytes(mutant)


def sized(tag: bytes, data: bytes) -> bytes:
    return tag + length(len(data)) + data


@pytest.mark.parametrize("method", ["FetchJoins", "Explain"])
def test_mutated_messages_are_answered_or_refused(server: RunningServer, channel: grpc.Channel, method: str) -> None:
    request = fetcher_pb2.FeatureRequest(name="bench_w2_typical", at_millis=AT_MILLIS)
    request.keys["user"].string_value = "user_0"
    request.keys["item"].int_value = 1000
    request.keys["ctx_c"].double_value = 0.5
    message: Any = fetcher_pb2.FetchRequest(requests=[request] * 2, include_freshness=True)
    if method == "Explain":
        message = fetcher_pb2.ExplainRequest(target="FETCH_TARGET_JOINS", request=request)
    seen = Counter(status_of(channel, method, mutant) for mutant in mutants(message.SerializeToString(), random.Random(7)))
    assert set(seen) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}, seen
    assert seen["OK"] > 0
    assert not server.events("a handler failed")


def test_hostile_names_and_keys_are_errors_of_their_rows(server: RunningServer, client: Client) -> None:
    asked: list[Any] = [good()]
    asked += [(name, {"user": "user_0"}, AT_MILLIS) for name in NAMES]
    asked += [("bench_w1_small", {"user": key}, AT_MILLIS) for key in KEYS]
    asked += [("bench_w1_small", {name: "user_0", "user": "user_0"}, AT_MILLIS) for name in NAMES]
    asked += [("bench_w1_small", {"user": "user_0"}, at) for at in (0, -1, -(1 << 63), (1 << 63) - 1)]
    for fetch in (client.fetch_joins, client.fetch_group_bys):
        rows = fetch([*asked, good()])
        assert len(rows) == len(asked) + 1
        assert "INTERNAL" not in {error.reason for row in rows for error in (row.error, *row.part_errors.values()) if error is not None}
        if fetch == client.fetch_joins:
            assert rows[0].features == rows[-1].features == wanted()
    assert not server.events("a handler failed")


def test_values_nested_beyond_reason_are_refused(channel: grpc.Channel) -> None:
    """protobuf reads a hundred levels; the generated classes here would not even build so many."""
    for depth in (10, 40, 60, 1000, 10_000):
        value = b"\x18\x01"
        for _ in range(depth):
            value = sized(b"B", sized(b"\n", value))
        entry = sized(b"\n", b"user") + sized(b"\x12", value)
        request = sized(b"\n", sized(b"\n", b"bench_w1_small") + sized(b"\x12", entry))
        assert status_of(channel, "FetchJoins", request) == ("OK" if depth < 45 else "INVALID_ARGUMENT"), depth


def test_many_rows_at_once_do_not_keep_others_waiting(client: Client, server: RunningServer) -> None:
    rows = client.fetch_joins([good()] * 5000, timeout=SECONDS)
    assert {row.status for row in rows} == {RowStatus.OK}
    assert all(row.features == wanted() for row in rows)
    with pytest.raises(Exception, match="at most 10000 rows"):
        client.fetch_joins([("a", {})] * 10_001)


def test_mutated_bodies_are_answered_or_refused_over_http(server: RunningServer) -> None:
    body = json.dumps([{"user": "user_0", "x": [1, {"y": None}], "z": 1.5e300}, {"user": "user_1"}]).encode()
    url = f"http://{server.serving['http'][0]}/v1/features/join/bench_w1_small?at_millis={AT_MILLIS}"
    seen: Counter[int] = Counter()
    for mutant in mutants(body, random.Random(9)):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, mutant, method="POST"), timeout=SECONDS) as reply:
                assert json.loads(reply.read())["results"] is not None
                seen[reply.status] += 1
        except urllib.error.HTTPError as refused:
            with refused:
                seen[refused.code] += len(json.loads(refused.read())["errors"])
    assert set(seen) <= {200, 400}, seen
    assert not server.events("a handler failed")

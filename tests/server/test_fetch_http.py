"""Chronon's HTTP routes on a running server: shapes, places and statuses, alone, behind a policy and with several workers."""

import base64
import hashlib
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fastavro
import pytest

from chronoserve_client import Client, Put
from tests.server.bench_world import AT_MILLIS, JOINS, USERS, load, world
from tests.server.conftest import StartServer
from tests.server.running import RunningServer

SECONDS = 20
AT = f"?at_millis={AT_MILLIS}"
NAMED = "team/with a name.v1"


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> RunningServer:
    started = start_server()
    load(started.address)
    conf = next(put.value for put in world().puts if put.key == b"joins/bench_w1_small")
    with Client(started.address) as client:
        name = f"joins/{NAMED}".encode()
        client.multi_put([Put("ZIPLINE_METADATA", name, conf.replace(b'"name":"bench_w1_small"', f'"name":"{NAMED}"'.encode()), 1)])
    return started


def ask(server: RunningServer, path: str, body: Any = None, token: str = "", method: str = "") -> tuple[int, Any, Any]:
    """Status, JSON and headers of an answer. ``body``: bytes as they are, else JSON; None: a GET."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(
        f"http://{server.serving['http'][0]}{path}", data, headers, method=method or ("GET" if data is None else "POST")
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:
            return reply.status, json.loads(reply.read()), reply.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read()), refused.headers


def keys_of(join: str) -> list[dict[str, Any]]:
    return [keys for keys, _ in world().samples[join]]


def recorded(join: str) -> list[dict[str, Any]]:
    return [features for _, features in world().samples[join]]


@pytest.mark.parametrize("route", ["/v1/features/join", "/v1/fetch/join"])
@pytest.mark.parametrize("join", JOINS)
def test_a_join_is_answered_as_chronon_answers_it(server: RunningServer, route: str, join: str) -> None:
    status, found, headers = ask(server, f"{route}/{join}{AT}", keys_of(join))
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert list(found) == ["results"]
    assert [list(result) for result in found["results"]] == [["status", "entityKeys", "features"]] * USERS
    assert [result["features"] for result in found["results"]] == recorded(join)
    assert {result["status"] for result in found["results"]} == {"Success"}
    assert [result["entityKeys"] for result in found["results"]] == keys_of(join)


@pytest.mark.parametrize("route", ["/v1/features/groupby", "/v1/fetch/groupby"])
def test_a_group_by_is_answered_in_position_whatever_its_keys(server: RunningServer, route: str) -> None:
    """Chronon leaves requests with a null key out; a client that counts on one result for each request is right with us."""
    asked = [{"user": "user_0"}, {"user": "nobody"}, {"user": None}, {"user": "user_1"}]
    status, found, _ = ask(server, f"{route}/bench_small{AT}", asked)
    assert status == 200
    assert [result["entityKeys"] for result in found["results"]] == asked
    assert ["features" in result for result in found["results"]] == [True, False, False, True]
    assert {result["status"] for result in found["results"]} == {"Success"}


def test_a_name_may_have_its_slash_encoded_or_not(server: RunningServer) -> None:
    answers = [ask(server, f"/v1/features/join/{quote(NAMED, safe=safe)}{AT}", [{"user": "user_0"}]) for safe in ("", "/")]
    assert [status for status, _, _ in answers] == [200, 200]
    assert [found["results"][0]["features"] for _, found, _ in answers] == [recorded("bench_w1_small")[0]] * 2


def test_a_part_that_fails_is_an_entry_and_a_row_that_fails_a_failure(server: RunningServer) -> None:
    status, found, _ = ask(server, f"/v1/features/join/bench_w1_small{AT}", [{"user": "user_0"}, {}, None])
    good, without, null = found["results"]
    assert status == 200
    assert good["features"] == recorded("bench_w1_small")[0]
    assert (without["status"], list(without["features"])) == ("Success", ["bench_small_exception"])
    assert (null["status"], list(null)) == ("Failure", ["status", "entityKeys", "error"])


def test_no_requests_have_no_results(server: RunningServer) -> None:
    assert ask(server, "/v1/features/join/bench_w1_small", [])[:2] == (200, {"results": []})


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[", b"[1]", b'"x"', b"null", b"[{}]]", b"\xff", b'[{"user":"\xff"}]', b"[NaN]", b'[{"user":NaN}]', b"[" * 100_000],
    ids=repr,
)
def test_what_is_no_array_of_objects_is_refused(server: RunningServer, body: bytes) -> None:
    status, found, _ = ask(server, "/v1/features/join/bench_w1_small", body, method="POST")
    assert status == 400
    assert list(found) == ["errors"]
    assert len(found["errors"]) == 1


@pytest.mark.parametrize(
    "query", ["at_millis=now", "at_millis=-1", "at_millis=", "at_millis=1e3", "at_millis=" + "9" * 30, "timeout_millis=0"]
)
def test_a_parameter_that_is_no_number_is_refused(server: RunningServer, query: str) -> None:
    status, found, _ = ask(server, f"/v1/features/join/bench_w1_small?{query}", [])
    assert (status, query.partition("=")[0] in found["errors"][0]) == (400, True)


def test_a_body_beyond_the_limit_is_refused(server: RunningServer) -> None:
    assert ask(server, "/v1/features/join/bench_w1_small", b" " * (4 << 20) + b"[]")[0] == 413


def test_an_unknown_join_fails_the_call_and_an_unknown_group_by_each_request(server: RunningServer) -> None:
    """Both as Chronon does it."""
    status, found, _ = ask(server, "/v1/features/join/team/none.v1", [{"user": 1}])
    assert status == 500
    assert "team/none.v1" in found["errors"][0]
    status, found, _ = ask(server, "/v1/features/groupby/team.none.v1", [{"user": 1}] * 2)
    assert status == 200
    assert [list(result) for result in found["results"]] == [["status", "entityKeys", "error"]] * 2


def test_the_second_version_answers_avro(server: RunningServer) -> None:
    join = "bench_w2_typical"
    status, schema, _ = ask(server, f"/v1/join/{join}/schema")
    assert status == 200
    status, found, _ = ask(server, f"/v2/fetch/join/{join}{AT}", [*keys_of(join), None])
    assert status == 200
    parsed = fastavro.parse_schema(json.loads(schema["valueSchema"]))
    *results, null = found["results"]
    read = [fastavro.schemaless_reader(io.BytesIO(base64.b64decode(each["featureAvroString"])), parsed, None) for each in results]
    assert read == recorded(join)
    assert [each["featuresErrors"] for each in results] == [{}] * USERS
    assert null["status"] == "Failure"


def test_schemas_and_names(server: RunningServer) -> None:
    assert set(ask(server, "/v1/joins")[1]["joinNames"]) >= {"bench_w1_small", NAMED}
    assert "bench_small" in ask(server, "/v1/groupbys")[1]["groupByNames"]
    join = ask(server, "/v1/join/bench_w1_small/schema")[1]
    assert list(join) == ["joinName", "keySchema", "valueSchema", "schemaHash", "valueInfos"]
    assert join["valueInfos"][0] == {
        "fullName": "bench_small_vl_sum_1d", "groupName": "bench_small", "prefix": "", "leftKeys": ["user"], "schemaString": "long",
    }  # fmt: skip
    group_by = ask(server, "/v1/groupby/bench_small/schema")[1]
    assert list(group_by) == ["groupByName", "keySchema", "valueSchema", "inputSchema", "selectedSchema"]
    assert json.loads(group_by["valueSchema"])["type"] == "record"
    for path in ("/v1/join/team/none/schema", "/v1/groupby/none/schema"):
        status, found, _ = ask(server, path)
        assert (status, list(found)) == (500, ["errors"])


def test_the_service_s_own_pages(server: RunningServer) -> None:
    assert ask(server, "/ping")[:2] == (200, "Pong!")
    assert ask(server, "/config")[1]["fetcher"]["rows_per_call_max"] == 10_000
    assert server.metric("chronoserve_calls_total", method="HTTP join", status="OK") > 0
    assert server.metric("chronoserve_calls_total", method="HTTP join", status="INVALID_ARGUMENT") > 0


# behind a policy

TOKENS = {name: f"token-of-{name}" for name in ("owner", "reader")}


@pytest.fixture(scope="module")
def guarded(start_server: StartServer) -> RunningServer:
    tokens = "".join(f'"{hashlib.sha256(token.encode()).hexdigest()}" = "{name}"\n' for name, token in TOKENS.items())
    config = f"""
[stores.memory]
url = "memory://"
[[auth.policy]]
identities = ["owner"]
verbs = ["read", "write", "admin"]
datasets = ["*"]
[[auth.policy]]
identities = ["reader"]
verbs = ["fetch"]
features = ["bench_w1_*", "bench_w2_*", "bench_small", "bench_dim"]
[auth.tokens]
{tokens}"""
    started = start_server(config=config)
    load(started.address, token=TOKENS["owner"])
    return started


def test_without_a_token_nothing_is_fetched(guarded: RunningServer) -> None:
    for token in ("", "guessed"):
        status, found, headers = ask(guarded, "/v1/features/join/bench_w1_small", [], token)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert found["errors"]
    assert ask(guarded, "/healthz")[0] == ask(guarded, "/readyz")[0] == 200


def test_a_caller_fetches_what_the_policy_allows(guarded: RunningServer) -> None:
    """Of the second join only some of the group bys are allowed, and a join needs each of them."""
    token = TOKENS["reader"]
    status, found, _ = ask(guarded, f"/v1/features/join/bench_w1_small{AT}", keys_of("bench_w1_small"), token)
    assert (status, [result["features"] for result in found["results"]]) == (200, recorded("bench_w1_small"))
    for path in ("features/join/bench_w4_heavy", "features/join/bench_w2_typical", "features/groupby/bench_mut"):
        assert ask(guarded, f"/v1/{path}", [{"user": "user_0"}], token)[0] == 403
    assert ask(guarded, "/v1/features/groupby/bench_dim", [{"item": 1000}], token)[0] == 200
    assert ask(guarded, "/v1/join/bench_w2_typical/schema", token=token)[0] == 403
    assert ask(guarded, "/v1/joins", token=token)[1] == {"joinNames": ["bench_w1_small", "bench_w2_typical"]}
    assert ask(guarded, "/v1/joins", token=TOKENS["owner"])[1] == {"joinNames": []}


def test_over_grpc_each_row_has_its_permission(guarded: RunningServer) -> None:
    with Client(guarded.address, token=TOKENS["reader"], timeout=SECONDS) as client:
        rows = client.fetch_joins([(name, keys_of(name)[0], AT_MILLIS) for name in ("bench_w1_small", "bench_w2_typical")])
        assert [type(row.error).__name__ for row in rows] == ["NoneType", "PermissionDenied"]
        assert client.multi_get([("BENCH_SMALL_BATCH", b"k")])[0].error is not None


# several workers


def test_every_worker_serves_features_on_the_one_port(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--workers", "2", "--store", f"lmdb://{tmp_path}/store")
    load(server.address)
    for _ in range(6):
        status, found, _ = ask(server, f"/v1/features/join/bench_w1_small{AT}", keys_of("bench_w1_small"))
        assert (status, [result["features"] for result in found["results"]]) == (200, recorded("bench_w1_small"))
        assert ask(server, "/readyz")[0] == 200
    calls = [server.metric("chronoserve_calls_total", method="HTTP join", worker=worker) for worker in "01"]
    assert calls == [3, 3]
    assert server.stop() == 0

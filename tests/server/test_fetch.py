"""Fetches from a running server: every method of the Fetcher, on what Chronon's JVM recorded."""

import io
import json
from collections.abc import Iterator
from typing import Any

import fastavro
import grpc
import pytest

from chronoserve.v1 import fetcher_pb2_grpc
from chronoserve_client import Client, Encoding, RowStatus, TimeBeforeBatch, UnknownConf
from chronoserve_client._fetches import fetch_message
from tests.server.bench_world import AT_MILLIS, BATCH_END_MILLIS, JOINS, USERS, load, world
from tests.server.conftest import StartServer
from tests.server.running import RunningServer

SECONDS = 20


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> RunningServer:
    started = start_server()
    load(started.address)
    return started


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address, timeout=SECONDS) as opened:
        yield opened


def requests(join: str) -> list[tuple[str, dict[str, Any], int]]:
    return [(join, keys, AT_MILLIS) for keys, _ in world().samples[join]]


def recorded(join: str) -> list[dict[str, Any]]:
    return [features for _, features in world().samples[join]]


@pytest.mark.parametrize("encoding", [Encoding.MAP, Encoding.PACKED])
@pytest.mark.parametrize("join", JOINS)
def test_features_are_those_that_the_jvm_answered(client: Client, join: str, encoding: Encoding) -> None:
    rows = client.fetch_joins(requests(join), encoding=encoding)
    assert [row.status for row in rows] == [RowStatus.OK] * USERS
    assert [row.features for row in rows] == recorded(join)


def test_joins_mix_in_one_call_and_rows_keep_their_places(client: Client) -> None:
    asked = [request for group in zip(*map(requests, JOINS), strict=True) for request in group] * 2
    wanted = [features for group in zip(*map(recorded, JOINS), strict=True) for features in group] * 2
    for encoding in (Encoding.MAP, Encoding.PACKED):
        assert [row.features for row in client.fetch_joins(asked, encoding=encoding)] == wanted


@pytest.mark.parametrize("join", JOINS)
def test_avro_is_read_with_the_schema_that_the_server_names(client: Client, join: str) -> None:
    schema = client.join_schema(join)
    parsed = fastavro.parse_schema(json.loads(schema.value_schema))
    rows = client.fetch_joins(requests(join), encoding=Encoding.AVRO)
    assert {row.schema_hash for row in rows} == {schema.schema_hash}
    assert [fastavro.schemaless_reader(io.BytesIO(row.avro), parsed, None) for row in rows] == recorded(join)


def test_values_have_the_member_of_their_type(server: RunningServer) -> None:
    message = fetch_message(requests("bench_w2_typical")[:1], Encoding.MAP, freshness=False)
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = fetcher_pb2_grpc.FetcherStub
        features = stub(channel).FetchJoins(message, timeout=SECONDS).responses[0].features
    kinds = {name: value.WhichOneof("kind") for name, value in features.items()}
    assert kinds["bench_dim_price"] == "null_value"
    assert kinds["bench_dim_qty"] == "int_value"
    assert kinds["bench_dim_active"] == "bool_value"
    assert kinds["bench_dim_title"] == "string_value"
    assert kinds["bench_dim_tags"] == "list_value"
    assert kinds["bench_events_vd_average_1d"] == "double_value"


def test_group_bys_answer_without_the_join_s_prefix(client: Client) -> None:
    asked = [("bench_small", {"user": f"user_{n}"}, AT_MILLIS) for n in range(USERS)]
    rows = client.fetch_group_bys([*asked, ("bench_small", {"user": "nobody"}, AT_MILLIS)], freshness=True)
    prefix = "bench_small_"
    assert [dict(row.features) for row in rows[:USERS]] == [
        {name.removeprefix(prefix): value for name, value in features.items()} for features in recorded("bench_w1_small")
    ]
    assert rows[USERS].status is RowStatus.MISSING
    (fresh,) = rows[0].freshness.values()
    assert fresh.batch_end == BATCH_END_MILLIS
    assert fresh.stream > BATCH_END_MILLIS


def test_a_stream_answers_message_by_message(client: Client) -> None:
    with client.stream_fetch() as stream:
        for join in JOINS:
            assert [row.features for row in stream.fetch_joins(requests(join), timeout=SECONDS)] == recorded(join)
        (row,) = stream.fetch_group_bys([("bench_small", {"user": "user_0"}, AT_MILLIS)], timeout=SECONDS)
        assert row.status is RowStatus.OK


def test_each_row_has_its_own_error(client: Client) -> None:
    good = requests("bench_w1_small")[0]
    unknown, early, missing, fine = client.fetch_joins(
        [("team/none.v1", {}), ("bench_w1_small", {"user": "user_0"}, BATCH_END_MILLIS - 1), ("bench_w1_small", {}, AT_MILLIS), good]
    )
    assert type(unknown.error) is UnknownConf
    assert [type(error) for error in early.part_errors.values()] == [TimeBeforeBatch]
    assert list(missing.part_errors) == ["bench_small"]
    assert fine.features == recorded("bench_w1_small")[0]


def test_what_is_online_is_listed(client: Client) -> None:
    assert sorted(client.list_joins()) == ["bench_w1_small", "bench_w2_typical", "bench_w3_derived", "bench_w4_heavy"]
    groups = ["bench_dim", "bench_events", "bench_heavy", "bench_mut", "bench_small", "bench_snapshot"]
    assert sorted(client.list_group_bys()) == groups


def test_schemas_name_the_keys_and_features(client: Client) -> None:
    join = client.join_schema("bench_w1_small")
    assert [field["name"] for field in json.loads(join.key_schema)["fields"]] == ["user"]
    assert {field["name"] for field in json.loads(join.value_schema)["fields"]} == set(recorded("bench_w1_small")[0])
    assert {(info.group, info.left_keys, info.type) for info in join.value_infos} == {("bench_small", ("user",), "long")}
    group_by = client.group_by_schema("bench_small")
    assert {field["name"] for field in json.loads(group_by.value_schema)["fields"]} == {
        name.removeprefix("bench_small_") for name in recorded("bench_w1_small")[0]
    }
    assert group_by.batch_end == BATCH_END_MILLIS
    assert json.loads(group_by.selected_schema)["fields"]
    for ask in (client.join_schema, client.group_by_schema):
        with pytest.raises(UnknownConf):
            ask("team.none")


def test_a_fetch_is_explained(client: Client) -> None:
    found = client.explain_join("bench_w1_small", {"user": "user_0"}, AT_MILLIS)
    assert found.row.features == recorded("bench_w1_small")[0]
    assert {read.dataset for read in found.reads} == {"BENCH_SMALL_BATCH", "BENCH_SMALL_STREAMING"}
    streaming = next(read for read in found.reads if read.dataset == "BENCH_SMALL_STREAMING")
    assert (streaming.values, streaming.after, streaming.error) == (20, BATCH_END_MILLIS, None)
    assert set(found.feature_parts) == set(found.row.features)
    assert "store" in found.phases
    alone = client.explain_group_by("bench_small", {"user": "user_0"}, AT_MILLIS)
    assert alone.row.status is RowStatus.OK


def test_calls_are_counted_by_method(server: RunningServer, client: Client) -> None:
    before = server.metric("chronoserve_calls_total", method="FetchJoins", status="OK")
    client.fetch_joins(requests("bench_w1_small"))
    assert server.metric("chronoserve_calls_total", method="FetchJoins", status="OK") == before + 1

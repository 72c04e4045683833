"""Fetches: what is sent of a key, what a row reads as in each encoding, and that errors stay with their row."""

from datetime import timedelta
from typing import Any

import pytest

from chronoserve.model import errors as server_errors
from chronoserve.model import features as server
from chronoserve.model.errors import KVError
from chronoserve.model.types import BOOLEAN, DOUBLE, LONG, STRING, DataType, Field, ListType, MapType, StructType
from chronoserve.v1 import fetcher_pb2
from chronoserve_client import (
    DerivationFailed,
    Encoding,
    FeatureRow,
    Fetch,
    Freshness,
    Internal,
    LateBatch,
    RowStatus,
    Unavailable,
    UnknownConf,
    _fetches,
)
from tests.unit.client.server import Running

POINT = StructType("P", (Field("x", LONG), Field("y", STRING)))
TYPES: dict[str, DataType] = {
    "long": LONG,
    "double": DOUBLE,
    "text": STRING,
    "yes": BOOLEAN,
    "null": LONG,
    "list": ListType(DOUBLE),
    "map": MapType(STRING, LONG),
    "point": POINT,
}
FEATURES = {
    "long": -5,
    "double": 0.1,
    "text": "ü",
    "yes": False,
    "null": None,
    "list": [1.5, None],
    "map": {"a": 1},
    "point": (1, None),
    "external": b"bytes",
}
READ = {**FEATURES, "point": {"x": 1, "y": None}}
FULL = server.FeatureRow(server.RowStatus.OK, dict(FEATURES), TYPES, {})
PART_ERRORS: dict[str, KVError] = {"g": server_errors.LateBatch("two days old"), "derivation_fetch": server_errors.DerivationFailed("no")}
PARTLY = server.FeatureRow(
    server.RowStatus.DEGRADED, {"long": 7}, TYPES, {}, part_errors=PART_ERRORS, freshness={"g": server.Freshness(5, 7)}
)
MISSING = server.FeatureRow(server.RowStatus.MISSING, None, {}, {})
REQUESTS = [("t/full", {}), Fetch("t/partly", {}), ("t/missing", {}, 5), ("t/none", {}), ("t/full", {})]


@pytest.fixture(autouse=True)
def rows(server: Running) -> None:
    server.fetcher.rows = {"t/full": FULL, "t/partly": PARTLY, "t/missing": MISSING}


@pytest.mark.parametrize("encoding", [Encoding.MAP, Encoding.PACKED])
@pytest.mark.parametrize("kind", ["joins", "group_bys"])
async def test_a_row_is_the_same_in_both_encodings(client: Any, encoding: Encoding, kind: str) -> None:
    rows = await getattr(client, f"fetch_{kind}")(REQUESTS, encoding=encoding, freshness=True)
    full, partly, missing, unknown, again = rows
    assert (full.status, full.features, full.error, full.part_errors) == (RowStatus.OK, READ, None, {})
    assert again == full
    assert (partly.status, partly.features, partly.freshness) == (RowStatus.DEGRADED, {"long": 7}, {"g": Freshness(5, 7)})
    assert {part: (type(error), error.message) for part, error in partly.part_errors.items()} == {
        "g": (LateBatch, "two days old"),
        "derivation_fetch": (DerivationFailed, "no"),
    }
    assert (missing.status, missing.features, missing.error) == (RowStatus.MISSING, {}, None)
    assert unknown.status is RowStatus.ERROR
    with pytest.raises(UnknownConf, match="never uploaded"):
        unknown.unwrap()
    with pytest.raises(UnknownConf):
        unknown["long"]
    assert full["long"] == -5
    with pytest.raises(KeyError):
        partly["text"]


async def test_avro_is_left_to_the_caller(client: Any) -> None:
    (row,) = await client.fetch_joins([("t/full", {})], encoding=Encoding.AVRO)
    assert row == FeatureRow(RowStatus.OK, avro=b"avro", schema_hash="hash")


async def test_keys_travel_with_their_types(client: Any, server: Running) -> None:
    keys = {
        "null": None,
        "yes": True,
        "int": 1 << 40,
        "double": 0.5,
        "text": "ü",
        "bytes": b"\xff",
        "list": [1, None],
        "empty": [],
        "map": {"a": 1.5},
        "none": {},
    }
    await client.fetch_joins([Fetch("t/full", keys, 1_700_000_000_000), ("t/full", {})])
    sent = server.kv.requests[-1]
    assert isinstance(sent, fetcher_pb2.FetchRequest)
    first, second = sent.requests
    kinds = {name: value.WhichOneof("kind") for name, value in first.keys.items()}
    assert kinds == {
        "null": "null_value",
        "yes": "bool_value",
        "int": "int_value",
        "double": "double_value",
        "text": "string_value",
        "bytes": "bytes_value",
        "list": "list_value",
        "empty": "list_value",
        "map": "map_value",
        "none": "map_value",
    }
    assert {name: _fetches.read(value) for name, value in first.keys.items()} == keys
    assert first.at_millis == 1_700_000_000_000
    assert not second.HasField("at_millis")
    assert not sent.include_freshness


async def test_a_key_of_no_known_type_is_refused_before_anything_is_sent(client: Any, server: Running) -> None:
    with pytest.raises(TypeError, match="object"):
        await client.fetch_joins([("t/full", {"k": object()})])
    with pytest.raises(ValueError, match="range"):
        await client.fetch_joins([("t/full", {"k": 1 << 63})])
    assert not server.kv.calls


async def test_a_missing_answer_is_noticed(client: Any, server: Running) -> None:
    server.kv.forgotten = 1
    with pytest.raises(Internal, match="4 of 5"):
        await client.fetch_joins(REQUESTS)


async def test_a_call_that_fails_raises(client: Any, server: Running) -> None:
    server.kv.faults["FetchGroupBys"].extend([server_errors.Unavailable("away")] * 9)
    with pytest.raises(Unavailable, match="away"):
        await client.fetch_group_bys([("t/full", {})])


async def test_a_stream_fetches_joins_and_group_bys_in_turn(client: Any, server: Running) -> None:
    async with client.stream_fetch() as stream:
        (row,) = await stream.fetch_joins([("t/full", {})])
        (packed,) = await stream.fetch_group_bys([("t/full", {})], encoding=Encoding.PACKED)
    assert row.features == packed.features == READ
    targets = [request.target for request in server.kv.requests if isinstance(request, fetcher_pb2.StreamFetchRequest)]
    assert targets == [fetcher_pb2.FETCH_TARGET_JOINS, fetcher_pb2.FETCH_TARGET_GROUP_BYS]


async def test_schemas_and_names(client: Any) -> None:
    schema = await client.join_schema("t/j")
    assert (schema.name, schema.key_schema, schema.value_schema, schema.schema_hash) == ("t/j", "{}", "[]", "hash")
    (info,) = schema.value_infos
    assert (info.name, info.group, info.prefix, info.left_keys, info.type) == ("f", "g", "p", ("k",), "long")
    assert (await client.group_by_schema("t.g")).batch_end == 7
    assert [name async for name in client.list_joins()] == ["t/j0", "t/j2"], "a page may be empty before the last one"
    assert [name async for name in client.list_group_bys()] == ["t.g"]


@pytest.mark.parametrize("explain", ["explain_join", "explain_group_by"])
async def test_a_fetch_is_explained(client: Any, explain: str) -> None:
    found = await getattr(client, explain)("t/partly", {"k": 1}, 5)
    assert found.row.features == {"long": 7}
    batch, stream = found.reads
    assert (batch.part, batch.dataset, batch.key, batch.after, batch.values, batch.newest) == ("g", "G_BATCH", b"k", None, 1, 9)
    assert (batch.freshness, batch.error, batch.cached) == (Freshness(5, 0), None, False)
    assert (stream.after, type(stream.error)) == (5, DerivationFailed)
    assert (found.phases, found.feature_parts) == ({"store": timedelta(milliseconds=3)}, {"x": "g"})

"""The Fetcher's methods from bytes to bytes, over a fetcher that answers to order."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.fetcher.observe import Phase
from chronoserve.fetcher.ports import Read
from chronoserve.fetcher.trace import Trace, TracedRead
from chronoserve.model.boxed import Float, Int
from chronoserve.model.errors import InvalidRequest, PermissionDenied, Unavailable
from chronoserve.model.features import FeatureRequest, FeatureRow, Freshness, RowStatus
from chronoserve.service.access import Caller, Policy, Rule, Verb
from chronoserve.service.features import ROWS_AT_ONCE
from chronoserve.v1 import fetcher_pb2
from chronoserve.wire import feature_requests
from chronoserve.wire.fetcher import FetcherService
from chronoserve.wire.seam import Deadlines, Seam
from tests.unit.service.fetching import TYPES, FakeFetcher, features
from tests.unit.wire.context import Context
from tests.unit.wire.features import read

REQUEST = FeatureRequest("team/a", {"user": "ada"}, 7)


def service(fetcher: FakeFetcher, *, caller: Caller | None = None, message_bytes_max: int = 1 << 20, **limits: int) -> FetcherService:
    async def identify(_: Any) -> Caller:
        assert caller is not None
        return caller

    seam = Seam(deadlines=Deadlines(), identify=identify if caller else None)
    return FetcherService(features(fetcher, **limits), seam, message_bytes_max=message_bytes_max)


def fetch_request(*names: str, **other: Any) -> fetcher_pb2.FetchRequest:
    return fetcher_pb2.FetchRequest(
        requests=[fetcher_pb2.FeatureRequest(name=name, at_millis=at) for at, name in enumerate(names, 1)], **other
    )


async def fetch(of: FetcherService, request: fetcher_pb2.FetchRequest) -> fetcher_pb2.FetchResponse:
    return fetcher_pb2.FetchResponse.FromString(await of.fetch_joins(request.SerializeToString(), Context()))


# requests


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_have_the_box_that_a_json_reader_would_give_them(number: int) -> None:
    found = feature_requests.request(fetcher_pb2.FeatureRequest(name="a", keys={"k": fetcher_pb2.Value(int_value=number)}))
    assert isinstance(found, FeatureRequest)
    assert found.keys == {"k": number}
    assert type(found.keys["k"]) is (Int if -(1 << 31) <= number < 1 << 31 else int)


def test_keys_are_read_with_their_boxes_and_null_is_no_absence() -> None:
    message = fetcher_pb2.FeatureRequest(name="a")
    message.keys["null"].null_value = 0  # type: ignore[assignment]
    message.keys["yes"].bool_value = True
    message.keys["float"].float_value = 0.1
    message.keys["double"].double_value = 0.1
    message.keys["bytes"].bytes_value = b"\xff"
    message.keys["list"].list_value.values.add(int_value=1 << 40)
    message.keys["map"].map_value.entries["x"].string_value = ""
    found = feature_requests.request(message)
    assert isinstance(found, FeatureRequest)
    single = found.keys["float"]
    assert isinstance(single, Float)
    assert float(single) == 0.10000000149011612
    assert {name: value for name, value in found.keys.items() if name != "float"} == {
        "null": None,
        "yes": True,
        "double": 0.1,
        "bytes": b"\xff",
        "list": [1 << 40],
        "map": {"x": ""},
    }
    assert found.at_millis is None
    assert feature_requests.request(fetcher_pb2.FeatureRequest(name="a", at_millis=0)) == FeatureRequest("a", {}, 0)


@pytest.mark.parametrize("at_millis", [-1, -(1 << 63), (1 << 63) - 1])
def test_a_time_that_is_none_is_the_row_s_error(at_millis: int) -> None:
    assert isinstance(feature_requests.request(fetcher_pb2.FeatureRequest(name="a", at_millis=at_millis)), InvalidRequest)


async def test_a_value_that_holds_nothing_is_the_error_of_its_row_alone() -> None:
    request = fetch_request("a", "b")
    request.requests[0].keys["k"].SetInParent()
    reply = await fetch(service(FakeFetcher()), request)
    assert "null_value" in reply.responses[0].error.message
    assert [response.status for response in reply.responses] == [fetcher_pb2.ROW_STATUS_ERROR, fetcher_pb2.ROW_STATUS_OK]


# replies


@pytest.mark.parametrize("encoding", ["ENCODING_UNSPECIFIED", "ENCODING_MAP", "ENCODING_PACKED", "ENCODING_AVRO"])
async def test_every_row_is_answered_in_its_place_in_each_encoding(encoding: str) -> None:
    reply = await fetch(service(FakeFetcher()), fetch_request("a", "b", "a", encoding=encoding))
    assert [response.status for response in reply.responses] == [fetcher_pb2.ROW_STATUS_OK] * 3
    found = [{name: read(value) for name, value in response.features.items()} for response in reply.responses]
    packed = {column.name: list(column.int_values.values or column.double_values.values) for column in reply.columns}
    avro = [(response.avro, response.schema_hash) for response in reply.responses]
    in_maps = encoding in ("ENCODING_UNSPECIFIED", "ENCODING_MAP")
    assert [row.get("count") for row in found] == ([("int", 1), ("int", 2), ("int", 3)] if in_maps else [None] * 3)
    assert packed == ({"count": [1, 2, 3], "average": [0.5] * 3} if encoding == "ENCODING_PACKED" else {})
    assert all(data and name == "hash" for data, name in avro) is (encoding == "ENCODING_AVRO")


async def test_an_encoding_of_next_year_is_refused() -> None:
    request = fetch_request("a")
    request.encoding = 99  # type: ignore[assignment]
    with pytest.raises(InvalidRequest, match="encoding"):
        await fetch(service(FakeFetcher()), request)


async def test_an_answer_larger_than_a_message_is_refused_with_advice() -> None:
    with pytest.raises(InvalidRequest, match="fewer rows"):
        await fetch(service(FakeFetcher(), message_bytes_max=50), fetch_request("a", "b"))


async def test_a_large_reply_is_made_in_parts_and_ends_where_it_is_too_large() -> None:
    names = [f"n{n}" for n in range(3 * ROWS_AT_ONCE)]
    reply = await fetch(service(FakeFetcher()), fetch_request(*names))
    assert [read(response.features["count"]) for response in reply.responses] == [("int", n) for n in range(1, len(names) + 1)]
    of = service(FakeFetcher(), message_bytes_max=10 * ROWS_AT_ONCE)
    whole = of._encoder.maps
    made: list[int] = []

    def maps(rows: Any, *, freshness: bool) -> bytes:
        made.append(len(rows))
        return whole(rows, freshness=freshness)

    of._encoder.maps = maps  # type: ignore[method-assign]
    with pytest.raises(InvalidRequest, match="fewer rows"):
        await fetch(of, fetch_request(*names))
    assert made == [ROWS_AT_ONCE]


async def test_what_fails_the_whole_call_fails_it() -> None:
    def away(_: FeatureRequest) -> FeatureRow:
        raise Unavailable("the store is away")

    with pytest.raises(Unavailable):
        await fetch(service(FakeFetcher(away)), fetch_request("a"))
    with pytest.raises(InvalidRequest, match=r"not a chronoserve\.v1\.FetchRequest"):
        await service(FakeFetcher()).fetch_group_bys(b"\xff\xff", Context())
    with pytest.raises(InvalidRequest, match="at most 1 rows"):
        await fetch(service(FakeFetcher(), rows_per_call_max=1), fetch_request("a", "b"))


async def test_the_time_of_encoding_is_counted_by_kind() -> None:
    fetcher = FakeFetcher()
    of = service(fetcher)
    await fetch(of, fetch_request("a"))
    await of.fetch_group_bys(fetch_request("a").SerializeToString(), Context())
    assert [sum(kind.phases[Phase.ENCODE].counts) for kind in (fetcher.metrics.joins, fetcher.metrics.group_bys)] == [1, 1]


async def test_a_stream_answers_each_message_in_turn() -> None:
    fetcher = FakeFetcher()

    async def messages() -> AsyncIterator[bytes]:
        for target in ("FETCH_TARGET_JOINS", "FETCH_TARGET_GROUP_BYS", "FETCH_TARGET_UNSPECIFIED"):
            yield fetcher_pb2.StreamFetchRequest(target=target, fetch=fetch_request("a", "b")).SerializeToString()

    replies = service(fetcher).stream_fetch(messages(), Context())
    for _ in range(2):
        assert len(fetcher_pb2.FetchResponse.FromString(await anext(replies)).responses) == 2
    assert fetcher.calls == [("join", 2), ("group by", 2)]
    with pytest.raises(InvalidRequest, match="target"):
        await anext(replies)


async def test_a_caller_sees_what_the_policy_shows() -> None:
    caller = Caller("me", Policy([Rule(("me",), frozenset({Verb.FETCH}), (), ("open",))]))
    of = service(FakeFetcher(), caller=caller)
    reply = await fetch(of, fetch_request("open", "closed"))
    assert [response.status for response in reply.responses] == [fetcher_pb2.ROW_STATUS_OK, fetcher_pb2.ROW_STATUS_ERROR]
    with pytest.raises(PermissionDenied):
        await of.get_join_schema(fetcher_pb2.GetJoinSchemaRequest(name="closed").SerializeToString(), Context())
    listed = await of.list_joins(b"", Context())
    assert list(fetcher_pb2.ListJoinsResponse.FromString(listed).names) == []


# schemas, names, explanations


async def test_schemas() -> None:
    of = service(FakeFetcher())
    join = fetcher_pb2.GetJoinSchemaResponse.FromString(
        await of.get_join_schema(fetcher_pb2.GetJoinSchemaRequest(name="team/a").SerializeToString(), Context())
    )
    assert (join.name, join.key_schema, join.value_schema, join.schema_hash) == ("team/a", '{"key": 1}', '{"value": 1}', "hash")
    (info,) = join.value_infos
    assert (info.name, info.group, info.prefix, list(info.left_keys), info.type) == ("count", "team.group_0", "p", ["user"], "long")
    group_by = fetcher_pb2.GetGroupBySchemaResponse.FromString(
        await of.get_group_by_schema(fetcher_pb2.GetGroupBySchemaRequest(name="team.a").SerializeToString(), Context())
    )
    assert (group_by.name, group_by.selected_schema, group_by.batch_end_millis) == ("team.a", '{"selected": 2}', 86_400_000)
    assert group_by.input_schema == ""
    assert group_by.schema_hash


async def test_names_come_in_pages() -> None:
    fetcher = FakeFetcher()
    of = service(fetcher)
    found: list[str] = []
    token = ""
    while True:
        request = fetcher_pb2.ListJoinsRequest(page_size=2, page_token=token)
        page = fetcher_pb2.ListJoinsResponse.FromString(await of.list_joins(request.SerializeToString(), Context()))
        assert len(page.names) <= 2
        found += page.names
        token = page.next_page_token
        if not token:
            break
    assert found == fetcher.join_names
    groups = fetcher_pb2.ListGroupBysResponse.FromString(await of.list_group_bys(b"", Context()))
    assert list(groups.names) == fetcher.group_by_names[:3]
    for wrong in ("not base64!", "YWJj"):
        with pytest.raises(InvalidRequest, match="page_token"):
            await of.list_joins(fetcher_pb2.ListJoinsRequest(page_token=wrong).SerializeToString(), Context())


async def test_a_fetch_is_explained_with_its_reads() -> None:
    def answer(request: FeatureRequest) -> FeatureRow:
        return FeatureRow(RowStatus.OK, {"count": 5}, TYPES, request.keys, freshness={"g": Freshness(11, 13)})

    def traced(trace: Trace) -> None:
        trace.reads += [
            TracedRead("g", Read("G_BATCH", b"k"), values=1, newest_millis=9),
            TracedRead("h", Read("H_STREAMING", b"k", 5), error=Unavailable("away"), cached=True),
        ]
        trace.seconds |= {Phase.STORE: 0.0015, Phase.METADATA: 0.25}
        trace.feature_parts["count"] = "g"

    fetcher = FakeFetcher(answer)
    fetcher.traced = traced
    request = fetcher_pb2.ExplainRequest(target="FETCH_TARGET_JOINS", request=fetcher_pb2.FeatureRequest(name="team/a"))
    reply = fetcher_pb2.ExplainResponse.FromString(await service(fetcher).explain(request.SerializeToString(), Context()))
    assert read(reply.response.features["count"]) == ("int", 5)
    assert dict(reply.feature_parts) == {"count": "g"}
    assert [(phase.name, phase.duration.ToMicroseconds()) for phase in reply.phases] == [("metadata", 250_000), ("store", 1500)]
    batch, stream = reply.reads
    assert (batch.part, batch.dataset, batch.key_bytes, batch.values, batch.newest_millis) == ("g", "G_BATCH", b"k", 1, 9)
    assert (batch.freshness.batch_end_millis, batch.HasField("after_ts_millis"), batch.cached) == (11, False, False)
    assert (stream.after_ts_millis, stream.error.message, stream.HasField("freshness"), stream.cached) == (5, "away", False, True)

"""Beside the features of rows: structs by name, traces, schemas, lists, the log, caches (spec/online-fetch.md §9, §14, §16)."""

import json

import pytest

from chronoserve.codec import avro
from chronoserve.codec.compiled import decoder
from chronoserve.fetcher.observe import Phase
from chronoserve.fetcher.ports import BATCH_IR_CACHE, Read
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.fetcher.trace import Trace
from chronoserve.model import naming, types
from chronoserve.model.errors import InvalidRequest, Unavailable, UnknownConf
from chronoserve.model.features import FeatureRequest, RowStatus
from chronoserve.model.types import ListType, MapType
from tests.unit.fetcher.pantry import BATCH_END, NOW, POINT, GroupBy, Pantry, SetFlags, columns, external_part, sums


async def stocked(**more: object) -> Pantry:
    pantry = await Pantry.open()
    sold, shop = await pantry.upload(sums()), await pantry.upload(GroupBy())
    await pantry.batch(sold, {"user": "u"}, 10.0)
    await pantry.stream(sold, {"user": "u"}, 2.5)
    await pantry.batch(shop, {"user": "u"}, 9.5, "lamp")
    await pantry.upload_join("team/j.v1", sold, shop, **more)
    return pantry


# structs


async def test_structs_by_name_at_every_depth() -> None:
    pantry = await Pantry.open()
    kind = columns(one=POINT, many=ListType(POINT), each=MapType(types.STRING, POINT), n=types.LONG)
    shop = await pantry.upload(GroupBy(selected=kind))
    await pantry.batch(shop, {"user": "u"}, (1.0, "a"), [(2.0, None)], {"k": (3.0, "c")}, 4)
    await pantry.upload_join("team/j.v1", shop, onlineExternalParts=[external_part("contextual", {"c": 7}, {"c": 7})])
    row = await pantry.group_by("team.gb.v1", {"user": "u"}, structured=True)
    expected = {"one": {"x": 1.0, "tag": "a"}, "many": [{"x": 2.0, "tag": None}], "each": {"k": {"x": 3.0, "tag": "c"}}, "n": 4}
    assert row.features == expected
    row = await pantry.join("team/j.v1", {"user": "u", "c": [1, 2]}, structured=True)
    assert row.features == {f"team_gb_v1_{name}": value for name, value in expected.items()} | {"ext_contextual_c": [1, 2]}
    row = await pantry.group_by("team.gb.v1", {"user": "x"}, structured=True)
    assert row.features is None


# traces


async def test_a_trace_tells_reads_phases_and_where_features_come_from() -> None:
    pantry = await stocked(derivations={"twice": "team_sums_v1_price_sum * 2", "*": "*"})
    trace = Trace()
    await pantry.join("team/j.v1", {"user": "u"}, trace=trace)
    key = GroupBy().key(user="u")
    assert [(read.part, read.read, read.values, read.newest_millis) for read in trace.reads] == [
        ("team_sums_v1", Read("TEAM_SUMS_V1_BATCH", key), 1, BATCH_END),
        ("team_sums_v1", Read("TEAM_SUMS_V1_STREAMING", key, BATCH_END), 1, NOW - 1000),
        ("team_gb_v1", Read("TEAM_GB_V1_BATCH", key), 1, BATCH_END),
    ]
    assert trace.feature_parts == {
        "team_sums_v1_price_sum": "team_sums_v1",
        "team_gb_v1_price": "team_gb_v1",
        "team_gb_v1_title": "team_gb_v1",
        "twice": "derivations",
    }
    assert {Phase.METADATA, Phase.STORE, Phase.DECODE, Phase.MERGE, Phase.DERIVE} <= set(trace.seconds)


async def test_a_trace_shows_failed_reads() -> None:
    pantry = await stocked()
    await pantry.join("team/j.v1", {"user": "u"})
    pantry.reads.failing["TEAM_SUMS_V1_STREAMING"] = Unavailable("away")
    trace = Trace()
    await pantry.join("team/j.v1", {"user": "u"}, trace=trace)
    assert [isinstance(read.error, Unavailable) for read in trace.reads] == [False, True, False]
    trace = Trace()
    await pantry.group_by("team.sums.v1", {"user": "u"}, trace=trace)
    assert [read.part for read in trace.reads] == ["team_sums_v1", "team_sums_v1"]
    assert trace.feature_parts == {"price_sum": "team_sums_v1"}


# metrics


async def test_calls_rows_parts_and_failures_are_counted() -> None:
    pantry = await stocked()
    await pantry.joins(FeatureRequest("team/j.v1", {"user": "u"}, NOW), FeatureRequest("team/j.v1", {}, NOW), FeatureRequest("no", {}, NOW))
    metrics = pantry.fetcher.metrics
    assert (metrics.joins.calls, metrics.joins.rows) == (1, 3)
    assert metrics.joins.statuses[RowStatus.OK] == 1
    assert metrics.joins.statuses[RowStatus.ERROR] == 2
    assert metrics.joins.failures["UNKNOWN_CONF"] == 1
    part = metrics.parts["team.sums.v1"]
    assert (part.rows, part.errors, part.batch_end_millis, part.stream_millis) == (1, 1, BATCH_END, NOW - 1000)


# schemas and lists


async def test_the_schema_of_a_join_is_that_of_its_log() -> None:
    pantry = await stocked(
        derivations={"twice": "team_sums_v1_price_sum * 2", "*": "*"},
        onlineExternalParts=[external_part("contextual", {"c": 4}, {"c": 4}, prefix="p")],
        sample_percent=100,
    )
    schema = await pantry.fetcher.join_schema("team/j.v1", deadline=pantry.deadline)
    assert [(field.name, field.type) for field in schema.key_type.fields] == [("user", types.STRING), ("c", types.LONG)]
    infos = {info.name: (info.group, info.prefix, info.left_keys, info.type) for info in schema.value_infos}
    assert infos == {
        "team_sums_v1_price_sum": ("team.sums.v1", "", ("user",), "double"),
        "team_gb_v1_price": ("team.gb.v1", "", ("user",), "double"),
        "team_gb_v1_title": ("team.gb.v1", "", ("user",), "string"),
        "ext_p_contextual_c": ("contextual", "p", ("c",), "long"),
        "twice": ("derivations", "", ("user", "c"), "double"),
    }
    await pantry.join("team/j.v1", {"user": "u", "c": 5})
    control, row = pantry.log.rows
    assert control.key_bytes.decode() == row.schema_hash == schema.schema_hash
    assert json.loads(control.value_bytes)["value_schema"] == schema.value_schema
    decoded = decoder(avro.type_of(schema.value_schema)).decode(row.value_bytes)
    assert dict(zip(schema.value_type.names, decoded, strict=True)) == {
        "team_sums_v1_price_sum": 12.5,
        "team_gb_v1_price": 9.5,
        "team_gb_v1_title": "lamp",
        "ext_p_contextual_c": 5,
        "twice": 25.0,
    }


async def test_the_schema_of_a_group_by_is_that_of_its_answers() -> None:
    pantry = await Pantry.open()
    await pantry.upload(GroupBy(derivations={"double": "price * 2", "who": "user"}))
    schema = await pantry.fetcher.group_by_schema("team/gb.v1", deadline=pantry.deadline)
    assert (schema.name, schema.batch_end_millis) == ("team.gb.v1", BATCH_END)
    assert [(field.name, field.type) for field in schema.value_type.fields] == [("double", types.DOUBLE), ("who", types.STRING)]
    assert schema.key_schema == avro.schema_text(GroupBy().keys)


async def test_schemas_that_cannot_be_had_say_why() -> None:
    pantry = await stocked(derivations={"bad": "no_such + 1"})
    asked = [
        (pantry.fetcher.join_schema, "team/none.v1", UnknownConf),
        (pantry.fetcher.join_schema, "team/j.v1", InvalidRequest),
        (pantry.fetcher.group_by_schema, "team.none.v1", UnknownConf),
    ]
    for schema, name, kind in asked:
        with pytest.raises(kind):
            await schema(name, deadline=pantry.deadline)


async def test_what_is_online_is_listed_page_by_page() -> None:
    pantry = await stocked()
    for at in range(7):
        await pantry.upload_join(f"team/more{at}.v1", GroupBy())
        await pantry.upload(GroupBy(f"other.g{at}.v1"))
    await pantry.put(naming.METADATA_DATASET, b"group_bys/team/gb.v1", b"{}")
    await pantry.put("EMPTY_BATCH", b"k", b"v")
    for listed, expected in (
        (pantry.fetcher.list_joins, {"team/j.v1", *(f"team/more{at}.v1" for at in range(7))}),
        (pantry.fetcher.list_group_bys, {"team.gb.v1", "team.sums.v1", *(f"other.g{at}.v1" for at in range(7))}),
    ):
        for page_size in (0, 1, 3):
            found: list[str] = []
            token = b""
            while True:
                page = await listed(page_size=page_size, token=token, deadline=pantry.deadline)
                found += page.names
                token = page.next_token
                if not token:
                    break
            assert len(found) == len(expected)
            assert set(found) == expected


async def test_nothing_is_online_in_an_empty_store() -> None:
    pantry = await Pantry.open()
    assert (await pantry.fetcher.list_joins(deadline=pantry.deadline)).names == ()
    assert (await pantry.fetcher.list_group_bys(deadline=pantry.deadline)).names == ()


# the response log


async def test_keys_are_sampled_always_or_never() -> None:
    pantry = await stocked(sample_percent=30)
    users = [f"user-{at}" for at in range(400)]
    for _ in range(2):
        await pantry.joins(*(FeatureRequest("team/j.v1", {"user": user}, NOW) for user in users))
    control, *rows = pantry.log.rows
    assert control.control
    keys = [row.key_bytes for row in rows]
    assert len(keys) == 2 * len(set(keys))
    assert 80 <= len(set(keys)) <= 160


async def test_without_a_share_nothing_is_logged_but_the_schema() -> None:
    pantry = await stocked()
    await pantry.join("team/j.v1", {"user": "u"})
    await pantry.join("team/j.v1", {"user": "u"})
    assert [row.control for row in pantry.log.rows] == [True]


async def test_a_row_that_cannot_be_encoded_changes_nothing_for_the_caller() -> None:
    pantry = await stocked(sample_percent=100, onlineExternalParts=[external_part("contextual", {"c": 4}, {"c": 4})])
    row = await pantry.join("team/j.v1", {"user": "u", "c": [1]})
    assert row.status is RowStatus.OK
    assert [row.control for row in pantry.log.rows] == [True]
    assert pantry.fetcher.metrics.joins.failures["RESPONSE_LOG"] == 1


async def test_times_of_logged_rows_are_those_asked_for_or_the_calls_own() -> None:
    pantry = await stocked(sample_percent=100)
    await pantry.joins(FeatureRequest("team/j.v1", {"user": "u"}, NOW - 7), FeatureRequest("team/j.v1", {"user": "u"}))
    assert [row.ts_millis for row in pantry.log.rows[1:]] == [NOW - 7, NOW]


# the batch cache


async def cached(settings: FetchSettings | None = None) -> Pantry:
    pantry = await stocked()
    pantry.build(flags=SetFlags(BATCH_IR_CACHE, only="team.sums.v1"), settings=settings)
    return pantry


async def test_cached_batches_are_not_read_again_and_streams_are() -> None:
    pantry = await cached()
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert row.features is not None
    assert row.features["team_sums_v1_price_sum"] == 12.5
    pantry.reads.calls.clear()
    for added in (1.0, 2.0):
        await pantry.stream(sums(), {"user": "u"}, added)
        trace = Trace()
        row = await pantry.join("team/j.v1", {"user": "u"}, trace=trace)
    assert row.features is not None
    assert row.features["team_sums_v1_price_sum"] == 15.5
    (first, second) = pantry.reads.data_calls()
    assert [read.dataset for read in first] == ["TEAM_SUMS_V1_STREAMING", "TEAM_GB_V1_BATCH"]
    assert first == second
    assert [read.cached for read in trace.reads] == [True, False, False]
    metrics = pantry.fetcher.metrics.cache("batch_ir")
    assert (metrics.hits, metrics.misses, metrics.entries) == (2, 1, 1)


async def test_a_new_batch_end_and_the_end_of_its_time_make_a_cached_batch_useless() -> None:
    pantry = await cached()
    await pantry.join("team/j.v1", {"user": "u"})
    await pantry.batch(sums(), {"user": "u"}, 100.0)
    pantry.clock.advance(59_000)
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert (row.features or {})["team_sums_v1_price_sum"] == 12.5
    pantry.clock.advance(1_000)
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert (row.features or {})["team_sums_v1_price_sum"] == 102.5


async def test_the_cache_keeps_to_its_bytes() -> None:
    pantry = await cached(FetchSettings(batch_ir_cache_bytes=20_000))
    group_by = sums()
    for at in range(100):
        await pantry.batch(group_by, {"user": f"u{at}"}, 1.0)
        await pantry.group_by("team.sums.v1", {"user": f"u{at}"})
    metrics = pantry.fetcher.metrics.cache("batch_ir")
    assert 0 < metrics.bytes <= 20_000
    assert metrics.entries + metrics.evictions == 100


async def test_unknown_keys_are_not_cached() -> None:
    pantry = await cached()
    await pantry.group_by("team.sums.v1", {"user": "new"})
    await pantry.batch(sums(), {"user": "new"}, 3.0)
    assert (await pantry.group_by("team.sums.v1", {"user": "new"})).features == {"price_sum": 3.0}

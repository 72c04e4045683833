"""Rows of group bys: shapes of values, keys, query times, derivations (spec/online-fetch.md §6, §7, §8)."""

import pytest

from chronoserve.codec import avro
from chronoserve.codec.compiled import encoder
from chronoserve.fetcher.chronon import chronon_features
from chronoserve.model import boxed, types
from chronoserve.model.errors import CorruptValue, InvalidRequest, TimeBeforeBatch, Unavailable, UnknownConf
from chronoserve.model.features import FeatureRequest, Freshness, RowStatus
from chronoserve.model.types import Field, ListType, StructType
from tests.unit.fetcher.pantry import BATCH_END, DAY, NOW, POINT, SUM, GroupBy, Pantry, columns, sums


async def test_no_aggregation_answers_the_selected_columns() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy(selected=columns(price=types.DOUBLE, spot=POINT, n=types.INT)))
    await pantry.batch(shop, {"user": "u"}, 1.5, (2.0, "t"), None)
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert (row.status, row.features) == (RowStatus.OK, {"price": 1.5, "spot": (2.0, "t"), "n": None})
    assert dict(row.types) == {"price": types.DOUBLE, "spot": POINT, "n": types.INT}
    assert row.freshness == {"team_gb_v1": Freshness(BATCH_END, 0)}


async def test_names_that_differ_in_punctuation_are_one_group_by() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    rows = await pantry.group_bys(*(FeatureRequest(name, {"user": "u"}) for name in ("team.gb.v1", "team/gb.v1", "team_gb-v1")))
    assert [row.features for row in rows] == [{"price": 1.5, "title": "t"}] * 3


async def test_a_snapshot_answers_outputs_at_any_time() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy(selected=columns(price=types.DOUBLE), aggregations=SUM))
    await pantry.batch(shop, {"user": "u"}, 7.0)
    for at in (0, BATCH_END - DAY, NOW, None):
        row = await pantry.group_by("team.gb.v1", {"user": "u"}, at)
        assert (row.status, row.features) == (RowStatus.OK, {"price_sum": 7.0})


async def test_temporal_merges_what_was_streamed_before_the_query_time() -> None:
    pantry = await Pantry.open()
    sold = await pantry.upload(sums())
    await pantry.batch(sold, {"user": "u"}, 10.0)
    for at, value in ((BATCH_END - 1, 1000.0), (BATCH_END, 1.0), (BATCH_END + 5, 2.0), (BATCH_END + 9, 4.0)):
        await pantry.stream(sold, {"user": "u"}, value, millis=at)
    sums_at = [await pantry.group_by("team.sums.v1", {"user": "u"}, BATCH_END + after) for after in (0, 1, 5, 6, 9, 10)]
    assert [row.features for row in sums_at] == [{"price_sum": total} for total in (10.0, 11.0, 11.0, 13.0, 13.0, 17.0)]
    now = await pantry.group_by("team.sums.v1", {"user": "u"}, None)
    assert now.features == {"price_sum": 17.0}
    assert now.freshness == {"team_sums_v1": Freshness(BATCH_END, BATCH_END + 9)}


async def test_a_stream_without_a_batch_counts_and_one_that_is_all_too_late_gives_nulls() -> None:
    pantry = await Pantry.open()
    sold = await pantry.upload(sums())
    await pantry.stream(sold, {"user": "u"}, 3.0, millis=NOW)
    assert (await pantry.group_by("team.sums.v1", {"user": "u"}, NOW + 1)).features == {"price_sum": 3.0}
    assert (await pantry.group_by("team.sums.v1", {"user": "u"}, NOW)).features == {"price_sum": None}
    row = await pantry.group_by("team.sums.v1", {"user": "other"}, NOW)
    assert (row.status, row.features) == (RowStatus.MISSING, None)


async def test_a_batch_value_from_before_the_batch_end_is_no_longer_data() -> None:
    pantry = await Pantry.open()
    shop, sold = await pantry.upload(GroupBy()), await pantry.upload(sums())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t", millis=BATCH_END - 1)
    await pantry.batch(sold, {"user": "u"}, 10.0, millis=BATCH_END - 1)
    assert (await pantry.group_by("team.gb.v1", {"user": "u"})).features is None
    assert (await pantry.group_by("team.sums.v1", {"user": "u"})).features is None


async def test_times_before_the_batch_end_fail_whatever_the_data() -> None:
    pantry = await Pantry.open()
    await pantry.upload(sums())
    row = await pantry.group_by("team.sums.v1", {"user": "u"}, BATCH_END - 1)
    assert row.status is RowStatus.ERROR
    assert isinstance(row.error, TimeBeforeBatch)
    assert chronon_features(row) is None


async def test_a_null_key_is_answered_in_its_place() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    good = FeatureRequest("team.gb.v1", {"user": "u"})
    rows = await pantry.group_bys(good, FeatureRequest("team.gb.v1", {"user": None}), good)
    assert [row.status for row in rows] == [RowStatus.OK, RowStatus.MISSING, RowStatus.OK]
    assert rows[1].features is None


async def test_a_missing_number_is_refused_and_a_missing_text_is_null() -> None:
    pantry = await Pantry.open()
    keys = StructType("Key", (Field("user", types.STRING), Field("n", types.LONG)))
    shop = await pantry.upload(GroupBy(keys=keys))
    await pantry.batch(shop, {"user": "u", "n": 0}, 1.5, "zero")
    await pantry.batch(shop, {"user": None, "n": 1}, 2.5, "nobody")
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert row.status is RowStatus.ERROR
    assert isinstance(row.error, InvalidRequest)
    assert "'n'" in row.error.message
    assert (await pantry.group_by("team.gb.v1", {"n": 1})).features == {"price": 2.5, "title": "nobody"}


async def test_extra_keys_are_ignored_null_or_not() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    row = await pantry.group_by("team.gb.v1", {"user": "u", "x": None, "y": 1})
    assert (row.status, row.keys) == (RowStatus.OK, {"user": "u", "x": None, "y": 1})


async def test_a_key_column_with_an_odd_name_is_found_by_either_spelling() -> None:
    pantry = await Pantry.open()
    keys = StructType("Key", (Field("user_id", types.LONG),))
    shop = await pantry.upload(GroupBy(keys=keys, key_columns=("user-id",)))
    await pantry.put("TEAM_GB_V1_BATCH", shop.key(user_id=5), shop.batch(1.5, "t"), BATCH_END)
    for spelling in ("user-id", "user_id"):
        assert (await pantry.group_by("team.gb.v1", {spelling: 5})).features == {"price": 1.5, "title": "t"}
    assert (await pantry.group_by("team.gb.v1", {"user": 5})).status is RowStatus.ERROR


@pytest.mark.parametrize(("given", "found"), [(5, True), (boxed.Int(5), True), ("5", True), (5.9, True), ("x", False), (True, False)])
async def test_long_keys_are_cast_as_chronon_casts_them(given: object, found: bool) -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy(keys=StructType("Key", (Field("n", types.LONG),))))
    await pantry.batch(shop, {"n": 5}, 1.5, "t")
    row = await pantry.group_by("team.gb.v1", {"n": given})
    assert row.status is (RowStatus.OK if found else RowStatus.ERROR)
    assert found or isinstance(row.error, InvalidRequest)


async def test_what_was_never_uploaded_is_told_by_name_and_the_others_are_answered() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    rows = await pantry.group_bys(FeatureRequest("team.never.v1", {"user": "u"}), FeatureRequest("team.gb.v1", {"user": "u"}))
    assert [row.status for row in rows] == [RowStatus.ERROR, RowStatus.OK]
    assert isinstance(rows[0].error, UnknownConf)
    assert "TEAM_NEVER_V1_BATCH" in rows[0].error.message


async def test_a_corrupt_value_fails_its_row() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    await pantry.put("TEAM_GB_V1_BATCH", shop.key(user="bad"), b"\x07", BATCH_END)
    rows = await pantry.group_bys(FeatureRequest("team.gb.v1", {"user": "bad"}), FeatureRequest("team.gb.v1", {"user": "u"}))
    assert [row.status for row in rows] == [RowStatus.ERROR, RowStatus.OK]
    assert isinstance(rows[0].error, CorruptValue)


async def test_a_failed_read_is_degraded_and_no_miss() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    await pantry.group_by("team.gb.v1", {"user": "u"})
    pantry.reads.failing["TEAM_GB_V1_BATCH"] = Unavailable("away")
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert (row.status, row.features) == (RowStatus.DEGRADED, None)
    assert isinstance(row.part_errors["team_gb_v1"], Unavailable)


async def test_derivations_are_applied_where_there_is_nothing_too() -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy(derivations={"double": "price * 2", "who": "user", "*": "*"}))
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert (row.status, row.features) == (RowStatus.OK, {"price": 1.5, "title": "t", "double": 3.0, "who": "u"})
    row = await pantry.group_by("team.gb.v1", {"user": "x"})
    assert (row.status, row.features) == (RowStatus.MISSING, {"price": None, "title": None, "double": None, "who": "x"})


@pytest.mark.parametrize("expression", ["no_such + 1", "element_at(array(1), cast(price * 0 as int))"])
async def test_a_broken_derivation_is_told_as_chronon_tells_it(expression: str) -> None:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy(derivations={"bad": expression, "fine": "price"}))
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert (row.status, row.features) == (RowStatus.ERROR, None)
    assert sorted(chronon_features(row) or {}) == ["derivation_fetch_exception", "derivation_rename_exception"]


async def test_repeated_names_are_answered_as_chronons_decoder_calls_them() -> None:
    pantry = await Pantry.open()
    kind = columns(spot=POINT, x=types.LONG)
    shop = await pantry.upload(GroupBy(selected=kind))
    await pantry.put("TEAM_GB_V1_BATCH", shop.key(user="u"), encoder(kind).encode([(1.0, "t"), 9]), BATCH_END)
    assert "x_REPEATED_NAME_0" in avro.schema_text(kind)
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert row.features == {"spot": (1.0, "t"), "x_REPEATED_NAME_0": 9}


async def test_no_requests_no_rows() -> None:
    pantry = await Pantry.open()
    assert await pantry.group_bys() == await pantry.joins() == []
    assert pantry.reads.calls == []


async def test_a_chained_group_by_is_fetched_like_any_other() -> None:
    pantry = await Pantry.open()
    left = {"events": {"table": "ns.left", "topic": "clicks", "query": {"setups": []}}}
    upstream = {"metaData": {"name": "team.upstream.v1"}, "left": left, "joinParts": []}
    source = {"joinSource": {"join": upstream, "query": {"setups": []}}}
    chained = GroupBy(
        "team.chained.v1", selected=columns(price=types.DOUBLE), aggregations=SUM, temporal=True, source=source, inferred=True
    )
    await pantry.upload(chained)
    await pantry.batch(chained, {"user": "u"}, 1.0)
    await pantry.stream(chained, {"user": "u"}, 2.0)
    assert (await pantry.group_by("team.chained.v1", {"user": "u"})).features == {"price_sum": 3.0}


async def test_element_wise_snapshots_of_entities_are_lists() -> None:
    pantry = await Pantry.open()
    source = {"entities": {"snapshotTable": "ns.t", "query": {"setups": []}}}
    sums_each = [{"inputColumn": "vector", "operation": 7, "elementWise": 1}]
    vectors = GroupBy(selected=columns(vector=ListType(types.DOUBLE)), aggregations=sums_each, source=source)
    await pantry.upload(vectors)
    await pantry.batch(vectors, {"user": "u"}, [1.0, 2.5])
    assert (await pantry.group_by("team.gb.v1", {"user": "u"})).features == {"vector_sum": [1.0, 2.5]}

"""Rows of joins: parts, keys, failures that touch their part, and how far a row can be trusted (spec/online-fetch.md §10, §12, §22.1)."""

import pytest

from chronoserve.fetcher import defects
from chronoserve.fetcher.chronon import chronon_features
from chronoserve.fetcher.join_plan import JoinPlan
from chronoserve.fetcher.plan import GroupByPlan
from chronoserve.fetcher.settings import FailedReadPolicy, FetchSettings
from chronoserve.model import boxed, types
from chronoserve.model.errors import (
    DerivationFailed,
    Internal,
    InvalidRequest,
    LateBatch,
    TimeBeforeBatch,
    Unavailable,
    UnknownConf,
)
from chronoserve.model.features import FeatureRequest, FeatureRow, Freshness, RowStatus
from chronoserve.model.types import Field, StructType
from tests.unit.fetcher.pantry import BATCH_END, DAY, NOW, POINT, SUM, SUM_7D, GroupBy, Pantry, columns, sums

ITEM = StructType("Key", (Field("item", types.LONG),))


def items() -> GroupBy:
    return GroupBy("team.items.v1", keys=ITEM)


async def stocked() -> Pantry:
    """One join of a TEMPORAL group by on user and one without aggregations on item."""
    pantry = await Pantry.open()
    sold, listed = await pantry.upload(sums()), await pantry.upload(items())
    await pantry.batch(sold, {"user": "u"}, 10.0)
    await pantry.stream(sold, {"user": "u"}, 2.5)
    await pantry.batch(listed, {"item": 7}, 9.5, "lamp")
    await pantry.upload_join("team/j.v1", sold, listed)
    return pantry


async def test_parts_are_united_under_their_prefixes_with_types_and_freshness() -> None:
    pantry = await stocked()
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
    assert row.features == {
        "team_sums_v1_price_sum": 12.5,
        "team_items_v1_price": 9.5,
        "team_items_v1_title": "lamp",
    }
    assert row.status is RowStatus.OK
    assert dict(row.types) == {
        "team_sums_v1_price_sum": types.DOUBLE,
        "team_items_v1_price": types.DOUBLE,
        "team_items_v1_title": types.STRING,
    }
    assert row.freshness == {"team_sums_v1": Freshness(BATCH_END, NOW - 1000), "team_items_v1": Freshness(BATCH_END, 0)}


async def test_everything_is_read_in_one_call_and_what_repeats_once() -> None:
    pantry = await stocked()
    request = FeatureRequest("team/j.v1", {"user": "u", "item": 7}, NOW)
    rows = await pantry.joins(request, request, FeatureRequest("team/j.v1", {"user": "u", "item": 8}, NOW))
    (call,) = pantry.reads.data_calls()
    assert len(call) == len(set(call)) == 4
    assert rows[0].features == rows[1].features
    assert rows[2].features == {"team_sums_v1_price_sum": 12.5}


async def test_a_part_without_data_is_absent_and_a_row_without_any_is_missing() -> None:
    pantry = await stocked()
    row = await pantry.join("team/j.v1", {"user": "u", "item": 8})
    assert (row.status, row.features) == (RowStatus.OK, {"team_sums_v1_price_sum": 12.5})
    row = await pantry.join("team/j.v1", {"user": "nobody", "item": 8})
    assert (row.status, row.features, row.part_errors) == (RowStatus.MISSING, {}, {})


async def test_a_null_key_takes_its_part_away_without_a_word() -> None:
    pantry = await stocked()
    row = await pantry.join("team/j.v1", {"user": "u", "item": None})
    assert (row.status, row.features, row.part_errors) == (RowStatus.OK, {"team_sums_v1_price_sum": 12.5}, {})
    row = await pantry.join("team/j.v1", {"user": None, "item": None})
    assert (row.status, row.features) == (RowStatus.MISSING, {})


async def test_a_missing_key_fails_its_part_and_names_the_key() -> None:
    pantry = await stocked()
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert (row.status, row.features) == (RowStatus.DEGRADED, {"team_sums_v1_price_sum": 12.5})
    assert row.error is None
    (stem, error), *_ = row.part_errors.items()
    assert stem == "team_items_v1"
    assert isinstance(error, InvalidRequest)
    assert "'item'" in error.message
    assert chronon_features(row) == {"team_sums_v1_price_sum": 12.5, "team_items_v1_exception": error.message}


async def test_a_row_of_which_every_part_failed_is_an_error() -> None:
    pantry = await stocked()
    row = await pantry.join("team/j.v1", {})
    assert (row.status, row.features) == (RowStatus.ERROR, None)
    assert isinstance(row.error, InvalidRequest)
    assert sorted(chronon_features(row) or {}) == ["team_items_v1_exception", "team_sums_v1_exception"]


async def test_an_unknown_join_fails_only_its_rows() -> None:
    pantry = await stocked()
    known = FeatureRequest("team/j.v1", {"user": "u", "item": 7}, NOW)
    rows = await pantry.joins(known, FeatureRequest("team/none.v1", {}, NOW), FeatureRequest("team.j.v1", {"user": "u"}, NOW), known)
    assert [row.status for row in rows] == [RowStatus.OK, RowStatus.ERROR, RowStatus.ERROR, RowStatus.OK]
    assert isinstance(rows[1].error, UnknownConf)
    assert isinstance(rows[2].error, UnknownConf)  # a join is asked for with a slash
    assert chronon_features(rows[1]) is None


async def test_a_key_that_cannot_be_cast_fails_only_its_row_and_is_not_quoted() -> None:
    pantry = await stocked()
    good = FeatureRequest("team/j.v1", {"user": "u", "item": 7}, NOW)
    rows = await pantry.joins(FeatureRequest("team/j.v1", {"user": "u", "item": "secret"}, NOW), good)
    assert [row.status for row in rows] == [RowStatus.ERROR, RowStatus.OK]
    assert isinstance(rows[0].error, InvalidRequest)
    assert "'item'" in rows[0].error.message
    assert "secret" not in rows[0].error.message


async def test_keys_come_back_as_they_were_cast() -> None:
    pantry = await stocked()
    row = await pantry.join("team/j.v1", {"user": 5, "item": boxed.Int(7), "other": boxed.Int(1)})
    assert row.keys == {"user": "5", "item": 7, "other": 1}
    assert [type(value) for value in row.keys.values()] == [str, int, boxed.Int]
    assert row.features is not None
    assert row.features["team_items_v1_title"] == "lamp"


async def test_left_names_and_prefixes_of_the_mapping() -> None:
    pantry = await stocked()
    part = {"groupBy": items().conf(), "keyMapping": {"listing": "item"}, "prefix": "lst"}
    other = {"groupBy": items().conf(), "keyMapping": {"other": "item"}, "prefix": "oth"}
    await pantry.upload_join("team/mapped.v1", part, other)
    row = await pantry.join("team/mapped.v1", {"listing": 7, "other": 7, "item": 8})
    assert row.features == {
        "lst_team_items_v1_price": 9.5,
        "lst_team_items_v1_title": "lamp",
        "oth_team_items_v1_price": 9.5,
        "oth_team_items_v1_title": "lamp",
    }
    (call,) = pantry.reads.data_calls()
    assert len(call) == 1


async def test_a_part_that_was_never_uploaded_leaves_the_others() -> None:
    pantry = await stocked()
    await pantry.upload_join("team/half.v1", sums(), sums("team.never.v1"))
    row = await pantry.join("team/half.v1", {"user": "u"})
    assert (row.status, row.features) == (RowStatus.DEGRADED, {"team_sums_v1_price_sum": 12.5})
    assert isinstance(row.part_errors["team_never_v1"], UnknownConf)


async def test_a_time_before_the_batch_end_fails_the_temporal_part() -> None:
    pantry = await stocked()
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7}, BATCH_END - 1)
    assert row.status is RowStatus.DEGRADED
    assert row.features == {"team_items_v1_price": 9.5, "team_items_v1_title": "lamp"}
    assert isinstance(row.part_errors["team_sums_v1"], TimeBeforeBatch)


async def test_a_failed_part_takes_derived_features_away_that_begin_as_it_does() -> None:
    pantry = await stocked()
    longer = await pantry.upload(GroupBy("team.items.v1_more", selected=columns(n=types.LONG)))
    await pantry.batch(longer, {"user": "u"}, 3)
    await pantry.upload_join("team/plain.v1", items(), longer)
    await pantry.upload_join("team/star.v1", items(), longer, derivations={"*": "*", "m": "team_items_v1_more_n"})
    assert (await pantry.join("team/plain.v1", {"user": "u"})).features == {"team_items_v1_more_n": 3}
    assert (await pantry.join("team/star.v1", {"user": "u"})).features == {"m": 3}
    assert (await pantry.join("team/star.v1", {"user": "u", "item": 8})).features == {"m": 3}


# reads that fail


def failing(pantry: Pantry, *datasets: str) -> None:
    for dataset in datasets:
        pantry.reads.failing[dataset] = Unavailable("the store is away")


async def test_a_failed_batch_read_is_no_miss() -> None:
    pantry = await stocked()
    await pantry.join("team/j.v1", {"user": "u", "item": 7})
    failing(pantry, "TEAM_ITEMS_V1_BATCH")
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
    assert (row.status, row.features) == (RowStatus.DEGRADED, {"team_sums_v1_price_sum": 12.5})
    assert isinstance(row.part_errors["team_items_v1"], Unavailable)


async def test_a_failed_stream_leaves_the_batch_and_is_named() -> None:
    pantry = await stocked()
    failing(pantry, "TEAM_SUMS_V1_STREAMING")
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
    assert row.status is RowStatus.DEGRADED
    assert row.features is not None
    assert row.features["team_sums_v1_price_sum"] == 10.0
    assert isinstance(row.part_errors["team_sums_v1"], Unavailable)


async def test_the_policy_to_fail_fails_the_part() -> None:
    pantry = await stocked()
    pantry.build(settings=FetchSettings(failed_reads_of={"team.sums.v1": FailedReadPolicy.FAIL}))
    failing(pantry, "TEAM_SUMS_V1_STREAMING")
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
    assert (row.status, row.features) == (RowStatus.DEGRADED, {"team_items_v1_price": 9.5, "team_items_v1_title": "lamp"})
    assert isinstance(row.part_errors["team_sums_v1"], Unavailable)


async def test_the_last_good_answer_stands_in_for_a_failed_read() -> None:
    pantry = await stocked()
    pantry.build(settings=FetchSettings(failed_reads=FailedReadPolicy.LAST_GOOD))
    await pantry.join("team/j.v1", {"user": "u", "item": 7})
    failing(pantry, "TEAM_SUMS_V1_BATCH", "TEAM_SUMS_V1_STREAMING", "TEAM_ITEMS_V1_BATCH")
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
    assert row.status is RowStatus.DEGRADED
    assert row.features == {"team_sums_v1_price_sum": 12.5, "team_items_v1_price": 9.5, "team_items_v1_title": "lamp"}
    assert sorted(row.part_errors) == ["team_items_v1", "team_sums_v1"]
    row = await pantry.join("team/j.v1", {"user": "stranger", "item": 1})
    assert (row.status, row.features) == (RowStatus.DEGRADED, {})


async def test_a_stream_that_does_not_exist_is_no_data_and_is_not_asked_for_again_at_once() -> None:
    pantry = await Pantry.open()
    sold = await pantry.upload(sums())
    await pantry.batch(sold, {"user": "u"}, 10.0)
    await pantry.upload_join("team/j.v1", sold)
    for _ in range(2):
        row = await pantry.join("team/j.v1", {"user": "u"})
        assert (row.status, row.features) == (RowStatus.OK, {"team_sums_v1_price_sum": 10.0})
    first, second = pantry.reads.data_calls()
    assert [len(first), len(second)] == [2, 1]
    await pantry.stream(sold, {"user": "u"}, 1.0)
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert row.features == {"team_sums_v1_price_sum": 11.0}


async def test_late_batch_data_is_degraded_where_a_window_needs_newer() -> None:
    pantry = await Pantry.open()
    week = await pantry.upload(sums("team.week.v1", SUM_7D))
    ever = await pantry.upload(sums("team.ever.v1", SUM))
    for group_by in (week, ever):
        await pantry.batch(group_by, {"user": "u"}, 10.0)
    await pantry.upload_join("team/j.v1", week, ever)
    row = await pantry.join("team/j.v1", {"user": "u"}, BATCH_END + 2 * DAY)
    assert row.status is RowStatus.OK
    row = await pantry.join("team/j.v1", {"user": "u"}, BATCH_END + 2 * DAY + 1)
    assert row.status is RowStatus.DEGRADED
    assert list(row.part_errors) == ["team_week_v1"]
    assert isinstance(row.part_errors["team_week_v1"], LateBatch)
    assert chronon_features(row) == row.features


async def test_an_undecodable_value_fails_its_part() -> None:
    pantry = await stocked()
    await pantry.put("TEAM_SUMS_V1_STREAMING", sums().key(user="u"), b"\x07", NOW - 500)
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
    assert (row.status, list(row.part_errors)) == (RowStatus.DEGRADED, ["team_sums_v1"])
    pantry.build(settings=FetchSettings(skip_undecodable_stream=True))
    row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
    assert row.status is RowStatus.OK
    assert row.features is not None
    assert row.features["team_sums_v1_price_sum"] == 12.5


# derivations


async def derived(*, derivations: dict[str, str], keys: dict[str, object] | None = None) -> FeatureRow:
    pantry = await stocked()
    await pantry.upload_join("team/d.v1", sums(), items(), derivations=derivations)
    return await pantry.join("team/d.v1", keys or {"user": "u", "item": 7})


async def test_renames_and_the_wildcard() -> None:
    row = await derived(derivations={"total": "team_sums_v1_price_sum", "who": "user", "day": "ds", "when": "ts", "*": "*"})
    assert row.features == {
        "team_items_v1_price": 9.5,
        "team_items_v1_title": "lamp",
        "total": 12.5,
        "who": "u",
        "day": "2023-11-14",
        "when": NOW,
    }
    assert row.types["total"] == types.DOUBLE


async def test_expressions_see_features_and_cast_keys() -> None:
    row = await derived(
        derivations={"twice": "team_sums_v1_price_sum * 2", "named": "concat(user, '-', item)"}, keys={"user": "u", "item": boxed.Int(7)}
    )
    assert (row.status, row.features) == (RowStatus.OK, {"twice": 25.0, "named": "u-7"})


async def test_an_expression_that_fails_leaves_nothing_and_says_so() -> None:
    row = await derived(derivations={"boom": "element_at(array(1), cast(team_sums_v1_price_sum * 0 as int))", "*": "*"})
    assert (row.status, row.features) == (RowStatus.ERROR, None)
    assert isinstance(row.error, DerivationFailed)
    assert sorted(chronon_features(row) or {}) == ["derivation_fetch_exception", "derivation_rename_exception"]


async def test_a_derivation_that_does_not_compile_leaves_only_the_codecs_failure() -> None:
    row = await derived(derivations={"bad": "no_such_column + 1", "*": "*"})
    assert (row.status, row.features) == (RowStatus.ERROR, None)
    assert list(chronon_features(row) or {}) == ["join_codec_fetch_exception"]


@pytest.mark.parametrize("expression", ["date_add(ds, 1)", "3.5", "null"])
async def test_a_derivation_without_an_avro_form_is_a_failure_of_the_codec(expression: str) -> None:
    row = await derived(derivations={"bad": expression, "*": "*"})
    assert list(chronon_features(row) or {}) == ["join_codec_fetch_exception"]


async def test_what_parts_failed_passes_through_derivations() -> None:
    row = await derived(derivations={"twice": "team_sums_v1_price_sum * 2", "*": "*"}, keys={"user": "u"})
    assert row.status is RowStatus.DEGRADED
    assert row.features == {"team_sums_v1_price_sum": 12.5, "twice": 25.0}
    assert list(row.part_errors) == ["team_items_v1"]


async def test_a_part_without_data_is_null_in_expressions_and_under_the_wildcard() -> None:
    row = await derived(derivations={"n": "coalesce(team_items_v1_price, 0D)", "*": "*"}, keys={"user": "u", "item": 1})
    assert row.features == {"team_sums_v1_price_sum": 12.5, "team_items_v1_price": None, "team_items_v1_title": None, "n": 0.0}


async def test_derivations_of_a_part_and_of_a_join_over_them() -> None:
    pantry = await Pantry.open()
    shop = GroupBy("team.shop.v1", selected=columns(spot=POINT, n=types.LONG), derivations={"m": "n + 1", "*": "*"})
    await pantry.upload(shop)
    await pantry.batch(shop, {"user": "u"}, (1.5, "t"), 4)
    await pantry.upload_join("team/plain.v1", shop)
    await pantry.upload_join("team/over.v1", shop, derivations={"x": "team_shop_v1_spot.x", "*": "*"})
    row = await pantry.join("team/plain.v1", {"user": "u"})
    assert row.features == {"team_shop_v1_spot": {"x": 1.5, "tag": "t"}, "team_shop_v1_n": 4, "team_shop_v1_m": 5}
    row = await pantry.join("team/over.v1", {"user": "u"})
    assert row.features == {"team_shop_v1_spot": {"x": 1.5, "tag": "t"}, "team_shop_v1_n": 4, "team_shop_v1_m": 5, "x": 1.5}


async def test_a_derivation_of_a_part_that_fails_is_named_under_its_prefix() -> None:
    pantry = await stocked()
    shop = GroupBy("team.shop.v1", selected=columns(n=types.LONG), derivations={"m": "element_at(array(1), cast(n as int))"})
    await pantry.upload(shop)
    await pantry.batch(shop, {"user": "u"}, 0)
    await pantry.upload_join("team/d.v1", shop, sums())
    row = await pantry.join("team/d.v1", {"user": "u"})
    assert (row.status, row.features) == (RowStatus.DEGRADED, {"team_sums_v1_price_sum": 12.5})
    assert list(row.part_errors) == ["team_shop_v1_derivation_fetch", "team_shop_v1_derivation_rename"]


async def test_a_mapping_to_no_key_of_the_group_by_hides_the_part_from_derivations() -> None:
    pantry = await stocked()
    part = {"groupBy": sums().conf(), "keyMapping": {"extra": "nothing"}}
    await pantry.upload_join("team/plain.v1", part)
    await pantry.upload_join("team/star.v1", part, items(), derivations={"p": "team_items_v1_price + 1", "*": "*"})
    keys = {"user": "u", "item": 7, "extra": 1}
    assert (await pantry.join("team/plain.v1", keys)).features == {"team_sums_v1_price_sum": 12.5}
    row = await pantry.join("team/star.v1", keys)
    assert row.features == {"team_items_v1_price": 9.5, "team_items_v1_title": "lamp", "p": 10.5}
    row = await pantry.join("team/plain.v1", {"user": "u"})
    assert list(row.part_errors) == ["team_sums_v1"]


# defects


async def test_a_defect_is_the_error_of_its_part_or_row_and_is_not_logged_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    pantry = await stocked()
    await pantry.join("team/j.v1", {"user": "u", "item": 7})
    logged: list[str] = []
    monkeypatch.setattr(defects.log, "exception", lambda event, **_: logged.append(event))
    plans = await pantry.fetcher._plans.joins(["team/j.v1"], pantry.clock(), deadline=pantry.deadline)
    plan = plans["team/j.v1"]
    assert isinstance(plan, JoinPlan)
    part = plan.parts.parts[0]
    assert isinstance(part.group, GroupByPlan)

    def surprise(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(type(part.group.served.sawtooth), "merge", surprise)
    for _ in range(20):
        row = await pantry.join("team/j.v1", {"user": "u", "item": 7})
        assert row.status is RowStatus.DEGRADED
        assert isinstance(row.part_errors["team_sums_v1"], Internal)
        assert "surprise" not in row.part_errors["team_sums_v1"].message
    assert len(logged) <= 6
    monkeypatch.setattr(plan, "casts", 5)
    rows = await pantry.joins(FeatureRequest("team/j.v1", {"user": "u", "item": 7}, NOW), FeatureRequest("team/none.v1", {}, NOW))
    assert isinstance(rows[0].error, Internal)
    assert isinstance(rows[1].error, UnknownConf)

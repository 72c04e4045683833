"""Confs and serving infos as they change under a running fetcher (spec/online-fetch.md §4, §5; issue 4, item 3)."""

import asyncio
import json
from typing import Any

import pytest

from chronoserve.fetcher import plans
from chronoserve.fetcher.ports import BATCH_IR_CACHE, ENTITY_VALIDITY_CHECK
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.model import naming, types
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, KVError, Unavailable, UnknownConf
from chronoserve.model.features import FeatureRequest, RowStatus
from tests.unit.fetcher.pantry import BATCH_END, DAY, NOW, GroupBy, Pantry, SetFlags, columns, join_conf, sums
from tests.virtual_time import turns

NEXT_DATE = "2023-11-15"


async def sold() -> tuple[Pantry, GroupBy]:
    pantry = await Pantry.open()
    pantry.clock.advance(2 * DAY)
    group_by = await pantry.upload(sums())
    await pantry.batch(group_by, {"user": "u"}, 10.0)
    await pantry.stream(group_by, {"user": "u"}, 1.0, millis=BATCH_END + 1)
    await pantry.stream(group_by, {"user": "u"}, 2.0, millis=BATCH_END + DAY + 1)
    await pantry.upload_join("team/j.v1", group_by)
    return pantry, group_by


async def value(pantry: Pantry) -> object:
    row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
    assert row.features is not None
    return row.features["team_sums_v1_price_sum"]


async def test_a_new_upload_is_used_within_two_seconds() -> None:
    pantry, group_by = await sold()
    assert await value(pantry) == 13.0
    group_by.batch_end_date = NEXT_DATE
    await pantry.batch(group_by, {"user": "u"}, 100.0, millis=BATCH_END + DAY)
    await pantry.upload(group_by, millis=BATCH_END + DAY)
    seen = []
    for _ in range(8):
        pantry.clock.advance(250)
        seen.append(await value(pantry))
        await turns(5)
    assert seen[-1] == 102.0
    assert set(seen) == {102.0}  # the newer batch value moves the streaming cut-off before the serving info does


async def test_a_newer_batch_value_before_its_serving_info_is_answered_by_the_old_one() -> None:
    """As the JVM's recordings show it: the value is used, the stream before it is not counted again, the old batch end stays."""
    pantry, group_by = await sold()
    assert await value(pantry) == 13.0
    await pantry.batch(group_by, {"user": "u"}, 100.0, millis=BATCH_END + DAY)
    row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
    assert row.features == {"team_sums_v1_price_sum": 102.0}
    assert row.freshness["team_sums_v1"].batch_end_millis == BATCH_END
    row = await pantry.join("team/j.v1", {"user": "u"}, BATCH_END)
    assert row.status is RowStatus.OK


async def test_an_idle_group_by_is_looked_at_again_before_it_is_used() -> None:
    pantry, group_by = await sold()
    await value(pantry)
    group_by.batch_end_date = NEXT_DATE
    await pantry.upload(group_by, millis=BATCH_END + DAY)
    pantry.clock.advance(60_000)
    row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
    assert row.freshness["team_sums_v1"].batch_end_millis == BATCH_END + DAY
    assert row.features == {"team_sums_v1_price_sum": 2.0}  # the old batch value is no longer data


async def test_metadata_is_read_about_once_a_second_however_many_ask() -> None:
    pantry, _ = await sold()
    for _ in range(100):
        pantry.clock.advance(50)
        await value(pantry)
        await turns(3)
    served = [read for call in pantry.reads.calls for read in call if read.key_bytes == naming.SERVING_INFO_KEY]
    confs = [read for call in pantry.reads.calls for read in call if read.dataset == naming.METADATA_DATASET]
    assert 4 <= len(served) <= 8
    assert 1 <= len(confs) <= 3


async def test_a_cold_start_of_many_callers_loads_each_thing_once() -> None:
    pantry, _ = await sold()
    await asyncio.gather(*(value(pantry) for _ in range(50)))
    served = [read for call in pantry.reads.calls for read in call if read.key_bytes == naming.SERVING_INFO_KEY]
    assert len(served) == 1


async def test_a_large_join_is_planned_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    pantry = await Pantry.open()
    wide = columns(**{f"f{at}": types.DOUBLE for at in range(200)})
    parts = [await pantry.upload(GroupBy(f"team.g{at}.v1", selected=wide)) for at in range(6)]
    await pantry.upload_join("team/wide.v1", *parts)
    made: list[str] = []
    planned = plans._planned

    def counted(name: str, *rest: Any) -> Any:
        made.append(name)
        return planned(name, *rest)

    monkeypatch.setattr(plans, "_planned", counted)
    rows = await asyncio.gather(*(pantry.join("team/wide.v1", {"user": "u"}) for _ in range(20)))
    assert {row.status for row in rows} == {RowStatus.MISSING}
    assert made == ["team/wide.v1"]


async def test_the_parts_of_a_join_are_loaded_in_one_read() -> None:
    pantry = await Pantry.open()
    parts = [await pantry.upload(GroupBy(f"team.g{at}.v1")) for at in range(20)]
    await pantry.upload_join("team/wide.v1", *parts)
    await pantry.join("team/wide.v1", {"user": "u"})
    assert [len(call) for call in pantry.reads.calls] == [1, 20, 20]


async def test_the_last_good_conf_is_used_while_the_store_fails() -> None:
    pantry, _ = await sold()
    await value(pantry)
    for dataset in (naming.METADATA_DATASET, "TEAM_SUMS_V1_BATCH"):
        pantry.reads.failing[dataset] = Unavailable("away")
    for _ in range(5):
        pantry.clock.advance(10_000)
        row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
        assert row.status is RowStatus.DEGRADED  # the batch read fails too; the plan is there
        assert row.features == {"team_sums_v1_price_sum": 3.0}


async def test_a_failed_look_up_is_over_within_five_seconds() -> None:
    pantry, _ = await sold()
    pantry.reads.failing[naming.METADATA_DATASET] = Unavailable("away")
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert isinstance(row.error, Unavailable)
    pantry.reads.failing.clear()
    pantry.clock.advance(5_000)
    assert await value(pantry) == 13.0


async def test_a_changed_conf_is_picked_up() -> None:
    pantry, group_by = await sold()
    await value(pantry)
    await pantry.upload_join("team/j.v1", group_by, derivations={"total": "team_sums_v1_price_sum"})
    pantry.clock.advance(60_000)
    row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
    assert row.features == {"total": 13.0}


async def test_a_part_that_is_uploaded_later_joins_in() -> None:
    pantry, group_by = await sold()
    late = sums("team.late.v1")
    await pantry.upload_join("team/j.v1", group_by, late, derivations={"x": "team_late_v1_price_sum + 1", "*": "*"})
    row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
    assert list(row.part_errors) == ["join_codec_fetch"]
    await pantry.upload(late)
    await pantry.batch(late, {"user": "u"}, 1.0)
    pantry.clock.advance(5_000)
    row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
    assert row.features is not None
    assert row.features["x"] == 2.0


async def test_the_plan_stays_while_nothing_changes() -> None:
    pantry, _ = await sold()
    first = await pantry.fetcher._plans.joins(["team/j.v1"], pantry.clock(), deadline=pantry.deadline)
    pantry.clock.advance(60_000)
    second = await pantry.fetcher._plans.joins(["team/j.v1"], pantry.clock(), deadline=pantry.deadline)
    assert first["team/j.v1"] is second["team/j.v1"]


async def test_a_conf_that_is_brought_along_needs_no_upload() -> None:
    from chronoserve.codec import confs

    pantry, group_by = await sold()
    conf = confs.join(json.dumps(join_conf("any.name", group_by, derivations={"x": "team_sums_v1_price_sum * 2"})))
    rows = await pantry.joins(FeatureRequest("whatever", {"user": "u"}, NOW + DAY), FeatureRequest("x", {"user": "v"}, NOW), conf=conf)
    assert [row.features for row in rows] == [{"x": 26.0}, {"x": None}]
    assert naming.METADATA_DATASET not in {read.dataset for call in pantry.reads.calls for read in call}


# what is stored and cannot be used


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"joinParts": 5}', b'{"metaData": {"name": 3}}', b"\xff\xfe", b"[" * 100_000],
)
async def test_a_conf_that_is_none_is_refused_and_others_are_served(text: bytes) -> None:
    pantry, _ = await sold()
    await pantry.put(naming.METADATA_DATASET, b"joins/team/bad.v1", text)
    await pantry.put("TEAM_BAD_V1_BATCH", naming.SERVING_INFO_KEY, text)
    rows = await pantry.joins(FeatureRequest("team/bad.v1", {}, NOW), FeatureRequest("team/j.v1", {"user": "u"}, NOW + DAY))
    assert [row.status for row in rows] == [RowStatus.ERROR, RowStatus.OK]
    assert isinstance(rows[0].error, InvalidRequest)
    (row,) = await pantry.group_bys(FeatureRequest("team.bad.v1", {}))
    assert isinstance(row.error, InvalidRequest)


async def test_a_conf_over_the_limit_is_refused_unread() -> None:
    pantry, _ = await sold()
    pantry.build(settings=FetchSettings(conf_bytes_max=1000))
    await pantry.put(naming.METADATA_DATASET, b"joins/team/big.v1", b"{" + b" " * 1000)
    row = await pantry.join("team/big.v1", {})
    assert isinstance(row.error, InvalidRequest)
    assert "1001" in row.error.message


@pytest.mark.parametrize("date", ["", "2023-13-01", "20231114", "yesterday"])
async def test_a_batch_end_that_is_no_date_is_refused(date: str) -> None:
    pantry = await Pantry.open()
    await pantry.upload(GroupBy(batch_end_date=date))
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert isinstance(row.error, InvalidRequest)
    assert "batchEndDate" in row.error.field


async def test_other_partition_formats() -> None:
    pantry = await Pantry.open()
    pantry.build(settings=FetchSettings(partition_format="yyyyMMdd"))
    shop = await pantry.upload(GroupBy(batch_end_date="20231114"))
    await pantry.put("TEAM_GB_V1_BATCH", shop.key(user="u"), shop_bytes(), BATCH_END)
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert row.features == {"price": 1.5, "title": "t"}
    assert row.freshness["team_gb_v1"].batch_end_millis == BATCH_END


def shop_bytes() -> bytes:
    return GroupBy().batch(1.5, "t")


@pytest.mark.parametrize("name", ["", "/", "a/b/c/d", "\x00", "é" * 300, "x" * 10_000, "joins/team/j.v1", "\ud800"])
async def test_odd_names_are_unknown_and_long_ones_are_not_repeated(name: str) -> None:
    pantry, _ = await sold()
    row = await pantry.join(name, {"user": "u"})
    assert isinstance(row.error, KVError)
    assert len(row.error.message) < 500
    row = await pantry.group_by(name, {"user": "u"})
    assert isinstance(row.error, KVError)
    assert len(row.error.message) < 500


# the active-entity check


async def test_a_join_that_its_team_does_not_list_is_refused_where_the_check_is_on() -> None:
    pantry, group_by = await sold()
    await pantry.upload_join("team/other.v1", group_by)
    await pantry.upload_team("joins/team", "joins/team/j.v1")
    pantry.build(flags=SetFlags(ENTITY_VALIDITY_CHECK))
    rows = await pantry.joins(*(FeatureRequest(name, {"user": "u"}, NOW + DAY) for name in ("team/j.v1", "team/other.v1")))
    assert [row.status for row in rows] == [RowStatus.OK, RowStatus.ERROR]
    assert list(rows[1].part_errors) == ["team/other.v1"]
    assert isinstance(rows[1].error, FailedPrecondition)


async def test_a_group_by_that_its_team_does_not_list_is_refused_where_the_check_is_on() -> None:
    pantry, _ = await sold()
    other = await pantry.upload(GroupBy("team.other.v1", selected=columns(n=types.LONG)))
    await pantry.batch(other, {"user": "u"}, 1)
    await pantry.upload_team("group_bys/team", "group_bys/team/sums.v1")
    requests = [FeatureRequest(name, {"user": "u"}, NOW + DAY) for name in ("team.sums.v1", "team/sums.v1", "team.other.v1")]
    pantry.build(flags=SetFlags(ENTITY_VALIDITY_CHECK))
    assert [row.status for row in await pantry.group_bys(*requests)] == [RowStatus.OK, RowStatus.OK, RowStatus.ERROR]
    pantry.build(flags=SetFlags(BATCH_IR_CACHE))
    assert [row.status for row in await pantry.group_bys(*requests)] == [RowStatus.OK, RowStatus.OK, RowStatus.OK]


async def test_a_list_that_cannot_be_read_has_nobody_in_it() -> None:
    pantry, _ = await sold()
    pantry.build(flags=SetFlags(ENTITY_VALIDITY_CHECK))
    row = await pantry.join("team/j.v1", {"user": "u"}, NOW + DAY)
    assert isinstance(row.error, FailedPrecondition)
    assert not isinstance(row.error, UnknownConf)

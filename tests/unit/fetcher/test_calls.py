"""Calls as a whole: what fails them, what they leave behind, what they cost the store (spec/online-fetch.md §22.1)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from chronoserve.fetcher import defects, metadata, plans
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.model.confs import Model
from chronoserve.model.errors import DeadlinePassed, FailedPrecondition, Internal, InvalidRequest, KVError, Throttled
from chronoserve.model.features import FeatureRequest, RowStatus
from tests.unit.fetcher.pantry import NOW, GroupBy, Pantry
from tests.unit.fetcher.test_sources_of_rows import scored
from tests.virtual_time import turns


async def stocked() -> Pantry:
    pantry = await Pantry.open()
    shop = await pantry.upload(GroupBy())
    await pantry.batch(shop, {"user": "u"}, 1.5, "t")
    await pantry.upload_join("team/j.v1", shop)
    await pantry.join("team/j.v1", {"user": "u"})
    await pantry.group_by("team.gb.v1", {"user": "u"})
    return pantry


async def test_a_store_that_refuses_the_call_fails_it_and_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pantry = await stocked()

    async def refuse(*_: object, **__: object) -> list[bytes | KVError]:
        raise Throttled("busy", retry_after=1)

    monkeypatch.setattr(pantry.reads, "multi_get", refuse)
    with pytest.raises(Throttled):
        await pantry.join("team/j.v1", {"user": "u"})
    with pytest.raises(Throttled):
        await pantry.group_by("team.gb.v1", {"user": "u"})
    metrics = pantry.fetcher.metrics
    assert metrics.joins.failures["THROTTLED"] == metrics.group_bys.failures["THROTTLED"] == 1


async def test_a_call_that_is_cancelled_leaves_nothing_behind() -> None:
    pantry = await stocked()
    pantry.reads.gate = asyncio.Event()
    for name in ("team/j.v1", "team/cold.v1"):
        call = asyncio.create_task(pantry.join(name, {"user": "u"}))
        await turns(10)
        call.cancel()
        await turns(10)
        assert call.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_reads_of_one_call_may_go_through_another_door() -> None:
    pantry = await stocked()

    class Door:
        asked = 0

        async def multi_get(self, requests: Sequence[Any], *, deadline: float) -> list[bytes | KVError]:
            self.asked += len(requests)
            return [FailedPrecondition("not through here")] * len(requests)

    door = Door()
    row = await pantry.join("team/j.v1", {"user": "u"}, reads=door)
    assert (door.asked, row.status) == (1, RowStatus.DEGRADED)
    row = await pantry.group_by("team.gb.v1", {"user": "u"}, reads=door)
    assert (door.asked, row.status) == (2, RowStatus.DEGRADED)


async def test_a_large_call_is_read_in_pieces_and_stays_in_order() -> None:
    pantry = await stocked()
    pantry.build(settings=FetchSettings(reads_per_call_max=7))
    shop = GroupBy()
    for at in range(30):
        await pantry.batch(shop, {"user": f"u{at}"}, float(at), None)
    rows = await pantry.joins(*(FeatureRequest("team/j.v1", {"user": f"u{at}"}, NOW) for at in range(30)))
    assert [(row.features or {})["team_gb_v1_price"] for row in rows] == [float(at) for at in range(30)]
    assert [len(call) for call in pantry.reads.data_calls()[-5:]] == [7, 7, 7, 7, 2]


async def test_lists_need_a_store_that_can_be_listed() -> None:
    pantry = await stocked()
    alone = Fetcher(pantry.reads, clock=pantry.clock)
    with pytest.raises(FailedPrecondition):
        await alone.list_joins(deadline=pantry.deadline)
    with pytest.raises(InvalidRequest):
        await pantry.fetcher.list_group_bys(token=b"\xff", deadline=pantry.deadline)


async def test_a_defect_of_parsing_or_planning_is_told_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    pantry = await stocked()
    monkeypatch.setattr(metadata.log, "exception", lambda *_, **__: None)
    monkeypatch.setattr(plans.log, "exception", lambda *_, **__: None)
    monkeypatch.setattr("chronoserve.fetcher.join_plan.JoinPlan.__init__", lambda *_, **__: 1 // 0)
    pantry.build()
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert isinstance(row.error, Internal)
    monkeypatch.setattr("chronoserve.fetcher.served.ServedGroupBy.__init__", lambda *_, **__: 1 // 0)
    pantry.build()
    row = await pantry.group_by("team.gb.v1", {"user": "u"})
    assert isinstance(row.error, Internal)


async def test_a_defect_of_the_log_changes_nothing_for_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    pantry = await stocked()
    monkeypatch.setattr(defects.log, "exception", lambda *_, **__: None)
    await pantry.upload_join("team/logged.v1", GroupBy(), sample_percent=100)
    monkeypatch.setattr("chronoserve.fetcher.join_codec.JoinLog.value_bytes", lambda *_: 1 // 0)
    row = await pantry.join("team/logged.v1", {"user": "u"})
    assert row.status is RowStatus.OK
    assert pantry.fetcher.metrics.joins.failures["RESPONSE_LOG"] == 1


async def test_a_model_has_no_more_time_than_the_call() -> None:
    class Slow:
        async def run(self, model: Model, inputs: Sequence[Mapping[str, Any]], *, deadline: float) -> list[Mapping[str, object]]:
            raise TimeoutError

    (row,) = await scored(Slow(), "u")
    assert isinstance(row.part_errors["team.model"], DeadlinePassed)


async def test_a_fetcher_is_closed() -> None:
    pantry = await stocked()
    await pantry.fetcher.close()
    assert (await pantry.join("team/j.v1", {"user": "u"})).status is RowStatus.OK

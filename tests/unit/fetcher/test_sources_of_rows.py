"""Contextual fields, external sources and models in rows of joins (spec/online-fetch.md §11, §13)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from chronoserve.fetcher.chronon import chronon_features
from chronoserve.fetcher.ports import ModelBackend
from chronoserve.model import boxed, types
from chronoserve.model.confs import Model
from chronoserve.model.errors import ExternalFailed, FailedPrecondition, InvalidRequest, KVError
from chronoserve.model.features import FeatureRequest, RowStatus
from tests.unit.fetcher.pantry import NOW, GroupBy, Pantry, columns, external_part
from tests.virtual_time import turns

CONTEXT = external_part("contextual", {"ctx": 4, "note": 7}, {"ctx": 4, "note": 7})
DOUBLER = external_part("doubler", {"n": 4}, {"out": 4})


class Doubler:
    def __init__(self) -> None:
        self.batches: list[list[Mapping[str, object]]] = []

    async def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | KVError]:
        self.batches.append(list(rows))
        return [ExternalFailed("not this one") if row["n"] == 13 else {"out": row["n"] * 2, "extra": None} for row in rows]


async def shop(**more: Any) -> Pantry:
    pantry = await Pantry.open()
    group_by = await pantry.upload(GroupBy(selected=columns(price=types.DOUBLE)))
    await pantry.batch(group_by, {"user": "u"}, 1.5)
    await pantry.upload_join("team/j.v1", group_by, **more)
    return pantry


async def test_contextual_fields_are_the_rows_own_as_they_came() -> None:
    pantry = await shop(onlineExternalParts=[CONTEXT])
    row = await pantry.join("team/j.v1", {"user": "u", "ctx": "5"})
    assert row.features == {"team_gb_v1_price": 1.5, "ext_contextual_ctx": "5", "ext_contextual_note": None}
    assert row.keys == {"user": "u", "ctx": 5}
    assert "ext_contextual_ctx" not in row.types
    row = await pantry.join("team/j.v1", {"user": "nobody", "ctx": boxed.Int(3)})
    assert (row.status, row.features) == (RowStatus.MISSING, {"ext_contextual_ctx": 3, "ext_contextual_note": None})
    assert type((row.features or {})["ext_contextual_ctx"]) is boxed.Int
    row = await pantry.join("team/j.v1", {"user": None, "ctx": 3})
    assert row.status is RowStatus.MISSING


async def test_a_join_of_nothing_but_context_is_whole() -> None:
    pantry = await Pantry.open()
    await pantry.upload_join("team/c.v1", onlineExternalParts=[CONTEXT])
    row = await pantry.join("team/c.v1", {"ctx": 1, "note": "x"})
    assert (row.status, row.features) == (RowStatus.OK, {"ext_contextual_ctx": 1, "ext_contextual_note": "x"})


async def test_a_source_is_asked_once_a_call_for_each_key_and_answers_in_place() -> None:
    pantry = await shop(onlineExternalParts=[DOUBLER, {**DOUBLER, "prefix": "p", "keyMapping": {"m": "n"}}])
    doubler = Doubler()
    pantry.registry.add("doubler", doubler)
    numbers = [(1, 2), (2, 1), (1, 1)]
    rows = await pantry.joins(*(FeatureRequest("team/j.v1", {"user": "u", "n": n, "m": m}, NOW) for n, m in numbers))
    assert doubler.batches == [[{"n": 1}, {"n": 2}]]
    for (n, m), row in zip(numbers, rows, strict=True):
        assert row.features == {
            "team_gb_v1_price": 1.5,
            "ext_doubler_out": n * 2,
            "ext_doubler_extra": None,
            "ext_p_doubler_out": m * 2,
            "ext_p_doubler_extra": None,
        }


async def test_keys_of_different_boxes_are_different_keys() -> None:
    pantry = await shop(onlineExternalParts=[DOUBLER])
    doubler = Doubler()
    pantry.registry.add("doubler", doubler)
    await pantry.joins(*(FeatureRequest("team/j.v1", {"user": "u", "n": n}, NOW) for n in (1, boxed.Int(1), 1.0, True, [1], [1])))
    (batch,) = doubler.batches
    assert [type(row["n"]) for row in batch] == [int, boxed.Int, float, bool, list, list]


async def test_what_a_source_fails_is_its_part_of_its_row() -> None:
    pantry = await shop(onlineExternalParts=[DOUBLER, external_part("nobody", {"user": 7}, {"x": 4})])
    pantry.registry.add("doubler", Doubler())
    rows = await pantry.joins(*(FeatureRequest("team/j.v1", {"user": "u", "n": n}, NOW) for n in (1, 13)))
    assert [row.status for row in rows] == [RowStatus.DEGRADED, RowStatus.DEGRADED]
    assert rows[0].features == {"team_gb_v1_price": 1.5, "ext_doubler_out": 2, "ext_doubler_extra": None}
    assert list(rows[0].part_errors) == ["ext_nobody"]
    assert rows[1].features == {"team_gb_v1_price": 1.5}
    assert sorted(rows[1].part_errors) == ["ext_doubler", "ext_nobody"]


async def test_a_missing_key_of_a_source_is_not_asked_for() -> None:
    pantry = await shop(onlineExternalParts=[DOUBLER])
    doubler = Doubler()
    pantry.registry.add("doubler", doubler)
    row = await pantry.join("team/j.v1", {"user": "u"})
    assert doubler.batches == []
    assert row.status is RowStatus.DEGRADED
    assert isinstance(row.part_errors["ext_doubler"], InvalidRequest)
    assert "'n'" in row.part_errors["ext_doubler"].message


async def test_a_cancelled_call_cancels_its_sources() -> None:
    pantry = await shop(onlineExternalParts=[DOUBLER])
    ended = asyncio.Event()

    async def never(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return []

    pantry.registry.add("doubler", never)
    call = asyncio.create_task(pantry.join("team/j.v1", {"user": "u", "n": 1}))
    await turns(20)
    assert not ended.is_set()
    call.cancel()
    await turns(20)
    assert call.cancelled()
    assert ended.is_set()


async def test_external_values_reach_expressions_in_their_declared_type() -> None:
    pantry = await shop(onlineExternalParts=[CONTEXT], derivations={"half": "ext_contextual_ctx / 2", "*": "*"})
    row = await pantry.join("team/j.v1", {"user": "u", "ctx": boxed.Int(5), "note": "x"})
    assert row.features == {"team_gb_v1_price": 1.5, "ext_contextual_ctx": 5, "ext_contextual_note": "x", "half": 2.5}
    assert type(row.features["ext_contextual_ctx"]) is int
    row = await pantry.join("team/j.v1", {"user": "u", "ctx": "5", "note": "x"})
    assert row.status is RowStatus.ERROR  # the key is cast, the contextual value is not
    assert sorted(chronon_features(row) or {}) == ["derivation_fetch_exception", "derivation_rename_exception"]


# models


def transforms(*, passthrough: list[str] | None = None) -> dict[str, Any]:
    def schema(name: str, **fields: int) -> dict[str, Any]:
        return {"kind": 13, "name": name, "params": [{"name": each, "dataType": {"kind": kind}} for each, kind in fields.items()]}

    model = {
        "metaData": {"name": "team.model"},
        "inputSchema": schema("in", price=6),
        "outputSchema": schema("out", score=6, label=7),
    }
    transform = {
        "model": model,
        "inputMappings": {"price": "team_gb_v1_price"},
        "outputMappings": {"label": "tag"},
        "prefix": "m",
    }
    return {"modelTransforms": {"transforms": [transform], "passthroughFields": passthrough or []}}


class Scorer:
    def __init__(self, failures: int = 0, *, short: bool = False) -> None:
        self.failures = failures
        self.short = short
        self.calls: list[list[Mapping[str, object]]] = []

    async def run(self, model: Model, inputs: Sequence[Mapping[str, Any]], *, deadline: float) -> list[Mapping[str, object]]:
        self.calls.append(list(inputs))
        if len(self.calls) <= self.failures:
            raise ConnectionError("key 42 refused")
        outputs: list[Mapping[str, object]] = [
            {"score": None if each["price"] is None else each["price"] * 10, "unknown": 1} for each in inputs
        ]
        return outputs[: -1 if self.short else None]


async def scored(scorer: ModelBackend | None, *users: str, passthrough: list[str] | None = None) -> list[Any]:
    pantry = await shop(**transforms(passthrough=passthrough))
    pantry.build(models=scorer)
    return await pantry.joins(*(FeatureRequest("team/j.v1", {"user": user}, NOW) for user in users))


async def test_a_models_outputs_and_what_passes_through_are_the_row() -> None:
    scorer = Scorer()
    rows = await scored(scorer, "u", "nobody", "u", passthrough=["team_gb_v1_price", "none"])
    assert scorer.calls == [[{"price": 1.5}, {"price": None}]]
    assert rows[0].features == rows[2].features == {"m_score": 15.0, "m_tag": None, "team_gb_v1_price": 1.5, "none": None}
    assert rows[1].features == {"m_score": None, "m_tag": None, "team_gb_v1_price": None, "none": None}
    assert rows[0].types["m_score"] == types.DOUBLE


async def test_a_model_is_tried_three_times() -> None:
    scorer = Scorer(failures=2)
    (row,) = await scored(scorer, "u")
    assert (len(scorer.calls), row.status, row.features) == (3, RowStatus.OK, {"m_score": 15.0, "m_tag": None})


async def test_a_model_that_fails_leaves_nulls_and_is_named_without_its_text() -> None:
    (row,) = await scored(Scorer(failures=9), "u")
    assert (row.status, row.features) == (RowStatus.DEGRADED, {"m_score": None, "m_tag": None})
    assert isinstance(row.part_errors["team.model"], ExternalFailed)
    assert "42" not in row.part_errors["team.model"].message


async def test_a_model_that_answers_too_few_has_failed() -> None:
    (row,) = await scored(Scorer(short=True), "u")
    assert isinstance(row.part_errors["team.model"], ExternalFailed)


async def test_a_model_whose_outputs_have_no_names_has_failed() -> None:
    class Nameless(Scorer):
        async def run(self, model: Model, inputs: Sequence[Mapping[str, Any]], *, deadline: float) -> list[Any]:
            return [0.5 for _ in inputs]

    (row,) = await scored(Nameless(), "u")
    assert (row.status, row.features) == (RowStatus.DEGRADED, {"m_score": None, "m_tag": None})


async def test_without_a_backend_the_model_is_named_and_other_joins_are_whole() -> None:
    pantry = await shop(**transforms())
    await pantry.upload_join("team/plain.v1", GroupBy(selected=columns(price=types.DOUBLE)))
    rows = await pantry.joins(*(FeatureRequest(name, {"user": "u"}, NOW) for name in ("team/j.v1", "team/plain.v1")))
    assert isinstance(rows[0].part_errors["team.model"], FailedPrecondition)
    assert (rows[1].status, rows[1].features) == (RowStatus.OK, {"team_gb_v1_price": 1.5})

"""What a merge takes, refuses and leaves alone."""

import importlib
from typing import Any

import pytest

from chronoserve.aggregate import sketches
from chronoserve.aggregate.parts import DAY, HOUR
from chronoserve.aggregate.serving import Sawtooth, input_fields
from chronoserve.model.confs import Aggregation, EntitySource, EventSource, GroupBy, MetaData, Operation, Query, TimeUnit, Window
from chronoserve.model.errors import CorruptValue, InvalidRequest, TimeBeforeBatch, Unsupported
from chronoserve.model.types import DOUBLE, LONG, STRING, Field, ListType, MapType, StructType

B = 20_000 * DAY
SELECTED = StructType(
    "Value",
    (
        Field("unused", LONG),
        Field("v", LONG),
        Field("d", DOUBLE),
        Field("k", STRING),
        Field("list", ListType(LONG)),
        Field("map", MapType(STRING, LONG)),
        Field("v", STRING),
    ),
)
WEEK = (Window(7, TimeUnit.DAYS),)


def aggregation(column: str, operation: Operation, **more: Any) -> Aggregation:
    return Aggregation(input_column=column, operation=operation, windows=WEEK, **more)


SUM = aggregation("v", Operation.SUM)
AVERAGE = aggregation("d", Operation.AVERAGE)


def sawtooth(*found: Aggregation, entities: bool = False, tiled: bool = False) -> Sawtooth:
    source = EntitySource(snapshot_table="t", query=Query()) if entities else EventSource(table="t", query=Query())
    meta = MetaData(name="team.gb", custom_json='{"enable_tiling": true}' if tiled else None)
    return Sawtooth(GroupBy(meta_data=meta, sources=(source,), aggregations=found), SELECTED)


def merged(planned: Sawtooth, rows: list[Any], times: list[int], batch: Any = None, *, at: int = B + DAY) -> tuple[Any, ...]:
    loaded = None if batch is None else planned.load_batch(batch)
    return planned.merge(loaded, rows, times, query_ts=at, batch_end=B, batch_max_ts=None)


def test_streamed_columns_are_those_that_aggregations_read_buckets_first() -> None:
    found = (aggregation("d", Operation.SUM, buckets=("k",)), aggregation("gone", Operation.SUM), SUM, AVERAGE)
    assert [(field.name, field.type) for field in input_fields(found, SELECTED)] == [("k", STRING), ("d", DOUBLE), ("v", LONG)]


def test_a_query_before_the_batch_end_is_refused() -> None:
    with pytest.raises(TimeBeforeBatch):
        merged(sawtooth(SUM), [], [], at=B - 1)
    assert merged(sawtooth(SUM), [], [], at=B) == (None,)


def test_no_aggregations_answer_nothing() -> None:
    assert merged(sawtooth(), [()], [B]) == ()
    assert merged(sawtooth(Aggregation(input_column="v", operation=Operation.SUM, windows=())), [(1,)], [B]) == ()


def test_a_column_that_was_not_selected_is_named() -> None:
    with pytest.raises(InvalidRequest, match="gone"):
        sawtooth(aggregation("gone", Operation.SUM))


@pytest.mark.parametrize(
    "found",
    [
        aggregation("map", Operation.SUM, buckets=("k",)),
        aggregation("v", Operation.SUM, buckets=("d",)),
        aggregation("k", Operation.SUM),
        aggregation("list", Operation.APPROX_PERCENTILE),
    ],
)
def test_combinations_that_chronon_refuses(found: Aggregation) -> None:
    with pytest.raises(InvalidRequest):
        sawtooth(found)


def test_element_wise_is_a_vector_here_and_cannot_be_tiled() -> None:
    element_wise = aggregation("list", Operation.SUM, element_wise=True)
    assert merged(sawtooth(element_wise), [([1, 2],), ([10, None, 20],), ([],), (None,)], [B, B, B, B]) == (33,)
    with pytest.raises(Unsupported):
        sawtooth(element_wise, tiled=True)


def test_reversals_are_taken_back_where_they_can_be() -> None:
    planned = sawtooth(SUM, aggregation("v", Operation.MAX), aggregation("v", Operation.LAST), entities=True)
    rows = [(5, B, False), (7, B + 1, False), (7, B + 1, True), (1, B - 6 * DAY, None)]
    assert merged(planned, rows, [B + 2] * 4) == (6, 7, 7)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_zero_taken_back_from_nothing_is_zero(zero: float) -> None:
    planned = sawtooth(aggregation("d", Operation.SUM), entities=True)
    for merge in (planned.merge, planned.merge_plainly):
        (total,) = merge(None, [(zero, B, True)], [B], query_ts=B + 1, batch_end=B, batch_max_ts=None)
        assert str(total) == "0.0"


def test_a_reversal_of_a_map_needs_an_operation_that_can_take_it_back() -> None:
    assert merged(sawtooth(aggregation("map", Operation.SUM), entities=True), [({"a": 2}, B, True)], [B]) == ({"a": -2},)
    with pytest.raises(InvalidRequest):
        merged(sawtooth(aggregation("map", Operation.MAX), SUM, entities=True), [({"a": 2}, 1, B, True)], [B])


def test_rows_that_came_in_any_order_count_the_same() -> None:
    planned = sawtooth(SUM, aggregation("v", Operation.LAST))
    assert merged(planned, [(1,), (2,), (3,)], [B + 2, B, B + 1]) == merged(planned, [(2,), (3,), (1,)], [B, B + 1, B + 2]) == (6, 1)


def test_batch_and_tiles_of_one_group_by() -> None:
    planned = sawtooth(SUM, AVERAGE, tiled=True)
    batch = ((None, None), [[], [(5, (1.5, 1), B - 6 * DAY), (None, (2.5, 1), B - 6 * DAY + HOUR)], []])
    tiles = [((2, (8.0, 2)), False), ((3, None), True)]
    assert merged(planned, tiles, [B, B + HOUR], batch) == (10, 3.0)
    assert merged(planned, tiles, [B, B + HOUR], batch, at=B + DAY + HOUR) == (5, 3.5)


@pytest.mark.parametrize(
    "batch",
    [
        (None, [[], [], []]),
        ((None, None), None),
        ((None, None), [[], []]),
        ((None, None), [[], [(1, None, None)], []]),
        ((None, (None, 3)), [[], [], []]),
        ((None, (1.0, None)), [[], [], []]),
        ((None, None), [[], [(1, (None, 1), B - 6 * DAY), (1, (None, 1), B - 6 * DAY)], []]),
    ],
)
def test_a_batch_ir_with_holes_is_corrupt(batch: Any) -> None:
    with pytest.raises(CorruptValue):
        merged(sawtooth(SUM, AVERAGE), [(1, 2.0)], [B], batch)


def test_a_null_payload_is_no_hole() -> None:
    planned = sawtooth(aggregation("v", Operation.LAST))
    assert merged(planned, [], [], (((B - 1, None),), [[], [], []])) == (None,)


@pytest.mark.parametrize("last", [(None, 1), (None, None)])
def test_a_time_pair_without_its_time_is_corrupt(last: Any) -> None:
    with pytest.raises(CorruptValue):
        merged(sawtooth(aggregation("v", Operation.LAST)), [(1,)], [B], ((last,), [[], [], []]))


def test_a_tile_and_a_change_with_holes_are_corrupt() -> None:
    with pytest.raises(CorruptValue):
        merged(sawtooth(SUM, tiled=True), [(None, False)], [B])
    with pytest.raises(CorruptValue):
        merged(sawtooth(AVERAGE, tiled=True), [(((1.0, None),), False), (((1.0, 1),), False)], [B, B])
    with pytest.raises(CorruptValue):
        merged(sawtooth(SUM, entities=True), [(1, None, False)], [B])


def test_a_programming_error_is_not_called_a_corrupt_value() -> None:
    with pytest.raises(TypeError):
        merged(sawtooth(SUM), [("text",)], [B])


def test_hops_out_of_order_are_merged_in_theirs() -> None:
    hops = [(2, B - 6 * DAY + HOUR), (1, B - 6 * DAY), (4, B - 8 * DAY)]
    assert merged(sawtooth(SUM), [(8,)], [B], ((None,), [[], hops, []]), at=B + HOUR) == (11,)


def test_sketches_without_their_library_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    sketches._datasketches.cache_clear()
    try:
        for operation in (Operation.APPROX_UNIQUE_COUNT, Operation.APPROX_PERCENTILE):
            with pytest.raises(Unsupported, match=r"pip install 'chronoserve\[sketches\]'"):
                sawtooth(aggregation("v", operation, arg_map={}))
        assert merged(sawtooth(SUM), [(1,)], [B]) == (1,)
    finally:
        sketches._datasketches.cache_clear()

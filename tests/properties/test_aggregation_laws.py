"""What holds of aggregations whatever the data: splits do not matter, merges associate, stored IRs are whole."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.aggregate import parts
from chronoserve.aggregate.batch_ir import BatchPlan
from chronoserve.aggregate.daily import DailyPlan, EntityPlan
from chronoserve.aggregate.parts import DAY, floor, tail_hop
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.codec import compiled
from chronoserve.model.confs import UNBOUNDED, Operation, TimeUnit
from tests.properties.aggregated import BATCH_END, Case, cases
from tests.unit.aggregate.recorded import same, unordered

FOLDS_EXACTLY = (
    Operation.COUNT,
    Operation.MIN,
    Operation.MAX,
    Operation.FIRST,
    Operation.LAST,
    Operation.UNIQUE_COUNT,
    Operation.APPROX_UNIQUE_COUNT,
    Operation.APPROX_PERCENTILE,
    Operation.BOUNDED_UNIQUE_COUNT,
)
ASSOCIATIVE = (*FOLDS_EXACTLY, Operation.HISTOGRAM)
"""Whose result is the same however values are grouped. Sums of floats, moments and heaps depend on it, as on the JVM."""

Stamped = list[tuple[tuple[Any, ...], int]]


UNCUT: dict[Operation, dict[str, str] | None] = {Operation.HISTOGRAM: None, Operation.APPROX_HISTOGRAM_K: {"k": "100"}}


def uncut(case: Case) -> Case:
    """Histograms that keep all: which entries of a tie remain otherwise depends on the history of Java's tables."""
    return replace(case, found=tuple(replace(a, arg_map=UNCUT.get(a.operation, a.arg_map)) for a in case.found))


def folded(aggregator: RowAggregator, rows: Stamped) -> list[Any]:
    ir = aggregator.init()
    for row, ts in rows:
        aggregator.update(ir, row, ts)
    return ir


def in_time(rows: Stamped) -> Stamped:
    """Sorted, and no two at one time: FIRST and LAST have no ties. On no boundary, where uploads leave a row out (§22.2)."""
    return [(row, ts - ts % 1000 + 1 + i) for i, (row, ts) in enumerate(sorted(rows, key=lambda stamped: stamped[1]))]


def naive(case: Case, rows: Stamped) -> tuple[Any, ...]:
    """Each window folded by itself, from all rows that ever were."""
    sawtooth = case.sawtooth()
    outputs: list[Any] = []
    for part in parts.windowed(case.found):
        window = part.window or UNBOUNDED
        aggregator = RowAggregator([part], sawtooth.row_type)
        oldest = floor(case.query_ts - window.millis, tail_hop(window))
        ir = folded(aggregator, [(row, ts) for row, ts in rows if oldest <= ts < case.query_ts])
        outputs += aggregator.finalize(aggregator.clone(ir))
    return tuple(outputs)


def decoded(plan: BatchPlan, stored: tuple[Any, ...]) -> tuple[Any, ...]:
    return compiled.decoder(plan.type).decode(compiled.encoder(plan.type).encode(stored))


@pytest.mark.parametrize("operation", FOLDS_EXACTLY, ids=lambda operation: operation.name)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_where_the_batch_ends_does_not_matter(operation: Operation, data: st.DataObject) -> None:
    """Any day within the tail buffer before the query may have been the last one uploaded."""
    case = data.draw(cases([operation], 2))
    rows = in_time(case.history + case.stream)
    query_ts = case.data.randrange(BATCH_END, BATCH_END + 2 * DAY)
    case = replace(case, query_ts=query_ts)
    want = naive(case, rows)
    sawtooth = case.sawtooth()
    plan = BatchPlan("team_gb", case.found, sawtooth.row_type)
    for batch_end in (floor(query_ts, DAY), floor(query_ts, DAY) - DAY):
        builder = plan.builder(batch_end)
        builder.add_all([row for row, _ in rows], [ts for _, ts in rows])
        batch = sawtooth.load_batch(decoded(plan, builder.stored()))
        stream = [(row, ts) for row, ts in rows if ts >= batch_end]
        got = sawtooth.merge(
            batch, [row for row, _ in stream], [ts for _, ts in stream], query_ts=query_ts, batch_end=batch_end, batch_max_ts=batch_end
        )
        assert same(got, want), (batch_end, got, want)


@pytest.mark.parametrize("operation", ASSOCIATIVE, ids=lambda operation: operation.name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_merges_associate(operation: Operation, data: st.DataObject) -> None:
    case = uncut(data.draw(cases([operation], 2)))
    aggregator = RowAggregator(parts.base(case.found), case.sawtooth().row_type)
    rows = in_time(case.history + case.stream)
    third = len(rows) // 3

    def part(at: int) -> list[Any]:
        return folded(aggregator, rows[at * third : (at + 1) * third])

    left = aggregator.merge(aggregator.merge(part(0), part(1)), part(2))
    right = aggregator.merge(part(0), aggregator.merge(part(1), part(2)))
    assert same(outputs(aggregator, left), outputs(aggregator, right))


def outputs(aggregator: RowAggregator, ir: list[Any]) -> Any:
    return unordered(list(aggregator.finalize(aggregator.clone(ir))))


@settings(max_examples=300, deadline=None)
@given(cases())
def test_an_ir_survives_being_stored(case: Case) -> None:
    """Stored, encoded, decoded, loaded: it answers the same, and the same after another merge; nothing shares state."""
    case = uncut(case)
    aggregator = RowAggregator(parts.base(case.found), case.sawtooth().row_type)
    first, second = folded(aggregator, case.history), folded(aggregator, case.stream)
    codec = compiled.encoder(aggregator.ir_type), compiled.decoder(aggregator.ir_type)

    def kept(ir: list[Any]) -> list[Any]:
        return aggregator.loaded(codec[1].decode(codec[0].encode(aggregator.stored(ir))))

    assert same(outputs(aggregator, kept(first)), outputs(aggregator, first))
    merged = aggregator.merge(kept(first), kept(second))
    before = outputs(aggregator, second)
    assert same(outputs(aggregator, merged), outputs(aggregator, aggregator.merge(aggregator.clone(first), second)))
    assert same(outputs(aggregator, second), before)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_batch_ir_is_the_same_row_by_row_and_all_at_once(case: Case) -> None:
    plan = BatchPlan("team_gb", case.found, case.sawtooth().row_type)
    one_by_one, at_once = plan.builder(BATCH_END), plan.builder(BATCH_END)
    for row, ts in case.history:
        one_by_one.add(row, ts)
    at_once.add_all([row for row, _ in case.history], [ts for _, ts in case.history])
    assert same(unordered_irs(one_by_one.stored()), unordered_irs(at_once.stored()))


def unordered_irs(stored: Any) -> Any:
    return tuple(unordered_irs(item) for item in stored) if isinstance(stored, tuple) else unordered(stored)


@settings(max_examples=150, deadline=None)
@given(cases(ASSOCIATIVE))
def test_batch_irs_of_parts_merge_into_that_of_the_whole(case: Case) -> None:
    case = uncut(case)
    sawtooth = case.sawtooth()
    plan = BatchPlan("team_gb", case.found, sawtooth.row_type)
    rows = in_time(case.history)
    whole, left, right = (plan.builder(BATCH_END) for _ in range(3))
    for row, ts in rows:
        whole.add(row, ts)
        (left if case.data.random() < 0.5 else right).add(row, ts)
    untouched = right.stored()
    left.merge(right)
    assert same(unordered_irs(right.stored()), unordered_irs(untouched))
    merged, want = (
        sawtooth.merge(
            sawtooth.load_batch(decoded(plan, builder.stored())), [], [], query_ts=BATCH_END, batch_end=BATCH_END, batch_max_ts=None
        )
        for builder in (left, whole)
    )
    assert same(merged, want)


def in_days(case: Case) -> Case:
    windows = tuple(
        replace(a, windows=a.windows and tuple(window for window in a.windows if window.time_unit is TimeUnit.DAYS)) for a in case.found
    )
    return replace(case, found=windows)


@settings(max_examples=150, deadline=None)
@given(cases(FOLDS_EXACTLY))
def test_a_snapshot_of_events_is_a_fold_over_its_days(case: Case) -> None:
    case = in_days(case)
    rows = in_time(case.history + case.stream)
    row_type = case.sawtooth().row_type
    plan = DailyPlan(case.found, row_type)
    snapshot = plan.snapshot(BATCH_END)
    half = len(rows) // 2
    snapshot.add_all([row for row, _ in rows[:half]], [ts for _, ts in rows[:half]])
    later = plan.snapshot(BATCH_END)
    later.add_all([row for row, _ in rows[half:]], [ts for _, ts in rows[half:]])
    for day, stored in later.days():
        snapshot.add_day(day, stored)
    want: list[Any] = []
    for part in parts.windowed(case.found):
        aggregator = RowAggregator([part], row_type)
        window = part.window or UNBOUNDED
        inside = [(row, ts) for row, ts in rows if floor(BATCH_END - window.millis, DAY) <= ts < BATCH_END]
        want += aggregator.finalize(aggregator.clone(folded(aggregator, inside)))
    assert same(snapshot.outputs(), tuple(want) if any(value is not None for value in want) else None)


@settings(max_examples=100, deadline=None)
@given(cases(FOLDS_EXACTLY))
def test_a_snapshot_of_entities_is_a_fold_over_its_rows(case: Case) -> None:
    plan = EntityPlan(case.found, case.sawtooth().row_type)
    rows = in_time(case.history)
    got = plan.outputs([row for row, _ in rows], [ts for _, ts in rows], BATCH_END)
    want: list[Any] = []
    for part in parts.unpacked(case.found):
        aggregator = RowAggregator([part], plan.aggregator.input_type)
        window = part.window or UNBOUNDED
        inside = [(row, ts) for row, ts in rows if not plan.timed or BATCH_END - window.millis <= ts < BATCH_END]
        want += aggregator.finalize(folded(aggregator, inside))
    assert same(got, tuple(want))

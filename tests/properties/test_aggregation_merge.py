"""The compiled merge answers what the plain one does, bit for bit, whatever comes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.aggregate import parts
from chronoserve.aggregate.parts import DAY, HOUR
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.serving import Sawtooth
from chronoserve.model.confs import Operation
from chronoserve.model.errors import InvalidRequest
from tests.properties.aggregated import BATCH_END, Case, cases
from tests.unit.aggregate.recorded import same


def outcome(merge: Any, *arguments: Any, **named: Any) -> Any:
    try:
        return merge(*arguments, **named)
    except InvalidRequest:
        return InvalidRequest


def agree(case: Case, sawtooth: Sawtooth, rows: list[Any], times: list[int], batch_max_ts: int | None = None) -> None:
    batch = sawtooth.load_batch(case.stored(sawtooth)) if case.data.random() < 0.8 else None
    named = {"query_ts": case.query_ts, "batch_end": BATCH_END, "batch_max_ts": batch_max_ts}
    want = outcome(sawtooth.merge_plainly, batch, rows, times, **named)
    for _ in range(2):
        got = outcome(sawtooth.merge, batch, rows, times, **named)
        assert same(got, want), (got, want)


each_operation = pytest.mark.parametrize("operation", sorted(Operation), ids=lambda operation: operation.name)


@each_operation
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_events(operation: Operation, data: st.DataObject) -> None:
    case = data.draw(cases([operation], 2))
    case = case.in_order() if case.data.random() < 0.9 else case
    sawtooth = case.sawtooth()
    batch_max_ts = case.data.choice([None, BATCH_END - 1, BATCH_END, BATCH_END + HOUR])
    agree(case, sawtooth, [row for row, _ in case.stream], [ts for _, ts in case.stream], batch_max_ts)


@each_operation
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changes_of_entities(operation: Operation, data: st.DataObject) -> None:
    """The row's own time may be any; that of the store is when it changed."""
    case = data.draw(cases([operation], 2, entities=True))
    sawtooth = case.sawtooth(entities=True)
    chance = case.data
    own = [ts - chance.choice((0, 0, 1, HOUR, 5 * DAY)) for _, ts in case.stream]
    own = sorted(own) if chance.random() < 0.5 else own
    taken_back = chance.choice(((False, None), (False, False, True)))
    rows = [(*row, ts, chance.choice(taken_back)) for (row, _), ts in zip(case.stream, own, strict=True)]
    agree(case, sawtooth, rows, [ts for _, ts in case.stream])


@each_operation
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_tiles(operation: Operation, data: st.DataObject) -> None:
    case = data.draw(cases([operation], 2))
    case = case.in_order() if case.data.random() < 0.9 else case
    sawtooth = case.sawtooth(tiled=True)
    base = RowAggregator(parts.base(case.found), sawtooth.row_type)
    tiles, times = [], []
    size = case.data.randrange(1, 4)
    for at in range(0, len(case.stream), size):
        ir = base.init()
        for row, ts in case.stream[at : at + size]:
            base.update(ir, row, ts)
            last = ts
        tiles.append((base.stored(ir), False))
        times.append(last)
    agree(case, sawtooth, tiles, times)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_batch_stays_as_it_is(case: Case) -> None:
    case = case.in_order()
    sawtooth = case.sawtooth()
    batch, kept = (sawtooth.load_batch(case.stored(sawtooth)) for _ in range(2))
    rows, times = [row for row, _ in case.stream], [ts for _, ts in case.stream]
    for merge in (sawtooth.merge, sawtooth.merge_plainly):
        merge(batch, rows, times, query_ts=case.query_ts, batch_end=BATCH_END, batch_max_ts=None)
        assert same(batch.collapsed, kept.collapsed)
        assert same(batch.hops, kept.hops)

"""Batch IRs of many keys at once are those of each key by itself, to the byte; the same of Avro records of columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chronoserve.aggregate.batch_columns import KeyedRows, all_kernels
from chronoserve.aggregate.batch_ir import BatchPlan
from chronoserve.codec import columnar
from chronoserve.codec.compiled import encoder
from chronoserve.codec.tagged import alike
from chronoserve.model.confs import Aggregation, Operation, TimeUnit, Window
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DOUBLE, FLOAT, INT, LONG, STRING, DataType, Field, ListType, StructType
from chronoserve.upload import arrow
from chronoserve.upload.at_once import AtOnce, encoded_rows
from tests.properties.aggregated import BATCH_END, Case, cases
from tests.properties.test_codec_avro import PRIMITIVES, structs, values

WITH_KERNELS = (
    Operation.COUNT,
    Operation.SUM,
    Operation.AVERAGE,
    Operation.VARIANCE,
    Operation.MIN,
    Operation.MAX,
    Operation.FIRST,
    Operation.LAST,
)
Stamped = Sequence[tuple[tuple[Any, ...], int]]


def at_once(plan: BatchPlan, keys: Sequence[Stamped]) -> list[tuple[bytes, Sequence[Any]]]:
    stamped = [each for rows in keys for each in rows]
    rows = [row for row, _ in stamped]
    columns = [arrow.array([row[i] for row in rows], field.type) for i, field in enumerate(plan.base.input_type.fields)]
    bounds = np.cumsum([0, *map(len, keys)])
    given_rows = KeyedRows(columns, np.array([ts for _, ts in stamped], np.int64), bounds, lambda: rows)
    return [(data, read()) for data, read in AtOnce(plan, BATCH_END).encoded(given_rows)]


def by_themselves(plan: BatchPlan, keys: Sequence[Stamped]) -> list[tuple[bytes, Sequence[Any]]]:
    encode = encoder(plan.type).encode
    found: list[tuple[bytes, Sequence[Any]]] = []
    for rows in keys:
        builder = plan.builder(BATCH_END)
        for row, ts in rows:
            builder.add(row, ts)
        found.append((encode(builder.stored()), builder.stored()))
    return found


def of_keys(case: Case) -> list[Stamped]:
    rows = case.history
    keys: list[Stamped] = []
    while rows:
        some = case.data.randrange(1, 12)
        keys.append(rows[:some])
        rows = rows[some:]
    return keys


@settings(max_examples=150, deadline=None)
@given(cases(WITH_KERNELS))
def test_operations_with_kernels_give_the_bytes_that_their_aggregators_give(case: Case) -> None:
    keys = of_keys(case)
    plan = BatchPlan("team_gb", case.found, case.sawtooth().row_type)
    for (data, value), (expected, whole) in zip(at_once(plan, keys), by_themselves(plan, keys), strict=True):
        assert data == expected
        assert alike(value, whole)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_all_operations_may_be_columns_of_one_group_by(case: Case) -> None:
    keys = of_keys(case)
    plan = BatchPlan("team_gb", case.found, case.sawtooth().row_type)
    assert [data for data, _ in at_once(plan, keys)] == [data for data, _ in by_themselves(plan, keys)]


ROW = StructType("Row", (Field("d", DOUBLE), Field("f", FLOAT), Field("i", INT), Field("s", STRING), Field("l", LONG)))


@pytest.mark.parametrize("operation", WITH_KERNELS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("name", ["d", "f", "i", "l"])
def test_long_stretches_are_folded_from_left_to_right(operation: Operation, name: str) -> None:
    """Long enough for pairwise sums and vector instructions; stretches of all lengths; values whose sum hangs on their order."""
    chance = np.random.default_rng(11)
    windows = tuple(Window(days, TimeUnit.DAYS) for days in (1, 30))
    plan = BatchPlan("gb", [Aggregation(input_column=name, operation=operation, windows=windows)], ROW)
    assert all_kernels(plan)

    def rows(count: int) -> list[tuple[tuple[Any, ...], int]]:
        doubles = chance.normal(0, 1, count) * 10.0 ** chance.integers(-9, 9, count)
        times = BATCH_END - chance.integers(1, 31 * 86_400_000, count)
        longs = chance.integers(-(1 << 62), 1 << 62, count)
        whole = [(float(d), float(np.float32(d)), int(n) >> 33, str(n), int(n)) for d, n in zip(doubles, longs, strict=True)]
        return [(tuple(None if chance.random() < 0.1 else v for v in row), int(ts)) for row, ts in zip(whole, times, strict=True)]

    keys = [rows(count) for count in (3000, 1, 700, 41, 2, *range(60, 90))]
    assert [data for data, _ in at_once(plan, keys)] == [data for data, _ in by_themselves(plan, keys)]


def test_infinities_of_many_keys_are_folded_without_a_warning() -> None:
    """Doubles that are not finite are no news to Java; NumPy would tell the terminal."""
    plan = BatchPlan("gb", [Aggregation(input_column="d", operation=each) for each in (Operation.VARIANCE, Operation.SUM)], ROW)
    values = (float("inf"), float("-inf"), 1e308, -1e308, 1e308)
    keys = [[((value, None, None, None, None), BATCH_END - 1) for value in values[at:] + values[:at]] for at in range(5)] * 4
    assert [data for data, _ in at_once(plan, keys)] == [data for data, _ in by_themselves(plan, keys)]


SIMPLE: st.SearchStrategy[DataType] = st.recursive(
    PRIMITIVES, lambda inside: st.builds(ListType, inside) | structs(inside), max_leaves=8
).filter(columnar.can_encode)


def numbered(data_type: Any) -> Any:
    """Its fields with names of their own, since the test's rows become Arrow by name."""
    match data_type:
        case ListType(element):
            return ListType(numbered(element))
        case StructType(name, fields):
            return StructType(name, tuple(Field(f"f{at}", numbered(field.type)) for at, field in enumerate(fields)))
        case _:
            return data_type


@settings(max_examples=200, deadline=None)
@given(st.data(), structs(SIMPLE), st.integers(0, 3))
def test_records_of_columns_are_encoded_as_rows_are(data: st.DataObject, record: StructType, cut: int) -> None:
    assume(columnar.can_encode(record))
    record = numbered(record)
    rows = data.draw(st.lists(values(record), max_size=6))
    array = arrow.array(rows, record).slice(cut)
    expected = [encoder(record).encode(row) for row in rows[cut:]]
    assert [bytes_ for bytes_, _ in encoded_rows(record, array)] == expected
    assert all(alike(read(), row) for (_, read), row in zip(encoded_rows(record, array), rows[cut:], strict=True))


def test_what_has_no_columns_is_encoded_row_by_row() -> None:
    assert not columnar.can_encode(StructType("R", ()))
    assert pa.types.is_large_binary(columnar.encoded(ROW, arrow.array([], ROW)).type)


@pytest.mark.parametrize("element", [STRING, LONG, StructType("E", (Field("x", LONG),))], ids=["text", "number", "record"])
def test_a_list_with_a_null_is_refused_and_not_taken_for_one_with_an_empty_element(element: DataType) -> None:
    """Two keys would have the same bytes."""
    record = StructType("Key", (Field("k", ListType(element)),))
    with pytest.raises(InvalidRequest, match="null"):
        encoder(record).encode(([None],))
    with pytest.raises(InvalidRequest, match="null"):
        columnar.encoded(record, arrow.array([([None],)], record))

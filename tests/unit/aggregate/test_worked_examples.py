"""The worked examples of spec/aggregation-and-codecs.md §5, §8, §9 and §21, which a JVM computed."""

from typing import Any

import pytest

from chronoserve.aggregate import parts
from chronoserve.aggregate.batch_ir import BatchPlan
from chronoserve.aggregate.parts import DAY, HOUR
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.serving import Sawtooth
from chronoserve.codec import compiled
from chronoserve.model.confs import Aggregation, EventSource, GroupBy, MetaData, Operation, Query, TimeUnit, Window
from chronoserve.model.types import BINARY, DOUBLE, FLOAT, INT, LONG, STRING, DataType, Field, ListType, MapType, StructType

B = 20_000 * DAY
DAYS_30, DAYS_7, HOURS_6, DAYS_1, DAYS_3 = (
    Window(30, TimeUnit.DAYS),
    Window(7, TimeUnit.DAYS),
    Window(6, TimeUnit.HOURS),
    Window(1, TimeUnit.DAYS),
    Window(3, TimeUnit.DAYS),
)
SELECTED = StructType("Value", (Field("num", LONG), Field("cat", STRING), Field("dbl", DOUBLE)))
SUM_AND_COUNT = (
    Aggregation(input_column="num", operation=Operation.SUM, windows=(DAYS_30, DAYS_7, HOURS_6, DAYS_1)),
    Aggregation(input_column="num", operation=Operation.COUNT),
)
WHOLE = (
    *SUM_AND_COUNT,
    Aggregation(input_column="cat", operation=Operation.LAST, windows=(DAYS_3,)),
    Aggregation(input_column="dbl", operation=Operation.AVERAGE, windows=(DAYS_7,), buckets=("cat",)),
    Aggregation(input_column="cat", operation=Operation.LAST_K, arg_map={"k": "2"}, windows=(DAYS_30,)),
)
AGES = (30 * DAY, 30 * DAY - 1, 28 * DAY, 28 * DAY + 1, 7 * DAY, 7 * DAY - 1, 5 * DAY, 6 * HOUR, 1, 0)
ROWS = [((1 << i, category, 1.5), B - age) for i, (age, category) in enumerate(zip(AGES, "abacaaddez", strict=True))]
BATCH = (
    "0202e807028007000002120202feff9bcdca64020265020402640200000000000008400204026502000000000000f83f02020002040280a4cfb8ca6402"
    "026402feff9bcdca6402026500020604020400000002020282e0a5a5b764020262000280e0a5a5b7640210000000020202febf8bcab864020263000280"
    "d0d8f7b7640006024000000202026102000000000000f83f020200000280f0b78cc664028002000000000280a4cfb8ca64028004000000000280c6e4c9"
    "ca6400020280040000000002c0b0f7ccca640000"
)


def group_by(aggregations: tuple[Aggregation, ...]) -> GroupBy:
    source = EventSource(table="t", query=Query(), topic="topic")
    return GroupBy(meta_data=MetaData(name="team.gb"), sources=(source,), key_columns=("k",), aggregations=aggregations)


def uploaded(aggregations: tuple[Aggregation, ...]) -> tuple[Sawtooth, bytes]:
    sawtooth = Sawtooth(group_by(aggregations), SELECTED)
    names = [SELECTED.names.index(name) for name in sawtooth.row_type.names]
    builder = BatchPlan("team_gb", aggregations, sawtooth.row_type).builder(B)
    for row, ts in ROWS:
        builder.add(tuple(row[i] for i in names), ts)
    return sawtooth, compiled.encoder(sawtooth.batch_type).encode(builder.stored())


def test_the_batch_ir_of_the_specification_byte_by_byte() -> None:
    sawtooth, encoded = uploaded(WHOLE)
    assert encoded.hex() == BATCH
    batch = sawtooth.load_batch(compiled.decoder(sawtooth.batch_type).decode(encoded))
    answer = sawtooth.merge(batch, [], [], query_ts=B, batch_end=B, batch_max_ts=None)
    assert answer == (510, 480, 256, 384, 9, "e", {"a": 1.5, "d": 1.5, "e": 1.5}, ["e", "d"])


@pytest.mark.parametrize(
    ("query_ts", "stream", "batch_max_ts", "features"),
    [
        (B, [], None, (510, 480, 256, 384, 9)),
        (B + 1, [(1000, B)], None, (1510, 1480, 1256, 1384, 10)),
        (B + 300_000, [(4000, B - 1), (2000, B + 299_999), (1000, B + 300_000)], None, (2510, 2480, 2256, 2384, 10)),
        (B + HOUR + 1, [], None, (510, 448, 256, 384, 9)),
        (B + 25 * HOUR, [(1000, B + 20 * HOUR), (3000, B + 20 * HOUR)], None, (4508, 4448, 4000, 4000, 11)),
        (B + 24 * HOUR + 1, [(1000, B + 1), (2000, B + 24 * HOUR)], B + 24 * HOUR, (2508, 2448, 2000, 2000, 10)),
    ],
)
def test_lambda_aggregation_of_the_specification(
    query_ts: int, stream: list[tuple[int, int]], batch_max_ts: int | None, features: tuple[int, ...]
) -> None:
    sawtooth, encoded = uploaded(SUM_AND_COUNT)
    batch = sawtooth.load_batch(compiled.decoder(sawtooth.batch_type).decode(encoded))
    rows, times = [(value,) for value, _ in stream], [ts for _, ts in stream]
    for merge in (sawtooth.merge, sawtooth.merge_plainly):
        assert merge(batch, rows, times, query_ts=query_ts, batch_end=B, batch_max_ts=batch_max_ts) == features


def aggregated(
    operation: Operation, data_type: DataType, values: list[Any], args: dict[str, str] | None = None
) -> tuple[RowAggregator, list[Any]]:
    aggregation = Aggregation(input_column="v", operation=operation, arg_map=args)
    aggregator = RowAggregator(parts.unpacked([aggregation]), StructType("Row", (Field("v", data_type),)))
    ir = aggregator.init()
    for ts, value in enumerate(values):
        aggregator.update(ir, (value,), ts)
    return aggregator, ir


@pytest.mark.parametrize(
    ("operation", "data_type", "values", "args", "stored"),
    [
        (Operation.AVERAGE, FLOAT, [1.100000023841858, 2.200000047683716], None, "02020000007066660a400204"),
        (Operation.VARIANCE, INT, [1, 2, 4, 8], None, "020208020000000000000e40020000000000c03c40"),
        (Operation.SKEW, INT, [1, 2, 4, 8], None, "020a00000000000010400000000000000e40ffffffffffbf3c40fdffffffff4f4940ffffffff3f8d784000"),
        (Operation.TOP_K, LONG, [5, 1, 9, 7, 7, 3], {"k": "3"}, "02060e0e1200"),
        (Operation.LAST, ListType(LONG), [[1, 2]], None, "0202000204020400"),
        (Operation.SUM, MapType(STRING, LONG), [{"a": 1, "b": None}], None, "020202610200"),
        (Operation.BOUNDED_UNIQUE_COUNT, STRING, ["abc", "x", "y"], {"k": "2"}, "0202185f5f53454e54494e454c5f5f00"),
        (Operation.APPROX_UNIQUE_COUNT, INT, [-1, 2, 3], None, "023004011008000acc930300000002000000ac37ca0900000000"),
        (Operation.APPROX_UNIQUE_COUNT, LONG, [-50], None, None),
        (Operation.APPROX_PERCENTILE, FLOAT, [1.0], {}, "021802020f04800008000000803f"),
    ],
)
def test_stored_irs(operation: Operation, data_type: DataType, values: list[Any], args: dict[str, str] | None, stored: str | None) -> None:
    aggregator, ir = aggregated(operation, data_type, values, args)
    if stored is None:
        raw = "08011008000ecc9301000000010000000000000000f06f40000000000000f03f2a000000"
        assert aggregator.stored(ir) == (bytes.fromhex(raw),)
        return
    encoded = compiled.encoder(aggregator.ir_type).encode(aggregator.stored(aggregator.clone(ir)))
    assert encoded.hex() == stored


@pytest.mark.parametrize(
    ("operation", "data_type", "values", "args", "output"),
    [
        (Operation.SUM, LONG, [(1 << 63) - 1, 1], None, -(1 << 63)),
        (Operation.VARIANCE, INT, [1, 2, 4, 8], None, 7.1875),
        (Operation.SKEW, INT, [1, 2, 4, 8], None, 0.6568077344996991),
        (Operation.KURTOSIS, INT, [1, 2, 4, 8], None, -1.098979206049149),
        (Operation.SUM, FLOAT, [1.100000023841858, 2.200000047683716], None, 3.3000000715255737),
        (Operation.TOP_K, LONG, [5, 1, 9, 7, 7, 3], {"k": "3"}, [9, 7, 7]),
        (Operation.LAST_K, STRING, ["b", "a", "Z", "c", "y"], {"k": "3"}, ["y", "c", "Z"]),
        (Operation.UNIQUE_COUNT, BINARY, [b"a", b"a"], None, 2),
        (Operation.BOUNDED_UNIQUE_COUNT, STRING, ["abc", "x", "y"], {"k": "2"}, 2),
        (Operation.HISTOGRAM, STRING, ["a", "b", "c", "d", "d"], {"k": "2"}, {"a": 1, "b": 1}),
        (Operation.APPROX_PERCENTILE, FLOAT, [1.0, 2.0, 3.0, 4.0], {"percentiles": "[0.5, 0.9]"}, [3.0, 4.0]),
        (Operation.APPROX_PERCENTILE, FLOAT, [float("nan")], {}, None),
        (Operation.MAX, DOUBLE, [1.0, float("nan"), 2.0], None, None),
        (Operation.SUM, MapType(STRING, LONG), [{}], None, {}),
        (Operation.MIN, STRING, ["\uffff", "\U0001f600"], None, "\U0001f600"),
    ],
)
def test_outputs(operation: Operation, data_type: DataType, values: list[Any], args: dict[str, str] | None, output: Any) -> None:
    aggregator, ir = aggregated(operation, data_type, values, args)
    assert aggregator.finalize(ir) == (output,)


def test_values_taken_back_before_they_came() -> None:
    """§5.1: a deletion from nothing is the negative element; a count that returns to zero is zero, not null."""
    columns = (
        Aggregation(input_column="v", operation=Operation.SUM),
        Aggregation(input_column="v", operation=Operation.COUNT),
        Aggregation(input_column="v", operation=Operation.MAX),
        Aggregation(input_column="s", operation=Operation.HISTOGRAM),
        Aggregation(input_column="v", operation=Operation.AVERAGE),
    )
    aggregator = RowAggregator(parts.unpacked(columns), StructType("Row", (Field("v", LONG), Field("s", STRING))))
    ir = aggregator.init()
    aggregator.delete(ir, (5, "a"), 1)
    assert aggregator.finalize(ir) == (-5, -1, None, {"a": -1}, 5.0)
    aggregator.update(ir, (7, "b"), 2)
    assert aggregator.finalize(ir) == (2, 0, 7, {"a": -1, "b": 1}, None)


def test_rows_at_one_time() -> None:
    """The earlier one is last; of the two last, the heap that the upload left decides."""
    sawtooth, encoded = uploaded((WHOLE[2], WHOLE[4]))
    batch = sawtooth.load_batch(compiled.decoder(sawtooth.batch_type).decode(encoded))
    answer = sawtooth.merge(batch, [("q",), ("q2",)], [B, B], query_ts=B + 1, batch_end=B, batch_max_ts=None)
    assert answer == ("q", ["q2", "q"])

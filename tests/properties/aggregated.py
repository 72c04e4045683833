"""Group bys, rows and uploads for the properties of the aggregate room."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

from hypothesis import strategies as st

from chronoserve.aggregate.batch_ir import BatchPlan
from chronoserve.aggregate.parts import DAY, HOUR
from chronoserve.aggregate.serving import Sawtooth, input_fields
from chronoserve.model.confs import (
    Accuracy,
    Aggregation,
    EntitySource,
    EventSource,
    GroupBy,
    MetaData,
    Operation,
    Query,
    TimeUnit,
    Window,
)
from chronoserve.model.java_numbers import as_float32
from chronoserve.model.types import BINARY, BOOLEAN, DOUBLE, FLOAT, INT, LONG, STRING, DataType, Field, ListType, MapType, StructType

BATCH_END = 20_000 * DAY
ROW = StructType(
    "Row",
    (
        Field("bucket", STRING),
        Field("i", INT),
        Field("l", LONG),
        Field("f", FLOAT),
        Field("d", DOUBLE),
        Field("s", STRING),
        Field("b", BINARY),
        Field("t", BOOLEAN),
        Field("ll", ListType(LONG)),
        Field("ls", ListType(STRING)),
        Field("ml", MapType(STRING, LONG)),
        Field("ms", MapType(STRING, STRING)),
        Field("md", MapType(STRING, DOUBLE)),
    ),
)

NUMERIC = frozenset({INT, LONG, FLOAT, DOUBLE})
ORDERED = NUMERIC | {STRING}
HASHED = ORDERED | {BINARY}
OFTEN = ("d", "s")
ANY: frozenset[DataType] = HASHED | {BOOLEAN}
INPUTS: dict[Operation, frozenset[DataType]] = {
    Operation.COUNT: ANY,
    Operation.SUM: NUMERIC | {BOOLEAN},
    Operation.AVERAGE: NUMERIC,
    Operation.VARIANCE: NUMERIC,
    Operation.SKEW: NUMERIC,
    Operation.KURTOSIS: NUMERIC,
    Operation.MIN: ORDERED,
    Operation.MAX: ORDERED,
    Operation.FIRST: ANY,
    Operation.LAST: ANY,
    Operation.FIRST_K: ANY,
    Operation.LAST_K: ANY,
    Operation.TOP_K: ORDERED,
    Operation.BOTTOM_K: ORDERED,
    Operation.UNIQUE_COUNT: HASHED,
    Operation.BOUNDED_UNIQUE_COUNT: HASHED,
    Operation.APPROX_UNIQUE_COUNT: HASHED,
    Operation.APPROX_PERCENTILE: NUMERIC,
    Operation.HISTOGRAM: frozenset({STRING}),
    Operation.APPROX_HISTOGRAM_K: ORDERED,
}
TIMED = frozenset({Operation.FIRST, Operation.LAST, Operation.FIRST_K, Operation.LAST_K})
ARGS: dict[Operation, tuple[dict[str, str] | None, ...]] = {
    Operation.FIRST_K: ({"k": "1"}, {"k": "3"}),
    Operation.LAST_K: ({"k": "1"}, {"k": "4"}),
    Operation.TOP_K: ({"k": "2"}, {"k": "5"}),
    Operation.BOTTOM_K: ({"k": "1"}, {"k": "3"}),
    Operation.BOUNDED_UNIQUE_COUNT: (None, {"k": "3"}),
    Operation.APPROX_UNIQUE_COUNT: (None, {"k": "11"}),
    Operation.APPROX_PERCENTILE: ({}, {"percentiles": "[0, 0.25, 0.9, 1.0]"}),
    Operation.HISTOGRAM: (None, {"k": "2"}),
    Operation.APPROX_HISTOGRAM_K: (None, {"k": "2"}),
}
HOURS, DAYS = TimeUnit.HOURS, TimeUnit.DAYS
WINDOWS = (*(Window(hours, HOURS) for hours in (1, 5, 13, 24)), *(Window(days, DAYS) for days in (1, 2, 3, 7, 30)))


def element(data_type: DataType) -> DataType:
    match data_type:
        case ListType(inside) | MapType(_, inside):
            return inside
        case _:
            return data_type


def allowed(operation: Operation, data_type: DataType) -> bool:
    return operation in TIMED or element(data_type) in INPUTS[operation]


@st.composite
def aggregations(draw: st.DrawFn, operations: Sequence[Operation] = tuple(Operation)) -> Aggregation:
    operation = draw(st.sampled_from(operations))
    inputs = [field for field in ROW.fields[1:] if allowed(operation, field.type)]
    field = draw(st.sampled_from([*inputs, *(field for field in inputs * 3 if field.name in OFTEN)]))
    windows = draw(st.none() | st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=4).map(tuple))
    simple_map = isinstance(field.type, MapType) and operation not in TIMED
    buckets = None if simple_map else draw(st.sampled_from([None, None, ("bucket",)]))
    args = draw(st.sampled_from(ARGS.get(operation, (None,))))
    return Aggregation(input_column=field.name, operation=operation, arg_map=args, windows=windows, buckets=buckets)


TEXTS = ("", "a", "Z", "\x00", "ü", "\uffff", "\U0001f600", "x1", "x2", "x3", "x4", "x5")
LONGS = ((1 << 63) - 1, -(1 << 63), 1 << 60, 0)
DOUBLES = (0.0, -0.0, 1.5, 2.25, -7.0, 0.1, 0.2, 0.3, 1e300, -1e300, nan)
KEYS = ("p", "q", "ü")


class Data(random.Random):
    """Values that tie, wrap, round and clash; how often, each world decides."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.odd = self.choice((0.0, 0.05, 0.5))

    def long(self) -> int:
        return self.choice(LONGS) if self.random() < self.odd else self.randrange(-3, 9)

    def double(self) -> float:
        return self.choice(DOUBLES) if self.random() < self.odd else self.uniform(-100, 100)

    def text(self) -> str:
        return self.choice(TEXTS)

    def some(self, make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(self.randrange(4))]

    def keyed(self, make: Callable[[], Any]) -> dict[str, Any]:
        return {key: make() for key in self.sample(KEYS, self.randrange(4))}

    def value(self, name: str) -> Any:
        return MAKERS[name](self)

    def row(self, names: Sequence[str], null: float) -> tuple[Any, ...]:
        return tuple(None if self.random() < null else self.value(name) for name in names)

    def time(self, start: int, end: int) -> int:
        """Often on a boundary, so that times tie."""
        time = self.randrange(start, end)
        return time if self.random() < 0.4 else time // HOUR * HOUR

    def rows(self, names: Sequence[str], start: int, end: int, most: int) -> list[tuple[tuple[Any, ...], int]]:
        null = self.choice((0.0, 0.15, 0.9))
        return [(self.row(names, null), self.time(start, end)) for _ in range(self.randrange(most + 1))]


MAKERS: dict[str, Callable[[Data], Any]] = {
    "bucket": lambda data: data.choice(KEYS),
    "i": lambda data: data.choice((*range(-5, 9), (1 << 31) - 1, -(1 << 31))),
    "l": Data.long,
    "f": lambda data: as_float32(data.double()),
    "d": Data.double,
    "s": Data.text,
    "b": lambda data: data.choice((b"", b"\xff", b"a", b"\x80\x00", b"ab")),
    "t": lambda data: data.random() < 0.5,
    "ll": lambda data: data.some(data.long),
    "ls": lambda data: data.some(data.text),
    "ml": lambda data: data.keyed(data.long),
    "ms": lambda data: data.keyed(data.text),
    "md": lambda data: data.keyed(data.double),
}


def group_by(found: Sequence[Aggregation], *, entities: bool = False, tiled: bool = False) -> GroupBy:
    meta = MetaData(name="team.gb", custom_json='{"enable_tiling": true}' if tiled else None)
    source = EntitySource(snapshot_table="t", query=Query()) if entities else EventSource(table="t", query=Query())
    return GroupBy(meta_data=meta, sources=(source,), key_columns=("k",), aggregations=tuple(found), accuracy=Accuracy.TEMPORAL)


@dataclass(frozen=True)
class Case:
    """A group by with history, streamed rows of its input columns, and a query."""

    found: tuple[Aggregation, ...]
    history: list[tuple[tuple[Any, ...], int]]
    stream: list[tuple[tuple[Any, ...], int]]
    query_ts: int
    data: Data = field(repr=False)

    def sawtooth(self, *, entities: bool = False, tiled: bool = False) -> Sawtooth:
        return Sawtooth(group_by(self.found, entities=entities, tiled=tiled), ROW)

    def stored(self, sawtooth: Sawtooth, batch_end: int = BATCH_END) -> tuple[Any, ...]:
        """The record that an upload stores of the history."""
        builder = BatchPlan("team_gb", self.found, sawtooth.row_type).builder(batch_end)
        builder.add_all([row for row, _ in self.history], [ts for _, ts in self.history])
        return builder.stored()

    def in_order(self) -> "Case":
        return replace(self, stream=sorted(self.stream, key=lambda stamped: stamped[1]))


@st.composite
def cases(draw: st.DrawFn, operations: Sequence[Operation] = tuple(Operation), most: int = 3, entities: bool = False) -> Case:
    found = tuple(draw(st.lists(aggregations(operations), min_size=1, max_size=most)))
    data = Data(draw(st.integers(0, (1 << 64) - 1)))
    names = [field.name for field in input_fields(found, ROW)]
    history = data.rows(names, BATCH_END - 33 * DAY, BATCH_END + HOUR, 20)
    if data.random() < 0.5:
        history += data.rows(names, BATCH_END - 2 * DAY, BATCH_END, 10)
    if entities:
        history = [(row, ts) for row, ts in history if ts < BATCH_END]
    span = data.choice((2 * HOUR, 6 * HOUR, 2 * DAY))
    stream = data.rows(names, BATCH_END - HOUR, BATCH_END + span, 20)
    return Case(found, history, stream, data.time(BATCH_END, BATCH_END + span + DAY), data)

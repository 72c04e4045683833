"""The Avro codec against fastavro on random types and values, and on damaged bytes."""

import contextlib
import gc
import io
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.codec import avro
from chronoserve.codec.compiled import decoder, encoder
from chronoserve.codec.decoding import shape
from chronoserve.codec.tagged import alike
from chronoserve.codec.varints import long_bytes
from chronoserve.model import types
from chronoserve.model.errors import CorruptValue
from chronoserve.model.types import DataType, Field, ListType, MapType, StructType
from tests.recordings import records

CPU_SECONDS_MAX = 0.010
MEMORY_SPARE = 1 << 20
MUTANTS = 100_000

PRIMITIVES = st.sampled_from([types.BOOLEAN, types.INT, types.LONG, types.FLOAT, types.DOUBLE, types.STRING, types.BINARY])
NAMES = st.sampled_from(["a", "b", "ts", "a.b", "a-b", "x y", "ключ", "R", "payload", "a_REPEATED_NAME_0"])


def structs(data_types: st.SearchStrategy[DataType]) -> st.SearchStrategy[StructType]:
    return st.builds(StructType, NAMES, st.lists(st.builds(Field, NAMES, data_types), max_size=6).map(tuple))


DATA_TYPES: st.SearchStrategy[DataType] = st.recursive(
    PRIMITIVES,
    lambda inside: st.builds(ListType, inside) | st.builds(MapType, st.just(types.STRING), inside) | structs(inside),
    max_leaves=8,
)
RECORDS = structs(DATA_TYPES)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=10)
VALUES: dict[DataType, st.SearchStrategy[object]] = {
    types.BOOLEAN: st.booleans(),
    types.INT: st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(-100, 100),
    types.LONG: st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-10_000, 10_000),
    types.FLOAT: st.floats(width=32),
    types.DOUBLE: st.floats(),
    types.STRING: TEXTS,
    types.BINARY: st.binary(max_size=10),
}


def values(data_type: DataType) -> st.SearchStrategy[Any]:
    match data_type:
        case ListType(element):
            return st.lists(values(element), max_size=5)
        case MapType(_, value):
            return st.dictionaries(TEXTS, values(value), max_size=4)
        case StructType():
            return st.tuples(*[st.none() | values(field.type) for field in data_type.fields])
        case _:
            return VALUES[data_type]


def as_fastavro(value: object, data_type: DataType) -> object:
    """``data_type`` has the names of the Avro schema."""
    match value, data_type:
        case list(), ListType(element):
            return [as_fastavro(item, element) for item in value]
        case dict(), MapType(_, inside):
            return {key: as_fastavro(item, inside) for key, item in value.items()}
        case tuple(), StructType():
            return {field.name: as_fastavro(item, field.type) for field, item in zip(data_type.fields, value, strict=True)}
        case _:
            return value


@settings(max_examples=400)
@given(st.data(), RECORDS)
def test_random_values_of_random_types_agree_with_fastavro(data: st.DataObject, record: StructType) -> None:
    text = avro.schema_text(record)
    named = avro.type_of(text)
    schema = fastavro.parse_schema(json.loads(text), named_schemas={})
    row = data.draw(values(record))

    ours = encoder(record).encode(row)
    theirs = io.BytesIO()
    fastavro.schemaless_writer(theirs, schema, as_fastavro(row, named))
    assert ours == theirs.getvalue()
    assert alike(decoder(record).decode(ours), row)
    assert alike(decoder(named).decode(ours + b"\x02 trailing"), row)
    assert alike(fastavro.schemaless_reader(io.BytesIO(ours), schema, None), as_fastavro(row, named))


@settings(max_examples=200)
@given(RECORDS)
def test_random_types_read_back_from_their_schemas(record: StructType) -> None:
    text = avro.schema_text(record)
    read = avro.type_of(text)
    assert shape(read) == shape(record)
    assert avro.type_of(avro.schema_text(record, pretty=True)) == read
    assert [name.partition(avro.REPEATED)[0] for name in read.names] == list(avro.type_of(text, clean=True).names)


@settings(max_examples=300)
@given(st.data(), RECORDS, st.binary(max_size=60))
def test_random_bytes_are_a_value_or_corrupt(data: st.DataObject, record: StructType, junk: bytes) -> None:
    decode = decoder(record).decode
    whole = encoder(record).encode(data.draw(values(record)))
    for attempt in (junk, whole[: len(whole) // 2], whole + junk, junk + whole):
        try:
            decoded = decode(attempt)
        except CorruptValue:
            continue
        # What decodes is a value of the type, all of it: it can be written again.
        assert alike(decode(encoder(record).encode(decoded)), decoded)


@pytest.fixture(scope="module")
def recorded() -> list[tuple[Callable[[bytes], object], bytes]]:
    """Stored values of many shapes, each with the decoder of its schema."""
    pairs = [
        pair
        for record in records("a_aggregations")
        if "ir_avro_schema" in record
        for pair in (
            *((record["ir_avro_schema"], bytes.fromhex(record[key])) for key in ("ir_all", "ir_first") if record[key]),
            *((record["row_avro_schema"], bytes.fromhex(row[3])) for row in record["rows"][:1]),
        )
    ]
    pairs = pairs[::9] + [(r["avro_schema"], bytes.fromhex(row["avro"])) for r in records("c_avro") if "rows" in r for row in r["rows"]]
    pairs += batch_irs()
    decoders = {schema: decoder(avro.type_of(schema)).decode for schema in {schema for schema, _ in pairs}}
    return [(decoders[schema], value) for schema, value in pairs]


def batch_irs() -> list[tuple[str, bytes]]:
    recording = list(records("b_group_by_temporal"))
    schemas = {(r["world"], r["batch_dataset"]): r["ir_avro_schema"] for r in recording if r["kind"] == "group_by"}
    puts = [((r["world"], r["dataset"]), bytes.fromhex(r["value"])) for r in recording if r["kind"] == "put"]
    return [(schemas[place], value) for place, value in puts if place in schemas and not value.startswith(b"{")][::5]


def mutated(value: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(value or b"\x02")
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(damaged) + 1)
        match draw.randrange(6):
            case 0 if at < len(damaged):
                damaged[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(damaged):
                damaged[at] = draw.choice((0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF))
            case 2:
                del damaged[at : at + draw.randrange(1, 8)]
            case 3:
                damaged[at:at] = bytes(draw.choice((0, 2, 0x7F, 0x80, 0xFE, 0xFF)) for _ in range(draw.randrange(1, 12)))
            case 4:
                damaged[at : at + 8] = draw.randbytes(8)
            case _:
                damaged[at:at] = damaged[: draw.randrange(20)]
    return bytes(damaged)


def cpu_seconds(decode: Callable[[bytes], object], value: bytes) -> float:
    started = time.process_time()
    with contextlib.suppress(CorruptValue):
        decode(value)
    return time.process_time() - started


def test_damaged_values_cost_little_time_and_are_a_value_or_corrupt(recorded: list[tuple[Callable[[bytes], object], bytes]]) -> None:
    draw = random.Random(20)
    gc.collect()
    gc.freeze()
    for _ in range(MUTANTS):
        decode, value = draw.choice(recorded)
        mutant = mutated(value, draw)
        if cpu_seconds(decode, mutant) > CPU_SECONDS_MAX:
            assert min(cpu_seconds(decode, mutant) for _ in range(3)) < CPU_SECONDS_MAX, mutant.hex()
    gc.unfreeze()


def peak_memory(decode: Callable[[bytes], object], value: bytes) -> int:
    tracemalloc.start()
    with contextlib.suppress(CorruptValue):
        decode(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_damaged_values_cost_little_memory(recorded: list[tuple[Callable[[bytes], object], bytes]]) -> None:
    draw = random.Random(21)
    for _ in range(2_000):
        decode, value = draw.choice(recorded)
        mutant = mutated(value, draw)
        assert peak_memory(decode, mutant) <= 4 * len(mutant) + MEMORY_SPARE


EMPTY = StructType("e", ())
NULLABLE = StructType("n", (Field("x", types.LONG),))


@pytest.mark.parametrize(
    ("item", "count", "body"),
    [
        (EMPTY, 1 << 30, b"\x00"),
        (types.LONG, 1 << 62, b"\x00"),
        (types.DOUBLE, 1 << 40, bytes(64)),
        (types.STRING, 1 << 31, b"\x02a"),
        (ListType(EMPTY), 1_000_000, bytes(1_000_000)),
        (ListType(types.LONG), 1_000_000, bytes(1_000_000)),
        (ListType(EMPTY), 8_000, (b"\x80\x7d" + b"\x00") * 8_000),
        (MapType(types.STRING, types.LONG), 1_000_000, bytes(1_000_000)),
        (NULLABLE, 1_000_000, bytes(1_000_000)),
        (types.LONG, -(1 << 63), bytes(20)),
    ],
    ids=[
        "empty structs",
        "longs",
        "doubles",
        "texts",
        "lists",
        "lists of longs",
        "many lists of empty structs",
        "maps",
        "structs",
        "least count",
    ],
)
def test_bombs_cost_nothing_and_are_corrupt(item: DataType, count: int, body: bytes) -> None:
    decode = decoder(StructType("r", (Field("f", ListType(item)),))).decode
    bomb = b"\x02" + long_bytes(count) + body
    with pytest.raises(CorruptValue):
        decode(bomb)
    assert peak_memory(decode, bomb) <= 4 * len(bomb) + MEMORY_SPARE
    assert min(cpu_seconds(decode, bomb) for _ in range(3)) < CPU_SECONDS_MAX

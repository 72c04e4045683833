import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from chronoserve.codec import avro, tagged
from chronoserve.codec.compiled import decoder, encoder
from chronoserve.codec.decoding import NESTED_MAX
from chronoserve.codec.varints import long_bytes
from chronoserve.model import types
from chronoserve.model.boxed import Float, Int
from chronoserve.model.errors import CorruptValue, InvalidRequest
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    DataType,
    Field,
    ListType,
    MapType,
    StructType,
)
from tests.recordings import records

WRITTEN = [record for record in records("c_avro") if record["kind"] == "schema" and "rows" in record]
EMPTY = StructType("empty", ())
POINT = StructType("point", (Field("x", LONG), Field("name", STRING)))


def of(*data_types: DataType) -> StructType:
    return StructType("r", tuple(Field(f"f{index}", data_type) for index, data_type in enumerate(data_types)))


def struct_of(record: Mapping[str, Any]) -> StructType:
    data_type = tagged.type_from(record["type"])
    assert isinstance(data_type, StructType)
    return data_type


@pytest.mark.parametrize("record", WRITTEN, ids=lambda record: record["id"])
def test_recorded_rows_decode_as_on_the_jvm(record: dict[str, Any]) -> None:
    decode = decoder(struct_of(record)).decode
    for row in record["rows"]:
        assert tagged.alike(decode(bytes.fromhex(row["avro"])), tagged.untag(row["decoded"]))


@pytest.mark.parametrize("record", WRITTEN, ids=lambda record: record["id"])
def test_recorded_rows_encode_as_on_the_jvm(record: dict[str, Any]) -> None:
    data_type = struct_of(record)
    decode, encode = decoder(data_type).decode, encoder(data_type).encode
    for row in record["rows"]:
        value, written = tagged.untag(row["value"]), bytes.fromhex(row["avro"])
        assert isinstance(value, tuple)
        # The order of a map's entries is the hash table's there, and no part of the value.
        assert encode(value) == written or ("map" in str(row["value"]) and tagged.alike(decode(encode(value)), decode(written)))
        assert encode(decode(written)) == written


def test_recorded_rows_with_bytes_and_shorts_are_refused_as_on_the_jvm() -> None:
    refused = [r for r in records("c_avro") if "Unknown datum type" in str(r.get("error"))]
    assert refused
    for record in refused:
        data_type = struct_of(record)
        row = [7 if field.type in {BYTE, SHORT} else None for field in data_type.fields]
        with pytest.raises(InvalidRequest, match="byte or a short"):
            encoder(data_type).encode(row)
        assert encoder(data_type).encode([None] * len(row)) == bytes(len(row))


def test_recorded_intermediate_results_survive_a_round_trip() -> None:
    for record in itertools.islice(records("a_aggregations"), 0, None, 7):
        if "ir_avro_schema" not in record:
            continue
        data_type = avro.type_of(record["ir_avro_schema"])
        decode, encode = decoder(data_type).decode, encoder(data_type).encode
        for key in ("ir_first", "ir_second", "ir_all"):
            if record.get(key):
                decoded = decode(bytes.fromhex(record[key]))
                assert encode(decoded).hex() == record[key]
                assert tagged.alike(decoded[0], tagged.untag(record[f"{key}_value"]))


def test_a_batch_result_and_a_tile_of_the_specification() -> None:
    """spec/aggregation-and-codecs.md §21."""
    pair = StructType("TimePair_string", (Field("epochMillis", LONG), Field("payload", STRING)))
    average = StructType("AvgIr", (Field("sum", DOUBLE), Field("count", INT)))
    tile = StructType(
        "tile", (Field("collapsedIr", of(LONG, LONG, pair, MapType(STRING, average), ListType(pair))), Field("isComplete", BOOLEAN))
    )
    data = bytes.fromhex(
        "02020e0204020290809ccdca640202620204026102000000000000f83f0202026202000000000000f83f0202000204028e809ccdca640202610290809ccdca64020262000200"
    )
    base = 1_728_000_000_000
    result = ((7, 2, (base + 8, "b"), {"a": (1.5, 1), "b": (1.5, 1)}, [(base + 7, "a"), (base + 8, "b")]), False)
    assert decoder(tile).decode(data) == result
    assert encoder(tile).encode(result) == data
    key = of(STRING, LONG)
    assert encoder(key).encode(("u1", 3)).hex() == "020475310206"


@pytest.mark.parametrize(
    "number", [0, -1, 1, 63, 64, -64, -65, 8191, 8192, 2**20, 2**27 - 1, 2**27, 2**34, 2**41, 2**48, -(2**31), 2**31 - 1]
)
def test_integers_of_every_length(number: int) -> None:
    if -(2**31) <= number < 2**31:
        assert decoder(of(INT)).decode(b"\x02" + long_bytes(number)) == (number,)
    assert decoder(of(LONG)).decode(b"\x02" + long_bytes(number)) == (number,)
    assert decoder(of(ListType(LONG))).decode(b"\x02\x02" + long_bytes(number) + b"\x00") == ([number],)


def test_integers_at_the_ends_of_their_range() -> None:
    for number in (2**63 - 1, -(2**63)):
        assert decoder(of(LONG)).decode(b"\x02" + long_bytes(number)) == (number,)
    for number in (2**31, -(2**31) - 1, 2**63 - 1):
        with pytest.raises(CorruptValue):
            decoder(of(INT)).decode(b"\x02" + long_bytes(number))
    for data_type, number in ((SHORT, 2**15), (BYTE, 2**7)):
        assert decoder(of(data_type)).decode(b"\x02" + long_bytes(number - 1)) == (number - 1,)
        assert decoder(of(data_type)).decode(b"\x02" + long_bytes(-number)) == (-number,)
        with pytest.raises(CorruptValue):
            decoder(of(data_type)).decode(b"\x02" + long_bytes(number))


@pytest.mark.parametrize(
    ("data_type", "data"),
    [
        (LONG, ""),
        (LONG, "02"),
        (LONG, "04"),
        (LONG, "01"),
        (LONG, "820008"),
        (LONG, "02" + "ff" * 10 + "01"),
        (LONG, "02" + "ff" * 9 + "02"),
        (LONG, "02" + "80" * 40),
        (INT, "028080808010"),
        (DOUBLE, "0200000000000000"),
        (FLOAT, "02000000"),
        (BOOLEAN, "0202"),
        (STRING, "02"),
        (STRING, "0204"),
        (STRING, "020461"),
        (STRING, "0201"),
        (STRING, "0202ff"),
        (STRING, "0206eda080"),
        (STRING, "02fffffffffffffffff7" + "01"),
        (STRING, "02feffffffffffffffff01"),
        (BINARY, "02feff03" + "00" * 20),
        (ListType(LONG), "02"),
        (ListType(LONG), "0202"),
        (ListType(LONG), "020202"),
        (ListType(LONG), "0280808080101c00"),
        (ListType(LONG), "0201"),
        (ListType(LONG), "02010102"),
        (ListType(LONG), "02ffffffffffffffffff01020200"),
        (ListType(DOUBLE), "0202" + "00" * 7),
        (MapType(STRING, LONG), "0204026101"),
        (MapType(STRING, LONG), "02020261"),
        (ListType(EMPTY), "02feffffff0f00"),
        (ListType(ListType(LONG)), "02feffffff0f" + "00" * 9),
        (POINT, "0202"),
    ],
    ids=str,
)
def test_bytes_of_no_avro_writer_are_corrupt(data_type: DataType, data: str) -> None:
    for record in (of(data_type), of(data_type, data_type)):
        with pytest.raises(CorruptValue):
            decoder(record).decode(bytes.fromhex(data))


def test_bytes_after_the_record_are_ignored_as_on_the_jvm() -> None:
    assert decoder(of(LONG)).decode(b"\x02\x04rest") == (2,)
    assert decoder(of()).decode(b"rest") == ()


def test_blocks_of_lists_and_maps_add_up_and_may_carry_their_size() -> None:
    assert decoder(of(ListType(LONG))).decode(bytes.fromhex("02 0202 03040406 0200 00")) == ([1, 2, 3, 0],)
    assert decoder(of(ListType(STRING))).decode(bytes.fromhex("02 01040261 020262 00")) == (["a", "b"],)
    assert decoder(of(MapType(STRING, LONG))).decode(bytes.fromhex("02 02026102 02026104 00")) == ({"a": 2},)


def test_runs_of_numbers_of_one_size_with_and_without_nulls() -> None:
    for data_type, packed in ((DOUBLE, "000000000000f83f"), (FLOAT, "0000c03f")):
        decode = decoder(of(*[data_type] * 5, LONG)).decode
        assert decode(bytes.fromhex(f"02{packed}" * 5 + "0202")) == (1.5,) * 5 + (1,)
        for missing in range(5):
            fields = ["00" if index == missing else f"02{packed}" for index in range(5)]
            assert decode(bytes.fromhex("".join(fields) + "00")) == (*[None if index == missing else 1.5 for index in range(5)], None)
        with pytest.raises(CorruptValue):
            decode(bytes.fromhex(f"02{packed}" * 4 + f"04{packed}" + "00"))


def test_types_nested_beyond_what_one_function_holds() -> None:
    data_type: DataType = LONG
    value: object = 5
    for _ in range(25):
        data_type, value = ListType(data_type), [value]
    record = of(data_type, MapType(STRING, StructType("s", (Field("deep", data_type),))))
    assert decoder(record).decode(encoder(record).encode((value, {"k": (value,)}))) == (value, {"k": (value,)})


def test_wide_records_are_compiled_in_reasonable_size_and_decode_the_same() -> None:
    kinds = [LONG, DOUBLE, DOUBLE, STRING, INT, ListType(POINT), MapType(STRING, ListType(DOUBLE))] * 150
    row = tuple(None if index % 11 == 3 else value for index, value in enumerate([1, 2.0, 3.0, "s", 4, [(1, "n")], {"k": [0.5]}] * 150))
    record = of(*kinds)
    assert decoder(record).decode(encoder(record).encode(row)) == row


def test_a_record_of_too_many_different_types_is_refused() -> None:
    shapes = [of(*([LONG] * (n % 50) + [STRING] * (n // 50))) for n in range(3000)]
    with pytest.raises(InvalidRequest, match="so many different types"):
        decoder(of(*shapes))


@pytest.mark.parametrize(
    "data_type", [types.DATE, types.TIMESTAMP, types.UnknownType("decimal(2,1)"), MapType(LONG, LONG), ListType(types.DATE)]
)
def test_types_without_an_avro_form_have_no_codec(data_type: DataType) -> None:
    with pytest.raises(InvalidRequest):
        decoder(of(data_type))
    with pytest.raises(InvalidRequest):
        encoder(of(data_type))


def test_values_nested_in_lists_are_counted() -> None:
    decode = decoder(of(ListType(ListType(LONG)))).decode
    few = NESTED_MAX
    assert decode(b"\x02" + long_bytes(few) + bytes(few + 1)) == ([[]] * few,)
    many = 4 * NESTED_MAX
    with pytest.raises(CorruptValue):
        decode(b"\x02" + long_bytes(many) + bytes(many + 1))
    assert decoder(of(ListType(EMPTY))).decode(bytes.fromhex("020600")) == ([(), (), ()],)


def test_names_of_fields_are_never_part_of_the_source() -> None:
    hostile = '"];raise SystemExit #'
    record = StructType(hostile, (Field(hostile, LONG), Field("data", ListType(StructType(hostile, (Field(hostile, STRING),))))))
    assert decoder(record).decode(bytes.fromhex("020202020000")) == (1, [(None,)])
    assert decoder(record).names == (hostile, "data")


def test_many_values_by_row_by_column_and_each_with_its_error() -> None:
    made = decoder(of(LONG, STRING))
    good = [encoder(of(LONG, STRING)).encode(row) for row in ((1, "a"), (2, None))]
    assert made.decode_rows(good) == [(1, "a"), (2, None)]
    assert made.decode_columns(good) == [(1, 2), ("a", None)]
    assert made.decode_columns([]) == [(), ()]
    first, second, third = made.decode_each([good[0], b"\x07", good[1]])
    assert (first, third) == ((1, "a"), (2, None))
    assert isinstance(second, CorruptValue)
    with pytest.raises(CorruptValue):
        made.decode_rows([good[0], b""])


@pytest.mark.parametrize(
    ("data_type", "value", "stored"),
    [
        (INT, 2**31, -(2**31)),
        (INT, 2**40 + 5, 5),
        (INT, 3.9, 3),
        (INT, -3.9, -3),
        (INT, 1e300, 2**31 - 1),
        (INT, float("-inf"), -(2**31)),
        (INT, float("nan"), 0),
        (LONG, 2**64 + 7, 7),
        (LONG, 1e300, 2**63 - 1),
        (LONG, Int(5), 5),
        (FLOAT, 0.1, 0.10000000149011612),
        (FLOAT, 1e300, float("inf")),
        (FLOAT, -1e300, float("-inf")),
        (FLOAT, 3, 3.0),
        (DOUBLE, 3, 3.0),
        (DOUBLE, Float(0.5), 0.5),
        (STRING, 5, "5"),
        (STRING, 1e10, "1.0E10"),
        (STRING, Float(0.10000000149011612), "0.1"),
        (STRING, True, "true"),
        (STRING, ["a", 1, None, 2.0], "[a, 1, null, 2.0]"),
        (STRING, {"k": [1], "b": False}, "{k=[1], b=false}"),
        (STRING, "\ud83d\ude00 \ud800", "😀 ?"),
        (BINARY, bytearray(b"ab"), b"ab"),
        (ListType(LONG), (1, 2.5), [1, 2]),
        (ListType(SHORT), [40_000], [40_000 - 65_536]),
        (MapType(STRING, BYTE), {1: 300.7}, {"1": 44}),
        (POINT, [1, "n", "beyond"], (1, "n")),
        (POINT, {"name": "n"}, (None, "n")),
        (POINT, {}, (None, None)),
    ],
    ids=str,
)
def test_values_are_coerced_as_java_coerces_them(data_type: DataType, value: object, stored: object) -> None:
    record = of(data_type)
    assert decoder(record).decode(encoder(record).encode([value])) == (stored,)


def test_a_row_may_be_given_by_name() -> None:
    assert encoder(of(LONG, STRING)).encode({"f1": "a", "other": 1}) == encoder(of(LONG, STRING)).encode((None, "a"))


@pytest.mark.parametrize(
    ("data_type", "value", "field"),
    [
        (LONG, "5", "f0"),
        (LONG, True, "f0"),
        (DOUBLE, "x", "f0"),
        (DOUBLE, False, "f0"),
        (DOUBLE, 10**400, "f0"),
        (BOOLEAN, 1, "f0"),
        (STRING, b"a", "f0"),
        (BINARY, "a", "f0"),
        (ListType(LONG), 5, "f0"),
        (ListType(LONG), [1, None], "f0[1]"),
        (ListType(POINT), [(1, "a"), (1, b"a")], "f0[1].name"),
        (MapType(STRING, LONG), {"a": None}, "f0{}"),
        (MapType(STRING, LONG), {None: 1}, "f0 key"),
        (MapType(STRING, LONG), [("a", 1)], "f0"),
        (POINT, (1,), "f0"),
        (POINT, 5, "f0"),
        (ListType(StructType("s", (Field("b", BYTE),))), [(1,)], "f0[0].b"),
    ],
    ids=str,
)
def test_values_that_cannot_be_written_are_refused_by_path_and_without_the_value(data_type: DataType, value: object, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        encoder(of(data_type)).encode([value])
    assert refused.value.field == field
    assert refused.value.message.startswith(field)


def test_a_row_that_is_too_short_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="the row has 1 values where the struct has 2 fields"):
        encoder(of(LONG, LONG)).encode([1])

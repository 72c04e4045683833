from typing import Any

import pytest

from chronoserve.codec import avro, tagged
from chronoserve.codec.keys import KeyCodec, cast_to
from chronoserve.model import boxed
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BINARY, BOOLEAN, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, DataType, Field, ListType, StructType
from tests.recordings import records

ENCODED = [record for record in records("c_avro") if record["kind"] == "key_encode"]
CAST = [record for record in records("c_avro") if record["kind"] == "cast_to"]


def schema(**columns: DataType) -> str:
    return avro.schema_text(StructType("Key", tuple(Field(name, data_type) for name, data_type in columns.items())), pretty=True)


def untagged(record: dict[str, Any]) -> dict[str, object]:
    return {name: tagged.untag(value) for name, value in record["keys"].items()}


@pytest.mark.parametrize("record", ENCODED, ids=lambda record: record["id"])
def test_the_first_attempt_encodes_and_refuses_as_the_jvm(record: dict[str, Any]) -> None:
    codec, keys = KeyCodec(record["key_schema"]), untagged(record)
    if record["error"]:
        with pytest.raises(InvalidRequest):
            codec.encode_as_given(keys)
    else:
        assert codec.encode_as_given(keys).hex() == record["result"]
        assert codec.encode(keys).hex() == record["result"]


@pytest.mark.parametrize("record", CAST, ids=lambda record: record["id"])
def test_casts_are_those_of_the_jvm(record: dict[str, Any]) -> None:
    data_type = tagged.type_from(record["to"])
    if record["error"]:
        with pytest.raises(InvalidRequest):
            cast_to(tagged.untag(record["value"]), data_type)
    else:
        assert tagged.tag(cast_to(tagged.untag(record["value"]), data_type)) == record["result"]


@pytest.mark.parametrize(
    ("data_type", "given", "same_as"),
    [
        (LONG, boxed.Int(5), 5),
        (LONG, boxed.Short(-5), -5),
        (LONG, 5.9, 5),
        (LONG, boxed.Float(-2.5), -2),
        (LONG, float("nan"), 0),
        (LONG, "+12", 12),
        (LONG, "-9223372036854775808", -(2**63)),
        (LONG, "٣", 3),
        (DOUBLE, 5, 5.0),
        (DOUBLE, boxed.Float(0.5), 0.5),
        (DOUBLE, " 1e3 ", 1000.0),
        (DOUBLE, "1.5f", 1.5),
        (DOUBLE, ".5D", 0.5),
        (DOUBLE, "-Infinity", float("-inf")),
        (DOUBLE, "0x1.8p1", 3.0),
        (STRING, boxed.Int(5), "5"),
        (STRING, 1e7, "1.0E7"),
        (STRING, boxed.Float(0.10000000149011612), "0.1"),
        (STRING, False, "false"),
    ],
    ids=str,
)
def test_the_second_attempt_casts(data_type: DataType, given: object, same_as: object) -> None:
    codec = KeyCodec(schema(k=data_type))
    with pytest.raises(InvalidRequest):
        codec.encode_as_given({"k": given})
    assert codec.encode({"k": given}) == codec.encode({"k": same_as})


@pytest.mark.parametrize(
    ("data_type", "given"),
    [
        *[(LONG, text) for text in ("", "+", "1.0", " 1", "1_0", "9223372036854775808", "0x1", "1" * 5000)],
        *[(DOUBLE, text) for text in ("", " ", "1,5", "inf", "nan", "1e", "0x1", "--1", "1_0", "٣")],
        *[(LONG, True), (LONG, 2**63), (LONG, b"1"), (DOUBLE, False), (DOUBLE, 10**400), (DOUBLE, [1.0])],
        *[
            (INT, 5),
            (INT, "5"),
            (INT, 5.0),
            (INT, boxed.Short(5)),
            (SHORT, 5),
            (FLOAT, 0.5),
            (FLOAT, "0.5"),
            (BOOLEAN, 1),
            (BOOLEAN, "true"),
        ],
        *[(STRING, b"a"), (BINARY, "a"), (ListType(LONG), 5), (ListType(LONG), [None])],
    ],
    ids=str,
)
def test_what_cannot_be_a_key_of_its_type_is_refused_by_column_and_without_the_value(data_type: DataType, given: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        KeyCodec(schema(a=STRING, column=data_type)).encode({"a": "x", "column": given})
    assert refused.value.field == "column"
    assert "'column'" in refused.value.message


def test_boxes_that_fit_are_written_at_once() -> None:
    codec = KeyCodec(schema(i=INT, s=SHORT, f=FLOAT, x=BINARY, l=ListType(LONG)))
    keys = {"i": boxed.Int(-1), "s": boxed.Int(300), "f": boxed.Float(1.5), "x": b"\x01", "l": [1, 2]}
    assert codec.encode_as_given(keys).hex() == "020102d804020000c03f0202010204020400"


def test_a_missing_number_is_zero_and_everything_else_null() -> None:
    codec = KeyCodec(schema(s=STRING, n=LONG, i=INT, f=FLOAT, d=DOUBLE, b=BOOLEAN, x=BINARY, l=ListType(LONG)))
    assert codec.encode({"other": 1}).hex() == "00020002000200000000020000000000000000000000"
    assert codec.encode(dict.fromkeys(codec.type.names)) == codec.encode({})


def test_one_string_takes_the_short_way_to_the_same_bytes() -> None:
    one, two = KeyCodec(schema(k=STRING)), KeyCodec(schema(k=STRING, z=STRING))
    for text in ("", "u1", "ü" * 127, "x" * 127, "x" * 128, "日" * 200, "\ud800", "\ud83d\ude00"):
        assert one.encode({"k": text, "more": 1}) + b"\x00" == two.encode({"k": text})
        assert one.encode({"k": text}) == one.encode_as_given({"k": text})
    assert one.encode({"k": 7}) == b"\x02\x027"
    assert one.encode({}) == b"\x00"


def test_columns_with_sanitised_names_go_by_both_spellings() -> None:
    key_schema = schema(a_b=STRING, a_b_=LONG)
    codec = KeyCodec(key_schema, ("a.b", "a b:"))
    expected = KeyCodec(key_schema).encode({"a_b": "x", "a_b_": 3})
    assert codec.encode({"a.b": "x", "a b:": 3}) == expected
    assert codec.encode({"a_b": "x", "a_b_": boxed.Int(3)}) == expected
    assert codec.encode({"a.b": "x", "a_b": "passed over", "a b:": "3"}) == expected
    assert codec.encode({"a.b": None, "a_b_": 3}) == KeyCodec(key_schema).encode({"a_b_": 3})
    with pytest.raises(InvalidRequest, match="'a b:' is missing") as refused:
        codec.encode({"a.b": "x"})
    assert refused.value.field == "a b:"


def test_columns_that_do_not_line_up_with_the_schema_are_not_used() -> None:
    assert KeyCodec(schema(a=STRING), ("x", "y")).encode({"a": "1"}) == b"\x02\x021"
    assert KeyCodec(schema(a=STRING, b=STRING), ("b", "a")).encode({"a": "1", "b": "2"}) == b"\x02\x021\x02\x022"
    repeated = KeyCodec(schema(Key=STRING, a_b=STRING).replace('"a_b"', '"a_b_REPEATED_NAME_0"'), ("Key", "a.b"))
    assert repeated.encode({"Key": "1", "a.b": "2"}) == b"\x02\x021\x02\x022"
    assert KeyCodec(schema(a_b=STRING), ("a.b",)).encode({"a.b": "1"}) == b"\x02\x021"


def test_a_schema_that_chronon_does_not_write_makes_no_codec() -> None:
    with pytest.raises(InvalidRequest):
        KeyCodec('{"type":"record","name":"Key","fields":[{"name":"k","type":"string"}]}')


def test_lists_and_maps_as_text_are_as_java_prints_them() -> None:
    assert cast_to({"a": [1, 2.0]}, STRING) == "{a=[1, 2.0]}"
    with pytest.raises(InvalidRequest):
        cast_to(b"\x00", STRING)
    assert cast_to(b"\x00", LONG) == b"\x00"
    assert cast_to([1], DOUBLE) == [1]

import json

import pytest

from chronoserve.codec import avro, tagged
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BINARY, BOOLEAN, BYTE, INT, LONG, SHORT, STRING, Field, ListType, MapType, StructType
from tests.recordings import records

SCHEMAS = [record for record in records("c_avro") if record["kind"] == "schema"]
WRITTEN = [record for record in SCHEMAS if "avro_schema" in record]


def struct(name: str, **fields: object) -> StructType:
    return StructType(name, tuple(Field(field, data_type) for field, data_type in fields.items()))  # type: ignore[arg-type]


@pytest.mark.parametrize("record", WRITTEN, ids=lambda record: record["id"])
def test_schemas_are_the_texts_that_the_jvm_writes(record: dict[str, object]) -> None:
    data_type = tagged.type_from(record["type"])
    assert isinstance(data_type, StructType)
    assert avro.schema_text(data_type) == record["avro_schema"]
    assert avro.schema_text(data_type, pretty=True) == record["avro_schema_pretty"]


@pytest.mark.parametrize("record", WRITTEN, ids=lambda record: record["id"])
def test_schemas_read_back_as_the_jvm_reads_them(record: dict[str, str]) -> None:
    assert tagged.type_to_json(avro.type_of(record["avro_schema"])) == record["back_to_chronon"]
    assert tagged.type_to_json(avro.type_of(record["avro_schema_pretty"], clean=True)) == record["back_to_chronon_clean"]


@pytest.mark.parametrize(
    "record", [r for r in SCHEMAS if "error" in r and "Unknown datum" not in r["error"]["message"]], ids=lambda r: r["note"]
)
def test_types_that_the_jvm_refuses_are_refused(record: dict[str, object]) -> None:
    data_type = tagged.type_from(record["type"])
    assert isinstance(data_type, StructType)
    with pytest.raises(InvalidRequest) as refused:
        avro.schema_text(data_type)
    assert refused.value.field


def test_every_recorded_schema_is_written_again_as_it_was_read() -> None:
    texts = {
        value
        for name in ("a_aggregations", "b_group_by_temporal", "g_quickstart")
        for record in records(name)
        for key, value in record.items()
        if key.endswith("avro_schema") and value
    }
    assert len(texts) > 1000
    assert [text for text in texts if avro.schema_text(avro.type_of(text)) != text] == []


def test_a_name_is_given_once_in_a_schema_records_and_fields_together() -> None:
    inner = StructType("x", (Field("x", INT), Field("y", INT)))
    text = avro.schema_text(StructType("a b", (Field("a_b", LONG), Field("x", inner), Field("y", STRING))))
    assert [name for name in json.dumps(json.loads(text)).split('"') if name.startswith(("a_b", "x", "y"))] == [
        *("a_b", "a_b_REPEATED_NAME_0", "x", "x_REPEATED_NAME_0", "x_REPEATED_NAME_1", "y", "y_REPEATED_NAME_0"),
    ]


def test_a_repetition_that_is_a_columns_own_name_is_stepped_over() -> None:
    fields = tuple(Field(name, LONG) for name in ("a", "a_REPEATED_NAME_0", "a", "a"))
    named = [field["name"] for field in json.loads(avro.schema_text(StructType("r", fields)))["fields"]]
    assert named == ["a", "a_REPEATED_NAME_0", "a_REPEATED_NAME_1", "a_REPEATED_NAME_2"]


def test_bytes_and_shorts_are_ints_with_a_logical_type() -> None:
    record = struct("r", b=BYTE, s=ListType(SHORT))
    text = avro.schema_text(record)
    assert '{"type":"int","logicalType":"byte"}' in text
    assert avro.type_of(text) == record


def test_a_record_without_fields() -> None:
    assert avro.schema_text(StructType("r", ()), pretty=True).endswith('"fields" : [ ]\n}')
    assert avro.type_of(avro.schema_text(StructType("r", ()))) == StructType("r", ())


def test_a_named_record_may_be_referred_to_again() -> None:
    point = {"type": "record", "name": "P", "fields": [{"name": "x", "type": ["null", "long"]}]}
    fields = [{"name": "a", "type": ["null", point]}, {"name": "b", "type": ["null", {"type": "array", "items": "ai.chronon.data.P"}]}]
    read = avro.type_of(json.dumps({"type": "record", "name": "R", "namespace": avro.NAMESPACE, "fields": fields}))
    assert read == struct("R", a=struct("P", x=LONG), b=ListType(struct("P", x=LONG)))


def test_primitives_may_be_written_as_objects_and_logical_types_of_longs_mean_nothing() -> None:
    fields = [
        {"name": "s", "type": ["null", {"type": "string", "avro.java.string": "String"}]},
        {"name": "l", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "m", "type": ["null", {"type": "map", "values": {"type": "bytes"}}]},
        {"name": "b", "type": ["null", "boolean"]},
    ]
    assert avro.type_of(json.dumps({"type": "record", "name": "R", "fields": fields})) == struct(
        "R", s=STRING, l=LONG, m=MapType(STRING, BINARY), b=BOOLEAN
    )


def of_field(data_type: object) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": data_type}]})


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", ""),
        ("{", ""),
        ("[" * 100_000, ""),
        ('"string"', ""),
        ('{"type":"record","name":"R"}', ""),
        ('{"type":"record","name":"R","fields":[{"type":["null","long"]}]}', ""),
        (of_field("long"), "f"),
        (of_field(["long", "null"]), "f"),
        (of_field(["null", "long", "string"]), "f"),
        (of_field(["null", "null"]), "f"),
        (of_field(["null", "R"]), "f"),
        (of_field(["null", {"type": "enum", "name": "E", "symbols": ["A"]}]), "f"),
        (of_field(["null", {"type": "fixed", "name": "F", "size": 4}]), "f"),
        (of_field(["null", {"type": "int", "logicalType": "date"}]), "f"),
        (of_field(["null", {"type": "int", "logicalType": ["byte"]}]), "f"),
        (of_field(["null", {"type": "array", "items": ["null", "long"]}]), "f[]"),
        (of_field(["null", {"type": "map", "values": "nothing"}]), "f{}"),
    ],
)
def test_schemas_that_chronon_does_not_write_are_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        avro.type_of(text)
    assert refused.value.field == field


def test_types_are_bounded_in_depth_and_number() -> None:
    deep: object = "long"
    for _ in range(avro.DEPTH_MAX):
        deep = {"type": "array", "items": deep}
    with pytest.raises(InvalidRequest, match="deeper"):
        avro.type_of(of_field(["null", deep]))

    doubling: list[object] = [{"name": "f", "type": ["null", {"type": "record", "name": "R0", "fields": []}]}]
    for level in range(1, 24):
        both = [{"name": name, "type": ["null", f"R{level - 1}"]} for name in "ab"]
        doubling.append({"name": "f", "type": ["null", {"type": "record", "name": f"R{level}", "fields": both}]})
    with pytest.raises(InvalidRequest, match="more than"):
        avro.type_of(json.dumps({"type": "record", "name": "R", "fields": doubling}))
    with pytest.raises(InvalidRequest, match="too long"):
        avro.type_of(" " * (avro.SCHEMA_TEXT_MAX + 1))

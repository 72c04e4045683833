from dataclasses import replace

import pytest

from chronoserve.codec import avro, confs, tagged
from chronoserve.codec.serving import ServingSchemas, aggregation_inputs
from chronoserve.model.confs import Aggregation, Operation
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import LONG, STRING, Field, StructType
from tests.recordings import records

RECORDED = [record for name in ("b_group_by_temporal", "f_e2e") for record in records(name) if record["kind"] == "group_by"]


def test_recorded_schemas_follow_from_the_serving_info() -> None:
    assert RECORDED
    for record in RECORDED:
        schemas = ServingSchemas(confs.serving_info(record["serving_info_json"]))
        if record.get("key_type"):
            assert tagged.type_to_json(schemas.keys.type) == record["key_type"]
            assert tagged.type_to_json(schemas.selected) == record["selected_type"]
        if record.get("value_avro_schema"):
            assert avro.schema_text(schemas.value) == record["value_avro_schema"]
            assert avro.schema_text(schemas.mutation) == record["mutation_avro_schema"]


def test_features_of_group_bys_without_aggregations_have_their_avro_names() -> None:
    shapes = [record for record in RECORDED if record["shape"] == "noagg" and record.get("response_type")]
    assert shapes
    for record in shapes:
        schemas = ServingSchemas(confs.serving_info(record["serving_info_json"]))
        if schemas.info.group_by.derivations is None:
            assert [field[0] for field in record["response_type"]["fields"]] == list(schemas.selected_as_stored.names)


def test_inputs_are_buckets_then_the_column_each_once() -> None:
    def aggregation(column: str, *buckets: str) -> Aggregation:
        return Aggregation(input_column=column, operation=Operation.SUM, buckets=buckets or None)

    assert aggregation_inputs((aggregation("a", "x", "y"), aggregation("x"), aggregation("b", "a"))) == ("x", "y", "a", "b")


def schemas_of(record: dict[str, str], **changes: str | None) -> ServingSchemas:
    return ServingSchemas(replace(confs.serving_info(record["serving_info_json"]), **changes))  # type: ignore[arg-type]


def test_inputs_that_were_not_selected_are_left_out() -> None:
    record = next(record for record in RECORDED if record["shape"] == "temporal")
    names = schemas_of(record).value.names
    selected = StructType("Value", (Field("other", LONG), Field(names[-1], STRING)))
    schemas = schemas_of(record, selected_avro_schema=avro.schema_text(selected))
    assert schemas.value.fields == (Field(names[-1], STRING),)
    assert schemas.mutation.names == (names[-1], "ts", "is_before")


def test_streams_of_entities_carry_the_mutation() -> None:
    record = next(record for record in RECORDED if record["shape"] == "mutations")
    schemas = schemas_of(record)
    assert schemas.input is not None
    assert schemas.mutation_stream is not None
    assert schemas.mutation_stream.names == (*schemas.input.names, "mutation_ts", "is_before")
    nothing = schemas_of(record, input_avro_schema=None)
    assert (nothing.input, nothing.mutation_stream) == (None, None)


def test_a_serving_info_without_schemas_says_what_is_missing() -> None:
    bare = schemas_of(RECORDED[0], key_avro_schema=None, selected_avro_schema=None)
    with pytest.raises(InvalidRequest, match="keyAvroSchema"):
        _ = bare.keys
    for attribute in ("selected", "selected_as_stored", "value"):
        with pytest.raises(InvalidRequest, match="selectedAvroSchema"):
            getattr(bare, attribute)

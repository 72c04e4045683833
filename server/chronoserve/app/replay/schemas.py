"""Schemas, values, keys and casts replayed (c)."""

from collections.abc import Iterator, Mapping
from typing import Any

from chronoserve.app.replay.attempt import attempt, told
from chronoserve.app.replay.codecs import decoder, encoder
from chronoserve.app.replay.compare import ABSENT, Difference, differences, entry_differences
from chronoserve.app.replay.recording import Record
from chronoserve.app.replay.samples import sample
from chronoserve.codec.avro import schema_text, type_of
from chronoserve.codec.keys import KeyCodec, cast_to
from chronoserve.codec.tagged import tag, type_from, type_to_json, untag
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.types import StructType

Replayed = tuple[dict[str, object], Iterator[Difference]]


def replay_schema(record: Record) -> Replayed:
    """A type as Avro and back, and rows of it through the codec."""
    struct = type_from(record["type"])
    if not isinstance(struct, StructType):
        raise InvalidRequest("the type of a schema record is a struct")
    if "error" in record:
        return _refusal(record, attempt(lambda: _written(struct)))
    text = schema_text(struct)
    answers: dict[str, object] = {
        "avro_schema": text,
        "avro_schema_pretty": schema_text(struct, pretty=True),
        "back_to_chronon": type_to_json(type_of(text)),
        "back_to_chronon_clean": type_to_json(type_of(text, clean=True)),
        "rows": [_row(struct, row["value"]) for row in record["rows"]],
    }
    return answers, _schema_differences(record, answers)


def _written(struct: StructType) -> dict[str, object]:
    """A value of the type as bytes: some types that have a schema cannot be written all the same."""
    schema_text(struct)
    return {"avro": encoder(struct).encode(_sample_row(struct)).hex()}


def _sample_row(struct: StructType) -> tuple[object, ...]:
    return tuple(sample(field.type, 0) for field in struct.fields)


def _row(struct: StructType, value: object) -> dict[str, object]:
    values = untag(value)
    if not isinstance(values, tuple):
        raise InvalidRequest("the value of a row is a struct")
    data = encoder(struct).encode(values)
    codec = decoder(type_of(schema_text(struct)))
    decoded = codec.decode(data)
    by_name = {name: tag(each, field.type) for name, each, field in zip(codec.names, decoded, struct.fields, strict=True)}
    return {"avro": data.hex(), "decoded": tag(decoded, struct), "decoded_map": by_name}


def _schema_differences(record: Record, answers: Mapping[str, Any]) -> Iterator[Difference]:
    for name in ("avro_schema", "avro_schema_pretty", "back_to_chronon", "back_to_chronon_clean"):
        if record[name] != answers[name]:
            yield Difference(name, record[name], answers[name])
    for at, (expected, got) in enumerate(zip(record["rows"], answers["rows"], strict=True)):
        place = f"rows[{at}]"
        if expected["avro"] != got["avro"] and not _has_map(record["type"]):
            yield Difference(f"{place}.avro", expected["avro"], got["avro"])
        yield from differences(expected["decoded"], got["decoded"], f"{place}.decoded")
        yield from entry_differences(expected["decoded_map"], got["decoded_map"], f"{place}.decoded_map")


def _has_map(tree: object) -> bool:
    """The entries of a map are written in the order of a hash table."""
    match tree:
        case dict() | list():
            inner = tree.values() if isinstance(tree, dict) else tree
            return (isinstance(tree, dict) and "map" in tree) or any(_has_map(each) for each in inner)
        case _:
            return False


def replay_key_encoding(record: Record) -> Replayed:
    """Keys as they are given, without the casts that a second attempt makes."""
    codec = KeyCodec(record["key_schema"])
    keys = {name: untag(value) for name, value in record["keys"].items()}
    found = attempt(lambda: codec.encode_as_given(keys).hex())
    return _result(record, found)


def replay_cast(record: Record) -> Replayed:
    """The cast of the second attempt, and of keys that are logged."""
    data_type = type_from(record["to"])
    found = attempt(lambda: tag(cast_to(untag(record["value"]), data_type), None))
    return _result(record, found)


def _result(record: Record, found: object) -> Replayed:
    if record["error"] is not None or isinstance(found, KVError):
        return _refusal(record, found)
    return {"result": found, "error": None}, differences(record["result"], found, "result")


def _refusal(record: Record, found: object) -> Replayed:
    """Where one side refuses, the other must too; the texts are each side's own."""
    error = told(found) if isinstance(found, KVError) else None
    answers: dict[str, object] = {"error": error} if error is not None else {"error": None, "result": found}
    expected = record["error"]
    if (expected is None) == (error is None):
        return answers, iter(())
    return answers, iter([Difference("error", ABSENT if expected is None else expected, ABSENT if error is None else error)])

"""Spark SQL replayed (e): expressions over typed rows, and derivation lists as the fetcher applies them."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from chronoserve.app.replay.attempt import attempt, told
from chronoserve.app.replay.compare import ABSENT, Difference, differences, entry_differences
from chronoserve.app.replay.recording import Record
from chronoserve.app.replay.worlds import presence
from chronoserve.codec.tagged import Foreign, tag, type_from, type_to_json, untag
from chronoserve.model.confs import Derivation
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.types import DataType, Field, StructType, UnknownType
from chronoserve.sql.compile import expression
from chronoserve.sql.derive import Derivations

Replayed = tuple[dict[str, object], Iterator[Difference]]
DECIMAL = "org.apache.spark.sql.types.Decimal"

Results = Sequence[Mapping[str, object]]


class Expressions:
    """Expressions over the rows of the ``inputs`` record before them."""

    def __init__(self) -> None:
        self._columns = StructType("inputs", ())
        self._rows: list[tuple[object, ...]] = []
        self._clock: str | None = None

    def take_inputs(self, record: Record) -> None:
        """Raises InvalidRequest where the rows cannot be read."""
        self._columns = StructType("inputs", tuple(Field(name, type_from(data_type)) for name, data_type in record["columns"]))
        self._clock = "ts" if "ts" in self._columns.names else None
        self._rows = [tuple(untag(value) for value in row) for row in record["rows"]]

    def replay(self, record: Record) -> Replayed:
        compiled = attempt(lambda: expression(record["expression"], self._columns, clock=self._clock))
        if isinstance(compiled, KVError):
            answers: dict[str, object] = {"error": told(compiled)}
            return answers, iter(() if "error" in record else [Difference("error", ABSENT, told(compiled))])
        results = [_result(lambda row=row: _tagged(compiled.evaluate(row), compiled.type)) for row in self._rows]
        answers = {"spark_type": compiled.spark_type, "output_type": _type(compiled.type), "results": results}
        if "error" in record:
            return answers, iter([Difference("error", record["error"], ABSENT)])
        return answers, _expression_differences(record, answers, results)


def _expression_differences(record: Record, answers: Mapping[str, object], results: Results) -> Iterator[Difference]:
    for name in ("spark_type", "output_type"):
        if record[name] != answers[name]:
            yield Difference(name, record[name], answers[name])
    if record["deterministic"]:
        for at, (expected, got) in enumerate(zip(record["results"], results, strict=True)):
            yield from _result_differences(expected, got, f"results[{at}]")


def _tagged(value: object, data_type: DataType | None) -> object:
    return tag(_foreign(value), data_type)


def _foreign(value: object) -> object:
    """Decimals as the object of Spark's that a recording shows, with the digits of their scale."""
    match value:
        case Decimal():
            return Foreign("other", f"{DECIMAL}:{value:f}")
        case list():
            return [_foreign(each) for each in value]
        case tuple():
            return tuple(_foreign(each) for each in value)
        case dict():
            return {key: _foreign(each) for key, each in value.items()}
        case _:
            return value


def _type(data_type: DataType) -> object:
    """Chronon has one name for every type that it lacks; where such a type is nested, it is not told apart further."""
    return type_to_json(UnknownType() if isinstance(data_type, UnknownType) else data_type)


def _result(make: Any) -> dict[str, object]:
    found = attempt(make)
    return {"error": told(found)} if isinstance(found, KVError) else {"value": found}


def _result_differences(expected: Mapping[str, object], got: Mapping[str, object], place: str) -> Iterator[Difference]:
    if "error" in expected or "error" in got:
        if ("error" in expected) != ("error" in got):
            yield Difference(place, dict(expected), dict(got))
        return
    yield from differences(expected["value"], got["value"], f"{place}.value")


def replay_group(record: Record) -> Replayed:
    """A list of derivations over base maps, through the function that the fetcher uses."""
    derivations = [Derivation(name=name, expression=text) for name, text in record["derivations"]]
    key_type, base_type = (_struct(record[side]) for side in ("key_type", "base_type"))
    made = attempt(lambda: Derivations(derivations, key_type, base_type))
    fields = made if isinstance(made, KVError) else attempt(lambda: _fields(made))
    answers: dict[str, object] = {"fields_error": told(fields)} if isinstance(fields, KVError) else {"derived_fields": fields}
    answers["cases"] = [_case(made, record, case["base"]) for case in record["cases"]]
    return answers, _group_differences(record, answers)


def _struct(tree: object) -> StructType:
    struct = type_from(tree)
    if not isinstance(struct, StructType):
        raise InvalidRequest("the schemas of a derivation group are structs")
    return struct


def _fields(derivations: Derivations) -> list[list[object]]:
    return [[field.name, _type(field.type)] for field in derivations.derived_type.fields]


def _case(derivations: Derivations | KVError, record: Record, base: Mapping[str, object]) -> dict[str, object]:
    if isinstance(derivations, KVError):
        return {"error": told(derivations)}
    keys = {name: untag(value) for name, value in record["request_keys"].items()}
    values = {name: untag(value) for name, value in base.items()}
    found = attempt(lambda: derivations.apply(keys, values, record["at_millis"]))
    if isinstance(found, KVError):
        return {"error": told(found)}
    types = attempt(lambda: derivations.derived_type)  # a list that has no schema may be applied all the same
    type_of = (lambda _: None) if isinstance(types, KVError) else types.type_of
    return {"derived": {name: _tagged(value, type_of(name)) for name, value in found.items()}}


def _group_differences(record: Record, answers: Mapping[str, Any]) -> Iterator[Difference]:
    if ("fields_error" in record) != ("fields_error" in answers):
        yield Difference("derived_fields", _schema_of(record), _schema_of(answers))
    elif "derived_fields" in record and _shape(record["derived_fields"]) != _shape(answers["derived_fields"]):
        yield Difference("derived_fields", record["derived_fields"], answers["derived_fields"])
    for at, (expected, got) in enumerate(zip(record["cases"], answers["cases"], strict=True)):
        place = f"cases[{at}]"
        if "error" in expected or "error" in got:
            if ("error" in expected) != ("error" in got):
                yield Difference(place, _answer_of(expected), _answer_of(got))
        else:
            yield from entry_differences(presence(expected["derived"]), presence(got["derived"]), f"{place}.derived")


def _schema_of(record: Mapping[str, Any]) -> object:
    return record.get("derived_fields", ABSENT) if "fields_error" not in record else {"error": record["fields_error"]}


def _answer_of(case: Mapping[str, Any]) -> object:
    return {"error": case["error"]} if "error" in case else {"derived": case["derived"]}


def _shape(fields: object) -> object:
    """Names of nested records are made up by Spark from the column's name; everything else counts."""
    match fields:
        case {"struct": _, "fields": list(inner)}:
            return {"fields": _shape(inner)}
        case dict():
            return {key: _shape(value) for key, value in fields.items()}
        case list():
            return [_shape(each) for each in fields]
        case _:
            return fields

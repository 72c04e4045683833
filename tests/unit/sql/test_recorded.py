"""What Spark 3.5.3 answered to six thousand expressions (see record_spark.py), and what Chronon's JVM fetcher did (golden e)."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chronoserve.codec.tagged import Foreign, alike, type_from, untag
from chronoserve.model.confs import Derivation
from chronoserve.model.errors import KVError, Unsupported
from chronoserve.model.types import DataType, Field, StructType, UnknownType
from chronoserve.sql.compile import Compiled, expression
from chronoserve.sql.derive import Derivations
from chronoserve.sql.types import spark_name
from tests.recordings import records

HERE = Path(__file__).parent
BY_INTRINSICS = ("sin(", "cos(", "tan(", "cot(", "sec(", "csc(")
RELATIVE = 4e-15
"""sin, cos and tan may differ from Java's in the last bit; everything else is exact."""

UNTOLD = re.compile(r"interval|map<(?:struct|array)")
"""Types that the notation cannot tell: intervals are recorded as texts, and keys of maps have no names."""
KNOWN_DIFFERENCES = {
    "from_json('{\"a\":\"20240105\"}', 'a DATE')": "Spark reads eight digits as a count of days",
    'from_json(\'{"a":1, "_corrupt_record": "x"}\', \'a INT, _corrupt_record STRING\')': "refused: not supported",
    "from_json('bad', 'a INT, _corrupt_record STRING')": "refused: not supported",
    "from_json(js, 'a INT', map('mode','FAILFAST'))": "refused: not supported",
    "to_json(map(struct(1), 'x'))": "refused: not supported",
}
"""Expressions whose answer is knowingly another one, with the reason."""


def plain(value: Any) -> Any:
    """An untagged value with decimals as decimals."""
    if isinstance(value, Foreign):
        return Decimal(value.text.rpartition(":")[2])
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {plain(key): plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def same(ours: Any, theirs: Any, text: str) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float) and not any(name in text for name in BY_INTRINSICS):
        return repr(ours) == repr(float(theirs))
    return alike(ours, theirs, tolerance=RELATIVE)


def lines() -> Iterator[dict[str, Any]]:
    with gzip.open(HERE / "spark_3_5.jsonl.gz", "rt", encoding="utf-8") as opened:
        for line in opened:
            yield json.loads(line)


def difference(record: dict[str, Any], inputs: StructType, rows: list[tuple[Any, ...]]) -> str | None:
    """What is not as recorded; None where all is."""
    text = record["expression"]
    failed = "error" in record or all("error" in result for result in record["results"])
    try:
        compiled = expression(text, inputs)
    except Unsupported as error:
        return None if failed else f"unsupported: {error.message}"
    except KVError as error:
        return None if failed or only_fails_or_is_null(record) else f"refused: {error.message}"
    if "error" in record:
        # Spark refuses it, or it fails on every row: the recording does not tell
        return None if all(map(fails(compiled), rows)) else "accepted what Spark refuses"
    if compiled.spark_type != record["spark_type"]:
        return f"type {compiled.spark_type}, Spark's {record['spark_type']}"
    return next(
        filter(None, (row_difference(compiled, row, result, text) for row, result in zip(rows, record["results"], strict=True))), None
    )


def fails(compiled: Compiled) -> Callable[[tuple[Any, ...]], bool]:
    def run(row: tuple[Any, ...]) -> bool:
        try:
            compiled.evaluate(row)
        except KVError:
            return True
        return False

    return run


def only_fails_or_is_null(record: dict[str, Any]) -> bool:
    """A constant that is not valid fails Spark's rows where the other arguments are not null; we say so at load."""
    return any("error" in result for result in record["results"]) and all(result.get("value") is None for result in record["results"])


def row_difference(compiled: Any, row: tuple[Any, ...], result: dict[str, Any], text: str) -> str | None:
    try:
        ours = compiled.evaluate(row)
    except KVError as error:
        return None if "error" in result else f"failed: {error.message}"
    if "error" in result:
        return f"{ours!r} where Spark fails"
    theirs = plain(untag(result["value"]))
    return None if same(ours, theirs, text) else f"{ours!r}, Spark's {theirs!r}"


def test_everything_that_spark_answered() -> None:
    inputs = json.loads((HERE / "inputs.json").read_text(encoding="utf-8"))
    types = StructType("in", tuple(Field(name, type_from(kind)) for name, kind in inputs["columns"]))
    rows = [tuple(plain(untag(value)) for value in row) for row in inputs["rows"]]
    seen, wrong = 0, []
    for record in lines():
        if UNTOLD.search(record.get("spark_type", "")):
            continue
        seen += 1
        found = difference(record, types, rows)
        if found is not None and record["expression"] not in KNOWN_DIFFERENCES:
            wrong.append(f"{record['expression']}: {found}")
    assert not wrong, "\n".join(wrong[:20])
    assert seen > 5_000


# what the JVM fetcher recorded


GOLDEN = list(records("e_derivations"))


def golden_inputs() -> tuple[StructType, list[tuple[Any, ...]]]:
    found = next(record for record in GOLDEN if record["kind"] == "inputs")
    types = StructType("in", tuple(Field(name, type_from(kind)) for name, kind in found["columns"]))
    return types, [tuple(plain(untag(value)) for value in row) for row in found["rows"]]


def declared_alike(ours: DataType, theirs: DataType) -> bool:
    return ours == theirs or (isinstance(ours, UnknownType) and isinstance(theirs, UnknownType))


@pytest.mark.parametrize("record", [record for record in GOLDEN if record["kind"] == "expression"], ids=lambda record: record["expression"])
def test_golden_expressions(record: dict[str, Any]) -> None:
    inputs, rows = golden_inputs()
    if "error" in record:
        with pytest.raises(KVError):
            expression(record["expression"], inputs)
        return
    compiled = expression(record["expression"], inputs)
    assert compiled.spark_type == record["spark_type"]
    assert declared_alike(compiled.type, type_from(record["output_type"]))
    for row, result in zip(rows, record["results"], strict=True):
        if record.get("deterministic", True):
            assert row_difference(compiled, row, result, record["expression"]) is None


@pytest.mark.parametrize("record", [record for record in GOLDEN if record["kind"] == "derivation_group"], ids=lambda record: record["id"])
def test_golden_derivation_groups(record: dict[str, Any]) -> None:
    key_type, base_type = type_from(record["key_type"]), type_from(record["base_type"])
    assert isinstance(key_type, StructType)
    assert isinstance(base_type, StructType)
    derivations = Derivations([Derivation(name=name, expression=text) for name, text in record["derivations"]], key_type, base_type)
    if "fields_error" in record:
        with pytest.raises(KVError):
            _ = derivations.derived_type
    else:
        expected = [(name, type_from(kind)) for name, kind in record["derived_fields"]]
        assert [(field.name, field.type) for field in derivations.derived_type.fields] == expected
    keys = {name: plain(untag(value)) for name, value in record["request_keys"].items()}
    for case in record["cases"]:
        base = {name: plain(untag(value)) for name, value in case["base"].items()}
        if "error" in case:
            with pytest.raises(KVError):
                derivations.apply(keys, base, record["at_millis"])
        else:
            derived = derivations.apply(keys, base, record["at_millis"])
            assert same(derived, {name: plain(untag(value)) for name, value in case["derived"].items()}, "")


def test_types_are_named_as_spark_names_them() -> None:
    assert spark_name(StructType("", (Field("a b", StructType("", ())),))) == "struct<`a b`:struct<>>"

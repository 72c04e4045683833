"""Chronon's JSON: whatever the values, standard JSON that reads back as they were, and the shapes of its results."""

import base64
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.model.boxed import Float, Int
from chronoserve.model.errors import DerivationFailed, InvalidRequest, KVError, LateBatch, Unavailable
from chronoserve.model.features import FeatureRow, RowStatus
from chronoserve.model.types import DOUBLE, FLOAT, LONG, STRING, DataType, Field, ListType, MapType, StructType
from chronoserve.wire.feature_json import RowJson, avro_result
from chronoserve.wire.http_features import boxed
from tests.unit.wire.features import as_float, typed_rows

NO_NUMBERS = {"NaN", "Infinity", "-Infinity"}


def number(value: float) -> Any:
    """As JSON reads: a text for what JSON has no number for."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def expected(value: Any, data_type: DataType | None) -> Any:
    match value, data_type:
        case bytes(), _:
            return base64.b64encode(value).decode()
        case bool() | None | str(), _:
            return value
        case int(), _:
            return int(value)
        case float(), _:
            return number(value)
        case tuple(), StructType(_, fields):
            return [expected(each, field.type) for each, field in zip(value, fields, strict=True)]
        case dict(), StructType():
            return {name: expected(each, data_type.type_of(name)) for name, each in value.items()}
        case dict(), _:
            element = data_type.value if isinstance(data_type, MapType) else None
            texts = {True: "true", False: "false"}
            return {texts[key] if isinstance(key, bool) else str(key): expected(each, element) for key, each in value.items()}
        case _:
            return [expected(each, data_type.element if isinstance(data_type, ListType) else None) for each in value]


def as_read(value: Any, data_type: DataType | None) -> Any:
    """What a client reads, with the digits of floats taken back to 32 bits."""
    match value, data_type:
        case float() | int(), _ if data_type == FLOAT and not isinstance(value, bool):
            return as_float(value)
        case list(), ListType(element):
            return [as_read(each, element) for each in value]
        case list(), StructType(_, fields):
            return [as_read(each, field.type) for each, field in zip(value, fields, strict=True)]
        case dict(), StructType():
            return {name: as_read(each, data_type.type_of(name)) for name, each in value.items()}
        case dict(), MapType(_, element):
            return {name: as_read(each, element) for name, each in value.items()}
        case _:
            return value


@given(typed_rows())
def test_values_read_back(typed: tuple[dict[str, Any], dict[str, DataType]]) -> None:
    features, types = typed
    text = msgspec.json.encode(RowJson().features(features, types))
    found = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert {name: as_read(value, types.get(name)) for name, value in found.items()} == {
        name: expected(value, types.get(name)) for name, value in features.items()
    }


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_prints_with_the_fewest_digits_that_tell_it_apart(value: float) -> None:
    (found,) = RowJson().features({"f": value}, {"f": FLOAT}).values()
    assert as_float(found) == value
    assert len(repr(abs(found)).replace(".", "").replace("-", "").partition("e")[0].strip("0")) <= 9


def test_a_tenth_is_a_tenth_in_32_bits() -> None:
    tenth = as_float(0.1)
    features = {"plain": tenth, "list": [tenth, None], "boxed": Float(tenth), "double": tenth}
    types: dict[str, DataType] = {"plain": FLOAT, "list": ListType(FLOAT), "double": DOUBLE}
    assert RowJson().features(features, types) == {"plain": 0.1, "list": [0.1, None], "boxed": 0.1, "double": tenth}


def test_a_value_that_is_not_of_its_type_is_written_as_what_it_is() -> None:
    types: dict[str, DataType] = {
        "f": FLOAT, "d": DOUBLE, "l": ListType(LONG), "n": ListType(DOUBLE), "m": MapType(STRING, LONG),
        "s": StructType("S", (Field("x", LONG),)),
    }  # fmt: skip
    odd = {"f": "text", "d": Int(5), "l": 1, "n": 2, "m": [3], "s": (1, 2)}
    assert RowJson().features(odd, types) == {"f": "text", "d": 5, "l": 1, "n": 2, "m": [3], "s": [1, 2]}


def row(status: RowStatus, features: dict[str, Any] | None, error: KVError | None = None, **part_errors: KVError) -> FeatureRow:
    return FeatureRow(status, features, {}, {"user": Int(5)}, error, dict(part_errors))


KEYS = {"user": 5}
SHAPES = [
    (row(RowStatus.OK, {"x": None}), {"status": "Success", "entityKeys": KEYS, "features": {"x": None}}),
    (row(RowStatus.MISSING, None), {"status": "Success", "entityKeys": KEYS}),
    (row(RowStatus.MISSING, {}), {"status": "Success", "entityKeys": KEYS, "features": {}}),
    (
        row(RowStatus.DEGRADED, {"x": 1}, gb=Unavailable("away"), old=LateBatch("two days")),
        {"status": "Success", "entityKeys": KEYS, "features": {"x": 1, "gb_exception": "away"}},
    ),
    (
        row(RowStatus.ERROR, None, DerivationFailed("no"), derivation_fetch=DerivationFailed("no")),
        {"status": "Success", "entityKeys": KEYS, "features": {"derivation_fetch_exception": "no"}},
    ),
    (row(RowStatus.ERROR, None, InvalidRequest("bad key")), {"status": "Failure", "entityKeys": KEYS, "error": "bad key"}),
]


@pytest.mark.parametrize(("shown", "wanted"), SHAPES)
def test_results_have_the_shapes_of_chronon(shown: FeatureRow, wanted: dict[str, Any]) -> None:
    assert RowJson().result(shown) == wanted


def test_results_of_the_second_version() -> None:
    partly = row(RowStatus.DEGRADED, {"x": 1}, gb=Unavailable("away"))
    assert avro_result(partly, (b"\xfb\xff", "hash")) == {
        "status": "Success",
        "entityKeys": KEYS,
        "featuresErrors": {"gb_exception": "away"},
        "featureAvroString": "+/8=",
    }
    assert avro_result(row(RowStatus.MISSING, None), InvalidRequest("no schema")) == {
        "status": "Failure",
        "entityKeys": KEYS,
        "featuresErrors": {},
        "error": "no schema",
    }


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_of_keys_are_boxed_as_jackson_reads_them(value: int) -> None:
    found = boxed(value)
    assert found == value
    assert type(found) is (Int if -(1 << 31) <= value < 1 << 31 else int)


def test_other_keys_are_what_they_are() -> None:
    assert boxed(True) is True
    assert type(boxed([1, {"x": 2}, 1.5, None])[1]["x"]) is Int  # type: ignore[index]
    with pytest.raises(InvalidRequest, match="64 bits"):
        boxed([1 << 63])

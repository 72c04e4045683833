"""The three encodings of features: whatever the values, a client reads them back from the generated classes."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.model.errors import CorruptValue, DerivationFailed, Internal, InvalidRequest, KVError, Unavailable
from chronoserve.model.features import FeatureRow, Freshness, RowStatus
from chronoserve.model.types import BOOLEAN, DOUBLE, FLOAT, INT, LONG, STRING, DataType, ListType, UnknownType
from chronoserve.service.avro_rows import Written
from chronoserve.v1 import fetcher_pb2
from chronoserve.wire import feature_rows
from chronoserve.wire.feature_columns import ColumnEncoder
from chronoserve.wire.feature_replies import ReplyEncoder
from chronoserve.wire.feature_rows import COMPILED_AFTER, RowEncoder
from chronoserve.wire.feature_values import encode
from tests.unit.wire.features import BOXED, column_values, expected, read, typed_rows

TypedRow = tuple[dict[str, Any], dict[str, DataType]]


def row_of(features: dict[str, Any] | None, types: dict[str, DataType], **other: Any) -> FeatureRow:
    return FeatureRow(RowStatus.OK, features, types, {}, **other)


def features_of(data: bytes) -> dict[str, Any]:
    return {name: read(value) for name, value in fetcher_pb2.FeatureResponse.FromString(data).features.items()}


# maps of values


@given(typed_rows())
def test_a_row_is_read_back_before_and_after_it_is_compiled(typed: TypedRow) -> None:
    features, types = typed
    encoder = RowEncoder()
    wanted = {name: expected(value, types.get(name)) for name, value in features.items()}
    for _ in range(COMPILED_AFTER + 1):
        assert features_of(encoder.encode(features, types)) == wanted


@given(typed_rows(), st.data())
def test_compiled_rows_take_any_value_of_their_types(typed: TypedRow, data: st.DataObject) -> None:
    """Compiled on one row, used on others: nulls and values of other sizes, even of other types, are what they are."""
    features, types = typed
    encoder = RowEncoder()
    for _ in range(COMPILED_AFTER):
        encoder.encode(features, types)
    other = {name: data.draw(BOXED) if data.draw(st.booleans()) else value for name, value in features.items()}
    assert set(features_of(encoder.encode(other, types))) == set(other)
    nulls: dict[str, Any] = dict.fromkeys(features)
    assert features_of(encoder.encode(nulls, types)) == nulls


def test_a_value_that_is_not_of_its_type_is_sent_as_what_it_is() -> None:
    types: dict[str, DataType] = {"i": LONG, "d": DOUBLE, "s": STRING, "l": ListType(LONG), "b": BOOLEAN}
    odd = {"i": "text", "d": "text", "s": 5, "l": 7.5, "b": "yes"}
    wanted = {"i": "text", "d": "text", "s": ("int", 5), "l": expected(7.5, None), "b": "yes"}
    encoder = RowEncoder()
    for _ in range(COMPILED_AFTER + 1):
        assert features_of(encoder.encode(odd, types)) == wanted
    reply = fetcher_pb2.FetchResponse.FromString(ColumnEncoder().encode([row_of(odd, types)]))
    assert {column.name: column_values(column, 1)[0] for column in reply.columns} == wanted


def test_one_misfit_leaves_the_other_features_typed() -> None:
    types: dict[str, DataType] = {"i": LONG, "f": FLOAT}
    encoder = RowEncoder()
    for _ in range(COMPILED_AFTER + 1):
        assert features_of(encoder.encode({"i": "text", "f": 1.5}, types)) == {"i": "text", "f": expected(1.5, FLOAT)}


def test_decimals_are_sent_as_text_and_foreign_objects_not_at_all() -> None:
    assert read(fetcher_pb2.Value.FromString(encode(UnknownType("decimal(2,1)"), Decimal("3.5")))) == "3.5"
    with pytest.raises(Internal, match="object"):
        encode(None, object())


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    encoder = RowEncoder()
    for _ in range(COMPILED_AFTER + 1):
        assert features_of(encoder.encode({"s": "a\ud800"}, {"s": STRING})) == {"s": "a?"}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_rows, "COMPILED_FEATURES_MAX", 5)
    monkeypatch.setattr(feature_rows, "PLANS_MAX", 3)
    encoder = RowEncoder()
    plans: list[dict[str, DataType]] = [{f"f{n}": LONG, "g": DOUBLE} for n in range(10)]
    for _ in range(COMPILED_AFTER + 1):
        for number, types in enumerate(plans):
            row = {f"f{number}": number, "g": 0.5}
            assert features_of(encoder.encode(row, types)) == {name: expected(value, types[name]) for name, value in row.items()}
    assert len(encoder._plans) <= 3
    assert encoder._features <= 5


def test_many_sets_of_names_of_one_plan_are_encoded_without_being_remembered() -> None:
    types: dict[str, DataType] = {f"f{n}": LONG for n in range(100)}
    encoder = RowEncoder()
    for _ in range(COMPILED_AFTER + 1):
        for n in range(100):
            assert features_of(encoder.encode({f"f{n}": n}, types)) == {f"f{n}": ("int", n)}
    (plan,) = encoder._plans.values()
    assert len(plan.layouts) == feature_rows.LAYOUTS_MAX


# packed columns


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=8), st.lists(typed_rows(), min_size=3, max_size=3), st.data())
def test_columns_hold_every_value_of_every_row(picks: list[tuple[int, int]], plans: list[TypedRow], data: st.DataObject) -> None:
    """Rows of several joins in one call, some without features, some with fewer than others."""
    rows = []
    for plan, kind in picks:
        features, types = plans[plan]
        shown = {name: None if kind == 2 and data.draw(st.booleans()) else value for name, value in features.items()}
        if kind == 3:
            shown.popitem() if shown else None
        rows.append(row_of(None if kind == 1 else shown, types))
    reply = fetcher_pb2.FetchResponse.FromString(ColumnEncoder().encode(rows))
    found: list[dict[str, Any]] = [{} for _ in rows]
    for column in reply.columns:
        for number, value in column_values(column, len(rows)).items():
            assert column.name not in found[number]
            found[number][column.name] = value
    assert found == [{name: expected(value, row.types.get(name)) for name, value in (row.features or {}).items()} for row in rows]


def test_columns_are_packed_by_type_and_name_rows_and_nulls_only_where_they_must() -> None:
    types: dict[str, DataType] = {"i": INT, "d": DOUBLE, "f": FLOAT, "b": BOOLEAN, "s": STRING, "l": ListType(LONG)}
    full = {"i": -3, "d": 0.1, "f": 1.5, "b": True, "s": "x", "l": [1]}
    reply = fetcher_pb2.FetchResponse.FromString(ColumnEncoder().encode([row_of(full, types)] * 2))
    kinds = {column.name: column.WhichOneof("values") for column in reply.columns}
    assert kinds == {
        "i": "int_values",
        "d": "double_values",
        "f": "float_values",
        "b": "bool_values",
        "s": "string_values",
        "l": "other_values",
    }
    assert not any(column.rows or column.nulls for column in reply.columns)
    partly = fetcher_pb2.FetchResponse.FromString(ColumnEncoder().encode([row_of(None, types), row_of({"i": None}, types)]))
    (column,) = partly.columns
    assert (list(column.rows), list(column.nulls), column.WhichOneof("values")) == ([1], [True], "int_values")


def test_a_feature_with_two_types_in_one_call_has_a_column_for_each() -> None:
    rows = [row_of({"x": 1}, {"x": LONG}), row_of({"x": "one"}, {"x": STRING})]
    reply = fetcher_pb2.FetchResponse.FromString(ColumnEncoder().encode(rows))
    found = [(column.WhichOneof("values"), list(column.rows)) for column in reply.columns]
    assert found == [("int_values", [0]), ("string_values", [1])]


# whole replies

PART_ERRORS: dict[str, KVError] = {"gb": Unavailable("away"), "derivation_fetch": DerivationFailed("no")}
ODD_ROWS = [
    row_of({"x": 1}, {"x": LONG}),
    FeatureRow(RowStatus.MISSING, None, {}, {}),
    FeatureRow(
        RowStatus.DEGRADED,
        {"x": None},
        {"x": LONG},
        {},
        part_errors=PART_ERRORS,
    ),
    FeatureRow(RowStatus.ERROR, None, {}, {}, InvalidRequest("bad key", field="keys"), freshness={"gb": Freshness(5, 7)}),
]


@pytest.mark.parametrize("freshness", [False, True])
def test_status_errors_and_freshness_are_the_same_in_every_encoding(freshness: bool) -> None:
    encoder = ReplyEncoder()
    written = [(name, "hash") for name in (b"a", b"b", b"c", b"d")]
    replies = {
        "map": encoder.maps(ODD_ROWS, freshness=freshness),
        "packed": encoder.packed(ODD_ROWS, freshness=freshness),
        "avro": encoder.avro(ODD_ROWS, written, freshness=freshness),
    }
    for kind, data in replies.items():
        reply = fetcher_pb2.FetchResponse.FromString(data)
        assert [response.status for response in reply.responses] == [1, 2, 3, 4]
        assert {stem: error.message for stem, error in reply.responses[2].part_errors.items()} == {"gb": "away", "derivation_fetch": "no"}
        assert reply.responses[3].error.message == "bad key"
        assert len(reply.responses[3].freshness) == freshness
        assert [response.avro for response in reply.responses] == ([b"a", b"", b"c", b""] if kind == "avro" else [b""] * 4)
        assert [bool(response.features) for response in reply.responses] == ([True, False, True, False] if kind == "map" else [False] * 4)


def test_a_row_that_does_not_fit_its_schema_is_an_error_of_its_own() -> None:
    rows = [row_of({"x": 1}, {"x": LONG})] * 2
    written: list[Written] = [CorruptValue("x is no long"), (b"data", "hash")]
    reply = fetcher_pb2.FetchResponse.FromString(ReplyEncoder().avro(rows, written, freshness=False))
    assert [(response.status, response.error.message, response.avro) for response in reply.responses] == [
        (4, "x is no long", b""),
        (1, "", b"data"),
    ]

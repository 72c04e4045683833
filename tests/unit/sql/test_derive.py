"""Derivations: classes, wildcard, exceptions, fallbacks (spec/online-fetch.md §12)."""

import pytest

from chronoserve.model.boxed import Int
from chronoserve.model.confs import Derivation
from chronoserve.model.errors import DerivationFailed, InvalidRequest, Unsupported
from chronoserve.model.types import DOUBLE, FLOAT, INT, LONG, STRING, Field, ListType, StructType, UnknownType
from chronoserve.sql.derive import Derivations, Kind

KEYS = StructType("keys", (Field("user", STRING), Field("item", LONG)))
POINT = StructType("Point", (Field("x", DOUBLE), Field("tags", ListType(STRING))))
BASE = StructType("base", (Field("a", LONG), Field("b", DOUBLE), Field("p_x", LONG), Field("g", POINT)))
TS = 1_692_060_000_123
REQUEST_KEYS = {"user": "u", "item": 3}


def derivations(*pairs: tuple[str, str], loose: list[str] | None = None) -> Derivations:
    return Derivations([Derivation(name=name, expression=text) for name, text in pairs], KEYS, BASE, loose=loose)


def test_the_class_follows_from_the_expressions() -> None:
    assert Derivations(None, KEYS, BASE).kind is Kind.NONE
    assert derivations(("x", "a"), ("*", "*")).kind is Kind.RENAME
    assert derivations(("x", "a + 1"), ("*", "*")).kind is Kind.SQL
    assert derivations(("x", "`a`")).kind is Kind.SQL


def test_nothing_derived_is_the_base_without_ts_and_ds() -> None:
    assert Derivations((), KEYS, BASE).apply(REQUEST_KEYS, {"a": 1, "ts": 5, "ds": "d", "p_exception": "e", "p_x": 2}, TS) == {
        "a": 1,
        "p_exception": "e",
        "p_x": 2,
    }


def test_renames_take_what_is_actually_there() -> None:
    derived = derivations(("x", "a"), ("*", "*"), ("who", "user"), ("day", "ds"), ("gone", "nosuch"))
    assert derived.apply(REQUEST_KEYS, {"a": 1, "b": 2.0, "extra": 9}, TS) == {
        "b": 2.0,
        "extra": 9,
        "x": 1,
        "who": "u",
        "day": "2023-08-15",
        "gone": None,
    }
    with pytest.raises(InvalidRequest, match="gone"):
        _ = derived.derived_type


def test_sql_takes_the_wildcard_from_the_schema() -> None:
    derived = derivations(("x", "a"), ("*", "*"), ("z", "b / a"))
    assert derived.apply(REQUEST_KEYS, {"a": 4, "b": 2.0, "extra": 9}, TS) == {"b": 2.0, "p_x": None, "g": None, "x": 4, "z": 0.5}
    assert derived.derived_type.names == ("b", "p_x", "g", "x", "z")


def test_a_derivation_over_a_wildcard_feature_wins() -> None:
    derived = derivations(("a", "a + 1"), ("*", "*"))
    assert derived.apply(REQUEST_KEYS, {"a": 1}, TS)["a"] == 2
    assert derived.derived_type.names == ("a", "b", "p_x", "g", "a")


def test_structs_come_back_by_name_and_go_in_either_way() -> None:
    derived = derivations(("x", "g.x + 1"), ("g", "g"))
    by_position = derived.apply(REQUEST_KEYS, {"g": (1.5, ["t"])}, TS)
    by_name = derived.apply(REQUEST_KEYS, {"g": {"tags": ["t"], "x": 1.5}}, TS)
    assert by_position == by_name == {"x": 2.5, "g": {"x": 1.5, "tags": ["t"]}}


def test_struct_types_are_named_after_their_column() -> None:
    fields = derivations(("out", "g"), ("list", "array(g)"), ("map", "map('k', g)")).derived_type.fields
    assert fields[0].type == StructType("OutStruct", POINT.fields)
    assert fields[1].type == ListType(StructType("ListElementStruct", POINT.fields))


def test_types_without_a_chronon_form_are_declared_unknown() -> None:
    fields = derivations(("d", "1.5"), ("n", "null")).derived_type.fields
    assert [field.type for field in fields] == [UnknownType("decimal(2,1)"), UnknownType("void")]


def test_ts_and_ds_are_built_in_and_hide_features_of_that_name() -> None:
    derived = derivations(("next", "ts + 1"), ("day", "concat(ds, '!')"), ("ds", "ds"))
    assert derived.apply(REQUEST_KEYS, {"ts": 1, "ds": "other"}, TS) == {"next": TS + 1, "day": "2023-08-15!"}


def test_an_exception_is_carried_and_removes_what_its_stem_begins() -> None:
    derived = derivations(("*", "*"), ("p_sum", "p_x + a"), ("ok", "a"))
    assert derived.apply(REQUEST_KEYS, {"a": 1, "p_x": 3, "p_exception": "boom"}, TS) == {
        "b": None,
        "g": None,
        "ok": 1,
        "p_exception": "boom",
    }


def test_untyped_values_take_the_schema_s_width() -> None:
    wide = StructType("base", (Field("i", INT), Field("d", DOUBLE), Field("f", FLOAT), Field("s", STRING)))
    derived = Derivations([Derivation(name="x", expression="i + 0"), Derivation(name="y", expression="d + f")], KEYS, wide)
    assert derived.apply({}, {"i": 1 << 32 | 5, "d": Int(2), "f": 1}, TS) == {"x": 5, "y": 3.0}
    with pytest.raises(DerivationFailed, match="s is not a string"):
        derived.apply({}, {"i": 1, "s": 5}, TS)
    with pytest.raises(DerivationFailed, match="i is not a number"):
        derived.apply({}, {"i": "1"}, TS)


def test_typed_features_are_taken_as_they_are() -> None:
    derived = derivations(("x", "a + 1"), loose=["b"])
    assert derived.apply(REQUEST_KEYS, {"a": 1, "b": "never read"}, TS) == {"x": 2}


def test_a_list_that_does_not_compile_fails_where_it_is_used() -> None:
    broken = derivations(("x", "nosuch + 1"))
    with pytest.raises(InvalidRequest, match="x: cannot resolve `nosuch`"):
        _ = broken.derived_type
    with pytest.raises(InvalidRequest):
        broken.apply(REQUEST_KEYS, {}, TS)
    with pytest.raises(Unsupported, match="sum"):
        _ = derivations(("x", "sum(a)")).derived_type


def test_after_a_failing_expression_no_feature_is_left() -> None:
    derived, failures = derivations(("*", "*"), ("x", "element_at(array(1), cast(a * 0 as int))")).derive(
        REQUEST_KEYS, {"a": 1, "q_exception": "e"}, TS
    )
    assert derived == {"q_exception": "e"}
    assert failures.keys() == {"derivation_fetch", "derivation_rename"}


def test_a_failing_rename_falls_back_without_ts_and_ds() -> None:
    derived, failures = derivations(("x", "a"), ("day", "ds")).derive(REQUEST_KEYS, {"a": 1}, -1)
    assert derived == {"x": 1, "day": None}
    assert failures.keys() == {"derivation_fetch"}


def test_no_base_at_all_derives_from_nulls() -> None:
    assert derivations(("x", "coalesce(a, 7L)")).apply(REQUEST_KEYS, None, TS) == {"x": 7}
    assert derivations(("x", "a")).apply(REQUEST_KEYS, None, TS) == {"x": None}


def test_a_key_that_is_also_a_feature_is_ambiguous() -> None:
    both = StructType("base", (Field("user", STRING),))
    with pytest.raises(InvalidRequest, match="ambiguous"):
        _ = Derivations([Derivation(name="x", expression="upper(user)")], KEYS, both).derived_type


def test_the_clock_of_a_derivation_is_the_request_s_time() -> None:
    derived = derivations(("at", "now()"), ("day", "cast(current_date as string)"), ("age", "unix_timestamp() * 1000 - ts"), ("a", "a + 0"))
    assert derived.apply(REQUEST_KEYS, {"a": 1}, TS) == {"at": TS * 1000, "day": "2023-08-15", "age": -123, "a": 1}
    same = derivations(("at", "current_timestamp()"), ("day", "curdate() = current_date()"))
    assert same.apply(REQUEST_KEYS, {}, TS) == {"at": TS * 1000, "day": True}


def test_a_clock_takes_no_argument_and_has_no_zone() -> None:
    for text in ("now(1)", "localtimestamp()", "current_timezone()"):
        with pytest.raises(Unsupported):
            _ = derivations(("x", text)).derived_type

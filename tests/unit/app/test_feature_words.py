"""Keys as a command line has them, and features as a table has them."""

import json
from typing import Any

import pytest

from chronoserve.app.feature_keys import from_json, from_lines, from_pairs, is_json, plain, shown
from chronoserve.app.feature_table import Answered, age, cell, lines, span, types_of
from chronoserve.app.terminal import CELL_CHARS_MAX
from chronoserve.codec.avro import schema_text
from chronoserve.model.types import BINARY, BOOLEAN, DOUBLE, INT, LONG, STRING, Field, ListType, StructType
from chronoserve_client import FeatureRow, Fetch, Freshness, RowStatus

COLUMNS = {"s": STRING, "l": LONG, "i": INT, "d": DOUBLE, "b": BOOLEAN, "x": BINARY}
KEYS = schema_text(StructType("Key", tuple(Field(*column) for column in COLUMNS.items())))
NOW = 1_700_000_000_000


def test_pairs_take_the_types_of_their_columns() -> None:
    found = from_pairs(["s=5", "l=5", "i=-5", "d=1.5", "b=true", "x=hex:00ff", "extra=5"], KEYS)
    assert found == {"s": "5", "l": 5, "i": -5, "d": 1.5, "b": True, "x": b"\x00\xff", "extra": "5"}
    assert [type(value) for value in found.values()] == [str, int, int, float, bool, bytes, str]


def test_without_a_schema_pairs_are_texts() -> None:
    assert from_pairs(["l=5", "empty=", "eq=a=b"], None) == {"l": "5", "empty": "", "eq": "a=b"}
    assert from_pairs(["l=5"], "no schema") == {"l": "5"}


@pytest.mark.parametrize("pair", ["l=five", "i=1.5", "d=x", "b=yes", "x=hex:0", "alone", "=value"])
def test_a_pair_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(ValueError, match=pair.partition("=")[0] or "=value"):
        from_pairs([pair], KEYS)


def test_json_keys_are_an_object_or_a_list() -> None:
    assert is_json(' {"a": 1}')
    assert is_json("[]")
    assert not is_json("a=[1]")
    assert from_json('{"a": 1}') == [{"a": 1}]
    assert from_json('[{"a": 1}, {"b": null}]') == [{"a": 1}, {"b": None}]
    for wrong in ("{", "[1]", "5", "[" * 100_000):
        with pytest.raises(ValueError, match="keys"):
            from_json(wrong)


def test_lines_are_numbered_and_one_object_each() -> None:
    assert list(from_lines([b'{"a": 1}\n', b"\n", b'{"b": 2}'])) == [(1, {"a": 1}), (3, {"b": 2})]
    for wrong in (b"[{}, {}]", b"nothing"):
        with pytest.raises(ValueError, match="line 1"):
            list(from_lines([wrong]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (None, "null"),
        (5, "5"),
        (1.5, "1.5"),
        (True, "true"),
        (float("nan"), '"NaN"'),
        (float("-inf"), '"-Infinity"'),
        (b"\x00\xff", '"hex:00ff"'),
        ([1, None, "ü"], '[1, null, "ü"]'),
        ({"a": (1, b"")}, '{"a": [1, "hex:"]}'),
    ],
)
def test_values_are_shown_as_json_less_the_quotes_of_a_text(value: Any, text: str) -> None:
    assert shown(plain(value) if isinstance(value, bytes) else value) == (text.strip('"') if isinstance(value, bytes) else text)
    json.dumps(plain(value), allow_nan=False)


@pytest.mark.parametrize(
    ("millis", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (90_000_000, "1 d 1 h"),
        (86_400_000 * 400 + 1, "400 d"),
        (-61_000, "-1 min 1 s"),
    ],
)
def test_a_span_has_its_two_largest_units(millis: int, text: str) -> None:
    assert span(millis) == text


def answered(freshness: dict[str, Freshness], features: dict[str, Any] | None = None, at: int | None = NOW) -> Answered:
    row = FeatureRow(RowStatus.OK, features or {}, freshness=freshness)
    return Answered(Fetch("team/join.v1", {}, at), row, {"a_x": "float"}, NOW)


def test_an_age_is_that_of_the_longest_part_that_the_name_begins_with() -> None:
    found = answered({"a": Freshness(NOW - 1000, 0), "a_b": Freshness(NOW - 2000, NOW - 500), "c": Freshness(0, 0)})
    assert (age(found, "a_x"), age(found, "a_b_x"), age(found, "c_x"), age(found, "derived")) == ("1 s", "500 ms", "", "")


def test_data_newer_than_the_question_tells_an_age_at_most() -> None:
    assert age(answered({"a": Freshness(NOW - 1000, NOW + 1)}), "a_x") == "≤ 1 s"
    assert age(answered({"a": Freshness(NOW + 5, NOW + 1)}), "a_x") == ""


def test_a_group_by_has_one_part_for_all_its_features() -> None:
    assert age(answered({"team.gb.v1": Freshness(NOW - 1000, 0)}), "x_sum") == "1 s"


def test_a_float_has_the_digits_of_32_bits() -> None:
    assert cell(25.674179077148438, "float") == "25.67418"
    assert cell(25.674179077148438, "double") == "25.674179077148438"
    assert cell(None, "float") == "null"


def test_types_lose_what_avro_added_and_names_keep_it() -> None:
    point = StructType("point", (Field("x", DOUBLE),))
    text = schema_text(StructType("v", (Field("x", ListType(point)), Field("y", point))))
    assert types_of(text) == {"x": "list_struct_point", "y": "struct_point"}
    assert types_of("no schema") == {}


def test_a_table_as_text_is_aligned_and_cut() -> None:
    found = answered({}, {"b": "x" * 2 * CELL_CHARS_MAX, "a_x": None})
    (_, heading), (first_style, first), (_, second) = lines(found)
    assert heading.split() == ["feature", "value", "type", "age", "status"]
    assert first.split() == ["a_x", "null", "float", "null"]
    assert (first_style, second.split()[1][-1]) == ("bright_black", "…")
    assert {line.index(word) for line, word in ((heading, "value"), (first, "null"), (second, "xx"))} == {heading.index("value")}

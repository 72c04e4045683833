"""Chronon's JSON read back by the recording's boxes: what JSON tells is not lost on the way."""

from typing import Any

import pytest

from chronoserve.app.replay.compare import same
from chronoserve.app.replay.json_shape import as_recorded, features_as_recorded, from_tagged, natural

LONG: dict[str, Any] = {"long": 5}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (5, {"long": 5}),
        (5, {"int": 5}),
        (5.0, {"double": "5.0"}),
        (1.1, {"float": "1.1"}),
        ("NaN", {"double": "NaN"}),
        ("-Infinity", {"float": "-Infinity"}),
        ("Cv8=", {"bytes": "0aff"}),
        ("Cv8", {"bytes": "0aff"}),
        ("_-8", {"bytes": "ffef"}),
        ("/+8=", {"bytes": "ffef"}),
        (None, None),
        (True, True),
        ("5", "5"),
        ([1, None, 2], [{"long": 1}, None, {"long": 2}]),
        ([], []),
        ({"b": 1, "a": None}, {"map": [["a", None], ["b", {"int": 1}]]}),
        ([1.5, None, ["t"]], {"struct": [{"double": "1.5"}, None, ["t"]]}),
        ({"x": 1.5}, {"map": [["x", {"double": "1.5"}]]}),
    ],
)
def test_what_is_the_same_comes_back_the_same(found: Any, expected: Any) -> None:
    assert same(expected, as_recorded(found, expected))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (5.0, {"long": 5}),
        (5, {"double": "5.0"}),
        ("5", {"long": 5}),
        (True, {"int": 1}),
        (5, "5"),
        (5, True),
        (5, None),
        (None, {"long": 5}),
        ("nan", {"double": "NaN"}),
        ("Cv8=", {"bytes": "0afe"}),
        ("!!", {"bytes": ""}),
        ([1, 2], [{"long": 1}]),
        ([2], [{"long": 1}]),
        ([1], []),
        ({"a": 1}, {"map": [["b", {"long": 1}]]}),
        ({"a": 1.0}, {"map": [["a", {"long": 1}]]}),
        ([1.5], {"struct": [{"double": "1.5"}, None]}),
        ({"x": 1.5}, {"struct": [{"double": "1.5"}]}),
        ([["x", 1.5]], {"map": [["x", {"double": "1.5"}]]}),
    ],
)
def test_what_is_not_the_same_does_not(found: Any, expected: Any) -> None:
    assert not same(expected, as_recorded(found, expected))


def test_a_list_longer_than_the_recorded_one_keeps_its_kind() -> None:
    assert as_recorded([1, 2], [None, LONG]) == [{"long": 1}, {"long": 2}]


def test_names_that_the_recording_lacks_are_what_json_says() -> None:
    found = features_as_recorded({"a": 5, "b": [1.5, {"x": None}]}, {"a": LONG})
    assert found == {"a": LONG, "b": [{"number": "1.5"}, {"map": [["x", None]]}]}


def test_json_beside_json_compares_by_itself() -> None:
    value = {"x": [1, 2.5, "s", None, True, {"y": []}]}
    assert same(natural(value), as_recorded(value, natural(value)))
    assert not same(natural(value), as_recorded({"x": [1.0, 2.5, "s", None, True, {"y": []}]}, natural(value)))


@pytest.mark.parametrize(
    ("tagged", "plain"),
    [
        ({"long": 5}, 5),
        ({"float": "1.5"}, 1.5),
        ({"bytes": "0aff"}, "Cv8="),
        ([{"int": 1}, None], [1, None]),
        ({"map": [["a", {"int": 1}]]}, {"a": 1}),
        ({"struct": [{"int": 1}]}, [1]),
        ("s", "s"),
    ],
)
def test_keys_become_json(tagged: Any, plain: Any) -> None:
    assert from_tagged(tagged) == plain


def test_a_key_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        from_tagged({"double": "NaN"})

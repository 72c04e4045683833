"""Tagged values compared: what is the same, and above all what is not."""

from typing import Any

import pytest

from chronoserve.app.replay.compare import ABSENT, Difference, Shape, close, differences, entry_differences, same

UNORDERED = Shape.UNORDERED


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "text",
        {"int": 1},
        {"long": -5},
        {"double": "NaN"},
        {"double": "-0.0"},
        {"float": "1.1"},
        {"bytes": "0aff"},
        [],
        [{"int": 1}, None],
        {"map": []},
        {"map": [["a", {"long": 1}], ["b", None]]},
        {"struct": [{"double": "1.5"}, None, ["t"]]},
        {"other": "org.apache.spark.sql.types.Decimal:3.5"},
    ],
)
def test_a_value_is_itself(value: object) -> None:
    assert same(value, value)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"int": 1}, {"long": 1}),
        ({"float": "1.5"}, {"double": "1.5"}),
        ({"int": 1}, {"int": 2}),
        ({"int": 1}, {"int": True}),
        ({"int": 1}, 1),
        (None, False),
        (None, {"int": 0}),
        (None, []),
        ("1", {"int": 1}),
        (True, "true"),
        (True, False),
        ({"double": "0.0"}, {"double": "-0.0"}),
        ({"double": "NaN"}, {"double": "0.0"}),
        ({"double": "Infinity"}, {"double": "-Infinity"}),
        ({"double": "1.0"}, {"double": "1.00000001"}),
        ({"double": "1e-320"}, {"double": "0.0"}),
        ({"float": "1.1"}, {"float": "1.1000001"}),
        ({"bytes": "0a"}, {"bytes": "0b"}),
        ({"bytes": "61"}, "a"),
        ([{"int": 1}, {"int": 2}], [{"int": 2}, {"int": 1}]),
        ([{"int": 1}], [{"int": 1}, {"int": 1}]),
        ([], {"map": []}),
        ({"map": [["a", {"int": 1}]]}, {"map": [["a", {"long": 1}]]}),
        ({"map": [["a", None]]}, {"map": []}),
        ({"map": [["1", None]]}, {"map": [[{"int": 1}, None]]}),
        ({"map": [["a", {"int": 1}]]}, {"struct": [{"int": 1}]}),
        ({"struct": [{"int": 1}, None]}, {"struct": [{"int": 1}]}),
        ({"struct": [{"int": 1}]}, [{"int": 1}]),
        ({"other": "D:1.0"}, {"other": "D:1.00"}),
    ],
)
def test_what_differs_is_seen_from_both_sides(expected: object, got: object) -> None:
    assert not same(expected, got)
    assert not same(got, expected)
    assert not same(expected, got, UNORDERED) or isinstance(expected, list)


def test_the_order_of_additions_is_forgiven() -> None:
    assert same({"double": "0.1"}, {"double": "0.10000000000000002"})
    assert same({"struct": [{"double": "-1e300"}]}, {"struct": [{"double": "-1.0000000001e300"}]})
    assert close(1.0, 1.0 + 9e-10)
    assert not close(1.0, 1.0 + 2e-9)


def test_a_float_is_compared_as_32_bits_whatever_its_text() -> None:
    assert same({"float": "1.1"}, {"float": "1.100000023841858"})
    assert same({"float": "3.4028234e38"}, {"float": "Infinity"}) is False
    assert same({"float": "1e39"}, {"float": "Infinity"})


def test_maps_have_no_order() -> None:
    one: dict[str, Any] = {"map": [["a", {"int": 1}], ["b", {"int": 2}]]}
    assert same(one, {"map": list(reversed(one["map"]))})


def test_a_key_twice_is_no_map() -> None:
    assert not same({"map": [["a", None]]}, {"map": [["a", None], ["a", None]]})


@pytest.mark.parametrize(
    ("expected", "got", "alike"),
    [
        ([{"int": 1}, {"int": 2}, {"int": 2}], [{"int": 2}, {"int": 1}, {"int": 2}], True),
        ([{"int": 1}, {"int": 2}, {"int": 2}], [{"int": 2}, {"int": 1}, {"int": 1}], False),
        ([{"int": 1}], [{"long": 1}], False),
        ({"map": [["k", ["a", "b"]]]}, {"map": [["k", ["b", "a"]]]}, True),
        ([{"struct": ["a", "b"]}], [{"struct": ["b", "a"]}], False),
        ([{"double": "NaN"}, None], [None, {"double": "NaN"}], True),
    ],
)
def test_sets_and_heaps_are_multisets(expected: object, got: object, alike: bool) -> None:
    assert same(expected, got, UNORDERED) is alike


def test_each_difference_has_its_place() -> None:
    expected = {"x": {"map": [["k", [{"int": 1}, {"int": 2}]]]}, "gone": None, "same": "s"}
    got = {"x": {"map": [["k", [{"int": 1}, {"int": 3}]]]}, "same": "s", "new": True}
    found = list(entry_differences(expected, got, "values"))
    assert found == [
        Difference('values.x["k"][1]', {"int": 2}, {"int": 3}),
        Difference("values.gone", None, ABSENT),
        Difference("values.new", ABSENT, True),
    ]


def test_absent_and_null_are_two_things() -> None:
    assert list(entry_differences({"a": None}, {}, "")) == [Difference("a", None, ABSENT)]
    assert list(entry_differences({}, {"a": None}, "")) == [Difference("a", ABSENT, None)]
    assert Difference("a", None, ABSENT).record() == {"place": "a", "expected": None}
    assert Difference("a", ABSENT, None).record() == {"place": "a", "got": None}


def test_shapes_are_by_name() -> None:
    expected, got = {"top": ["a", "b"], "list": ["a", "b"]}, {"top": ["b", "a"], "list": ["b", "a"]}
    found = list(entry_differences(expected, got, "", {"top": UNORDERED}))
    assert [difference.place for difference in found] == ["list[0]", "list[1]"]


def test_a_difference_is_told_in_short() -> None:
    text = str(Difference("x", "a" * 1000, ABSENT))
    assert len(text) < 300
    assert text.endswith("ours nothing")


def test_the_differences_of_two_values_are_all_told() -> None:
    assert len(list(differences([{"int": 1}, {"int": 2}], [{"int": 3}, {"int": 4}]))) == 2

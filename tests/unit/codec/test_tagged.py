import math
from typing import Any

import pytest

from chronoserve.codec import tagged
from chronoserve.model import boxed, types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DOUBLE, FLOAT, INT, LONG, STRING, Field, ListType, MapType, StructType, UnknownType

POINT = StructType("p", (Field("x", LONG), Field("y", FLOAT)))


@pytest.mark.parametrize(
    ("value", "box", "plain"),
    [
        ({"int": 1}, boxed.Int, 1),
        ({"long": 1}, int, 1),
        ({"short": 1}, boxed.Short, 1),
        ({"byte": -1}, boxed.Byte, -1),
        ({"float": "0.1"}, boxed.Float, 0.10000000149011612),
        ({"double": "0.1"}, float, 0.1),
        ({"double": "-Infinity"}, float, -math.inf),
        (True, bool, True),
        ("text", str, "text"),
        ({"bytes": "0aff"}, bytes, b"\x0a\xff"),
        ([{"int": 1}, None], list, [1, None]),
        ({"map": [["k", {"long": 1}]]}, dict, {"k": 1}),
        ({"struct": [{"long": 1}, "a"]}, tuple, (1, "a")),
        ({"other": "Decimal:1.5"}, tagged.Foreign, tagged.Foreign("other", "Decimal:1.5")),
        ({"throwable": "E: m"}, tagged.Foreign, tagged.Foreign("throwable", "E: m")),
    ],
)
def test_tags_keep_javas_types_both_ways(value: object, box: type, plain: object) -> None:
    read = tagged.untag(value)
    assert type(read) is box
    assert read == plain
    assert tagged.tag(read) == value


def test_the_type_says_how_wide_plain_numbers_are() -> None:
    assert tagged.tag(5, INT) == {"int": 5}
    assert tagged.tag(0.5, FLOAT) == {"float": "0.5"}
    assert tagged.tag(boxed.Float(0.5), DOUBLE) == {"double": "0.5"}
    assert tagged.tag([(1, 0.5)], ListType(POINT)) == [{"struct": [{"long": 1}, {"float": "0.5"}]}]
    assert tagged.tag({"y": 0.5, "x": 1}, POINT) == {"map": [["x", {"long": 1}], ["y", {"float": "0.5"}]]}
    assert tagged.tag({"k": 1}, MapType(STRING, INT)) == {"map": [["k", {"int": 1}]]}
    assert tagged.tag(19_000, types.DATE) == {"int": 19_000}


@pytest.mark.parametrize(
    "value",
    [5, 1.5, {}, {"int": 1, "long": 2}, {"integer": 1}, {"int": True}, {"int": "1"}, {"double": 1.5}, {"map": [[1]]}, {"struct": 1}],
)
def test_what_is_no_tagged_value_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest):
        tagged.untag(value)


def test_objects_without_a_tag_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        tagged.tag({1, 2})
    with pytest.raises(InvalidRequest):
        tagged.tag(object())


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (math.nan, math.nan, True),
        (boxed.Int(1), 1, True),
        (1, 1.0, True),
        (True, 1, False),
        (1, True, False),
        (None, 0, False),
        ([1], (1,), False),
        ((1, [math.nan]), (1, [math.nan]), True),
        ({"a": 1}, {"a": 1.5}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1], [1, 2], False),
        (1.0, 1.0 + 1e-12, False),
        (b"a", b"a", True),
        (math.inf, 1.0, False),
    ],
)
def test_values_are_alike_boxes_aside(left: object, right: object, same: bool) -> None:
    assert tagged.alike(left, right) is same


def test_a_tolerance_is_relative_and_goes_inside() -> None:
    assert tagged.alike([(1e10, {"k": 1.0})], [(1e10 + 1, {"k": 1.0 + 1e-10})], tolerance=1e-9)
    assert not tagged.alike([1.0], [1.1], tolerance=1e-9)


@pytest.mark.parametrize(
    "tree",
    [
        "long",
        "bool",
        "date",
        {"list": "float"},
        {"map": ["string", {"list": "int"}]},
        {"struct": "s", "fields": [["a", "binary"], ["b", {"list": "short"}]]},
    ],
)
def test_types_both_ways(tree: Any) -> None:
    assert tagged.type_to_json(tagged.type_from(tree)) == tree


def test_unknown_types() -> None:
    assert tagged.type_from("decimal(2,1)") == UnknownType("decimal(2,1)")
    assert tagged.type_to_json(UnknownType()) == "unknown_type"
    with pytest.raises(InvalidRequest):
        tagged.type_from({"set": "int"})

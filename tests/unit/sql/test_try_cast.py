"""``try_cast`` as Spark 3.5.3 answered it: null where ``cast`` cuts, wraps or saturates."""

import math
from decimal import Decimal
from typing import Any

import pytest

from chronoserve.model.errors import InvalidRequest, Unsupported
from chronoserve.model.types import DOUBLE, LONG, STRING, Field, StructType
from chronoserve.sql.compile import expression

INPUTS = StructType("in", (Field("s", STRING), Field("d", DOUBLE), Field("l", LONG)))
ROWS = [
    ("0.5", 1e20, 1 << 40),
    ("1.", 1.7, 1 << 62),
    (" 12 ", math.nan, 5),
    ("4.9E-324", -0.5, 300),
    ("x", 1e9, -129),
    ("1e3", math.inf, 0),
    ("TRUE", 0.0, 1),
    ("2024-01-01", -2147483648.5, 2),
    ("2147483648", 9.3e18, -(1 << 63)),
]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("try_cast(s as int)", [None, None, 12, None, None, None, None, None, None]),
        ("try_cast(s as bigint)", [None, None, 12, None, None, None, None, None, 2147483648]),
        ("try_cast(d as int)", [None, 1, None, 0, 1000000000, None, 0, -2147483648, None]),
        ("try_cast(d as bigint)", [None, 1, None, 0, 1000000000, None, 0, -2147483648, None]),
        ("try_cast(l as int)", [None, None, 5, 300, -129, 0, 1, 2, None]),
        ("try_cast(l as tinyint)", [None, None, 5, None, None, 0, 1, 2, None]),
        ("try_cast(s as boolean)", [None, None, None, None, None, None, True, None, None]),
        ("try_cast(s as double)", [0.5, 1.0, 12.0, 5e-324, None, 1000.0, None, None, 2147483648.0]),
        ("try_cast(s as date)", [None, None, None, None, None, None, None, 19723, None]),
        (
            "try_cast(s as decimal(5,2))",
            [Decimal("0.50"), Decimal("1.00"), Decimal("12.00"), Decimal("0.00"), None, None, None, None, None],
        ),
        (
            "unix_micros(try_cast(d as timestamp))",
            [None, 1_700_000, None, -500_000, 10**15, None, 0, -2147483648500000, None],
        ),
        ("try_cast(array(s) as array<int>)", [[None], [None], [12], [None], [None], [None], [None], [None], [None]]),
        ("try_cast(d as string)", ["1.0E20", "1.7", "NaN", "-0.5", "1.0E9", "Infinity", "0.0", "-2.1474836485E9", "9.3E18"]),
    ],
)
def test_as_spark(text: str, answers: list[Any]) -> None:
    tried = expression(text, INPUTS)
    found = [tried.evaluate(row) for row in ROWS]
    assert found == answers
    assert [type(value) for value in found] == [type(value) for value in answers]


def test_cast_itself_stays_lenient() -> None:
    assert expression("cast(s as int)", INPUTS).evaluate(ROWS[0]) == 0
    assert expression("cast(d as int)", INPUTS).evaluate(ROWS[0]) == (1 << 31) - 1


@pytest.mark.parametrize("text", ["try_cast(l as binary)", "try_cast(to_date(s) as int)", "try_cast(l as date)"])
def test_what_spark_does_not_try(text: str) -> None:
    with pytest.raises(InvalidRequest):
        expression(text, INPUTS)


def test_maps_are_not_tried() -> None:
    with pytest.raises(Unsupported, match="transform_values"):
        expression("try_cast(map(s, s) as map<string, int>)", INPUTS)

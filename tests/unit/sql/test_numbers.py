"""Numbers as Java has them."""

import math

import pytest

from chronoserve.sql.numbers import double_text, double_to_int, float32, float_text, wrap_int


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (1e21, "1.0E21"),
        (123456789.123, "1.23456789123E8"),
        (2.0**63, "9.223372036854776E18"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
        (5e-324, "4.9E-324"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        # not the shortest text: what JDK 8 to 17 print
        (1e23, "9.999999999999999E22"),
        (2e23, "1.9999999999999998E23"),
        (5e22, "4.9999999999999996E22"),
    ],
)
def test_text_of_doubles(number: float, text: str) -> None:
    assert double_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.1, "1.1"), (1e10, "1.0E10"), (1e-5, "1.0E-5"), (16777216.0, "1.6777216E7"), (0.1, "0.1"), (20.41657, "20.41657")],
)
def test_text_of_floats(number: float, text: str) -> None:
    assert float_text(float32(number)) == text


def test_integers_wrap_and_doubles_saturate() -> None:
    assert wrap_int((1 << 31) + 5) == -(1 << 31) + 5
    assert double_to_int(1e20) == (1 << 31) - 1
    assert double_to_int(-1e20) == -(1 << 31)
    assert double_to_int(math.nan) == 0
    assert double_to_int(-2.9) == -2

import math

import pytest

from chronoserve.model.java_numbers import as_float32, double_text, float_text, truncated, wrapped


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *[(0.0, "0.0"), (-0.0, "-0.0"), (1.0, "1.0"), (-2.9, "-2.9"), (100.0, "100.0"), (123456.789, "123456.789")],
        *[(0.001, "0.001"), (0.00099, "9.9E-4"), (1e-7, "1.0E-7"), (-1.25e-5, "-1.25E-5"), (5e-324, "4.9E-324")],
        *[(9999999.0, "9999999.0"), (1e7, "1.0E7"), (12345678.9, "1.23456789E7"), (1e21, "1.0E21"), (1e300, "1.0E300")],
        *[(1.7976931348623157e308, "1.7976931348623157E308"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")],
        *[(2.0**63, "9.223372036854776E18"), (123456789.123, "1.23456789123E8"), (5e-324, "4.9E-324")],
        # not the shortest text: what JDK 8 to 17 print
        *[(1e23, "9.999999999999999E22"), (2e23, "1.9999999999999998E23"), (5e22, "4.9999999999999996E22")],
        *[(2.0**60, "1.15292150460684698E18")],
        # nor the nearest: their last step overflows
        *[(27099999999999996e9, "2.7099999999999995E25"), (0.0023000000000000004, "0.0023000000000000004")],
    ],
)
def test_doubles_print_as_in_java(number: float, text: str) -> None:
    assert double_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (28.044054, "28.044054"),
        (-6.8279557, "-6.8279557"),
        (33.0, "33.0"),
        (1e10, "1.0E10"),
        (1e-45, "1.4E-45"),
        (3.4028235e38, "3.4028235E38"),
        (1e-5, "1.0E-5"),
        (16777216.0, "1.6777216E7"),
        (20.41657, "20.41657"),
        (-9.6075065e24, "-9.6075064E24"),
        (8.3955227e-16, "8.3955227E-16"),
    ],
)
def test_floats_print_as_in_java(number: float, text: str) -> None:
    assert float_text(as_float32(number)) == text


def test_floats_that_are_no_numbers() -> None:
    assert [float_text(number) for number in (math.nan, math.inf, -math.inf, -0.0)] == ["NaN", "Infinity", "-Infinity", "-0.0"]


@pytest.mark.parametrize(
    ("number", "bits", "result"),
    [
        (2**31, 32, -(2**31)),
        (-(2**31) - 1, 32, 2**31 - 1),
        (2**32 + 5, 32, 5),
        (300, 8, 44),
        (-129, 8, 127),
        (2**64 - 1, 64, -1),
        (5, 32, 5),
    ],
)
def test_integers_wrap(number: int, bits: int, result: int) -> None:
    assert wrapped(number, bits) == result


@pytest.mark.parametrize(
    ("number", "bits", "result"),
    [
        (2.9, 32, 2),
        (-2.9, 32, -2),
        (1e300, 64, 2**63 - 1),
        (-1e300, 32, -(2**31)),
        (math.nan, 64, 0),
        (math.inf, 32, 2**31 - 1),
        (2.0**63, 64, 2**63 - 1),
    ],
)
def test_doubles_are_truncated_and_held_in_range(number: float, bits: int, result: int) -> None:
    assert truncated(number, bits) == result


def test_rounding_to_32_bits() -> None:
    assert as_float32(0.1) == 0.10000000149011612
    assert as_float32(1e300) == math.inf
    assert as_float32(-3.5e38) == -math.inf
    assert math.isnan(as_float32(math.nan))
    assert math.copysign(1, as_float32(-1e-300)) == -1

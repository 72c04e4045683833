"""Numbers as Java has them."""

import math

from chronoserve.sql.numbers import double_to_int, wrap_int


def test_integers_wrap_and_doubles_saturate() -> None:
    assert wrap_int((1 << 31) + 5) == -(1 << 31) + 5
    assert double_to_int(1e20) == (1 << 31) - 1
    assert double_to_int(-1e20) == -(1 << 31)
    assert double_to_int(math.nan) == 0
    assert double_to_int(-2.9) == -2

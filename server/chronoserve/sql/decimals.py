"""Decimal arithmetic: a result that needs more digits than its type has is null."""

from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, InvalidOperation

from chronoserve.sql.types import DecimalType

EXACT = Context(prec=100, rounding=ROUND_HALF_UP, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Wide enough for the product of two decimals of 38 digits."""


def fitting(target: DecimalType, rounding: str = ROUND_HALF_UP) -> Callable[[Decimal], Decimal | None]:
    """A function that gives a number ``target``'s scale, or None where it has too many digits for it."""
    unit = Decimal(1).scaleb(-target.scale)
    limit = Decimal(10) ** (target.precision - target.scale)

    def fit(number: Decimal) -> Decimal | None:
        try:
            scaled = number.quantize(unit, rounding=rounding, context=EXACT)
        except InvalidOperation:
            return None
        if not -limit < scaled < limit:
            return None
        return scaled or scaled.copy_abs()  # a decimal has no -0.0

    return fit


def plain(number: Decimal) -> str:
    """Without an exponent."""
    return f"{number:f}"


def java_text(number: Decimal) -> str:
    """``BigDecimal.toString``: with an exponent where the value is below 10^-6."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if exponent + len(digits) - 1 >= -6:
        return plain(number)
    return str(number)


def of_double(number: float) -> Decimal:
    """The decimal that a double's text says."""
    return Decimal(repr(number))

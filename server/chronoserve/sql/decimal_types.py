"""The types of decimal results, and the functions that compute them (Spark's rules with precision loss allowed)."""

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import LONG, DataType
from chronoserve.sql.coercion import adjusted
from chronoserve.sql.decimals import EXACT, fitting
from chronoserve.sql.numbers import wrap_long
from chronoserve.sql.types import DecimalType

Binary = Callable[[Any, Any], Any]
QUOTIENT_SCALE_MIN = 6


def decimal_result(name: str, left: DecimalType, right: DecimalType) -> tuple[DataType, Binary]:
    """The type of ``left <name> right`` and its function of two decimals.

    Raises:
        InvalidRequest: there is no such operation.
    """
    if name in ("+", "-"):
        return fitted(sum_type(left, right), EXACT.add if name == "+" else EXACT.subtract)
    if name == "*":
        return fitted(adjusted(left.precision + right.precision + 1, left.scale + right.scale), EXACT.multiply)
    if name == "/":
        return fitted(quotient_type(left, right), quotient)
    if name in ("%", "pmod"):
        return fitted(remainder_type(left, right), rest if name == "%" else positive_rest)
    if name == "div":
        return LONG, whole_quotient
    raise InvalidRequest(f"{name} takes no decimals", field="expression")


def sum_type(left: DecimalType, right: DecimalType) -> DecimalType:
    scale = max(left.scale, right.scale)
    return adjusted(max(left.precision - left.scale, right.precision - right.scale) + scale + 1, scale)


def quotient_type(left: DecimalType, right: DecimalType) -> DecimalType:
    scale = max(QUOTIENT_SCALE_MIN, left.scale + right.precision + 1)
    return adjusted(left.precision - left.scale + right.scale + scale, scale)


def remainder_type(left: DecimalType, right: DecimalType) -> DecimalType:
    scale = max(left.scale, right.scale)
    return adjusted(min(left.precision - left.scale, right.precision - right.scale) + scale, scale)


def fitted(result: DecimalType, function: Binary) -> tuple[DecimalType, Binary]:
    fit = fitting(result)

    def run(left: Decimal, right: Decimal) -> Decimal | None:
        value = function(left, right)
        return None if value is None else fit(value)

    return result, run


def quotient(left: Decimal, right: Decimal) -> Decimal | None:
    return EXACT.divide(left, right) if right else None


def rest(left: Decimal, right: Decimal) -> Decimal | None:
    return EXACT.remainder(left, right) if right else None


def positive_rest(left: Decimal, right: Decimal) -> Decimal | None:
    found = rest(left, right)
    return found if found is None or found >= 0 else rest(EXACT.add(found, right), right)


def whole_quotient(left: Decimal, right: Decimal) -> int | None:
    return wrap_long(int(EXACT.divide(left, right).to_integral_value(ROUND_DOWN))) if right else None

"""Arithmetic, comparison, boolean and bit operators, under the names that the parser gives them."""

import math
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BOOLEAN, DATE, DOUBLE, FLOAT, INT, LONG, STRING, TIMESTAMP, DataType
from chronoserve.sql.casts import BITS, WRAPS, cast
from chronoserve.sql.coercion import common_of, compared, decimal_for, tightest
from chronoserve.sql.decimal_types import decimal_result
from chronoserve.sql.nodes import Constant, Evaluate, Node, Row, applied, strict
from chronoserve.sql.numbers import LONG_MAX, float32, wrap_long
from chronoserve.sql.registry import ANY, Function, accept
from chronoserve.sql.time_arithmetic import time_sum
from chronoserve.sql.types import (
    NULL,
    DecimalType,
    has_map,
    is_atomic,
    is_integral,
    is_interval,
    is_numeric,
    is_orderable,
    spark_name,
)
from chronoserve.sql.values import equality, has_floating, less

Binary = Callable[[Any, Any], Any]


def mismatch(name: str, left: Node, right: Node) -> InvalidRequest:
    return InvalidRequest(f"{name} takes no {spark_name(left.type)} and {spark_name(right.type)}", field="expression")


# arithmetic


def arithmetic(name: str, arguments: list[Node]) -> Node:
    """``+ - * / % div`` of numbers; sums and products of dates, times and intervals."""
    left, right = arguments
    timed = time_sum(name, left, right)
    if timed is not None:
        return timed
    left, right = as_numbers(name, left, right)
    if isinstance(left.type, DecimalType) or isinstance(right.type, DecimalType):
        return decimal_arithmetic(name, left, right)
    return plain_arithmetic(name, left, right)


def as_numbers(name: str, left: Node, right: Node) -> tuple[Node, Node]:
    """Both operands as numbers: a string counts as a double, a null as the other's type."""
    left, right = text_as_double(left), text_as_double(right)
    if left.type == NULL:
        exact = name == "/" and isinstance(right.type, DecimalType)
        left = cast(left, (LONG if name == "div" else DOUBLE) if right.type == NULL or exact else right.type)
    if right.type == NULL:
        right = cast(right, left.type)
    if not (is_numeric(left.type) and is_numeric(right.type)):
        raise mismatch(name, left, right)
    return left, right


def text_as_double(node: Node) -> Node:
    return cast(node, DOUBLE) if node.type == STRING else node


def plain_arithmetic(name: str, left: Node, right: Node) -> Node:
    if name == "/":
        return strict("/", DOUBLE, divide, cast(left, DOUBLE), cast(right, DOUBLE))
    kind = tightest(left.type, right.type)
    if kind is None:
        raise mismatch(name, left, right)
    if name == "div":
        return integral_division(left, right)
    left, right = cast(left, kind), cast(right, kind)
    if name in ("%", "pmod"):
        return remainder(name, kind, left, right)
    function = {"+": operator.add, "-": operator.sub, "*": operator.mul}[name]
    if is_integral(kind):
        return applied(name, kind, wrapping(function, kind, right), left, right)
    return strict(name, kind, function if kind == DOUBLE else in_single(function), left, right)


def wrapping(function: Binary, kind: DataType, second: Node) -> Callable[[list[Evaluate]], Evaluate]:
    """Integer arithmetic that wraps as two's complement; the check is inline, it is the hot path."""
    high = (1 << (BITS[kind] - 1)) - 1
    low, wrap = -high - 1, WRAPS[kind]

    def make(evaluates: list[Evaluate]) -> Evaluate:
        first, other = evaluates

        def run(row: Row) -> Any:
            left = first(row)
            if left is None:
                return None
            right = other(row)
            if right is None:
                return None
            value = function(left, right)
            return value if low <= value <= high else wrap(value)

        if isinstance(second, Constant) and second.value is not None:
            return wrapping_constant(first, function, second.value, wrap, low=low, high=high)
        return run

    return make


def wrapping_constant(first: Evaluate, function: Binary, right: int, wrap: Callable[[int], int], *, low: int, high: int) -> Evaluate:
    def run(row: Row) -> Any:
        left = first(row)
        if left is None:
            return None
        value = function(left, right)
        return value if low <= value <= high else wrap(value)

    return run


def in_single(function: Binary) -> Binary:
    return lambda left, right: float32(function(left, right))


def divide(left: float, right: float) -> float | None:
    return left / right if right else None


def integral_division(left: Node, right: Node) -> Node:
    """``div``: a bigint, towards zero."""
    if not (is_integral(left.type) and is_integral(right.type)):
        raise mismatch("div", left, right)
    return strict("div", LONG, truncated_quotient, cast(left, LONG), cast(right, LONG))


def truncated_quotient(left: int, right: int) -> int | None:
    if right == 0:
        return None
    quotient = abs(left) // abs(right)
    quotient = quotient if (left < 0) == (right < 0) else -quotient
    return quotient if quotient <= LONG_MAX else wrap_long(quotient)


def remainder(name: str, kind: DataType, left: Node, right: Node) -> Node:
    function: Binary = integral_remainder if is_integral(kind) else floating_remainder
    if name == "pmod":
        function = positive(function, WRAPS.get(kind))
    return strict(name, kind, function if kind != FLOAT else single_or_null(function), left, right)


def integral_remainder(left: int, right: int) -> int | None:
    """With the sign of the dividend."""
    if right == 0:
        return None
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def floating_remainder(left: float, right: float) -> float | None:
    if right == 0:
        return None
    if left - left != 0 or right != right:  # noqa: PLR0124 - infinite or NaN
        return float("nan")
    return math.fmod(left, right)


def positive(function: Binary, wrap: Callable[[int], int] | None) -> Binary:
    """``pmod`` of a remainder; the sum on its way wraps where it is of integers."""

    def run(left: Any, right: Any) -> Any:
        rest = function(left, right)
        if rest is None or not rest < 0:
            return rest
        return function(rest + right if wrap is None else wrap(rest + right), right)

    return run


def single_or_null(function: Binary) -> Binary:
    return lambda left, right: None if (value := function(left, right)) is None else float32(value)


def decimal_arithmetic(name: str, left: Node, right: Node) -> Node:
    """Of two decimals, or of one and a whole number; with a float it is arithmetic of doubles."""
    if left.type in (FLOAT, DOUBLE) or right.type in (FLOAT, DOUBLE):
        return plain_arithmetic(name, cast(left, DOUBLE), cast(right, DOUBLE))
    first, second = exact_decimal(left), exact_decimal(right)
    result, function = decimal_result(name, first, second)
    return strict(name, result, function, cast(left, first), cast(right, second))


def exact_decimal(node: Node) -> DecimalType:
    """The decimal type of an operand; a whole literal gets just the digits that it has."""
    if isinstance(node, Constant) and node.literal and is_integral(node.type) and node.value is not None:
        return DecimalType(len(str(abs(node.value))), 0)
    found = decimal_for(node.type)
    assert found is not None
    return found


def negative(name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    node = text_as_double(node)
    if node.type == NULL:
        node = cast(node, DOUBLE)
    if is_integral(node.type):
        wrap = WRAPS[node.type]
        return strict(name, node.type, lambda value: wrap(-value), node)
    if not (is_numeric(node.type) or is_interval(node.type)):
        raise InvalidRequest(f"- takes no {spark_name(node.type)}", field="expression")
    return strict(name, node.type, operator.neg if not isinstance(node.type, DecimalType) else negative_decimal, node)


def negative_decimal(value: Decimal) -> Decimal:
    return value.copy_negate() if value else value


def positive_sign(_name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    node = text_as_double(node)
    if node.type == NULL:
        return cast(node, DOUBLE)
    if not (is_numeric(node.type) or is_interval(node.type)):
        raise InvalidRequest(f"+ takes no {spark_name(node.type)}", field="expression")
    return node


# comparison


def comparable(name: str, left: Node, right: Node) -> tuple[Node, Node]:
    """Both sides in the type in which they are compared."""
    kind = compared(left.type, right.type)
    if kind is None and name in ("=", "!=", "<=>") and BOOLEAN in (left.type, right.type):
        kind = right.type if left.type == BOOLEAN else left.type
        kind = kind if is_numeric(kind) else None
    if kind is None:
        raise mismatch(name, left, right)
    left, right = cast(left, kind), cast(right, kind)
    ordered = name in ("<", "<=", ">", ">=")
    if has_map(kind) or (ordered and not is_orderable(kind)):
        raise mismatch(name, left, right)
    return left, right


def comparison(name: str, arguments: list[Node]) -> Node:
    left, right = comparable(name, *arguments)
    return strict(name, BOOLEAN, comparator(name, left.type), left, right)


PLAIN_COMPARATORS: dict[str, Binary] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def comparator(name: str, kind: DataType) -> Binary:
    plain = not has_floating(kind) and (name in ("=", "!=") or kind in COMPARED_AS_IS or isinstance(kind, DecimalType) or is_interval(kind))
    if plain:
        return PLAIN_COMPARATORS[name]
    same, below = equality(kind), less(kind)
    return {
        "=": same,
        "!=": lambda left, right: not same(left, right),
        "<": below,
        "<=": lambda left, right: not below(right, left),
        ">": lambda left, right: below(right, left),
        ">=": lambda left, right: not below(left, right),
    }[name]


COMPARED_AS_IS = frozenset((*BITS, STRING, BOOLEAN, DATE, TIMESTAMP))


def null_safe_equal(name: str, arguments: list[Node]) -> Node:
    left, right = comparable(name, *arguments)
    same = equality(left.type)

    def make(evaluates: list[Evaluate]) -> Evaluate:
        first, second = evaluates

        def run(row: Row) -> bool:
            a, b = first(row), second(row)
            return b is None if a is None else b is not None and same(a, b)

        return run

    return applied(name, BOOLEAN, make, left, right)


# boolean


def boolean(name: str, node: Node) -> Node:
    if node.type not in (BOOLEAN, NULL):
        raise InvalidRequest(f"{name} takes booleans, not a {spark_name(node.type)}", field="expression")
    return cast(node, BOOLEAN)


def conjunction(name: str, arguments: list[Node]) -> Node:
    """``and`` and ``or`` with three values; the right side is not evaluated where the left decides."""
    left, right = (boolean(name, node) for node in arguments)
    decisive = name == "or"

    def make(evaluates: list[Evaluate]) -> Evaluate:
        first, second = evaluates

        def run(row: Row) -> Any:
            a = first(row)
            if a is decisive:
                return decisive
            b = second(row)
            return b if a is not None or b is decisive else None

        return run

    return applied(name, BOOLEAN, make, left, right)


def negation(name: str, arguments: list[Node]) -> Node:
    return strict(name, BOOLEAN, operator.not_, boolean(name, arguments[0]))


def asserted_boolean(_name: str, arguments: list[Node]) -> Node:
    return boolean("is true", arguments[0])


def is_null_test(name: str, arguments: list[Node]) -> Node:
    def make(evaluates: list[Evaluate]) -> Evaluate:
        evaluate = evaluates[0]
        return (lambda row: evaluate(row) is None) if name == "isnull" else (lambda row: evaluate(row) is not None)

    return applied(name, BOOLEAN, make, accept(name, arguments[0], ANY))


def membership(value: Node, options: list[Node]) -> Node:
    """``value in (…)``: null where no option matches and one is null."""
    kind = common_of([value.type, *(option.type for option in options)])
    if kind is None or has_map(kind):
        raise mismatch("in", value, options[0])
    value, options = cast(value, kind), [cast(option, kind) for option in options]
    if all(isinstance(option, Constant) for option in options) and not has_floating(kind) and is_atomic(kind):
        return membership_of_constants(value, [option.value for option in options if isinstance(option, Constant)])
    same = equality(kind)

    def make(evaluates: list[Evaluate]) -> Evaluate:
        first, *others = evaluates

        def run(row: Row) -> bool | None:
            wanted = first(row)
            if wanted is None:
                return None
            unknown = False
            for other in others:
                found = other(row)
                if found is None:
                    unknown = True
                elif same(wanted, found):
                    return True
            return None if unknown else False

        return run

    return applied("in", BOOLEAN, make, value, *options)


def membership_of_constants(value: Node, options: list[Any]) -> Node:
    members = frozenset(option for option in options if option is not None)
    absent = None if None in options else False
    return strict(f"in {options!r}", BOOLEAN, lambda wanted: True if wanted in members else absent, value)


# bits


def bitwise(name: str, arguments: list[Node]) -> Node:
    left, right = arguments
    if NULL in (left.type, right.type):
        kind = left.type if right.type == NULL else right.type
        kind = INT if kind == NULL else kind
        left, right = cast(left, kind), cast(right, kind)
    if not (is_integral(left.type) and is_integral(right.type)):
        raise mismatch(name, left, right)
    kind = tightest(left.type, right.type) or LONG
    function = {"&": operator.and_, "|": operator.or_, "^": operator.xor}[name]
    return strict(name, kind, function, cast(left, kind), cast(right, kind))


def complement(name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    if node.type == NULL:
        node = cast(node, INT)
    if not is_integral(node.type):
        raise InvalidRequest(f"~ takes whole numbers, not a {spark_name(node.type)}", field="expression")
    return strict(name, node.type, operator.invert, node)


FUNCTIONS = (
    *(
        Function(name, 2, 2, arithmetic, f"left {name} right", doc)
        for name, doc in (
            ("+", "Sum; integers wrap, decimals get a digit more."),
            ("-", "Difference."),
            ("*", "Product."),
            ("/", "Quotient of doubles or decimals; null where the divisor is 0."),
            ("%", "Remainder with the sign of the dividend; null where the divisor is 0."),
            ("div", "Whole quotient, as bigint; null where the divisor is 0."),
        )
    ),
    Function("mod", 2, 2, lambda _, arguments: arithmetic("%", arguments), "mod(left, right)", "As %."),
    Function("pmod", 2, 2, arithmetic, "pmod(left, right)", "Remainder that is not negative for a positive divisor."),
    *(Function(name, 1, 1, negative, usage, "The negated number.") for name, usage in (("negative", "negative(number)"),)),
    Function("positive", 1, 1, positive_sign, "positive(number)", "The number."),
    *(
        Function(name, 2, 2, comparison, f"left {name} right", doc)
        for name, doc in (
            ("=", "Equal; null where a side is. NaN equals NaN."),
            ("!=", "Not equal."),
            ("<", "Less; NaN is greater than any number."),
            ("<=", "Less or equal."),
            (">", "Greater."),
            (">=", "Greater or equal."),
        )
    ),
    Function("==", 2, 2, lambda _, arguments: comparison("=", arguments), "left == right", "As =."),
    Function("<=>", 2, 2, null_safe_equal, "left <=> right", "Equal, where two nulls are equal; never null."),
    Function("equal_null", 2, 2, null_safe_equal, "equal_null(left, right)", "As <=>."),
    Function("and", 2, 2, conjunction, "left and right", "False where a side is false, null where it depends on a null."),
    Function("or", 2, 2, conjunction, "left or right", "True where a side is true, null where it depends on a null."),
    Function("not", 1, 1, negation, "not value", "The other boolean."),
    Function("!", 1, 1, negation, "! value", "As not."),
    Function(
        "assert boolean",
        1,
        1,
        asserted_boolean,
        "value is true",
        "Whether a boolean is true; false for a null. Likewise is false, is unknown.",
    ),
    Function("isnull", 1, 1, is_null_test, "isnull(value)", "Whether the value is null; also value is null."),
    Function("isnotnull", 1, 1, is_null_test, "isnotnull(value)", "Whether the value is not null; also value is not null."),
    *(
        Function(name, 2, 2, bitwise, f"left {name} right", f"Bitwise {doc}.")
        for name, doc in (("&", "and"), ("|", "or"), ("^", "exclusive or"))
    ),
    Function("~", 1, 1, complement, "~ number", "Bitwise not."),
)

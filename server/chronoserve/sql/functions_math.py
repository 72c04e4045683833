"""Mathematical functions: doubles as Java's Math has them, null where Spark says null."""

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import BYTE, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, DataType
from chronoserve.sql import fdlibm, java_math
from chronoserve.sql.casts import BITS, WRAPS, cast
from chronoserve.sql.coercion import adjusted, decimal_for
from chronoserve.sql.decimals import fitting
from chronoserve.sql.nodes import Constant, Node, constant, strict
from chronoserve.sql.numbers import double_to_long, float32
from chronoserve.sql.operators import arithmetic
from chronoserve.sql.registry import INTEGRAL, NUMBER, NUMBER_OR_INTERVAL, Function, accept, alias, constant_of, simple, special
from chronoserve.sql.types import NULL, DecimalType, is_integral, is_interval, spark_name

Double = Callable[[float], float]
FACTORIALS = [math.factorial(n) for n in range(21)]


def guarded(function: Double) -> Callable[[float], float]:
    """``function`` with Java's answers where Python raises: NaN outside of the domain, infinity where it overflows."""

    def run(number: float) -> float:
        try:
            return function(number)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return run


def of_double(name: str, function: Double, doc: str) -> Function:
    return simple(f"{name}(number)", (DOUBLE,), DOUBLE, guarded(function), doc)


def logarithm(name: str, function: Double, doc: str, lowest: float = 0.0) -> Function:
    """A logarithm: null at and below ``lowest``."""

    def run(number: float) -> float | None:
        return None if number <= lowest else function(number)

    return simple(f"{name}(number)", (DOUBLE,), DOUBLE, run, doc)


def log_of_base(base: float, number: float) -> float | None:
    """``log(base, number)``; null where either is no positive number."""
    if number <= 0 or base <= 0:
        return None
    return divided(fdlibm.log(number), fdlibm.log(base))


def divided(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if left == 0 or left != left else math.copysign(math.inf, left) * math.copysign(1.0, right)  # noqa: PLR0124 - NaN


def log(name: str, arguments: list[Node]) -> Node:
    if len(arguments) == 1:
        return LN.resolve(name, arguments)
    return strict(name, DOUBLE, log_of_base, *(accept(name, node, DOUBLE) for node in arguments))


def absolute(name: str, arguments: list[Node]) -> Node:
    node = accept(name, arguments[0], NUMBER_OR_INTERVAL)
    if is_integral(node.type):
        wrap = WRAPS[node.type]
        return strict(name, node.type, lambda value: wrap(abs(value)), node)
    return strict(name, node.type, abs, node)


def sign(number: float) -> float:
    return number if number == 0 or number != number else math.copysign(1.0, number)  # noqa: PLR0124 - NaN


def signum(name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    node = node if is_interval(node.type) else accept(name, node, DOUBLE)
    return strict(name, DOUBLE, lambda value: sign(float(value)), node)


# rounding


def rounding(mode: str) -> Callable[[str, list[Node]], Node]:
    """``round`` and ``bround``: to a constant count of digits after the point, or before it where that is negative."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        node = accept(name, arguments[0], NUMBER)
        scale = constant_of(name, arguments[1], INT) if len(arguments) == 2 else 0
        if scale is None or node.type == NULL:
            return constant(None, node.type)
        key = f"{name} {scale}"
        if is_integral(node.type):
            return node if scale >= 0 else strict(key, node.type, round_integral(node.type, scale, mode), node)
        if isinstance(node.type, DecimalType):
            result = rounded_type(node.type, scale)
            unit, fit = Decimal(1).scaleb(-scale), fitting(result)
            return strict(key, result, lambda value: fit(value.quantize(unit, mode) if value.as_tuple().exponent < -scale else value), node)
        return strict(key, node.type, round_floating(scale, mode, single=node.type == FLOAT), node)

    return resolve


def rounded_type(source: DecimalType, scale: int) -> DecimalType:
    """What is left of a decimal after rounding: one digit more before the point, which a carry may need."""
    whole = source.precision - source.scale + 1
    if scale < 0:
        return DecimalType(min(max(whole, -scale + 1), 38), 0)
    return DecimalType(min(whole + min(source.scale, scale), 38), min(source.scale, scale))


def round_integral(kind: DataType, scale: int, mode: str) -> Callable[[int], int]:
    wrap, unit = WRAPS[kind], Decimal(1).scaleb(-scale)
    return lambda value: wrap(int(Decimal(value).quantize(unit, mode)))


def round_floating(scale: int, mode: str, *, single: bool) -> Callable[[float], float]:
    unit = Decimal(1).scaleb(-max(min(scale, 400), -400))

    def run(number: float) -> float:
        if number - number != 0:
            return number
        found = Decimal(repr(number))
        exponent = found.as_tuple().exponent
        assert isinstance(exponent, int)
        if exponent >= -scale:
            return number + 0.0  # a decimal has no -0.0
        rounded = float(found.quantize(unit, mode, WIDE)) + 0.0
        return float32(rounded) if single else rounded

    return run


WIDE = java_math.WIDE


def whole(direction: str) -> Callable[[str, list[Node]], Node]:
    """``ceil`` and ``floor``: a bigint of a double, a decimal of a decimal; with a scale, a decimal."""
    double = math.ceil if direction == ROUND_CEILING else math.floor

    def of_floating(number: float) -> int:
        return double_to_long(number) if number - number != 0 else double_to_long(float(double(number)))

    def resolve(name: str, arguments: list[Node]) -> Node:
        (node, *rest) = arguments
        if rest:
            return scaled_whole(name, node, literal_scale(name, rest[0]), direction)
        if is_integral(node.type):
            return cast(node, LONG)
        node = node if isinstance(node.type, DecimalType) else accept(name, node, DOUBLE)
        if isinstance(node.type, DecimalType):
            result = adjusted(node.type.precision - node.type.scale + 1, 0) if node.type.scale else DecimalType(node.type.precision, 0)
            fit = fitting(result, direction)
            return strict(name, result, fit, node)
        return strict(name, LONG, of_floating, node)

    return resolve


FLOATING_AS_DECIMAL: dict[DataType, DecimalType] = {FLOAT: DecimalType(14, 7), DOUBLE: DecimalType(30, 15)}


def literal_scale(name: str, node: Node) -> int:
    if node.type != INT or not isinstance(node, Constant) or node.value is None:
        raise InvalidRequest(f"the scale of {name} is an int literal", field="expression")
    return int(node.value)


def scaled_whole(name: str, node: Node, scale: int, direction: str) -> Node:
    """``ceil(number, scale)``."""
    source = decimal_for(node.type) or FLOATING_AS_DECIMAL.get(node.type)
    if source is None:
        if node.type not in (STRING, NULL):
            raise InvalidRequest(f"{name} takes a number where a {spark_name(node.type)} is given", field="expression")
        source, node = DecimalType(30, 15), cast(node, DOUBLE)
    result = rounded_type(source, scale)
    unit, fit = Decimal(1).scaleb(-scale), fitting(result)
    return strict(f"{name} {scale}", result, lambda value: fit(value.quantize(unit, direction, WIDE)), cast(node, source))


# others


def factorial(number: int) -> int | None:
    return FACTORIALS[number] if 0 <= number <= 20 else None


def inverse(function: Double) -> Double:
    """One through a trigonometric function."""
    return lambda number: divided(1.0, function(number))


def width_bucket(value: float, low: float, high: float, count: int) -> int | None:
    """The bucket of ``count`` equal ones between two bounds, from 1; 0 and count + 1 outside of them."""
    if not 0 < count < (1 << 63) - 1 or low == high or value != value or not (math.isfinite(low) and math.isfinite(high)):  # noqa: PLR0124 - NaN
        return None
    if low < high:
        if value < low:
            return 0
        return count + 1 if value >= high else int(count * (value - low) / (high - low)) + 1
    if value > low:
        return 0
    return count + 1 if value <= high else int(count * (low - value) / (low - high)) + 1


def quiet(operation: str) -> Callable[[str, list[Node]], Node]:
    """``try_add`` and its kind: null where plain arithmetic would wrap."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        node = arithmetic(operation, arguments)
        if not is_integral(node.type) or operation == "/":
            return node
        left, right = (cast(argument, node.type) for argument in arguments)
        bits = BITS[node.type]
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        function = EXACT_OPERATIONS[operation]

        def run(a: int, b: int) -> int | None:
            value = function(a, b)
            return value if low <= value <= high else None

        return strict(name, node.type, run, left, right)

    return resolve


EXACT_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def shift(name: str, arguments: list[Node]) -> Node:
    """Shifts of ints and longs; only the lowest bits of the distance count, as in Java."""
    value, distance = arguments
    kind = LONG if value.type == LONG else INT
    value, distance = accept(name, value, kind) if value.type not in (BYTE, SHORT) else cast(value, INT), accept(name, distance, INT)
    mask, wrap, bits = (63, WRAPS[LONG], 64) if kind == LONG else (31, WRAPS[INT], 32)
    functions: dict[str, Callable[[int, int], int]] = {
        "shiftleft": lambda number, by: wrap(number << (by & mask)),
        "shiftright": lambda number, by: number >> (by & mask),
        "shiftrightunsigned": lambda number, by: wrap((number & ((1 << bits) - 1)) >> (by & mask)),
    }
    return strict(name, kind, functions[name], value, distance)


def bit_count(name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    if spark_name(node.type) == "boolean":
        return strict(name, INT, int, node)
    node = accept(name, node, INTEGRAL)
    return strict(name, INT, lambda value: (value & ((1 << 64) - 1)).bit_count(), node)


def bit_get(value: int, position: int) -> int:
    return value >> position & 1


def get_bit(name: str, arguments: list[Node]) -> Node:
    node, position = accept(name, arguments[0], INTEGRAL), accept(name, arguments[1], INT)
    bits = BITS.get(node.type, 64)

    def run(value: int, at: int) -> int:
        if not 0 <= at < bits:
            raise DerivationFailed(f"{name}: the position is from 0 to {bits - 1}")
        return bit_get(value, at)

    return strict(name, BYTE, run, node, position)


BITMAP_BITS = 32_768


def bitmap_position(number: int) -> int:
    return (number - 1) % BITMAP_BITS if number > 0 else -number % BITMAP_BITS


def bitmap_bucket(number: int) -> int:
    return 1 + (number - 1) // BITMAP_BITS if number > 0 else -(-number // BITMAP_BITS)


LN = logarithm("ln", fdlibm.log, "Natural logarithm; null for what is not positive.")
POWER = simple("power(base, exponent)", (DOUBLE, DOUBLE), DOUBLE, fdlibm.power, "``base`` to the power of ``exponent``.")
SIGNUM = special("signum(number)", 1, 1, signum, "-1.0, 0.0 or 1.0 by the number's sign.")
CEIL = special("ceil(number, scale)", 1, 2, whole(ROUND_CEILING), "The least whole number that is not less; with a scale, a decimal of it.")
SHIFT_LEFT = special("shiftleft(number, distance)", 2, 2, shift, "Bits moved up.")
BIT_GET = special("getbit(number, position)", 2, 2, get_bit, "One bit, position 0 being the lowest.")
FUNCTIONS: tuple[Function, ...] = (
    special("abs(number)", 1, 1, absolute, "Absolute value; the least integer stays as it is."),
    SIGNUM,
    alias("sign", SIGNUM),
    special(
        "round(number, scale)", 1, 2, rounding(ROUND_HALF_UP), "Rounded, halves away from zero; a negative scale rounds before the point."
    ),
    special("bround(number, scale)", 1, 2, rounding(ROUND_HALF_EVEN), "Rounded, halves to the even neighbour."),
    CEIL,
    alias("ceiling", CEIL),
    special(
        "floor(number, scale)", 1, 2, whole(ROUND_FLOOR), "The greatest whole number that is not greater; with a scale, a decimal of it."
    ),
    of_double("rint", java_math.rint, "The nearest whole double, halves to the even one."),
    of_double("sqrt", math.sqrt, "Square root; NaN below 0."),
    of_double("cbrt", fdlibm.cbrt, "Cube root."),
    of_double("exp", fdlibm.exp, "e to the power of the number."),
    of_double("expm1", math.expm1, "exp(number) - 1, exact near 0."),
    LN,
    special("log(base, number)", 1, 2, log, "Logarithm to a base; of one argument the natural one."),
    logarithm("log2", java_math.log2, "Logarithm to base 2; null for what is not positive."),
    logarithm("log10", fdlibm.log10, "Logarithm to base 10; null for what is not positive."),
    logarithm("log1p", math.log1p, "ln(number + 1); null at and below -1.", -1.0),
    POWER,
    alias("pow", POWER),
    of_double("sin", math.sin, "Sine."),
    of_double("cos", math.cos, "Cosine."),
    of_double("tan", math.tan, "Tangent."),
    of_double("cot", inverse(math.tan), "Cotangent."),
    of_double("sec", inverse(math.cos), "Secant."),
    of_double("csc", inverse(math.sin), "Cosecant."),
    of_double("asin", fdlibm.asin, "Arc sine; NaN outside of -1 to 1."),
    of_double("acos", fdlibm.acos, "Arc cosine; NaN outside of -1 to 1."),
    of_double("atan", fdlibm.atan, "Arc tangent."),
    simple("atan2(y, x)", (DOUBLE, DOUBLE), DOUBLE, lambda y, x: fdlibm.atan2(y + 0.0, x + 0.0), "Angle of the point (x, y)."),
    of_double("sinh", fdlibm.sinh, "Hyperbolic sine."),
    of_double("cosh", fdlibm.cosh, "Hyperbolic cosine."),
    of_double("tanh", math.tanh, "Hyperbolic tangent."),
    of_double("asinh", java_math.asinh, "Inverse hyperbolic sine."),
    of_double("acosh", java_math.acosh, "Inverse hyperbolic cosine; NaN below 1."),
    of_double("atanh", java_math.atanh, "Inverse hyperbolic tangent; NaN outside of -1 to 1."),
    simple("hypot(a, b)", (DOUBLE, DOUBLE), DOUBLE, fdlibm.hypot, "Length of the vector (a, b)."),
    of_double("degrees", java_math.degrees, "Radians in degrees."),
    of_double("radians", java_math.radians, "Degrees in radians."),
    special("pi()", 0, 0, lambda _name, _arguments: constant(math.pi, DOUBLE), "The number pi."),
    special("e()", 0, 0, lambda _name, _arguments: constant(math.e, DOUBLE), "Euler's number."),
    simple("factorial(number)", (INT,), LONG, factorial, "Factorial; null outside of 0 to 20."),
    simple(
        "width_bucket(value, low, high, count)", (DOUBLE, DOUBLE, DOUBLE, LONG), LONG, width_bucket, "Which of ``count`` equal buckets."
    ),
    special("try_add(left, right)", 2, 2, quiet("+"), "Sum; null where it overflows."),
    special("try_subtract(left, right)", 2, 2, quiet("-"), "Difference; null where it overflows."),
    special("try_multiply(left, right)", 2, 2, quiet("*"), "Product; null where it overflows."),
    special("try_divide(left, right)", 2, 2, quiet("/"), "Quotient; null where the divisor is 0."),
    SHIFT_LEFT,
    special("shiftright(number, distance)", 2, 2, shift, "Bits moved down, the sign kept."),
    special("shiftrightunsigned(number, distance)", 2, 2, shift, "Bits moved down, zeros from above."),
    special("bit_count(number)", 1, 1, bit_count, "How many bits are set."),
    simple("bitmap_bit_position(number)", (LONG,), LONG, bitmap_position, "Which bit of its bitmap stands for a number."),
    simple("bitmap_bucket_number(number)", (LONG,), LONG, bitmap_bucket, "Which bitmap a number is in."),
    BIT_GET,
    alias("bit_get", BIT_GET),
)

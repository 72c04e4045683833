"""``+ - * /`` where a date, a timestamp or an interval takes part."""

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from chronoserve.model.errors import DerivationFailed
from chronoserve.model.types import BYTE, DATE, DOUBLE, INT, LONG, SHORT, STRING, TIMESTAMP, DataType
from chronoserve.sql.casts import cast
from chronoserve.sql.datetimes import MICROS_PER_DAY, add_months
from chronoserve.sql.nodes import Node, strict
from chronoserve.sql.numbers import LONG_MAX, LONG_MIN, wrap_int
from chronoserve.sql.types import NULL, DayTimeInterval, YearMonthInterval, is_interval, is_numeric

TIMES = (DATE, TIMESTAMP)
Binary = Callable[[Any, Any], Any]


def time_sum(name: str, left: Node, right: Node) -> Node | None:
    """The node of ``left <name> right``; None where neither side is a date, a timestamp or an interval."""
    if not any(node.type in TIMES or is_interval(node.type) for node in (left, right)):
        return None
    if name in ("+", "-") and right.type == NULL and is_interval(left.type):
        return strict(name, left.type, lambda _left, _right: None, left, cast(right, left.type))
    if name == "+" and is_interval(left.type) and not is_interval(right.type):
        left, right = right, left
    if is_interval(right.type) and name in ("+", "-"):
        return moved_by_interval(name, left, right)
    if name == "-":
        return difference(left, right)
    if name == "+" and DATE in (left.type, right.type):
        date, days = (left, right) if left.type == DATE else (right, left)
        return moved_by_days(date, days, 1)
    return scaled(name, left, right)


def moved_by_interval(name: str, left: Node, interval: Node) -> Node | None:
    sign = 1 if name == "+" else -1
    if left.type == NULL:
        return strict(name, interval.type, lambda _left, _right: None, cast(left, interval.type), interval)
    if left.type == STRING and isinstance(interval.type, DayTimeInterval):
        moved = moved_by_interval(name, cast(left, TIMESTAMP), interval)
        return None if moved is None else cast(moved, STRING)
    if type(left.type) is type(interval.type):
        return interval_sum(sign, left, interval)
    if isinstance(interval.type, YearMonthInterval) and left.type in TIMES:
        move = moved_date if left.type == DATE else moved_timestamp
        return strict(f"months {name}", left.type, lambda time, months: move(time, sign * months), left, interval)
    if isinstance(interval.type, DayTimeInterval) and left.type in TIMES:
        return moved_by_micros(sign, left, interval)
    return None


def moved_by_micros(sign: int, left: Node, interval: Node) -> Node:
    """A date stays one where the interval is of days alone."""
    if left.type == DATE and interval.type == DayTimeInterval(0, 0):
        return strict(f"days {sign}", DATE, lambda days, micros: days + sign * (micros // MICROS_PER_DAY), left, interval)
    return strict(f"micros {sign}", TIMESTAMP, lambda time, micros: time + sign * micros, cast(left, TIMESTAMP), interval)


def interval_sum(sign: int, left: Node, right: Node) -> Node:
    match left.type, right.type:
        case DayTimeInterval(first, last), DayTimeInterval(begin, end):
            result: DataType = DayTimeInterval(min(first, begin), max(last, end))
        case YearMonthInterval(first, last), YearMonthInterval(begin, end):
            result = YearMonthInterval(min(first, begin), max(last, end))
        case _:
            result = left.type
    return strict(f"interval {sign}", result, lambda a, b: a + sign * b, left, right)


def moved_date(days: int, months: int) -> int:
    return add_months(days, months)


def moved_timestamp(micros: int, months: int) -> int:
    days, rest = divmod(micros, MICROS_PER_DAY)
    return add_months(days, months) * MICROS_PER_DAY + rest


def moved_by_days(date: Node, days: Node, sign: int) -> Node | None:
    if days.type not in (INT, SHORT, BYTE, NULL):
        return None
    return strict(f"date {sign}", DATE, lambda start, count: wrap_int(start + sign * count), date, cast(days, INT))


def difference(left: Node, right: Node) -> Node | None:
    if TIMESTAMP in (left.type, right.type) and {left.type, right.type} <= {DATE, TIMESTAMP, NULL}:
        return strict("timestamp - timestamp", DayTimeInterval(), lambda a, b: a - b, cast(left, TIMESTAMP), cast(right, TIMESTAMP))
    if right.type == DATE and left.type in (DATE, STRING, NULL):
        return strict("date - date", DayTimeInterval(0, 0), lambda a, b: (a - b) * MICROS_PER_DAY, cast(left, DATE), cast(right, DATE))
    return moved_by_days(left, right, -1) if left.type == DATE else None


def scaled(name: str, left: Node, right: Node) -> Node | None:
    """An interval times or by a number."""
    if name == "*" and is_interval(right.type):
        left, right = right, left
    if name == "div":
        return interval_quotient(left, right)
    if right.type in (STRING, NULL):
        right = cast(right, DOUBLE)
    if not (is_interval(left.type) and is_numeric(right.type)) or name not in ("*", "/"):
        return None
    result: DataType = DayTimeInterval() if isinstance(left.type, DayTimeInterval) else YearMonthInterval()
    return strict(f"interval {name}", result, product if name == "*" else quotient, left, right)


def interval_quotient(left: Node, right: Node) -> Node | None:
    """``div`` of two intervals of a kind."""
    kind = right.type if left.type == NULL else left.type
    left, right = (cast(node, kind) if node.type == NULL else node for node in (left, right))
    if type(left.type) is not type(right.type) or not is_interval(kind):
        return None
    return strict("interval div", LONG, lambda a, b: int(Decimal(a) / Decimal(b)) if b else no_quotient(), left, right)


def no_quotient() -> int:
    raise DerivationFailed("Division by zero: an interval is divided by what may be 0")


def product(interval: int, number: Any) -> int:
    return half_up(Decimal(interval) * exact(number))


def quotient(interval: int, number: Any) -> int:
    return half_up(Decimal(interval) / exact(number)) if number else no_quotient()


def exact(number: Any) -> Decimal:
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def half_up(number: Decimal) -> int:
    value = int(number.to_integral_value(ROUND_HALF_UP)) if number.is_finite() else LONG_MAX + 1
    if not LONG_MIN <= value <= LONG_MAX:
        raise DerivationFailed("Overflow in integral multiply: an interval beyond 64 bits of microseconds")
    return value

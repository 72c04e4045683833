"""Laws of the SQL engine: what holds for every text, number and row."""

import contextlib
import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from chronoserve.model.errors import KVError
from chronoserve.model.java_numbers import double_text, float_text
from chronoserve.model.types import DOUBLE, INT, LONG, STRING, Field, ListType, StructType
from chronoserve.sql.compile import expression, select
from chronoserve.sql.derive import day_text
from chronoserve.sql.java_order import in_java_order
from chronoserve.sql.numbers import float32

INPUTS = StructType(
    "in",
    (
        Field("a", INT),
        Field("b", INT),
        Field("l", LONG),
        Field("d", DOUBLE),
        Field("s", STRING),
        Field("t", STRING),
        Field("li", ListType(INT)),
    ),
)
INTS = st.integers(-(1 << 31), (1 << 31) - 1)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
ROWS = st.tuples(
    st.none() | INTS,
    st.none() | INTS,
    st.none() | LONGS,
    st.none() | st.floats(),
    st.none() | st.text(max_size=8),
    st.none() | st.text(max_size=3),
    st.none() | st.lists(st.none() | INTS, max_size=4),
)
LANGUAGE = """a b l d s li 1 2.5 'x' null true + - * / % ( ) , [ ] and or not is case when then else end between in like rlike cast as int
-> x transform size concat || = < . interval day extract year from struct date '2024-01-01' if
coalesce substr element_at split array map"""
WORDS = st.sampled_from(LANGUAGE.split())


def wrapped(number: int, bits: int) -> int:
    return (number + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


@given(st.text(max_size=60) | st.lists(WORDS, max_size=25).map(" ".join), ROWS)
@example("case case", (None,) * 7)
def test_any_text_is_compiled_or_refused_in_our_words(text: str, row: tuple[Any, ...]) -> None:
    with contextlib.suppress(KVError):
        expression(text, INPUTS).evaluate(row)


@given(st.floats(allow_nan=False))
def test_a_double_s_text_reads_back(number: float) -> None:
    assert float(double_text(number).replace("Infinity", "inf")) == number


@given(st.floats(allow_nan=False, width=32))
def test_a_float_s_text_reads_back(number: float) -> None:
    assert float32(float(float_text(number).replace("Infinity", "inf"))) == number


ADDED, PRODUCT = expression("a + b", INPUTS), expression("l * l", INPUTS)


@given(ROWS)
def test_integers_wrap(row: tuple[Any, ...]) -> None:
    a, b, long, *_ = row
    assert ADDED.evaluate(row) == (None if a is None or b is None else wrapped(a + b, 32))
    assert PRODUCT.evaluate(row) == (None if long is None else wrapped(long * long, 64))


DIVISION = select([("q", "l div a"), ("r", "l % a"), ("p", "pmod(l, a)")], INPUTS)


@given(ROWS)
def test_quotient_and_remainder_belong_together(row: tuple[Any, ...]) -> None:
    values = DIVISION.evaluate(row)
    assert values is not None
    quotient, remainder, positive = values
    a, long = row[0], row[2]
    if a is None or long is None or a == 0:
        assert values == (None, None, None)
        return
    assert wrapped(quotient * a + remainder, 64) == long
    assert remainder == 0 or (remainder < 0) == (long < 0)
    assert a < 0 or 0 <= positive < a


SHARED = [
    ("x", "coalesce(length(trim(s)), 0) + 1"),
    ("y", "coalesce(length(trim(s)), 0) * size(transform(li, e -> e + a))"),
    ("z", "if(coalesce(length(trim(s)), 0) > 2, upper(trim(s)), t)"),
    ("w", "filter(li, e -> e > coalesce(length(trim(s)), 0))"),
]
TOGETHER = select(SHARED, INPUTS)
ALONE = [expression(text, INPUTS) for _, text in SHARED]


@given(ROWS)
def test_what_derivations_share_changes_nothing(row: tuple[Any, ...]) -> None:
    assert TOGETHER.evaluate(row) == tuple(compiled.evaluate(row) for compiled in ALONE)


TRUTH = select(
    [("and", "a > 0 and b > 0"), ("or", "a > 0 or b > 0"), ("neither", "not (a > 0 or b > 0)"), ("both", "not a > 0 and not b > 0")], INPUTS
)


@given(ROWS)
def test_three_valued_logic_keeps_de_morgan(row: tuple[Any, ...]) -> None:
    values = TRUTH.evaluate(row)
    assert values is not None
    assert values[2] == values[3]


ORDER = select([("less", "d < 1.5D"), ("equal", "d = 1.5D"), ("greater", "d > 1.5D")], INPUTS)


@given(ROWS)
def test_doubles_are_ordered_with_nan_at_the_end(row: tuple[Any, ...]) -> None:
    values = ORDER.evaluate(row)
    assert values is not None
    assert values == (None, None, None) if row[3] is None else sum(map(bool, values)) == 1
    if row[3] is not None and math.isnan(row[3]):
        assert values[2] is True


TEXTS = select([("n", "cast(cast(l as string) as bigint)"), ("r", "reverse(reverse(s))"), ("h", "decode(unhex(hex(s)), 'UTF-8')")], INPUTS)


@given(ROWS)
def test_what_goes_out_and_back_is_the_same(row: tuple[Any, ...]) -> None:
    assert TEXTS.evaluate(row) == (row[2], row[4], row[4])


@given(st.dictionaries(st.text(max_size=4), st.integers(), max_size=40))
def test_java_s_order_keeps_every_entry(entries: dict[str, int]) -> None:
    assert in_java_order(entries) == entries


@given(st.integers(0, 253_402_300_799_999))
def test_ds_is_the_date_that_python_says(millis: int) -> None:
    assert day_text(millis) == expression("date_format(timestamp_millis(l), 'yyyy-MM-dd')", INPUTS).evaluate(
        (None, None, millis, None, None, None, None)
    )

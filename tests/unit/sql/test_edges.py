"""Answers of Spark 3.5.3 at the edges of its types, found by running it and us over random rows."""

from typing import Any

import pytest

from chronoserve.model.errors import DerivationFailed, InvalidRequest, Unsupported
from chronoserve.model.types import BINARY, DOUBLE, INT, LONG, STRING, Field, StructType
from chronoserve.sql.compile import expression

INPUTS = StructType("in", (Field("i", INT), Field("ts", LONG), Field("d", DOUBLE), Field("s", STRING), Field("b", BINARY)))


def answer(text: str, **given: Any) -> Any:
    return expression(text, INPUTS).evaluate(tuple(given.get(name) for name in INPUTS.names))


@pytest.mark.parametrize("name", ["unix_timestamp", "to_unix_timestamp"])
def test_seconds_before_1970_are_cut_towards_zero(name: str) -> None:
    assert answer(f"{name}(cast(ts / 1000 as timestamp))", ts=-1) == 0
    assert answer(f"{name}(cast(ts / 1000 as timestamp))", ts=-1500) == -1
    assert answer("unix_seconds(cast(ts / 1000 as timestamp))", ts=-1) == -1


def test_a_date_that_is_no_timestamp_fails() -> None:
    with pytest.raises(DerivationFailed):
        answer("date_trunc('hour', date_add(s, i))", s="2024-01-01", i=(1 << 31) - 1)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.7976931348623157e308, "179,769,313,486,231,570" + ",000" * 97),
        (0.1, "0.10"),
        (0.125, "0.12"),
        (1e22, "10,000,000,000,000,000,000,000.00"),
        (-0.0, "-0.00"),
    ],
)
def test_numbers_are_formatted_by_the_digits_of_their_text(number: float, text: str) -> None:
    assert answer("format_number(d, 2)", d=number) == (text if "." in text else f"{text}.00")


def test_a_substring_that_would_begin_far_before_the_text() -> None:
    assert answer("substring(s, i)", s="65536", i=-(1 << 31)) == "6553"
    assert answer("substring(s, i)", s="65536", i=-5) == "65536"


def test_the_empty_text_is_at_the_beginning() -> None:
    assert answer("locate('', s, 2)", s="abc") == 1
    assert answer("locate('', s, 9)", s="abc") == 1
    assert answer("locate('c', s, 2)", s="abc") == 3
    assert answer("locate('', s, 0)", s="abc") == 0


@pytest.mark.parametrize(
    ("day", "pattern", "text"),
    [
        ("1582-10-15", "D", "278"),
        ("1582-10-15", "w", "40"),
        ("1582-10-15", "EEE", "Fri"),
        ("1500-02-28", "EEE", "Fri"),
        ("1582-10-04", "D EEE", "277 Thu"),
        ("2024-02-29", "D w EEE", "60 9 Thu"),
    ],
)
def test_formats_follow_the_calendar_of_their_time(day: str, pattern: str, text: str) -> None:
    assert answer(f"date_format(s, '{pattern}')", s=day) == text


def test_dates_that_the_julian_calendar_has_not() -> None:
    assert answer("cast(date_add(s, -7) as string)", s="1582-10-15") == "1582-10-15"
    assert answer("cast(date_add(s, -11) as string)", s="1582-10-15") == "1582-10-04"


@pytest.mark.parametrize(
    ("data", "text"),
    [("eda080", "\ufffd"), ("c328", "\ufffd("), ("61eda0", "a\ufffd"), ("f09f98", "\ufffd"), ("80", "\ufffd"), ("c3bc", "ü")],
)
def test_bytes_that_are_no_text(data: str, text: str) -> None:
    assert answer("cast(b as string)", b=bytes.fromhex(data)) == text
    assert answer("decode(b, 'UTF-8')", b=bytes.fromhex(data)) == text


def test_a_bare_null_is_a_condition_of_if_alone() -> None:
    assert answer("if(null, 1, 2)") == 2
    with pytest.raises(InvalidRequest):
        answer("case when null then 1 else 2 end")


@pytest.mark.parametrize("text", ["now()", "current_date", "unix_timestamp()"])
def test_without_a_request_there_is_no_clock(text: str) -> None:
    with pytest.raises(Unsupported):
        answer(text)


@pytest.mark.parametrize(
    ("number", "text"), [(-0.0, "-0"), (-0.001, "-0"), (0.0, "0"), (-1234.5, "-1,234.5"), (1234567.125, "1,234,567.12")]
)
def test_a_negative_number_keeps_its_sign_in_a_pattern(number: float, text: str) -> None:
    assert answer("format_number(d, '#,###.##')", d=number) == text


def test_a_bare_null_has_no_elements() -> None:
    with pytest.raises(InvalidRequest):
        answer("element_at(null, 1)")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[("2024", "2024"), ("2024 x", "2024"), ("-3", "-3"), ("7\n8", "7"), ("1e5 ", "100000.0"), ("true", "true"), ("true,", "true")],
        *[("[1]x", "[1]"), ("{} y", "{}"), ('"a"b', "a")],
        *[(text, None) for text in ("2024-02-29", "1.5x", "5,6", "12abc", "1e5]", "5}", "01", "1.", "truex", "nullx")],
    ],
)
def test_a_number_or_word_ends_where_json_lets_it(text: str, found: str | None) -> None:
    assert answer("get_json_object(s, '$')", s=text) == found


def test_small_things_of_nulls_and_urls() -> None:
    assert expression("~null", INPUTS).spark_type == "int"
    assert answer("~null") is None
    assert answer("parse_url(s, 'FILE')", s="\x00ABC") is None
    assert answer("parse_url(s, 'FILE')", s="http://h/ABC?x=1") == "/ABC?x=1"

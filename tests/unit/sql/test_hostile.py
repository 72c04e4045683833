"""Hostile confs and values: a refusal, quickly, and no other error."""

import time

import pytest

from chronoserve.model.errors import DerivationFailed, InvalidRequest, KVError, Unsupported
from chronoserve.model.types import INT, STRING, Field, ListType, StructType
from chronoserve.sql.compile import expression

INPUTS = StructType("in", (Field("i", INT), Field("s", STRING), Field("li", ListType(INT))))
REFUSAL_CPU_SECONDS = 0.1

HOSTILE = {
    "many parentheses": "(" * 5_000 + "i" + ")" * 5_000,
    "many calls": "abs(" * 1_000 + "i" + ")" * 1_000,
    "many signs": "-" * 8_000 + "i",
    "many nots": "not " * 3_000 + "true",
    "a long chain": " + ".join(["i"] * 5_000),
    "a chain of ands": " and ".join(["true"] * 3_000),
    "long text": "'" + "x" * 200_000 + "'",
    "many arguments": f"concat({', '.join(['s'] * 5_000)})",
    "many subscripts": "li" + "[0]" * 4_000,
    "many dots": "s" + ".x" * 4_000,
    "nested types": "cast(i as " + "array<" * 3_000 + "int" + ">" * 3_000 + ")",
    "nested cases": "case when true then " * 1_000 + "1" + " end" * 1_000,
    "nested lambdas": "transform(li, x -> " * 500 + "1" + ")" * 500,
    "open strings": "'" * 9_999,
    "open comments": "/*" * 9_000,
    "a huge number": "9" * 10_000,
    "a huge exponent": "1e999999999",
    "a huge decimal": "1e999999999BD",
    "a repeated repetition": "s rlike '(a+)+$'",
    "a long pattern": f"s rlike '{'a?' * 5_000}'",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises((InvalidRequest, Unsupported)):
        expression(text, INPUTS)
    assert time.process_time() - started < REFUSAL_CPU_SECONDS


@pytest.mark.parametrize(
    "text",
    [
        "repeat(s, 2000000000)",
        "space(2000000000)",
        "lpad(s, 2000000000, 'x')",
        "sequence(1, 2000000000)",
        "array_repeat(s, 2000000000)",
        "format_string('%2000000000d', i)",
    ],
)
def test_no_expression_fills_the_memory(text: str) -> None:
    with pytest.raises((DerivationFailed, InvalidRequest), match=r"longer|more than"):
        expression(text, INPUTS).evaluate((1, "abc", [1]))


def test_texts_beyond_a_bound_are_not_matched() -> None:
    matches = expression("s rlike 'a.*b.*c'", INPUTS)
    with pytest.raises(DerivationFailed):
        matches.evaluate((1, "a" * (1 << 21), None))


HOSTILE_JSON = ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, '{"a":[' + "[],[" * 50_000, '"' + "\\" * 99_999]


@pytest.mark.parametrize("text", HOSTILE_JSON, ids=["brackets", "nested", "open", "backslashes"])
def test_hostile_json_is_null_quickly(text: str) -> None:
    started = time.process_time()
    assert expression("get_json_object(s, '$')", INPUTS).evaluate((1, text, None)) is None
    assert expression("from_json(s, 'a ARRAY<STRING>')", INPUTS).evaluate((1, text, None)) == {"a": None}
    assert time.process_time() - started < REFUSAL_CPU_SECONDS


def test_patterns_from_columns_are_short() -> None:
    with pytest.raises(DerivationFailed, match="256"):
        expression("'x' rlike s", INPUTS).evaluate((1, "a" * 300, None))


def test_errors_quote_no_value() -> None:
    failing = expression("element_at(split(s, ','), i)", INPUTS)
    with pytest.raises(KVError) as raised:
        failing.evaluate((0, "a-secret,another", None))
    assert "secret" not in raised.value.message

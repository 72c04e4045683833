"""The grammar: what binds tighter, what a literal is, what is refused and where."""

import pytest

from chronoserve.model.errors import InvalidRequest, Unsupported
from chronoserve.model.types import BOOLEAN, BYTE, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, ListType, MapType
from chronoserve.sql.parser import parse
from chronoserve.sql.syntax import Alias, Call, Case, Cast, Dot, In, Lambda, Literal, Name, Subscript, Syntax
from chronoserve.sql.type_text import table_schema
from chronoserve.sql.types import DecimalType, struct


def shown(tree: Syntax) -> str:
    """A tree with every operator in parentheses."""
    match tree:
        case Literal(value):
            return repr(value)
        case Name(text):
            return text
        case Dot(base, field):
            return f"{shown(base)}.{field}"
        case Subscript(base, index):
            return f"{shown(base)}[{shown(index)}]"
        case Call(function, (left, right)) if not function[0].isalpha() or function in ("and", "or", "div"):
            return f"({shown(left)} {function} {shown(right)})"
        case Call(function, arguments):
            return f"{function}({', '.join(map(shown, arguments))})"
        case In(value, options):
            return f"({shown(value)} in {', '.join(map(shown, options))})"
        case Lambda(parameters, body):
            return f"({', '.join(parameters)} -> {shown(body)})"
        case Alias(value, name):
            return f"{shown(value)} as {name}"
        case _:
            return type(tree).__name__


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a | b & c ^ d", "(a | ((b & c) ^ d))"),
        ("a - b - c", "((a - b) - c)"),
        ("a || b || c", "((a || b) || c)"),
        ("a div b % c", "((a div b) % c)"),
        ("-a * b", "(negative(a) * b)"),
        ("-1 % 3", "(-1 % 3)"),
        ("2 - -3", "(2 - -3)"),
        ("~a & b", "(~(a) & b)"),
        ("not a = b", "not((a = b))"),
        ("not a and b", "(not(a) and b)"),
        ("! a or b", "(not(a) or b)"),
        ("a or b and c", "(a or (b and c))"),
        ("a = b = c", "((a = b) = c)"),
        ("a = b is null", "isnull((a = b))"),
        ("a + 1 is not null and b", "(not(isnull((a + 1))) and b)"),
        ("a between 1 and 2 and b", "(((a >= 1) and (a <= 2)) and b)"),
        ("a not between 1 and 2", "not(((a >= 1) and (a <= 2)))"),
        ("a not in (1, 2)", "not((a in 1, 2))"),
        ("a is distinct from b", "not((a <=> b))"),
        ("a not like 'x%'", "not(like(a, 'x%'))"),
        ("a like any ('x', 'y')", "(like(a, 'x') or like(a, 'y'))"),
        ("a.b.c[0].d", "a.b.c[0].d"),
        ("f(x -> x + 1)", "f((x -> (x + 1)))"),
        ("f((x, y) -> x)", "f((x, y -> x))"),
        ("(a, b)", "struct(a, b)"),
        ("struct(a as b, c)", "struct(a as b, c)"),
        ("trim(both 'x' from s)", "trim of('x', s)"),
        ("trim(s)", "trim(s)"),
        ("substring(s from 2 for 3)", "substring(s, 2, 3)"),
        ("position('a' in s)", "locate('a', s)"),
        ("overlay(s placing 'x' from 2)", "overlay(s, 'x', 2)"),
        ("extract(year from d)", "date_part('year', d)"),
        ("datediff(hour, a, b)", "units between('HOUR', a, b)"),
        ("datediff(a, b)", "datediff(a, b)"),
        ("`a b` + `c``d`", "(a b + c`d)"),
        ("7d_sum + 1", "(7d_sum + 1)"),
        ("a -- comment\n + b /* and\n another */ * c", "(a + (b * c))"),
        ("user", "user"),
        ("case", "case"),
        ("date", "date"),
        ("interval", "interval"),
    ],
)
def test_operators_and_forms(text: str, tree: str) -> None:
    assert shown(parse(text)) == tree


@pytest.mark.parametrize(
    ("text", "value", "data_type"),
    [
        ("1", 1, INT),
        ("-2147483648", -(1 << 31), INT),
        ("2147483648", 1 << 31, LONG),
        ("42L", 42, LONG),
        ("7S", 7, SHORT),
        ("127Y", 127, BYTE),
        ("1e3", 1000.0, DOUBLE),
        ("1.5D", 1.5, DOUBLE),
        ("2d", 2.0, DOUBLE),
        ("1.5F", 1.5, FLOAT),
        ("true", True, BOOLEAN),
        ("'it''s'", "its", STRING),
        ("'a' \"b\"", "ab", STRING),
        (r"'\u0041\n\\ \% \z'", "A\n\\ \\% z", STRING),
        (r"r'\n'", r"\n", STRING),
    ],
)
def test_literals(text: str, value: object, data_type: object) -> None:
    assert parse(text) == Literal(value, data_type)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "data_type"),
    [
        ("1.5", DecimalType(2, 1)),
        (".05", DecimalType(2, 2)),
        ("5.", DecimalType(1, 0)),
        ("123.450BD", DecimalType(6, 3)),
        ("1e2BD", DecimalType(3, 0)),
        ("99999999999999999999", DecimalType(20, 0)),
    ],
)
def test_decimal_literals_have_just_their_digits(text: str, data_type: DecimalType) -> None:
    tree = parse(text)
    assert isinstance(tree, Literal)
    assert tree.type == data_type


def test_case_with_and_without_a_subject() -> None:
    assert isinstance(parse("case a when 1 then 'x' else 'y' end"), Case)
    tree = parse("case when a then b when c then d end")
    assert isinstance(tree, Case)
    assert tree.subject is None
    assert len(tree.branches) == 2
    assert tree.otherwise is None


def test_types_of_casts_nest() -> None:
    tree = parse("cast(a as map<string, array<struct<x: int, `y z`: decimal(10, 2)>>>)")
    assert tree == Cast(Name("a"), MapType(STRING, ListType(struct(("x", INT), ("y z", DecimalType(10, 2))))))


def test_a_schema_is_one_type_or_a_list_of_columns() -> None:
    assert table_schema("array<int>") == ListType(INT)
    assert table_schema("a INT, b ARRAY<STRING> COMMENT 'x', c: double NOT NULL") == struct(
        ("a", INT), ("b", ListType(STRING)), ("c", DOUBLE)
    )
    with pytest.raises(InvalidRequest):
        table_schema("a INT b STRING")


def test_a_cut_off_expression_ends_in_a_column_called_as() -> None:
    """As Chronon splices it: ``1 + as name``."""
    assert parse("1 +", "name") == Call("+", (Literal(1, INT), Name("as")))


@pytest.mark.parametrize(
    "text",
    [
        "a b c",
        "a as b as c",
        "(a",
        "a)",
        "a; drop table b",
        "f(a,)",
        "case when a then b",
        "a is null is null",
        "a ? b",
        "'open",
        "a::int",
        "1 = not a",
    ],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse(text, "name")


def test_names_that_need_quotes_break_the_list() -> None:
    with pytest.raises(InvalidRequest, match="syntax error"):
        parse("p-x", "p-x")


@pytest.mark.parametrize(
    "text", ["(select 1)", "a in (select 1)", "exists (select 1)", "sum(a) over (order by b)", "count(distinct a)", "${env:HOME}"]
)
def test_what_is_no_expression_of_one_row(text: str) -> None:
    with pytest.raises(Unsupported):
        parse(text, "name")

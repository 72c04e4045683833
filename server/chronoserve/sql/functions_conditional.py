"""Functions that choose: ``if``, ``case``, ``coalesce`` and their relatives. What is not chosen is not evaluated."""

from typing import Any

from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import BOOLEAN, DOUBLE, FLOAT, STRING
from chronoserve.sql.nodes import Constant, Evaluate, Node, Row, applied, constant, is_null
from chronoserve.sql.operators import boolean, comparison, null_safe_equal
from chronoserve.sql.registry import ANY, Function, accept_all, alias, alike, refusal, special
from chronoserve.sql.types import NULL, is_orderable, spark_name
from chronoserve.sql.values import less


def condition(name: str, node: Node) -> Node:
    return boolean(name, node)


def choose(name: str, arguments: list[Node]) -> Node:
    test = condition(name, arguments[0])
    branches = alike(name, accept_all(name, arguments[1:], (ANY,)))
    return case_of([(test, branches[0])], branches[1])


def case_of(branches: list[tuple[Node, Node]], otherwise: Node | None) -> Node:
    """``case when`` with conditions that are booleans."""
    values = [value for _, value in branches] + ([] if otherwise is None else [otherwise])
    values = alike("case", accept_all("case", values, (ANY,)))
    last = values[len(branches)] if otherwise is not None else constant(None, values[0].type)
    tests = [condition("case", spoken(test)) for test, _ in branches]
    if len(tests) == 1:
        return one_branch(tests[0], values[0], last)

    def make(evaluates: list[Evaluate]) -> Evaluate:
        pairs = list(zip(evaluates[: len(tests)], evaluates[len(tests) : -1], strict=True))
        fallback = evaluates[-1]

        def run(row: Row) -> Any:
            for test, value in pairs:
                if test(row):
                    return value(row)
            return fallback(row)

        return run

    return applied("case", last.type, make, *tests, *values[: len(tests)], last)


def spoken(test: Node) -> Node:
    """Raises InvalidRequest for a bare null, which ``if`` takes for a boolean and ``case`` does not."""
    if test.type == NULL:
        raise refusal("case when", "a boolean", test)
    return test


def one_branch(test: Node, value: Node, otherwise: Node) -> Node:
    def make(evaluates: list[Evaluate]) -> Evaluate:
        decide, first, second = evaluates
        return lambda row: first(row) if decide(row) else second(row)

    if isinstance(test, Constant):
        return value if test.value else otherwise
    return applied("if", value.type, make, test, value, otherwise)


def coalesce(name: str, arguments: list[Node]) -> Node:
    nodes = alike(name, accept_all(name, arguments, (ANY,)))
    nodes = [node for node in nodes if not is_null(node)] or nodes[:1]
    if len(nodes) == 1:
        return nodes[0]
    if len(nodes) == 2:
        return either(nodes[0], nodes[1])

    def make(evaluates: list[Evaluate]) -> Evaluate:
        def run(row: Row) -> Any:
            for evaluate in evaluates:
                value = evaluate(row)
                if value is not None:
                    return value
            return None

        return run

    return applied("coalesce", nodes[0].type, make, *nodes)


def either(first: Node, second: Node) -> Node:
    def make(evaluates: list[Evaluate]) -> Evaluate:
        one, other = evaluates
        if isinstance(second, Constant):
            fixed = second.value

            def filled(row: Row) -> Any:
                value = one(row)
                return fixed if value is None else value

            return filled

        def run(row: Row) -> Any:
            value = one(row)
            return other(row) if value is None else value

        return run

    return applied("coalesce", first.type, make, first, second)


def null_if(_name: str, arguments: list[Node]) -> Node:
    left, right = arguments
    return one_branch(comparison("=", [left, right]), constant(None, left.type), left)


def nvl2(name: str, arguments: list[Node]) -> Node:
    test, present, absent = arguments
    branches = alike(name, [present, absent])
    is_present = applied("isnotnull", BOOLEAN, lambda evaluates: lambda row: evaluates[0](row) is not None, test)
    return one_branch(is_present, branches[0], branches[1])


def nan_or(name: str, arguments: list[Node]) -> Node:
    """``nanvl``: the second where the first is NaN."""
    left, right = arguments
    kind = FLOAT if left.type == FLOAT and right.type == FLOAT else DOUBLE
    left, right = accept_all(name, [left, right], (kind,))

    def make(evaluates: list[Evaluate]) -> Evaluate:
        first, second = evaluates

        def run(row: Row) -> Any:
            value = first(row)
            return second(row) if value != value and value is not None else value  # noqa: PLR0124 - NaN

        return run

    return applied(name, kind, make, left, right)


def is_nan(name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    node = node if node.type in (FLOAT, DOUBLE) else accept_all(name, [node], (DOUBLE,))[0]

    def make(evaluates: list[Evaluate]) -> Evaluate:
        evaluate = evaluates[0]

        def run(row: Row) -> bool:
            value = evaluate(row)
            return value is not None and value != value  # noqa: PLR0124 - NaN

        return run

    return applied(name, BOOLEAN, make, node)


def extreme(name: str, arguments: list[Node]) -> Node:
    """``greatest`` and ``least``: nulls are passed over."""
    nodes = alike(name, arguments, strings=False)
    kind = nodes[0].type
    if not is_orderable(kind):
        raise InvalidRequest(f"{name} takes values that have an order, not {spark_name(kind)}", field="expression")
    below = less(kind)
    wins = below if name == "least" else (lambda value, best: below(best, value))

    def make(evaluates: list[Evaluate]) -> Evaluate:
        def run(row: Row) -> Any:
            best = None
            for evaluate in evaluates:
                value = evaluate(row)
                if value is not None and (best is None or wins(value, best)):
                    best = value
            return best

        return run

    return applied(name, kind, make, *nodes)


def raise_error(name: str, arguments: list[Node]) -> Node:
    (message,) = accept_all(name, arguments, (STRING,))

    def make(evaluates: list[Evaluate]) -> Evaluate:
        def run(row: Row) -> None:
            raise DerivationFailed(f"raise_error was reached: {evaluates[0](row)}")

        return run

    return applied(name, NULL, make, message, pure=False)


def assert_true(name: str, arguments: list[Node]) -> Node:
    test = condition(name, arguments[0])

    def make(evaluates: list[Evaluate]) -> Evaluate:
        def run(row: Row) -> None:
            if not evaluates[0](row):
                raise DerivationFailed("assert_true found what is not true")

        return run

    return applied(name, NULL, make, test, *arguments[1:], pure=False)


def case_with_subject(subject: Node, branches: list[tuple[Node, Node]], otherwise: Node | None) -> Node:
    """``case subject when value then …``."""
    return case_of([(comparison("=", [subject, value]), result) for value, result in branches], otherwise)


def decode_pairs(_name: str, arguments: list[Node]) -> Node:
    """``decode(value, search, result, …, default)``: nulls match nulls."""
    subject, *rest = arguments
    branches = [(null_safe_equal("<=>", [subject, search]), result) for search, result in zip(rest[::2], rest[1::2], strict=False)]
    return case_of(branches, rest[-1] if len(rest) % 2 else constant(None, STRING))


def type_name(_name: str, arguments: list[Node]) -> Node:
    return constant(spark_name(arguments[0].type), STRING)


IF = special("if(condition, then, otherwise)", 3, 3, choose, "``then`` where the condition is true, else ``otherwise``.")
COALESCE = special("coalesce(value, …)", 1, None, coalesce, "The first value that is not null.")
NVL = special("nvl(value, otherwise)", 2, 2, coalesce, "``otherwise`` where the value is null.")
FUNCTIONS: tuple[Function, ...] = (
    IF,
    COALESCE,
    NVL,
    alias("ifnull", NVL),
    special("nullif(value, other)", 2, 2, null_if, "Null where both are equal, else the value."),
    special("nvl2(test, present, absent)", 3, 3, nvl2, "``present`` where the test is not null, else ``absent``."),
    special("nanvl(value, otherwise)", 2, 2, nan_or, "``otherwise`` where the value is NaN."),
    special("isnan(value)", 1, 1, is_nan, "Whether the value is NaN; false for a null."),
    special("greatest(value, …)", 2, None, extreme, "The greatest value, nulls passed over; NaN is the greatest number."),
    special("least(value, …)", 2, None, extreme, "The least value, nulls passed over."),
    special("raise_error(message)", 1, 1, raise_error, "Fails the derivation where it is evaluated."),
    special("assert_true(condition, message)", 1, 2, assert_true, "Null where the condition is true; fails the derivation elsewhere."),
    special("typeof(value)", 1, 1, type_name, "The name of the value's type, as ``map<string,int>``."),
)

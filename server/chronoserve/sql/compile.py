"""Expressions and select lists, compiled once for an input schema and evaluated per row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BOOLEAN, DataType, Field, ListType, MapType, StructType
from chronoserve.sql.analyze import Analysis
from chronoserve.sql.nodes import Node, Weaver, refuse_failing
from chronoserve.sql.parser import parse
from chronoserve.sql.types import NULL, chronon_type, has_struct, shape, spark_name

DIALECT = "3.5"
"""The Spark whose semantics these are; older ones differ in what docs/reference/derivations.md lists."""

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One expression. ``evaluate``: of a row of the input's values in order; structs in its result are dicts by field name.

    ``evaluate`` raises DerivationFailed where Spark's evaluation fails.
    """

    type: DataType
    spark_type: str
    evaluate: Callable[[Values], Any]


@dataclass(frozen=True, slots=True)
class Projection:
    """A select list. ``evaluate`` gives the selected values in order, or None for a row that a filter drops."""

    type: StructType
    spark_types: tuple[str, ...]
    evaluate: Callable[[Values], tuple[Any, ...] | None]


def expression(text: str, inputs: StructType, *, dialect: str = DIALECT, name: str = "out", clock: str | None = None) -> Compiled:
    """One expression over ``inputs``. ``name`` is its column's: structs in the type are named after it.

    ``clock``: a column of milliseconds since 1970 that ``current_timestamp()`` and its kin show; without, they are refused.

    Raises:
        InvalidRequest: Spark does not compile it either.
        Unsupported: we do not, and the message names what.
    """
    check_dialect(dialect)
    analysis = Analysis(shaped(inputs), clock)
    node = analysis.value(parse(text, name))
    refuse_failing(node)
    weaver = Weaver([node], len(inputs.fields), analysis.variables)
    evaluate = with_cells(weaver, weaver.weave(node))
    convert = converter(node.type)
    final = evaluate if convert is None else lambda row: convert(evaluate(row))
    return Compiled(chronon_type(name, node.type), spark_name(node.type), final)


def select(expressions: Sequence[tuple[str, str]], inputs: StructType, *, wheres: Sequence[str] = (), dialect: str = DIALECT) -> Projection:
    """``(name, expression)`` pairs over ``inputs``; what several have in common is evaluated once a row.

    ``wheres``: conditions, all of which a row must meet. They see the input's columns and, first, the selected ones, as
    Chronon's Flink jobs evaluate them (spec/online-fetch.md §12.5).

    Raises:
        InvalidRequest: Spark does not compile one of them either; the message names it.
        Unsupported: we do not.
    """
    check_dialect(dialect)
    analysis, nodes = planned(expressions, inputs)
    names = [name for name, _ in expressions]
    filters = [resolved_filter(inputs, names, nodes, analysis, where) for where in [" AND ".join(wheres)] if wheres]
    weaver = Weaver([*nodes, *filters], len(inputs.fields), analysis.variables)
    columns = [converted(weaver.weave(node), node.type) for node in nodes]
    conditions = [weaver.weave(node) for node in filters]
    fields = tuple(Field(name, chronon_type(name, node.type)) for name, node in zip(names, nodes, strict=True))
    spark_types = tuple(spark_name(node.type) for node in nodes)
    return Projection(StructType("", fields), spark_types, with_cells(weaver, projected(columns, conditions)))


def planned(expressions: Sequence[tuple[str, str]], inputs: StructType, clock: str | None = None) -> tuple[Analysis, list[Node]]:
    """The typed trees of a select list, and the analysis that knows how many variables they have. ``clock``: as of ``expression``."""
    analysis = Analysis(shaped(inputs), clock)
    return analysis, [resolved(analysis, name, text) for name, text in expressions]


def check_dialect(dialect: str) -> None:
    if dialect != DIALECT:
        raise InvalidRequest(f"the SQL dialect {dialect!r} is not known: {DIALECT} is", field="dialect")


def shaped(inputs: StructType) -> StructType:
    return StructType("", tuple(Field(field.name, shape(field.type)) for field in inputs.fields))


def resolved(analysis: Analysis, name: str, text: str) -> Node:
    try:
        node = analysis.value(parse(text, name))
        refuse_failing(node)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error.message}", field="expression") from error
    return node


def resolved_filter(inputs: StructType, names: list[str], nodes: list[Node], analysis: Analysis, text: str) -> Node:
    scope = Analysis(shaped(inputs))
    scope.variables = analysis.variables
    scope.columns.update({name.lower(): [node] for name, node in zip(names, nodes, strict=True)})
    node = scope.value(parse(text))
    analysis.variables = scope.variables
    if node.type not in (BOOLEAN, NULL):
        raise InvalidRequest(f"a where is a boolean, not a {spark_name(node.type)}", field="where")
    return node


def projected(columns: list[Callable[[Any], Any]], conditions: list[Callable[[Any], Any]]) -> Callable[[Any], tuple[Any, ...] | None]:
    if not conditions:
        return lambda row: tuple([column(row) for column in columns])

    def run(row: Any) -> tuple[Any, ...] | None:
        for condition in conditions:
            if not condition(row):
                return None
        return tuple([column(row) for column in columns])

    return run


def with_cells(weaver: Weaver, evaluate: Callable[[Any], Any]) -> Callable[[Values], Any]:
    """``evaluate`` of a row that has room for variables and shared values, where it needs any."""
    cells = weaver.cells()
    return (lambda row: evaluate([*row, *cells])) if cells else evaluate


# results


def converted(evaluate: Callable[[Any], Any], data_type: DataType) -> Callable[[Any], Any]:
    convert = converter(data_type)
    return evaluate if convert is None else lambda row: convert(evaluate(row))


def converter(data_type: DataType) -> Callable[[Any], Any] | None:
    """Structs inside of a value to dicts by field name; None where there are none."""
    if not has_struct(data_type):
        return None
    match data_type:
        case ListType(element):
            inner = converter(element)
            assert inner is not None
            return lambda values: None if values is None else [inner(value) for value in values]
        case MapType(_, value):
            return map_converter(converter(value))
        case StructType(_, fields):
            return struct_converter(fields)
        case _:
            raise AssertionError(f"no struct in {data_type}")


def same(value: Any) -> Any:
    return value


def map_converter(value: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """A key that is a struct stays a tuple: a dict cannot be a key."""
    if value is None:
        return same
    return lambda entries: None if entries is None else {name: value(held) for name, held in entries.items()}


def struct_converter(fields: tuple[Field, ...]) -> Callable[[Any], Any]:
    names = tuple(field.name for field in fields)
    inner = [converter(field.type) for field in fields]
    if not any(inner):
        return lambda values: None if values is None else dict(zip(names, values, strict=True))
    steps = [step or same for step in inner]
    return lambda values: None if values is None else {name: step(value) for name, step, value in zip(names, steps, values, strict=True)}

"""Typed expressions: what the analysis builds, and how it becomes Python closures over a positional row.

A row is the input's values in schema order, with cells behind them for lambda variables and for subexpressions that
several derivations share. Every closure is chosen by types when the conf is loaded; none looks at a type when it runs.
Constants are folded while the tree is built.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import DataType

Value = Any
Row = Sequence[Value]
Evaluate = Callable[[Any], Value]
Make = Callable[[list[Evaluate]], Evaluate]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A typed expression. Two nodes with equal keys give equal values on every row."""

    type: DataType
    key: Hashable
    children: tuple["Node", ...] = ()

    @property
    def variables(self) -> frozenset[int]:
        """The lambda variables that it reads and does not bind."""
        return frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Node):
    """``literal``: it stands so in the text; a folded expression does not, which matters for decimals."""

    value: Value = None
    literal: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Column(Node):
    index: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Variable(Node):
    """A lambda's parameter; ``number`` counts the parameters of the whole select list."""

    number: int = 0

    @property
    def variables(self) -> frozenset[int]:
        return frozenset((self.number,))


@dataclass(frozen=True, slots=True, eq=False)
class Applied(Node):
    """A function of its children. ``pure``: gives the same value whenever it is called."""

    make: Make = field(default=lambda evaluates: evaluates[0])
    pure: bool = True
    free: frozenset[int] = frozenset()

    @property
    def variables(self) -> frozenset[int]:
        return self.free


@dataclass(frozen=True, slots=True, eq=False)
class LambdaNode(Node):
    """A lambda: its parameters, and its body as the only child. It is no value."""

    parameters: tuple[Variable, ...] = ()

    @property
    def body(self) -> Node:
        return self.children[0]

    @property
    def variables(self) -> frozenset[int]:
        return self.body.variables - {parameter.number for parameter in self.parameters}


def constant(value: Value, data_type: DataType, *, literal: bool = False) -> Constant:
    return Constant(data_type, ("constant", data_type, literal, repr(value)), value=value, literal=literal)


def column(index: int, name: str, data_type: DataType) -> Column:
    return Column(data_type, ("column", index), index=index, name=name)


def variable(number: int, data_type: DataType) -> Variable:
    return Variable(data_type, ("variable", number, data_type), number=number)


def applied(name: str, data_type: DataType, make: Make, *children: Node, pure: bool = True) -> Node:
    """A node of a function whose meaning ``name``, the result's type and the children determine together."""
    free: frozenset[int] = frozenset().union(*(child.variables for child in children)) if children else frozenset()
    node = Applied(data_type, (name, data_type, *(child.key for child in children)), children, make=make, pure=pure, free=free)
    return folded(node) if pure and all(isinstance(child, Constant) for child in children) else node


def folded(node: Applied) -> Node:
    """The node's value, once and for all; the node itself where it fails: then it fails where it is evaluated."""
    evaluate = node.make([evaluate_constant(child.value) for child in node.children if isinstance(child, Constant)])
    try:
        return constant(evaluate(()), node.type)
    except DerivationFailed:
        return node


CONDITIONAL = frozenset({"if", "case", "coalesce"})
"""Names of nodes that may not evaluate all of their children."""


def refuse_failing(node: Node, *, unconditional: bool = True) -> None:
    """Refuses what fails whatever the row is, as Spark does when it folds constants; a branch that may not be taken may fail.

    Raises:
        InvalidRequest: a constant part of ``node`` fails.
    """
    if isinstance(node, Applied) and not isinstance(node, HigherOrder):
        if unconditional and node.pure and node.children and all(isinstance(child, Constant) for child in node.children):
            try:
                node.make([evaluate_constant(child.value) for child in node.children if isinstance(child, Constant)])(())
            except DerivationFailed as error:
                raise InvalidRequest(f"it fails on every row: {error.message}", field="expression") from error
        name = node.key[0] if isinstance(node.key, tuple) else None
        unconditional = unconditional and name not in CONDITIONAL
    for child in node.children:
        refuse_failing(child, unconditional=unconditional)


def evaluate_constant(value: Value) -> Evaluate:
    return lambda _row: value


def is_pure(node: Node) -> bool:
    return (not isinstance(node, Applied) or node.pure) and all(is_pure(child) for child in node.children)


def is_null(node: Node) -> bool:
    return isinstance(node, Constant) and node.value is None


def columns_of(nodes: Sequence[Node]) -> list[int]:
    """The indexes of the input columns that the nodes read, ascending."""
    found: set[int] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Column):
            found.add(node.index)
        waiting.extend(node.children)
    return sorted(found)


# nodes of ordinary functions


def strict(name: str, data_type: DataType, function: Callable[..., Value], *children: Node, pure: bool = True) -> Node:
    """``function`` of the children's values; null as soon as one of them is."""
    if pure and any(is_null(child) for child in children):
        return constant(None, data_type)
    return applied(name, data_type, maker(function, children), *children, pure=pure)


def lenient(name: str, data_type: DataType, function: Callable[..., Value], *children: Node, pure: bool = True) -> Node:
    """``function`` of the children's values, nulls included."""

    def make(evaluates: list[Evaluate]) -> Evaluate:
        return lambda row: function(*[evaluate(row) for evaluate in evaluates])

    return applied(name, data_type, make, *children, pure=pure)


def maker(function: Callable[..., Value], children: Sequence[Node]) -> Make:
    """The quickest closure for a strict function of as many arguments."""
    if len(children) == 1:
        return lambda evaluates: unary(function, evaluates[0])
    if len(children) == 2:
        second = children[1]
        if isinstance(second, Constant):
            return lambda evaluates: with_constant(function, evaluates[0], second.value)
        return lambda evaluates: binary(function, evaluates[0], evaluates[1])
    return lambda evaluates: many(function, evaluates)


def unary(function: Callable[..., Value], argument: Evaluate) -> Evaluate:
    def run(row: Row) -> Value:
        value = argument(row)
        return None if value is None else function(value)

    return run


def with_constant(function: Callable[..., Value], argument: Evaluate, fixed: Value) -> Evaluate:
    def run(row: Row) -> Value:
        value = argument(row)
        return None if value is None else function(value, fixed)

    return run


def binary(function: Callable[..., Value], first: Evaluate, second: Evaluate) -> Evaluate:
    def run(row: Row) -> Value:
        left = first(row)
        if left is None:
            return None
        right = second(row)
        return None if right is None else function(left, right)

    return run


def many(function: Callable[..., Value], arguments: list[Evaluate]) -> Evaluate:
    def run(row: Row) -> Value:
        values = []
        for argument in arguments:
            value = argument(row)
            if value is None:
                return None
            values.append(value)
        return function(*values)

    return run


# closures of whole trees

UNSET = object()
"""What a shared cell holds until its expression has been evaluated for the row."""


class Weaver:
    """Turns the nodes of one select list into closures, sharing what occurs more than once.

    ``width``: how many values the input row has; cells are numbered from there. ``positions``: where each input column is
    in the row; None where the row has all of them in order.
    """

    def __init__(self, nodes: Sequence[Node], width: int, variables: int, positions: Mapping[int, int] | None = None) -> None:
        self.width = width
        self.positions = positions
        self.variables = variables
        self.counts: dict[Hashable, int] = {}
        self.woven: dict[Hashable, Evaluate] = {}
        self.shared = 0
        for node in nodes:
            self.count(node)

    def count(self, node: Node) -> None:
        if isinstance(node, Applied):
            seen = self.counts.get(node.key, 0)
            self.counts[node.key] = seen + 1
            if seen:
                return
        for child in node.children:
            self.count(child)

    def cells(self) -> list[Value]:
        """What a row needs behind the input's values."""
        return [None] * self.variables + [UNSET] * self.shared

    def cell_of(self, parameter: Variable) -> int:
        return self.width + parameter.number

    def weave(self, node: Node) -> Evaluate:
        found = self.woven.get(node.key)
        if found is None:
            found = self.woven[node.key] = self.closure(node)
        return found

    def closure(self, node: Node) -> Evaluate:
        match node:
            case Constant():
                return evaluate_constant(node.value)
            case Column():
                return itemgetter(node.index if self.positions is None else self.positions[node.index])
            case Variable():
                return itemgetter(self.cell_of(node))
            case Applied():
                return self.applied(node)
            case _:
                raise DerivationFailed("a lambda stands where a value is expected")

    def applied(self, node: Applied) -> Evaluate:
        evaluate = node.bind(self) if isinstance(node, HigherOrder) else node.make([self.weave(child) for child in node.children])
        if self.counts.get(node.key, 0) < 2 or node.free or not is_pure(node):
            return evaluate
        cell = self.width + self.variables + self.shared
        self.shared += 1
        return remembered(evaluate, cell)


def remembered(evaluate: Evaluate, cell: int) -> Evaluate:
    def run(row: Any) -> Value:
        value = row[cell]
        if value is UNSET:
            value = row[cell] = evaluate(row)
        return value

    return run


Bind = Callable[["Weaver", "HigherOrder"], Evaluate]


@dataclass(frozen=True, slots=True, eq=False)
class HigherOrder(Applied):
    """A function with lambdas among its children; ``binding`` builds its closure with the cells of their parameters."""

    binding: Bind | None = None

    def bind(self, weaver: Weaver) -> Evaluate:
        assert self.binding is not None
        return self.binding(weaver, self)


def higher_order(name: str, data_type: DataType, binding: Bind, *children: Node) -> Node:
    free: frozenset[int] = frozenset().union(*(child.variables for child in children))
    key = (name, data_type, *(lambda_key(child) for child in children))
    return HigherOrder(data_type, key, children, free=free, binding=binding)


def lambda_key(node: Node) -> Hashable:
    return ("lambda", tuple(parameter.key for parameter in node.parameters), node.body.key) if isinstance(node, LambdaNode) else node.key

"""What a SQL function is to this room: a name, arities, a rule from argument nodes to a node, and a line of documentation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BINARY, DATE, DOUBLE, STRING, TIMESTAMP, DataType, ListType, MapType
from chronoserve.sql.casts import cast
from chronoserve.sql.coercion import common_of, implicit
from chronoserve.sql.nodes import Constant, LambdaNode, Node, strict
from chronoserve.sql.types import FUNCTION, NULL, is_integral, is_interval, is_numeric, spark_name

Resolve = Callable[[str, list[Node]], Node]


@dataclass(frozen=True, slots=True)
class Function:
    """A SQL function. ``most`` is None for any number of arguments; ``usage`` and ``doc`` are what the reference shows."""

    name: str
    least: int
    most: int | None
    resolve: Resolve
    usage: str
    doc: str

    def call(self, arguments: list[Node]) -> Node:
        """The node of a call.

        Raises:
            InvalidRequest: Spark would refuse the arguments as well.
        """
        if len(arguments) < self.least or (self.most is not None and len(arguments) > self.most):
            raise InvalidRequest(f"{self.name} takes {self.arity} arguments, not {len(arguments)}", field="expression")
        return self.resolve(self.name, arguments)

    @property
    def arity(self) -> str:
        if self.most is None:
            return f"{self.least} or more"
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of types that a parameter accepts; ``take`` gives the node as one of the family, or None."""

    name: str
    take: Callable[[Node], Node | None]


def one_of(name: str, test: Callable[[DataType], bool], otherwise: DataType | None = None) -> Kind:
    """A family by a test of types. A null, and a string where ``otherwise`` is given, become ``otherwise``."""

    def take(node: Node) -> Node | None:
        if test(node.type):
            return node
        if otherwise is not None and implicit(node.type, otherwise):
            return cast(node, otherwise)
        return None

    return Kind(name, take)


def exactly(wanted: DataType) -> Kind:
    """A type that nothing but a null is cast to: some functions of Spark's are that strict."""
    return Kind(f"a {spark_name(wanted)}", lambda node: cast(node, wanted) if node.type in (wanted, NULL) else None)


NUMBER = one_of("a number", is_numeric, DOUBLE)
NUMBER_OR_INTERVAL = one_of("a number", lambda kind: is_numeric(kind) or is_interval(kind), DOUBLE)
INTEGRAL = one_of("a whole number", lambda kind: is_integral(kind) or kind == NULL)
ANY = one_of("a value", lambda kind: kind != FUNCTION)
LIST = one_of("an array", lambda kind: isinstance(kind, ListType), ListType(NULL))
MAP = one_of("a map", lambda kind: isinstance(kind, MapType), MapType(NULL, NULL))
EXACT_STRING, EXACT_DATE, EXACT_TIMESTAMP = exactly(STRING), exactly(DATE), exactly(TIMESTAMP)
TEXT_OR_BYTES = one_of("a string or binary", lambda kind: kind in (STRING, BINARY), STRING)
Parameter = DataType | Kind


def accept(function: str, node: Node, wanted: Parameter) -> Node:
    """``node`` as a parameter of type ``wanted`` takes it.

    Raises:
        InvalidRequest: it takes no such value.
    """
    if isinstance(wanted, Kind):
        found = wanted.take(node)
        if found is not None:
            return found
        raise refusal(function, wanted.name, node)
    if not implicit(node.type, wanted):
        raise refusal(function, f"a {spark_name(wanted)}", node)
    return cast(node, wanted)


def refusal(function: str, wanted: str, node: Node) -> InvalidRequest:
    return InvalidRequest(f"{function} takes {wanted} where a {spark_name(node.type)} is given", field="expression")


def accept_all(function: str, arguments: list[Node], wanted: Sequence[Parameter]) -> list[Node]:
    """Each argument by its parameter; the last parameter stands for all that follow."""
    return [accept(function, node, wanted[min(index, len(wanted) - 1)]) for index, node in enumerate(arguments)]


def alike(function: str, arguments: list[Node], *, strings: bool = True) -> list[Node]:
    """The arguments in the type in which they all meet, as branches and elements do; ``strings`` as ``coercion.common`` says.

    Raises:
        InvalidRequest: they meet in none.
    """
    found = common_of([node.type for node in arguments], strings=strings)
    if found is None:
        kinds = ", ".join(spark_name(node.type) for node in arguments)
        raise InvalidRequest(f"{function} takes arguments of one type, not {kinds}", field="expression")
    return [cast(node, found) for node in arguments]


def simple(
    usage: str, wanted: Sequence[Parameter], result: DataType, function: Callable[..., Any], doc: str, *, least: int | None = None
) -> Function:
    """A strict function of fixed parameters: null as soon as one argument is. ``function`` has defaults beyond ``least``."""
    name = usage.split("(", maxsplit=1)[0]

    def resolve(called: str, arguments: list[Node]) -> Node:
        return strict(called, result, function, *accept_all(called, arguments, wanted))

    return Function(name, len(wanted) if least is None else least, len(wanted), resolve, usage, doc)


def special(usage: str, least: int, most: int | None, resolve: Resolve, doc: str) -> Function:
    return Function(usage.split("(", maxsplit=1)[0], least, most, resolve, usage, doc)


def alias(name: str, of: Function) -> Function:
    """The same function under another name."""
    return Function(name, of.least, of.most, of.resolve, name + of.usage[len(of.name) :], f"As {of.name}.")


def constant_of(function: str, node: Node, wanted: DataType) -> Any:
    """The value of an argument that must be constant; None where it is null.

    Raises:
        InvalidRequest: it is no constant, or of another type.
    """
    node = accept(function, node, wanted)
    if not isinstance(node, Constant):
        raise InvalidRequest(f"{function} takes a constant here, not a column", field="expression")
    return node.value


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PendingLambda(Node):
    """A lambda whose parameters' types only the function around it knows. ``arity``: how many parameters it has."""

    bind: Callable[[Sequence[DataType]], LambdaNode]
    arity: int


def bound(function: str, node: Node, types: Sequence[DataType], *, optional: int = 0) -> LambdaNode:
    """The lambda ``node`` with parameters of ``types``, of which the last ``optional`` may be left out.

    Raises:
        InvalidRequest: it is no lambda, or has another number of parameters.
    """
    if not isinstance(node, PendingLambda):
        raise InvalidRequest(f"{function} takes a lambda, as x -> x + 1", field="expression")
    if not len(types) - optional <= node.arity <= len(types):
        raise InvalidRequest(f"the lambda of {function} takes {len(types)} parameters, not {node.arity}", field="expression")
    return node.bind(types[: node.arity])

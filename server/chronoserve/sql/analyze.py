"""Names and types: from a syntax tree to a typed one, as Spark's analysis resolves them (case does not matter)."""

from collections.abc import Sequence

from chronoserve.model.errors import InvalidRequest, Unsupported
from chronoserve.model.types import DATE, LONG, STRING, DataType, StructType
from chronoserve.sql.access import element, member
from chronoserve.sql.casts import cast
from chronoserve.sql.functions import FUNCTIONS, REFUSED
from chronoserve.sql.functions_conditional import case_of, case_with_subject
from chronoserve.sql.java_order import ordered
from chronoserve.sql.nodes import LambdaNode, Node, Variable, column, constant, variable
from chronoserve.sql.operators import membership
from chronoserve.sql.registry import PendingLambda
from chronoserve.sql.syntax import Alias, Call, Case, Cast, Dot, In, Lambda, Literal, Name, Star, Subscript, Syntax
from chronoserve.sql.try_casts import try_cast
from chronoserve.sql.types import FUNCTION

DEPTH_MAX = 120
"""How deep a tree may be: chains of operators count, one level each."""
CLOCKS = frozenset({"current_date", "curdate", "current_timestamp", "now", "unix_timestamp"})
"""Calls without arguments that read a clock."""
BARE_CALLS = frozenset({"current_date", "current_timestamp", "localtimestamp", "current_user", "user", "session_user"})
"""Names that are calls without parentheses where no column has them."""


class Analysis:
    """Resolves the expressions of one select list against one input row."""

    def __init__(self, inputs: StructType, clock: str | None = None) -> None:
        """``clock``: the column whose milliseconds since 1970 a clock shows; None: there is no clock."""
        self.clock = clock
        self.columns: dict[str, list[Node]] = {}
        for index, field in enumerate(inputs.fields):
            self.columns.setdefault(field.name.lower(), []).append(column(index, field.name, field.type))
        self.scopes: list[dict[str, Variable]] = []
        self.variables = 0
        self.depth = 0

    def resolve(self, tree: Syntax) -> Node:
        """The typed tree of ``tree``.

        Raises:
            InvalidRequest: Spark would refuse it too.
            Unsupported: a function that we do not have, named.
        """
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise Unsupported(f"expressions may be {DEPTH_MAX} operators deep; this one is deeper")
        node = self.node(tree)
        self.depth -= 1
        return node

    def value(self, tree: Syntax) -> Node:
        """As ``resolve``, where a lambda cannot stand."""
        node = self.resolve(tree)
        if node.type == FUNCTION:
            raise InvalidRequest("a lambda stands where a value is expected", field="expression")
        return node

    def node(self, tree: Syntax) -> Node:
        match tree:
            case Literal(value, data_type):
                return constant(value, data_type, literal=True)
            case Name(text):
                return self.name(text)
            case Call(function, arguments):
                return self.call(function, arguments)
            case Dot(base, field):
                return member(self.value(base), field)
            case Subscript(base, index):
                return element(self.value(base), self.value(index))
            case Cast(value, data_type, quiet=True):
                return try_cast(ordered(self.value(value)) if data_type == STRING else self.value(value), data_type)
            case Cast(value, data_type):
                return cast(ordered(self.value(value)) if data_type == STRING else self.value(value), data_type)
            case Case():
                return self.case(tree)
            case In(value, options):
                return membership(self.value(value), [self.value(option) for option in options])
            case Lambda(parameters, body):
                return self.pending(parameters, body)
            case Alias():
                raise InvalidRequest("a name given by `as` has no place here", field="expression")
            case Star():
                raise InvalidRequest("Invalid usage of '*': a derivation is one column", field="expression")
            case _:
                raise Unsupported(f"{type(tree).__name__} in an expression")

    def name(self, text: str) -> Node:
        lower = text.lower()
        for scope in reversed(self.scopes):
            if lower in scope:
                return scope[lower]
        found = self.columns.get(lower, ())
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidRequest(f"{text} is ambiguous: {len(found)} columns have that name", field="expression")
        if lower in BARE_CALLS:
            return self.call(lower, ())
        raise InvalidRequest(f"cannot resolve `{text}`: the columns are {self.listed()}", field="expression")

    def listed(self) -> str:
        names = sorted(self.columns)
        return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")

    def call(self, name: str, arguments: Sequence[Syntax]) -> Node:
        if name in ("struct", "named_struct") and any(isinstance(argument, Alias) for argument in arguments):
            arguments = named(arguments)
            name = "named_struct"
        elif name == "struct":
            name, arguments = "named_struct", named(arguments)
        elif name == "arrays_zip":
            arguments = named(arguments, "{}", first=0)
        elif name in CLOCKS and not arguments and self.clock is not None:
            return self.time(name, self.clock)
        function = FUNCTIONS.get(name)
        if function is None:
            raise refusal(name)
        return function.call([self.resolve(argument) for argument in arguments])

    def time(self, name: str, clock: str) -> Node:
        """What ``name`` would show at the time of the row."""
        millis = self.columns[clock][-1]
        if millis.type != LONG:
            raise InvalidRequest(f"{name}() shows the time in {clock}, which is no bigint", field="expression")
        now = FUNCTIONS["timestamp_millis"].call([millis])
        if name == "unix_timestamp":
            return FUNCTIONS[name].call([now])
        return cast(now, DATE) if name in ("current_date", "curdate") else now

    def case(self, tree: Case) -> Node:
        branches = [(self.value(test), self.value(result)) for test, result in tree.branches]
        otherwise = None if tree.otherwise is None else self.value(tree.otherwise)
        if tree.subject is None:
            return case_of(branches, otherwise)
        return case_with_subject(self.value(tree.subject), branches, otherwise)

    def pending(self, parameters: tuple[str, ...], body: Syntax) -> PendingLambda:
        """A lambda whose body is resolved when the function around it says its parameters' types."""
        scopes = list(self.scopes)
        names = [parameter.lower() for parameter in parameters]
        if len(set(names)) < len(names):
            raise InvalidRequest("a lambda's parameters have different names", field="expression")

        def bind(types: Sequence[DataType]) -> LambdaNode:
            variables = tuple(self.variable(data_type) for data_type in types)
            outer, self.scopes = self.scopes, [*scopes, dict(zip(names, variables, strict=True))]
            try:
                node = self.value(body)
            finally:
                self.scopes = outer
            return LambdaNode(FUNCTION, ("lambda",), (node,), parameters=variables)

        return PendingLambda(type=FUNCTION, key=("pending", parameters), bind=bind, arity=len(parameters))

    def variable(self, data_type: DataType) -> Variable:
        self.variables += 1
        return variable(self.variables - 1, data_type)


def named(arguments: Sequence[Syntax], nameless: str = "col{}", first: int = 1) -> list[Syntax]:
    """``struct(a, b as c, 1)`` as ``named_struct('a', a, 'c', b, 'col3', 1)``."""
    found: list[Syntax] = []
    for index, argument in enumerate(arguments):
        match argument:
            case Alias(value, name):
                found += [Literal(name, STRING), value]
            case Name(text):
                found += [Literal(text, STRING), argument]
            case Dot(base, text) if is_path(base):
                found += [Literal(text, STRING), argument]
            case _:
                found += [Literal(nameless.format(index + first), STRING), argument]
    return found


def is_path(tree: Syntax) -> bool:
    """Whether it is a name, or fields of one: ``a.b.c``."""
    while isinstance(tree, Dot):
        tree = tree.base
    return isinstance(tree, Name)


def refusal(name: str) -> Exception:
    if name in REFUSED:
        return Unsupported(f"{name}(…) {REFUSED[name]}")
    return Unsupported(f"the function {name} is not supported: docs/reference/derivations.md lists what is")

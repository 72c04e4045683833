"""The shapes of a parsed expression, before names and types are looked up."""

from dataclasses import dataclass

from chronoserve.model.types import DataType


class Syntax:
    """A node of the parsed text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Literal(Syntax):
    value: object
    type: DataType


@dataclass(frozen=True, slots=True)
class Name(Syntax):
    """A column, a lambda's variable, or a table's alias: what it is, the analysis finds out."""

    text: str


@dataclass(frozen=True, slots=True)
class Dot(Syntax):
    base: Syntax
    field: str


@dataclass(frozen=True, slots=True)
class Subscript(Syntax):
    base: Syntax
    index: Syntax


@dataclass(frozen=True, slots=True)
class Call(Syntax):
    """A function or an operator; operators have the names that Spark's functions of the same meaning have."""

    function: str
    arguments: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class Lambda(Syntax):
    parameters: tuple[str, ...]
    body: Syntax


@dataclass(frozen=True, slots=True)
class Cast(Syntax):
    value: Syntax
    type: DataType
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Case(Syntax):
    """``otherwise`` is None where there is no else. ``subject`` is None for ``case when``."""

    subject: Syntax | None
    branches: tuple[tuple[Syntax, Syntax], ...]
    otherwise: Syntax | None


@dataclass(frozen=True, slots=True)
class In(Syntax):
    value: Syntax
    options: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class Alias(Syntax):
    """``value as name`` inside of ``struct(…)`` and ``named_struct``."""

    value: Syntax
    name: str


@dataclass(frozen=True, slots=True)
class Star(Syntax):
    """``*``: refused wherever it would be a value, but ``struct(*)`` and ``count(*)`` parse."""

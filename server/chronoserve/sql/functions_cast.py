"""Casts that are called like functions: ``int(x)``, ``string(x)``."""

from chronoserve.model.types import BINARY, BOOLEAN, BYTE, DATE, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, TIMESTAMP, DataType
from chronoserve.sql.casts import cast
from chronoserve.sql.nodes import Node
from chronoserve.sql.registry import Function, special
from chronoserve.sql.types import DecimalType

TARGETS: dict[str, DataType] = {
    "boolean": BOOLEAN,
    "tinyint": BYTE,
    "smallint": SHORT,
    "int": INT,
    "bigint": LONG,
    "float": FLOAT,
    "double": DOUBLE,
    "decimal": DecimalType(10, 0),
    "date": DATE,
    "timestamp": TIMESTAMP,
    "binary": BINARY,
    "string": STRING,
}


def of_target(name: str, target: DataType) -> Function:
    def resolve(_called: str, arguments: list[Node]) -> Node:
        return cast(arguments[0], target)

    return special(f"{name}(value)", 1, 1, resolve, f"As cast(value as {name}).")


FUNCTIONS: tuple[Function, ...] = tuple(of_target(name, target) for name, target in TARGETS.items())

"""Functions that give another value each time. Seeds make them repeatable, but not the same numbers that Spark makes."""

import random
import uuid
from collections.abc import Callable
from itertools import count
from typing import Any

from chronoserve.model.types import DOUBLE, INT, LONG, STRING
from chronoserve.sql.nodes import Evaluate, Node, applied, constant
from chronoserve.sql.registry import Function, alias, constant_of, special


def seeded(method: str) -> Callable[[str, list[Node]], Node]:
    """``rand`` and ``randn`` of an optional constant seed."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        seed = constant_of(name, arguments[0], LONG) if arguments else None

        def make(_evaluates: list[Evaluate]) -> Evaluate:
            source = random.Random(seed)  # noqa: S311 - no secret
            draw: Callable[[], float] = source.random if method == "rand" else lambda: source.gauss(0.0, 1.0)
            return lambda _row: draw()

        return applied(f"{name} {seed}", DOUBLE, make, pure=False)

    return resolve


def counted(name: str, _arguments: list[Node]) -> Node:
    def make(_evaluates: list[Evaluate]) -> Evaluate:
        numbers = count()
        return lambda _row: next(numbers)

    return applied(name, LONG, make, pure=False)


def unique_text(name: str, _arguments: list[Node]) -> Node:
    def make(_evaluates: list[Evaluate]) -> Evaluate:
        return lambda _row: str(uuid.uuid4())

    return applied(name, STRING, make, pure=False)


def nothing_read(value: Any, kind: Any) -> Callable[[str, list[Node]], Node]:
    return lambda _name, _arguments: constant(value, kind)


RAND = special("rand(seed)", 0, 1, seeded("rand"), "A double from 0 to 1, 1 excluded.")
FUNCTIONS: tuple[Function, ...] = (
    RAND,
    alias("random", RAND),
    special("randn(seed)", 0, 1, seeded("randn"), "A double of the normal distribution."),
    special("uuid()", 0, 0, unique_text, "A random UUID."),
    special("monotonically_increasing_id()", 0, 0, counted, "0, 1, 2, … for the rows that are evaluated."),
    special("spark_partition_id()", 0, 0, nothing_read(0, INT), "0: there are no partitions."),
)

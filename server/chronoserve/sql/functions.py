"""All functions by name, and the names that are refused with a reason."""

from itertools import chain

from chronoserve.sql import functions_conditional, operators
from chronoserve.sql.registry import Function

GROUPS: tuple[tuple[str, tuple[Function, ...]], ...] = (
    ("Operators", operators.FUNCTIONS),
    ("Conditions", functions_conditional.FUNCTIONS),
)
FUNCTIONS: dict[str, Function] = {function.name: function for function in chain.from_iterable(group for _, group in GROUPS)}

REFUSED: dict[str, str] = {}

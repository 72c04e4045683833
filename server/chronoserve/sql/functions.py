"""All functions by name, and the names that are refused with a reason."""

from itertools import chain

from chronoserve.sql import (
    functions_array,
    functions_cast,
    functions_conditional,
    functions_hash,
    functions_lambda,
    functions_map,
    functions_math,
    functions_regexp,
    functions_string,
    operators,
)
from chronoserve.sql.registry import Function

GROUPS: tuple[tuple[str, tuple[Function, ...]], ...] = (
    ("Operators", operators.FUNCTIONS),
    ("Conditions", functions_conditional.FUNCTIONS),
    ("Casts", functions_cast.FUNCTIONS),
    ("Mathematics", functions_math.FUNCTIONS),
    ("Strings", functions_string.FUNCTIONS),
    ("Patterns", functions_regexp.FUNCTIONS),
    ("Arrays", functions_array.FUNCTIONS),
    ("Maps and structs", functions_map.FUNCTIONS),
    ("Lambdas", functions_lambda.FUNCTIONS),
    ("Hashes", functions_hash.FUNCTIONS),
)
FUNCTIONS: dict[str, Function] = {function.name: function for function in chain.from_iterable(group for _, group in GROUPS)}

REFUSED: dict[str, str] = {}

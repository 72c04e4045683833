"""Values that no codec has typed (request keys, answers of external sources), as the input row of a derivation needs them.

Numbers take the width that the schema says, as Java narrows and widens them; text must be text. Structs may come by
position or by name (spec/online-fetch.md §12.5).
"""

from collections.abc import Callable, Mapping
from typing import Any

from chronoserve.model.errors import DerivationFailed
from chronoserve.model.types import BOOLEAN, BYTE, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, DataType, ListType, MapType, StructType
from chronoserve.sql.casts import WRAPS
from chronoserve.sql.numbers import double_to_int, double_to_long, float32

Coerce = Callable[[Any], Any]
NUMBERS = (int, float)


def coercer(name: str, data_type: DataType) -> Coerce:
    """A function that gives a value, null or not, as ``data_type``; ``name`` is the column's.

    It raises DerivationFailed where the value can be none of that type.
    """
    match data_type:
        case ListType(element):
            return of_list(name, coercer(name, element))
        case MapType(key, value):
            return of_map(name, coercer(name, key), coercer(name, value))
        case StructType(_, fields):
            return of_struct(name, {field.name: coercer(f"{name}.{field.name}", field.type) for field in fields})
        case _:
            return of_atom(name, data_type)


def of_atom(name: str, data_type: DataType) -> Coerce:
    if data_type in (BYTE, SHORT, INT, LONG):
        return of_whole(name, data_type)
    if data_type in (DOUBLE, FLOAT):
        return of_floating(name, single=data_type == FLOAT)
    expected = {STRING: str, BOOLEAN: bool}.get(data_type)  # type: ignore[call-overload]
    return of_class(name, expected) if expected else lambda value: value


def of_whole(name: str, data_type: DataType) -> Coerce:
    wrap = WRAPS[data_type]
    from_double = double_to_long if data_type == LONG else double_to_int

    def run(value: Any) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, NUMBERS):
            raise mistyped(name, "a number")
        return wrap(int(value) if isinstance(value, int) else from_double(value))

    return run


def of_floating(name: str, *, single: bool) -> Coerce:
    def run(value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, NUMBERS):
            raise mistyped(name, "a number")
        return float32(float(value)) if single else float(value)

    return run


def of_class(name: str, expected: type) -> Coerce:
    def run(value: Any) -> Any:
        if value is not None and not isinstance(value, expected):
            raise mistyped(name, "a string" if expected is str else "a boolean")
        return value

    return run


def of_list(name: str, element: Coerce) -> Coerce:
    def run(value: Any) -> list[Any] | None:
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise mistyped(name, "a list")
        return [element(item) for item in value]

    return run


def of_map(name: str, key: Coerce, value: Coerce) -> Coerce:
    def run(found: Any) -> dict[Any, Any] | None:
        if found is None:
            return None
        if not isinstance(found, Mapping):
            raise mistyped(name, "a map")
        return {key(entry): value(held) for entry, held in found.items()}

    return run


def of_struct(name: str, fields: dict[str, Coerce]) -> Coerce:
    """By name, where a derivation of a group by has made the struct; else by position."""

    def run(value: Any) -> tuple[Any, ...] | None:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return tuple(coerce(value.get(field)) for field, coerce in fields.items())
        if not isinstance(value, list | tuple):
            raise mistyped(name, "a struct")
        return tuple(coerce(item) for coerce, item in zip(fields.values(), value, strict=False))

    return run


def mistyped(name: str, wanted: str) -> DerivationFailed:
    return DerivationFailed(f"{name} is not {wanted}: the derivation cannot be evaluated")

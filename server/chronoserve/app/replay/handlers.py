"""The external sources of the recordings, as golden/README.md describes them."""

from collections.abc import Mapping, Sequence

from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.model.boxed import INT_MAX, INT_MIN, Int
from chronoserve.model.errors import ExternalFailed, KVError


def recorded_registry() -> ExternalRegistry:
    """``plus_one`` and ``always_fails``; ``unregistered`` has no handler, ``contextual`` is built in."""
    registry = ExternalRegistry()
    registry.add("plus_one", plus_one)
    registry.add("always_fails", always_fails)
    return registry


async def plus_one(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Answers every key ``k`` with ``k_out``: an integer plus one, a text with "+1" behind it."""
    return [{f"{name}_out": _increased(value) for name, value in row.items()} for row in rows]


async def always_fails(rows: Sequence[Mapping[str, object]]) -> list[KVError]:
    return [ExternalFailed("This handler always fails things") for _ in rows]


def _increased(value: object) -> object:
    """In the box that it came in; what overflows wraps as on the JVM. Other values are passed on."""
    if isinstance(value, str):
        return f"{value}+1"
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if isinstance(value, Int):
        return Int(value + 1 if value < INT_MAX else INT_MIN)
    return type(value)(value + 1)

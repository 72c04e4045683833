"""The columns that an expression names."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from chronoserve.sql.syntax import Dot, Lambda, Name, Syntax


def columns_named(tree: Syntax, by_lower: Mapping[str, str], *, whole_only: bool = False) -> set[str]:
    """Columns of a table (by their names in lower case) that an expression reads.

    ``whole_only``: those that it names by themselves, as Chronon looks for them when it writes ``inputAvroSchema``: a struct
    that is used only through a field (``st.x``) is not among them.
    """
    return {by_lower[name.lower()] for name in _names(tree, whole_only=whole_only) if name.lower() in by_lower}


def _names(tree: Syntax, *, whole_only: bool) -> Iterator[str]:
    match tree:
        case Name(text):
            yield text
        case Dot(base, _) if whole_only and _is_path(base):
            return
        case Lambda(parameters, body):
            hidden = {parameter.lower() for parameter in parameters}
            yield from (name for name in _names(body, whole_only=whole_only) if name.lower() not in hidden)
        case _:
            for child in _children(tree):
                yield from _names(child, whole_only=whole_only)


def _is_path(tree: Syntax) -> bool:
    while isinstance(tree, Dot):
        tree = tree.base
    return isinstance(tree, Name)


def _children(value: object) -> Iterator[Syntax]:
    """Syntax within a node, whatever the shape of its parts."""
    parts = [getattr(value, each.name) for each in fields(value)] if isinstance(value, Syntax) else value  # type: ignore[arg-type]
    for part in parts:  # type: ignore[attr-defined]
        if isinstance(part, Syntax):
            yield part
        elif isinstance(part, tuple):
            yield from _children(part)

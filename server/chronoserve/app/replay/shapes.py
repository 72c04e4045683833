"""Which features are sets or heaps, so that the order of their elements means nothing (golden/README.md, ``a``)."""

import re
from collections.abc import Iterable, Mapping

from chronoserve.aggregate.parts import Part, windowed
from chronoserve.app.replay.compare import Shape
from chronoserve.model.confs import Aggregation, Derivation, GroupBy, Join, Operation

HEAPS = frozenset({Operation.FIRST_K, Operation.LAST_K, Operation.TOP_K, Operation.BOTTOM_K})
SETS = frozenset({Operation.UNIQUE_COUNT, Operation.BOUNDED_UNIQUE_COUNT})
IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Shapes = Mapping[str, Shape]
"""By feature name; what is not named is ORDERED."""


def output_shape(operation: Operation) -> Shape:
    """How the lists of an operation's output compare. Those of a percentile follow the percentiles that were asked for."""
    return Shape.UNORDERED if operation in HEAPS else Shape.ORDERED


def ir_shape(operation: Operation) -> Shape:
    return Shape.UNORDERED if operation in HEAPS | SETS else Shape.ORDERED


def of_group_by(group_by: GroupBy) -> dict[str, Shape]:
    """The features of a group by as it is fetched by itself."""
    found = {part.output_name: output_shape(part.operation) for part in _parts(group_by.aggregations or ())}
    return _derived(found, group_by.derivations)


def of_join(join: Join, group_bys: Mapping[str, Shapes]) -> dict[str, Shape]:
    """The features of a join. ``group_bys``: by clean name, what their serving infos say."""
    found = {
        f"{part.full_prefix}_{name}": shape
        for part in join.join_parts
        for name, shape in group_bys.get(part.group_by.meta_data.clean_name, {}).items()
    }
    return _derived(found, join.derivations)


def _parts(aggregations: Iterable[Aggregation]) -> tuple[Part, ...]:
    return windowed(tuple(aggregations))


def _derived(base: dict[str, Shape], derivations: Iterable[Derivation] | None) -> dict[str, Shape]:
    """A rename keeps the shape; what SQL makes has an order of its own."""
    renamed = {
        derivation.name: base[derivation.expression]
        for derivation in derivations or ()
        if IDENTIFIER.fullmatch(derivation.expression) and derivation.expression in base
    }
    made = {derivation.name: Shape.ORDERED for derivation in derivations or () if derivation.name not in renamed}
    return {**base, **made, **renamed}

"""How a distribution moved between two times: population stability index over KLL sketches (spec/online-fetch.md §17)."""

from collections.abc import Sequence
from itertools import chain
from math import log
from typing import Any

from chronoserve.aggregate.sketches import library
from chronoserve.model.confs import Operation
from chronoserve.model.errors import CorruptValue

STATS_RANKS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""What a series shows of each sketch."""
BIN_RANKS = tuple(rank / 127 for rank in range(128))
EPSILON = 1e-6
"""What an empty bin has in place of nothing, so that the logarithm stays finite."""


def quantiles(image: bytes, ranks: Sequence[float] = STATS_RANKS) -> list[float] | None:
    """The values at ``ranks`` of a serialised KLL sketch of floats; None where it is empty. Ranks 0 and 1 are the extremes.

    Raises:
        CorruptValue: the bytes are no such sketch.
        Unsupported: the library that reads it is not installed.
    """
    return _quantiles(_sketch(image), ranks)


def stability_index(reference: bytes, comparison: bytes) -> float | None:
    """The PSI between two serialised KLL sketches: 0 where they agree; above 0.25 one usually speaks of a shift.

    None where either is empty. Raises as ``quantiles``.
    """
    sketches = _sketch(reference), _sketch(comparison)
    if any(sketch.is_empty() for sketch in sketches):
        return None
    edges = sorted(set(chain.from_iterable(_quantiles(sketch, BIN_RANKS) or () for sketch in sketches)))
    one, other = (_regular(sketch.get_pmf(edges)) for sketch in sketches)
    return sum((r - c) * log(r / c) for r, c in zip(one, other, strict=True))


def _quantiles(sketch: Any, ranks: Sequence[float]) -> list[float] | None:
    if sketch.is_empty():
        return None
    found = sketch.get_quantiles(list(ranks))
    extremes = {0.0: sketch.get_min_value, 1.0: sketch.get_max_value}
    return [float(extremes[rank]() if rank in extremes else value) for rank, value in zip(ranks, found, strict=True)]


def _regular(masses: Sequence[float]) -> list[float]:
    """Masses without zeros: what the empty bins get is taken from the others."""
    empty = sum(mass == 0 for mass in masses)
    if not empty:
        return list(masses)
    filled = EPSILON * (len(masses) - empty) / empty
    return [filled if mass == 0 else mass - EPSILON for mass in masses]


def _sketch(image: bytes) -> Any:
    try:
        return library(Operation.APPROX_PERCENTILE).kll_floats_sketch.deserialize(image)
    except (ValueError, RuntimeError, IndexError) as wrong:
        raise CorruptValue("a stored value is no KLL sketch of floats") from wrong

"""Drift: quantiles and the population stability index, against values worked out by hand and a naive count."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.aggregate.drift import BIN_RANKS, EPSILON, quantiles, stability_index
from chronoserve.model.errors import CorruptValue

datasketches = pytest.importorskip("datasketches")

FEW = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=100)
"""Below the sketch's capacity, so that it is exact."""


def image(values: Sequence[float]) -> bytes:
    sketch = datasketches.kll_floats_sketch(128)
    for value in values:
        sketch.update(value)
    return bytes(sketch.serialize())


def naive_quantile(values: Sequence[float], rank: float) -> float:
    ordered = sorted(values)
    if rank in (0.0, 1.0):
        return ordered[0] if rank == 0.0 else ordered[-1]
    return ordered[min(math.floor(rank * len(ordered)), len(ordered) - 1)]


def naive_index(one: Sequence[float], other: Sequence[float]) -> float:
    edges = sorted({naive_quantile(values, rank) for values in (one, other) for rank in BIN_RANKS})
    bins = [(low, high) for low, high in zip([-math.inf, *edges], [*edges, math.inf], strict=True)]

    def masses(values: Sequence[float]) -> list[float]:
        found = [sum(low <= value < high for value in values) / len(values) for low, high in bins]
        empty = found.count(0.0)
        return found if not empty else [EPSILON * (len(found) - empty) / empty if mass == 0 else mass - EPSILON for mass in found]

    return sum((r - c) * math.log(r / c) for r, c in zip(masses(one), masses(other), strict=True))


def test_quantiles_are_those_of_a_series() -> None:
    assert quantiles(image([1.0, 2.0, 3.0, 4.0])) == [1.0, 2.0, 3.0, 4.0, 4.0]
    assert quantiles(image([5.0, 7.0]), (0.0, 1.0)) == [5.0, 7.0]


def test_an_empty_sketch_has_none() -> None:
    assert quantiles(image([])) is None
    assert stability_index(image([]), image([1.0])) is None
    assert stability_index(image([1.0]), image([])) is None


def test_what_did_not_move_is_zero() -> None:
    assert stability_index(image([1.0, 2.0, 3.0]), image([1.0, 2.0, 3.0])) == 0.0


def test_what_moved_altogether_is_as_counted_by_hand() -> None:
    """Bins: below 1, from 1, from 2. Two of three are empty on each side."""
    full, filled = 1 - EPSILON, EPSILON / 2
    assert stability_index(image([1.0] * 4), image([2.0] * 4)) == pytest.approx(2 * (full - filled) * math.log(full / filled))


@given(FEW, FEW)
def test_it_is_the_naive_count(one: list[float], other: list[float]) -> None:
    found = stability_index(image(one), image(other))
    assert found == pytest.approx(naive_index(one, other), rel=1e-9, abs=1e-9)
    assert found is not None
    assert found >= 0
    assert found == pytest.approx(stability_index(image(other), image(one)))


@pytest.mark.parametrize("damaged", [b"", b"\x00", b"not a sketch", image([1.0, 2.0])[:9]])
def test_bytes_that_are_no_sketch_are_told(damaged: bytes) -> None:
    with pytest.raises(CorruptValue):
        quantiles(damaged)

"""VARIANCE, SKEW, KURTOSIS: central moments in one pass, with the formulas of §5.1, operation by operation."""

import math
from collections.abc import Sequence
from functools import reduce
from math import inf, nan, sqrt

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.numbers import int32, quotient
from chronoserve.model.boxed import INT_MAX
from chronoserve.model.errors import CorruptValue
from chronoserve.model.types import DOUBLE, INT, Field, ListType, StructType

VARIANCE_IR = StructType("VarianceIr", (Field("count", INT), Field("mean", DOUBLE), Field("m2", DOUBLE)))
_SMALL = 0.1
"""Below this share of the total, the smaller side's mean only corrects the larger side's."""

VarianceIr = tuple[int, float, float]
Moments = tuple[float, float, float, float, float]


class Variance(Aggregator):
    """Population variance. IR: (count, mean, sum of squared deviations)."""

    ir_type = VARIANCE_IR
    output_type = DOUBLE

    def prepare(self, value: float, ts: int) -> VarianceIr:
        return 1, float(value), 0.0

    def update(self, ir: VarianceIr, value: float, ts: int) -> VarianceIr:
        count, mean, m2 = ir
        count = int32(count + 1)
        delta = value - mean
        mean += quotient(delta, count)
        return count, mean, m2 + delta * (value - mean)

    def update_all(self, ir: VarianceIr, values: Sequence[float], times: Sequence[int]) -> VarianceIr:
        count, mean, m2 = ir
        if not 0 <= count <= INT_MAX - len(values):
            return reduce(lambda ir, value: self.update(ir, value, 0), values, ir)
        for count, value in enumerate(values, count + 1):  # noqa: B020 — the count goes on from where the IR stands
            delta = value - mean
            mean += delta / count
            m2 += delta * (value - mean)
        return count, mean, m2

    def merge(self, ir: VarianceIr, other: VarianceIr) -> VarianceIr:
        count_a, mean_a, m2_a = ir
        count_b, mean_b, m2_b = other
        count = int32(count_a + count_b)
        delta = mean_b - mean_a
        m2 = m2_a + m2_b + delta * quotient(delta, count) * count_a * count_b
        return count, _mean(count_a, mean_a, count_b, mean_b), m2

    def finalize(self, ir: VarianceIr) -> float:
        return quotient(ir[2], ir[0])


def _mean(count_a: int, mean_a: float, count_b: int, mean_b: float) -> float:
    if count_a < count_b:
        count_a, mean_a, count_b, mean_b = count_b, mean_b, count_a, mean_a
    total = float(count_a + count_b)
    if total == 0:
        return 0.0
    if count_b == 0:
        return mean_a
    share = count_b / total
    if share < _SMALL:
        return mean_a + (mean_b - mean_a) * share
    return (count_a * mean_a + count_b * mean_b) / total


class _CentralMoments(Aggregator):
    """IR: (n, m1, m2, m3, m4), stored as a list of five."""

    ir_type = ListType(DOUBLE)
    output_type = DOUBLE

    def prepare(self, value: float, ts: int) -> Moments:
        return 1.0, float(value), 0.0, 0.0, 0.0

    def update(self, ir: Moments, value: float, ts: int) -> Moments:
        n1, m1, m2, m3, m4 = ir
        n = n1 + 1
        delta = value - m1
        a = delta / n
        a2 = a * a
        t = delta * a * n1
        return (
            n,
            m1 + a,
            m2 + t,
            m3 + t * a * (n - 2) - 3 * a * m2,
            m4 + t * a2 * (n * n - 3 * n + 3) + 6 * a2 * m2 - 4 * a * m3,
        )

    def merge(self, ir: Moments, other: Moments) -> Moments:
        na, m1a, m2a, m3a, m4a = ir
        nb, m1b, m2b, m3b, m4b = other
        n = na + nb
        delta = m1b - m1a
        delta2 = delta * delta
        delta3 = delta * delta2
        delta4 = delta2 * delta2
        m1 = (na * m1a + nb * m1b) / n
        m2 = m2a + m2b + delta2 * na * nb / n
        m3 = m3a + m3b + delta3 * na * nb * (na - nb) / (n * n) + 3 * delta * (na * m2b - nb * m2a) / n
        m4 = (
            m4a
            + m4b
            + delta4 * na * nb * (na * na - na * nb + nb * nb) / (n * n * n)
            + 6 * delta2 * (na * na * m2b + nb * nb * m2a) / (n * n)
            + 4 * delta * (na * m3b - nb * m3a) / n
        )
        return n, m1, m2, m3, m4

    def stored(self, ir: Moments) -> list[float]:
        return list(ir)

    def loaded(self, stored: list[float]) -> Moments:
        if len(stored) != 5:
            raise CorruptValue(f"a SKEW or KURTOSIS has {len(stored)} moments where five belong")
        n, m1, m2, m3, m4 = stored
        if n == 0:
            raise CorruptValue("a SKEW or KURTOSIS counts no values")
        return n, m1, m2, m3, m4


class Skew(_CentralMoments):
    def finalize(self, ir: Moments) -> float:
        n, _, m2, m3, _ = ir
        if n < 3 or m2 == 0:
            return nan
        return quotient(sqrt(n) * m3, _power(m2, 1.5))


def _power(base: float, exponent: float) -> float:
    """As Math.pow: no result is NaN, one too large is infinite."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return inf
    except ValueError:
        return nan


class Kurtosis(_CentralMoments):
    """Excess kurtosis."""

    def finalize(self, ir: Moments) -> float:
        n, _, m2, _, m4 = ir
        if n < 4 or m2 == 0:
            return nan
        return quotient(n * m4, m2 * m2) - 3

"""APPROX_PERCENTILE: KLL sketches of 32-bit floats (§5.6)."""

import json
import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.ordering import total
from chronoserve.aggregate.sketches import library
from chronoserve.model.confs import Operation
from chronoserve.model.errors import CorruptValue, InvalidRequest
from chronoserve.model.types import BINARY, FLOAT, INTEGRAL, DataType, ListType

_K = range(8, 65536)
_FAMILY = 15
_EMPTY, _SINGLE = 1, 4
_LEVELS_MAX = 60
_HEADER = struct.Struct("<BBBBHBB")
_FULL = struct.Struct("<QHBB")
_EXACT = 1 << 53
"""Integers up to here are exact as doubles."""


class ApproxPercentile(Aggregator):
    """``percentiles``: ranks between 0 and 1. IR: a sketch, or the image of one that nobody has changed yet."""

    ir_type = BINARY
    output_type = ListType(FLOAT)
    plain: ClassVar[bool] = False

    def __init__(self, data_type: DataType, k: int, percentiles: Sequence[float]) -> None:
        if k not in _K:
            raise InvalidRequest(f"k of APPROX_PERCENTILE is between 8 and 65535, not {k}", field="argMap")
        self._sketch = library(Operation.APPROX_PERCENTILE).kll_floats_sketch
        self._k = k
        self._percentiles = tuple(percentiles)
        self._number = _as_float if data_type in INTEGRAL else float

    def prepare(self, value: Any, ts: int) -> Any:
        return self.update(self._sketch(self._k), value, ts)

    def update(self, ir: Any, value: Any, ts: int) -> Any:
        """A NaN leaves the sketch as it is."""
        sketch = self._parsed(ir) if isinstance(ir, bytes) else ir
        sketch.update(self._number(value))
        return sketch

    def merge(self, ir: Any, other: Any) -> Any:
        sketch = self._parsed(ir) if isinstance(ir, bytes) else ir
        sketch.merge(self._parsed(other) if isinstance(other, bytes) else other)
        return sketch

    def merge_all(self, irs: list[Any]) -> Any:
        merged = self._sketch(self._k)
        for ir in irs:
            merged.merge(self._parsed(ir) if isinstance(ir, bytes) else ir)
        return merged

    def clone(self, ir: Any) -> Any:
        return ir if isinstance(ir, bytes) else self._sketch.deserialize(ir.serialize())

    def finalize(self, ir: Any) -> list[float] | None:
        """None for a sketch that saw nothing but NaN."""
        sketch = self._parsed(ir) if isinstance(ir, bytes) else ir
        if sketch.is_empty():
            return None
        quantiles = sketch.get_quantiles(self._percentiles, False)
        if 0.0 in quantiles:
            quantiles = _with_signed_zeros(sketch, self._percentiles)
        return [self._end(sketch, rank, quantile) for rank, quantile in zip(self._percentiles, quantiles, strict=True)]

    def stored(self, ir: Any) -> bytes:
        return ir if isinstance(ir, bytes) else bytes(ir.serialize())

    @staticmethod
    def _end(sketch: Any, rank: float, quantile: float) -> float:
        """The ends are exact."""
        if rank in (0, 1):
            return float(sketch.get_max_value() if rank else sketch.get_min_value())
        return float(quantile)

    def _parsed(self, image: bytes) -> Any:
        check(image)
        try:
            return self._sketch.deserialize(image)
        except (RuntimeError, ValueError, IndexError, MemoryError) as refused:
            raise CorruptValue("an APPROX_PERCENTILE is no KLL sketch that its library can read") from refused


def _with_signed_zeros(sketch: Any, ranks: Sequence[float]) -> list[float]:
    """Quantiles of a sketch that sorts -0.0 before 0.0, as Java does and its library here does not."""
    items = sorted(sketch, key=lambda item: total(item[0]))
    ends = list(accumulate(weight for _, weight in items))
    return [float(items[min(bisect_right(ends, int(rank * ends[-1])), len(items) - 1)][0]) for rank in ranks]


def percentiles(text: str | None) -> list[float]:
    """The argument, a JSON list of ranks; the median where it is absent.

    Raises:
        InvalidRequest: it is no such list.
    """
    try:
        ranks = [0.5] if text is None else json.loads(text)
    except (ValueError, RecursionError):
        ranks = None
    if not isinstance(ranks, list) or not all(isinstance(rank, int | float) and 0 <= rank <= 1 for rank in ranks):
        raise InvalidRequest("percentiles of APPROX_PERCENTILE is a list of numbers between 0 and 1, as [0.5, 0.95]", field="argMap")
    return [float(rank) for rank in ranks]


def check(image: bytes) -> None:
    """The library trusts counts and level bounds; here they are held against each other and the image's length.

    Raises:
        CorruptValue: the image is none of a KLL sketch.
    """
    if len(image) < _HEADER.size:
        raise _corrupt()
    ints, version, family, flags, k, m, _ = _HEADER.unpack_from(image)
    if family != _FAMILY or k not in _K or m != 8:
        raise _corrupt()
    if flags & (_EMPTY | _SINGLE):
        single = not flags & _EMPTY
        if (ints, version, len(image)) != (2, 2 if single else 1, 12 if single else 8):
            raise _corrupt()
    elif (ints, version) != (5, 1) or len(image) < _HEADER.size + _FULL.size:
        raise _corrupt()
    else:
        _check_levels(image, k)


def _check_levels(image: bytes, k: int) -> None:
    n, min_k, levels, _ = _FULL.unpack_from(image, _HEADER.size)
    start = _HEADER.size + _FULL.size
    if not 0 < levels <= _LEVELS_MAX or not _K.start <= min_k <= k or len(image) < start + 4 * levels:
        raise _corrupt()
    bounds = (*struct.unpack_from(f"<{levels}I", image, start), _capacity(k, levels))
    counts = [upper - lower for lower, upper in pairwise(bounds)]
    if min(counts) < 0 or n < 2 or sum(count << level for level, count in enumerate(counts)) != n:
        raise _corrupt()
    if len(image) != start + 4 * levels + 4 * (2 + bounds[-1] - bounds[0]):
        raise _corrupt()


def _capacity(k: int, levels: int) -> int:
    """Of all levels: each is two thirds of the one above, of which the uppermost has k, and none less than 8."""
    return sum(max(8, ((2 * k << depth) // 3**depth + 1) // 2) for depth in range(levels))


def _as_float(number: int) -> float:
    """The nearest of 32 bits in one step: through a double, large numbers would be rounded twice."""
    if -_EXACT <= number <= _EXACT:
        return float(number)
    sticky = abs(number).bit_length() - 40
    kept = abs(number) >> sticky
    odd = kept | 1 if abs(number) & (1 << sticky) - 1 else kept
    return float(odd << sticky) * (1 if number > 0 else -1)


def _corrupt() -> CorruptValue:
    return CorruptValue("an APPROX_PERCENTILE is no image of a KLL sketch")

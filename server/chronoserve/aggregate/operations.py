"""Which aggregator an operation has over a type, and which combinations Chronon refuses (spec/aggregation-and-codecs.md §5)."""

from collections.abc import Callable, Mapping

from chronoserve.aggregate import extremes, parts
from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.approx_histogram import ApproxHistogram
from chronoserve.aggregate.cpc import ApproxUniqueCount
from chronoserve.aggregate.heaps import Ranked, TimedHeap
from chronoserve.aggregate.histogram import histogram
from chronoserve.aggregate.kll import ApproxPercentile, percentiles
from chronoserve.aggregate.moments import Kurtosis, Skew, Variance
from chronoserve.aggregate.numbers import Average, Count, DoubleSum, LongSum
from chronoserve.aggregate.timed import First, Last
from chronoserve.aggregate.uniques import BinaryUniqueCount, BoundedUniqueCount, UniqueCount
from chronoserve.model.confs import Operation
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    NUMERIC,
    STRING,
    TIMESTAMP,
    DataType,
    UnknownType,
    short_name,
)

Args = Mapping[str, str] | None

TIMED = frozenset({Operation.FIRST, Operation.LAST, Operation.FIRST_K, Operation.LAST_K})
"""These take lists and maps as they are, and rank rows by time."""

_NUMBERS = NUMERIC - {BYTE}
_ORDERED = _NUMBERS | {STRING}
_HASHABLE = _ORDERED | {BINARY}


def aggregator(operation: Operation, data_type: DataType, args: Args) -> Aggregator:
    """The aggregator of an operation over values of one type.

    Raises:
        InvalidRequest: Chronon has no such operation over values of that type, or an argument is missing or wrong.
        Unsupported: it needs a library that is not installed.
    """
    if data_type in (DATE, TIMESTAMP) or isinstance(data_type, UnknownType):
        raise _refusal(operation, data_type)
    return _MAKERS[operation](operation, data_type, args)


Maker = Callable[[Operation, DataType, Args], Aggregator]


def _over(allowed: frozenset[DataType], make: Callable[[DataType, Args], Aggregator]) -> Maker:
    def maker(operation: Operation, data_type: DataType, args: Args) -> Aggregator:
        if data_type not in allowed:
            raise _refusal(operation, data_type)
        return make(data_type, args)

    return maker


def _refusal(operation: Operation, data_type: DataType) -> InvalidRequest:
    return InvalidRequest(
        f"{operation.name} does not take input of type {short_name(data_type)}: cast the column to another type", field="operation"
    )


def _sum(data_type: DataType, _: Args) -> Aggregator:
    return DoubleSum() if data_type in (FLOAT, DOUBLE) else LongSum()


def _unique_count(data_type: DataType, _: Args) -> Aggregator:
    return BinaryUniqueCount() if data_type == BINARY else UniqueCount(data_type)


def _timed_heap(operation: Operation, data_type: DataType, args: Args) -> Aggregator:
    return TimedHeap(data_type, parts.rank_bound(operation, args), descending=operation is Operation.LAST_K)


def _ranked(operation: Operation, data_type: DataType, args: Args) -> Aggregator:
    if data_type not in _ORDERED:
        raise _refusal(operation, data_type)
    return Ranked(data_type, parts.rank_bound(operation, args), descending=operation is Operation.TOP_K)


def _approx_unique_count(data_type: DataType, args: Args) -> Aggregator:
    return ApproxUniqueCount(data_type, _k(args, 8, Operation.APPROX_UNIQUE_COUNT))


def _approx_percentile(data_type: DataType, args: Args) -> Aggregator:
    if args is None:
        raise InvalidRequest("APPROX_PERCENTILE needs an argMap, which may be empty", field="argMap")
    return ApproxPercentile(data_type, _k(args, 128, Operation.APPROX_PERCENTILE), percentiles(args.get("percentiles")))


def _k(args: Args, default: int, operation: Operation) -> int:
    text = (args or {}).get("k")
    return default if text is None else parts.integer(text, f"k of {operation.name}")


_MAKERS: dict[Operation, Maker] = {
    Operation.COUNT: lambda _, __, ___: Count(),
    Operation.SUM: _over(_NUMBERS | {BOOLEAN}, _sum),
    Operation.AVERAGE: _over(_NUMBERS, lambda _, __: Average()),
    Operation.VARIANCE: _over(_NUMBERS, lambda _, __: Variance()),
    Operation.SKEW: _over(_NUMBERS, lambda _, __: Skew()),
    Operation.KURTOSIS: _over(_NUMBERS, lambda _, __: Kurtosis()),
    Operation.MIN: _over(_ORDERED, lambda data_type, _: extremes.minimum(data_type)),
    Operation.MAX: _over(_ORDERED, lambda data_type, _: extremes.maximum(data_type)),
    Operation.FIRST: lambda _, data_type, __: First(data_type),
    Operation.LAST: lambda _, data_type, __: Last(data_type),
    Operation.FIRST_K: _timed_heap,
    Operation.LAST_K: _timed_heap,
    Operation.TOP_K: _ranked,
    Operation.BOTTOM_K: _ranked,
    Operation.UNIQUE_COUNT: _over(_HASHABLE, _unique_count),
    Operation.BOUNDED_UNIQUE_COUNT: _over(
        _HASHABLE, lambda data_type, args: BoundedUniqueCount(data_type, _k(args, 8, Operation.BOUNDED_UNIQUE_COUNT))
    ),
    Operation.APPROX_UNIQUE_COUNT: _over(_HASHABLE, _approx_unique_count),
    Operation.APPROX_PERCENTILE: _over(_NUMBERS, _approx_percentile),
    Operation.APPROX_HISTOGRAM_K: _over(
        _ORDERED, lambda data_type, args: ApproxHistogram(data_type, _k(args, 8, Operation.APPROX_HISTOGRAM_K))
    ),
    Operation.HISTOGRAM: lambda _, data_type, args: histogram(data_type, _k(args, 0, Operation.HISTOGRAM)),
}

"""Which columns a group by's aggregations make, and over which time (spec/aggregation-and-codecs.md §7).

Times are epoch milliseconds in UTC, spans are milliseconds.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chronoserve.model.boxed import INT_MAX, INT_MIN
from chronoserve.model.confs import UNBOUNDED, Aggregation, Operation, Window
from chronoserve.model.errors import InvalidRequest

FIVE_MINUTES = 300_000
HOUR = 3_600_000
DAY = 86_400_000
TAIL_BUFFER = 2 * DAY
"""How long after the end of a batch its tail hops still cover the start of every window."""
HOP_SIZES = (DAY, HOUR, FIVE_MINUTES)
"""In the order of a batch IR's hop lists."""

_BY_RANK = {Operation.LAST_K: "last", Operation.FIRST_K: "first", Operation.TOP_K: "top", Operation.BOTTOM_K: "bottom"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Part:
    """One column: an aggregation over one window and one bucket. ``window`` None: the column of hops and tiles."""

    input_column: str
    operation: Operation
    arg_map: Mapping[str, str] | None
    window: Window | None
    bucket: str | None
    element_wise: bool
    output_name: str


def windowed(aggregations: Iterable[Aggregation]) -> tuple[Part, ...]:
    """One column for each window: those of features and of collapsed IRs.

    ``element_wise`` is lost on the way, as it is in Chronon (§22.1): a list counts as a vector.
    """
    return tuple(_part(a, bucket, window, element_wise=False) for a, bucket, window in _expanded(aggregations))


def unpacked(aggregations: Iterable[Aggregation]) -> tuple[Part, ...]:
    """As ``windowed``, ``element_wise`` kept: the columns of a snapshot of entities."""
    return tuple(_part(a, bucket, window, element_wise=a.element_wise) for a, bucket, window in _expanded(aggregations))


def base(aggregations: Iterable[Aggregation]) -> tuple[Part, ...]:
    """One column for each aggregation and bucket: those of tail hops, without ``element_wise``."""
    return tuple(_part(a, bucket, None, element_wise=False) for a in aggregations for bucket in _buckets(a))


def unwindowed(aggregations: Iterable[Aggregation]) -> tuple[Part, ...]:
    """As ``base``, ``element_wise`` kept: the columns of tiles."""
    return tuple(_part(a, bucket, None, element_wise=a.element_wise) for a in aggregations for bucket in _buckets(a))


def base_of_windowed(aggregations: Iterable[Aggregation]) -> tuple[int, ...]:
    """For each column of ``windowed``, the index of its column in ``base``."""
    indices: list[int] = []
    at = 0
    for aggregation in aggregations:
        for _ in _buckets(aggregation):
            indices.extend([at] * len(_windows(aggregation)))
            at += 1
    return tuple(indices)


def tail_hop(window: Window) -> int:
    """The span of the hops at a window's old end (§7.4)."""
    if window.millis >= 12 * DAY:
        return DAY
    return HOUR if window.millis >= 12 * HOUR else FIVE_MINUTES


def floor(time: int, hop: int) -> int:
    """The hop's start: division truncates toward zero, so times before 1970 are rounded up (§7.5)."""
    return time // hop * hop if time >= 0 else -(-time // hop) * hop


def tile_size(aggregations: Iterable[Aggregation]) -> int | None:
    """The span of a tile: the smallest tail hop of any window; None where nothing has a window."""
    return min((tail_hop(window) for a in aggregations for window in a.windows or ()), default=None)


def rank_bound(operation: Operation, arg_map: Mapping[str, str] | None) -> int:
    """``k`` of the operations that keep k values.

    Raises:
        InvalidRequest: it is absent, no 32-bit integer, or keeps nothing.
    """
    if arg_map is None or "k" not in arg_map:
        raise InvalidRequest(f"{operation.name} needs k in its argMap, as {{'k': '10'}}", field="argMap")
    k = integer(arg_map["k"], f"k of {operation.name}")
    if k < 1:
        raise InvalidRequest(f"{operation.name} needs a k of 1 or more, not {k}", field="argMap")
    return k


def integer(text: str, what: str) -> int:
    """A 32-bit integer as Java reads one: a sign and digits, nothing else."""
    if not _INTEGER.fullmatch(text) or not INT_MIN <= int(text) <= INT_MAX:
        raise InvalidRequest(f"{what} must be a 32-bit integer written in digits", field="argMap")
    return int(text)


def _expanded(aggregations: Iterable[Aggregation]) -> Iterable[tuple[Aggregation, str | None, Window]]:
    return ((a, bucket, window) for a in aggregations for bucket in _buckets(a) for window in _windows(a))


def _windows(aggregation: Aggregation) -> tuple[Window, ...]:
    """An absent list stands for the unbounded window; an empty one yields no column (Addendum 2)."""
    return (UNBOUNDED,) if aggregation.windows is None else aggregation.windows


def _buckets(aggregation: Aggregation) -> tuple[str | None, ...]:
    return (None,) if aggregation.buckets is None else aggregation.buckets


def _part(aggregation: Aggregation, bucket: str | None, window: Window | None, *, element_wise: bool) -> Part:
    suffix = window.suffix if window is not None else ""
    by = f"_by_{bucket}" if bucket is not None else ""
    name = f"{aggregation.input_column}_{_operation_name(aggregation)}{suffix}{by}"
    return Part(aggregation.input_column, aggregation.operation, aggregation.arg_map, window, bucket, element_wise, name)


def _operation_name(aggregation: Aggregation) -> str:
    rank = _BY_RANK.get(aggregation.operation)
    if rank is None:
        return aggregation.operation.name.lower()
    return f"{rank}{rank_bound(aggregation.operation, aggregation.arg_map)}"

"""What an upload stores for a key of a TEMPORAL group by (spec/aggregation-and-codecs.md §8)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chronoserve.aggregate import parts
from chronoserve.aggregate.columns import Row
from chronoserve.aggregate.moments import VARIANCE_IR
from chronoserve.aggregate.numbers import AVERAGE_IR
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.timed import EPOCH_MILLIS
from chronoserve.model.confs import UNBOUNDED, Aggregation, Window
from chronoserve.model.errors import CorruptValue
from chronoserve.model.types import BOOLEAN, LONG, DataType, Field, ListType, MapType, StructType

Hops = tuple[tuple[Any, ...], ...]
"""One tuple for each base column, its stored IRs in the order of the hops; the last one has the hops' starts."""


_FULL = frozenset({AVERAGE_IR.name, VARIANCE_IR.name})


@dataclass(frozen=True, slots=True)
class BatchIr:
    """Stored IRs. ``collapsed``: one for each column of a window. ``hops``: in the order of ``parts.HOP_SIZES``; empty where
    there are none. ``in_order``: whether all hops ascend. Nobody changes what it holds, so it may be kept.
    """

    collapsed: tuple[Any, ...]
    hops: tuple[Hops, ...]
    in_order: bool


def record_type(clean_name: str, collapsed: StructType, base: StructType) -> StructType:
    """The type of the stored record."""
    hop = StructType("HopIr", (*base.fields, Field("ts", LONG)))
    return StructType(f"{clean_name}_IR", (Field("collapsedIr", collapsed), Field("tailHopIrs", ListType(ListType(hop)))))


def tile_type(clean_name: str, base: StructType) -> StructType:
    """The record that a tiled stream stores (§10)."""
    return StructType(f"{clean_name}_TILE_IR", (Field("collapsedIr", base), Field("isComplete", BOOLEAN)))


def loaded(decoded: Sequence[Any]) -> BatchIr:
    """Of a decoded record.

    Raises:
        CorruptValue: a part that an upload always writes is missing.
    """
    collapsed, hop_lists = decoded
    if collapsed is None or hop_lists is None or len(hop_lists) != len(parts.HOP_SIZES):
        raise CorruptValue("a batch IR lacks its collapsed part or one of its three lists of hops")
    hops = tuple(tuple(zip(*hop_list, strict=True)) for hop_list in hop_lists)
    starts = [list(columns[-1]) for columns in hops if columns]
    if any(None in of_size for of_size in starts):
        raise CorruptValue("a hop of a batch IR has no start")
    return BatchIr(tuple(collapsed), hops, all(of_size == sorted(of_size) for of_size in starts))


class BatchIrBuilder:
    """Builds the IR of one key from its rows, in the order in which they come (§8). ``batch_end``: epoch milliseconds.

    Raises:
        InvalidRequest: a column is missing from ``input_type``, or a combination is one that Chronon refuses.
        Unsupported: an operation needs a library that is not installed.
    """

    def __init__(self, plan: "BatchPlan", batch_end: int) -> None:
        self._plan = plan
        self._batch_end = batch_end
        self.collapsed = plan.windowed.init()
        self.hops: list[dict[int, list[Any]]] = [{} for _ in parts.HOP_SIZES]

    def add(self, row: Row, ts: int) -> None:
        """One row of ``input_type`` and its epoch milliseconds; rows of no window are passed over."""
        self.add_all([row], [ts])

    def add_all(self, rows: Sequence[Row], times: Sequence[int]) -> None:
        """Many rows at once, which is much faster; the result is the same."""
        self._add_collapsed(rows, times)
        for hops_at, (hop, bases) in enumerate(zip(parts.HOP_SIZES, self._plan.bases, strict=True)):
            for windows, columns in bases.items():
                by_start = _tails(rows, times, self._plan.tail_spans(windows, self._batch_end), hop)
                for start, (own, own_times) in by_start.items():
                    irs = self.hops[hops_at].setdefault(start, [None] * len(self._plan.base.columns))
                    for i in columns:
                        irs[i] = self._plan.base.columns[i].update_all(irs[i], own, own_times)

    def merge(self, other: "BatchIrBuilder") -> None:
        """Takes in what another builder of the same plan has, after its own; the other stays as it is."""
        self._plan.windowed.merge(self.collapsed, other.collapsed)
        for own, others in zip(self.hops, other.hops, strict=True):
            for start, irs in others.items():
                own[start] = self._plan.base.merge(own.get(start, self._plan.base.init()), irs)

    def stored(self) -> tuple[Any, ...]:
        """The record to encode with ``BatchPlan.type``."""
        base = self._plan.base
        hops = [[(*base.stored(irs), start) for start, irs in sorted(hops.items())] for hops in self.hops]
        return self._plan.windowed.stored(self.collapsed), hops

    def _add_collapsed(self, rows: Sequence[Row], times: Sequence[int]) -> None:
        end = self._batch_end
        for window, columns in self._plan.collapsed.items():
            oldest = end - window.millis + parts.TAIL_BUFFER
            newest = [i for i, ts in enumerate(times) if oldest <= ts < end] if oldest < end else ()
            if newest:
                own, own_times = [rows[i] for i in newest], [times[i] for i in newest]
                for i in columns:
                    self.collapsed[i] = self._plan.windowed.columns[i].update_all(self.collapsed[i], own, own_times)


Spans = Sequence[tuple[int, int]]
"""Stretches of time, apart from each other and ascending: later than the first, earlier than the second."""


def _tails(rows: Sequence[Row], times: Sequence[int], spans: Spans, hop: int) -> dict[int, tuple[list[Row], list[int]]]:
    """Rows by the start of their hop, each once however many windows have it in their tail."""
    found: dict[int, tuple[list[Row], list[int]]] = {}
    for i in _within(times, spans):
        ts = times[i]
        own, own_times = found.setdefault(ts - ts % hop if ts >= 0 else parts.floor(ts, hop), ([], []))
        own.append(rows[i])
        own_times.append(ts)
    return found


def _within(times: Sequence[int], spans: Spans) -> list[int]:
    """The places of the times that are in one of the spans. This is asked of every row: one and two spans are spelt out."""
    match spans:
        case [(start, end)]:
            return [i for i, ts in enumerate(times) if start < ts < end]
        case [(start, end), (later, last)]:
            return [i for i, ts in enumerate(times) if start < ts < end or later < ts < last]
        case _:
            return [i for i, ts in enumerate(times) if any(start < ts < end for start, end in spans)]


class BatchPlan:
    """What builders of one group by share. ``type``: that of the stored record."""

    def __init__(self, clean_name: str, aggregations: Iterable[Aggregation], input_type: StructType) -> None:
        aggregations = tuple(aggregations)
        self.windowed = RowAggregator(parts.windowed(aggregations), input_type)
        self.base = RowAggregator(parts.base(aggregations), input_type)
        self.type = record_type(clean_name, self.windowed.ir_type, self.base.ir_type)
        self.collapsed: dict[Window, list[int]] = defaultdict(list)
        """Columns by their window."""
        windows: list[list[set[Window]]] = [[set() for _ in self.base.columns] for _ in parts.HOP_SIZES]
        for i, (part, base) in enumerate(zip(self.windowed.parts, parts.base_of_windowed(aggregations), strict=True)):
            window = part.window or UNBOUNDED
            self.collapsed[window].append(i)
            windows[parts.HOP_SIZES.index(parts.tail_hop(window))][base].add(window)
        self.bases: list[dict[frozenset[Window], list[int]]] = [_grouped(of_size) for of_size in windows]
        """For each hop size, base columns by the windows that have tails of such hops."""
        self._spans: dict[tuple[frozenset[Window], int], Spans] = {}

    def tail_spans(self, windows: frozenset[Window], batch_end: int) -> Spans:
        """The times whose rows go into hops for some of the windows."""
        spans = self._spans.get((windows, batch_end))
        if spans is None:
            tails = ((batch_end - window.millis, min(batch_end - window.millis + parts.TAIL_BUFFER, batch_end)) for window in windows)
            spans = self._spans[windows, batch_end] = _apart(sorted(tails))
        return spans

    def builder(self, batch_end: int) -> BatchIrBuilder:
        return BatchIrBuilder(self, batch_end)


def _apart(spans: Spans) -> Spans:
    """Those that overlap as one."""
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _grouped(of_size: list[set[Window]]) -> dict[frozenset[Window], list[int]]:
    grouped: dict[frozenset[Window], list[int]] = defaultdict(list)
    for base, windows in enumerate(of_size):
        if windows:
            grouped[frozenset(windows)].append(base)
    return grouped


def check_hops(batch: BatchIr, data_type: DataType) -> None:
    """As ``check_whole``; ``data_type``: that of the three lists of hops."""
    check_whole([list(zip(*columns, strict=True)) for columns in batch.hops], data_type)


def check_whole(value: Any, data_type: DataType) -> None:
    """Looks for what would make arithmetic fail.

    Raises:
        CorruptValue: a record inside of a stored IR lacks a field, which Avro permits and Chronon never writes.
    """
    match data_type:
        case StructType():
            for part, field in zip(value, data_type.fields, strict=True):
                _check_part(part, data_type, field)
        case ListType(element):
            for item in value:
                check_whole(item, element)
        case MapType(_, inside):
            for item in value.values():
                check_whole(item, inside)
        case _:
            pass


def _check_part(part: Any, record: StructType, field: Field) -> None:
    if part is not None:
        check_whole(part, field.type)
    elif record.name in _FULL or field == EPOCH_MILLIS:
        raise CorruptValue(f"a stored {record.name} lacks its {field.name}")

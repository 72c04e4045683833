"""The merge of a group by, planned once: distinct windows, and the columns of each aggregation over them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chronoserve.aggregate.batch_ir import BatchIr
from chronoserve.aggregate.parts import HOP_SIZES, TAIL_BUFFER, floor, tail_hop
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.series import ChangedStream, Columns, OrderedStream, Stream
from chronoserve.aggregate.strands import Strand, strand
from chronoserve.model.confs import UNBOUNDED, Window

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Span:
    """A distinct window in milliseconds, with its hop and where the batch IR has the hops of that size."""

    millis: int
    hop: int
    hops_at: int


@dataclass(frozen=True, slots=True)
class _Share:
    """What a strand gets: the base column of its hops and tiles, and which columns of windows are its own."""

    strand: Strand
    base: int
    columns: slice
    windows: tuple[int, ...]


class Plan:
    """``base_of``: for each column of ``windowed``, the index of its column in hops and tiles."""

    def __init__(self, windowed: RowAggregator, base_of: Sequence[int]) -> None:
        spans: dict[_Span, int] = {}
        windows = [spans.setdefault(_span(part.window or UNBOUNDED), len(spans)) for part in windowed.parts]
        self._spans = tuple(spans)
        self._ages = tuple((span.millis, span.hop) for span in spans)
        self._none = ((),) * len(windowed.input_type.fields)
        self._nothing = (None,) * len(windowed.columns)
        self._no_hops = ((),) * len(HOP_SIZES)
        self._shares = [_share(windowed, base, list(own), windows) for base, own in groupby(range(len(base_of)), base_of.__getitem__)]

    def rows(self, batch: BatchIr | None, rows: Rows, times: list[int], *, query_ts: int, batch_end: int) -> tuple[Any, ...]:
        """The features of rows whose times ascend and lie before ``query_ts``, and of a batch whose hops ascend."""
        thresholds = self._thresholds(query_ts)
        return self._outputs(OrderedStream(self._columns(rows), times, thresholds), batch, thresholds, batch_end)

    def changes(
        self, batch: BatchIr | None, rows: Rows, marks: list[tuple[int, bool]], *, query_ts: int, batch_end: int
    ) -> tuple[Any, ...] | None:
        """As ``rows``, with times in any order, and whether each row is taken back; None where the reference must tell."""
        thresholds = self._thresholds(query_ts)
        stream = ChangedStream(self._columns(rows), marks, thresholds)
        if not all(share.strand.takes(stream) for share in self._shares):
            return None
        return self._outputs(stream, batch, thresholds, batch_end)

    def tiles(self, batch: BatchIr | None, tiles: Rows, times: list[int], *, query_ts: int, batch_end: int) -> tuple[Any, ...]:
        """As ``rows``, of stored IRs of base columns."""
        thresholds = self._thresholds(query_ts)
        starts = [bisect_left(times, threshold) for threshold in thresholds]
        stream = OrderedStream(self._none, [], thresholds)
        return self._outputs(stream, batch, thresholds, batch_end, (tuple(zip(*tiles, strict=True)), starts))

    def _outputs(
        self, stream: Stream, batch: BatchIr | None, thresholds: list[int], batch_end: int, tiles: tuple[Columns, list[int]] | None = None
    ) -> tuple[Any, ...]:
        hops = self._hops(batch, thresholds, batch_end)
        collapsed = self._nothing if batch is None else batch.collapsed
        outputs: list[Any] = []
        for share in self._shares:
            base = share.base
            stored = [columns[base][within] if columns else () for columns, within in (hops[window] for window in share.windows)]
            if tiles is not None and tiles[0]:
                own, starts = tiles[0][base], tiles[1]
                stored = [(*own[starts[window] :], *irs) for window, irs in zip(share.windows, stored, strict=True)]
            outputs += share.strand.outputs(stream, collapsed[share.columns], stored)
        return tuple(outputs)

    def _columns(self, rows: Rows) -> Columns:
        """Of the rows' inputs; what mutations have behind them, no aggregation looks at."""
        return tuple(zip(*rows, strict=True)) if rows else self._none

    def _thresholds(self, query_ts: int) -> list[int]:
        """The oldest time of each distinct window."""
        return [floor(query_ts - millis, hop) for millis, hop in self._ages]

    def _hops(self, batch: BatchIr | None, thresholds: list[int], batch_end: int) -> list[tuple[Columns, slice]]:
        """For each distinct window, the columns of its hops and which of them it takes."""
        hops = self._no_hops if batch is None else batch.hops
        found: list[tuple[Columns, slice]] = []
        for span, threshold in zip(self._spans, thresholds, strict=True):
            columns = hops[span.hops_at]
            if columns:
                starts = columns[-1]
                within = slice(bisect_left(starts, threshold), bisect_left(starts, batch_end - span.millis + TAIL_BUFFER))
                found.append((columns, within))
            else:
                found.append(((), _EMPTY))
        return found


_EMPTY = slice(0, 0)


def _span(window: Window) -> _Span:
    hop = tail_hop(window)
    return _Span(window.millis, hop, HOP_SIZES.index(hop))


def _share(windowed: RowAggregator, base: int, own: list[int], windows: list[int]) -> _Share:
    columns = slice(own[0], own[-1] + 1)
    return _Share(strand(windowed.columns[own[0]], windows[columns]), base, columns, tuple(windows[columns]))

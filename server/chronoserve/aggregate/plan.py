"""The merge of a group by, planned once: distinct windows, and the columns of each aggregation over them."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chronoserve.aggregate.batch_ir import BatchIr
from chronoserve.aggregate.parts import HOP_SIZES, TAIL_BUFFER, floor, tail_hop
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.strands import Columns, Strand, Stream, strand
from chronoserve.model.confs import UNBOUNDED, Window


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

    def rows(
        self, batch: BatchIr | None, rows: Sequence[tuple[Any, ...]], times: list[int], *, query_ts: int, batch_end: int
    ) -> tuple[Any, ...]:
        """The features of rows whose times ascend and lie before ``query_ts``, and of a batch whose hops ascend."""
        thresholds = self._thresholds(query_ts)
        stream = Stream(tuple(zip(*rows, strict=False)) if rows else self._none, times, thresholds)
        hops = self._hops(batch, thresholds, batch_end)
        collapsed = self._nothing if batch is None else batch.collapsed
        outputs: list[Any] = []
        for share in self._shares:
            base = share.base
            stored = [columns[base][within] if columns else () for columns, within in (hops[window] for window in share.windows)]
            outputs += share.strand.outputs(stream, collapsed[share.columns], stored)
        return tuple(outputs)

    def tiles(
        self, batch: BatchIr | None, tiles: Iterable[tuple[Any, ...]], times: list[int], *, query_ts: int, batch_end: int
    ) -> tuple[Any, ...]:
        """As ``rows``, of stored IRs of base columns."""
        thresholds = self._thresholds(query_ts)
        stream = Stream(self._none, [], thresholds)
        tiled: Columns = tuple(zip(*tiles, strict=True))
        starts = [bisect_left(times, threshold) for threshold in thresholds]
        hops = self._hops(batch, thresholds, batch_end)
        collapsed = self._nothing if batch is None else batch.collapsed
        outputs: list[Any] = []
        for share in self._shares:
            base = share.base
            own = tiled[base] if tiled else ()
            stored = [
                (*own[starts[window] :], *(columns[base][within] if columns else ()))
                for window, (columns, within) in ((window, hops[window]) for window in share.windows)
            ]
            outputs += share.strand.outputs(stream, collapsed[share.columns], stored)
        return tuple(outputs)

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

"""How batch and stream are merged, said as plainly as the specification says it (§9, §10; spec/online-fetch.md §8).

``serving`` must answer the same, bit for bit; the properties hold it to that. What its compiled ways do not cover, as rows
out of order and reversals, it leaves to this one.
"""

from collections.abc import Iterable
from typing import Any

from chronoserve.aggregate.batch_ir import BatchIr
from chronoserve.aggregate.parts import HOP_SIZES, TAIL_BUFFER, floor, tail_hop
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.model.confs import UNBOUNDED, Window

StreamRow = tuple[tuple[Any, ...], int, bool]
"""A row of input columns, its own time, and whether it takes a row back."""


class Reference:
    """``base_of``: for each column of ``windowed``, the index of its column in hops and tiles."""

    def __init__(self, windowed: RowAggregator, base_of: tuple[int, ...]) -> None:
        self.windowed = windowed
        self.base_of = base_of
        self.windows = tuple(part.window or UNBOUNDED for part in windowed.parts)

    def merge_rows(self, batch: BatchIr | None, rows: Iterable[StreamRow], *, query_ts: int, batch_end: int) -> tuple[Any, ...]:
        """The features at ``query_ts``; ``rows`` in the order of the store, already selected."""
        irs = self._start(batch)
        for row, ts, reversal in rows:
            for i, column in enumerate(self.windowed.columns):
                if in_window(self.windows[i], ts, query_ts):
                    irs[i] = column.delete(irs[i], row, ts) if reversal else column.update(irs[i], row, ts)
        return self._finish(irs, batch, query_ts, batch_end)

    def merge_tiles(
        self, batch: BatchIr | None, tiles: Iterable[tuple[tuple[Any, ...], int]], *, query_ts: int, batch_end: int
    ) -> tuple[Any, ...]:
        """As ``merge_rows``, with stored IRs of base columns and the time that each has in the store."""
        irs = self._start(batch)
        for tile, ts in tiles:
            for i, column in enumerate(self.windowed.columns):
                if in_window(self.windows[i], ts, query_ts):
                    irs[i] = column.merge(irs[i], column.loaded(tile[self.base_of[i]]))
        return self._finish(irs, batch, query_ts, batch_end)

    def _start(self, batch: BatchIr | None) -> list[Any]:
        return self.windowed.init() if batch is None else self.windowed.clone(self.windowed.loaded(batch.collapsed))

    def _finish(self, irs: list[Any], batch: BatchIr | None, query_ts: int, batch_end: int) -> tuple[Any, ...]:
        for i, column in enumerate(self.windowed.columns):
            irs[i] = column.merge_all([irs[i], *self._hops(batch, i, query_ts, batch_end)])
        return self.windowed.finalize(irs)

    def _hops(self, batch: BatchIr | None, i: int, query_ts: int, batch_end: int) -> list[Any]:
        window = self.windows[i]
        hop = tail_hop(window)
        columns = batch.hops[HOP_SIZES.index(hop)] if batch is not None else ()
        if not columns:
            return []
        oldest = floor(query_ts - window.millis, hop)
        newest = batch_end - window.millis + TAIL_BUFFER
        irs = zip(columns[self.base_of[i]], columns[-1], strict=True)
        return [self.windowed.columns[i].loaded(ir) for ir, start in irs if oldest <= start < newest]


def in_window(window: Window, ts: int, query_ts: int) -> bool:
    """The old end hops, the new one is exact (§7.6)."""
    return floor(query_ts - window.millis, tail_hop(window)) <= ts < query_ts

"""Batch IRs of many keys at once: column by column, where ``BatchIrBuilder`` goes row by row (spec/aggregation-and-codecs.md §8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from chronoserve.aggregate import parts
from chronoserve.aggregate.batch_ir import BatchPlan
from chronoserve.aggregate.columns import Row
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.segments import Flags, Ints, Segments, Series, Valued, changes, each_folded, folded, has_kernel

Stored = Any
"""Stored IRs of one column: an Arrow array, or a list where an operation has no kernel."""


@dataclass(frozen=True, slots=True)
class KeyedRows:
    """Rows of whole keys, those of a key side by side. ``bounds``: where each key begins, and the end of the last one.

    ``columns`` and ``rows`` are the same inputs; the latter are made when an operation asks for them.
    """

    columns: Sequence[pa.Array]
    times: Ints
    bounds: Ints
    rows: Callable[[], Sequence[Row]]

    @property
    def keys(self) -> int:
        return len(self.bounds) - 1


@dataclass(frozen=True, slots=True)
class BatchIrs:
    """The stored IRs of many keys, in their order. ``collapsed``: of each column one for each key; ``hops``: of each base column
    one for each hop, by key, size and start. ``hop_starts`` are those starts, ``hop_bounds`` where each list of hops begins
    and the last ends: ``len(parts.HOP_SIZES)`` lists a key.
    """

    collapsed: list[Stored]
    hops: list[Stored]
    hop_starts: Ints
    hop_bounds: Ints


def all_kernels(plan: BatchPlan) -> bool:
    """Whether the IRs of a plan are arrays throughout."""
    inputs = [field.type for field in plan.base.input_type.fields]
    return bool(plan.windowed.columns) and all(has_kernel(column, inputs[column.at]) for column in plan.base.columns)


def batch_irs(plan: BatchPlan, batch_end: int, rows: KeyedRows) -> BatchIrs:
    """As a builder of each key gives them. ``batch_end``: epoch milliseconds."""
    return _Folding(plan, batch_end, rows).irs()


class _Tails:
    """Rows of tail hops, by key, size of the hop (an index) and its start. ``segments``: a stretch for each of those."""

    def __init__(self, at: Ints, key: Ints, size: Ints, start: Ints) -> None:
        order = np.lexsort((start, size, key))
        at, key, size, start = at[order], key[order], size[order], start[order]
        firsts = np.flatnonzero(changes(key, size, start))
        self.segments = Segments(at, firsts)
        self.key, self.size, self.start = key[firsts], size[firsts], start[firsts]


class _Folding:
    def __init__(self, plan: BatchPlan, batch_end: int, rows: KeyedRows) -> None:
        self._plan = plan
        self._end = batch_end
        self._rows = rows
        self._key = np.repeat(np.arange(rows.keys), np.diff(rows.bounds))
        self._series: dict[int, Series] = {}

    def irs(self) -> BatchIrs:
        tails = self._tails()
        union = _Union(list(tails.values()))
        hops: list[Stored] = [pa.nulls(0)] * len(self._plan.base.columns)
        for places, (columns, each) in zip(union.places, tails.items(), strict=True):
            for i, stored in zip(columns, self._folded(self._plan.base, columns, each.segments), strict=True):
                hops[i] = _spread(stored, places, len(union.start))
        lists = union.key * len(parts.HOP_SIZES) + union.size
        counts = np.bincount(lists, minlength=self._rows.keys * len(parts.HOP_SIZES))
        return BatchIrs(self._collapsed(), hops, union.start, np.concatenate(([0], np.cumsum(counts))))

    def _collapsed(self) -> list[Stored]:
        times, end = self._rows.times, self._end
        found: list[Stored] = [pa.nulls(0)] * len(self._plan.windowed.columns)
        for window, columns in self._plan.collapsed.items():
            at = np.flatnonzero((times >= end - window.millis + parts.TAIL_BUFFER) & (times < end))
            firsts = np.flatnonzero(changes(self._key[at]))
            keys = self._key[at[firsts]]
            for i, stored in zip(columns, self._folded(self._plan.windowed, columns, Segments(at, firsts)), strict=True):
                found[i] = _spread(stored, keys, self._rows.keys)
        return found

    def _tails(self) -> dict[tuple[int, ...], _Tails]:
        """By the base columns that have the same tails."""
        of_column: list[list[tuple[int, frozenset[Any]]]] = [[] for _ in self._plan.base.columns]
        for size, bases in enumerate(self._plan.bases):
            for windows, columns in bases.items():
                for i in columns:
                    of_column[i].append((size, windows))
        alike: dict[tuple[tuple[int, frozenset[Any]], ...], list[int]] = {}
        for i, kinds in enumerate(of_column):
            alike.setdefault(tuple(kinds), []).append(i)
        return {tuple(columns): self._tails_of(kinds) for kinds, columns in alike.items()}

    def _tails_of(self, kinds: Sequence[tuple[int, frozenset[Any]]]) -> _Tails:
        chosen = [(size, np.flatnonzero(self._within(windows))) for size, windows in kinds]
        at = np.concatenate([_NONE, *(found for _, found in chosen)])
        size = np.concatenate([_NONE, *(np.full(len(found), size) for size, found in chosen)])
        times, hop = self._rows.times[at], _HOPS[size]
        return _Tails(at, self._key[at], size, times - np.fmod(times, hop))  # toward zero, as parts.floor

    def _within(self, windows: frozenset[Any]) -> Flags:
        times = self._rows.times
        found = np.zeros(len(times), np.bool_)
        for start, end in self._plan.tail_spans(windows, self._end):
            found |= (times > start) & (times < end)
        return found

    def _folded(self, aggregator: RowAggregator, columns: Sequence[int], segments: Segments) -> list[Stored]:
        """Of each of ``columns``, one IR for each stretch."""
        valued: dict[int, Valued] = {}
        found: list[Stored] = []
        for column in (aggregator.columns[i] for i in columns):
            if not has_kernel(column, aggregator.input_type.fields[column.at].type):
                found.append(each_folded(column, segments, self._python_rows, self._rows.times))
                continue
            if column.at not in valued:
                valued[column.at] = Valued(self._input(column.at), segments, self._rows.times)
            own = valued[column.at]
            found.append(_spread(folded(column, own), own.there, len(segments.starts)))
        return found

    def _input(self, at: int) -> Series:
        if at not in self._series:
            self._series[at] = Series(self._rows.columns[at])
        return self._series[at]

    @cached_property
    def _python_rows(self) -> Sequence[Row]:
        return self._rows.rows()


_NONE = np.zeros(0, np.int64)
_HOPS = np.array(parts.HOP_SIZES, np.int64)


class _Union:
    """The hops of several tails, each once: ``places`` says where those of each went."""

    def __init__(self, tails: Sequence[_Tails]) -> None:
        key, size, start = (np.concatenate([_NONE, *parts]) for parts in zip(*((t.key, t.size, t.start) for t in tails), strict=True))
        order = np.lexsort((start, size, key))
        begins = changes(key[order], size[order], start[order])
        place = np.empty(len(order), np.int64)
        place[order] = np.cumsum(begins) - 1
        firsts = order[begins]
        self.key, self.size, self.start = key[firsts], size[firsts], start[firsts]
        self.places = np.split(place, np.cumsum([len(each.key) for each in tails])[:-1])


def _spread(stored: Stored, places: Ints, length: int) -> Stored:
    """``stored`` at ``places``, which ascend, among nulls."""
    if len(places) == length:
        return stored
    if isinstance(stored, list):
        found: list[Any] = [None] * length
        for place, ir in zip(places.tolist(), stored, strict=True):
            found[place] = ir
        return found
    indices = np.full(length, -1)
    indices[places] = np.arange(len(places))
    return stored.take(pa.array(indices, mask=indices < 0))

"""The frequent-items sketch of DataSketches for Java, table and all (sketches-core 0.13.4).

Which counters survive a purge, and the order of equal estimates, depend on where Java's hash codes put the items in its
table. So this is that table: linear probing, each slot knowing how far its item is from where it belongs.
"""

from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

_MASK = (1 << 64) - 1
_LOAD = 0.75
_LG_SMALLEST = 3
_SAMPLES_MAX = 1024
_GOLDEN = (sqrt(5.0) - 1.0) / 2.0


class ItemsSketch:
    """Counts of items, too low by at most ``offset``."""

    __slots__ = ("_hash", "_samples_max", "counts", "drifts", "items", "lg", "lg_max", "offset", "size", "weight")

    def __init__(self, item_hash: Callable[[Any], int], lg_max: int, lg: int = _LG_SMALLEST) -> None:
        """``item_hash``: Java's hash code of an item, as an unsigned number of 32 bits. ``lg_max``: logarithm of the table's
        largest size; one below 3 is raised to that, but a purge goes on looking at as few counters as it asked for.
        """
        self._hash = item_hash
        self._samples_max = min(_SAMPLES_MAX, int((1 << lg_max) * _LOAD))
        self.lg_max = max(lg_max, _LG_SMALLEST)
        self.weight = 0
        self.offset = 0
        self._clear(max(lg, _LG_SMALLEST))

    def _clear(self, lg: int) -> None:
        self.lg = lg
        self.size = 0
        self.items: list[Any] = [None] * (1 << lg)
        self.counts = [0] * (1 << lg)
        self.drifts = [0] * (1 << lg)
        """0: the slot is free. Else one more than the distance of its item from its first slot."""

    def update(self, item: Any, count: int) -> None:
        if not count:
            return
        self.weight += count
        self._add(item, count)
        if self.size > int(len(self.items) * _LOAD):
            if self.lg < self.lg_max:
                self._widen()
            else:
                self.offset += self._purge()

    def merge(self, other: "ItemsSketch") -> None:
        if not other.size:
            return
        weight = self.weight + other.weight
        for item, count in other.strided():
            self.update(item, count)
        self.offset += other.offset
        self.weight = weight

    def copied(self) -> "ItemsSketch":
        """As serialising and reading it back makes it: the items find their slots anew."""
        copy = ItemsSketch(self._hash, self.lg_max, self.lg)
        for item, count in self.in_slots():
            copy.update(item, count)
        copy.offset, copy.weight = self.offset, self.weight
        return copy

    def in_slots(self) -> Iterator[tuple[Any, int]]:
        return ((item, count) for item, count, drift in zip(self.items, self.counts, self.drifts, strict=True) if drift)

    def strided(self) -> Iterator[tuple[Any, int]]:
        """In the order of Java's iterator, which leaps through the table by the golden ratio."""
        mask = len(self.items) - 1
        stride = int(len(self.items) * _GOLDEN) | 1
        slots = (at * stride & mask for at in range(len(self.items)))
        return ((self.items[slot], self.counts[slot]) for slot in slots if self.drifts[slot])

    def frequent(self) -> list[tuple[Any, int]]:
        """(item, estimate) of all items that are certainly as frequent as ``offset``, most frequent first."""
        certain = [(item, count + self.offset) for item, count in self.strided() if count >= self.offset]
        return sorted(certain, key=lambda entry: -entry[1])

    def _add(self, item: Any, count: int) -> None:
        items, drifts = self.items, self.drifts
        mask = len(items) - 1
        slot = _finalised(self._hash(item)) & mask
        drift = 1
        while drifts[slot] and items[slot] != item:
            slot = slot + 1 & mask
            drift += 1
        if drifts[slot]:
            self.counts[slot] += count
        else:
            items[slot], self.counts[slot], drifts[slot] = item, count, drift
            self.size += 1

    def _widen(self) -> None:
        entries = list(self.in_slots())
        self._clear(self.lg + 1)
        for item, count in entries:
            self._add(item, count)

    def _purge(self) -> int:
        """Takes the median of a sample, the first counters in the table, from all; those without a rest go."""
        limit = min(self._samples_max, self.size)
        sample = [count for count, drift in zip(self.counts, self.drifts, strict=True) if drift][:limit]
        median = sorted(sample)[limit // 2]
        self.counts = [count - median for count in self.counts]
        self._drop_spent()
        return median

    def _drop_spent(self) -> None:
        """From the last free slot towards the front, then what lies behind it: so a cluster is always worked on from its end."""
        last_free = max(slot for slot, drift in enumerate(self.drifts) if not drift)
        for slot in (*range(last_free - 1, -1, -1), *range(len(self.items) - 1, last_free - 1, -1)):
            if self.drifts[slot] and self.counts[slot] <= 0:
                self._delete(slot)
                self.size -= 1

    def _delete(self, slot: int) -> None:
        """Later items of the cluster move up into the gap, where they do not come before their first slot."""
        mask = len(self.items) - 1
        self.drifts[slot] = 0
        drift = 1
        probe = slot + 1 & mask
        while self.drifts[probe]:
            if self.drifts[probe] > drift:
                self.items[slot], self.counts[slot] = self.items[probe], self.counts[probe]
                self.drifts[slot] = self.drifts[probe] - drift
                self.drifts[probe] = 0
                drift = 0
                slot = probe
            probe = probe + 1 & mask
            drift += 1


def _finalised(hashed: int) -> int:
    """Spreads a hash code, which Java widens to 64 bits with its sign."""
    key = hashed | 0xFFFFFFFF00000000 if hashed & 0x80000000 else hashed
    key = (key ^ key >> 33) * 0xFF51AFD7ED558CCD & _MASK
    key = (key ^ key >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return key ^ key >> 33

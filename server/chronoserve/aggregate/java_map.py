"""A java.util.HashMap, as far as the order in which it is iterated over goes: some of Chronon's answers depend on it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

_LOAD = 0.75
_FIRST_SLOTS = 16


class JavaMap(dict[Any, int]):
    """Counts by key, kept in the order of insertion. ``slots``: how many Java's map would have by now."""

    __slots__ = ("hash", "slots")

    def __init__(self, key_hash: Callable[[Any], int], counts: Mapping[Any, int] = {}, slots: int = 0) -> None:
        """``slots`` 0: those of a map that was filled one by one."""
        super().__init__(counts)
        self.hash = key_hash
        self.slots = slots
        self.grow()

    def grow(self) -> None:
        """What an insertion into Java's map would have done; to be called after one or more."""
        self.slots = self.slots or _FIRST_SLOTS
        while len(self) > self.slots * _LOAD:
            self.slots *= 2

    def in_order(self) -> Iterator[tuple[Any, int]]:
        """Entries as Java iterates over them: by slot, within one by insertion (its trees of eight and more aside)."""
        mask = self.slots - 1

        def slot(key: Any) -> int:
            hashed = self.hash(key)
            return (hashed ^ hashed >> 16) & mask

        return ((key, self[key]) for key in sorted(self, key=slot))

    def copied(self) -> Self:
        """As the copying constructor makes it, on JDK 17 and older."""
        return type(self)(self.hash, dict(self.in_order()), table_size(int(len(self) / _LOAD + 1.0)) if self else 0)


def table_size(wanted: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << max(0, wanted - 1).bit_length()

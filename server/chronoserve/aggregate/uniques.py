"""UNIQUE_COUNT and BOUNDED_UNIQUE_COUNT: sets of values (§5.4)."""

from collections.abc import Sequence
from math import copysign, isnan, nan
from typing import Any, ClassVar

from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.java import serialised_string_md5
from chronoserve.model.types import BINARY, DOUBLE, FLOAT, LONG, STRING, DataType, ListType

NEGATIVE_ZERO = "-0.0"
"""Stands for it in a set: to Python both zeros are one number, to Java they are two."""
SENTINEL = "__SENTINEL__"


def distinct_float(value: float) -> Any:
    """As boxed numbers compare: NaN is one value, the zeros are two."""
    if isnan(value):
        return nan
    return NEGATIVE_ZERO if value == 0 and copysign(1.0, value) < 0 else value


class _Members:
    """How values of a type are told apart, and back."""

    def of(self, value: Any) -> Any:
        return value

    def stored(self, members: Any) -> list[Any]:
        return list(members)

    def loaded(self, stored: list[Any]) -> Any:
        return set(stored)


class _Floats(_Members):
    def of(self, value: float) -> Any:
        return distinct_float(value)

    def stored(self, members: Any) -> list[Any]:
        return [-0.0 if member is NEGATIVE_ZERO else member for member in members]

    def loaded(self, stored: list[Any]) -> Any:
        return {distinct_float(value) for value in stored}


class UniqueCount(Aggregator):
    """IR: a set."""

    output_type = LONG
    plain: ClassVar[bool] = False

    def __init__(self, data_type: DataType) -> None:
        self.ir_type = ListType(data_type)
        self.exact = data_type not in (FLOAT, DOUBLE)
        """Whether Python tells values apart as Java does."""
        self._members = _Members() if self.exact else _Floats()

    def prepare(self, value: Any, ts: int) -> set[Any]:
        return {self._members.of(value)}

    def update(self, ir: set[Any], value: Any, ts: int) -> set[Any]:
        ir.add(self._members.of(value))
        return ir

    def update_all(self, ir: set[Any], values: Sequence[Any], times: Sequence[int]) -> set[Any]:
        ir.update(values if self.exact else map(distinct_float, values))
        return ir

    def merge(self, ir: set[Any], other: set[Any]) -> set[Any]:
        ir |= other
        return ir

    def clone(self, ir: set[Any]) -> set[Any]:
        return ir.copy()

    def finalize(self, ir: set[Any]) -> int:
        return len(ir)

    def stored(self, ir: set[Any]) -> list[Any]:
        return self._members.stored(ir)

    def loaded(self, stored: list[Any]) -> set[Any]:
        members: set[Any] = self._members.loaded(stored)
        return members


class BinaryUniqueCount(Aggregator):
    """Java's byte arrays are equal only to themselves, so Chronon counts rows. IR: a list."""

    ir_type = ListType(BINARY)
    output_type = LONG
    plain: ClassVar[bool] = False

    def prepare(self, value: bytes, ts: int) -> list[bytes]:
        return [value]

    def update(self, ir: list[bytes], value: bytes, ts: int) -> list[bytes]:
        ir.append(value)
        return ir

    def merge(self, ir: list[bytes], other: list[bytes]) -> list[bytes]:
        ir.extend(other)
        return ir

    def clone(self, ir: list[bytes]) -> list[bytes]:
        return ir[:]

    def finalize(self, ir: list[bytes]) -> int:
        return len(ir)

    def stored(self, ir: list[bytes]) -> list[bytes]:
        return ir[:]


class Bounded:
    """The IR of BOUNDED_UNIQUE_COUNT: the members, or what is left of them once ``full``."""

    __slots__ = ("full", "members")

    def __init__(self, members: Any, *, full: bool = False) -> None:
        self.members = members
        self.full = full


class BoundedUniqueCount(Aggregator):
    """Exact below ``k``, and k from there on.

    Strings are kept as the MD5 of their Java serialisation. A full set of strings is stored as Chronon's sentinel; of
    other types, for which the JVM cannot store it (§22.5), as the k members it has, which answers the same.
    """

    output_type = LONG
    plain: ClassVar[bool] = False

    def __init__(self, data_type: DataType, k: int) -> None:
        self.ir_type = ListType(data_type)
        self.k = k
        self._hashed = data_type == STRING
        self._binary = data_type == BINARY
        self._members = _Floats() if data_type in (FLOAT, DOUBLE) else _Members()

    def prepare(self, value: Any, ts: int) -> Bounded:
        member = self._member(value)
        return Bounded([member] if self._binary else {member})

    def update(self, ir: Bounded, value: Any, ts: int) -> Bounded:
        """A full set takes nothing, and one that reached k fills up even at a value that it has."""
        if not ir.full:
            if len(ir.members) >= self.k:
                ir.full = True
            else:
                self._add(ir, self._member(value))
        return ir

    def merge(self, ir: Bounded, other: Bounded) -> Bounded:
        if ir.full or other.full:
            return Bounded((ir if ir.full else other).members.copy(), full=True)
        for member in other.members:
            if len(ir.members) >= self.k:
                break
            self._add(ir, member)
        ir.full = len(ir.members) >= self.k
        return ir

    def clone(self, ir: Bounded) -> Bounded:
        return Bounded(ir.members.copy(), full=ir.full)

    def finalize(self, ir: Bounded) -> int:
        return self.k if ir.full else len(ir.members)

    def stored(self, ir: Bounded) -> list[Any]:
        return [SENTINEL] if ir.full and self._hashed else self._members.stored(ir.members)

    def loaded(self, stored: list[Any]) -> Bounded:
        """An empty list is the sentinel too."""
        if not stored or (self._hashed and stored == [SENTINEL]):
            return Bounded([] if self._binary else set(), full=True)
        return Bounded(list(stored) if self._binary else self._members.loaded(stored))

    def _member(self, value: Any) -> Any:
        return serialised_string_md5(value) if self._hashed else self._members.of(value)

    def _add(self, ir: Bounded, member: Any) -> None:
        if self._binary:
            ir.members.append(member)
        else:
            ir.members.add(member)

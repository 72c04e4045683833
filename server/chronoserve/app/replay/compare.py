"""Two values in the tagged form of golden/README.md, compared as a user of Chronon would: by type and by value.

``{"int": 1}`` is not ``{"long": 1}``. Floating numbers may differ by 1e-9 of their size, where additions came in another
order; NaN equals NaN, and a zero keeps its sign. Maps compare by key. Lists compare in order, unless the operation that
made them keeps a heap or a set: ``Shape`` says so.
"""

import enum
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

RELATIVE: Final = 1e-9
SHOWN_CHARS_MAX = 200


class Shape(enum.Enum):
    """How the lists of a value are to be compared."""

    ORDERED = "ordered"
    UNORDERED = "unordered"
    """A multiset: what a heap or a set holds. Structs keep their order all the same."""


class Absent(enum.Enum):
    """Stands for an entry that is not there; null is another thing."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where an answer is not the recorded one. ``place``: as ``responses[0].values.x_sum_1d[2]``."""

    place: str
    expected: object
    got: object

    def record(self) -> dict[str, object]:
        """For ``--json``; an entry that is absent on a side is left out on it."""
        sides = {"expected": self.expected, "got": self.got}
        return {"place": self.place, **{side: value for side, value in sides.items() if value is not ABSENT}}

    def __str__(self) -> str:
        return f"{self.place}: recorded {_shown(self.expected)}, ours {_shown(self.got)}"


def differences(expected: object, got: object, place: str = "", shape: Shape = Shape.ORDERED) -> Iterator[Difference]:
    """Every innermost place where two tagged values differ; none: they are equal."""
    if isinstance(expected, list) and isinstance(got, list):
        yield from _lists(expected, got, place, shape)
    elif isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys() and len(expected) == 1:
        yield from _boxes(expected, got, place, shape)
    elif not _same_scalar(expected, got):
        yield Difference(place, expected, got)


def same(expected: object, got: object, shape: Shape = Shape.ORDERED) -> bool:
    """Whether two tagged values are equal."""
    return next(differences(expected, got, shape=shape), None) is None


def entry_differences(
    expected: Mapping[str, object], got: Mapping[str, object], place: str, shapes: Mapping[str, Shape] | None = None
) -> Iterator[Difference]:
    """The same for two maps by name, as features are; ``shapes`` by name, ORDERED where it says nothing."""
    for name in [*expected, *(name for name in got if name not in expected)]:
        one, other = expected.get(name, ABSENT), got.get(name, ABSENT)
        inner = f"{place}.{name}" if place else name
        if one is ABSENT or other is ABSENT:
            yield Difference(inner, one, other)
        else:
            yield from differences(one, other, inner, (shapes or {}).get(name, Shape.ORDERED))


def _boxes(expected: Mapping[str, Any], got: Mapping[str, Any], place: str, shape: Shape) -> Iterator[Difference]:
    (box,) = expected
    one, other = expected[box], got[box]
    if box == "map":
        yield from _maps(one, other, place, shape)
    elif box == "struct":
        yield from _in_order(one, other, place, shape)
    elif box in NUMBERS:
        if not close(NUMBERS[box](one), NUMBERS[box](other)):
            yield Difference(place, expected, got)
    elif one != other or type(one) is not type(other):
        yield Difference(place, expected, got)


def _single(text: str) -> float:
    """A decimal text as a 32-bit float: several texts may name the same one."""
    number = float(text)
    try:
        (single,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        return math.copysign(math.inf, number)
    return float(single)


NUMBERS: Final[Mapping[str, Callable[[str], float]]] = {"float": _single, "double": float, "number": float}


def _maps(expected: Sequence[Sequence[object]], got: Sequence[Sequence[object]], place: str, shape: Shape) -> Iterator[Difference]:
    one, other = ({canonical(key): value for key, value in pairs} for pairs in (expected, got))
    if len(one) != len(expected) or len(other) != len(got):
        yield Difference(place, {"map": expected}, {"map": got})  # a map has each key once
        return
    for key in [*one, *(key for key in other if key not in one)]:
        inner = f"{place}[{key}]"
        if key in one and key in other:
            yield from differences(one[key], other[key], inner, shape)
        else:
            yield Difference(inner, one.get(key, ABSENT), other.get(key, ABSENT))


def _lists(expected: Sequence[object], got: Sequence[object], place: str, shape: Shape) -> Iterator[Difference]:
    if shape is Shape.UNORDERED and len(expected) == len(got):
        rest = list(got)
        for value in expected:
            at = next((at for at, other in enumerate(rest) if same(value, other, shape)), None)
            if at is None:
                yield Difference(place, expected, got)
                return
            del rest[at]
        return
    yield from _in_order(expected, got, place, shape)


def _in_order(expected: Sequence[object], got: Sequence[object], place: str, shape: Shape) -> Iterator[Difference]:
    if len(expected) != len(got):
        yield Difference(place, expected, got)
        return
    for at, (one, other) in enumerate(zip(expected, got, strict=True)):
        yield from differences(one, other, f"{place}[{at}]", shape)


def _same_scalar(expected: object, got: object) -> bool:
    """Null, booleans and texts. A JSON number without a box is no tagged value, but where it stands it has a type too."""
    return type(expected) is type(got) and expected == got


def close(expected: float, got: float) -> bool:
    """Equal within the last bits that the order of additions may change."""
    if math.isnan(expected) or math.isnan(got):
        return math.isnan(expected) and math.isnan(got)
    if expected == got:
        return math.copysign(1, expected) == math.copysign(1, got)
    return math.isclose(expected, got, rel_tol=RELATIVE, abs_tol=0)


def canonical(value: object) -> str:
    """One text for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _shown(value: object) -> str:
    if value is ABSENT:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"

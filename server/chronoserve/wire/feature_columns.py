"""ENCODING_PACKED: the features of a call as typed columns, each name once."""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from chronoserve.model.features import FeatureRow
from chronoserve.model.types import BINARY, BOOLEAN, BYTE, DATE, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, TIMESTAMP, DataType
from chronoserve.model.values import SMALL_VARINTS
from chronoserve.wire.feature_values import FIRST, SMALL, encode, encoder, length, name_part, signed_varint, utf8

COLUMN_TAG = b"\x12"
"""Field 2 of FetchResponse."""
ROWS_TAG, NULLS_TAG = b"\x12", b"\x1a"
BOOLS_TAG, INTS_TAG, FLOATS_TAG, DOUBLES_TAG, STRINGS_TAG, BYTES_TAG, OTHERS_TAG = b'"', b"*", b"2", b":", b"B", b"J", b"R"

LAYOUTS_MAX = 1024
"""Sets of names whose heads are remembered; past it they are forgotten and made again."""
FRONTS_MAX = 8
"""Numbers of rows for which a layout keeps what stands in front of its values."""

_MISFITS = (TypeError, ValueError, LookupError, AttributeError, OverflowError, struct.error)

Types = Mapping[str, DataType]
Pack = Callable[[Sequence[Any]], bytes]
"""Values that are not null as the ``values`` of a column, tag and length included."""


class Head(NamedTuple):
    """What is the same for a feature in every call. ``name``: field 1 of the column."""

    name: bytes
    data_type: DataType | None
    pack: Pack
    fixed: "_Fixed | None"
    """Where all values of the type have one size."""


class _Fixed(NamedTuple):
    """Values of one size. ``code``: of the struct module."""

    tag: bytes
    code: str
    size: int


@dataclass(slots=True)
class _Layout:
    """What is remembered of a set of names with its types. ``fronts``: by the number of rows, see ``_fronts``."""

    types: Types
    heads: list[Head]
    fronts: dict[int, list[tuple[bytes, Callable[..., bytes] | None]]] = field(default_factory=dict)


@dataclass(slots=True)
class _Group:
    """Rows that have the same names in the same order and share their types; ``numbers`` are their positions in the reply."""

    names: tuple[str, ...]
    types: Types
    numbers: list[int] = field(default_factory=list)
    values: list[Iterable[object]] = field(default_factory=list)


class ColumnEncoder:
    """Encodes the features of a call; remembers names and types."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[int, tuple[str, ...]], _Layout] = {}

    def encode(self, rows: Sequence[FeatureRow]) -> bytes:
        """``columns`` of FetchResponse, in the order in which features first appear.

        A feature whose type differs between rows has a column for each type.
        """
        groups = _groups(rows)
        if len(groups) == 1 and len(groups[0].numbers) == len(rows):
            return b"".join(self._whole(groups[0]))
        return b"".join([_column(head, places, values) for head, places, values in self._merged(groups, len(rows))])

    def _whole(self, group: _Group) -> Iterator[bytes]:
        """Columns that every row of the call has: where values have one size, all but they is ready."""
        layout = self._layout_of(group)
        rows = len(group.numbers)
        fronts = layout.fronts.get(rows)
        if fronts is None:
            if len(layout.fronts) >= FRONTS_MAX:
                layout.fronts.clear()
            fronts = layout.fronts[rows] = [_front(head, rows) for head in layout.heads]
        for (front, pack), head, values in zip(fronts, layout.heads, zip(*group.values, strict=True), strict=True):
            if pack is None or None in values:
                yield _column(head, b"", values)
            else:
                try:
                    yield front + pack(*values)
                except _MISFITS:
                    yield _column(head, b"", values)

    def _merged(self, groups: Sequence[_Group], rows_in_call: int) -> Iterator[tuple[Head, bytes, Sequence[object]]]:
        """Columns of several groups, each with its ``rows`` field."""
        found: dict[tuple[bytes, DataType | None], tuple[Head, list[tuple[int, object]]]] = {}
        for group in groups:
            for head, values in zip(self._layout_of(group).heads, zip(*group.values, strict=True), strict=True):
                _, cells = found.setdefault((head.name, head.data_type), (head, []))
                cells += zip(group.numbers, values, strict=True)
        for head, cells in found.values():
            cells.sort(key=itemgetter(0))
            places = b"" if len(cells) == rows_in_call else _numbers(ROWS_TAG, [number for number, _ in cells])
            yield head, places, [value for _, value in cells]

    def _layout_of(self, group: _Group) -> _Layout:
        """The mapping of types is kept, so that its identity stays its own."""
        key = id(group.types), group.names
        known = self._layouts.get(key)
        if known is None or known.types is not group.types:
            if len(self._layouts) >= LAYOUTS_MAX:
                self._layouts.clear()
            known = self._layouts[key] = _Layout(group.types, [_head(name, group.types.get(name)) for name in group.names])
        return known


def _groups(rows: Sequence[FeatureRow]) -> Sequence[_Group]:
    groups: dict[tuple[int, tuple[str, ...]], _Group] = {}
    for number, row in enumerate(rows):
        if row.features:
            names = tuple(row.features)
            group = groups.get((id(row.types), names))
            if group is None:
                group = groups[id(row.types), names] = _Group(names, row.types)
            group.numbers.append(number)
            group.values.append(row.features.values())
    return list(groups.values())


def _head(name: str, data_type: DataType | None) -> Head:
    return Head(name_part(name), data_type, _pack(data_type), _FIXED.get(data_type))


def _front(head: Head, rows: int) -> tuple[bytes, Callable[..., bytes] | None]:
    """What stands in front of so many values of one size, none of them null, and how they are packed; None: another type."""
    if head.fixed is None:
        return b"", None
    packed = FIRST + length(rows * head.fixed.size)
    values = head.fixed.tag + length(len(packed) + rows * head.fixed.size) + packed
    front = COLUMN_TAG + length(len(head.name) + len(values) + rows * head.fixed.size) + head.name + values
    return front, struct.Struct(f"<{rows}{head.fixed.code}").pack


def _column(head: Head, places: bytes, values: Sequence[object]) -> bytes:
    """One column. ``places``: its ``rows`` field, empty where all rows have the feature."""
    front = head.name + places
    if None in values:
        front += NULLS_TAG + length(len(values)) + bytes([value is None for value in values])
        values = [value for value in values if value is not None]
    try:
        packed = head.pack(values)
    except _MISFITS:
        packed = _list(OTHERS_TAG, [encode(head.data_type, value) for value in values])
    return COLUMN_TAG + length(len(front) + len(packed)) + front + packed


def _pack(data_type: DataType | None) -> Pack:
    if data_type in _PACKS:
        return _PACKS[data_type]
    encode_value = encoder(data_type)
    return lambda values: _list(OTHERS_TAG, [encode_value(value) for value in values])


def _message(tag: bytes, packed: bytes) -> bytes:
    """A column message whose one field is ``packed``."""
    if not packed:
        return tag + b"\x00"
    inner = FIRST + length(len(packed)) + packed
    return tag + length(len(inner)) + inner


def _list(tag: bytes, items: Sequence[bytes]) -> bytes:
    """A column message with an item for each value."""
    inner = b"".join([piece for item in items for piece in (FIRST, length(len(item)), item)])
    return tag + length(len(inner)) + inner


def _numbers(tag: bytes, numbers: Sequence[int]) -> bytes:
    packed = b"".join([length(number) for number in numbers])
    return tag + length(len(packed)) + packed


_SMALL_ZIGZAGS = tuple(SMALL_VARINTS[2 * number] for number in range(SMALL // 2)) + tuple(
    SMALL_VARINTS[-2 * number - 1] for number in range(-SMALL // 2, 0)
)
"""Negative numbers count from the end, as Python's indexes do."""


def _zigzag(number: int) -> bytes:
    return signed_varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _integers(values: Sequence[int]) -> bytes:
    numbers = [_SMALL_ZIGZAGS[value] if -SMALL // 2 <= value < SMALL // 2 else _zigzag(value) for value in values]
    return _message(INTS_TAG, b"".join(numbers))


def _doubles(values: Sequence[float]) -> bytes:
    return _message(DOUBLES_TAG, struct.pack(f"<{len(values)}d", *values))


def _floats(values: Sequence[float]) -> bytes:
    return _message(FLOATS_TAG, struct.pack(f"<{len(values)}f", *values))


_BITS = {True: 1, False: 0}


def _booleans(values: Sequence[bool]) -> bytes:
    return _message(BOOLS_TAG, bytes([_BITS[value] for value in values]))


def _strings(values: Sequence[str]) -> bytes:
    return _list(STRINGS_TAG, [utf8(value) for value in values])


def _byte_strings(values: Sequence[bytes]) -> bytes:
    return _list(BYTES_TAG, values)


_FIXED: Mapping[DataType | None, _Fixed] = {
    DOUBLE: _Fixed(DOUBLES_TAG, "d", 8),
    FLOAT: _Fixed(FLOATS_TAG, "f", 4),
}
_PACKS: Mapping[DataType | None, Pack] = {
    **dict.fromkeys((BYTE, SHORT, INT, LONG, DATE, TIMESTAMP), _integers),
    DOUBLE: _doubles,
    FLOAT: _floats,
    BOOLEAN: _booleans,
    STRING: _strings,
    BINARY: _byte_strings,
}

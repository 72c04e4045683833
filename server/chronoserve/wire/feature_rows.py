"""ENCODING_MAP: a row of features as the entries of FeatureResponse.features.

Rows of one plan have the same names in the same order, again and again. So names are encoded once: for a set of names
that has been seen often enough, a function is compiled that joins ready prefixes with the values' bytes.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from chronoserve.model.types import BOOLEAN, BYTE, DATE, DOUBLE, FLOAT, INT, LONG, SHORT, STRING, TIMESTAMP, DataType
from chronoserve.model.values import SMALL_VARINTS
from chronoserve.wire.feature_values import (
    DOUBLE_TAG,
    FALSE,
    FIRST,
    FLOAT_TAG,
    INT_TAG,
    NULL,
    SECOND,
    STRING_TAG,
    TRUE,
    Encode,
    encode,
    encode_boxed,
    encoder,
    entry,
    length,
    name_part,
    pack_double,
    pack_float,
    signed_varint,
)

Types = Mapping[str, DataType]

COMPILED_AFTER = 3
"""A set of names is compiled when it comes for this time: compiling costs as much as encoding a hundred rows."""
COMPILED_FEATURES_MAX = 30_000
"""Features of all compiled functions together, at some 700 bytes each; past it they are forgotten and made again."""
LAYOUTS_MAX = 16
"""Different sets of names of one plan that are told apart; where more come, they are encoded name by name."""
PLANS_MAX = 4096

_SHORT_STRING = 126
"""Strings below this size have lengths of one byte at every level of their Value."""
_MISFITS = (TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""What encoders raise for a value that is not what its type says."""


@dataclass(slots=True, eq=False)
class _Plan:
    """What is known of the rows that share one mapping of types."""

    types: Types
    encoders: dict[str, tuple[bytes, Encode]] = field(default_factory=dict)
    layouts: dict[tuple[str, ...], int | Callable[..., bytes]] = field(default_factory=dict)
    """By names in order: how often they came, or their function."""


class RowEncoder:
    """Encodes rows; remembers what it has compiled."""

    def __init__(self) -> None:
        self._plans: dict[int, _Plan] = {}
        self._features = 0

    def encode(self, features: Mapping[str, object], types: Types) -> bytes:
        """Field 1 of FeatureResponse, complete: one entry for each feature."""
        plan = self._plans.get(id(types))
        if plan is None or plan.types is not types:
            plan = self._add(types)
        names = tuple(features)
        layout = plan.layouts.get(names, 0)
        if isinstance(layout, int):
            return self._encode_rarer(plan, features, names, layout)
        try:
            return layout(*features.values())
        except _MISFITS:
            return b"".join([entry(name_part(name), encode(types.get(name), value)) for name, value in features.items()])

    def _add(self, types: Types) -> _Plan:
        """The mapping is kept, so that its identity stays its own."""
        if len(self._plans) >= PLANS_MAX:
            self._forget()
        plan = self._plans[id(types)] = _Plan(types)
        return plan

    def _forget(self) -> None:
        self._plans.clear()
        self._features = 0

    def _encode_rarer(self, plan: _Plan, features: Mapping[str, object], names: tuple[str, ...], seen: int) -> bytes:
        if seen or len(plan.layouts) < LAYOUTS_MAX:
            plan.layouts[names] = seen + 1
            if seen + 1 >= COMPILED_AFTER and names:
                self._compile(plan, names)
        return b"".join(_entries(plan, features))

    def _compile(self, plan: _Plan, names: tuple[str, ...]) -> None:
        if self._features + len(names) > COMPILED_FEATURES_MAX:
            self._forget()
            self._plans[id(plan.types)] = plan
            plan.layouts.clear()
        self._features += len(names)
        plan.layouts[names] = compiled([(name, plan.types.get(name)) for name in names])


def _entries(plan: _Plan, features: Mapping[str, object]) -> Iterator[bytes]:
    """Name by name."""
    for name, value in features.items():
        known = plan.encoders.get(name)
        if known is None:
            known = plan.encoders[name] = name_part(name), encoder(plan.types.get(name))
        part, encode_value = known
        try:
            yield entry(part, NULL if value is None else encode_value(value))
        except _MISFITS:
            yield entry(part, encode(None, value))


# compiling: names never come near the source, which knows features by their position

_ENTRIES = tuple(FIRST + size for size in SMALL_VARINTS[:1024])
"""The beginning of an entry by its size."""
_INT_HEADS = tuple(SECOND + bytes((1 + size,)) + INT_TAG for size in range(11))
"""What stands in front of an integer in an entry, by its size in bytes."""
_INTS = tuple(_INT_HEADS[len(number)] + number for number in SMALL_VARINTS)
"""Small integers as the value of an entry."""
_STRINGS = tuple(SECOND + bytes((size + 2,)) + STRING_TAG + bytes((size,)) for size in range(_SHORT_STRING))
"""What stands in front of a short string in an entry, by its size in bytes."""
_TRUE, _FALSE, _NULL = (SECOND + b"\x02" + body for body in (TRUE, FALSE, NULL))
_DOUBLE, _FLOAT = SECOND + b"\x09" + DOUBLE_TAG, SECOND + b"\x05" + FLOAT_TAG

_NAME_BYTES_MAX = len(_ENTRIES) - _SHORT_STRING - 8

_INTEGER_TEMPLATE = "n{0} if v{0} is None else (p{0} if v{0} < 128 else q{0}) + INTS[v{0}] if 0 <= v{0} < 16384 else long_int(m{0}, v{0})"
_STRING_TEMPLATE = (
    "n{0} if v{0} is None else ENTRIES[{1} + s] + m{0} + STRINGS[s] + b"
    " if (s := len(b := v{0}.encode('utf-8', 'replace'))) < {2} else long_bytes(m{0}, b)"
)
_TEMPLATES: Mapping[DataType, str] = {
    **dict.fromkeys((BYTE, SHORT, INT, LONG, DATE, TIMESTAMP), _INTEGER_TEMPLATE),
    DOUBLE: "n{0} if v{0} is None else p{0} + pack_double(v{0})",
    FLOAT: "n{0} if v{0} is None else p{0} + pack_float(v{0})",
    BOOLEAN: "n{0} if v{0} is None else p{0} if v{0} is True else q{0} if v{0} is False else entry(m{0}, encode_boxed(v{0}))",
    STRING: _STRING_TEMPLATE,
}
_OTHER = "n{0} if v{0} is None else entry(m{0}, e{0}(v{0}))"


def _long_int(name: bytes, value: int) -> bytes:
    data = signed_varint(value)
    size = len(data)
    return _ENTRIES[len(name) + 3 + size] + name + _INT_HEADS[size] + data


def _long_bytes(name: bytes, data: bytes) -> bytes:
    return entry(name, STRING_TAG + length(len(data)) + data)


_SHARED = {
    "ENTRIES": _ENTRIES,
    "INTS": _INTS,
    "STRINGS": _STRINGS,
    "encode_boxed": encode_boxed,
    "entry": entry,
    "join": b"".join,
    "long_bytes": _long_bytes,
    "long_int": _long_int,
    "pack_double": pack_double,
    "pack_float": pack_float,
}


def compiled(features: list[tuple[str, DataType | None]]) -> Callable[..., bytes]:
    """A function of the features' values, in this order, whose bytes are their entries."""
    namespace: dict[str, object] = dict(_SHARED)
    pieces = [_piece(at, name, data_type, namespace) for at, (name, data_type) in enumerate(features)]
    arguments = ", ".join(f"v{at}" for at in range(len(features)))
    exec(f"def encode_row({arguments}):\n return join(({', '.join(pieces)},))\n", namespace)  # noqa: S102 - made of positions alone
    function: Callable[..., bytes] = namespace["encode_row"]  # type: ignore[assignment]
    return function


def _piece(at: int, name: str, data_type: DataType | None, namespace: dict[str, object]) -> str:
    """The expression of one feature. Its constants: null entry n, ready prefixes p and q, name m, encoder e."""
    part = name_part(name)
    namespace[f"n{at}"] = _entry_head(part, len(_NULL)) + _NULL
    template = _TEMPLATES.get(data_type, _OTHER) if data_type is not None and len(part) < _NAME_BYTES_MAX else _OTHER
    match data_type:
        case _ if template is _OTHER:
            namespace |= {f"m{at}": part, f"e{at}": encoder(data_type)}
        case _ if template is _STRING_TEMPLATE:
            namespace[f"m{at}"] = part
        case _ if template is _INTEGER_TEMPLATE:
            namespace |= {f"m{at}": part, f"p{at}": _entry_head(part, 4), f"q{at}": _entry_head(part, 5)}
        case _ if data_type is BOOLEAN or data_type == BOOLEAN:
            namespace |= {f"m{at}": part, f"p{at}": _entry_head(part, 4) + _TRUE, f"q{at}": _entry_head(part, 4) + _FALSE}
        case _:
            value = _DOUBLE if data_type == DOUBLE else _FLOAT
            namespace[f"p{at}"] = _entry_head(part, len(value) + (8 if data_type == DOUBLE else 4)) + value
    return f"({template.format(at, len(part) + len(_STRINGS[0]), _SHORT_STRING)})"


def _entry_head(part: bytes, value_size: int) -> bytes:
    return FIRST + length(len(part) + value_size) + part

"""APPROX_HISTOGRAM_K: exact counts of up to k values, then a frequent-items sketch (§5.7)."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from chronoserve.aggregate import java_stream as stream
from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.items_sketch import ItemsSketch
from chronoserve.aggregate.java import double_hash, long_hash, string_hash
from chronoserve.aggregate.java_map import JavaMap, table_size
from chronoserve.aggregate.scala_map import scala_double_hash, scala_long_hash, scala_order
from chronoserve.aggregate.uniques import NEGATIVE_ZERO, distinct_float
from chronoserve.model.errors import CorruptValue, InvalidRequest
from chronoserve.model.java_numbers import double_text
from chronoserve.model.types import BINARY, DOUBLE, FLOAT, LONG, STRING, DataType, MapType

Counts = JavaMap | ItemsSketch
Pack = Callable[[Any], bytes]

_OPTION = stream.Class("scala.Option", 0xFE6937FDDB0E6674, 2, ())
_SOME = stream.Class("scala.Some", 0x1122F2695EA18B74, 2, (("L", "value", "Ljava/lang/Object;"),), _OPTION)
_NONE = stream.Class("scala.None$", 0x465024F653CA94AC, 2, (), _OPTION)
_NUMBER = stream.Class("java.lang.Number", 0x86AC951D0B94E08B, 2, ())
_LONG = stream.Class("java.lang.Long", 0x3B8BE490CC8F23DF, 2, (("J", "value", ""),), _NUMBER)
_DOUBLE = stream.Class("java.lang.Double", 0x80B3C24A296BFB04, 2, (("D", "value", ""),), _NUMBER)
_HASH_MAP = stream.Class("java.util.HashMap", 0x0507DAC1C31660D1, 3, (("F", "loadFactor", ""), ("I", "threshold", "")))
_IR = stream.Class(
    "ai.chronon.aggregator.base.ApproxHistogramIrSerializable",
    0x6421CE63B8164AAE,
    2,
    (("Z", "isApprox", ""), ("L", "histogram", "Lscala/Option;"), ("L", "sketch", "Lscala/Option;")),
)
"""The version of the last is what the published jars have; compilers may give it another, which is read as well."""

_HEAD = struct.Struct("<BBBBBBBH")
"""Kind of items, length in longs, version, family, logarithms of the largest and the present table, flags."""
_COUNTS = struct.Struct("<IIqq")
"""Items, nothing, weight of the stream, offset."""
_FAMILY = 10
_EMPTY = 4
_LG_TABLE_MAX = 12
"""A stored table may be larger than this only where the group by asks for it."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How values of a type look in Java: ``key`` tells them apart in a map, ``code`` marks them in a sketch's image."""

    code: int
    key: Callable[[Any], Any]
    hash: Callable[[Any], int]
    scala_hash: Callable[[Any], int]
    text: Callable[[Any], str]
    boxed: Callable[[Any], Any]
    unboxed: Callable[[Any], Any]
    packed: Pack
    unpacked: Callable[["_Image"], Any]


class ApproxHistogram(Aggregator):
    """``k``: how many values are counted exactly, and how many the feature shows of a sketch."""

    ir_type = BINARY
    output_type = MapType(STRING, LONG)
    plain: ClassVar[bool] = False

    def __init__(self, data_type: DataType, k: int) -> None:
        if k < 1:
            raise InvalidRequest(f"k of APPROX_HISTOGRAM_K is 1 or more, not {k}", field="argMap")
        self._kind = _STRINGS if data_type == STRING else _DOUBLES if data_type in (FLOAT, DOUBLE) else _LONGS
        self._k = k
        self._lg_max = table_size(max(k, 2)).bit_length() - 1

    def prepare(self, value: Any, ts: int) -> Counts:
        return self.update(JavaMap(self._kind.hash), value, ts)

    def update(self, ir: Counts, value: Any, ts: int) -> Counts:
        return self._fed(ir, ((self._kind.key(value), 1),))

    def merge(self, ir: Counts, other: Counts) -> Counts:
        if isinstance(other, JavaMap):
            return self._fed(ir, other.in_order())
        if isinstance(ir, JavaMap):
            return self._fed(other.copied(), ir.in_order())
        ir.merge(other)
        return ir

    def clone(self, ir: Counts) -> Counts:
        return ir.copied()

    def finalize(self, ir: Counts) -> dict[str, int]:
        if not isinstance(ir, JavaMap):
            return {self._kind.text(key): count for key, count in ir.frequent()[: self._k]}
        return {self._kind.text(key): count for key, count in self._one_zero(ir).items()}

    def stored(self, ir: Counts) -> bytes:
        exact = isinstance(ir, JavaMap)
        counts = _some(_hash_map(ir, self._kind)) if isinstance(ir, JavaMap) else _none()
        sketch = _none() if isinstance(ir, JavaMap) else _some(stream.Bytes(_image(ir, self._kind)))
        return stream.Writer().bytes(stream.Object(_IR, {"isApprox": not exact, "histogram": counts, "sketch": sketch}))

    def loaded(self, stored: bytes) -> Counts:
        root = stream.Reader(stored).object()
        if root.kind.name != _IR.name:
            raise _corrupt()
        if root.values.get("isApprox"):
            image = _value(root.values.get("sketch"))
            if not isinstance(image, stream.Bytes):
                raise _corrupt()
            return _Image(image.data).sketch(self._kind, self._lg_max)
        return self._loaded_map(_value(root.values.get("histogram")))

    def _one_zero(self, ir: JavaMap) -> dict[Any, int]:
        """To a map of Scala both zeros are one key: that of the first in Java's order, with the count of the last."""
        if NEGATIVE_ZERO not in ir or 0.0 not in ir or self._kind is not _DOUBLES:
            return ir
        zeros = [key for key, _ in ir.in_order() if key in (NEGATIVE_ZERO, 0.0)]
        return {key: ir[zeros[-1]] if key == zeros[0] else count for key, count in ir.items() if key != zeros[-1]}

    def _fed(self, ir: Counts, entries: Iterable[tuple[Any, int]]) -> Counts:
        """Counts that outgrow k become a sketch, once all entries are in."""
        if isinstance(ir, ItemsSketch):
            return self._sketched(ir, entries)
        for key, count in entries:
            ir[key] = ir.get(key, 0) + count
            ir.grow()
        if len(ir) <= self._k:
            return ir
        return self._sketched(ItemsSketch(self._kind.hash, self._lg_max), ir.in_order())

    def _sketched(self, sketch: ItemsSketch, entries: Iterable[tuple[Any, int]]) -> ItemsSketch:
        for key, count in scala_order(entries, self._kind.scala_hash):
            sketch.update(key, count)
        return sketch

    def _loaded_map(self, stored: Any) -> JavaMap:
        if not isinstance(stored, stream.Object) or stored.kind.name != _HASH_MAP.name:
            raise _corrupt()
        entries = stored.written[1:]
        keys = [self._kind.key(self._kind.unboxed(key)) for key in entries[::2]]
        counts = [_unboxed_long(count) for count in entries[1::2]]
        if len(keys) != len(counts):
            raise _corrupt()
        return JavaMap(self._kind.hash, dict(zip(keys, counts, strict=True)), max(16, table_size(int(len(keys) / 0.75 + 1))))


class _Image:
    """Reads the image of a sketch: a byte for the kind of items, a preamble, counts, items; in the table's order."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = _HEAD.size

    def sketch(self, kind: _Kind, lg_max: int) -> ItemsSketch:
        """The sketch that the image is of.

        Raises:
            CorruptValue: the image is none of a sketch of such items.
        """
        try:
            return self._sketch(kind, lg_max)
        except (struct.error, UnicodeDecodeError) as ended:
            raise _corrupt() from ended

    def take(self, length: int) -> bytes:
        taken = self.data[self.at : self.at + length]
        if len(taken) != length:
            raise _corrupt()
        self.at += length
        return taken

    def _sketch(self, kind: _Kind, lg_max: int) -> ItemsSketch:
        code, longs, version, family, lg_own_max, lg, flags, _ = _HEAD.unpack_from(self.data)
        if (code, version, family) != (kind.code, 1, _FAMILY) or not lg <= lg_own_max <= max(lg_max, _LG_TABLE_MAX):
            raise _corrupt()
        sketch = ItemsSketch(kind.hash, lg_own_max, lg)
        if longs == 1 and flags & _EMPTY:
            return sketch
        size, _, weight, offset = _COUNTS.unpack(self.take(_COUNTS.size))
        if longs != 4 or size > 1 << lg:
            raise _corrupt()
        counts = struct.unpack(f"<{size}q", self.take(8 * size))
        for count in counts:
            sketch.update(kind.key(kind.unpacked(self)), count)
        sketch.weight, sketch.offset = weight, offset
        return sketch


def _image(sketch: ItemsSketch, kind: _Kind) -> bytes:
    sizes = (_FAMILY, sketch.lg_max, sketch.lg)
    if not sketch.size:
        return _HEAD.pack(kind.code, 1, 1, *sizes, _EMPTY, 0)
    entries = list(sketch.in_slots())
    head = _HEAD.pack(kind.code, 4, 1, *sizes, 0, 0) + _COUNTS.pack(sketch.size, 0, sketch.weight, sketch.offset)
    counts = struct.pack(f"<{sketch.size}q", *(count for _, count in entries))
    return head + counts + b"".join(kind.packed(item) for item, _ in entries)


def _hash_map(counts: JavaMap, kind: _Kind) -> stream.Object:
    small: dict[int, stream.Object] = {}

    def boxed_long(number: int) -> stream.Object:
        """Java has one object for each of the small numbers, and a new one for any other."""
        made = stream.Object(_LONG, {"value": number})
        return small.setdefault(number, made) if -128 <= number < 128 else made

    written: list[Any] = [struct.pack(">ii", counts.slots, len(counts))]
    for key, count in counts.in_order():
        written += (boxed_long(key) if kind is _LONGS else kind.boxed(key), boxed_long(count))
    return stream.Object(_HASH_MAP, {"loadFactor": 0.75, "threshold": counts.slots * 3 // 4}, written)


def _some(value: Any) -> stream.Object:
    return stream.Object(_SOME, {"value": value})


def _none() -> stream.Object:
    return stream.Object(_NONE, {})


def _value(option: Any) -> Any:
    if not isinstance(option, stream.Object) or option.kind.name != _SOME.name:
        raise _corrupt()
    return option.values.get("value")


def _unboxed_long(value: Any) -> int:
    number = value.values.get("value") if isinstance(value, stream.Object) and value.kind.name == _LONG.name else None
    if not isinstance(number, int):
        raise _corrupt()
    return number


def _unboxed_double(value: Any) -> float:
    number = value.values.get("value") if isinstance(value, stream.Object) and value.kind.name == _DOUBLE.name else None
    if not isinstance(number, float):
        raise _corrupt()
    return number


def _unboxed_string(value: Any) -> str:
    if not isinstance(value, str):
        raise _corrupt()
    return value


def _double(key: Any) -> float:
    return -0.0 if key is NEGATIVE_ZERO else key


def _packed_string(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return struct.pack("<i", len(encoded)) + encoded


def _unpacked_string(image: _Image) -> str:
    (length,) = struct.unpack("<I", image.take(4))
    return image.take(length).decode("utf-8", "surrogatepass")


def _corrupt() -> CorruptValue:
    return CorruptValue("an APPROX_HISTOGRAM_K is no IR as Chronon writes it")


def _itself(value: Any) -> Any:
    return value


_STRINGS = _Kind(0, _itself, string_hash, string_hash, str, _itself, _unboxed_string, _packed_string, _unpacked_string)
_LONGS = _Kind(
    1,
    int,
    long_hash,
    scala_long_hash,
    str,
    lambda number: stream.Object(_LONG, {"value": number}),
    _unboxed_long,
    lambda number: struct.pack("<q", number),
    lambda image: struct.unpack("<q", image.take(8))[0],
)
_DOUBLES = _Kind(
    2,
    distinct_float,
    lambda key: double_hash(_double(key)),
    lambda key: scala_double_hash(_double(key)),
    lambda key: double_text(_double(key)),
    lambda key: stream.Object(_DOUBLE, {"value": _double(key)}),
    _unboxed_double,
    lambda key: struct.pack("<d", _double(key)),
    lambda image: struct.unpack("<d", image.take(8))[0],
)

"""Java's object serialisation, as far as the IR of APPROX_HISTOGRAM_K needs it (§5.7): a writer and a bounded reader."""

import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chronoserve.aggregate.java import modified_utf8
from chronoserve.model.errors import CorruptValue

_START = b"\xac\xed\x00\x05"
_NULL, _REFERENCE, _CLASS, _OBJECT, _STRING, _ARRAY, _BLOCK, _END, _LONG_STRING = 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x77, 0x78, 0x7C
_HANDLES = 0x7E0000
_WRITES_ITSELF = 1
_DEPTH_MAX = 12
_SIZES = {"B": "b", "C": "H", "D": "d", "F": "f", "I": "i", "J": "q", "S": "h", "Z": "?"}


class Class(NamedTuple):
    """``fields``: (type code, name, class of an object field); ``flags``: 3 where the class also writes data of its own."""

    name: str
    version: int
    flags: int
    fields: tuple[tuple[str, str, str], ...]
    parent: "Class | None" = None


@dataclass(eq=False, slots=True)
class Object:
    """``values``: by field, those of parents among them; ``written``: what the class wrote itself: bytes and objects."""

    kind: Class
    values: dict[str, Any]
    written: list[Any] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Bytes:
    """A byte[]."""

    data: bytes


_BYTE_ARRAY = Class("[B", 0xACF317F8060854E0, 2, ())


class Writer:
    """Writes one object. What was written before is referred to, by identity; strings by their text."""

    def __init__(self) -> None:
        self._parts = [_START]
        self._handles: dict[Any, int] = {}

    def bytes(self, root: Object) -> bytes:
        self._value(root)
        return b"".join(self._parts)

    def _value(self, value: Any) -> None:
        if value is None:
            self._put(_NULL)
        elif self._referred(_identity(value)):
            return
        elif isinstance(value, str):
            self._string(value)
        elif isinstance(value, Bytes):
            self._put(_ARRAY)
            self._class(_BYTE_ARRAY)
            self._remember(_identity(value))
            self._parts += (struct.pack(">i", len(value.data)), value.data)
        else:
            self._object(value)

    def _object(self, value: Object) -> None:
        self._put(_OBJECT)
        self._class(value.kind)
        self._remember(_identity(value))
        for kind in _lineage(value.kind):
            for code, name, _ in kind.fields:
                if code in _SIZES:
                    self._parts.append(struct.pack(">" + _SIZES[code], value.values[name]))
                else:
                    self._value(value.values[name])
            if kind.flags & _WRITES_ITSELF:
                self._written(value.written)

    def _written(self, written: list[Any]) -> None:
        for item in written:
            if isinstance(item, bytes):
                self._parts.append(bytes((_BLOCK, len(item))) + item)
            else:
                self._value(item)
        self._put(_END)

    def _class(self, kind: Class | None) -> None:
        if kind is None:
            self._put(_NULL)
            return
        if self._referred(kind.name + "/class"):
            return
        self._put(_CLASS)
        self._text(kind.name)
        self._parts.append(struct.pack(">QBH", kind.version, kind.flags, len(kind.fields)))
        self._remember(kind.name + "/class")
        for code, name, class_name in kind.fields:
            self._parts.append(code.encode())
            self._text(name)
            if code not in _SIZES and not self._referred("text/" + class_name):
                self._string(class_name)
        self._put(_END)
        self._class(kind.parent)

    def _string(self, text: str) -> None:
        encoded = modified_utf8(text)
        self._remember("text/" + text)
        short = len(encoded) < 0x10000
        self._parts += (struct.pack(">BH", _STRING, len(encoded)) if short else struct.pack(">BQ", _LONG_STRING, len(encoded)), encoded)

    def _text(self, text: str) -> None:
        encoded = modified_utf8(text)
        self._parts += (struct.pack(">H", len(encoded)), encoded)

    def _put(self, code: int) -> None:
        self._parts.append(bytes((code,)))

    def _remember(self, identity: Any) -> None:
        self._handles[identity] = _HANDLES + len(self._handles)

    def _referred(self, identity: Any) -> bool:
        handle = self._handles.get(identity)
        if handle is None:
            return False
        self._parts.append(struct.pack(">BI", _REFERENCE, handle))
        return True


def _identity(value: Any) -> Any:
    return "text/" + value if isinstance(value, str) else id(value)


def _lineage(kind: Class) -> list[Class]:
    """Parents first, as their data comes first."""
    lineage: list[Class] = []
    at: Class | None = kind
    while at is not None:
        lineage.insert(0, at)
        at = at.parent
    return lineage


class Reader:
    """Reads one object. Every value that it makes has cost the stream at least a byte, and nesting is bounded."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = len(_START)
        self._known: list[Any] = []

    def object(self) -> Object:
        """The object that the stream is of.

        Raises:
            CorruptValue: the bytes are no stream of one object, in the part of Java's grammar that Chronon's IRs use.
        """
        try:
            root = self._value(0) if self._data.startswith(_START) else None
        except (struct.error, IndexError, UnicodeDecodeError) as ended:
            raise _corrupt() from ended
        if not isinstance(root, Object) or self._at != len(self._data):
            raise _corrupt()
        return root

    def _value(self, depth: int) -> Any:
        code = self._byte()
        if depth > _DEPTH_MAX:
            raise _corrupt()
        if code == _NULL:
            return None
        if code == _REFERENCE:
            return self._referred()
        if code in (_STRING, _LONG_STRING):
            return self._string(code)
        if code == _OBJECT:
            return self._object(depth)
        if code == _ARRAY:
            return self._array(depth)
        raise _corrupt()

    def _object(self, depth: int) -> Object:
        made = Object(self._class(depth + 1), {})
        self._known.append(made)
        for kind in _lineage(made.kind):
            for code, name, _ in kind.fields:
                made.values[name] = self._unpack(_SIZES[code]) if code in _SIZES else self._value(depth + 1)
            if kind.flags & _WRITES_ITSELF:
                self._read_written(made.written, depth)
        return made

    def _read_written(self, written: list[Any], depth: int) -> None:
        while self._data[self._at] != _END:
            if self._data[self._at] == _BLOCK:
                self._at += 1
                written.append(self._take(self._byte()))
            else:
                written.append(self._value(depth + 1))
        self._at += 1

    def _array(self, depth: int) -> Bytes:
        if self._class(depth + 1).name != _BYTE_ARRAY.name:
            raise _corrupt()
        made = Bytes(b"")
        self._known.append(made)
        made.data = self._take(self._unpack("i"))
        return made

    def _class(self, depth: int) -> Class:
        kind = self._class_or_none(depth)
        if kind is None:
            raise _corrupt()
        return kind

    def _class_or_none(self, depth: int) -> Class | None:
        code = self._byte()
        if code == _NULL:
            return None
        if code == _REFERENCE:
            known = self._referred()
            if isinstance(known, Class):
                return known
        if code != _CLASS or depth > _DEPTH_MAX:
            raise _corrupt()
        return self._new_class(depth)

    def _new_class(self, depth: int) -> Class:
        name = self._text(self._unpack("H"))
        version, flags, count = self._unpack("Q"), self._byte(), self._unpack("H")
        place = len(self._known)
        self._known.append(None)
        fields = tuple(self._field() for _ in range(count))
        if self._byte() != _END or not flags & 2:
            raise _corrupt()
        kind = Class(name, version, flags, fields, self._class_or_none(depth + 1))
        self._known[place] = kind
        return kind

    def _field(self) -> tuple[str, str, str]:
        code, name = chr(self._byte()), self._text(self._unpack("H"))
        if code in _SIZES:
            return code, name, ""
        class_name = self._value(_DEPTH_MAX) if code in "L[" else None
        if not isinstance(class_name, str):
            raise _corrupt()
        return code, name, class_name

    def _string(self, code: int) -> str:
        text = self._text(self._unpack("H" if code == _STRING else "Q"))
        self._known.append(text)
        return text

    def _text(self, length: int) -> str:
        """Modified UTF-8: two surrogates of three bytes each are one character."""
        data = self._take(length).replace(b"\xc0\x80", b"\0")
        text = data.decode("utf-8", "surrogatepass")
        return text if text.isascii() else text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")

    def _referred(self) -> Any:
        at: int = self._unpack("I") - _HANDLES
        if not 0 <= at < len(self._known):
            raise _corrupt()
        return self._known[at]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _unpack(self, code: str) -> Any:
        (value,) = struct.unpack_from(">" + code, self._data, self._at)
        self._at += struct.calcsize(">" + code)
        return value

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if length < 0 or len(taken) != length:
            raise _corrupt()
        self._at += length
        return taken


def _corrupt() -> CorruptValue:
    return CorruptValue("an APPROX_HISTOGRAM_K is no stream of a Java object as Chronon writes it")

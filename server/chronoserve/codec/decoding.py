"""Writes one Python function for each schema, which turns the bytes of its records into tuples.

The source is made of numbered variables and constants of this module alone: no name of a schema is ever part of it.
What each type becomes is said in ``chronoserve.model.types``. The cost is linear in the bytes: a list may not announce
more items than the bytes that follow could hold, slices beyond the end are noticed before anything is returned, and
structs, lists and maps within lists and maps, which cost the most memory for a byte, are counted (spec/reliability.md R17).
"""

import itertools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from chronoserve.codec import varints
from chronoserve.codec.avro import types_within
from chronoserve.model import types
from chronoserve.model.errors import CorruptValue, InvalidRequest
from chronoserve.model.types import DataType, Field, ListType, MapType, Primitive, StructType

Decode = Callable[[bytes], tuple[object, ...]]

NESTED_MAX = 16_384
"""Structs, lists and maps within lists and maps of one value, and one more for every 16 bytes of it."""
_LOOPS_MAX = 4
"""Lists and maps within each other in one function; deeper ones get their own. Python refuses 20 nested blocks."""
_INLINE_MAX = 500
"""Types in a record that is read by one function; compiling more of them would hold up the server."""
_LINES_MAX = 20_000
_FIXED: Mapping[DataType, tuple[str, int]] = {types.FLOAT: ("f", 4), types.DOUBLE: ("d", 8)}
_VARINTS: Mapping[DataType, str] = {types.INT: "read_int", types.LONG: "read_long"}
_NARROW: Mapping[DataType, str] = {types.BYTE: "read_byte", types.SHORT: "read_short"}
_NESTED = (ListType, MapType, StructType)
_SLICED: Mapping[DataType, str] = {types.STRING: ".decode()", types.BINARY: ""}


def _malformed() -> NoReturn:
    raise varints.Malformed


def _corrupt(data: bytes) -> CorruptValue:
    return CorruptValue(f"a stored value of {len(data)} bytes does not match its Avro schema: load or stream it again")


def _numbers(code: str) -> Callable[[bytes, int, int], tuple[object, ...]]:
    def read(data: bytes, start: int, count: int) -> tuple[object, ...]:
        return struct.unpack_from(f"<{count}{code}", data, start)

    return read


_GIVEN: dict[str, Any] = {
    "ZIGZAG": varints.ZIGZAG,
    "LENGTH": varints.LENGTH,
    "BOOLEANS": (False, True),
    "NESTED_MAX": NESTED_MAX,
    "read_long": varints.read_long,
    "read_int": varints.read_int,
    "read_byte": varints.read_narrow(8),
    "read_short": varints.read_narrow(16),
    "read_length": varints.read_length,
    "read_sized_block": varints.read_sized_block,
    "read_f": struct.Struct("<f").unpack_from,
    "read_d": struct.Struct("<d").unpack_from,
    "numbers_f": _numbers("f"),
    "numbers_d": _numbers("d"),
    "malformed": _malformed,
    "corrupt": _corrupt,
    "ERRORS": (varints.Malformed, IndexError, struct.error, UnicodeDecodeError),
}


def compile_decode(record: StructType) -> Decode:
    """Decodes one record. It raises CorruptValue, and ignores bytes after the record as Chronon does.

    Raises InvalidRequest here and now for a type without an Avro form, and for one of too many different types.
    """
    source = _Source(compact=types_within(record) > _INLINE_MAX)
    source.add(0, "def decode(data):", "    try:", "        p = 0; size = len(data)")
    source.add(2, "left = [NESTED_MAX + (size >> 4)]" if _nests(record) else "left = None")
    names = source.fields(record.fields, 2, 0)
    if _slices(record):
        source.add(2, "if p > size: malformed()")
    source.add(2, f"return {_tuple(names)}")
    source.add(1, "except ERRORS:", "    raise corrupt(data) from None")
    return source.compiled("decode")


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


class _Source:
    """Lines of Python. In them ``data`` are the bytes, ``size`` their number, ``p`` the position that is read next.
    ``left`` holds how many values may still be nested.

    ``compact``: fields are read by functions, one for each shape of a type, rather than by lines of their own.
    """

    def __init__(self, *, compact: bool) -> None:
        self._compact = compact
        self._lines: list[str] = []
        self._functions: list[str] = []
        self._readers: dict[object, str] = {}
        self._numbers = itertools.count()
        self._given: dict[str, Any] = dict(_GIVEN)

    def add(self, depth: int, *lines: str) -> None:
        self._lines.extend("    " * depth + line for line in lines)

    def compiled(self, name: str) -> Decode:
        lines = [*self._functions, *self._lines]
        if len(lines) > _LINES_MAX:
            raise InvalidRequest("a record of so many different types is not decoded: split its columns over several group bys")
        exec(compile("\n".join(lines), "<avro decoder>", "exec"), self._given)  # noqa: S102 — made of this module's constants alone
        made: Decode = self._given[name]
        return made

    def fields(self, fields: Sequence[Field], depth: int, loops: int) -> list[str]:
        """Reads the fields of a struct; returns the names of the variables that hold them."""
        names: list[str] = []
        for data_type, run in itertools.groupby(fields, key=lambda field: field.type):
            count = sum(1 for _ in run)
            targets = [self._variable() for _ in range(count)]
            if data_type in _FIXED and count > 1:
                self._run(data_type, targets, depth)
            else:
                self._each_nullable(data_type, targets, depth, loops)
            names += targets
        return names

    def _variable(self) -> str:
        return f"v{next(self._numbers)}"

    def _run(self, data_type: DataType, targets: list[str], depth: int) -> None:
        """Numbers of fixed size side by side are read at once where none is null: every so many bytes there is a 02."""
        code, width = _FIXED[data_type]
        count = len(targets)
        unpack = f"unpack_{count}{code}"
        self._given[unpack] = struct.Struct("<" + f"x{code}" * count).unpack_from
        step = width + 1
        self._given[f"TAGS_{count}"] = b"\x02" * count
        self.add(depth, f"if data[p:p + {step * count}:{step}] == TAGS_{count}:")
        self.add(depth + 1, f"{', '.join(targets)} = {unpack}(data, p)", f"p += {step * count}")
        self.add(depth, "else:")
        self._each_nullable(data_type, targets, depth + 1, 0)

    def _each_nullable(self, data_type: DataType, targets: list[str], depth: int, loops: int) -> None:
        for target in targets:
            if self._compact:
                self.add(depth, f"{target}, p = {self._nullable_reader(data_type)}(data, p, size, left)")
            else:
                self._nullable(data_type, target, depth, loops)

    def _nullable(self, data_type: DataType, target: str, depth: int, loops: int) -> None:
        self.add(depth, "t = data[p]", "if t == 2:")
        self._value(data_type, target, 1, depth + 1, loops)
        self.add(depth, "elif t: malformed()", f"else: {target} = None; p += 1")

    def _value(self, data_type: DataType, target: str, at: int, depth: int, loops: int) -> None:
        """Reads what is not null, ``at`` bytes after ``p``."""
        match data_type:
            case Primitive():
                self._primitive(data_type, target, at, depth)
            case StructType():
                self._struct(data_type, target, at, depth, loops)
            case ListType() | MapType() if loops >= _LOOPS_MAX:
                self.add(depth, f"{target}, p = {self._reader(data_type)}(data, p + {at}, size, left)")
            case ListType(element):
                self._list(element, target, at, depth, loops)
            case MapType(types.STRING, value):
                self._map(value, target, at, depth, loops)
            case _:
                raise InvalidRequest(f"values of the type {types.short_name(data_type)} have no Avro form")

    def _primitive(self, data_type: Primitive, target: str, at: int, depth: int) -> None:
        after, start = at + 1, f"p + {at}" if at else "p"
        if data_type in _VARINTS:
            self.add(depth, f"b = data[{start}]", f"if b < 128: {target} = ZIGZAG[b]; p += {after}")
            self.add(
                depth,
                "else:",
                f"    c = data[p + {after}]",
                f"    if c < 128: n = b + (c << 7) - 128; {target} = (n >> 1) ^ -(n & 1); p += {after + 1}",
            )
            self.add(depth + 1, f"else: {target}, p = {_VARINTS[data_type]}(data, {start})")
        elif data_type in _FIXED:
            code, width = _FIXED[data_type]
            self.add(depth, f"{target}, = read_{code}(data, {start}); p += {at + width}")
        elif data_type in _SLICED:
            self.add(depth, f"n = LENGTH[data[{start}]]", f"if n >= 0: s = p + {after}", f"else: n, s = read_length(data, {start})")
            self.add(depth, "p = s + n", f"{target} = data[s:p]{_SLICED[data_type]}")
        elif data_type == types.BOOLEAN:
            self.add(depth, f"{target} = BOOLEANS[data[{start}]]; p += {after}")
        elif data_type in _NARROW:
            self.add(depth, f"{target}, p = {_NARROW[data_type]}(data, {start})")
        else:
            raise InvalidRequest(f"values of the type {data_type.name} have no Avro form")

    def _struct(self, struct_type: StructType, target: str, at: int, depth: int, loops: int) -> None:
        if at:
            self.add(depth, f"p += {at}")
        self.add(depth, f"{target} = {_tuple(self.fields(struct_type.fields, depth, loops))}")

    def _blocks(self, target: str, empty: str, at: int, depth: int, *, item: DataType, least: int) -> None:
        """The head of the loop over the blocks of a list or a map; in it, ``n`` items of at least ``least`` bytes are to be read."""
        self.add(depth, f"{target} = {empty}" + (f"; p += {at}" if at else ""), "while True:")
        self.add(depth + 1, "b = data[p]", "if b < 128: n = ZIGZAG[b]; p += 1", "else: n, p = read_long(data, p)", "if n <= 0:")
        self.add(depth + 2, "if n == 0: break", "n, p = read_sized_block(data, p, n)")
        self.add(depth + 1, f"if n * {least} > size - p: malformed()")
        if isinstance(item, _NESTED):
            self.add(depth + 1, "left[0] -= n", "if left[0] < 0: malformed()")

    def _list(self, element: DataType, target: str, at: int, depth: int, loops: int) -> None:
        self._blocks(target, "[]", at, depth, item=element, least=least_size(element))
        inside = depth + 1
        if element in _FIXED:
            code, width = _FIXED[element]
            self.add(inside, f"{target} += numbers_{code}(data, p, n); p += {width} * n")
            return
        if element in _VARINTS:
            self.add(inside, "s = data[p:p + n]", "if s.isascii():", f"    {target} += [ZIGZAG[b] for b in s]", "    p += n; continue")
        item = self._variable()
        self.add(inside, f"a{item} = {target}.append", "for _ in range(n):")
        self._value(element, item, 0, inside + 1, loops + 1)
        self.add(inside + 1, f"a{item}({item})")

    def _map(self, value: DataType, target: str, at: int, depth: int, loops: int) -> None:
        self._blocks(target, "{}", at, depth, item=value, least=1 + least_size(value))
        key, item = self._variable(), self._variable()
        self.add(depth + 1, "for _ in range(n):")
        self._primitive(types.STRING, key, 0, depth + 2)
        self._value(value, item, 0, depth + 2, loops + 1)
        self.add(depth + 2, f"{target}[{key}] = {item}")

    def _reader(self, data_type: DataType) -> str:
        """The name of a function that reads what is not null."""
        return self._function(("value", shape(data_type)), lambda: self._value(data_type, "value", 0, 1, 0))

    def _nullable_reader(self, data_type: DataType) -> str:
        return self._function(shape(data_type), lambda: self._nullable(data_type, "value", 1, 0))

    def _function(self, key: object, write: Callable[[], None]) -> str:
        if key not in self._readers:
            name, outer = f"read_{next(self._numbers)}", self._lines
            self._lines = [f"def {name}(data, p, size, left):"]
            write()
            self.add(1, "return value, p")
            self._functions += self._lines
            self._lines, self._readers[key] = outer, name
        return self._readers[key]


def shape(data_type: DataType) -> object:
    """What the bytes of a type depend on: all but the names in it."""
    match data_type:
        case ListType(element):
            return ("list", shape(element))
        case MapType(_, value):
            return ("map", shape(value))
        case StructType():
            return tuple(shape(field.type) for field in data_type.fields)
        case _:
            return data_type


def least_size(data_type: DataType) -> int:
    """The fewest bytes that a value, which is not null, takes."""
    if isinstance(data_type, StructType):
        return len(data_type.fields)
    return _FIXED[data_type][1] if data_type in _FIXED else 1


def _nests(data_type: DataType) -> bool:
    """Whether there are lists, maps or structs within its lists and maps."""
    match data_type:
        case ListType(item) | MapType(_, item):
            return isinstance(item, _NESTED)
        case StructType():
            return any(_nests(field.type) for field in data_type.fields)
        case _:
            return False


def _slices(data_type: DataType) -> bool:
    """Whether a value is read by slicing, which does not fail beyond the end."""
    match data_type:
        case ListType(element):
            return _slices(element)
        case StructType():
            return any(_slices(field.type) for field in data_type.fields)
        case MapType():
            return True
        case _:
            return data_type in _SLICED

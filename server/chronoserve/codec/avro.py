"""Chronon's types as Avro schemas and back, in the very text that Chronon writes (spec/aggregation-and-codecs.md §2, §3.1).

Every field of a record may be null; the items of arrays and the values of maps may not. A schema of any other shape was
not made by Chronon and is refused: its bytes would be read wrongly.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from chronoserve.model import types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.naming import sanitize
from chronoserve.model.types import DataType, Field, ListType, MapType, Primitive, StructType

NAMESPACE = "ai.chronon.data"
REPEATED = "_REPEATED_NAME_"

SCHEMA_TEXT_MAX = 4 << 20
"""Characters of a schema that are read."""
NODES_MAX = 20_000
"""Types within a type. A thousand features of the deepest IRs are some 7,000."""
DEPTH_MAX = 32

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AVRO_OF: Mapping[Primitive, object] = {
    types.BOOLEAN: "boolean",
    types.BYTE: {"type": "int", "logicalType": "byte"},
    types.SHORT: {"type": "int", "logicalType": "short"},
    types.INT: "int",
    types.LONG: "long",
    types.FLOAT: "float",
    types.DOUBLE: "double",
    types.STRING: "string",
    types.BINARY: "bytes",
}
_PRIMITIVES = {text: primitive for primitive, text in _AVRO_OF.items() if isinstance(text, str)}
_LOGICAL_INTS = {None: types.INT, "byte": types.BYTE, "short": types.SHORT}


def schema_text(data_type: StructType, *, pretty: bool = False) -> str:
    """The schema of a record. ``pretty``: as upload tables and serving infos have it, else as logging schemas do.

    Raises InvalidRequest for a type without an Avro form (dates, timestamps, maps whose keys are no strings) and for a
    name that starts with a digit.
    """
    tree = _record(data_type, _Names(), top=True)
    return _pretty(tree) if pretty else json.dumps(tree, separators=(",", ":"))


class _Names:
    """The names of one schema, records and fields alike: each is given once (spec §3.1)."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._next: dict[str, int] = {}

    def give(self, name: str) -> str:
        clean = sanitize(name)
        if not _NAME.fullmatch(clean):
            raise InvalidRequest(f"the name {name!r} starts with a character that Avro refuses there: rename the column", field=name)
        given = clean
        while given in self._given:
            index = self._next.get(clean, 0)
            self._next[clean] = index + 1
            given = f"{clean}{REPEATED}{index}"
        self._given.add(given)
        return given


def _record(struct: StructType, names: _Names, *, top: bool = False) -> dict[str, object]:
    record: dict[str, object] = {"type": "record", "name": names.give(struct.name)}
    if top:
        record["namespace"] = NAMESPACE
    return record | {"doc": "", "fields": [_field(field, names) for field in struct.fields]}


def _field(field: Field, names: _Names) -> dict[str, object]:
    name = names.give(field.name)
    return {"name": name, "type": ["null", _avro(field.type, field.name, names)], "doc": ""}


def _avro(data_type: DataType, owner: str, names: _Names) -> object:
    match data_type:
        case Primitive() if data_type in _AVRO_OF:
            return _AVRO_OF[data_type]
        case ListType(element):
            return {"type": "array", "items": _avro(element, owner, names)}
        case MapType(types.STRING, value):
            return {"type": "map", "values": _avro(value, owner, names)}
        case StructType():
            return _record(data_type, names)
        case MapType(key):
            why = f"the keys of the map {owner!r} are of the type {types.short_name(key)}: Avro has only string keys"
            raise InvalidRequest(why, field=owner)
        case _:
            name = types.short_name(data_type)
            raise InvalidRequest(f"{owner!r} has the type {name}, which has no Avro form: cast it to string", field=owner)


def _pretty(node: object, indent: str = "") -> str:
    """Laid out as Avro's Java library does: objects on lines of their own, arrays on one."""
    deeper = indent + "  "
    match node:
        case dict():
            inside = ",".join(f"\n{deeper}{json.dumps(key)} : {_pretty(value, deeper)}" for key, value in node.items())
            return f"{{{inside}\n{indent}}}"
        case list():
            return f"[ {', '.join(_pretty(item, indent) for item in node)} ]" if node else "[ ]"
        case _:
            return json.dumps(node)


def type_of(schema: str, *, clean: bool = False) -> StructType:
    """The type of a record's schema. ``clean``: names end before ``_REPEATED_NAME_``, as the columns were called.

    Raises InvalidRequest where ``schema`` is no text that Chronon would write.
    """
    if len(schema) > SCHEMA_TEXT_MAX:
        raise InvalidRequest(f"an Avro schema of {len(schema)} characters is too long; {SCHEMA_TEXT_MAX} are read")
    try:
        tree = json.loads(schema)
    except (ValueError, RecursionError):
        raise InvalidRequest("the Avro schema is no JSON") from None
    read = _Reader(clean=clean).type(tree, "", DEPTH_MAX)
    if not isinstance(read, StructType):
        raise InvalidRequest("the Avro schema is of no record")
    return read


class _Reader:
    def __init__(self, *, clean: bool) -> None:
        self._clean = clean
        self._records: dict[str, StructType] = {}
        self._nodes = 0

    def type(self, tree: Any, path: str, depth: int) -> DataType:
        if depth == 0:
            raise _refused(path, f"is nested deeper than {DEPTH_MAX} types")
        self._count(1)
        match tree:
            case str() if tree in _PRIMITIVES:
                return _PRIMITIVES[tree]
            case str() if (name := tree.removeprefix(NAMESPACE + ".")) in self._records:
                record = self._records[name]
                self._count(types_within(record))
                return record
            case {"type": "int"}:
                return self._int(tree.get("logicalType"), path)
            case {"type": "array", "items": items}:
                return ListType(self.type(items, f"{path}[]", depth - 1))
            case {"type": "map", "values": values}:
                return MapType(types.STRING, self.type(values, f"{path}{{}}", depth - 1))
            case {"type": "record", "name": str(name), "fields": list(fields)}:
                return self._record(name, fields, path, depth)
            case {"type": str(primitive)} if primitive in _PRIMITIVES:
                return _PRIMITIVES[primitive]
            case _:
                raise _refused(path, "is of a type that Chronon does not write")

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise InvalidRequest(f"the Avro schema has more than {NODES_MAX} types")

    def _int(self, logical: object, path: str) -> DataType:
        if isinstance(logical, str | None) and logical in _LOGICAL_INTS:
            return _LOGICAL_INTS[logical]
        raise _refused(path, "is an int of a logical type that Chronon does not write")

    def _record(self, name: str, fields: list[object], path: str, depth: int) -> StructType:
        simple = name.removeprefix(NAMESPACE + ".")
        record = StructType(self._called(simple), tuple(self._field(field, path, depth) for field in fields))
        self._records[simple] = record
        return record

    def _field(self, tree: object, path: str, depth: int) -> Field:
        match tree:
            case {"name": str(name), "type": ["null", branch]}:
                return Field(self._called(name), self.type(branch, f"{path}.{name}" if path else name, depth - 1))
            case {"name": str(name)}:
                raise _refused(f"{path}.{name}" if path else name, 'is not of the form ["null", type]')
            case _:
                raise _refused(path, "has a field without a name")

    def _called(self, name: str) -> str:
        return name.partition(REPEATED)[0] if self._clean else name


def types_within(data_type: DataType) -> int:
    """How many types a type is made of, itself included."""
    match data_type:
        case ListType(inside) | MapType(_, inside):
            return 1 + types_within(inside)
        case StructType():
            return 1 + sum(types_within(field.type) for field in data_type.fields)
        case _:
            return 1


def _refused(path: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"in the Avro schema, {path or 'the record'} {why}", field=path)

"""Chronon's configuration structs as Thrift has them, and the reader of their simple JSON (spec/aggregation-and-codecs.md §4).

In that JSON fields go by name, enums are numbers and booleans 1 and 0. The reader takes what Chronon's own takes, and
more: names of enums, true and false, unknown fields, which it drops.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from chronoserve.model.confs import Accuracy, Operation, TimeUnit
from chronoserve.model.errors import InvalidRequest

BYTES_MAX = 8 << 20
CONTAINERS_MAX = 50_000
"""Braces and brackets in a text, those within strings included."""
SEPARATORS_MAX = 200_000
DEPTH_MAX = 64
"""Structs, lists and maps within each other. A join on a join on a join takes some 20."""


class DataKind(enum.IntEnum):
    """The kinds of TDataType."""

    BOOLEAN = 0
    BYTE = 1
    SHORT = 2
    INT = 3
    LONG = 4
    FLOAT = 5
    DOUBLE = 6
    STRING = 7
    BINARY = 8
    DATE = 9
    TIMESTAMP = 10
    MAP = 11
    LIST = 12
    STRUCT = 13


@dataclass(frozen=True, slots=True)
class Of:
    """A list of, or a map from texts to, ``item``."""

    container: type
    item: "Kind"


Kind = type | Of | str
"""str, bool, int (32 bits), float, an enum, a container, or a struct by its name in STRUCTS."""

_TEXTS, _TEXT_MAP = Of(list, str), Of(dict, str)

STRUCTS: Mapping[str, Mapping[str, Kind]] = {
    "Query": {
        "selects": _TEXT_MAP,
        "wheres": _TEXTS,
        "startPartition": str,
        "endPartition": str,
        "timeColumn": str,
        "setups": _TEXTS,
        "mutationTimeColumn": str,
        "reversalColumn": str,
        "partitionColumn": str,
    },
    "EventSource": {"table": str, "topic": str, "query": "Query", "isCumulative": bool},
    "EntitySource": {"snapshotTable": str, "mutationTable": str, "mutationTopic": str, "query": "Query"},
    "JoinSource": {"join": "Join", "query": "Query"},
    "Source": {"events": "EventSource", "entities": "EntitySource", "joinSource": "JoinSource"},
    "Window": {"length": int, "timeUnit": TimeUnit},
    "Aggregation": {
        "inputColumn": str,
        "operation": Operation,
        "argMap": _TEXT_MAP,
        "windows": Of(list, "Window"),
        "buckets": _TEXTS,
        "elementWise": bool,
    },
    "MetaData": {
        "name": str,
        "online": bool,
        "production": bool,
        "customJson": str,
        "dependencies": _TEXTS,
        "tableProperties": _TEXT_MAP,
        "outputNamespace": str,
        "team": str,
        "modeToEnvMap": Of(dict, _TEXT_MAP),
        "consistencyCheck": bool,
        "samplePercent": float,
        "offlineSchedule": str,
        "consistencySamplePercent": float,
        "historicalBackfill": bool,
        "deprecationDate": str,
        "description": str,
    },
    "Derivation": {"name": str, "expression": str, "metaData": "MetaData"},
    "GroupBy": {
        "metaData": "MetaData",
        "sources": Of(list, "Source"),
        "keyColumns": _TEXTS,
        "aggregations": Of(list, "Aggregation"),
        "accuracy": Accuracy,
        "backfillStartDate": str,
        "derivations": Of(list, "Derivation"),
        "isIncremental": bool,
    },
    "JoinPart": {"groupBy": "GroupBy", "keyMapping": _TEXT_MAP, "prefix": str},
    "DataField": {"name": str, "dataType": "TDataType"},
    "TDataType": {"kind": DataKind, "params": Of(list, "DataField"), "name": str},
    "ExternalSourceFactoryConfig": {"factoryName": str, "factoryParams": _TEXT_MAP},
    "ExternalSource": {
        "metadata": "MetaData",
        "keySchema": "TDataType",
        "valueSchema": "TDataType",
        "factoryConfig": "ExternalSourceFactoryConfig",
        "offlineGroupBy": "GroupBy",
    },
    "ExternalPart": {"source": "ExternalSource", "keyMapping": _TEXT_MAP, "prefix": str},
    "InferenceSpec": {"modelBackend": str, "modelBackendParams": _TEXT_MAP},
    "Model": {"metaData": "MetaData", "inferenceSpec": "InferenceSpec", "inputSchema": "TDataType", "outputSchema": "TDataType"},
    "ModelTransform": {"model": "Model", "inputMappings": _TEXT_MAP, "outputMappings": _TEXT_MAP, "prefix": str},
    "ModelTransforms": {"transforms": Of(list, "ModelTransform"), "passthroughFields": _TEXTS},
    "BootstrapPart": {"metaData": "MetaData", "table": str, "query": "Query", "keyColumns": _TEXTS},
    "LabelPart": {"labels": Of(list, "JoinPart"), "leftStartOffset": int, "leftEndOffset": int, "metaData": "MetaData"},
    "Join": {
        "metaData": "MetaData",
        "left": "Source",
        "joinParts": Of(list, "JoinPart"),
        "skewKeys": Of(dict, _TEXTS),
        "onlineExternalParts": Of(list, "ExternalPart"),
        "labelPart": "LabelPart",
        "bootstrapParts": Of(list, "BootstrapPart"),
        "rowIds": _TEXTS,
        "derivations": Of(list, "Derivation"),
        "modelTransforms": "ModelTransforms",
    },
    "StagingQuery": {"metaData": "MetaData", "query": str, "startPartition": str, "setups": _TEXTS, "createView": bool},
    "GroupByServingInfo": {
        "groupBy": "GroupBy",
        "inputAvroSchema": str,
        "selectedAvroSchema": str,
        "keyAvroSchema": str,
        "batchEndDate": str,
        "dateFormat": str,
    },
}
"""The fields of each struct in the order of their Thrift numbers."""

DEFAULTS: Mapping[str, Mapping[str, object]] = {"Query": {"setups": []}, "Window": {"length": 0}}
"""What Chronon writes where a field is absent."""


def parsed(text: str | bytes) -> object:
    """JSON as Python objects. Raises InvalidRequest for a text that is no JSON, and for one that is out of proportion."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > BYTES_MAX:
        raise InvalidRequest(f"a configuration of {len(data)} bytes is too long; {BYTES_MAX} are read")
    if data.count(b"{") + data.count(b"[") > CONTAINERS_MAX or data.count(b",") > SEPARATORS_MAX:
        raise InvalidRequest("a configuration of so many parts is not read: divide it")
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise InvalidRequest("the configuration is no JSON") from None


class Misread(Exception):
    """What is wrong at a place in a conf; ``path`` leads there from the whole and grows on the way out."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.path = path

    def within(self, step: str) -> "Misread":
        self.path = f"{step}.{self.path}" if self.path and self.path[0] != "[" else step + self.path
        return self


T = TypeVar("T")


def read(struct: str, tree: object, build: Callable[[dict[str, Any]], T]) -> T:
    """What ``build`` makes of a struct's fields as far as they are there, in the text's order: enums as members, structs as dicts.

    A field that is null is absent. Raises InvalidRequest that names the path of a field of the wrong type, and of what ``build``
    raises Misread for.
    """
    try:
        return build(_struct(struct, tree, 0))
    except Misread as misread:
        path = misread.path
        raise InvalidRequest(f"in the configuration, {path[:200] or 'the whole'} {misread.what}", field=path) from None


def _struct(struct: str, tree: object, depth: int) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise Misread("must be an object")
    if depth > DEPTH_MAX:
        raise Misread(f"is nested deeper than {DEPTH_MAX} levels")
    kinds = STRUCTS[struct]
    read_fields = {}
    name = ""
    try:
        for name, value in tree.items():
            if name in kinds and value is not None:
                read_fields[name] = _value(kinds[name], value, depth + 1)
    except Misread as misread:
        raise misread.within(name) from None
    return read_fields


def _value(kind: Kind, value: object, depth: int) -> object:
    if value is None:
        raise Misread("must not be null")
    if isinstance(kind, str):
        return _struct(kind, value, depth)
    if isinstance(kind, Of):
        return _list(kind.item, value, depth) if kind.container is list else _map(kind.item, value, depth)
    if issubclass(kind, enum.IntEnum):
        return _enum(kind, value)
    return _SCALARS[kind](value)


def _list(item: Kind, value: object, depth: int) -> list[object]:
    if not isinstance(value, list):
        raise Misread("must be a list")
    index = 0
    read_items = []
    try:
        for index, each in enumerate(value):  # noqa: B007 — the handler below needs it
            read_items.append(_value(item, each, depth + 1))
    except Misread as misread:
        raise misread.within(f"[{index}]") from None
    return read_items


def _map(item: Kind, value: object, depth: int) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Misread("must be an object")
    read_items = {}
    key = ""
    try:
        for key, each in value.items():
            read_items[key] = _value(item, each, depth + 1)
    except Misread as misread:
        raise misread.within(f"[{key!r}]") from None
    return read_items


def _enum(members: type[enum.IntEnum], value: object) -> enum.IntEnum:
    if isinstance(value, int) and not isinstance(value, bool) and value in members._value2member_map_:
        return members(value)
    if isinstance(value, str) and value in members.__members__:
        return members[value]
    raise Misread(f"must be one of {', '.join(f'{int(member)} ({member.name})' for member in members)}")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise Misread("must be a text")


def _boolean(value: object) -> bool:
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise Misread("must be true, false, 1 or 0")


def _i32(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << 31) <= value < 1 << 31:
        return value
    raise Misread("must be an integer of 32 bits")


def _double(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise Misread("is beyond the range of doubles") from None
    raise Misread("must be a number")


_SCALARS: Mapping[type, Callable[[object], object]] = {str: _text, bool: _boolean, int: _i32, float: _double}

"""Chronon's configuration structs as Thrift has them, and the reader of their simple JSON (spec/aggregation-and-codecs.md §4).

In that JSON fields go by name, enums are numbers and booleans 1 and 0. The reader takes what Chronon's own takes, and
more: names of enums, true and false, unknown fields, which it drops.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from chronoserve.model.confs import Accuracy, Operation, TimeUnit
from chronoserve.model.errors import InvalidRequest

BYTES_MAX = 8 << 20
CONTAINERS_MAX = 100_000
"""Braces and brackets in a text, those within strings included."""
SEPARATORS_MAX = 400_000
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


def read(struct: str, tree: object) -> dict[str, Any]:
    """A struct's fields as far as they are there, in Thrift's order: enums as members, structs as such dicts again.

    A field that is null is absent. Raises InvalidRequest that names the path of a field of the wrong type.
    """
    return _struct(struct, tree, "", 0)


def _struct(struct: str, tree: object, path: str, depth: int) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise _wrong(path, "an object")
    if depth > DEPTH_MAX:
        raise InvalidRequest(f"the configuration is nested deeper than {DEPTH_MAX} levels at {path[:200]}", field=path)
    read_fields = {}
    for name, kind in STRUCTS[struct].items():
        value = tree.get(name)
        if value is not None:
            read_fields[name] = _value(kind, value, f"{path}.{name}" if path else name, depth + 1)
    return read_fields


def _value(kind: Kind, value: object, path: str, depth: int) -> object:
    if isinstance(kind, str):
        return _struct(kind, value, path, depth)
    if isinstance(kind, Of):
        return _list(kind.item, value, path, depth) if kind.container is list else _map(kind.item, value, path, depth)
    if issubclass(kind, enum.IntEnum):
        return _enum(kind, value, path)
    return _SCALARS[kind](value, path)


def _list(item: Kind, value: object, path: str, depth: int) -> list[object]:
    if not isinstance(value, list):
        raise _wrong(path, "a list")
    return [_item(item, each, f"{path}[{index}]", depth + 1) for index, each in enumerate(value)]


def _map(item: Kind, value: object, path: str, depth: int) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(path, "an object")
    return {key: _item(item, each, f"{path}[{key!r}]", depth + 1) for key, each in value.items()}


def _item(kind: Kind, value: object, path: str, depth: int) -> object:
    if value is None:
        raise _wrong(path, "something other than null")
    return _value(kind, value, path, depth)


def _enum(members: type[enum.IntEnum], value: object, path: str) -> enum.IntEnum:
    if isinstance(value, int) and not isinstance(value, bool) and value in members._value2member_map_:
        return members(value)
    if isinstance(value, str) and value in members.__members__:
        return members[value]
    raise _wrong(path, f"one of {', '.join(f'{int(member)} ({member.name})' for member in members)}")


def _text(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(path, "a text")


def _boolean(value: object, path: str) -> bool:
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _wrong(path, "true, false, 1 or 0")


def _i32(value: object, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << 31) <= value < 1 << 31:
        return value
    raise _wrong(path, "an integer of 32 bits")


def _double(value: object, path: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _wrong(path, "a number")


_SCALARS: Mapping[type, Callable[[object, str], object]] = {str: _text, bool: _boolean, int: _i32, float: _double}


def _wrong(path: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"in the configuration, {path[:200] or 'the whole'} must be {wanted}", field=path)

"""Values and types as JSON in which Java's types survive: the notation of golden/README.md.

``{"int":1}`` is an Integer and ``{"long":1}`` a Long; floating numbers are texts, so that NaN and -0.0 are numbers too.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chronoserve.model import boxed, java_numbers, types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType, Field, ListType, MapType, StructType, UnknownType


@dataclass(frozen=True, slots=True)
class Foreign:
    """An object of the JVM without a Chronon type. ``kind``: ``other`` (a decimal) or ``throwable``; ``text``: ``class:text``."""

    kind: str
    text: str


def _floating(text: object) -> float:
    if not isinstance(text, str):
        raise InvalidRequest("a tagged float or double is written as a text")
    return float(text.replace("Infinity", "inf"))


def _integer(number: object) -> int:
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    raise InvalidRequest("a tagged integer is written as a JSON integer")


_UNTAG: Mapping[str, Callable[[object], object]] = {
    "int": lambda value: boxed.Int(_integer(value)),
    "long": _integer,
    "short": lambda value: boxed.Short(_integer(value)),
    "byte": lambda value: boxed.Byte(_integer(value)),
    "float": lambda value: boxed.Float(java_numbers.as_float32(_floating(value))),
    "double": _floating,
    "bytes": lambda value: bytes.fromhex(str(value)),
    "map": lambda value: {untag(key): untag(item) for key, item in _pairs(value)},
    "struct": lambda value: tuple(untag(item) for item in _items(value)),
    "other": lambda value: Foreign("other", str(value)),
    "throwable": lambda value: Foreign("throwable", str(value)),
}


def _items(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    raise InvalidRequest("a tagged list, map or struct is written as a JSON array")


def _pairs(value: object) -> list[tuple[object, object]]:
    pairs = [_items(pair) for pair in _items(value)]
    if any(len(pair) != 2 for pair in pairs):
        raise InvalidRequest("a tagged map is written as an array of pairs")
    return [(pair[0], pair[1]) for pair in pairs]


def untag(value: object) -> object:
    """A tagged value as Python has it, numbers in the boxes of ``model.boxed``; raises InvalidRequest on an unknown tag."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, list):
        return [untag(item) for item in value]
    if isinstance(value, dict) and len(value) == 1:
        ((tag_name, inside),) = value.items()
        if tag_name in _UNTAG:
            return _UNTAG[tag_name](inside)
    raise InvalidRequest("not a tagged value")


_TAG_OF_TYPE: Mapping[DataType | None, str] = {
    types.BYTE: "byte",
    types.SHORT: "short",
    types.INT: "int",
    types.DATE: "int",
    types.LONG: "long",
    types.TIMESTAMP: "long",
}
_TAG_OF_BOX = {boxed.Int: "int", boxed.Short: "short", boxed.Byte: "byte", int: "long"}


def tag(value: object, data_type: DataType | None = None) -> object:
    """``value`` as tagged JSON. Numbers are as wide as ``data_type`` says; as their box says where it is None or says nothing."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return {_TAG_OF_TYPE.get(data_type) or _TAG_OF_BOX[type(value)]: int(value)}
        case float():
            return _tagged_float(value, data_type)
        case bytes():
            return {"bytes": value.hex()}
        case list():
            element = data_type.element if isinstance(data_type, ListType) else None
            return [tag(item, element) for item in value]
        case tuple():
            return {"struct": [tag(item, field_type) for item, field_type in zip(value, _field_types(data_type, len(value)), strict=True)]}
        case dict():
            return {"map": sorted((_tagged_pair(key, item, data_type) for key, item in value.items()), key=json.dumps)}
        case Foreign():
            return {value.kind: value.text}
        case _:
            raise InvalidRequest(f"a {type(value).__name__} has no tagged form")


def _tagged_float(value: float, data_type: DataType | None) -> object:
    narrow = data_type is types.FLOAT or (data_type is not types.DOUBLE and isinstance(value, boxed.Float))
    return {"float": java_numbers.float_text(value)} if narrow else {"double": java_numbers.double_text(value)}


def _field_types(data_type: DataType | None, count: int) -> list[DataType | None]:
    if isinstance(data_type, StructType) and len(data_type.fields) == count:
        return [field.type for field in data_type.fields]
    return [None] * count


def _tagged_pair(key: object, item: object, data_type: DataType | None) -> list[object]:
    match data_type:
        case MapType(key_type, value_type):
            return [tag(key, key_type), tag(item, value_type)]
        case StructType():
            return [key, tag(item, data_type.type_of(str(key)))]
        case _:
            return [tag(key), tag(item)]


def alike(left: object, right: object, *, tolerance: float = 0.0) -> bool:
    """Whether two values are the same, boxes and their widths aside; NaN equals itself.

    ``tolerance``: by how much floating numbers may differ, as a part of the larger one.
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float | int) and isinstance(right, float | int):
        return left == right or (left != left and right != right) or math.isclose(left, right, rel_tol=tolerance)  # noqa: PLR0124
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        pairs_up = len(left) == len(right) and isinstance(left, list) == isinstance(right, list)
        return pairs_up and all(alike(*pair, tolerance=tolerance) for pair in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(item, right[key], tolerance=tolerance) for key, item in left.items())
    return bool(left == right)


_NAMED = {
    primitive.name: primitive
    for primitive in (
        *(types.BOOLEAN, types.BYTE, types.SHORT, types.INT, types.LONG, types.FLOAT, types.DOUBLE),
        *(types.STRING, types.BINARY, types.DATE, types.TIMESTAMP),
    )
}


def type_from(tree: object) -> DataType:
    """A type of the golden notation: ``"long"``, ``{"list":T}``, ``{"map":[K,V]}``, ``{"struct":name,"fields":[[name,T],…]}``."""
    match tree:
        case str() if tree in _NAMED:
            return _NAMED[tree]
        case str():
            return UnknownType(tree)
        case {"list": element}:
            return ListType(type_from(element))
        case {"map": [key, value]}:
            return MapType(type_from(key), type_from(value))
        case {"struct": str(name), "fields": list(fields)}:
            return StructType(name, tuple(Field(field, type_from(inside)) for field, inside in fields))
        case _:
            raise InvalidRequest("not a type of the tagged notation")


def type_to_json(data_type: DataType) -> object:
    """``type_from`` gives it back."""
    match data_type:
        case ListType(element):
            return {"list": type_to_json(element)}
        case MapType(key, value):
            return {"map": [type_to_json(key), type_to_json(value)]}
        case StructType(name, fields):
            return {"struct": name, "fields": [[field.name, type_to_json(field.type)] for field in fields]}
        case UnknownType():
            return data_type.text or types.short_name(data_type)
        case _:
            return types.short_name(data_type)

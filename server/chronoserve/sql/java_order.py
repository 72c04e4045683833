"""The order in which Java's HashMap lists its keys: the one that a decoded map has when Spark makes lists and texts of it."""

from collections.abc import Mapping
from typing import Any

from chronoserve.model.types import STRING, MapType
from chronoserve.sql.nodes import Column, Node, strict
from chronoserve.sql.numbers import wrap_int

BUCKETS_MIN = 16


def string_hash(text: str) -> int:
    """``String.hashCode``."""
    code = 0
    for letter in text:
        point = ord(letter)
        if point > 0xFFFF:
            high, low = 0xD800 + (point - 0x10000 >> 10), 0xDC00 + (point & 0x3FF)
            code = (code * 31 + high) * 31 + low
        else:
            code = code * 31 + point
    return wrap_int(code)


def bucket_of(text: str, buckets: int) -> int:
    code = string_hash(text)
    return (code ^ (code & 0xFFFFFFFF) >> 16) & buckets - 1


def in_java_order(entries: Mapping[str, Any]) -> dict[str, Any]:
    """By bucket; keys of one bucket stay in the order in which they came."""
    if len(entries) < 2:
        return dict(entries)
    buckets = BUCKETS_MIN
    while len(entries) > buckets * 3 // 4:
        buckets *= 2
    return {key: entries[key] for key in sorted(entries, key=lambda name: bucket_of(name, buckets))}


def ordered(node: Node) -> Node:
    """A map column in Java's order; any other node as it is."""
    if isinstance(node, Column) and isinstance(node.type, MapType) and node.type.key == STRING:
        return strict("java order", node.type, in_java_order, node)
    return node

"""A record as Avro's JSON encoding has it: the ``key_json`` and ``value_json`` of upload tables (§12), for people to look at."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from chronoserve.codec.avro import schema_text
from chronoserve.model.java_numbers import double_text, float_text
from chronoserve.model.types import StructType

Write = Callable[[Any], str]
"""Of a value that is not null."""

_ESCAPED = re.compile(r"((?<!\\)(?:\\\\)*\\u)([0-9a-f]{4})")
_encode = json.JSONEncoder(ensure_ascii=False).encode


class AvroJson:
    """Writes records of one type."""

    def __init__(self, of: StructType) -> None:
        self._write = _writer(json.loads(schema_text(of)))

    def text(self, row: Sequence[Any]) -> str:
        """Compact, as Java's encoder writes it: numbers in Java's words, bytes as characters."""
        return self._write(row)


def _writer(schema: Any) -> Write:
    match schema["type"] if isinstance(schema, dict) else schema:
        case "record":
            return _record(schema)
        case "array":
            item = _writer(schema["items"])
            return lambda value: "[" + ",".join(map(item, value)) + "]"
        case "map":
            item = _writer(schema["values"])
            return lambda value: "{" + ",".join(f"{_quoted(key)}:{item(each)}" for key, each in value.items()) + "}"
        case "bytes":
            return lambda value: _quoted(value.decode("latin-1"))
        case "double":
            return _number(double_text)
        case "float":
            return _number(float_text)
        case "string":
            return _quoted
        case _:
            return lambda value: str(value) if type(value) is int else _encode(value)


def _record(schema: Mapping[str, Any]) -> Write:
    names = [field["name"] for field in schema["fields"]]
    writers = [_nullable(_quoted(field["name"]), field["type"][1]) for field in schema["fields"]]

    def write(value: Any) -> str:
        parts = [value.get(name) for name in names] if isinstance(value, Mapping) else value
        return "{" + ",".join(write_part(part) for write_part, part in zip(writers, parts, strict=True)) + "}"

    return write


def _nullable(name: str, schema: Any) -> Write:
    """A field behind its name; its value with its branch, as a union has it."""
    write, null, head = _writer(schema), f"{name}:null", f"{name}:{{{_quoted(_branch(schema))}:"
    return lambda value: null if value is None else f"{head}{write(value)}}}"


def _branch(schema: Any) -> str:
    if not isinstance(schema, dict):
        return str(schema)
    return f"{schema['namespace']}.{schema['name']}" if "namespace" in schema else _full_name(schema)


def _full_name(schema: Mapping[str, Any]) -> str:
    return f"ai.chronon.data.{schema['name']}" if schema["type"] == "record" else str(schema["type"])


def _number(text: Callable[[float], str]) -> Write:
    def write(value: float) -> str:
        if isfinite(value):
            return text(value)
        return '"NaN"' if value != value else f'"{"-" if value < 0 else ""}Infinity"'  # noqa: PLR0124 - NaN

    return write


def _quoted(text: str) -> str:
    """Java writes the digits of an escaped character in capitals."""
    quoted = _encode(text)
    return _ESCAPED.sub(lambda found: found[1] + found[2].upper(), quoted) if "\\u" in quoted else quoted

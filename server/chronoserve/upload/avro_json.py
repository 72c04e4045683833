"""A record as Avro's JSON encoding has it: the ``key_json`` and ``value_json`` of upload tables (§12), for people to look at."""

import json
import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from chronoserve.codec.avro import schema_text
from chronoserve.model.java_numbers import double_text, float_text
from chronoserve.model.types import StructType

_ESCAPED = re.compile(r"((?<!\\)(?:\\\\)*\\u)([0-9a-f]{4})")


class AvroJson:
    """Writes records of one type."""

    def __init__(self, of: StructType) -> None:
        self._schema = json.loads(schema_text(of))

    def text(self, row: Sequence[Any]) -> str:
        """Compact, as Java's encoder writes it: numbers in Java's words, bytes as characters."""
        return _text(row, self._schema)


def _text(value: Any, schema: Any) -> str:
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            return _record(value, schema)
        case "array":
            return "[" + ",".join(_text(item, schema["items"]) for item in value) + "]"
        case "map":
            return "{" + ",".join(f"{_quoted(key)}:{_text(item, schema['values'])}" for key, item in value.items()) + "}"
        case "bytes":
            return _quoted(value.decode("latin-1"))
        case "double" | "float":
            return _number(value, kind)
        case _:
            return _quoted(value) if kind == "string" else json.dumps(value)


def _record(value: Any, schema: Mapping[str, Any]) -> str:
    fields = schema["fields"]
    parts = [value.get(field["name"]) for field in fields] if isinstance(value, Mapping) else value
    inner = ",".join(f"{_quoted(field['name'])}:{_nullable(part, field['type'][1])}" for field, part in zip(fields, parts, strict=True))
    return "{" + inner + "}"


def _nullable(value: Any, schema: Any) -> str:
    """A field's value: its branch by name, as a union has it."""
    return "null" if value is None else f"{{{_quoted(_branch(schema))}:{_text(value, schema)}}}"


def _branch(schema: Any) -> str:
    if not isinstance(schema, dict):
        return str(schema)
    return f"{schema['namespace']}.{schema['name']}" if "namespace" in schema else _full_name(schema)


def _full_name(schema: Mapping[str, Any]) -> str:
    return f"ai.chronon.data.{schema['name']}" if schema["type"] == "record" else str(schema["type"])


def _number(value: float, kind: str) -> str:
    if not isfinite(value):
        return '"NaN"' if value != value else f'"{"-" if value < 0 else ""}Infinity"'  # noqa: PLR0124 - NaN
    return double_text(value) if kind == "double" else float_text(value)


def _quoted(text: str) -> str:
    """Java writes the digits of an escaped character in capitals."""
    return _ESCAPED.sub(lambda found: found[1] + found[2].upper(), json.dumps(text, ensure_ascii=False))

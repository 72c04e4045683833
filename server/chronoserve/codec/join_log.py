"""What a join's logged responses are written with, and the control event that publishes it (spec/aggregation-and-codecs.md §19.1)."""

import json
from dataclasses import dataclass

from chronoserve.codec.hashes import md5_base64_10
from chronoserve.model.naming import SCHEMA_PUBLISH_EVENT, name_to_file_path, sanitize

_HTML = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&='\u2028\u2029"})
"""What Gson escapes in texts, so that JSON may stand in a web page."""


def key_record_name(join_name: str) -> str:
    return f"{sanitize(name_to_file_path(join_name))}_key"


def base_record_name(join_name: str) -> str:
    """The record of a join's features before derivations."""
    return f"{sanitize(name_to_file_path(join_name))}_value"


def value_record_name(join_name: str) -> str:
    """The record that is logged: features before and after derivations."""
    return f"join_combined_{sanitize(join_name)}"


def logging_schema(join_name: str, key_schema: str, value_schema: str) -> str:
    """The text that is published; ``join_name`` as the conf has it, schemas as compact Avro texts."""
    texts = {"join_name": join_name, "key_schema": key_schema, "value_schema": value_schema}
    return json.dumps(texts, separators=(",", ":"), ensure_ascii=False).translate(_HTML)


def schema_hash(join_name: str, key_schema: str, value_schema: str) -> str:
    """Ten characters by which a log row names its schemas."""
    return md5_base64_10(logging_schema(join_name, key_schema, value_schema))


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """The log row that publishes schemas; its ``schema_hash`` column is null. It has to go before rows of that hash."""

    key_bytes: bytes
    """UTF-8 of the hash."""
    value_bytes: bytes
    """UTF-8 of the logging schema."""
    join_name: str = SCHEMA_PUBLISH_EVENT


def control_event(join_name: str, key_schema: str, value_schema: str) -> ControlEvent:
    text = logging_schema(join_name, key_schema, value_schema)
    return ControlEvent(md5_base64_10(text).encode(), text.encode())

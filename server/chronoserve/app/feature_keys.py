"""Keys of a row as a command line has them: ``-k user_id=5`` by the type of the column, JSON as it stands."""

import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chronoserve.app.notation import Notation
from chronoserve.codec.avro import type_of
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BINARY, BOOLEAN, DOUBLE, FLOAT, INTEGRAL, DataType, StructType

Keys = dict[str, object]
BOOLEANS = {"true": True, "false": False}


def is_json(text: str) -> bool:
    """Whether a ``-k`` is Chronon's form, an object or a list of them, and not ``name=value``."""
    return text.lstrip().startswith(("{", "["))


def from_json(text: str) -> list[Keys]:
    """The key maps of a JSON object, or of a list of them. Raises ValueError."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise ValueError(f"the keys are no JSON: {wrong}") from wrong
    maps = tree if isinstance(tree, list) else [tree]
    if not all(isinstance(each, dict) for each in maps):
        raise ValueError('keys in JSON are an object such as {"user_id": "5"}, or a list of objects')
    return maps


def from_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, Keys]]:
    """Key maps with the numbers of their lines, one JSON object a line; empty lines are left out. Raises ValueError."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found = from_json(line.decode())
            except ValueError as wrong:
                raise ValueError(f"line {number}: {wrong}") from wrong
            if len(found) != 1:
                raise ValueError(f"line {number}: a line has one object")
            yield number, found[0]


def from_pairs(pairs: Sequence[str], key_schema: str | None) -> Keys:
    """``name=value`` each, the values in the types of the schema's columns; without a schema they are texts. Raises ValueError."""
    types = _types(key_schema)
    keys: Keys = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ValueError(f"{pair!r} is not NAME=VALUE")
        keys[name] = _value(name, text, types.get(name))
    return keys


def _types(key_schema: str | None) -> Mapping[str, DataType]:
    if key_schema is None:
        return {}
    try:
        struct: StructType = type_of(key_schema)
    except InvalidRequest:
        return {}
    return {field.name: field.type for field in struct.fields}


def _value(name: str, text: str, data_type: DataType | None) -> object:
    """Raises ValueError where the text is none of the type."""
    try:
        return _of_type(text, data_type)
    except (ValueError, binascii.Error):
        raise ValueError(f"{name}={text}: the key {name} is a {getattr(data_type, 'name', 'value')}") from None


def _of_type(text: str, data_type: DataType | None) -> object:
    if data_type in INTEGRAL:
        return int(text)
    if data_type in (FLOAT, DOUBLE):
        return float(text)
    if data_type == BOOLEAN:
        if text not in BOOLEANS:
            raise ValueError(text)
        return BOOLEANS[text]
    if data_type == BINARY:
        return Notation().parse(text)
    return text


def shown(value: Any) -> str:
    """A value as a cell has it: JSON, less the quotes of a text."""
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes as the command line writes them, numbers without a JSON form as texts."""
    match value:
        case bytes():
            return f"hex:{value.hex()}"
        case float() if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
            return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
        case bool() | None | str() | int() | float():
            return value
        case Mapping():
            return {key if isinstance(key, str) else str(key): plain(each) for key, each in value.items()}
        case _:
            return [plain(each) for each in value]

"""Confs as the very JSON that Chronon's JVM would store: Thrift's simple JSON (spec/aggregation-and-codecs.md §4.1, §14)."""

import json
from collections.abc import Mapping
from typing import Any

from chronoserve.codec import thrift
from chronoserve.codec.hashes import md5_base64_10
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.java_numbers import double_text

STRUCT_OF_KIND: Mapping[str, str] = {
    "joins": "Join",
    "group_bys": "GroupBy",
    "staging_queries": "StagingQuery",
    "group_by_serving_info": "GroupByServingInfo",
}
"""Kinds as they stand in paths and keys, and the serving info."""


def normalise(kind: str, text: str | bytes, *, check: bool = False) -> str:
    """What Chronon writes after it has read ``text``: compact, fields in Thrift's order, unknown ones dropped, defaults filled in.

    ``check``: as for conf files and at uploads, ``text`` must say the same as what would be written, field order and
    blanks aside. Raises InvalidRequest that names a field of the wrong type, or what was dropped or changed.
    """
    tree = thrift.parsed(text)
    struct = STRUCT_OF_KIND[kind]
    written = _text(thrift.read(struct, tree, lambda read: _with_defaults(struct, read)))
    if check:
        _demand_same(tree, thrift.parsed(written), "")
    return written


def pretty(normalised: str) -> str:
    """As ``compile.py`` lays confs out in files: two blanks of indent, ASCII only."""
    return json.dumps(json.loads(normalised), indent=2)


def md5_digest(normalised: str) -> str:
    """Chronon's name for a conf's contents: ten characters."""
    return md5_base64_10(normalised)


def _with_defaults(struct: str, tree: Mapping[str, Any]) -> dict[str, object]:
    defaults = thrift.DEFAULTS.get(struct, {})
    filled = {}
    for name, kind in thrift.STRUCTS[struct].items():
        if name in tree:
            filled[name] = _filled(kind, tree[name])
        elif name in defaults:
            filled[name] = defaults[name]
    return filled


def _filled(kind: thrift.Kind, value: Any) -> object:
    match kind:
        case str():
            return _with_defaults(kind, value)
        case thrift.Of(container, item) if container is list:
            return [_filled(item, each) for each in value]
        case thrift.Of(_, item):
            return {key: _filled(item, each) for key, each in value.items()}
        case _:
            return value


def _text(value: object) -> str:
    match value:
        case dict():
            return f"{{{','.join(f'{_quoted(key)}:{_text(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{','.join(map(_text, value))}]"
        case str():
            return _quoted(value)
        case float():
            return double_text(value)
        case int():
            return str(int(value))
        case _:
            raise AssertionError(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _demand_same(given: object, written: object, path: str) -> None:
    """As trees of JSON, in which 1 is not true and 1 is not 1.0."""
    if isinstance(given, dict) and isinstance(written, dict):
        for name in given.keys() | written.keys():
            where = f"{path}.{name}" if path else str(name)
            if name not in written:
                raise _differs(where, "is a field that this version does not know, or null")
            if name not in given:
                raise _differs(where, "is absent where Chronon writes it")
            _demand_same(given[name], written[name], where)
    elif isinstance(given, list) and isinstance(written, list):
        for index, pair in enumerate(zip(given, written, strict=True)):
            _demand_same(*pair, f"{path}[{index}]")
    elif type(given) is not type(written) or given != written:
        raise _differs(path, "is not written as Chronon writes it")


def _differs(path: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"in the configuration, {path[:200]} {why}: compile it again with the Chronon version in use", field=path)

"""Chronon's HTTP answers read back into the tagged form, as far as JSON can tell: which number a JSON number was, the recording says.

What JSON does tell is kept apart: 5 is no double and 5.0 no long, an array is no map and a text no number.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

Json = Any
Tagged = Any

NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})
WHOLE = frozenset({"int", "long", "short", "byte", "integer"})
FRACTIONS = frozenset({"float", "double", "number"})
"""``integer`` and ``number`` are boxes of ours: numbers of which nothing more than their JSON is known."""


def as_recorded(found: Json, expected: Tagged) -> Tagged:
    """``found`` with the boxes of ``expected``, where it may have come from such a value; else a form that equals nothing."""
    match expected:
        case dict():
            ((box, inner),) = expected.items()
            return _boxed(found, box, inner)
        case list():
            return _listed(found, expected)
        case _:
            return found if found is None or isinstance(found, (str, bool)) else _unlike(found)


def features_as_recorded(found: Mapping[str, Json], expected: Mapping[str, Tagged] | None) -> dict[str, Tagged]:
    """The same for entries by name; one that the recording lacks is what its JSON says."""
    known = expected or {}
    return {name: as_recorded(value, known[name]) if name in known else natural(value) for name, value in found.items()}


def natural(found: Json) -> Tagged:
    """A JSON value in the tagged form, without anything that tells how wide its numbers were."""
    match found:
        case bool() | None | str():
            return found
        case int():
            return {"integer": found}
        case float():
            return {"number": repr(found)}
        case list():
            return [natural(each) for each in found]
        case _:
            return {"map": [[key, natural(value)] for key, value in found.items()]}


def _boxed(found: Json, box: str, inner: Any) -> Tagged:
    match box:
        case "bytes" if isinstance(found, str):
            return {"bytes": _hex(found)}
        case "map" if isinstance(found, dict):
            guides = {key: value for key, value in inner if isinstance(key, str)}
            return {"map": [[key, as_recorded(value, guides.get(key, _any(guides.values())))] for key, value in found.items()]}
        case "struct" if isinstance(found, list) and len(found) == len(inner):
            return {"struct": [as_recorded(each, guide) for each, guide in zip(found, inner, strict=True)]}
        case "other" | "throwable":
            return {box: found}
        case _ if box in WHOLE and isinstance(found, int) and not isinstance(found, bool):
            return {box: found}
        case _ if box in FRACTIONS and (isinstance(found, float) or (isinstance(found, str) and found in NO_NUMBERS)):
            return {box: found if isinstance(found, str) else repr(found)}
        case _:
            return found if found is None else _unlike(found)


def _listed(found: Json, expected: Sequence[Tagged]) -> Tagged:
    if not isinstance(found, list):
        return found if found is None else _unlike(found)
    common = _any(expected)
    return [as_recorded(each, expected[at] if at < len(expected) and expected[at] is not None else common) for at, each in enumerate(found)]


def _any(guides: Any) -> Tagged:
    return next((guide for guide in guides if guide is not None), None)


def _hex(text: str) -> str:
    """Base64 of either alphabet, padded or not: the JVM's library has changed its mind."""
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True).hex()
    except (binascii.Error, ValueError):
        return f"no base64: {text}"


def _unlike(found: Json) -> Tagged:
    return {"json": found}


def from_tagged(value: Tagged) -> Json:
    """A tagged value as a JSON request has it. Raises ValueError for what JSON has no number for."""
    match value:
        case dict():
            ((box, inner),) = value.items()
            return _plain(box, inner)
        case list():
            return [from_tagged(each) for each in value]
        case _:
            return value


def _plain(box: str, inner: Any) -> Json:
    if box in WHOLE:
        return inner
    if box in FRACTIONS:
        if inner in NO_NUMBERS:
            raise ValueError(f"JSON has no number {inner}")
        return float(inner)
    if box == "bytes":
        return base64.b64encode(bytes.fromhex(inner)).decode()
    if box == "map":
        return {str(key): from_tagged(each) for key, each in inner}
    return [from_tagged(each) for each in inner]

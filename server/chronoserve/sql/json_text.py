"""JSON as Spark's parser reads it and its writer writes it (Jackson's ways).

Objects are read as lists of pairs, so that the order and keys that come twice are kept. Single quotes are accepted,
control characters in strings too; NaN and Infinity are not numbers.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from chronoserve.model.java_numbers import double_text

NESTING_MAX = 200
"""How deep arrays and objects may nest; a text that goes deeper counts as no JSON."""
CHARACTERS_MAX = 1 << 22
BLANKS = " \t\r\n"


class Pairs(list[tuple[str, Any]]):
    """A JSON object: its names and values in order."""


class Broken:
    """What reading a text gave where it is no JSON."""


BROKEN = Broken()
ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
ESCAPES.update({chr(code): f"\\u{code:04X}" for code in range(32) if chr(code) not in ESCAPES})
TABLE = str.maketrans(ESCAPES)


def refuse_constant(name: str) -> Any:
    raise ValueError(name)


DECODER = json.JSONDecoder(object_pairs_hook=Pairs, parse_constant=refuse_constant, strict=False)
WITH_CONSTANTS = json.JSONDecoder(object_pairs_hook=Pairs, strict=False)


def read(text: str, *, constants: bool = False) -> Any:
    """The first JSON value of a text (what follows does not matter); BROKEN where there is none.

    ``constants``: whether NaN and Infinity are numbers.
    """
    if len(text) > CHARACTERS_MAX:
        return BROKEN
    if text.count("[") + text.count("{") > NESTING_MAX and nesting(text) > NESTING_MAX:
        return BROKEN
    body = text.lstrip(BLANKS)
    for form in (body, requoted(body) if "'" in body else None):
        if form is None:
            continue
        try:
            value, end = (WITH_CONSTANTS if constants else DECODER).raw_decode(form)
        except (ValueError, RecursionError):
            continue
        if ends(value, form[end : end + 1]):
            return value
    return BROKEN


def ends(value: Any, following: str) -> bool:
    """Whether a text may go on with that character: a number ends at a blank, a word where no name goes on."""
    if not following or isinstance(value, str | list):
        return True
    if value is None or isinstance(value, bool):
        return not (following.isalnum() or following in "_$")
    return following in BLANKS


STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def nesting(text: str) -> int:
    """How deep brackets nest, those in strings aside."""
    depth = deepest = 0
    for match in STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def requoted(text: str) -> str:
    """Single-quoted strings in double quotes."""
    out: list[str] = []
    quote = ""
    letters: Iterator[str] = iter(text)
    for letter in letters:
        if letter == "\\" and quote:
            following = next(letters, "")
            out.append(following if following == "'" else letter + following)
        elif not quote and letter in "'\"":
            quote = letter
            out.append('"')
        elif letter == quote:
            quote = ""
            out.append('"')
        else:
            out.append('\\"' if quote == "'" and letter == '"' else letter)
    return "".join(out)


def quoted(text: str) -> str:
    return f'"{text.translate(TABLE)}"'


def written(value: Any) -> str:
    """The value as JSON without blanks; fractions as Java writes doubles."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Pairs):
        return f"{{{','.join(f'{quoted(name)}:{written(held)}' for name, held in value)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return number_text(value)


def number_text(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    text = double_text(value)
    return text if value - value == 0 else f'"{text}"'

"""Pattern functions: ``like``, ``rlike``, ``regexp_…`` and ``split``. A constant pattern is translated once, at load."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from chronoserve.model.errors import DerivationFailed, InvalidRequest, KVError
from chronoserve.model.types import BOOLEAN, INT, STRING, DataType, ListType
from chronoserve.sql.java_regex import compiled
from chronoserve.sql.nodes import Constant, Node, strict
from chronoserve.sql.registry import Function, accept_all, alias, constant_of, special

TEXT_CHARACTERS_MAX = 1 << 20
"""How long a text may be that a pattern is matched against."""


ROW_PATTERN_CHARACTERS_MAX = 256
"""How long a pattern may be that is a value of the row: confs are trusted with more."""


def pattern_of(text: str) -> re.Pattern[str]:
    """A pattern that is a value of the row: one that is not valid fails the derivation, not the conf."""
    if len(text) > ROW_PATTERN_CHARACTERS_MAX:
        raise DerivationFailed(f"a pattern from a column may have {ROW_PATTERN_CHARACTERS_MAX} characters")
    try:
        return compiled(text)
    except KVError as error:
        raise DerivationFailed(error.message) from error


def checked(text: str) -> str:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise DerivationFailed(f"a text of more than {TEXT_CHARACTERS_MAX} characters is not matched against a pattern")
    return text


def prepared(node: Node) -> None:
    """Translates a constant pattern at load, so that what is wrong with it is said then."""
    if isinstance(node, Constant) and isinstance(node.value, str):
        compiled(node.value)


def matcher(function: Callable[..., Any], result: DataType, parameters: tuple[DataType, ...]) -> Callable[[str, list[Node]], Node]:
    """A function of a text, a pattern and more; ``function`` gets the pattern compiled."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        nodes = accept_all(name, arguments, (STRING, STRING, *parameters))
        if isinstance(nodes[1], Constant) and nodes[1].value is not None:
            pattern = compiled(nodes[1].value)
            return strict(name, result, lambda text, _, *rest: function(pattern, checked(text), *rest), *nodes)
        return strict(name, result, lambda text, pattern, *rest: function(pattern_of(pattern), checked(text), *rest), *nodes)

    return resolve


def found(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.search(text) is not None


def group_of(pattern: re.Pattern[str], index: int) -> int:
    if not 0 <= index <= pattern.groups:
        raise DerivationFailed(f"the regular expression has {pattern.groups} groups, none is {index}")
    return index


def extract(pattern: re.Pattern[str], text: str, index: int = 1) -> str:
    """The group of the first match; empty where there is none."""
    match = pattern.search(text)
    if match is None:
        return ""
    return match[group_of(pattern, index)] or ""


def extract_all(pattern: re.Pattern[str], text: str, index: int = 1) -> list[str]:
    matches = list(pattern.finditer(text))
    if not matches:
        return []
    at = group_of(pattern, index)
    return [match[at] or "" for match in matches]


def count(pattern: re.Pattern[str], text: str) -> int:
    return sum(1 for _ in pattern.finditer(text))


def first_position(pattern: re.Pattern[str], text: str, _index: int = 0) -> int:
    match = pattern.search(text)
    return 0 if match is None else match.start() + 1


def first_match(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return None if match is None else match[0]


@lru_cache(maxsize=512)
def replacement_parts(text: str, groups: int, names: tuple[str, ...]) -> tuple[str | int, ...]:
    """A Java replacement: ``$1``, ``${name}`` and backslashes."""
    parts: list[str | int] = []
    at = 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            if at + 1 == len(text):
                raise DerivationFailed("a replacement ends with a backslash")
            parts.append(text[at + 1])
            at += 2
        elif letter == "$":
            part, at = reference(text, at + 1, groups, names)
            parts.append(part)
        else:
            parts.append(letter)
            at += 1
    return tuple(parts)


def reference(text: str, at: int, groups: int, names: tuple[str, ...]) -> tuple[int, int]:
    """The group that a ``$`` before ``at`` refers to, and where the reference ends: as many digits as make a group."""
    named = re.compile(r"\{([a-zA-Z][a-zA-Z0-9]*)\}").match(text, at)
    if named and named[1] in names:
        return names.index(named[1]) + 1, named.end()
    if at >= len(text) or not ("0" <= text[at] <= "9"):
        raise DerivationFailed("a replacement's $ stands before no group")
    number, at = int(text[at]), at + 1
    if number > groups:
        raise DerivationFailed(f"a replacement's ${number} is no group: there are {groups}")
    while at < len(text) and "0" <= text[at] <= "9" and number * 10 + int(text[at]) <= groups:
        number, at = number * 10 + int(text[at]), at + 1
    return number, at


def replace(pattern: re.Pattern[str], text: str, by: str, position: int = 1) -> str:
    """Every match from a position on."""
    if position < 1:
        raise DerivationFailed("regexp_replace counts positions from 1")
    names = [""] * pattern.groups
    for name, index in pattern.groupindex.items():
        names[index - 1] = name
    parts = replacement_parts(by, pattern.groups, tuple(names))
    start = position - 1
    if start and start >= len(text):
        return text
    if all(isinstance(part, str) for part in parts):
        fixed = "".join(part for part in parts if isinstance(part, str))
        return text[:start] + pattern.sub(lambda _match: fixed, text[start:])
    return text[:start] + pattern.sub(
        lambda match: "".join(part if isinstance(part, str) else match[part] or "" for part in parts), text[start:]
    )


def split(pattern: re.Pattern[str], text: str, limit: int = -1) -> list[str]:
    """As Java splits: no empty string before a match of nothing at the beginning; ``limit`` parts at most where it is positive."""
    if pattern.pattern == "":
        return list(text[:limit] if 0 < limit <= len(text) else text) or [""]
    parts: list[str] = []
    at = 0
    for match in pattern.finditer(text):
        if limit > 0 and len(parts) == limit - 1:
            break
        if match.end() == 0:
            continue
        parts.append(text[at : match.start()])
        at = match.end()
    parts.append(text[at:])
    return parts


# like


def like_pattern(pattern: str, escape: str, flags: int) -> re.Pattern[str]:
    """``%`` is any text, ``_`` one character; both stand for themselves behind the escape character.

    Raises:
        InvalidRequest: the escape character stands before something else, or at the end.
    """
    out: list[str] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == escape:
            following = next(letters, None)
            if following is None or following not in ("_", "%", escape):
                raise InvalidRequest(f"like: {escape} may stand before _, % and itself only", field="expression")
            out.append(re.escape(following))
        else:
            out.append({"_": ".", "%": ".*"}.get(letter) or re.escape(letter))
    return re.compile("".join(out), re.DOTALL | flags)


cached_like = lru_cache(maxsize=512)(like_pattern)


def likeness(flags: int) -> Callable[[str, list[Node]], Node]:
    """``like`` and ``ilike``."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        text, pattern, *rest = accept_all(name, arguments, (STRING,))
        escape = constant_of(name, rest[0], STRING) if rest else "\\"
        if len(escape or "") != 1:
            raise InvalidRequest(f"{name} … escape takes one character", field="expression")
        key = f"{name} {escape}"
        if isinstance(pattern, Constant) and pattern.value is not None:
            test = quick_like(pattern.value, escape) if not flags else None
            test = test or like_test(like_pattern(pattern.value, escape, flags))
            return strict(key, BOOLEAN, lambda value, _: test(value), text, pattern)
        return strict(key, BOOLEAN, lambda value, found: like_row(value, found, escape, flags), text, pattern)

    return resolve


def like_row(text: str, pattern: str, escape: str, flags: int) -> bool:
    try:
        test = cached_like(pattern, escape, flags)
    except InvalidRequest as error:
        raise DerivationFailed(error.message) from error
    return test.fullmatch(checked(text)) is not None


def like_test(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(checked(text)) is not None


def quick_like(pattern: str, escape: str) -> Callable[[str], bool] | None:
    """The patterns that are no more than a comparison: ``text``, ``text%``, ``%text``, ``%text%``."""
    body = pattern.strip("%")
    if not body or escape in pattern or "_" in body or "%" in body or pattern not in (body, f"{body}%", f"%{body}", f"%{body}%"):
        return None
    if pattern == body:
        return lambda text: text == body
    if pattern == f"{body}%":
        return lambda text: text.startswith(body)
    return (lambda text: text.endswith(body)) if pattern == f"%{body}" else lambda text: body in text


RLIKE = special(
    "rlike(text, pattern)",
    2,
    2,
    matcher(found, BOOLEAN, ()),
    "Whether a Java regular expression matches somewhere; also text rlike pattern.",
)
FUNCTIONS: tuple[Function, ...] = (
    special("like(text, pattern, escape)", 2, 3, likeness(0), "Whether a pattern of % and _ matches; also text like pattern."),
    special("ilike(text, pattern, escape)", 2, 3, likeness(re.IGNORECASE), "As like, whatever the case."),
    RLIKE,
    alias("regexp", RLIKE),
    alias("regexp_like", RLIKE),
    special(
        "regexp_extract(text, pattern, group)",
        2,
        3,
        matcher(extract, STRING, (INT,)),
        "A group of the first match (1 by default); empty where nothing matches.",
    ),
    special("regexp_extract_all(text, pattern, group)", 2, 3, matcher(extract_all, ListType(STRING), (INT,)), "A group of every match."),
    special(
        "regexp_replace(text, pattern, replacement, position)",
        3,
        4,
        matcher(replace, STRING, (STRING, INT)),
        "Every match replaced; $1 is a group.",
    ),
    special("regexp_count(text, pattern)", 2, 2, matcher(count, INT, ()), "How many matches there are."),
    special(
        "regexp_instr(text, pattern, group)",
        2,
        3,
        matcher(first_position, INT, (INT,)),
        "Where the first match begins; 0 where there is none.",
    ),
    special("regexp_substr(text, pattern)", 2, 2, matcher(first_match, STRING, ()), "The first match; null where there is none."),
    special(
        "split(text, pattern, limit)",
        2,
        3,
        matcher(split, ListType(STRING), (INT,)),
        "The parts between the matches; at most ``limit`` where it is positive.",
    ),
)

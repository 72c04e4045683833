"""Functions of strings. Lengths and positions count characters (Unicode code points), from 1."""

import re
import unicodedata
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from chronoserve.model.errors import DerivationFailed
from chronoserve.model.types import BINARY, BOOLEAN, INT, STRING, ListType
from chronoserve.sql.casts import cast
from chronoserve.sql.nodes import Constant, Evaluate, Node, Row, applied, lenient, strict
from chronoserve.sql.numbers import INT_MAX
from chronoserve.sql.registry import EXACT_STRING, TEXT_OR_BYTES, Function, accept, accept_all, alias, alike, refusal, simple, special
from chronoserve.sql.types import NULL

LENGTH_MAX = 1 << 24
"""Characters that ``repeat``, ``space`` and the pads may make: no expression fills the memory."""


# slices


def slice_from(text: Any, position: int, length: int = INT_MAX) -> Any:
    """``substring``: position 0 is 1, a negative one counts from the end."""
    if length <= 0:
        return text[:0]
    count = len(text)
    start = position - 1 if position > 0 else count + position if position < 0 else 0
    end = start + length
    return text[max(start, 0) : max(end, 0)]


def substring(name: str, arguments: list[Node]) -> Node:
    source = accept(name, arguments[0], TEXT_OR_BYTES)
    bounds = [node.value for node in arguments[1:] if isinstance(node, Constant) and node.type == INT and node.value is not None]
    if len(bounds) == 2 == len(arguments) - 1 and bounds[0] > 0:
        # the usual case, a slice
        start, end = bounds[0] - 1, bounds[0] - 1 + max(bounds[1], 0)
        return strict(f"substring {start} {end}", source.type, itemgetter(slice(start, end)), source)
    return strict("substring", source.type, slice_from, source, *(accept(name, node, INT) for node in arguments[1:]))


def left(name: str, arguments: list[Node]) -> Node:
    source = accept(name, arguments[0], TEXT_OR_BYTES)
    return strict(name, source.type, lambda text, count: text[: max(count, 0)], source, accept(name, arguments[1], INT))


def right_of(text: str, count: int) -> str:
    return text[-count:] if count > 0 else ""


def substring_index(text: str, delimiter: str, count: int) -> str:
    """What is before the ``count``-th delimiter; from the right where ``count`` is negative."""
    if count == 0 or not delimiter or not text:
        return ""
    parts: list[int] = []
    if count > 0:
        at = -1
        for _ in range(count):
            at = text.find(delimiter, at + 1)
            if at < 0:
                return text
        return text[:at]
    end = len(text) + len(delimiter) - 1
    for _ in range(-count):
        found = text.rfind(delimiter, 0, end)
        if found < 0:
            return text
        parts.append(found)
        end = found + len(delimiter) - 1
    return text[parts[-1] + len(delimiter) :]


def split_part(text: str, delimiter: str, part: int) -> str:
    if part == 0:
        raise DerivationFailed("split_part counts parts from 1, or from the end with negative numbers: 0 is none")
    parts = text.split(delimiter) if delimiter else [text]
    index = part - 1 if part > 0 else len(parts) + part
    return parts[index] if 0 <= index < len(parts) else ""


def overlay(name: str, arguments: list[Node]) -> Node:
    source = accept(name, arguments[0], TEXT_OR_BYTES)
    replacement = accept(name, arguments[1], source.type)
    numbers = [accept(name, node, INT) for node in arguments[2:]]
    return strict(name, source.type, overlaid, source, replacement, *numbers)


def overlaid(text: Any, replacement: Any, position: int, length: int = -1) -> Any:
    size = length if length >= 0 else len(replacement)
    return slice_from(text, 1, position - 1) + replacement + slice_from(text, position + size)


# case and trimming


def initial_capitals(text: str) -> str:
    """Every word's first letter in title case, the rest in lower case; words end at blanks."""
    lower = text.lower()
    return re.sub(r"(?:^|(?<= )).", lambda match: title if len(title := match[0].title()) == 1 else match[0], lower, flags=re.DOTALL)


def trimmed(side: str) -> Callable[[str, list[Node]], Node]:
    """``trim(text)``, ``trim(characters from text)`` under the name ``trim of``, and the two-argument forms of ltrim and rtrim."""
    strip = {"trim": str.strip, "ltrim": str.lstrip, "rtrim": str.rstrip}[side]

    def resolve(name: str, arguments: list[Node]) -> Node:
        nodes = accept_all(name, arguments, (STRING,))
        if len(nodes) == 1:
            return strict(side, STRING, lambda text: strip(text, " "), nodes[0])
        # both forms name the characters first: trim('x' from s), and btrim(s, 'x') turns them around
        characters, text = nodes
        return strict(f"{side} of", STRING, lambda of, wanted: strip(of, wanted) if wanted else of, text, characters)

    return resolve


def both_trimmed(name: str, arguments: list[Node]) -> Node:
    return trimmed("trim")(name, list(reversed(arguments)))


def padded(*, before: bool) -> Callable[[str, list[Node]], Node]:
    def pad(text: Any, length: int, filling: Any) -> Any:
        check_length(length)
        if length <= len(text):
            return text[: max(length, 0)]
        if not filling:
            return text
        missing = length - len(text)
        added = (filling * (missing // len(filling) + 1))[:missing]
        return added + text if before else text + added

    def resolve(name: str, arguments: list[Node]) -> Node:
        source = accept(name, arguments[0], TEXT_OR_BYTES)
        length = accept(name, arguments[1], INT)
        if len(arguments) == 2:
            filling = b"\x00" if source.type == BINARY else " "
            return strict(name, source.type, lambda text, count: pad(text, count, filling), source, length)
        return strict(name, source.type, pad, source, length, accept(name, arguments[2], source.type))

    return resolve


def check_length(length: int) -> None:
    if length > LENGTH_MAX:
        raise DerivationFailed(f"a string of {length} characters is longer than the {LENGTH_MAX} that an expression may make")


def repeat(text: str, count: int) -> str:
    check_length(len(text) * max(count, 0))
    return text * max(count, 0)


def space(count: int) -> str:
    check_length(count)
    return " " * max(count, 0)


# joining


def concat(name: str, arguments: list[Node]) -> Node:
    """Of strings, of binaries, or of arrays."""
    if not arguments:
        return cast(lenient("concat", STRING, lambda: ""), STRING)
    if any(isinstance(node.type, ListType) for node in arguments):
        return concat_lists(name, arguments)
    kind = BINARY if all(node.type == BINARY for node in arguments) else STRING
    nodes = [accept(name, node, kind) for node in arguments]
    if len(nodes) == 1:
        return nodes[0]
    if kind == BINARY:
        return strict("concat", BINARY, lambda *parts: b"".join(parts), *nodes)
    return strict("concat", STRING, lambda *parts: "".join(parts), *nodes)


def concat_lists(name: str, arguments: list[Node]) -> Node:
    if any(node.type == NULL for node in arguments):
        raise refusal(name, "arrays", next(node for node in arguments if node.type == NULL))
    nodes = alike(name, arguments)
    return strict("concat", nodes[0].type, lambda *lists: [item for values in lists for item in values], *nodes)


def concat_with(name: str, arguments: list[Node]) -> Node:
    """``concat_ws``: nulls are left out, arrays are spread."""
    separator = accept(name, arguments[0], STRING)
    parts = [node if isinstance(node.type, ListType) else accept(name, node, STRING) for node in arguments[1:]]
    parts = [accept(name, node, ListType(STRING)) if isinstance(node.type, ListType) else node for node in parts]
    spread = [isinstance(node.type, ListType) for node in parts]

    def make(evaluates: list[Evaluate]) -> Evaluate:
        first, *others = evaluates
        plan = list(zip(others, spread, strict=True))

        def run(row: Row) -> str | None:
            between = first(row)
            if between is None:
                return None
            found: list[str] = []
            for evaluate, many in plan:
                value = evaluate(row)
                if value is None:
                    continue
                if many:
                    found.extend(item for item in value if item is not None)
                else:
                    found.append(value)
            return str(between.join(found))

        return run

    return applied(name, STRING, make, separator, *parts)


def elt(name: str, arguments: list[Node]) -> Node:
    index, *choices = arguments
    kind = BINARY if all(node.type == BINARY for node in choices) else STRING
    nodes = [accept(name, index, INT), *(accept(name, node, kind) for node in choices)]

    def make(evaluates: list[Evaluate]) -> Evaluate:
        first, *others = evaluates

        def run(row: Row) -> Any:
            at = first(row)
            return others[at - 1](row) if at is not None and 1 <= at <= len(others) else None

        return run

    return applied(name, kind, make, *nodes)


# searching


def locate(what: str, text: str, position: int = 1) -> int:
    """Where ``what`` is in ``text`` from a position on; 0 where it is not. The empty text is always at the beginning."""
    return text.find(what, position - 1 if what else 0) + 1 if position > 0 else 0


def locate_nullable(name: str, arguments: list[Node]) -> Node:
    """As Spark's: a null position finds nothing, 0."""
    nodes = accept_all(name, arguments, (STRING, STRING, INT))
    if len(nodes) == 2:
        return strict("locate", INT, locate, *nodes)

    def run(what: str | None, text: str | None, position: int | None) -> int | None:
        if position is None:
            return 0
        return None if what is None or text is None else locate(what, text, position)

    return lenient("locate", INT, run, *nodes)


def find_in_set(wanted: str, listed: str) -> int:
    parts = listed.split(",")
    return parts.index(wanted) + 1 if "," not in wanted and wanted in parts else 0


def searched(function: Callable[[Any, Any], bool]) -> Callable[[str, list[Node]], Node]:
    """``contains``, ``startswith``, ``endswith``: of strings, or of binaries."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        kind = BINARY if all(node.type == BINARY for node in arguments) else STRING
        return strict(name, BOOLEAN, function, *(accept(name, node, kind) for node in arguments))

    return resolve


def levenshtein(name: str, arguments: list[Node]) -> Node:
    nodes = accept_all(name, arguments, (STRING, STRING, INT))
    return strict(name, INT, distance, *nodes)


DISTANCE_CELLS_MAX = 1 << 18
"""How many pairs of characters ``levenshtein`` compares: 512 characters by 512."""


def distance(first: str, second: str, threshold: int | None = None) -> int:
    """Edits between two strings; -1 where they are more than a threshold."""
    if len(first) * len(second) > DISTANCE_CELLS_MAX:
        raise DerivationFailed(f"levenshtein compares strings whose lengths multiply to {DISTANCE_CELLS_MAX} at most")
    row = list(range(len(second) + 1))
    for index, letter in enumerate(first, 1):
        previous, row[0] = row[0], index
        for at, other in enumerate(second, 1):
            previous, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, previous + (letter != other))
    return row[-1] if threshold is None or row[-1] <= threshold else -1


# characters and codes


def length(name: str, arguments: list[Node]) -> Node:
    return strict("length", INT, len, accept(name, arguments[0], TEXT_OR_BYTES))


def byte_length(bits: int) -> Callable[[str, list[Node]], Node]:
    def resolve(name: str, arguments: list[Node]) -> Node:
        node = accept(name, arguments[0], TEXT_OR_BYTES)
        size = len if node.type == BINARY else lambda text: len(text.encode("utf-8", "replace"))
        return strict(name, INT, lambda value: size(value) * bits, node)

    return resolve


def reverse(name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    if not isinstance(node.type, ListType):
        node = accept(name, node, STRING)
    return strict(name, node.type, lambda value: value[::-1], node)


def translate(text: str, matching: str, replacing: str) -> str:
    table: dict[int, str | None] = {}
    for index, letter in enumerate(matching):
        table.setdefault(ord(letter), replacing[index] if index < len(replacing) else None)
    return text.translate(table)


SOUNDEX = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "01230127022455012623010202", strict=True))
SOUNDEX_SILENT = frozenset("HW")


def soundex(text: str) -> str:
    """Four characters for how a word sounds; a text that begins with no letter of A to Z is returned as it is."""
    first = text[:1].upper()
    if first not in SOUNDEX:
        return text
    found, last = [first], SOUNDEX[first]
    for letter in text[1:].upper():
        code = SOUNDEX.get(letter)
        if letter in SOUNDEX_SILENT:
            continue
        if code is None or code == "0":
            last = "0"
        elif code != last:
            found.append(code)
            last = code
            if len(found) == 4:
                break
    return "".join(found).ljust(4, "0")


def masked(
    text: str | None, upper: str | None = "X", lower: str | None = "x", digit: str | None = "n", other: str | None = None
) -> str | None:
    """Each character by the replacement of its class; a class without one keeps its characters."""
    if text is None:
        return None
    found = []
    for letter in text:
        kind = unicodedata.category(letter)
        replacement = upper if kind == "Lu" else lower if kind == "Ll" else digit if kind == "Nd" else other
        found.append(letter if replacement is None else replacement)
    return "".join(found)


def mask(name: str, arguments: list[Node]) -> Node:
    return lenient(name, STRING, masked, *accept_all(name, arguments, (EXACT_STRING,)))


# words


def luhn_check(text: str) -> bool:
    """Whether digits have the check digit that the Luhn algorithm gives them."""
    if not re.fullmatch(r"\d+", text, re.ASCII):
        return False
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(text))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


SENTENCE_BREAKS = re.compile(r"[.!?]+(?:\s+|$)")
WORDS = re.compile(r"\w+(?:[.'\u2019:]\w+|(?<=\d),\d+)*")


def sentences(name: str, arguments: list[Node]) -> Node:
    text = accept_all(name, arguments, (STRING,))[0]
    return strict(
        name, ListType(ListType(STRING)), lambda value: [WORDS.findall(part) for part in SENTENCE_BREAKS.split(value) if part.strip()], text
    )


UPPER = simple("upper(text)", (STRING,), STRING, str.upper, "In upper case.")
LOWER = simple("lower(text)", (STRING,), STRING, str.lower, "In lower case.")
LENGTH = special("length(text)", 1, 1, length, "How many characters a string has, or bytes a binary.")
SUBSTRING = special(
    "substring(text, position, length)", 2, 3, substring, "From a position, 1 being the first; negative ones count from the end."
)
REPLACE = simple(
    "replace(text, what, by)",
    (STRING, STRING, STRING),
    STRING,
    lambda text, what, by="": text.replace(what, by) if what else text,
    "Every occurrence replaced.",
    least=2,
)
FUNCTIONS: tuple[Function, ...] = (
    UPPER,
    alias("ucase", UPPER),
    LOWER,
    alias("lcase", LOWER),
    simple("initcap(text)", (STRING,), STRING, initial_capitals, "Every word with a capital first letter."),
    LENGTH,
    alias("len", LENGTH),
    alias("char_length", LENGTH),
    alias("character_length", LENGTH),
    special("octet_length(text)", 1, 1, byte_length(1), "How many bytes it has in UTF-8."),
    special("bit_length(text)", 1, 1, byte_length(8), "How many bits it has in UTF-8."),
    SUBSTRING,
    alias("substr", SUBSTRING),
    special("left(text, count)", 2, 2, left, "The first characters."),
    simple("right(text, count)", (STRING, INT), STRING, right_of, "The last characters."),
    simple(
        "substring_index(text, delimiter, count)",
        (STRING, STRING, INT),
        STRING,
        substring_index,
        "Up to the count-th delimiter; from the right if negative.",
    ),
    simple(
        "split_part(text, delimiter, part)",
        (STRING, STRING, INT),
        STRING,
        split_part,
        "One part of a split text, from 1, or from the end if negative.",
    ),
    special(
        "overlay(text, replacement, position, length)", 3, 4, overlay, "Part of a text replaced; also overlay(text placing … from … for …)."
    ),
    special(
        "trim(text)", 1, 2, trimmed("trim"), "Without blanks at both ends; trim(characters, text) and trim(both … from …) name others."
    ),
    special("ltrim(text)", 1, 2, trimmed("ltrim"), "Without blanks at the beginning."),
    special("rtrim(text)", 1, 2, trimmed("rtrim"), "Without blanks at the end."),
    special("trim of(characters, text)", 2, 2, trimmed("trim"), "As trim(both characters from text)."),
    special("ltrim of(characters, text)", 2, 2, trimmed("ltrim"), "As trim(leading characters from text)."),
    special("rtrim of(characters, text)", 2, 2, trimmed("rtrim"), "As trim(trailing characters from text)."),
    special("btrim(text, characters)", 1, 2, both_trimmed, "Without the named characters at both ends."),
    special("lpad(text, length, filling)", 2, 3, padded(before=True), "Filled up or cut to a length, at the beginning."),
    special("rpad(text, length, filling)", 2, 3, padded(before=False), "Filled up or cut to a length, at the end."),
    simple("repeat(text, count)", (STRING, INT), STRING, repeat, "The text so many times."),
    simple("space(count)", (INT,), STRING, space, "So many blanks."),
    special("concat(value, …)", 0, None, concat, "Strings, binaries or arrays one after another; null where one is."),
    special("||(left, right)", 2, 2, concat, "As concat."),
    special(
        "concat_ws(separator, value, …)",
        1,
        None,
        concat_with,
        "Strings and arrays of strings with a separator between; nulls are left out.",
    ),
    special("elt(index, value, …)", 2, None, elt, "The index-th of the values; null outside."),
    special(
        "locate(what, text, position)", 2, 3, locate_nullable, "Where a text contains another, from a position on; 0 where it does not."
    ),
    special("position(what, text, position)", 2, 3, locate_nullable, "As locate; also position(what in text)."),
    simple(
        "instr(text, what)",
        (STRING, STRING),
        INT,
        lambda text, what: text.find(what) + 1,
        "Where a text contains another; 0 where it does not.",
    ),
    simple("find_in_set(text, list)", (STRING, STRING), INT, find_in_set, "Which entry of a comma-separated list it is; 0 where none."),
    special("contains(text, what)", 2, 2, searched(lambda text, what: what in text), "Whether a text contains another."),
    special("startswith(text, what)", 2, 2, searched(lambda text, what: text.startswith(what)), "Whether a text begins with another."),
    special("endswith(text, what)", 2, 2, searched(lambda text, what: text.endswith(what)), "Whether a text ends with another."),
    special("levenshtein(left, right, threshold)", 2, 3, levenshtein, "How many edits lie between two texts; -1 beyond a threshold."),
    special("reverse(value)", 1, 1, reverse, "A string's characters, or an array's elements, backwards."),
    simple("ascii(text)", (STRING,), INT, lambda text: ord(text[0]) if text else 0, "Code of the first character; 0 for the empty string."),
    REPLACE,
    simple(
        "translate(text, matching, by)",
        (STRING, STRING, STRING),
        STRING,
        translate,
        "Characters replaced one by one; those without a partner are removed.",
    ),
    simple("soundex(text)", (EXACT_STRING,), STRING, soundex, "Four characters for how a word sounds."),
    simple("luhn_check(text)", (STRING,), BOOLEAN, luhn_check, "Whether its digits end in their Luhn check digit."),
    special("mask(text, upper, lower, digit, other)", 1, 5, mask, "Letters and digits replaced by X, x and n."),
    special("sentences(text, language, country)", 1, 3, sentences, "Arrays of the words of each sentence."),
)

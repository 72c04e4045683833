r"""Java's regular expressions as Python's.

What differs and is translated: ``\d \w \s`` and case folding are of ASCII, ``.`` stops at more line ends, ``$`` and
``\Z`` know them too, ``\p{…}`` classes, named groups, quoting, unions and intersections of classes, flags in the middle.
What has no form in Python (``\G``, ``\X``, lookbehind of varying length) is refused by name.
"""

import re
import sys
import unicodedata
from functools import cache, lru_cache

from chronoserve.model.errors import InvalidRequest, Unsupported

LINE_ENDS = r"\n\r\x85\u2028\u2029"
END = r"(?=(?:\r\n|(?<!\r)\n|[\r\x85\u2028\u2029])?\Z)"
PATTERN_CHARACTERS_MAX = 4_096
POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": r" \t\n\x0b\f\r",
}
BINARY_PROPERTIES = {
    "Alphabetic": ("L", "Nl"),
    "Letter": ("L",),
    "Digit": ("Nd",),
    "Uppercase": ("Lu",),
    "Lowercase": ("Ll",),
    "Punctuation": ("P",),
    "White_Space": ("Z",),
    "Control": ("Cc",),
}
JAVA_METHODS = {
    "javaLowerCase": ("Ll",),
    "javaUpperCase": ("Lu",),
    "javaLetter": ("L",),
    "javaDigit": ("Nd",),
    "javaLetterOrDigit": ("L", "Nd"),
}
SCRIPTS = {
    "Latin": "A-Za-z\xaa\xba\xc0-\xd6\xd8-\xf6\xf8-\u02b8\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua787\uff21-\uff3a\uff41-\uff5a",
    "Greek": "\u0370-\u0373\u0375-\u0377\u037a-\u037d\u037f\u0384\u0386\u0388-\u03e1\u03f0-\u03ff\u1f00-\u1ffe",
    "Cyrillic": "\u0400-\u0484\u0487-\u052f\u1c80-\u1c88\u1d2b\u1d78\u2de0-\u2dff\ua640-\ua69f",
    "Han": "\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9\U00020000-\U0003134a",
    "Hiragana": "\u3041-\u3096\u309d-\u309f",
    "Katakana": "\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff6f\uff71-\uff9d",
    "Hangul": "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3",
    "Arabic": "\u0600-\u0604\u0606-\u060b\u060d-\u061a\u061c-\u061e\u0620-\u063f\u0641-\u064a\u0656-\u066f\u0671-\u06dc\u06de-\u06ff",
    "Hebrew": "\u0591-\u05c7\u05d0-\u05ea\u05ef-\u05f4",
    "Thai": "\u0e01-\u0e3a\u0e40-\u0e5b",
}
SIMPLE_ESCAPES = {"t": r"\t", "n": r"\n", "r": r"\r", "f": r"\f", "a": r"\x07", "e": r"\x1b"}
CLASS_ESCAPES = {
    "d": "0-9",
    "w": "a-zA-Z0-9_",
    "s": r" \t\n\x0b\f\r",
    "h": " \t\xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000",
    "v": r"\n\x0b\f\r\x85\u2028\u2029",
}


@cache
def category_ranges(categories: tuple[str, ...]) -> str:
    """The ranges of all characters of the categories, as the inside of a class."""
    found: list[str] = []
    start = -1
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(categories)
        if inside and start < 0:
            start = code
        elif not inside and start >= 0:
            found.append(f"\\U{start:08x}" if start == code - 1 else f"\\U{start:08x}-\\U{code - 1:08x}")
            start = -1
    return "".join(found)


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """Python's form of a Java pattern.

    Raises:
        InvalidRequest: Java refuses the pattern too.
        Unsupported: it has no form in Python, or may take forever on a hostile text.
    """
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise Unsupported(f"a regular expression may have {PATTERN_CHARACTERS_MAX} characters")
    translated = Translation(pattern).run()
    try:
        found = re.compile(translated, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        if "look-behind" in str(error):
            raise Unsupported("a regular expression's lookbehind must have one length") from error
        raise InvalidRequest(f"the regular expression is not valid: {error}", field="expression") from error
    refuse_endless(found)
    return found


class Translation:
    """One pass over a Java pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.out: list[str] = []
        self.dotall = False
        self.multiline = False
        self.comments = False
        self.groups: list[tuple[int, bool, bool, bool]] = []
        self.opened = 0

    def error(self, message: str) -> InvalidRequest:
        return InvalidRequest(f"the regular expression is not valid: {message} at character {self.at}", field="expression")

    def run(self) -> str:
        pattern = self.pattern
        while self.at < len(pattern):
            letter = pattern[self.at]
            self.at += 1
            self.out.append(self.piece(letter))
        if self.groups:
            raise self.error("an unclosed group")
        return "".join(self.out) + ")" * self.opened

    def piece(self, letter: str) -> str:
        if letter == "\\":
            return self.escape()
        if letter == "[":
            return self.character_class()
        if letter == "(":
            return self.group()
        if letter == ")":
            return self.close()
        if letter == ".":
            return "(?s:.)" if self.dotall else f"[^{LINE_ENDS}]"
        if letter == "$":
            return "(?m:$)" if self.multiline else END
        if letter == "^":
            return "(?m:^)" if self.multiline else "^"
        if letter == "{":
            return self.repetition()
        if letter == "|" and self.opened:
            raise Unsupported("an alternative behind a flag in the middle of a regular expression")
        if letter in "*+?|":
            return letter
        if self.comments and (letter.isspace() or letter == "#"):
            return self.skipped(letter)
        return re.escape(letter)

    def skipped(self, letter: str) -> str:
        if letter == "#":
            end = self.pattern.find("\n", self.at)
            self.at = len(self.pattern) if end < 0 else end + 1
        return ""

    def repetition(self) -> str:
        match = re.compile(r"(\d+)(,(\d*))?\}").match(self.pattern, self.at)
        if match is None:
            raise self.error("an illegal repetition")
        self.at = match.end()
        return f"{{{match[0]}"

    # groups

    def group(self) -> str:
        self.groups.append((self.opened, self.dotall, self.multiline, self.comments))
        self.opened = 0
        rest = self.pattern[self.at :]
        if not rest.startswith("?"):
            return "("
        if match := re.match(r"\?<([a-zA-Z][a-zA-Z0-9]*)>", rest):
            self.at += match.end()
            return f"(?P<{match[1]}>"
        if match := re.match(r"\?(?::|>|=|!|<=|<!)", rest):
            self.at += match.end()
            return f"({match[0]}"
        if match := re.match(r"\?([imsxudU]*)(?:-([imsxudU]+))?([:)])", rest):
            self.at += match.end()
            return self.flags(match[1], match[2] or "", scoped=match[3] == ":")
        raise self.error("an unknown group")

    def flags(self, on: str, off: str, *, scoped: bool) -> str:
        if not scoped:
            # the flags hold to the end of the group that they stand in
            before = self.groups.pop()
            self.opened = before[0] + 1
        for letters, value in ((on, True), (off, False)):
            self.dotall = value if "s" in letters else self.dotall
            self.multiline = value if "m" in letters else self.multiline
            self.comments = value if "x" in letters else self.comments
        kept_on = ("u" if "u" in on or "U" in on else "") + ("i" if "i" in on else "")
        kept_off = "-i" if "i" in off else ""
        return f"(?{kept_on}{kept_off}:"

    def close(self) -> str:
        if not self.groups:
            raise self.error("an unmatched ')'")
        closing = ")" * (self.opened + 1)
        self.opened, self.dotall, self.multiline, self.comments = self.groups.pop()
        return closing

    # escapes

    def taken(self) -> str:
        if self.at >= len(self.pattern):
            raise self.error("a backslash at the end")
        self.at += 1
        return self.pattern[self.at - 1]

    def escape(self) -> str:
        letter = self.taken()
        if letter == "Q":
            end = self.pattern.find("\\E", self.at)
            quoted = self.pattern[self.at :] if end < 0 else self.pattern[self.at : end]
            self.at = len(self.pattern) if end < 0 else end + 2
            return re.escape(quoted)
        if letter in "123456789":
            return f"(?:\\{letter})"
        anchors = {"b": r"(?u:\b)", "B": r"(?u:\B)", "A": r"\A", "z": r"\Z", "Z": END, "R": rf"(?:\r\n|[{LINE_ENDS}\x0b\f])"}
        if letter in anchors:
            return anchors[letter]
        if letter == "k":
            match = re.compile(r"<([a-zA-Z][a-zA-Z0-9]*)>").match(self.pattern, self.at)
            if match is None:
                raise self.error(r"\k without a group's name")
            self.at = match.end()
            return f"(?P={match[1]})"
        if letter in "GXN":
            raise Unsupported(f"\\{letter} in a regular expression")
        content, negated = self.class_escape(letter)
        return f"[{'^' if negated else ''}{content}]"

    def class_escape(self, letter: str) -> tuple[str, bool]:
        r"""What ``\letter`` stands for inside of a class, and whether it is the complement of it."""
        if letter.lower() in CLASS_ESCAPES and letter in "dwshvDWSHV":
            return CLASS_ESCAPES[letter.lower()], letter.isupper()
        if letter in "pP":
            return self.property(), letter == "P"
        if letter in SIMPLE_ESCAPES:
            return SIMPLE_ESCAPES[letter], False
        if letter in "xu0c":
            return self.code(letter), False
        if letter.isalpha() and letter.isascii():
            raise self.error(f"an unknown escape \\{letter}")
        return re.escape(letter) if letter not in "^-]" else f"\\{letter}", False

    def code(self, letter: str) -> str:
        patterns = {"x": r"\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{2})", "u": r"([0-9a-fA-F]{4})", "0": r"([0-3]?[0-7]{1,2})", "c": r"(.)"}
        match = re.compile(patterns[letter], re.DOTALL).match(self.pattern, self.at)
        if match is None:
            raise self.error(f"an incomplete \\{letter}")
        self.at = match.end()
        digits = next(group for group in match.groups() if group is not None)
        number = ord(digits) ^ 64 if letter == "c" else int(digits, 8 if letter == "0" else 16)
        if number > sys.maxunicode:
            raise self.error("a code beyond Unicode")
        return f"\\U{number:08x}"

    def property(self) -> str:
        match = re.compile(r"\{(\^?)([A-Za-z_]+)(?:=([A-Za-z_]+))?\}|([A-Z])").match(self.pattern, self.at)
        if match is None:
            raise self.error(r"an incomplete \p")
        self.at = match.end()
        name = match[3] or match[2] or match[4]
        if name in POSIX:
            return POSIX[name]
        if name in JAVA_METHODS:
            return category_ranges(JAVA_METHODS[name])
        plain = name.removeprefix("Is")
        if plain in BINARY_PROPERTIES:
            return category_ranges(BINARY_PROPERTIES[plain])
        if plain.capitalize() in SCRIPTS:
            return SCRIPTS[plain.capitalize()]
        if re.fullmatch(r"[LMNPSZC][a-z&]?", plain):
            return category_ranges(("Lu", "Ll", "Lt")) if plain in ("LC", "L&") else category_ranges((plain,))
        raise Unsupported(f"\\p{{{name}}} in a regular expression")

    # classes

    def character_class(self) -> str:
        """``[…]`` with its unions and intersections; the opening bracket is read."""
        positive, complemented = self.class_body()
        return positive if not complemented else f"(?!{positive})(?s:.)"

    def class_body(self) -> tuple[str, bool]:
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        operands = [self.union()]
        while self.pattern.startswith("&&", self.at):
            self.at += 2
            operands.append(self.union())
        if not self.pattern.startswith("]", self.at):
            raise self.error("an unclosed class")
        self.at += 1
        plain, *others = operands
        if not others:
            return (plain, True) if negated and not plain.startswith("[") else (f"[^{plain[1:]}" if negated else plain, False)
        return "".join(f"(?={other})" for other in others) + plain, negated

    def union(self) -> str:
        """What is up to ``&&`` or the closing bracket, as a pattern of one character."""
        parts: list[str] = []
        nested: list[str] = []
        first = True
        while self.at < len(self.pattern):
            letter = self.pattern[self.at]
            if (letter == "]" and not first) or self.pattern.startswith("&&", self.at):
                break
            first = False
            self.at += 1
            if letter == "[":
                inner, complemented = self.class_body()
                nested.append(f"(?!{inner})(?s:.)" if complemented else inner)
            else:
                self.class_item(letter, parts, nested)
        base = f"[{''.join(parts)}]" if parts else ""
        if not nested:
            return base or r"[^\s\S]"
        return f"(?:{'|'.join([base, *nested] if base else nested)})"

    def class_item(self, letter: str, parts: list[str], nested: list[str]) -> None:
        if letter == "\\":
            escaped = self.taken()
            if escaped == "Q":
                end = self.pattern.find("\\E", self.at)
                quoted = self.pattern[self.at :] if end < 0 else self.pattern[self.at : end]
                self.at = len(self.pattern) if end < 0 else end + 2
                parts.extend(f"\\U{ord(quote):08x}" for quote in quoted)
                return
            content, negated = self.class_escape(escaped)
            if negated:
                nested.append(f"[^{content}]")
            else:
                parts.append(content)
        elif letter == "-":
            parts.append("-" if self.is_range(parts) else r"\-")
        else:
            parts.append(f"\\{letter}" if letter in "[]^\\&~|" else letter)

    def is_range(self, parts: list[str]) -> bool:
        return bool(parts) and self.pattern[self.at : self.at + 1] not in ("]", "", "[") and not self.pattern.startswith("&&", self.at)


# patterns that may take forever


def refuse_endless(pattern: re.Pattern[str]) -> None:
    """Refuses what takes time exponential in the text: an unbounded repetition of nothing but an unbounded repetition.

    Raises:
        Unsupported: the pattern is such a one; possessive quantifiers make it safe.
    """
    tree = re._parser.parse(pattern.pattern, pattern.flags)  # type: ignore[attr-defined]  # noqa: SLF001 - the only way to see a pattern's shape
    if endless(tree):
        raise Unsupported("a regular expression that repeats a repetition, as (a+)+: a hostile value would take forever; use (a++)+ or a+")


def endless(tree: object) -> bool:
    for operation, argument in tree:  # type: ignore[attr-defined]
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            _, most, body = argument
            if most > 1_000 and repeats_alone(body):
                return True
        if any(endless(part) for part in subpatterns(name, argument)):
            return True
    return False


def subpatterns(name: str, argument: object) -> list[object]:
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return [argument[2]]  # type: ignore[index]
    if name == "SUBPATTERN":
        return [argument[3]]  # type: ignore[index]
    if name == "BRANCH":
        return list(argument[1])  # type: ignore[index]
    if name in ("ASSERT", "ASSERT_NOT"):
        return [argument[1]]  # type: ignore[index]
    return [argument] if name == "ATOMIC_GROUP" else []


def repeats_alone(body: object) -> bool:
    """Whether a pattern is one unbounded repetition, or a choice with such a one, and nothing else."""
    items = list(body)  # type: ignore[call-overload]
    if len(items) != 1:
        return False
    operation, argument = items[0]
    name = str(operation)
    if name in ("MAX_REPEAT", "MIN_REPEAT"):
        return bool(argument[1] > 1_000)
    if name in ("SUBPATTERN", "BRANCH"):
        return any(repeats_alone(part) for part in subpatterns(name, argument))
    return False

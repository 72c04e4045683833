"""Spark SQL text to tokens, by Spark's own rules: what an identifier, a number and a string are.

Spark's and not a general dialect's, because these differ where features would silently change: ``127Y`` is a tinyint,
``1.5`` a decimal, ``7d_sum`` a name, ``'it''s'`` two literals side by side.
"""

import re
from typing import NamedTuple

from chronoserve.model.errors import InvalidRequest, Unsupported

TEXT_CHARACTERS_MAX = 16_384
TOKENS_MAX = 4_000


class Token(NamedTuple):
    """``kind``: word, quoted, string, number, symbol or end. ``text``: a word as written, a string or quoted name without its quotes."""

    kind: str
    text: str
    at: int

    @property
    def keyword(self) -> str:
        """The word in lower case; empty for anything that is no bare word."""
        return self.text.lower() if self.kind == "word" else ""


# A number that runs on into a word is a word: \d+[lsydf] and the like end where no letter, digit or underscore follows.
EXPONENT = r"(?:[eE][+-]?\d+)"
FRACTION_SUFFIX = "(?:[bB][dD]|[dDfF])?"
NUMBER = rf"(?:(?:\d+\.\d*|\.\d+){EXPONENT}?{FRACTION_SUFFIX}|\d+{EXPONENT}{FRACTION_SUFFIX}|\d+(?:[bB][dD]|[lLsSyYdDfF])?)(?![A-Za-z0-9_])"
TOKEN = re.compile(
    rf"""
      (?P<space>\s+|--[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)
    | (?P<raw>[rR](?:'[^']*'|"[^"]*"))
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<quoted>`(?:[^`]|``)+`)
    | (?P<number>{NUMBER})
    | (?P<word>[A-Za-z0-9_]+)
    | (?P<symbol><=>|<>|!=|==|<=|>=|!<|!>|\|\||->|=>|[-+*/%~&|^:<>=!(),.\[\]?;])
    """,
    re.VERBOSE | re.DOTALL,
)
SUBSTITUTION = re.compile(r"\$\{[^}$ ]+\}")
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-1][0-7]{2})|(.))", re.DOTALL)
ESCAPED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def tokens(text: str) -> list[Token]:
    """The tokens of ``text``, an ``end`` token last.

    Raises:
        InvalidRequest: a character that begins no token.
        Unsupported: longer than any expression that we compile.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        raise Unsupported(f"an expression may have {TEXT_CHARACTERS_MAX} characters; this one has {len(text)}")
    text = SUBSTITUTION.sub(substituted, text)
    found: list[Token] = []
    at, end = 0, len(text)
    while at < end:
        match = TOKEN.match(text, at)
        if match is None:
            raise InvalidRequest(f"Spark SQL has no token that begins with {text[at]!r} (at character {at + 1})", field="expression")
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(token(kind, match.group(), at))
        at = match.end()
        if len(found) > TOKENS_MAX:
            raise Unsupported(f"an expression may have {TOKENS_MAX} tokens; this one has more")
    found.append(Token("end", "", end))
    return found


def substituted(match: re.Match[str]) -> str:
    """Spark replaces ``${name}`` by the session's setting of that name: there are none, and so it is empty."""
    if ":" in match[0]:
        raise Unsupported(f"{match[0]}: an expression cannot read the environment or the settings of a session")
    return ""


def token(kind: str, text: str, at: int) -> Token:
    if kind == "raw":
        return Token("string", text[2:-1], at)
    if kind == "string":
        return Token("string", unescape(text[1:-1]), at)
    if kind == "quoted":
        return Token("quoted", text[1:-1].replace("``", "`"), at)
    return Token(kind, text, at)


def unescape(body: str) -> str:
    r"""Backslashes in a string literal, as Spark reads them: ``\%`` and ``\_`` keep theirs, for like."""
    if "\\" not in body:
        return body
    text = ESCAPE.sub(escaped, body)
    # two escapes may be the halves of one character
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def escaped(match: re.Match[str]) -> str:
    short, long, octal, other = match.groups()
    if short or long:
        code = int(short or long, 16)
        return chr(code) if code <= 0x10FFFF else "\ufffd"
    return chr(int(octal, 8)) if octal else ESCAPED.get(other, other)

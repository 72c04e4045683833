"""Encodings of strings, bytes and numbers: charsets, base64, digits in a base."""

import base64
import re
from collections.abc import Callable

from chronoserve.model.errors import DerivationFailed, InvalidRequest
from chronoserve.model.types import BINARY, INT, LONG, STRING
from chronoserve.sql.functions_conditional import decode_pairs
from chronoserve.sql.nodes import Node, constant, strict
from chronoserve.sql.registry import Function, accept, accept_all, alias, constant_of, simple, special
from chronoserve.sql.types import is_numeric
from chronoserve.sql.utf8 import utf8_text


def character(code: int) -> str:
    """The character of a code's lowest byte; empty for negative codes."""
    return "" if code < 0 else chr(code & 0xFF)


CHARSETS = {
    "US-ASCII": "ascii",
    "ISO-8859-1": "latin-1",
    "UTF-8": "utf-8",
    "UTF-16BE": "utf-16-be",
    "UTF-16LE": "utf-16-le",
    "UTF-16": "utf-16",
}


def charset(name: str) -> str:
    found = CHARSETS.get(name.upper())
    if found is None:
        raise DerivationFailed(f"the charset {name} is not known: one of {', '.join(CHARSETS)} is")
    return found


def encoded(text: str, name: str) -> bytes:
    found = charset(name)
    if found == "utf-16":
        return b"\xfe\xff" + text.encode("utf-16-be", "replace") if text else b""
    return text.encode(found, "replace")


def decoded(data: bytes, name: str) -> str:
    found = charset(name)
    if found == "utf-16":
        mark, body = data[:2], data[2:]
        if mark == b"\xff\xfe":
            return body.decode("utf-16-le", "replace")
        return (body if mark == b"\xfe\xff" else data).decode("utf-16-be", "replace")
    return utf8_text(data) if found == "utf-8" else data.decode(found, "replace")


def decode(name: str, arguments: list[Node]) -> Node:
    """Of binary and charset; with more arguments, a chain of comparisons."""
    if len(arguments) > 2:
        return decode_pairs(name, arguments)
    return strict(name, STRING, decoded, *accept_all(name, arguments, (BINARY, STRING)))


def base64_text(data: bytes) -> str:
    """In lines of 76 characters, as Java's MIME encoder writes."""
    text = base64.b64encode(data).decode("ascii")
    return "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))


NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")


PADDED = re.compile(r"((?:[^=]{4})*)([^=]{2}==|[^=]{3}=|[^=]{2,3})?")


def unbase64(text: str) -> bytes:
    """As Java's MIME decoder: characters that are none of the alphabet's are passed over; the end may lack its padding."""
    body = NOT_BASE64.sub("", text)
    match = PADDED.fullmatch(body)
    if match is None:
        raise DerivationFailed("unbase64 was given what is no base64")
    return base64.b64decode(body + "=" * (-len(body) % 4))


def to_hex(name: str, arguments: list[Node]) -> Node:
    (node,) = arguments
    if node.type == STRING:
        return strict(name, STRING, lambda text: text.encode("utf-8", "replace").hex().upper(), node)
    if node.type == BINARY:
        return strict(name, STRING, lambda data: data.hex().upper(), node)
    if not is_numeric(node.type):
        return to_hex(name, [accept(name, node, STRING)])
    return strict(name, STRING, lambda number: f"{number & 0xFFFFFFFFFFFFFFFF:X}", accept(name, node, LONG))


HEX_DIGITS = re.compile(r"[0-9a-fA-F]*", re.ASCII)


def unhex(text: str) -> bytes | None:
    """An odd first digit is a byte of its own; null where there is another character."""
    return bytes.fromhex(text if len(text) % 2 == 0 else f"0{text}") if HEX_DIGITS.fullmatch(text) else None


def binary_digits(number: int) -> str:
    return f"{number & 0xFFFFFFFFFFFFFFFF:b}"


UNSIGNED_MAX = (1 << 64) - 1


DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def conv(text: str, source: int, target: int) -> str | None:
    """A number's text in another base, as unsigned 64 bits; signed where the target base is negative."""
    if not (2 <= source <= 36 and 2 <= abs(target) <= 36):
        return None
    body = text.strip(" ")
    if not body:
        return None
    negative = body.startswith("-")
    value = 0
    for letter in body[negative:].upper():
        digit = DIGITS.find(letter)
        if not 0 <= digit < source:
            break
        value = min(value * source + digit, UNSIGNED_MAX)
    if negative and target > 0:
        value = UNSIGNED_MAX if value > UNSIGNED_MAX >> 1 else -value & UNSIGNED_MAX
    if target < 0 and value > UNSIGNED_MAX >> 1:
        value, negative = UNSIGNED_MAX + 1 - value, True
    return f"{'-' if negative and target < 0 else ''}{in_base(value, abs(target))}"


def in_base(value: int, base: int) -> str:
    found = ""
    while value:
        value, digit = divmod(value, base)
        found = DIGITS[digit] + found
    return found or "0"


CHARACTER = simple("char(code)", (LONG,), STRING, character, "The character of a code from 0 to 255.")


STRICT_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*={0,2}\s*", re.ASCII)


def strict_base64(text: str) -> bytes | None:
    """Bytes of base64, where nothing but blanks may stand between its characters."""
    return unbase64(text) if STRICT_BASE64.fullmatch(text) else None


BINARY_FORMATS: dict[str, Callable[[str], bytes | None]] = {
    "hex": unhex,
    "utf-8": lambda text: text.encode("utf-8", "replace"),
    "utf8": lambda text: text.encode("utf-8", "replace"),
    "base64": strict_base64,
}


def to_binary(*, quiet: bool) -> Callable[[str, list[Node]], Node]:
    """``to_binary`` by a constant format, hex where none is named; what does not fit fails, or is null if ``quiet``."""

    def resolve(name: str, arguments: list[Node]) -> Node:
        form = constant_of(name, arguments[1], STRING) if len(arguments) == 2 else "hex"
        if form is None:
            return constant(None, BINARY)
        convert = BINARY_FORMATS.get(form.lower())
        if convert is None:
            raise InvalidRequest(f"{name} takes one of the formats {', '.join(BINARY_FORMATS)}", field="expression")

        def run(text: str) -> bytes | None:
            try:
                found = convert(text)
            except DerivationFailed:
                found = None
            if found is None and not quiet:
                raise DerivationFailed(f"{name} was given a text that is no {form}")
            return found

        return strict(f"{name} {form}", BINARY, run, accept(name, arguments[0], STRING))

    return resolve


FUNCTIONS: tuple[Function, ...] = (
    CHARACTER,
    alias("chr", CHARACTER),
    simple("encode(text, charset)", (STRING, STRING), BINARY, encoded, "Bytes of a text in a charset."),
    special(
        "decode(binary, charset)",
        2,
        None,
        decode,
        "Text of bytes in a charset; with more arguments, ``decode(value, search, result, …, default)``.",
    ),
    simple("base64(binary)", (BINARY,), STRING, base64_text, "Base64, in lines of 76 characters."),
    simple("unbase64(text)", (STRING,), BINARY, unbase64, "Bytes of base64."),
    special("hex(value)", 1, 1, to_hex, "Hexadecimal digits of a whole number, string or binary."),
    simple("unhex(text)", (STRING,), BINARY, unhex, "Bytes of hexadecimal digits; null where there are others."),
    simple("bin(number)", (LONG,), STRING, binary_digits, "Binary digits of a whole number."),
    simple("conv(text, from, to)", (STRING, INT, INT), STRING, conv, "A number's text in another base."),
    special("to_binary(text, format)", 1, 2, to_binary(quiet=False), "Bytes of hex (the default), utf-8 or base64; else it fails."),
    special("try_to_binary(text, format)", 1, 2, to_binary(quiet=True), "As to_binary; null where it is none."),
)

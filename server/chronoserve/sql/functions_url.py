"""Parts and escapes of URLs."""

import re
from urllib.parse import unquote_to_bytes

from chronoserve.model.errors import DerivationFailed
from chronoserve.model.types import STRING
from chronoserve.sql.registry import EXACT_STRING, Function, simple
from chronoserve.sql.utf8 import utf8_text

URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
ILLEGAL = re.compile(r"[\s\x00-\x1f\x7f-\x9f<>\"{}|\\^`]|%(?![0-9a-fA-F]{2})")
AUTHORITY = re.compile(r"(?:(.*)@)?(\[[^\]]*\]|[^:]*)(?::(\d*))?")
SAFE = re.compile(r"[^A-Za-z0-9.*_-]")


def parse_url(url: str, part: str, key: str | None = None) -> str | None:
    """HOST, PATH, QUERY (of a key), REF, PROTOCOL, FILE, AUTHORITY or USERINFO; null where the text is no URL."""
    match = URL.fullmatch(url)
    if match is None or ILLEGAL.search(url):
        return None
    scheme, authority, path, query, fragment = match.groups()
    if key is not None:
        return query_value(query, key) if part == "QUERY" else None
    user, host = userinfo_and_host(authority)
    parts = {
        "PROTOCOL": scheme,
        "AUTHORITY": authority or None,
        "HOST": host,
        "USERINFO": user,
        "PATH": path,
        "QUERY": query,
        "REF": fragment,
        "FILE": path if query is None else f"{path}?{query}",
    }
    return parts.get(part)


def userinfo_and_host(authority: str | None) -> tuple[str | None, str | None]:
    match = AUTHORITY.fullmatch(authority or "")
    return (None, None) if match is None else (match[1], match[2] or None)


def query_value(query: str | None, key: str) -> str | None:
    match = re.search(rf"(?:&|^){re.escape(key)}=([^&]*)", query or "")
    return None if match is None else match[1]


def url_encode(text: str) -> str:
    """As a form's field: blanks are plus signs."""
    return SAFE.sub(lambda match: "+" if match[0] == " " else "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace")), text)


def url_decode(text: str) -> str:
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        raise DerivationFailed("url_decode: a % without two hexadecimal digits")
    return utf8_text(unquote_to_bytes(text.replace("+", " ")))


FUNCTIONS: tuple[Function, ...] = (
    simple(
        "parse_url(url, part, key)",
        (EXACT_STRING, EXACT_STRING, EXACT_STRING),
        STRING,
        parse_url,
        "HOST, PATH, QUERY, REF, PROTOCOL, FILE, AUTHORITY or USERINFO.",
        least=2,
    ),
    simple("url_encode(text)", (STRING,), STRING, url_encode, "As a form's field."),
    simple("url_decode(text)", (STRING,), STRING, url_decode, "What url_encode has encoded."),
)

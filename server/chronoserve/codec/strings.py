"""Lists of texts as one text: Base64 of each, joined by commas, as CHRONON_ENTITY_BY_TEAM has them (spec/online-fetch.md §4.1)."""

import base64
import binascii
from collections.abc import Iterable

from chronoserve.model.errors import CorruptValue


def encode(texts: Iterable[str]) -> bytes:
    return b",".join(base64.b64encode(text.encode()) for text in texts)


def decode(data: bytes) -> list[str]:
    """In the order written; an empty value is an empty list. Raises CorruptValue where an item is no Base64 of UTF-8."""
    if not data:
        return []
    try:
        return [base64.b64decode(item, validate=True).decode() for item in data.split(b",")]
    except (binascii.Error, UnicodeDecodeError):
        raise CorruptValue("a stored list of names is no Base64 list: upload the team's configurations again") from None

"""Chronon's hashes of texts and keys (spec/aggregation-and-codecs.md §4.1, §19.1)."""

import base64
import hashlib

_SAMPLES = 100_000
"""Keys are told apart to a thousandth of a percent."""


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def md5_base64_10(text: str) -> str:
    """The first ten characters of the Base64 form: names of schemas and of confs' contents."""
    return base64.b64encode(_md5(text.encode())).decode()[:10]


def md5_long(data: bytes) -> int:
    """The first eight bytes as a signed number, the greatest first."""
    return int.from_bytes(_md5(data)[:8], "big", signed=True)


def sampled(key_bytes: bytes, percent: float | None) -> bool:
    """Whether a response for these keys is logged where ``percent`` of the keys are: always or never for the same keys.

    None and 0 log nothing. A hash of 0 or of -2**63, whose magnitude Java has no long for, is never logged.
    """
    if not percent:
        return False
    magnitude = abs(md5_long(key_bytes))
    return 0 < magnitude < 1 << 63 and magnitude % _SAMPLES <= percent * (_SAMPLES // 100)

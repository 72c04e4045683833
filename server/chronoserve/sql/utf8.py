"""Text of bytes as Java reads UTF-8."""

import re

SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")
REPLACEMENT = "\ufffd".encode()


def utf8_text(data: bytes) -> str:
    """What is not UTF-8 is replaced; an encoded surrogate by one character, where Python puts one for each byte."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return SURROGATE.sub(REPLACEMENT, data).decode("utf-8", "replace")

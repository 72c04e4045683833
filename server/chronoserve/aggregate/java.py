"""Java's strings and hashes, as far as Chronon's answers depend on them. Hashes are unsigned numbers of 32 bits."""

import hashlib
import struct


def string_hash(text: str) -> int:
    """String.hashCode."""
    hashed = 0
    for unit in utf16_units(text):
        hashed = (31 * hashed + unit) & 0xFFFFFFFF
    return hashed


def long_hash(number: int) -> int:
    """Long.hashCode."""
    bits = number & 0xFFFFFFFFFFFFFFFF
    return (bits ^ bits >> 32) & 0xFFFFFFFF


def double_hash(number: float) -> int:
    """Double.hashCode."""
    return long_hash(int.from_bytes(struct.pack(">d", number), "big"))


def modified_utf8(text: str) -> bytes:
    """U+0000 takes two bytes, and a character beyond U+FFFF is two surrogates of three bytes each."""
    plain = text.encode("utf-8", "surrogatepass")
    if text.isascii() and b"\0" not in plain:
        return plain
    return b"".join(_modified(character) for character in text)


def serialised_string_md5(text: str) -> str:
    """MD5, in hex, of a String as ObjectOutputStream writes it."""
    encoded = modified_utf8(text)
    head = b"\x74" + struct.pack(">H", len(encoded)) if len(encoded) < 0x10000 else b"\x7c" + struct.pack(">Q", len(encoded))
    return hashlib.md5(b"\xac\xed\x00\x05" + head + encoded, usedforsecurity=False).hexdigest()


def utf16_units(text: str) -> tuple[int, ...]:
    encoded = text.encode("utf-16-be", "surrogatepass")
    return struct.unpack(f">{len(encoded) // 2}H", encoded)


def _modified(character: str) -> bytes:
    if character == "\0":
        return b"\xc0\x80"
    if character < "\U00010000":
        return character.encode("utf-8", "surrogatepass")
    return b"".join(chr(unit).encode("utf-8", "surrogatepass") for unit in utf16_units(character))

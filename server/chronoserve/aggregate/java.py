"""Java's strings and hash maps, as far as Chronon's answers depend on them."""

import hashlib
import struct
from collections.abc import Sequence

_LOAD = 0.75
_FIRST_SLOTS = 16


def string_hash(text: str) -> int:
    """String.hashCode, as an unsigned 32-bit number."""
    hashed = 0
    for unit in utf16_units(text):
        hashed = (31 * hashed + unit) & 0xFFFFFFFF
    return hashed


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


def hash_map_order(keys: Sequence[str], slots: int) -> list[str]:
    """``keys``, given in the order of insertion, as a HashMap of that many slots iterates over them."""
    mask = slots - 1
    return sorted(keys, key=lambda key: _spread(string_hash(key)) & mask)


def filled_slots(size: int) -> int:
    """How many slots a HashMap has that was filled one by one."""
    return grown_slots(_FIRST_SLOTS, size)


def grown_slots(slots: int, size: int) -> int:
    """How many slots a HashMap of ``slots`` has once it holds ``size`` entries."""
    while size > slots * _LOAD:
        slots *= 2
    return slots


def copied_slots(size: int) -> int:
    """How many slots a HashMap has that was made as a copy of a map of ``size`` entries (JDK 17 and older)."""
    return table_size(int(size / _LOAD + 1.0)) if size else _FIRST_SLOTS


def table_size(wanted: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << max(0, wanted - 1).bit_length()


def utf16_units(text: str) -> tuple[int, ...]:
    encoded = text.encode("utf-16-be", "surrogatepass")
    return struct.unpack(f">{len(encoded) // 2}H", encoded)


def _spread(hashed: int) -> int:
    return hashed ^ hashed >> 16


def _modified(character: str) -> bytes:
    if character == "\0":
        return b"\xc0\x80"
    if character < "\U00010000":
        return character.encode("utf-8", "surrogatepass")
    return b"".join(chr(unit).encode("utf-8", "surrogatepass") for unit in utf16_units(character))

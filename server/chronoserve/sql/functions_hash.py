"""Checksums and hashes of values."""

import hashlib
import struct
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import xxhash

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    DataType,
    ListType,
    StructType,
)
from chronoserve.sql.nodes import Evaluate, Node, Row, applied
from chronoserve.sql.numbers import wrap_int, wrap_long
from chronoserve.sql.registry import Function, alias, simple, special
from chronoserve.sql.types import DecimalType, has_map, is_interval

SEED = 42
MASK = 0xFFFFFFFF
Step = Callable[[Any, int], int]
"""A value that is not null and the hash so far, to the next hash."""


def sha2(data: bytes, bits: int) -> str | None:
    name = {0: "sha256", 224: "sha224", 256: "sha256", 384: "sha384", 512: "sha512"}.get(bits)
    return hashlib.new(name, data).hexdigest() if name else None


# Murmur3 x86 32, word by word: the tail's bytes each go in as an int of their own, with their sign


def mixed_key(word: int) -> int:
    word = word * 0xCC9E2D51 & MASK
    word = (word << 15 | word >> 17) & MASK
    return word * 0x1B873593 & MASK


def mixed(state: int, word: int) -> int:
    state ^= mixed_key(word)
    state = (state << 13 | state >> 19) & MASK
    return (state * 5 + 0xE6546B64) & MASK


def finished(state: int, size: int) -> int:
    state ^= size
    state ^= state >> 16
    state = state * 0x85EBCA6B & MASK
    state ^= state >> 13
    state = state * 0xC2B2AE35 & MASK
    return wrap_int(state ^ state >> 16)


def murmur_int(value: int, seed: int) -> int:
    return finished(mixed(seed & MASK, value & MASK), 4)


def murmur_long(value: int, seed: int) -> int:
    return finished(mixed(mixed(seed & MASK, value & MASK), value >> 32 & MASK), 8)


def murmur_bytes(data: bytes, seed: int) -> int:
    state, size = seed & MASK, len(data)
    whole = size - size % 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        state = mixed(state, word)
    for byte in data[whole:]:
        state = mixed(state, (byte - 256 if byte > 127 else byte) & MASK)
    return finished(state, size)


def xx_int(value: int, seed: int) -> int:
    return wrap_long(xxhash.xxh64_intdigest(struct.pack("<I", value & MASK), seed & 0xFFFFFFFFFFFFFFFF))


def xx_long(value: int, seed: int) -> int:
    return wrap_long(xxhash.xxh64_intdigest(struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF), seed & 0xFFFFFFFFFFFFFFFF))


def xx_bytes(data: bytes, seed: int) -> int:
    return wrap_long(xxhash.xxh64_intdigest(data, seed & 0xFFFFFFFFFFFFFFFF))


def hasher(data_type: DataType, of_int: Step, of_long: Step, of_bytes: Step) -> Step:
    """The step that a value of a type adds to a hash. Nulls inside of arrays and structs add nothing."""
    match data_type:
        case ListType(element):
            return hashed_list(hasher(element, of_int, of_long, of_bytes))
        case StructType(_, fields):
            return hashed_struct([hasher(field.type, of_int, of_long, of_bytes) for field in fields])
        case DecimalType(precision, scale):
            return hashed_decimal(precision, scale, of_long, of_bytes)
        case _:
            return atom_hasher(data_type, of_int, of_long, of_bytes)


def atom_hasher(data_type: DataType, of_int: Step, of_long: Step, of_bytes: Step) -> Step:
    if data_type in (BOOLEAN, BYTE, SHORT, INT, DATE):
        return lambda value, seed: of_int(int(value), seed)
    if data_type in (LONG, TIMESTAMP) or is_interval(data_type):
        return of_long
    if data_type == DOUBLE:
        return lambda value, seed: of_long(double_bits(value), seed)
    if data_type == FLOAT:
        return lambda value, seed: of_int(float_bits(value), seed)
    if data_type == STRING:
        return lambda value, seed: of_bytes(value.encode("utf-8", "replace"), seed)
    return of_bytes if data_type == BINARY else lambda _value, seed: seed


def double_bits(number: float) -> int:
    if number != number:  # noqa: PLR0124 - NaN
        return 0x7FF8000000000000
    return struct.unpack("<q", struct.pack("<d", number + 0.0 if number == 0 else number))[0]  # type: ignore[no-any-return]


def float_bits(number: float) -> int:
    if number != number:  # noqa: PLR0124 - NaN
        return 0x7FC00000
    return struct.unpack("<i", struct.pack("<f", number + 0.0 if number == 0 else number))[0]  # type: ignore[no-any-return]


def hashed_decimal(precision: int, scale: int, of_long: Step, of_bytes: Step) -> Step:
    def run(value: Decimal, seed: int) -> int:
        unscaled = int(value.scaleb(scale))
        if precision <= 18:
            return of_long(unscaled, seed)
        size = (unscaled if unscaled >= 0 else -unscaled - 1).bit_length() // 8 + 1
        return of_bytes(unscaled.to_bytes(size, "big", signed=True), seed)

    return run


def hashed_list(step: Step) -> Step:
    def run(values: list[Any], seed: int) -> int:
        for value in values:
            if value is not None:
                seed = step(value, seed)
        return seed

    return run


def hashed_struct(steps: list[Step]) -> Step:
    def run(values: tuple[Any, ...], seed: int) -> int:
        for step, value in zip(steps, values, strict=True):
            if value is not None:
                seed = step(value, seed)
        return seed

    return run


def hash_of(result: DataType, of_int: Step, of_long: Step, of_bytes: Step) -> Callable[[str, list[Node]], Node]:
    def resolve(name: str, arguments: list[Node]) -> Node:
        if any(has_map(node.type) for node in arguments):
            raise InvalidRequest(f"{name} takes no maps: hash map_entries, in an order of your own", field="expression")
        steps = [hasher(node.type, of_int, of_long, of_bytes) for node in arguments]

        def make(evaluates: list[Evaluate]) -> Evaluate:
            pairs = list(zip(evaluates, steps, strict=True))

            def run(row: Row) -> int:
                seed = SEED
                for evaluate, step in pairs:
                    value = evaluate(row)
                    if value is not None:
                        seed = step(value, seed)
                return seed

            return run

        return applied(name, result, make, *arguments)

    return resolve


SHA1 = simple(
    "sha1(binary)", (BINARY,), STRING, lambda data: hashlib.sha1(data, usedforsecurity=False).hexdigest(), "SHA-1, in hexadecimal."
)
FUNCTIONS: tuple[Function, ...] = (
    simple("md5(binary)", (BINARY,), STRING, lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(), "MD5, in hexadecimal."),
    SHA1,
    alias("sha", SHA1),
    simple("sha2(binary, bits)", (BINARY, INT), STRING, sha2, "SHA-2 of 224, 256 (also 0), 384 or 512 bits, in hexadecimal."),
    simple("crc32(binary)", (BINARY,), LONG, zlib.crc32, "Cyclic redundancy check."),
    special(
        "hash(value, …)",
        1,
        None,
        hash_of(INT, murmur_int, murmur_long, murmur_bytes),
        "Murmur3 of 32 bits with seed 42; nulls are passed over.",
    ),
    special(
        "xxhash64(value, …)", 1, None, hash_of(LONG, xx_int, xx_long, xx_bytes), "xxHash of 64 bits with seed 42; nulls are passed over."
    ),
)

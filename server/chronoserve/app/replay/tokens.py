"""Tokens for the puts of a recording, so that values of one millisecond keep the order in which they were put.

A TIMED dataset orders equal times by nonce, which is a hash of the token (spec/product.md §4, K4), and Chronon promises
no order at all; but its own test store, which the recordings were made with, keeps the order of arrival, and FIRST, LAST
and sums show it. Tokens whose nonces rise from put to put do the same on every store.
"""

import xxhash


def rising_tokens(count: int) -> list[bytes]:
    """``count`` tokens, no two of them equal, in the order of the nonces that the gateway makes of them."""
    return sorted((b"replay-%d" % number for number in range(count)), key=lambda token: xxhash.xxh3_128_digest(b"t" + token))

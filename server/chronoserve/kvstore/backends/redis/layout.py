"""What chronoserve stores in Redis, version 1: keys and members, and the commands that read them; ``scripts`` writes them.

Each (dataset, key) is one Redis key, ``cs1:{}:<dataset>:<key>``. The empty braces are no hash tag and keep later ones
from being one, so a cluster hashes the whole key, whatever bytes it holds.

- LATEST: a string, the timed value itself: MGET answers what travels. Expiry is Redis's own.
- TIMED: a sorted set with all scores 0, so ordered by its members, which are millis (8 bytes, big-endian), nonce (16),
  expires_at (8, big-endian), timed value. One command reads a range of times, one finds (millis, nonce) in O(log n).
- ``cs1:datasets``: a hash from dataset name to ``{"kind": "LATEST", "ttl_millis": 0}``.
"""

import json
from collections.abc import Sequence
from struct import Struct

from chronoserve.kvstore.backends.redis.connection import pack
from chronoserve.kvstore.port import PutRequest
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import CorruptValue

DATASETS = b"cs1:datasets"

NEVER = 2**64 - 1
"""``expires_at`` of a member that does not expire."""

MILLIS = Struct(">Q")
EXPIRES_AT_BEGINS = 24
VALUE_BEGINS = 32


def key_prefix(dataset: Dataset) -> bytes:
    """What the keys of a dataset begin with. Names hold neither ``:`` nor a character that MATCH takes for a pattern."""
    return b"cs1:{}:%b:" % dataset.name.encode()


class BulkHeads(dict[int, bytes]):
    """For each length of key, what stands before a key of one dataset in a command: its length on the wire and the prefix.

    Head and key together are an argument of MGET, at the price of one concatenation a key. The lengths that occur are few.
    """

    def __init__(self, prefix: bytes) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, key_bytes: int) -> bytes:
        head = self[key_bytes] = b"\r\n$%d\r\n%b" % (len(self._prefix) + key_bytes, self._prefix)
        return head


def mget_command(arguments: Sequence[bytes]) -> bytes:
    """MGET of keys that carry their heads."""
    return b"*%d\r\n$4\r\nMGET%b\r\n" % (len(arguments) + 1, b"".join(arguments))


def member(put: PutRequest) -> bytes:
    """A TIMED value as it is stored."""
    return b"".join((MILLIS.pack(put.millis), put.nonce, MILLIS.pack(put.expires_at or NEVER), put.timed_value))


def get_timed_command(key: bytes, after_ts_millis: int) -> bytes:
    """The command that answers the members at or after a time, oldest first."""
    return pack(b"ZRANGE", key, b"[" + MILLIS.pack(after_ts_millis) if after_ts_millis else b"-", b"+", b"BYLEX")


def timed_values(members: Sequence[bytes], now: int) -> bytes:
    """The values of ``members`` that have not expired, in travelling form."""
    alive_from = MILLIS.pack(now + 1)
    return b"".join([stored[VALUE_BEGINS:] for stored in members if stored[EXPIRES_AT_BEGINS:VALUE_BEGINS] >= alive_from])


def encode_properties(properties: Properties) -> bytes:
    return json.dumps({"kind": properties.kind.name, "ttl_millis": properties.ttl_millis}).encode()


def decode_properties(stored: bytes) -> Properties:
    """Raises CorruptValue where ``stored`` was not written by ``encode_properties``."""
    try:
        fields = json.loads(stored)
        return Properties(Kind[fields["kind"]], int(fields["ttl_millis"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptValue("the Redis hash cs1:datasets holds a dataset that cannot be read; see docs/reference/stores/redis.md") from exc

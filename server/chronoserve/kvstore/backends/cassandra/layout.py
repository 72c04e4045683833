"""How datasets are laid out in Cassandra's tables (docs/reference/stores/cassandra.md): statements and pure functions."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from chronoserve.model.errors import InvalidRequest

LAYOUT = 1
"""Version of the stored layout, kept with each dataset."""

KEY_BYTES_MAX = 32 << 10
VALUE_BYTES_MAX = 4 << 20
"""A mutation may fill half a commit log segment, 16 MiB as Cassandra ships."""

TIMED_ROWS_PER_PAGE = 500

KEY_BUCKETS = 64
"""Partitions that the index of one dataset's keys is spread over."""

NATIVE_TTL_SECONDS_MAX = 5 * 366 * 24 * 3600
"""Cassandra 4 refuses a ttl that ends after January 2038; what lives longer than this is filtered only, not reclaimed."""

TABLES = {
    "datasets": "CREATE TABLE IF NOT EXISTS {keyspace}.datasets (name text PRIMARY KEY, kind text, ttl_millis bigint, layout int)",
    "keys": "CREATE TABLE IF NOT EXISTS {keyspace}.keys (dataset text, bucket int, key blob, PRIMARY KEY ((dataset, bucket), key))",
    "latest": """CREATE TABLE IF NOT EXISTS {keyspace}.latest (
        dataset text, key blob, millis bigint, written bigint, value blob, expires_at bigint,
        PRIMARY KEY ((dataset, key), millis, written)) WITH CLUSTERING ORDER BY (millis DESC, written DESC)""",
    "timed": """CREATE TABLE IF NOT EXISTS {keyspace}.timed (
        dataset text, key blob, millis bigint, nonce blob, written bigint, value blob, expires_at bigint,
        PRIMARY KEY ((dataset, key), millis, nonce, written))""",
}

READS = {
    "datasets": "SELECT name, kind, layout, ttl_millis FROM {keyspace}.datasets",
    "read_latest": """SELECT key, millis, value, expires_at FROM {keyspace}.latest
        WHERE dataset = ? AND key IN ? PER PARTITION LIMIT 1""",
    "read_latest_rows": """SELECT key, millis, value, expires_at FROM {keyspace}.latest
        WHERE dataset = ? AND key = ? LIMIT ?""",
    "read_timed": """SELECT key, millis, nonce, value, expires_at FROM {keyspace}.timed
        WHERE dataset = ? AND key IN ? AND millis >= ?""",
    "read_keys": "SELECT key FROM {keyspace}.keys WHERE dataset = ? AND bucket = ? AND key > ? LIMIT ?",
}

WRITES = {
    "create": "INSERT INTO {keyspace}.datasets (name, kind, ttl_millis, layout) VALUES (?, ?, ?, ?) IF NOT EXISTS",
    # The second half removes what the row supersedes, so that a partition holds one row and not its history.
    "put_latest": """BEGIN UNLOGGED BATCH
        INSERT INTO {keyspace}.latest (dataset, key, millis, written, value, expires_at) VALUES (?, ?, ?, ?, ?, ?)
            USING TIMESTAMP ? AND TTL ?;
        DELETE FROM {keyspace}.latest USING TIMESTAMP ? WHERE dataset = ? AND key = ? AND (millis, written) < (?, ?);
        APPLY BATCH""",
    "put_timed": """INSERT INTO {keyspace}.timed (dataset, key, millis, nonce, written, value, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?""",
    "delete_latest": "DELETE FROM {keyspace}.latest USING TIMESTAMP ? WHERE dataset = ? AND key = ?",
    "delete_timed": "DELETE FROM {keyspace}.timed USING TIMESTAMP ? WHERE dataset = ? AND key = ?",
    "put_key": "INSERT INTO {keyspace}.keys (dataset, bucket, key) VALUES (?, ?, ?) USING TTL ?",
}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """The prepared statement for each thing that the store asks: ``READS`` and ``WRITES`` by name."""

    datasets: Any
    read_latest: Any
    read_latest_rows: Any
    read_timed: Any
    read_keys: Any
    create: Any
    put_latest: Any
    put_timed: Any
    delete_latest: Any
    delete_timed: Any
    put_key: Any


def routing_key(dataset: str, key: bytes) -> bytes:
    """The partition key (dataset, key) in the form that Cassandra hashes."""
    name = dataset.encode()
    return b"".join((len(name).to_bytes(2, "big"), name, b"\0", len(key).to_bytes(2, "big"), key, b"\0"))


def native_ttl_seconds(expires_at: int, now: int) -> int:
    """What to tell Cassandra, rounded up so that it expires nothing early; 0: for ever. Arguments in epoch milliseconds."""
    if not expires_at:
        return 0
    seconds = max(1, -((now - expires_at) // 1000))
    return seconds if seconds <= NATIVE_TTL_SECONDS_MAX else 0


def live(expires_at: int, now: int) -> bool:
    """Both in epoch milliseconds; ``expires_at`` 0: never."""
    return not expires_at or expires_at > now


def newest_live(rows: Iterable[Row], after: int, now: int) -> bytes:
    """The value of a LATEST key that counts: the newest one that has not expired, or none if that is before ``after``.

    ``rows`` are (key, millis, value, expires_at) in the table's order, newest first.
    """
    for _, millis, value, expires_at in rows:
        if live(expires_at, now):
            return bytes(value) if millis >= after else b""
    return b""


def join_timed(rows: Iterable[Row], now: int) -> dict[bytes, bytes]:
    """The live values of each key, oldest first; of several rows with one identity the one that was written first.

    ``rows`` are (key, millis, nonce, value, expires_at), each key's together and in the table's order.
    """
    found: dict[bytes, list[bytes]] = {}
    last: Row = ()
    for key, millis, nonce, value, expires_at in rows:
        identity = (key, millis, nonce)
        if identity != last and live(expires_at, now):
            last = identity
            found.setdefault(key, []).append(value)
    return {key: b"".join(values) for key, values in found.items()}


def bucket_of(key: bytes) -> int:
    """The partition of the index that a key is in."""
    return zlib.crc32(key) % KEY_BUCKETS


class Position(NamedTuple):
    """A place in the order of a scan: after ``key`` in ``bucket``; no key: the start of the bucket."""

    bucket: int
    key: bytes

    @classmethod
    def after(cls, key: bytes) -> "Position":
        return cls(bucket_of(key), key)

    def token(self) -> bytes:
        """The position of a key, as a page token."""
        return bytes((LAYOUT, self.bucket)) + self.key

    @classmethod
    def of_token(cls, token: bytes) -> "Position":
        """The start for no token. Raises InvalidRequest for bytes that ``token`` did not make."""
        if not token:
            return cls(0, b"")
        position = cls.after(token[2:])
        if len(token) > 2 + KEY_BYTES_MAX or not position.key or position.token() != token:
            raise InvalidRequest("this page token is not one of this store's; begin the scan again without one", field="token")
        return position

"""The rows of an LMDB store, layout 1, and what one transaction does with them (docs/reference/stores/lmdb.md).

    records   LATEST   <dataset 4> <key>                                    → <checksum 8> <expires 8> <millis 8> <timed value>
              TIMED    <dataset 4> <length 2> <key> <millis 8> <nonce 16>   → the same
    expiry    <expires 8> <key in records>                                  → nothing
    datasets  <name>                                                        → <checksum 8> <JSON: id, kind, ttl_millis>
    meta      layout → 1;  datasets → <checksum 8> <the last id, in decimal>

Numbers are big-endian, so that byte order is order in time. A checksum is XXH3-64 over the row's key and all that
follows the checksum: LMDB 0.9 has none of its own. A *base* is the part of a row's key that all rows of one user key
share. A *floor* is the first expiry time that still lives, as 8 bytes: a row lives where ``record[8:] >= floor``.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, takewhile
from struct import Struct
from typing import NamedTuple, TypeAlias

import lmdb
from xxhash import xxh3_64_digest

from chronoserve.kvstore.port import PutRequest, too_much
from chronoserve.model.errors import CorruptValue

Txn: TypeAlias = "lmdb.Transaction[bytes]"
Table: TypeAlias = "lmdb._Database"  # noqa: SLF001 - its only name
Row = tuple[bytes, bytes]

LAYOUT = b"1"
LMDB_KEY_BYTES_MAX = 511
NUMBER_BYTES = 8
DATASET_BYTES = 4
LENGTH_BYTES = 2
NONCE_BYTES = 16
TAIL_BYTES = NUMBER_BYTES + NONCE_BYTES
KEY_BYTES_MAX = LMDB_KEY_BYTES_MAX - NUMBER_BYTES - DATASET_BYTES - LENGTH_BYTES - TAIL_BYTES
"""What is left for the user's key in the longest row key there is: the expiry entry of a TIMED value."""

NEVER = (1 << 63) - 1
NEVER_BYTES = NEVER.to_bytes(NUMBER_BYTES, "big")
AFTER_ALL = b"\xff" * NUMBER_BYTES
"""Sorts after every time of a base."""

SWEEP_ROWS_MAX = 1000
"""Expired rows that one transaction takes away: writers wait for it, so it is a matter of milliseconds."""

_header = Struct(">QQ")


class Tables(NamedTuple):
    """The named databases of an environment; ``records`` is the one that transactions default to."""

    meta: Table
    datasets: Table
    records: Table
    expiry: Table


NO_BOUND = 1 << 62
"""Of a scan, whose pages have a bound of their own."""


class Keyspace(NamedTuple):
    """Where the rows of one dataset are."""

    prefix: bytes
    timed: bool

    @classmethod
    def of(cls, number: int, *, timed: bool) -> "Keyspace":
        return cls(number.to_bytes(DATASET_BYTES, "big"), timed)

    def base(self, key: bytes) -> bytes:
        """What the rows of ``key`` begin with; the length keeps ``k`` and ``k:1`` apart where more follows."""
        return b"".join((self.prefix, len(key).to_bytes(LENGTH_BYTES, "big"), key)) if self.timed else self.prefix + key

    def base_of(self, row: Row) -> bytes:
        return row[0][:-TAIL_BYTES] if self.timed else row[0]

    def key(self, base: bytes) -> bytes:
        return base[DATASET_BYTES + LENGTH_BYTES :] if self.timed else base[DATASET_BYTES:]

    def owns(self, base: bytes) -> bool:
        """Whether ``base`` can be one of this dataset."""
        key = self.key(base)
        return 0 < len(key) <= KEY_BYTES_MAX and self.base(key) == base


def floor_of(now: int) -> bytes:
    """``now``: epoch milliseconds; what expires then is gone already."""
    return (now + 1).to_bytes(NUMBER_BYTES, "big")


def damaged() -> CorruptValue:
    return CorruptValue("a stored value does not match its checksum: write or load it again, and check the disk")


def seal(key: bytes, content: bytes) -> bytes:
    """``content`` behind its checksum."""
    return xxh3_64_digest(key + content) + content


def unseal(key: bytes, sealed: bytes) -> bytes:
    """What ``seal`` was given. Raises CorruptValue where that cannot be told."""
    content = sealed[8:]
    if xxh3_64_digest(key + content) != sealed[:8]:
        raise damaged()
    return content


def merge(rows: Iterable[Row], floor: bytes, bytes_max: int = NO_BOUND) -> bytes:
    """The living timed values of ``rows``, joined.

    Raises:
        CorruptValue: one of them does not match its checksum, so that none can be told for certain.
        InvalidRequest: they have more than ``bytes_max`` bytes.
    """
    living = []
    left = bytes_max
    for key, record in rows:
        body = record[8:]
        if xxh3_64_digest(key + body) != record[:8]:
            raise damaged()
        if body >= floor:
            living.append(body[16:])
            left -= len(record)
            if left < 0:
                raise too_much()
    return b"".join(living)


def _rows_of(txn: Txn, base: bytes, after: bytes) -> Iterator[Row]:
    """The rows of a TIMED key from the time ``after``, oldest first."""
    cursor = txn.cursor()
    if not cursor.set_range(base + after):
        return iter(())
    end = base + AFTER_ALL
    return takewhile(lambda row: row[0] < end, cursor)


def read(txn: Txn, space: Keyspace, key: bytes, after: int, floor: bytes, *, bytes_max: int) -> bytes:
    """One key's living timed values at or after ``after``, oldest first. Raises what ``merge`` does."""
    base, since = space.base(key), after.to_bytes(NUMBER_BYTES, "big")
    if space.timed:
        return merge(_rows_of(txn, base, since), floor, bytes_max)
    record = txn.get(base)
    if record is None:
        return b""
    found = merge([(base, record)], floor, bytes_max)
    return found if record[16:24] >= since else b""


def put(txn: Txn, tables: Tables, space: Keyspace, write: PutRequest, floor: bytes) -> None:
    """Apply one write as K2 and K4 say. A damaged row is as good as none."""
    base, millis = space.base(write.key), write.millis.to_bytes(NUMBER_BYTES, "big")
    key = base + millis + write.nonce if space.timed else base
    stored = txn.get(key)
    if stored is not None:
        if _stays(key, stored, floor) and (space.timed or stored[16:24] > millis):
            return
        _forget_expiry(txn, tables, key, stored)
    header = _header.pack(write.expires_at or NEVER, write.millis)
    txn.put(key, seal(key, header + write.timed_value))
    if write.expires_at:
        txn.put(header[:8] + key, b"", db=tables.expiry)


def _stays(key: bytes, record: bytes, floor: bytes) -> bool:
    body = record[8:]
    return body >= floor and xxh3_64_digest(key + body) == record[:8]


def _forget_expiry(txn: Txn, tables: Tables, key: bytes, record: bytes) -> None:
    expires = record[8:16]
    if expires != NEVER_BYTES:
        txn.delete(expires + key, db=tables.expiry)


def remove(txn: Txn, tables: Tables, space: Keyspace, key: bytes) -> None:
    """Take away every row of ``key``."""
    base = space.base(key)
    keys = [row[0] for row in _rows_of(txn, base, b"")] if space.timed else [base]
    for row_key in keys:
        record = txn.pop(row_key)
        if record is not None:
            _forget_expiry(txn, tables, row_key, record)


def _due(txn: Txn, tables: Tables, floor: bytes) -> Iterator[bytes]:
    entries: Iterator[bytes] = txn.cursor(tables.expiry).iternext(keys=True, values=False)
    return takewhile(lambda entry: entry < floor, entries)


def is_sweep_due(txn: Txn, tables: Tables, *, floor: bytes) -> bool:
    return next(_due(txn, tables, floor), None) is not None


def sweep(txn: Txn, tables: Tables, *, floor: bytes) -> int:
    """Take away up to ``SWEEP_ROWS_MAX`` expired rows, the longest expired first; how many entries there were."""
    entries = list(islice(_due(txn, tables, floor), SWEEP_ROWS_MAX))
    for entry in entries:
        key = entry[NUMBER_BYTES:]
        stored = txn.get(key)
        # The row may have been damaged, so that its own expiry is no longer the entry's: it stays to be found.
        if stored is not None and stored[8:16] == entry[:NUMBER_BYTES]:
            txn.delete(key)
        txn.delete(entry, db=tables.expiry)
    return len(entries)


class Stretch(NamedTuple):
    """Part of a dataset: (key, timed values) pairs, their size, and the last base seen; empty: there is no more."""

    entries: list[Row]
    size_bytes: int
    last: bytes


def walk(txn: Txn, _tables: Tables, *, space: Keyspace, after: bytes, keys_max: int, bytes_max: int, floor: bytes) -> Stretch:
    """The keys after the base ``after`` (empty: all), looking at ``keys_max`` of them and stopping at ``bytes_max``.

    Raises:
        CorruptValue: one of them is damaged.
    """
    cursor = txn.cursor()
    if not cursor.set_range((after + (AFTER_ALL if space.timed else b"\0")) if after else space.prefix):
        return Stretch([], 0, b"")
    entries: list[Row] = []
    size = 0
    rows = takewhile(lambda row: row[0].startswith(space.prefix), cursor)
    for seen, (base, group) in enumerate(groupby(rows, space.base_of), 1):
        if found := merge(group, floor):
            key = space.key(base)
            entries.append((key, found))
            size += len(key) + len(found)
        if seen == keys_max or size >= bytes_max:
            return Stretch(entries, size, base)
    return Stretch(entries, size, b"")


class Verdict(NamedTuple):
    """What a check of every row found. All is well where only ``rows`` counts."""

    rows: int = 0
    damaged: int = 0
    """Rows that do not match their checksum."""
    unindexed: int = 0
    """Rows with a ttl that the sweeper would never find."""
    stray: int = 0
    """Expiry entries without their row."""

    def __add__(self, other: object) -> "Verdict":
        if not isinstance(other, Verdict):
            return NotImplemented
        return Verdict(*map(sum, zip(self, other, strict=True)))


def inspect_records(txn: Txn, tables: Tables, *, after: bytes, rows_max: int) -> tuple[Verdict, bytes]:
    """Check up to ``rows_max`` rows after the row key ``after``; and the last one's key, empty at the end."""
    rows = _stretch(txn, tables.records, after, rows_max)
    broken = sum(xxh3_64_digest(key + record[8:]) != record[:8] for key, record in rows)
    temporary = (record[8:16] + key for key, record in rows if record[8:16] != NEVER_BYTES)
    unindexed = sum(txn.get(entry, db=tables.expiry) is None for entry in temporary)
    return Verdict(len(rows), broken, unindexed), _last(rows, rows_max)


def inspect_expiry(txn: Txn, tables: Tables, *, after: bytes, rows_max: int) -> tuple[Verdict, bytes]:
    """The same for the entries of ``expiry``."""
    rows = _stretch(txn, tables.expiry, after, rows_max)
    stray = sum((txn.get(entry[NUMBER_BYTES:]) or b"")[8:16] != entry[:NUMBER_BYTES] for entry, _ in rows)
    return Verdict(stray=stray), _last(rows, rows_max)


def _stretch(txn: Txn, table: Table, after: bytes, rows_max: int) -> list[Row]:
    cursor = txn.cursor(table)
    return list(islice(cursor, rows_max)) if cursor.set_range(after + b"\0") else []


def _last(rows: Sequence[Row], rows_max: int) -> bytes:
    return rows[-1][0] if len(rows) == rows_max else b""

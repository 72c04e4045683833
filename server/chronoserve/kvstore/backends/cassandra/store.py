"""The store: the port's calls as statements on the tables of the layout.

Reads ask for the keys that one node owns together (``key IN ?``): the client's work is per request, and a batch of a
hundred keys would otherwise be a hundred requests. Writes are one single-partition mutation for each key.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from cassandra.query import BoundStatement

from chronoserve.kvstore.backends.cassandra.connection import Connection
from chronoserve.kvstore.backends.cassandra.courier import Answer, Courier, Failure, Fate, Request, Row, read_error, write_error
from chronoserve.kvstore.backends.cassandra.layout import (
    KEY_BUCKETS,
    LAYOUT,
    Position,
    bucket_of,
    join_timed,
    live,
    native_ttl_seconds,
    newest_live,
    routing_key,
)
from chronoserve.kvstore.port import Catalog, GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.kvstore.portions import Portions
from chronoserve.kvstore.registry import Clock
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import FailedPrecondition, KVError, Unavailable

LATEST_KEYS_PER_READ = 32
TIMED_KEYS_PER_READ = 8
"""Fewer, because the pages of one read come one after the other."""
LATEST_ROWS_MAX = 100
"""Rows of one key that are looked through when its newest value has expired."""
SCAN_KEYS_PER_READ = 32
INDEXED_KEYS_MAX = 32 << 10
"""Keys that this process remembers to have put into the index of scans."""
NEVER = 1 << 62
"""An expiry that does not come."""


class KeysRead(BoundStatement):  # type: ignore[misc]  # the driver has no types
    """A read of several keys. The driver derives no routing key from ``IN``, so it is given one that they share."""

    routing_key: bytes | None = None


class KeyedRead(NamedTuple):
    """A request for some keys of one dataset."""

    request: Request
    dataset: Dataset
    after: int
    keys: Sequence[bytes]


class KeyedWrite(NamedTuple):
    """A mutation, and the places of the port's requests that it answers."""

    request: Request
    key: Key
    places: Sequence[int]


class CassandraStore(KVStore):
    """Tables ``latest`` and ``timed`` hold the values, ``datasets`` the datasets, ``keys`` the index of scans."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """To be made on the event loop that will use it."""
        self.capability = connection.capability
        self._connection = connection
        self._statements = connection.statements
        self._courier = Courier(connection.session, asyncio.get_running_loop())
        self._clock = clock
        self._catalog = Catalog()
        self.portions = Portions()
        self._written = 0
        self._indexed: dict[Key, int] = {}
        self._closed = False

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        (rows,) = await self._rows([(self._statements.datasets, ())], deadline)
        return {row[0]: self._described(*row) for row in rows}

    def _described(self, name: str, kind: str, layout: int, ttl_millis: int) -> Dataset:
        if layout != LAYOUT:
            raise FailedPrecondition(f"the dataset {name} is stored in layout {layout}, this version reads {LAYOUT}; use a newer one")
        return self._catalog.intern(name, Properties(Kind[kind], ttl_millis))

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        values = (name, properties.kind.name, properties.ttl_millis, LAYOUT)
        (((applied, *stored),),) = await self._rows([(self._statements.create, values)], deadline, write_error)
        return self._catalog.intern(name, properties) if applied else self._described(*stored)

    async def _run(self, requests: Sequence[Request], deadline: float) -> list[Answer]:
        if self._closed:
            raise Unavailable("the store is closed")
        return await self._courier.run(requests, deadline)

    async def _rows(
        self, requests: Sequence[Request], deadline: float, error: Callable[[Fate | Failure], KVError] = read_error
    ) -> list[list[Row]]:
        """The rows of each request. Raises the error of the first that has one."""
        found = []
        for answer in await self._run(requests, deadline):
            if isinstance(answer, Fate | Failure):
                raise error(answer)
            found.append(answer or [])
        return found

    # reading

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return await self.portions.read(requests, partial(self._get, deadline=deadline))

    async def _get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        """All of them at once."""
        reads = list(self._plan_reads(requests))
        answers = await self._run([read.request for read in reads], deadline)
        found: dict[GetRequest, GetResult] = {}
        outlived: list[GetRequest] = []
        now = self._clock()
        for read, answer in zip(reads, answers, strict=True):
            values = self._values(read, answer, now, outlived)
            found.update({(read.dataset, key, read.after): values.get(key, b"") for key in read.keys})
        if outlived:
            found.update(await self._read_below_the_expired(outlived, now, deadline))
        return [found[request] for request in requests]

    def _plan_reads(self, requests: Sequence[GetRequest]) -> Iterator[KeyedRead]:
        groups: dict[tuple[Dataset, int], dict[bytes, None]] = {}
        for dataset, key, after in requests:
            groups.setdefault((dataset, after), {})[key] = None
        for (dataset, after), keys in groups.items():
            size = TIMED_KEYS_PER_READ if dataset.timed else LATEST_KEYS_PER_READ
            for route, owned in self._by_owner(dataset.name, list(keys)):
                for start in range(0, len(owned), size):
                    chunk = owned[start : start + size]
                    yield KeyedRead(self._bind_read(dataset, chunk, after, route), dataset, after, chunk)

    def _by_owner(self, dataset: str, keys: list[bytes]) -> Collection[tuple[bytes | None, list[bytes]]]:
        """The keys by the node that owns them, with a routing key to it; None where there is only one way to go."""
        if self._connection.lone_node:
            return [(None, keys)]
        owned: dict[Any, tuple[bytes, list[bytes]]] = {}
        for key in keys:
            route = routing_key(dataset, key)
            owned.setdefault(self._connection.owner(route), (route, []))[1].append(key)
        return owned.values()

    def _bind_read(self, dataset: Dataset, keys: Sequence[bytes], after: int, route: bytes | None) -> Request:
        statement = KeysRead(self._statements.read_timed if dataset.timed else self._statements.read_latest)
        statement.routing_key = route
        statement.bind((dataset.name, keys, after) if dataset.timed else (dataset.name, keys))
        return statement, None

    @staticmethod
    def _values(read: KeyedRead, answer: Answer, now: int, outlived: list[GetRequest]) -> dict[bytes, GetResult]:
        """What was found for the keys of one read; those whose newest value has expired are added to ``outlived``."""
        if isinstance(answer, Fate | Failure):
            return dict.fromkeys(read.keys, read_error(answer))
        if read.dataset.timed:
            return {**join_timed(answer or (), now)}
        values: dict[bytes, GetResult] = {}
        for key, millis, value, expires_at in answer or ():
            if not live(expires_at, now):
                outlived.append((read.dataset, key, read.after))
            elif millis >= read.after:
                values[key] = value
        return values

    async def _read_below_the_expired(self, requests: list[GetRequest], now: int, deadline: float) -> dict[GetRequest, GetResult]:
        """What the rows under an expired one hold: Cassandra reclaims that up to a second late, and hides them as long."""
        statement = self._statements.read_latest_rows
        answers = await self._run([(statement, (dataset.name, key, LATEST_ROWS_MAX)) for dataset, key, _ in requests], deadline)
        found: dict[GetRequest, GetResult] = {}
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, Fate | Failure):
                found[request] = read_error(answer)
            else:
                found[request] = newest_live(answer or (), request[2], now)
        return found

    # writing

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        results: list[PutResult] = [None] * len(requests)
        unindexed = await self._index(requests, deadline)
        writes = []
        for write in self._plan_puts(requests):
            if error := unindexed.get(write.key):
                _give(results, write, error)
            else:
                writes.append(write)
        await self._apply(writes, results, deadline)
        return results

    async def _apply(self, writes: Sequence[KeyedWrite], results: list[PutResult], deadline: float) -> None:
        answers = await self._run([write.request for write in writes], deadline)
        for write, answer in zip(writes, answers, strict=True):
            if isinstance(answer, Fate | Failure):
                _give(results, write, write_error(answer))

    def _plan_puts(self, requests: Sequence[PutRequest]) -> Iterator[KeyedWrite]:
        """A mutation for each TIMED value, and one for the winner among the LATEST values of each key."""
        now = self._clock()
        latest: dict[Key, list[int]] = {}
        for place, put in enumerate(requests):
            key = (put.dataset, put.key)
            if put.dataset.timed:
                yield KeyedWrite(self._timed_put(put, now), key, (place,))
            else:
                latest.setdefault(key, []).append(place)
        for key, places in latest.items():
            winner = max(places, key=lambda place: (requests[place].millis, place))
            yield KeyedWrite(self._latest_put(requests[winner], now), key, places)

    def _latest_put(self, put: PutRequest, now: int) -> Request:
        written = self._next_written()
        name, key, millis = put.dataset.name, put.key, put.millis
        row = (name, key, millis, written, put.timed_value, put.expires_at, written, native_ttl_seconds(put.expires_at, now))
        return self._statements.put_latest, (*row, written, name, key, millis, written)

    def _timed_put(self, put: PutRequest, now: int) -> Request:
        written = self._next_written()
        row = (put.dataset.name, put.key, put.millis, put.nonce, written, put.timed_value, put.expires_at)
        return self._statements.put_timed, (*row, written, native_ttl_seconds(put.expires_at, now))

    def _next_written(self) -> int:
        """Epoch microseconds of the machine's clock, later than any before: order of writes, and Cassandra's write timestamp."""
        self._written = max(time.time_ns() // 1000, self._written + 1)
        return self._written

    async def _index(self, requests: Sequence[PutRequest], deadline: float) -> dict[Key, KVError]:
        """Put the keys into the index of scans before their values; answers the keys for which that failed, and why.

        Rows of the index outlive the value by as long as it lives, so that a key that is written again and again is
        seldom indexed anew. They are never deleted: another process may rely on having written one.
        """
        now = self._clock()
        until = {
            (put.dataset, put.key): 2 * put.expires_at - now if put.expires_at else NEVER for put in requests if not self._is_indexed(put)
        }
        if not until:
            return {}
        answers = await self._run([self._index_put(*key, expires_at, now) for key, expires_at in until.items()], deadline)
        failed: dict[Key, KVError] = {}
        for key, answer in zip(until, answers, strict=True):
            if isinstance(answer, Fate | Failure):
                failed[key] = read_error(answer)
            else:
                self._remember_indexed(key, until[key])
        return failed

    def _is_indexed(self, put: PutRequest) -> bool:
        return self._indexed.get((put.dataset, put.key), 0) >= (put.expires_at or NEVER)

    def _index_put(self, dataset: Dataset, key: bytes, expires_at: int, now: int) -> Request:
        ttl = native_ttl_seconds(0 if expires_at == NEVER else expires_at, now)
        return self._statements.put_key, (dataset.name, bucket_of(key), key, ttl)

    def _remember_indexed(self, key: Key, until: int) -> None:
        self._indexed.pop(key, None)
        self._indexed[key] = until
        if len(self._indexed) > INDEXED_KEYS_MAX:
            del self._indexed[next(iter(self._indexed))]

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        results: list[PutResult] = [None] * len(keys)
        places: dict[Key, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        await self._apply([KeyedWrite(self._deletion(*key), key, where) for key, where in places.items()], results, deadline)
        return results

    def _deletion(self, dataset: Dataset, key: bytes) -> Request:
        statement = self._statements.delete_timed if dataset.timed else self._statements.delete_latest
        return statement, (self._next_written(), dataset.name, key)

    # scanning

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        position = Position.of_token(token)
        entries: list[tuple[bytes, bytes]] = []
        size, buckets = 0, 1
        while position.bucket < KEY_BUCKETS:
            keys, position = await self._keys_after(dataset, position, buckets, keys_max, deadline)
            buckets *= 2  # a small dataset leaves most of them empty
            for start in range(0, len(keys), SCAN_KEYS_PER_READ):
                for key, values in await self._entries(dataset, keys[start : start + SCAN_KEYS_PER_READ], deadline):
                    entries.append((key, values))
                    size += len(key) + len(values)
                    if len(entries) == keys_max or size >= bytes_max:
                        return Page(entries, Position.after(key).token())
        return Page(entries, b"")

    async def _keys_after(
        self, dataset: Dataset, position: Position, buckets: int, keys_max: int, deadline: float
    ) -> tuple[list[bytes], Position]:
        """Keys in the order of scans from ``position``, out of so many buckets, and the position after the last of them."""
        asked = range(position.bucket, min(position.bucket + buckets, KEY_BUCKETS))
        starts = (position.key, *(b"" for _ in asked[1:]))
        requests = [(self._statements.read_keys, (dataset.name, *start, keys_max)) for start in zip(asked, starts, strict=True)]
        found: list[bytes] = []
        for rows in await self._rows(requests, deadline):
            found += [key for (key,) in rows]
            if len(rows) == keys_max:
                return found, Position.after(found[-1])
        return found, Position(asked.stop, b"")

    async def _entries(self, dataset: Dataset, keys: Sequence[bytes], deadline: float) -> list[tuple[bytes, bytes]]:
        """The keys that have values, with them. Raises the error of the first that has one."""
        entries = []
        for key, values in zip(keys, await self._get([(dataset, key, 0) for key in keys], deadline=deadline), strict=True):
            if isinstance(values, KVError):
                raise values
            if values:
                entries.append((key, values))
        return entries

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._connection.close)


def _give(results: list[PutResult], write: KeyedWrite, error: KVError) -> None:
    for place in write.places:
        results[place] = error

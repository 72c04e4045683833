"""``lmdb:///dir``: the embedded default. Many worker processes on one map, reads on the loop, group-committed writes.

Options: ``map_size_mib`` (64), ``map_size_max_gib`` (1024), ``sync`` (true), ``readahead`` (true), ``readers_max``
(1024), ``sweep_seconds`` (60). Layout, meaning and limits: docs/reference/stores/lmdb.md.
"""

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import lmdb
import structlog
from xxhash import xxh3_64_digest

from chronoserve.kvstore.backends.lmdb import rows as lmdb_rows
from chronoserve.kvstore.backends.lmdb.environment import Settings, Work, refused
from chronoserve.kvstore.backends.lmdb.rows import Keyspace, Tables, Txn, Verdict
from chronoserve.kvstore.backends.lmdb.writer import GroupWriter, sharing
from chronoserve.kvstore.port import (
    ANSWER_BYTES_MAX,
    Capability,
    Catalog,
    GetRequest,
    GetResult,
    Key,
    KVStore,
    Page,
    PutRequest,
    PutResult,
    too_much,
)
from chronoserve.kvstore.registry import Clock, StoreURL
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import AnswerTooLarge, CorruptValue, DeadlinePassed, InvalidRequest, KVError, Unavailable

T = TypeVar("T")

ROW_BYTES = 200
"""What a row costs in a transaction beside its value, roughly."""
COUNTED_KEYS = 32
"""Keys that are read before their bytes are counted."""
STRETCH_KEYS_MAX = 256
"""Keys that a scan looks at before it lets the event loop run."""
INSPECTED_ROWS_MAX = 1000
COUNTER_KEY = b"datasets"

log = structlog.get_logger("chronoserve.lmdb")

CAPABILITY = Capability(
    engine="lmdb",
    key_bytes_max=lmdb_rows.KEY_BYTES_MAX,
    value_bytes_max=16 << 20,
    multi_get_keys_max=10_000,
    multi_put_keys_max=10_000,
    reads_inline=True,
    durable=True,
    durability="on this machine's disk: committed and fsynced before it is acknowledged",
    linearizable=True,
)
UNSYNCED = dataclasses.replace(
    CAPABILITY,
    durable=False,
    durability="in this machine's page cache: survives the end of the server, but a power cut may damage the whole store",
)


class LMDBStore(KVStore):
    """One user of a directory's environment and writer, which all stores of the process on that directory share."""

    def __init__(self, directory: Path, writer: GroupWriter, clock: Clock) -> None:
        self.capability = CAPABILITY if writer.environment.settings.sync else UNSYNCED
        self.directory = directory
        self._writer = writer
        self._read = writer.environment.read
        self._clock = clock
        self._closed = False
        self._catalog = Catalog()
        self._spaces: dict[Dataset, Keyspace] = {}
        self._latest_prefixes: dict[Dataset, bytes] = {}

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        for name, sealed in self._read(_list_datasets):
            try:
                self._adopt(name, sealed)
            except CorruptValue:
                # Its values are out of reach, and it is unknown to every call; the other datasets are not.
                log.exception("lmdb_dataset_damaged")
        return dict(self._catalog.datasets)

    def _adopt(self, name: bytes, sealed: bytes) -> Dataset:
        found = json.loads(lmdb_rows.unseal(name, sealed))
        dataset = self._catalog.intern(name.decode(), Properties(Kind[found["kind"]], found["ttl_millis"]))
        space = self._spaces[dataset] = Keyspace.of(found["id"], timed=dataset.timed)
        if not space.timed:
            self._latest_prefixes[dataset] = space.prefix
        return dataset

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        key = name.encode()
        found = self._read(partial(_find_dataset, name=key))
        if found is None:
            found = await self._submit(partial(_create_dataset, name=key, properties=properties), ROW_BYTES, deadline)
        return self._adopt(key, found)

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        floor = lmdb_rows.floor_of(self._clock())
        prefixes = self._latest_prefixes
        try:
            keys = [prefixes[dataset] + key for dataset, key, _ in requests]
            records = self._read(partial(_records, keys=keys))
        except (KeyError, KVError):
            # Not all LATEST, too much, or the files are damaged somewhere: then each item gets its own answer.
            return self._read(partial(self._read_each, requests=requests, floor=floor))
        # 1.7 µs a key, half of it in LMDB: no call and no object a key that can be spared.
        return [
            b""
            if record is None
            else lmdb_rows.damaged()
            if xxh3_64_digest(key + (body := record[8:])) != record[:8]
            else body[16:]
            if body >= floor and (not after or body[8:16] >= after.to_bytes(8, "big"))
            else b""
            for (_, _, after), key, record in zip(requests, keys, records, strict=True)
        ]

    def _read_each(self, txn: Txn, _tables: Tables, *, requests: Sequence[GetRequest], floor: bytes) -> list[GetResult]:
        spaces = self._spaces
        results: list[GetResult] = []
        left = ANSWER_BYTES_MAX
        for at, (dataset, key, after) in enumerate(requests):
            try:
                found = lmdb_rows.read(txn, spaces[dataset], key, after, floor, bytes_max=left)
                left -= len(found)
                results.append(found)
            except AnswerTooLarge as beyond:
                # Nothing after it is read: to find out what would still fit costs as much as to answer it.
                return [*results, *[beyond.with_traceback(None)] * (len(requests) - at)]
            except KVError as error:
                results.append(error)
            except lmdb.Error as exc:
                results.append(refused(exc))
        return results

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        size = sum([len(put.timed_value) for put in requests]) + ROW_BYTES * len(requests)
        return await self._change(partial(self._put_all, puts=list(requests)), len(requests), size, deadline)

    def _put_all(self, txn: Txn, tables: Tables, *, puts: Sequence[PutRequest]) -> None:
        floor = lmdb_rows.floor_of(self._clock())
        for put in puts:
            lmdb_rows.put(txn, tables, self._spaces[put.dataset], put, floor)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        return await self._change(partial(self._remove_all, keys=list(keys)), len(keys), ROW_BYTES * len(keys), deadline)

    def _remove_all(self, txn: Txn, tables: Tables, *, keys: Sequence[Key]) -> None:
        for dataset, key in keys:
            lmdb_rows.remove(txn, tables, self._spaces[dataset], key)

    async def _change(self, work: Work[None], items: int, size_bytes: int, deadline: float) -> list[PutResult]:
        """One transaction for all items, so one outcome for all of them."""
        outcome: PutResult = None
        if items:
            try:
                await self._submit(work, size_bytes, deadline)
            except KVError as error:
                outcome = error
        return [outcome] * items

    async def _submit(self, work: Work[T], size_bytes: int, deadline: float) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        return await self._writer.submit(work, size_bytes=size_bytes, deadline=deadline)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        space = self._spaces[dataset]
        if token and not space.owns(token):
            raise InvalidRequest("the page token is not one of this dataset's", field="token")
        floor = lmdb_rows.floor_of(self._clock())
        entries: list[tuple[bytes, bytes]] = []
        while True:
            stretch_keys = min(STRETCH_KEYS_MAX, keys_max - len(entries))
            stretch = self._read(partial(lmdb_rows.walk, space=space, after=token, keys_max=stretch_keys, bytes_max=bytes_max, floor=floor))
            entries += stretch.entries
            bytes_max -= stretch.size_bytes
            token = stretch.last
            if not token or len(entries) == keys_max or bytes_max <= 0:
                return Page(entries, token)
            await _let_others_run(deadline)

    async def verify(self, *, deadline: float) -> Verdict:
        """Check every row against its checksum and its expiry entry. Writes under way meanwhile may count as stray."""
        verdict = Verdict()
        for inspect in (lmdb_rows.inspect_records, lmdb_rows.inspect_expiry):
            after = b""
            while True:
                found, after = self._read(partial(inspect, after=after, rows_max=INSPECTED_ROWS_MAX))
                verdict += found
                if not after:
                    break
                await _let_others_run(deadline)
        return verdict

    async def sweep(self, *, deadline: float) -> int:
        """Take away all that has expired now, instead of at the sweeper's next round; how many values."""
        swept = 0
        while True:
            work = partial(lmdb_rows.sweep, floor=lmdb_rows.floor_of(self._clock()))
            some = await self._submit(work, ROW_BYTES * lmdb_rows.SWEEP_ROWS_MAX, deadline)
            swept += some
            if some < lmdb_rows.SWEEP_ROWS_MAX:
                return swept

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._read = self._refuse
            await asyncio.to_thread(sharing.release, self.directory)

    def _refuse(self, work: Work[T]) -> T:
        raise Unavailable("the store is closed")


def _records(txn: Txn, _tables: Tables, *, keys: list[bytes]) -> list[bytes | None]:
    """Raises AnswerTooLarge where they have more bytes than a batch's answers may."""
    if len(keys) <= COUNTED_KEYS:
        return list(map(txn.get, keys))
    records: list[bytes | None] = []
    left = ANSWER_BYTES_MAX
    for at in range(0, len(keys), COUNTED_KEYS):
        part = list(map(txn.get, keys[at : at + COUNTED_KEYS]))
        records += part
        left -= sum(map(len, filter(None, part)))
        if left < 0:
            raise too_much()
    return records


def _list_datasets(txn: Txn, tables: Tables) -> list[tuple[bytes, bytes]]:
    return list(txn.cursor(tables.datasets))


def _find_dataset(txn: Txn, tables: Tables, *, name: bytes) -> bytes | None:
    return txn.get(name, db=tables.datasets)


def _create_dataset(txn: Txn, tables: Tables, *, name: bytes, properties: Properties) -> bytes:
    """The description that the dataset has from now on: its own if another call made it meanwhile."""
    found = _find_dataset(txn, tables, name=name)
    if found is not None:
        return found
    counter = txn.get(COUNTER_KEY, db=tables.meta)
    number = int(lmdb_rows.unseal(COUNTER_KEY, counter)) + 1 if counter else 1
    description = {"id": number, "kind": properties.kind.name, "ttl_millis": properties.ttl_millis}
    sealed = lmdb_rows.seal(name, json.dumps(description).encode())
    txn.put(COUNTER_KEY, lmdb_rows.seal(COUNTER_KEY, b"%d" % number), db=tables.meta)
    txn.put(name, sealed, db=tables.datasets)
    return sealed


async def _let_others_run(deadline: float) -> None:
    if asyncio.get_running_loop().time() >= deadline:
        raise DeadlinePassed("the deadline passed during the scan: ask for smaller pages")
    await asyncio.sleep(0)


def directory_of(url: StoreURL) -> Path:
    """``lmdb:///abs/dir``; ``lmdb:///./dir`` and ``lmdb://./dir`` are relative to the working directory."""
    relative = url.hosts in {((".", None),), (("..", None),)}
    if (url.hosts and not relative) or not url.path.strip("/"):
        raise InvalidRequest("an lmdb URL names a directory: lmdb:///absolute/dir or lmdb://./relative/dir")
    if relative:
        return Path(url.hosts[0][0]) / url.path.lstrip("/")
    return Path(url.path[1:]) if url.path.startswith(("/./", "/../")) else Path(url.path)


def _flag(url: StoreURL, name: str) -> bool:
    text = url.options.get(name, "true")
    if text not in {"true", "false"}:
        raise InvalidRequest(f"the option {name} of lmdb:// is true or false")
    return text == "true"


def _settings(url: StoreURL) -> Settings:
    settings = Settings(
        map_bytes=int(url.number("map_size_mib", 64, least=1)) << 20,
        map_bytes_max=int(url.number("map_size_max_gib", 1024, least=1 / 1024) * 1024) << 20,
        readers_max=int(url.number("readers_max", 1024, least=2)),
        sync=_flag(url, "sync"),
        readahead=_flag(url, "readahead"),
    )
    if settings.map_bytes > settings.map_bytes_max:
        raise InvalidRequest("map_size_mib of lmdb:// is more than map_size_max_gib")
    return settings


async def open_store(url: StoreURL, *, clock: Clock) -> KVStore:
    url.expect("map_size_mib", "map_size_max_gib", "readers_max", "sync", "readahead", "sweep_seconds")
    directory, settings = directory_of(url), _settings(url)
    sweep_seconds = url.number("sweep_seconds", 60, least=0.01)
    writer = await asyncio.to_thread(sharing.acquire, directory, settings, clock=clock, sweep_seconds=sweep_seconds)
    store = LMDBStore(directory, writer, clock)
    await store.load_datasets(deadline=asyncio.get_running_loop().time())
    return store

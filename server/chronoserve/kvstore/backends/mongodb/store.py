"""``mongodb://`` and ``mongodb+srv://``: MongoDB from 4.4, and what speaks its protocol.

What is stored is in ``kvstore/backends/mongodb/layout.py`` and docs/reference/stores/mongodb.md.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase

from chronoserve.kvstore.backends.mongodb import layout
from chronoserve.kvstore.backends.mongodb.calls import DUPLICATE_KEY, refusal
from chronoserve.kvstore.backends.mongodb.connection import Databases, connect, is_ferretdb_1, make_indexes
from chronoserve.kvstore.backends.mongodb.layout import Document, Row
from chronoserve.kvstore.port import Capability, Catalog, GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.kvstore.portions import Budget, Portions
from chronoserve.kvstore.registry import Clock, StoreURL
from chronoserve.model.dataset import Dataset, Properties
from chronoserve.model.errors import DeadlinePassed, KVError, Unavailable, WriteOutcomeUnknown

T = TypeVar("T")

Found = Mapping[str, list[Row] | KVError]
"""The rows of each name that has any, or why they could not be read."""

OPEN_SECONDS_MAX = 10.0

DOCUMENTS_TAKEN = 16
"""Documents of a reply whose bytes are counted together."""

KEY_BYTES_MAX = 1024
"""Keys are in indexes, and an index entry wants to be small."""

NAMES_MAX = 1000
"""Names in one find or delete."""

OPERATIONS_MAX = 1000
"""Writes in one command."""

TIMED_DOCUMENTS_MAX = 1_000_000
"""Documents in one reply to a read of TIMED values: in truth the engine ends a reply at 16 MiB."""

SCAN_DOCUMENTS_MAX = 500
"""Documents in one reply to a scan."""

CONTESTED_ROUNDS_MAX = 16
"""Times that a write meets another one for the same name before it is given up; two in a row are rare."""

BATCHES_MAX = 64


class MongoDBStore(KVStore):
    """Three collections. Reads are one ``find`` for each kind, writes one command; both are cut at the engine's limits."""

    updates_max: ClassVar[int] = OPERATIONS_MAX
    """Operations in one update command."""

    def __init__(self, databases: Databases, clock: Clock) -> None:
        self.capability = capability_of(databases.writes)
        self._databases = databases
        self._calls = databases.calls
        self._reads = databases.reads
        self._writes = databases.writes
        self._clock = clock
        self._catalog = Catalog()
        self.portions = Portions(key_bytes=1)  # the engine's own replies are bounded, and counted one by one
        self._write_concern = databases.writes.write_concern.document

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        async with self._calls.reading(deadline):
            documents = await self._reads[layout.DATASETS].find().to_list()
        return {document["_id"]: self._intern(document) for document in documents}

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        outcome = layout.outcome(await self._send(layout.insert_dataset(name, properties), deadline))
        if DUPLICATE_KEY in outcome.codes.values():
            return await self._load(name, deadline)
        (error,) = put_results(outcome, 1)
        if error is not None:
            raise error
        return self._catalog.intern(name, properties)

    async def _load(self, name: str, deadline: float) -> Dataset:
        async with self._calls.reading(deadline):
            document = await self._reads[layout.DATASETS].find_one({"_id": name})
        if document is None:
            raise Unavailable("the dataset was removed while it was created: try again")
        return self._intern(document)

    def _intern(self, document: Document) -> Dataset:
        return self._catalog.intern(document["_id"], layout.properties_of(document))

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return await self.portions.read(requests, partial(self._get, deadline=deadline))

    async def _get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        """All of them at once."""
        names = [layout.document_name(dataset, key) for dataset, key, _ in requests]
        latest: dict[str, None] = {}
        afters: dict[str, int] = {}
        for name, (dataset, _, after) in zip(names, requests, strict=True):
            if dataset.timed:
                afters[name] = min(after, afters.get(name, after))
            else:
                latest[name] = None
        budget = Budget(self.portions.bytes_max)
        reads = [self._read_latest(part, deadline, budget) for part in slices(list(latest), NAMES_MAX)]
        reads += [self._read_timed(dict(part), deadline, budget) for part in slices(list(afters.items()), NAMES_MAX)]
        found = await self._find(reads)
        return [answer(found.get(name), after) for name, (_, _, after) in zip(names, requests, strict=True)]

    @staticmethod
    async def _find(reads: Sequence[Coroutine[Any, Any, Found]]) -> Found:
        """What the reads of different names found."""
        found: dict[str, list[Row] | KVError] = {}
        for part in await together(reads):
            found |= part
        return found

    async def _read_latest(self, names: Sequence[str], deadline: float, budget: Budget) -> Found:
        try:
            async with self._calls.reading(deadline):
                documents = await self._documents(self._cursor_of_latest(names, layout.LATEST_FIELDS), budget)
            return layout.latest_rows(documents)
        except KVError as error:
            return dict.fromkeys(names, error)

    async def _read_times(self, names: Sequence[str], deadline: float) -> Found:
        """The rows of the LATEST values without these: a write only asks how old they are, however large."""
        try:
            async with self._calls.reading(deadline):
                documents = await self._cursor_of_latest(names, layout.TIME_FIELDS).to_list()
            return layout.latest_times(documents)
        except KVError as error:
            return dict.fromkeys(names, error)

    def _cursor_of_latest(self, names: Sequence[str], fields: Mapping[str, int]) -> AsyncCursor[Document]:
        # the hint keeps the planner from walking the index on expiry
        return self._reads[layout.LATEST].find(
            layout.latest_filter(names, self._clock()), fields, hint=layout.BY_NAME, batch_size=len(names) + 1
        )

    async def _read_timed(self, afters: Mapping[str, int], deadline: float, budget: Budget) -> Found:
        try:
            async with self._calls.reading(deadline):
                found = self._reads[layout.TIMED].find(
                    layout.timed_filter(afters, self._clock()), layout.TIMED_FIELDS, hint=layout.BY_IDENTITY, batch_size=TIMED_DOCUMENTS_MAX
                )
                documents = await self._documents(found, budget)
            return layout.timed_rows(documents)
        except KVError as error:
            return dict.fromkeys(afters, error)

    @staticmethod
    async def _documents(found: AsyncCursor[Document], budget: Budget) -> list[Document]:
        """All of a read. The engine answers in batches of at most 16 MiB, and no other is fetched where these are too many.

        Raises:
            AnswerTooLarge: the values have more bytes than what is left of ``budget``.
        """
        documents: list[Document] = []
        async with found:
            while some := await found.to_list(DOCUMENTS_TAKEN):
                budget.take(sum([len(document.get("v", b"")) for document in some]))
                documents += some
        return documents

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        names = [layout.document_name(put.dataset, put.key) for put in requests]
        timed = [put for put in requests if put.dataset.timed]
        latest: dict[str, PutRequest] = {}
        for name, put in zip(names, requests, strict=True):
            if not put.dataset.timed and (name not in latest or latest[name].millis <= put.millis):
                latest[name] = put
        writes: list[Coroutine[Any, Any, list[PutResult]]] = []
        if latest:
            writes.append(self._put_latest(latest, deadline))
        if timed:
            writes.append(self._put_timed(timed, deadline))
        done = await together(writes)
        of_names = dict(zip(latest, done[0], strict=True)) if latest else {}
        of_timed = iter(done[-1] if timed else ())
        return [next(of_timed) if put.dataset.timed else of_names[name] for name, put in zip(names, requests, strict=True)]

    async def _put_latest(self, puts: Mapping[str, PutRequest], deadline: float) -> list[PutResult]:
        """A refused write lost against a newer one or met another first write of its name; only reading tells which."""
        results: dict[str, PutResult] = {}
        pending = dict(puts)
        for _ in range(CONTESTED_ROUNDS_MAX):
            command = partial(layout.replace_latest, now=self._clock())
            written, refused = await self._write(list(pending.values()), command, self.updates_max, deadline)
            results |= zip(pending, written, strict=True)
            pending = {name: put for place, (name, put) in enumerate(pending.items()) if place in refused}
            there = await self._find_times(list(pending), deadline)
            results |= {name: rows for name, rows in there.items() if isinstance(rows, KVError)}
            pending = {name: put for name, put in pending.items() if wins(put, there.get(name))}
            if not pending:
                break
        results |= dict.fromkeys(pending, Unavailable("other writers write the same key all the time: try again"))
        return [results[name] for name in puts]

    async def _find_times(self, names: Sequence[str], deadline: float) -> Found:
        return await self._find([self._read_times(part, deadline) for part in slices(names, NAMES_MAX)])

    async def _put_timed(self, puts: Sequence[PutRequest], deadline: float) -> list[PutResult]:
        results, there = await self._write(puts, layout.insert_timed, OPERATIONS_MAX, deadline)
        again = [place for place in sorted(there) if puts[place].expires_at]
        if again:
            command = partial(layout.replace_expired, now=self._clock())
            replaced, _ = await self._write([puts[place] for place in again], command, self.updates_max, deadline)
            for place, result in zip(again, replaced, strict=True):
                results[place] = result
        return results

    async def _write(
        self, puts: Sequence[PutRequest], command: Callable[[Sequence[PutRequest]], Document], operations_max: int, deadline: float
    ) -> tuple[list[PutResult], set[int]]:
        """The results, and the places of those whose key was there already; after a command without answer no more are sent."""
        results: list[PutResult] = []
        duplicates: set[int] = set()
        for part in layout.commands_of(puts, operations_max=operations_max):
            try:
                outcome = layout.outcome(await self._send(command(part), deadline))
            except KVError as error:
                results += [error] * len(part)
                results += [unsent(error)] * (len(puts) - len(results))
                break
            duplicates.update(len(results) + place for place, code in outcome.codes.items() if code == DUPLICATE_KEY)
            results += put_results(outcome, len(part))
        return results, duplicates

    async def _send(self, command: Document, deadline: float) -> Mapping[str, Any]:
        """The engine's reply to one write command. Raises KVError where there is none or it was refused as a whole."""
        async with self._calls.writing(deadline):
            return await self._writes.command({**command, "writeConcern": self._write_concern})

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        names = [layout.document_name(dataset, key) for dataset, key in keys]
        timed = {name for name, (dataset, _) in zip(names, keys, strict=True) if dataset.timed}
        of_latest = list(dict.fromkeys(name for name in names if name not in timed))
        deletes = [self._delete(layout.LATEST, part, deadline) for part in slices(of_latest, NAMES_MAX)]
        deletes += [self._delete(layout.TIMED, part, deadline) for part in slices(list(timed), NAMES_MAX)]
        results: dict[str, PutResult] = {}
        for part in await together(deletes):
            results |= part
        return [results[name] for name in names]

    async def _delete(self, collection: str, names: Sequence[str], deadline: float) -> dict[str, PutResult]:
        try:
            outcome = layout.outcome(await self._send(layout.delete_names(collection, names), deadline))
        except KVError as error:
            return dict.fromkeys(names, error)
        if outcome.codes or not outcome.confirmed:
            return dict.fromkeys(names, WriteOutcomeUnknown("MongoDB did not finish the deletion: delete again"))
        return dict.fromkeys(names)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        collection, field, order = (layout.TIMED, "k", layout.BY_IDENTITY) if dataset.timed else (layout.LATEST, "_id", layout.BY_NAME)
        condition = {field: layout.names_after(dataset, token), "x": layout.alive(self._clock())}
        page = layout.PageBuilder(dataset, keys_max=keys_max, bytes_max=bytes_max)
        async with self._calls.reading(deadline):
            rows = self._reads[collection].find(condition, {field: 1, "v": 1}, sort=order, hint=order, batch_size=SCAN_DOCUMENTS_MAX)
            async with rows:
                async for row in rows:
                    if not page.add(row):
                        entries = page.entries()
                        return Page(entries, entries[-1][0])
        return Page(page.entries(), b"")

    async def check(self, *, deadline: float) -> None:
        async with self._calls.reading(deadline):
            await self._reads.command("ping")

    async def close(self) -> None:
        await self._databases.close()


class FerretDBStore(MongoDBStore):
    """FerretDB 1. It ends an update command at the first refusal and does not say which operation that was; it reads,
    compares and writes in three steps; and it reads the whole collection unless asked for one ``_id`` and nothing else.

    So this process compares, one call at a time: the newest wins as long as no other process writes.
    """

    updates_max = 1

    def __init__(self, databases: Databases, clock: Clock) -> None:
        super().__init__(databases, clock)
        self.capability = replace(
            self.capability, durability="FerretDB ignores write concerns: as safe as a commit of the database below it"
        )
        self._alone = asyncio.Lock()

    async def _put_latest(self, puts: Mapping[str, PutRequest], deadline: float) -> list[PutResult]:
        try:
            async with turn(self._alone, deadline):
                return await self._put_latest_alone(puts, deadline)
        except DeadlinePassed as error:
            return [error] * len(puts)

    async def _put_latest_alone(self, puts: Mapping[str, PutRequest], deadline: float) -> list[PutResult]:
        written, refused = await self._write(list(puts.values()), layout.insert_latest, OPERATIONS_MAX, deadline)
        results = dict(zip(puts, written, strict=True))
        there = await self._find_times([name for place, name in enumerate(puts) if place in refused], deadline)
        results |= {name: rows for name, rows in there.items() if isinstance(rows, KVError)}
        again = {name: put for place, (name, put) in enumerate(puts.items()) if place in refused and wins(put, there.get(name))}
        replaced, _ = await self._write(list(again.values()), layout.replace_named, self.updates_max, deadline)
        results |= zip(again, replaced, strict=True)
        return [results[name] for name in puts]


def capability_of(database: AsyncDatabase[Document]) -> Capability:
    concern = database.write_concern.document
    durable = concern == {"w": "majority", "j": True}
    return Capability(
        engine="mongodb",
        key_bytes_max=KEY_BYTES_MAX,
        value_bytes_max=layout.VALUE_BYTES_MAX,
        multi_get_keys_max=NAMES_MAX,
        multi_put_keys_max=OPERATIONS_MAX,
        inflight_batches_max=BATCHES_MAX,
        durable=durable,
        durability=f"acknowledged with w={concern.get('w', 1)}, j={str(concern.get('j', False)).lower()}"
        + (": in the journals of a majority" if durable else "; a crash or a fail-over may lose it"),
    )


def answer(rows: list[Row] | KVError | None, after: int) -> GetResult:
    if isinstance(rows, KVError):
        return rows
    return layout.values_since(rows, after) if rows else b""


def wins(put: PutRequest, there: list[Row] | KVError | None) -> bool:
    """Whether ``put`` would win against what is in the store, so that it has to be written again."""
    return not isinstance(there, KVError) and (not there or there[0][0] <= put.millis)


def put_results(outcome: layout.Outcome, size: int) -> list[PutResult]:
    """One for each operation; a duplicate key is no error, its meaning is the caller's."""
    done = None if outcome.confirmed else WriteOutcomeUnknown("MongoDB applied the write but too few members confirmed it")
    results: list[PutResult] = [done] * size
    for place, code in outcome.codes.items():
        if code != DUPLICATE_KEY:
            results[place] = refusal(code)
    return results


def unsent(error: KVError) -> KVError:
    """What to say of a write that stood behind one which ended with ``error``."""
    if isinstance(error, WriteOutcomeUnknown):
        return Unavailable("MongoDB stopped answering before this write was sent: try again")
    return error


def slices(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


async def together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order; a single one costs no task. Cancelling it cancels them."""
    if len(calls) == 1:
        return [await calls[0]]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call) for call in calls]
    return [task.result() for task in tasks]


@asynccontextmanager
async def turn(lock: asyncio.Lock, deadline: float) -> AsyncIterator[None]:
    """Hold ``lock``. Raises DeadlinePassed where it is not free by then."""
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError as error:
        raise DeadlinePassed("the deadline passed while other writes were under way") from error
    try:
        yield
    finally:
        lock.release()


async def open_store(url: StoreURL, *, clock: Clock) -> KVStore:
    """Raises InvalidRequest for a bad URL, FailedPrecondition where the engine refuses us and Unavailable where it does not answer."""
    databases = connect(url)
    deadline = asyncio.get_running_loop().time() + OPEN_SECONDS_MAX
    try:
        kind = FerretDBStore if await is_ferretdb_1(databases, deadline) else MongoDBStore
        await make_indexes(databases, deadline)
    except BaseException:
        await databases.close()
        raise
    return kind(databases, clock)

"""``dynamodb://region/table-prefix``: Amazon DynamoDB, a table for each dataset.

LATEST keys are read by BatchGetItem and written by a conditional PutItem, TIMED ones are read by one Query a key. What
DynamoDB leaves unprocessed is asked for again until the deadline and is an error then, never a miss (K8).
The layout is ``chronoserve.kvstore.backends.dynamodb.layout``.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import msgspec

from chronoserve.kvstore.backends.dynamodb import layout
from chronoserve.kvstore.backends.dynamodb.aws import Caller, Identity, Refused, Service, chain_identity, fixed_identity
from chronoserve.kvstore.backends.dynamodb.layout import Address, Body, Item, Place
from chronoserve.kvstore.port import Capability, Catalog, GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.kvstore.portions import Budget, Portions
from chronoserve.kvstore.registry import Clock, StoreURL
from chronoserve.model.dataset import Dataset, Properties
from chronoserve.model.errors import (
    CorruptValue,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    KVError,
    Throttled,
    Unavailable,
    WriteOutcomeUnknown,
)

SERVICE = Service("DynamoDB", "dynamodb", "DynamoDB_20120810")
OPTIONS = ("endpoint", "access_key", "secret_key", "session_token", "consistent", "connections", "connect_timeout")
CONNECTIONS_DEFAULT = 64
CONNECT_SECONDS_DEFAULT = 1.0
OPEN_SECONDS_MAX = 60.0
"""The first server of all makes the table of datasets, which takes AWS about ten seconds."""

PAUSE_SECONDS_FIRST = 0.02
PAUSE_SECONDS_MAX = 1.0
"""Bounds of the pause before what was left over is asked for again; the pause is drawn evenly below the bound."""
ATTEMPT_SECONDS_LEAST = 0.01
"""With less time left than this there is no other attempt."""
CREATING_RETRY_SECONDS = 5.0
TIMED_SCAN_ITEMS_LEAST = 256
"""Items asked for at once in the scan of a TIMED dataset, where one key may have many."""

THROTTLES = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException"})
CONFLICTS = frozenset({"TransactionConflictException", "ReplicatedWriteConflictException", "ResourceInUseException"})
IDENTITY_REFUSALS = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
USABLE = frozenset({"ACTIVE", "UPDATING"})
"""States of a table in which it takes reads and writes."""
TTL_IS_ON_OR_UNKNOWN = ("ValidationException", "UnknownOperationException")

BATCH_GET_REPLY = msgspec.json.Decoder(layout.BatchGetReply, strict=False)
BATCH_WRITE_REPLY = msgspec.json.Decoder(layout.BatchWriteReply, strict=False)
ITEMS_REPLY = msgspec.json.Decoder(layout.ItemsReply, strict=False)
DATASET_REPLY = msgspec.json.Decoder(layout.DatasetReply, strict=False)
DATASET_ITEMS_REPLY = msgspec.json.Decoder(layout.DatasetItemsReply, strict=False)
CREATE_REPLY = msgspec.json.Decoder(layout.CreateReply, strict=False)
DESCRIBE_REPLY = msgspec.json.Decoder(layout.DescribeReply, strict=False)

encode = msgspec.json.Encoder().encode

T = TypeVar("T")
Job = Callable[[], Awaitable[None]]


class Patience:
    """Pauses between attempts at what is left over: full jitter below a bound that doubles, inside one deadline."""

    def __init__(self, deadline: float) -> None:
        """The first attempt begins now."""
        self._deadline = deadline
        self._bound = PAUSE_SECONDS_FIRST
        self._began = asyncio.get_running_loop().time()

    async def pause(self, *, progress: bool) -> bool:
        """Wait before the next attempt, not for long where the last one got somewhere.

        False, and no wait, where less time is left than the last attempt took: a write that the deadline cuts off would
        have no known outcome, and this one is known not to be applied.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        spare = self._deadline - now - max(ATTEMPT_SECONDS_LEAST, now - self._began)
        if spare <= 0:
            return False
        self._bound = PAUSE_SECONDS_FIRST if progress else min(PAUSE_SECONDS_MAX, 2 * self._bound)
        # Half of the spare time at most: the last attempts come close to the deadline instead of being slept away.
        await asyncio.sleep(min(random.uniform(0, self._bound), spare / 2))  # noqa: S311 - it spreads load and guards nothing
        self._began = loop.time()
        return True


class DynamoDBStore(KVStore):
    """Each dataset in its own table. Everything that one call needs goes out at once, over a bounded number of connections."""

    def __init__(self, caller: Caller, *, prefix: str, clock: Clock, consistent: bool, connections_max: int) -> None:
        self.capability = Capability(
            engine="dynamodb",
            key_bytes_max=layout.KEY_BYTES_MAX,
            value_bytes_max=layout.VALUE_BYTES_MAX,
            multi_get_keys_max=layout.GET_KEYS_MAX,
            multi_put_keys_max=layout.WRITE_ITEMS_MAX,
            inflight_batches_max=connections_max,
            durable=True,
            durability="an acknowledged write is stored in several availability zones of one region",
            linearizable=consistent,
        )
        self._caller = caller
        self._prefix = prefix
        self._clock = clock
        self._consistent = consistent
        self._connections_max = connections_max
        self._catalog = Catalog()
        self._tables: dict[Dataset, str] = {}
        self._latest_tables: dict[Dataset, str] = {}
        self.portions = Portions(layout.VALUE_BYTES_MAX)

    # Datasets

    async def open(self, *, deadline: float) -> None:
        """Make the table of datasets where there is none.

        Raises:
            KVError: DynamoDB could not be asked, or refuses us.
        """
        if await self._table_status(self._prefix, deadline=deadline) not in USABLE:
            await self._ensure_table(layout.create_table(self._prefix, ("dataset", "S")), deadline=deadline)

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        body: Body = {"TableName": self._prefix, "ConsistentRead": True}
        stored: list[layout.DatasetItem] = []
        while True:
            reply = _decoded(DATASET_ITEMS_REPLY, await self._call("Scan", body, deadline=deadline))
            stored += reply.items
            if reply.last_evaluated_key is None:
                return {item.dataset.value: self._known(item) for item in stored if item.ready.value}
            body["ExclusiveStartKey"] = reply.last_evaluated_key

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        """As the port has it. A dataset is seen by others once its table can be used.

        Raises:
            Unavailable: its table is still being made by AWS: the same call a few seconds later finds it.
        """
        stored = await self._stored_dataset(name, deadline=deadline) or await self._announce(name, properties, deadline=deadline)
        if not stored.ready.value:
            await self._make_ready(name, stored.properties(), deadline=deadline)
        return self._known(stored)

    async def _stored_dataset(self, name: str, *, deadline: float) -> layout.DatasetItem | None:
        body = {"TableName": self._prefix, "Key": {"dataset": {"S": name}}, "ConsistentRead": True}
        return _decoded(DATASET_REPLY, await self._call("GetItem", body, deadline=deadline)).item

    async def _announce(self, name: str, properties: Properties, *, deadline: float) -> layout.DatasetItem:
        """Claim the name for these properties, or learn which ones it has: the first of concurrent creators decides."""
        body = {
            "TableName": self._prefix,
            "Item": layout.dataset_item(name, properties, ready=False),
            "ConditionExpression": "attribute_not_exists(dataset)",
        }
        await self._call_unless(("ConditionalCheckFailedException",), "PutItem", body, deadline=deadline, writes=True)
        stored = await self._stored_dataset(name, deadline=deadline)
        if stored is None:
            raise Internal(f"the dataset {name} vanished from the table {self._prefix} while it was being created")
        return stored

    async def _make_ready(self, name: str, properties: Properties, *, deadline: float) -> None:
        table = self._table(name)
        await self._ensure_table(layout.create_dataset_table(table, properties.kind), deadline=deadline)
        await self._call_unless(TTL_IS_ON_OR_UNKNOWN, "UpdateTimeToLive", layout.enable_ttl(table), deadline=deadline, writes=True)
        body = {"TableName": self._prefix, "Item": layout.dataset_item(name, properties, ready=True)}
        await self._call("PutItem", body, deadline=deadline, writes=True)

    async def _ensure_table(self, body: Body, *, deadline: float) -> None:
        """Make the table, or let another creator do it, and wait until it can be used."""
        table: str = body["TableName"]
        made = await self._call_unless(("ResourceInUseException",), "CreateTable", body, deadline=deadline, writes=True)
        status = "" if made is None else _decoded(CREATE_REPLY, made).table_description.table_status
        patience = Patience(deadline)
        while status not in USABLE:
            status = await self._table_status(table, deadline=deadline)
            if status not in USABLE and not await patience.pause(progress=False):
                raise Unavailable(f"AWS is still making the table {table}: ask again", retry_after=CREATING_RETRY_SECONDS)

    async def _table_status(self, table: str, *, deadline: float) -> str:
        """DynamoDB's word for it; empty where there is no such table."""
        reply = await self._call_unless(("ResourceNotFoundException",), "DescribeTable", {"TableName": table}, deadline=deadline)
        return "" if reply is None else _decoded(DESCRIBE_REPLY, reply).table.table_status

    def _known(self, stored: layout.DatasetItem) -> Dataset:
        dataset = self._catalog.intern(stored.dataset.value, stored.properties())
        self._tables[dataset] = self._table(dataset.name)
        if not dataset.timed:
            self._latest_tables[dataset] = self._tables[dataset]
        return dataset

    def _table(self, name: str) -> str:
        return f"{self._prefix}.{name}"

    # Reads

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return await self.portions.read(requests, partial(self._get, deadline=deadline))

    async def _get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        """All of them at once."""
        tables = self._latest_tables
        latest = list(dict.fromkeys([(tables[dataset], key) for dataset, key, _ in requests if dataset in tables]))
        timed = dict.fromkeys([request for request in requests if request[0] not in tables])
        items: dict[Address, Item | KVError] = {}
        series: dict[GetRequest, GetResult] = {}
        budget = Budget(self.portions.bytes_max)
        jobs: list[Job] = [partial(self._read_batch, batch, items, deadline, budget) for batch in _batches(latest, layout.GET_KEYS_MAX)]
        jobs += [partial(self._read_series, request, series, deadline, budget) for request in timed]
        await self._run(jobs)
        now = self._clock()
        return [
            layout.latest_result(items.get((tables[dataset], key)), after, now) if dataset in tables else series[dataset, key, after]
            for dataset, key, after in requests
        ]

    async def _read_batch(self, addresses: list[Address], items: dict[Address, Item | KVError], deadline: float, budget: Budget) -> None:
        """Put the item of each address that has one into ``items``, and an error for each that could not be looked up."""

        async def ask(wanted: list[Address]) -> list[Address]:
            body = layout.batch_get(wanted, consistent=self._consistent)
            reply = _decoded(BATCH_GET_REPLY, await self._call("BatchGetItem", body, deadline=deadline))
            found = reply.found()
            budget.take(layout.value_bytes(found.values()))
            items.update(found)
            return reply.left()

        left, error = await _drain(addresses, ask, deadline)
        if error:
            items.update(dict.fromkeys(left, error))

    async def _read_series(self, request: GetRequest, series: dict[GetRequest, GetResult], deadline: float, budget: Budget) -> None:
        dataset, key, after = request
        body = layout.query((self._tables[dataset], key), after, fields=layout.ITEM_FIELDS, consistent=self._consistent)
        try:
            items = await self._items("Query", body, deadline, budget)
            series[request] = layout.timed_result(items, self._clock())
        except KVError as error:
            series[request] = error

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        if len(token) > layout.KEY_BYTES_MAX:
            raise InvalidRequest("this page token is not one of DynamoDB's: begin the scan anew without it", field="token")
        items_max = max(TIMED_SCAN_ITEMS_LEAST, keys_max + 1) if dataset.timed else keys_max + 1
        body = layout.scan(self._tables[dataset], token, timed=dataset.timed, items_max=items_max, consistent=self._consistent)
        entries: list[tuple[bytes, bytes]] = []
        size = 0
        async with aclosing(self._keys(body, deadline)) as keys:
            async for key, data in keys:
                if len(entries) == keys_max or size >= bytes_max:
                    return Page(entries, entries[-1][0])
                if isinstance(data, KVError):
                    raise data
                if data:
                    entries.append((key, data))
                    size += len(key) + len(data)
        return Page(entries, b"")

    async def _keys(self, body: Body, deadline: float) -> AsyncGenerator[tuple[bytes, GetResult], None]:
        """Each key of a Scan with all its values: DynamoDB keeps the items of a key together, but a page may end between them."""
        now = self._clock()
        group: list[Item] = []
        async for items in self._pages("Scan", body, deadline):
            for item in items:
                if group and group[0].pk.value != item.pk.value:
                    yield group[0].pk.value, layout.timed_result(group, now)
                    group = []
                group.append(item)
        if group:
            yield group[0].pk.value, layout.timed_result(group, now)

    async def _items(self, operation: str, body: Body, deadline: float, budget: Budget | None = None) -> list[Item]:
        """All of them. Raises AnswerTooLarge where their values have more than what is left of ``budget``, and KVError of the engine."""
        found: list[Item] = []
        async with aclosing(self._pages(operation, body, deadline)) as pages:
            async for items in pages:
                if budget is not None:
                    budget.take(layout.value_bytes(items))
                found += items
        return found

    async def _pages(self, operation: str, body: Body, deadline: float) -> AsyncGenerator[list[Item], None]:
        """The items of a Query or Scan, all of its pages."""
        while True:
            reply = _decoded(ITEMS_REPLY, await self._call(operation, body, deadline=deadline))
            yield reply.items
            if reply.last_evaluated_key is None:
                return
            body = body | {"ExclusiveStartKey": reply.last_evaluated_key}

    # Writes

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        places = [layout.place(self._tables[put.dataset], put) for put in requests]
        chosen = layout.winners(zip(places, requests, strict=True))
        batched = [(where, layout.put_request(where, put)) for where, put in chosen.items() if layout.may_overwrite(put)]
        results: dict[Place, PutResult] = dict.fromkeys(chosen)
        jobs: list[Job] = [partial(self._write_batch, batch, results, deadline) for batch in _batches(batched, layout.WRITE_ITEMS_MAX)]
        unconditional = dict(batched)
        jobs += [partial(self._put_one, where, put, results, deadline) for where, put in chosen.items() if where not in unconditional]
        await self._run(jobs)
        return [results[where] for where in places]

    async def _put_one(self, where: Place, put: PutRequest, results: dict[Place, PutResult], deadline: float) -> None:
        body = layout.conditional_put(where, put, self._clock())
        try:
            await self._call_unless(("ConditionalCheckFailedException",), "PutItem", body, deadline=deadline, writes=True)
        except KVError as error:
            results[where] = error

    async def _write_batch(self, writes: list[tuple[Place, Body]], results: dict[Place, PutResult], deadline: float) -> None:
        """Apply unconditional writes to distinct places; an error for each that failed goes into ``results``."""
        requests = dict(writes)

        async def ask(wanted: list[Place]) -> list[Place]:
            body = layout.batch_write((where, requests[where]) for where in wanted)
            reply = await self._call("BatchWriteItem", body, deadline=deadline, writes=True)
            return _decoded(BATCH_WRITE_REPLY, reply, writes=True).left()

        left, error = await _drain(list(requests), ask, deadline)
        if error:
            results.update(dict.fromkeys(left, error))

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        places: dict[Key, list[Place]] = {key: [(self._tables[key[0]], key[1], b"")] for key in keys if not key[0].timed}
        unlisted: dict[Key, KVError] = {}
        timed = dict.fromkeys([key for key in keys if key[0].timed])
        await self._run([partial(self._list_places, key, places, unlisted, deadline) for key in timed])
        doomed = [(where, layout.delete_request(where)) for listed in places.values() for where in listed]
        results: dict[Place, PutResult] = dict.fromkeys([where for where, _ in doomed])
        await self._run([partial(self._write_batch, batch, results, deadline) for batch in _batches(doomed, layout.WRITE_ITEMS_MAX)])
        return [unlisted[key] if key in unlisted else _result_of_all([results[where] for where in places[key]]) for key in keys]

    async def _list_places(self, key: Key, places: dict[Key, list[Place]], unlisted: dict[Key, KVError], deadline: float) -> None:
        table = self._tables[key[0]]
        body = layout.query((table, key[1]), 0, fields="pk, sk", consistent=True)
        try:
            places[key] = [(table, key[1], item.sk.value) for item in await self._items("Query", body, deadline)]
        except KVError as error:
            unlisted[key] = error

    # Calls

    async def check(self, *, deadline: float) -> None:
        await self._stored_dataset("-", deadline=deadline)

    async def close(self) -> None:
        await self._caller.close()

    async def _run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs, as many at once as there may be connections. Cancelling it ends them."""
        if len(jobs) == 1:
            await jobs[0]()
            return
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                await job()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(jobs), self._connections_max)):
                group.create_task(work())

    async def _call(self, operation: str, body: Body, *, deadline: float, writes: bool = False) -> bytes:
        """The reply's body. Raises KVError."""
        try:
            return await self._caller.call(operation, encode(body), deadline=deadline, writes=writes)
        except Refused as refused:
            raise _refusal(refused.code) from refused

    async def _call_unless(
        self, codes: Iterable[str], operation: str, body: Body, *, deadline: float, writes: bool = False
    ) -> bytes | None:
        """The reply's body; None where DynamoDB refuses with one of ``codes``. Raises KVError."""
        try:
            return await self._caller.call(operation, encode(body), deadline=deadline, writes=writes)
        except Refused as refused:
            if refused.code in codes:
                return None
            raise _refusal(refused.code) from refused


async def _drain(items: list[T], ask: Callable[[list[T]], Awaitable[list[T]]], deadline: float) -> tuple[list[T], KVError | None]:
    """Ask for ``items``, then for what the answer leaves over, and so on; what is left in the end, and why.

    An answer that throttles the whole batch leaves everything over.
    """
    patience = Patience(deadline)
    left = items
    while left:
        asked = left
        try:
            left = await ask(asked)
        except Throttled:
            left = asked
        except KVError as error:
            return asked, error
        if left and not await patience.pause(progress=len(left) < len(asked)):
            return left, Throttled("DynamoDB left an item unprocessed until the deadline: its table is throttled")
    return [], None


def _batches(items: list[T], size: int) -> list[list[T]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _result_of_all(parts: list[PutResult]) -> PutResult:
    """The result of a delete from those of its items."""
    failed = next((part for part in parts if part), None)
    if failed is None or all(part and not isinstance(part, WriteOutcomeUnknown) for part in parts):
        return failed
    return WriteOutcomeUnknown("some values of the key were deleted, others perhaps not: delete it again")


def _refusal(code: str) -> KVError:
    """What an error code of DynamoDB means: certainly not applied, in all cases."""
    if code in THROTTLES:
        return Throttled(f"DynamoDB refuses for load ({code}): raise the table's capacity or slow down")
    if code in CONFLICTS:
        return Unavailable(f"DynamoDB is busy with another change of the same thing ({code}): try again")
    if code in IDENTITY_REFUSALS:
        return FailedPrecondition(f"DynamoDB refuses the gateway's AWS identity ({code}): check its credentials, permissions and clock")
    if code == "ResourceNotFoundException":
        return FailedPrecondition("DynamoDB has no such table (ResourceNotFoundException): was it deleted, or is the region another one?")
    return Internal(f"DynamoDB refused a request ({code}): do the tables have the layout of docs/reference/stores/dynamodb.md?")


def _decoded(decoder: msgspec.json.Decoder[T], reply: bytes, *, writes: bool = False) -> T:
    """The reply, decoded. Raises KVError where it is not what DynamoDB answers."""
    try:
        return decoder.decode(reply)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        if writes:
            raise WriteOutcomeUnknown("the answer to a write is not one of DynamoDB's: check the endpoint") from exc
        raise CorruptValue("an answer or an item is not of the form expected from DynamoDB: check the endpoint and the table") from exc


def _identity(url: StoreURL) -> Identity | None:
    """The identity in the URL; None where AWS's chain has to find one. Raises InvalidRequest for half of one."""
    access_key, secret_key = url.options.get("access_key"), url.options.get("secret_key")
    if not access_key and not secret_key:
        return None
    if not access_key or not secret_key:
        raise InvalidRequest("dynamodb:// takes access_key and secret_key together, or neither of them")
    return Identity(access_key, secret_key, url.options.get("session_token") or None)


def _endpoint(url: StoreURL, region: str) -> str:
    endpoint = url.options.get("endpoint") or f"https://dynamodb.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    scheme, _, host = endpoint.rstrip("/").partition("://")
    if scheme not in {"http", "https"} or not host or "/" in host or "@" in host:
        raise InvalidRequest("the endpoint of dynamodb:// is http:// or https:// with a host and perhaps a port")
    return f"{scheme}://{host}"


def _consistent(url: StoreURL) -> bool:
    text = url.options.get("consistent", "true")
    if text not in {"true", "false"}:
        raise InvalidRequest("the option consistent of dynamodb:// is true or false")
    return text == "true"


async def open_store(url: StoreURL, *, clock: Clock) -> KVStore:
    url.expect(*OPTIONS)
    region = url.hosts[0][0] if url.hosts else ""
    prefix = url.path.strip("/")
    if not region or not layout.PREFIX.fullmatch(prefix):
        raise InvalidRequest(
            "dynamodb:// names a region and a table prefix of 3 to 50 letters, digits, _ or -: dynamodb://eu-west-1/chronon"
        )
    identity = _identity(url)
    connections_max = int(url.number("connections", CONNECTIONS_DEFAULT, least=1))
    endpoint, consistent = _endpoint(url, region), _consistent(url)
    connect_seconds = url.number("connect_timeout", CONNECT_SECONDS_DEFAULT, least=0.001)
    caller = Caller(
        SERVICE,
        endpoint=endpoint,
        region=region,
        identity=fixed_identity(identity) if identity else chain_identity(),
        clock=clock,
        connections_max=connections_max,
        connect_seconds=connect_seconds,
    )
    store = DynamoDBStore(caller, prefix=prefix, clock=clock, consistent=consistent, connections_max=connections_max)
    try:
        await store.open(deadline=asyncio.get_running_loop().time() + OPEN_SECONDS_MAX)
    except BaseException:
        await store.close()
        raise
    return store

"""The use cases of the key-value gateway: requests by name in, answers per request out.

Here names become datasets and puts are completed (time, nonce, expiry), so that everything below can rely on valid
requests. It knows no protobuf and no driver; spec/product.md §4 K1-K10 are its rules.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import xxhash

from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, Page, PutRequest, PutResult
from chronoserve.kvstore.registry import Clock
from chronoserve.kvstore.router import Router
from chronoserve.model import values
from chronoserve.model.dataset import DATASET_NAME, Dataset, Kind, Properties
from chronoserve.model.errors import (
    AlreadyExists,
    DeadlinePassed,
    InvalidRequest,
    KVError,
    PermissionDenied,
    Unavailable,
    UnknownDataset,
    Unsupported,
    WriteOutcomeUnknown,
)
from chronoserve.service.access import Caller, Verb

TOKEN_BYTES_MAX = 64
TTL_MILLIS_MAX = 100 * 366 * 86_400_000
SCAN_KEYS_DEFAULT = 100
SCAN_BYTES_MAX = 2 << 20
"""A page of a scan ends here even if it has fewer keys: two MiB fit any client's message limit."""


Asked = dict[str, KVError | None]
"""Stores that a call has asked for their datasets, and why one could not be asked."""

GIVEN_UP = Unavailable("the question was given up")
"""Stands for a look-up that says nothing of the store."""


class NamedGet(Protocol):
    """A read as it comes from the wire; ``after_ts_millis`` 0 or less asks for every value."""

    @property
    def dataset(self) -> str: ...
    @property
    def key_bytes(self) -> bytes: ...
    @property
    def after_ts_millis(self) -> int: ...


class NamedPut(NamedTuple):
    """A write as it comes from the wire: ``ts_millis`` None means now, an empty ``token`` none."""

    dataset: str
    key: bytes
    value: bytes
    ts_millis: int | None = None
    token: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a call (spec/product.md §6)."""

    keys_per_call_max: int = 10_000
    skew_ahead_millis_max: int = 60_000
    """Event times further ahead of the server's clock than this are refused: such a value would win for that long."""
    create_on_put: bool = False
    """A put to an unknown dataset creates it, of the kind that its name implies."""


class Gateway:
    """Routes batches of named requests to stores. ``store`` is the router with the process-wide layers around it."""

    def __init__(self, store: KVStore, router: Router, *, clock: Clock, limits: Limits) -> None:
        self._store = store
        self.router = router
        self._clock = clock
        self.limits = limits
        self._datasets: dict[str, Dataset] = {}
        self._key_bytes_max = router.capability.key_bytes_max
        self._turns: dict[str, asyncio.Future[KVError | None]] = {}

    async def start(self, *, deadline: float) -> None:
        """Learn the datasets that the stores have. Raises KVError where a store cannot be asked."""
        self._datasets.update(await self.router.load_datasets(deadline=deadline))

    # reads

    async def multi_get(self, requests: Collection[NamedGet], *, deadline: float, caller: Caller | None = None) -> list[GetResult]:
        """One result for each request, in order.

        Raises:
            InvalidRequest: more keys than a call may have.
            KVError: no request could be attempted.
        """
        if len(requests) > self.limits.keys_per_call_max:
            raise _too_many(len(requests), self.limits.keys_per_call_max)
        if caller is None:
            known, longest = self._datasets, self._key_bytes_max
            try:
                resolved: list[GetRequest] = [
                    (known[request.dataset], key, after)
                    for request in requests
                    if 0 < len(key := request.key_bytes) <= longest and (after := request.after_ts_millis) >= 0
                ]
            except KeyError:
                pass
            else:
                if len(resolved) == len(requests):
                    return await self._store.multi_get(resolved, deadline=deadline)
        return await self._multi_get_carefully(requests, deadline, caller)

    @property
    def known(self) -> dict[str, Dataset]:
        """The datasets that reads may name without a look-up, by name; it changes as they are learnt."""
        return self._datasets

    @property
    def key_bytes_max(self) -> int:
        """A key of at most so many bytes is one for every store."""
        return self._key_bytes_max

    async def multi_get_known(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        """``multi_get`` of requests whose dataset was among ``known`` and whose key is valid, for callers who need no permission."""
        if len(requests) > self.limits.keys_per_call_max:
            raise _too_many(len(requests), self.limits.keys_per_call_max)
        return await self._store.multi_get(requests, deadline=deadline)

    async def _multi_get_carefully(self, requests: Iterable[NamedGet], deadline: float, caller: Caller | None) -> list[GetResult]:
        """The same when some request is at fault or must be checked: each gets its own error, the rest are read."""
        resolved: list[GetRequest] = []
        results: list[GetResult | None] = []
        asked = Asked()
        for request in requests:
            try:
                dataset = await self._dataset(request.dataset, Verb.READ, caller, deadline, asked)
                self._check_key(request.key_bytes, dataset)
            except KVError as error:
                results.append(error)
            else:
                results.append(None)
                resolved.append((dataset, request.key_bytes, max(0, request.after_ts_millis)))
        answers = iter(await self._store.multi_get(resolved, deadline=deadline) if resolved else ())
        return [next(answers) if result is None else result for result in results]

    # writes

    async def multi_put(self, requests: Sequence[NamedPut], *, deadline: float, caller: Caller | None = None) -> list[PutResult]:
        """One result for each request, in order; see ``multi_get`` for what is raised."""
        if len(requests) > self.limits.keys_per_call_max:
            raise _too_many(len(requests), self.limits.keys_per_call_max)
        now = self._clock()
        asked = Asked()
        completed: list[PutRequest] = []
        results: list[PutResult] = []
        attempted: list[int] = []
        for at, request in enumerate(requests):
            try:
                dataset = await self._dataset(request.dataset, Verb.WRITE, caller, deadline, asked, create=self.limits.create_on_put)
                completed.append(self._complete(request, dataset, now))
            except KVError as error:
                results.append(error)
            else:
                results.append(None)
                attempted.append(at)
        if completed:
            for at, answer in zip(attempted, await self._store.multi_put(completed, deadline=deadline), strict=True):
                results[at] = answer
        return results

    async def put_complete(self, puts: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        """Apply writes that were checked and completed by the rules of ``multi_put`` already: a bulk load does it by columns."""
        return await self._store.multi_put(puts, deadline=deadline)

    def _complete(self, put: NamedPut, dataset: Dataset, now: int) -> PutRequest:
        self._check_key(put.key, dataset)
        capability = self.router.owner(dataset).capability
        if len(put.value) > capability.value_bytes_max:
            raise InvalidRequest(
                f"a value of {len(put.value)} bytes is over the limit of {capability.value_bytes_max} of this store", field="value_bytes"
            )
        if len(put.token) > TOKEN_BYTES_MAX:
            raise InvalidRequest(f"an idempotency token has at most {TOKEN_BYTES_MAX} bytes", field="idempotency_token")
        millis = now if put.ts_millis is None else put.ts_millis
        if not 0 <= millis <= now + self.limits.skew_ahead_millis_max:
            raise InvalidRequest(
                f"ts_millis is epoch milliseconds, not negative and at most {self.limits.skew_ahead_millis_max} ms ahead of the server's "
                f"clock ({now}); got {millis}",
                field="ts_millis",
            )
        nonce = xxhash.xxh3_128_digest(b"t" + put.token if put.token else b"v" + put.value) if dataset.timed else b""
        ttl = dataset.properties.ttl_millis
        return PutRequest(
            dataset=dataset,
            key=put.key,
            timed_value=values.encode(put.value, millis),
            millis=millis,
            nonce=nonce,
            expires_at=now + ttl if ttl else 0,
            replayable=bool(put.token) and put.ts_millis is not None,
        )

    async def delete(self, name: str, keys: Sequence[bytes], *, deadline: float, caller: Caller | None = None) -> list[PutResult]:
        """Remove each key of the dataset; one result for each.

        Raises:
            UnknownDataset, PermissionDenied, InvalidRequest, Unsupported: nothing was removed.
        """
        if len(keys) > self.limits.keys_per_call_max:
            raise _too_many(len(keys), self.limits.keys_per_call_max)
        dataset = await self._dataset(name, Verb.WRITE, caller, deadline)
        for key in keys:
            self._check_key(key, dataset)
        if not self.router.owner(dataset).capability.delete:
            raise Unsupported(f"the store of {name} does not delete keys")
        return await self._store.delete([(dataset, key) for key in keys], deadline=deadline)

    async def scan(self, name: str, token: bytes, *, keys_max: int = 0, deadline: float, caller: Caller | None = None) -> Page:
        """A page of the dataset; ``keys_max`` 0 asks for the default page.

        Raises:
            UnknownDataset, PermissionDenied, InvalidRequest, Unsupported: see their texts.
        """
        if not 0 <= keys_max <= self.limits.keys_per_call_max:
            raise InvalidRequest(f"page_size is between 0 and {self.limits.keys_per_call_max}", field="page_size")
        dataset = await self._dataset(name, Verb.READ, caller, deadline)
        if not self.router.owner(dataset).capability.scan:
            raise Unsupported(f"the store of {name} does not scan datasets")
        keys_max = keys_max or SCAN_KEYS_DEFAULT
        return await self._store.scan(dataset, token, keys_max=keys_max, bytes_max=SCAN_BYTES_MAX, deadline=deadline)

    # datasets

    async def create(self, name: str, kind: Kind | None, ttl_millis: int, *, deadline: float, caller: Caller | None = None) -> Dataset:
        """Make the dataset; repeated with equal properties it is answered again (K2, K6).

        Raises:
            AlreadyExists: it is there with other properties.
            InvalidRequest, PermissionDenied, Unsupported: it was not made.
        """
        _check_name(name)
        _authorize(caller, Verb.ADMIN, name)
        if not 0 <= ttl_millis <= TTL_MILLIS_MAX:
            raise InvalidRequest("ttl is between 0 (values never expire) and 100 years", field="properties.ttl")
        properties = Properties(kind or Kind.of_name(name), ttl_millis)
        dataset = await self._create(name, properties, deadline)
        if dataset.properties != properties:
            raise AlreadyExists(f"{name} exists as {_describe(dataset.properties)}; asked for was {_describe(properties)}")
        return dataset

    async def _create(self, name: str, properties: Properties, deadline: float) -> Dataset:
        capability = self.router.stores[self.router.store_name(name)].capability
        if properties.kind is Kind.TIMED and not capability.timed:
            raise Unsupported(f"the store for {name} does not keep TIMED datasets")
        if properties.ttl_millis and not capability.ttl:
            raise Unsupported(f"the store for {name} does not expire values")
        dataset = self._datasets[name] = await self._store.create(name, properties, deadline=deadline)
        return dataset

    async def describe(self, name: str, *, deadline: float, caller: Caller | None = None) -> list[Dataset]:
        """One dataset, or every one that the caller may read where ``name`` is empty, by name.

        Raises:
            UnknownDataset, PermissionDenied: only where a name is given.
        """
        if name:
            return [await self._dataset(name, Verb.READ, caller, deadline)]
        found = await self.router.load_datasets(deadline=deadline)
        self._datasets.update(found)
        return [found[each] for each in sorted(found) if caller is None or caller.may(Verb.READ, each)]

    def knows(self, name: str) -> bool:
        """Whether a dataset of that name was seen; one that another process made since may not have been."""
        return name in self._datasets

    async def authorize(self, name: str, verb: Verb, *, deadline: float, caller: Caller | None = None) -> Dataset:
        """The dataset, if it is there and the caller may use it so. Raises UnknownDataset or PermissionDenied."""
        return await self._dataset(name, verb, caller, deadline)

    async def _dataset(
        self, name: str, verb: Verb, caller: Caller | None, deadline: float, asked: Asked | None = None, *, create: bool = False
    ) -> Dataset:
        """``asked``: what this call has learnt from the stores already; it asks each of them once."""
        _authorize(caller, verb, name)
        known = self._datasets.get(name)
        if known is None:
            _check_name(name)
            known = self.router.imply(name)
        if known is None:
            await self._look_up(self.router.store_name(name), deadline, Asked() if asked is None else asked)
            known = self._datasets.get(name)
        else:
            self._datasets[name] = known
        if known is None and create:
            try:
                known = await self._create(name, Properties(Kind.of_name(name)), deadline)
            except WriteOutcomeUnknown as unknown:
                raise Unavailable(f"{name} may not have been created, so nothing was put into it") from unknown
        if known is None:
            raise UnknownDataset(f"there is no dataset {name}; create it first, or set create_on_put")
        return known

    async def _look_up(self, store: str, deadline: float, asked: Asked) -> None:
        """Ask the store for its datasets: another server may have made one. Raises KVError where it cannot be asked."""
        if store not in asked:
            try:
                asked[store] = await self._take_turn(store, deadline)
            except KVError as error:
                asked[store] = error
        if (failure := asked[store]) is not None:
            raise failure.with_traceback(None)  # the same error is raised for many items, and would remember each

    async def _take_turn(self, store: str, deadline: float) -> KVError | None:
        """Look-ups of one store take turns, and all who arrive during a turn share the next one.

        So a flood of unknown names costs the store one question at a time, and a dataset that was made before the question
        is always seen. A turn that ended for its owner's own reasons, cancelled or out of time, is taken over by a sharer.
        """
        outcome: KVError | None
        at_arrival = self._turns.get(store)
        while (turn := self._turns.get(store)) is not None:
            try:
                async with asyncio.timeout_at(deadline):
                    outcome = await asyncio.shield(turn)
            except TimeoutError:
                raise DeadlinePassed("the store did not say in time whether it has this dataset") from None
            if turn is not at_arrival and outcome is not GIVEN_UP:
                return outcome
        turn = self._turns[store] = asyncio.get_running_loop().create_future()
        outcome = GIVEN_UP
        try:
            self._datasets.update(await self.router.load_store(store, deadline=deadline))
            outcome = None
        except DeadlinePassed:
            raise
        except KVError as error:
            outcome = error
        finally:
            del self._turns[store]
            turn.set_result(outcome)
        return outcome

    def _check_key(self, key: bytes, dataset: Dataset) -> None:
        longest = self.router.owner(dataset).capability.key_bytes_max
        if not key:
            raise InvalidRequest("key_bytes is empty", field="key_bytes")
        if len(key) > longest:
            raise InvalidRequest(f"a key of {len(key)} bytes is over the limit of {longest} of this store", field="key_bytes")


def _check_name(name: str) -> None:
    if not DATASET_NAME.fullmatch(name):
        raise InvalidRequest("a dataset name has 1 to 200 characters of A-Z a-z 0-9 _ . -", field="dataset")


def _authorize(caller: Caller | None, verb: Verb, name: str) -> None:
    if caller is not None and not caller.may(verb, name):
        raise PermissionDenied(
            f"the policy does not allow this identity to {verb.value} {name if DATASET_NAME.fullmatch(name) else 'this'}"
        )


def _too_many(keys: int, limit: int) -> InvalidRequest:
    return InvalidRequest(f"a call has at most {limit} keys, got {keys}; send several calls", field="requests")


def _describe(properties: Properties) -> str:
    ttl = f" with a ttl of {properties.ttl_millis} ms" if properties.ttl_millis else " without a ttl"
    return properties.kind.name + ttl

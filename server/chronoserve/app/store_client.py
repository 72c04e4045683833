"""The Python client's methods over stores opened in this process, so that a verb need not know which of the two it has."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from chronoserve.app.compose import Composed, clock
from chronoserve.app.store_features import StoreFeatures, errors_of_the_client, twin
from chronoserve.kvstore.port import Capability
from chronoserve.model import values
from chronoserve.model.dataset import Dataset as StoredDataset
from chronoserve.model.dataset import Kind as StoredKind
from chronoserve.model.errors import KVError
from chronoserve.service.bulk import BulkLoader, Load, Progress
from chronoserve.service.gateway import NamedPut
from chronoserve_client import (
    BulkProgress,
    BulkResult,
    Capabilities,
    Dataset,
    Get,
    GetResult,
    Kind,
    Put,
    PutResult,
    ScanEntry,
    StoreCapability,
    TimedValue,
)


class _Read(NamedTuple):
    """A read in the gateway's names."""

    dataset: str
    key_bytes: bytes
    after_ts_millis: int


class StoreClient(StoreFeatures):
    """A ``KVClient`` on the gateway of this process. Every call has ``seconds`` in all."""

    def __init__(self, composed: Composed, *, seconds: float) -> None:
        super().__init__(composed, seconds=seconds)
        self._gateway = composed.gateway

    async def aclose(self) -> None:
        await self._composed.close()

    # reads

    async def get(self, dataset: str, key: bytes, after: int | None = None) -> list[TimedValue]:
        (result,) = await self.multi_get([Get(dataset, key, after)])
        return list(result.unwrap())

    async def multi_get(self, requests: Iterable[Get]) -> list[GetResult]:
        reads = [_Read(dataset, key, after or 0) for dataset, key, after in requests]
        with errors_of_the_client():
            found = await self._gateway.multi_get(reads, deadline=self._deadline())
        return [GetResult((), twin(each)) if isinstance(each, KVError) else GetResult(_values(each)) for each in found]

    async def scan(self, dataset: str, *, page_size: int = 0) -> AsyncIterator[ScanEntry]:
        token = b""
        while True:
            with errors_of_the_client():
                page = await self._gateway.scan(dataset, token, keys_max=page_size, deadline=self._deadline())
            for key, found in page.entries:
                yield ScanEntry(key, _values(found))
            token = page.next_token
            if not token:
                return

    # writes

    async def put(self, dataset: str, key: bytes, value: bytes, *, millis: int | None = None, idempotency_token: bytes = b"") -> None:
        (result,) = await self.multi_put([Put(dataset, key, value, millis, idempotency_token)])
        result.unwrap()

    async def multi_put(self, requests: Iterable[Put]) -> list[PutResult]:
        puts = [NamedPut(*request) for request in requests]
        with errors_of_the_client():
            return _put_results(await self._gateway.multi_put(puts, deadline=self._deadline()))

    async def delete(self, dataset: str, keys: Sequence[bytes]) -> list[PutResult]:
        with errors_of_the_client():
            return _put_results(await self._gateway.delete(dataset, keys, deadline=self._deadline()))

    async def bulk_put(self, source: str, dataset: str, *, partition: str = "", resume_token: str = "") -> AsyncIterator[BulkProgress]:
        """The loader itself tries a batch again where that may help; nothing else can break off inside one process."""
        loader = BulkLoader(self._gateway, roots=None, clock=clock)
        with errors_of_the_client():
            async for progress in loader.run(Load(source, dataset, partition, resume_token)):
                yield _progress(progress)

    # datasets

    async def create(self, dataset: str, kind: Kind | None = None, ttl: timedelta | None = None) -> Dataset:
        ttl_millis = 0 if ttl is None else ttl // timedelta(milliseconds=1)
        with errors_of_the_client():
            found = await self._gateway.create(dataset, None if kind is None else StoredKind(kind), ttl_millis, deadline=self._deadline())
        return self._described(found)

    async def describe(self, dataset: str = "") -> list[Dataset]:
        with errors_of_the_client():
            return [self._described(found) for found in await self._gateway.describe(dataset, deadline=self._deadline())]

    async def capabilities(self) -> Capabilities:
        """``message_bytes_max`` is 0: there are no messages."""
        router = self._gateway.router
        patterns = {name: tuple(route.pattern for route in router.routes if route.store == name) for name in router.stores}
        stores = tuple(_capability(name, patterns[name], store.capability) for name, store in router.stores.items())
        return Capabilities(stores, self._gateway.limits.keys_per_call_max, message_bytes_max=0)

    def _described(self, dataset: StoredDataset) -> Dataset:
        ttl_millis = dataset.properties.ttl_millis
        return Dataset(
            name=dataset.name,
            kind=Kind(dataset.properties.kind),
            ttl=timedelta(milliseconds=ttl_millis) if ttl_millis else None,
            store=self._gateway.router.store_name(dataset.name),
        )


def _values(found: bytes) -> tuple[TimedValue, ...]:
    return tuple(TimedValue(value, millis) for value, millis in values.decode(found))


def _put_results(found: Iterable[KVError | None]) -> list[PutResult]:
    return [PutResult(None if error is None else twin(error)) for error in found]


def _progress(progress: Progress) -> BulkProgress:
    result = BulkResult(progress.rows_written, progress.rows_refused, tuple(map(twin, progress.errors))) if progress.done else None
    return BulkProgress(
        rows=progress.rows,
        rows_total=progress.rows_total,
        bytes_written=progress.bytes,
        rate=progress.rows_a_second,
        resume_token=progress.resume_token,
        result=result,
    )


def _capability(name: str, patterns: tuple[str, ...], capability: Capability) -> StoreCapability:
    return StoreCapability(
        store=name,
        datasets=patterns,
        engine=capability.engine,
        key_bytes_max=capability.key_bytes_max,
        value_bytes_max=capability.value_bytes_max,
        multi_get_keys_max=capability.multi_get_keys_max,
        multi_put_keys_max=capability.multi_put_keys_max,
        timed=capability.timed,
        ttl=capability.ttl,
        scan=capability.scan,
        delete=capability.delete,
        durable=capability.durable,
        durability=capability.durability,
        linearizable=capability.linearizable,
    )

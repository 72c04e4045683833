"""What all layers share: a layer is a store in front of a store and passes on what it does not care for."""

from collections.abc import Sequence

from chronoserve.kvstore.port import GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.model.dataset import Dataset, Properties


class Layer(KVStore):
    """Passes every call to ``store`` unchanged; subclasses override what they change."""

    def __init__(self, store: KVStore) -> None:
        self.store = store
        self.capability = store.capability

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        return await self.store.load_datasets(deadline=deadline)

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        return await self.store.create(name, properties, deadline=deadline)

    def imply(self, name: str) -> Dataset | None:
        return self.store.imply(name)

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return await self.store.multi_get(requests, deadline=deadline)

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        return await self.store.multi_put(requests, deadline=deadline)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        return await self.store.delete(keys, deadline=deadline)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        return await self.store.scan(dataset, token, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)

    async def check(self, *, deadline: float) -> None:
        await self.store.check(deadline=deadline)

    async def close(self) -> None:
        await self.store.close()


class Flawless(list[GetResult]):
    """Results without an error among them, known to be so: the layers further out need not look again."""

    __slots__ = ()


def bytes_read(results: Sequence[GetResult]) -> int | None:
    """Bytes of all answers; None where some answer is an error. One pass in C."""
    try:
        return sum(map(len, results))  # type: ignore[arg-type]
    except TypeError:
        return None


def has_errors(results: Sequence[GetResult]) -> bool:
    """Whether some answer is an error; free where a layer below has looked already."""
    return results.__class__ is not Flawless and bytes_read(results) is None

"""``memory://``: values in this process's memory. For tests and trials; it ends with the process."""

from bisect import insort
from collections.abc import Sequence

from chronoserve.kvstore.port import Capability, Catalog, GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.kvstore.registry import Clock, StoreURL
from chronoserve.model.dataset import Dataset, Properties

Row = tuple[int, bytes, bytes, int]
"""(millis, nonce, timed value, expires_at); nonce is empty for LATEST."""


class MemoryStore(KVStore):
    """A dict of rows for each dataset. Every operation is one synchronous step, so nothing can be half done."""

    capability = Capability(
        engine="memory",
        key_bytes_max=1 << 20,
        value_bytes_max=64 << 20,
        multi_get_keys_max=1 << 20,
        multi_put_keys_max=1 << 20,
        reads_inline=True,
        durability="values end with the process",
        linearizable=True,
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._catalog = Catalog()
        self._rows: dict[Dataset, dict[bytes, list[Row]]] = {}

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        return dict(self._catalog.datasets)

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        known = self._catalog.datasets.get(name)
        if known is None:
            known = self._catalog.intern(name, properties)
            self._rows[known] = {}
        return known

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        now = self._clock()
        rows = self._rows
        return [self._read(rows[dataset].get(key), after, now) for dataset, key, after in requests]

    @staticmethod
    def _read(rows: list[Row] | None, after: int, now: int) -> bytes:
        if not rows:
            return b""
        if len(rows) == 1:
            millis, _, timed_value, expires_at = rows[0]
            return timed_value if millis >= after and (not expires_at or expires_at > now) else b""
        return b"".join(row[2] for row in rows if row[0] >= after and (not row[3] or row[3] > now))

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        now = self._clock()
        for put in requests:
            rows = self._rows[put.dataset].setdefault(put.key, [])
            rows[:] = [row for row in rows if not row[3] or row[3] > now]
            if put.dataset.timed:
                if not any(row[0] == put.millis and row[1] == put.nonce for row in rows):
                    insort(rows, (put.millis, put.nonce, put.timed_value, put.expires_at))
            elif not rows or rows[0][0] <= put.millis:
                rows[:] = [(put.millis, b"", put.timed_value, put.expires_at)]
        return [None] * len(requests)

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        for dataset, key in keys:
            self._rows[dataset].pop(key, None)
        return [None] * len(keys)

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        now = self._clock()
        entries: list[tuple[bytes, bytes]] = []
        size = 0
        for key in sorted(key for key in self._rows[dataset] if key > token):
            if found := self._read(self._rows[dataset][key], 0, now):
                entries.append((key, found))
                size += len(key) + len(found)
                if len(entries) == keys_max or size >= bytes_max:
                    return Page(entries, key)
        return Page(entries, b"")

    async def close(self) -> None:
        self._rows.clear()
        self._catalog.datasets.clear()


async def open_store(url: StoreURL, *, clock: Clock) -> KVStore:
    url.expect()
    return MemoryStore(clock)

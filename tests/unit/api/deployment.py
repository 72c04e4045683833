"""A deployment's Api for tests: a store in memory and a source."""

from collections.abc import Mapping, Sequence

from chronoserve.api import Api, ExternalRegistry, Found, GetRequest, KVStore, LoggedResponse, PutRequest, TimedValue


class DictStore(KVStore):
    """Keeps every value of every key."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, bytes], list[TimedValue]] = {}
        self.created: list[str] = []
        self.asked: list[GetRequest] = []
        self.closed = False

    async def create(self, dataset: str) -> None:
        self.created.append(dataset)

    async def multi_get(self, requests: Sequence[GetRequest]) -> Sequence[Found]:
        self.asked.extend(requests)
        return [self.values.get((request.dataset, request.key_bytes)) for request in requests]

    async def multi_put(self, requests: Sequence[PutRequest]) -> Sequence[bool]:
        for put in requests:
            self.values.setdefault((put.dataset, put.key_bytes), []).append(TimedValue(put.value_bytes, put.ts_millis))
        return [True] * len(requests)

    async def close(self) -> None:
        self.closed = True


async def locate(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    return [{"city": "Basel"} for _ in rows]


class Deployment(Api):
    """What a user writes."""

    def __init__(self, user_conf: Mapping[str, str] | None = None) -> None:
        super().__init__(user_conf)
        self.store = DictStore()
        self.logged: list[LoggedResponse] = []

    def gen_kv_store(self) -> KVStore:
        return self.store

    def external_registry(self) -> ExternalRegistry:
        registry = ExternalRegistry()
        registry.add("geo", locate)
        return registry

    async def log_response(self, response: LoggedResponse) -> None:
        self.logged.append(response)

"""A gateway over a memory store, small limits and a clock that the tests move."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

from chronoserve.kvstore.backends.memory import MemoryStore
from chronoserve.kvstore.port import GetResult
from chronoserve.kvstore.router import Route, Router
from chronoserve.model import values
from chronoserve.model.errors import KVError
from chronoserve.model.values import TimedValue
from chronoserve.service.access import Caller
from chronoserve.service.gateway import Gateway, Limits, NamedGet, NamedPut
from chronoserve.testing.clock import ManualClock

START = 1_700_000_000_000
KEY_BYTES_MAX = 16
VALUE_BYTES_MAX = 32
SKEW_MILLIS = 1000


@dataclass
class Bench:
    """What a test of the gateway holds."""

    gateway: Gateway
    store: MemoryStore
    clock: ManualClock

    @classmethod
    def make(cls, *, limits: dict[str, Any] | None = None, **capability: Any) -> "Bench":
        clock = ManualClock(START)
        store = MemoryStore(clock)
        store.capability = replace(store.capability, key_bytes_max=KEY_BYTES_MAX, value_bytes_max=VALUE_BYTES_MAX, **capability)
        router = Router({"main": store}, [Route("*", "main")])
        chosen = Limits(**{"skew_ahead_millis_max": SKEW_MILLIS, "keys_per_call_max": 50, **(limits or {})})
        return cls(Gateway(router, router, clock=clock, limits=chosen), store, clock)

    @property
    def deadline(self) -> float:
        return asyncio.get_running_loop().time() + 10

    async def put(self, *puts: NamedPut, caller: Caller | None = None) -> list[type[KVError] | None]:
        results = await self.gateway.multi_put(puts, deadline=self.deadline, caller=caller)
        return [None if result is None else type(result) for result in results]

    async def get(self, *gets: NamedGet, caller: Caller | None = None) -> list[list[TimedValue] | type[KVError]]:
        return [readable(result) for result in await self.gateway.multi_get(gets, deadline=self.deadline, caller=caller)]


def get(dataset: str, key: bytes, after: int = 0) -> NamedGet:
    return cast("NamedGet", SimpleNamespace(dataset=dataset, key_bytes=key, after_ts_millis=after))


def readable(result: GetResult) -> list[TimedValue] | type[KVError]:
    return type(result) if isinstance(result, KVError) else values.decode(result)


async def errors(bench: Bench, puts: Sequence[NamedPut]) -> list[KVError | None]:
    return await bench.gateway.multi_put(puts, deadline=bench.deadline)

"""The composition root: stores, layers, router, gateway. The order of the layers is written here and nowhere else."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chronoserve.app.settings import Settings
from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.fetcher.observe import FetchMetrics
from chronoserve.fetcher.ports import FlagStore, ModelBackend
from chronoserve.fetcher.response_log import ResponseLog
from chronoserve.kvstore.layers.admission import Admission
from chronoserve.kvstore.layers.breaker import Breaker
from chronoserve.kvstore.layers.bulkhead import Bulkhead
from chronoserve.kvstore.layers.coalesce import Coalesce
from chronoserve.kvstore.layers.deadline import Deadline
from chronoserve.kvstore.layers.hot_keys import HotKeys
from chronoserve.kvstore.layers.metrics import Metrics
from chronoserve.kvstore.layers.retry import Retry
from chronoserve.kvstore.layers.share import Share
from chronoserve.kvstore.port import KVStore
from chronoserve.kvstore.registry import open_store
from chronoserve.kvstore.router import Route, Router
from chronoserve.model.errors import FailedPrecondition, KVError
from chronoserve.service.features import FeatureLimits, Features
from chronoserve.service.flags import ConfiguredFlags
from chronoserve.service.gateway import Gateway, Limits

API_STORE = "api"
"""Name of the store that a deployment's Api brings."""
START_SECONDS = 30.0
"""How long the stores have to answer when the process starts."""


def clock() -> int:
    """The machine's time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def layered(store: KVStore, name: str, inflight_calls_max: int | None = None) -> KVStore:
    """A back end with everything that every store needs around it. From the outside in:

    1. Deadline first: a call that is already late must not take a place or cost the store anything. Then, where there
       are other stores, Bulkhead with ``inflight_calls_max``, which counts callers and so stands outside of the sharing.
    2. Sharing before all that costs per batch: duplicates end here, and those below see one batch where many callers
       came together (Coalesce), or as many as came where the engine's connection merges them anyway (Share). Inline reads
       have nothing to share, since they end before another caller can come.
    3. Retry outside the breaker: each attempt asks the breaker, so an open one ends the attempts.
    4. Breaker outside the metrics: what it refuses never reached the store and is not the store's latency.
    5. Metrics last: they time the engine and nothing of ours.

    Admission is not here: it bounds the process, not a store, and sits above the router; HotKeys sits above that, because it
    looks at what callers ask for. Chaos, in tests, goes between
    5 and the back end, where faults really come from.
    """
    store = Breaker(Metrics(store, name))
    store = Retry(store)
    if not store.capability.reads_inline:
        store = Share(store) if store.capability.pipelined else Coalesce(store)
    if inflight_calls_max is not None:
        store = Bulkhead(store, inflight_calls_max=inflight_calls_max)
    return Deadline(store)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What a deployment brings along for the fetcher; None: what the configuration says, or nothing."""

    registry: ExternalRegistry | None = None
    log: ResponseLog | None = None
    flags: FlagStore | None = None
    models: ModelBackend | None = None
    store: KVStore | None = None
    """Of every dataset that no route sends elsewhere."""
    around_store: Callable[[KVStore, str], KVStore] | None = None
    """Put around each store, outside of its layers: what callers see of it."""


@dataclass(slots=True)
class Composed:
    """What one process serves with."""

    gateway: Gateway
    router: Router
    admission: Admission | None
    hot_keys: HotKeys | None
    flags: FlagStore
    features: Features
    fetch_metrics: FetchMetrics

    async def unready(self, seconds: float = 1.0) -> Mapping[str, str]:
        """Stores that give no sign of life, with the reason."""
        deadline = asyncio.get_running_loop().time() + seconds
        names = list(self.router.stores)
        checks = (store.check(deadline=deadline) for store in self.router.stores.values())
        found = await asyncio.gather(*checks, return_exceptions=True)
        return {name: _reason(error) for name, error in zip(names, found, strict=True) if isinstance(error, Exception)}

    async def close(self) -> None:
        await self.features.fetcher.close()
        await self.router.close()


def _reason(error: Exception) -> str:
    """Only the texts of our own errors are fit for an operator's page."""
    return error.message if isinstance(error, KVError) else type(error).__name__


async def compose(settings: Settings, extensions: Extensions | None = None) -> Composed:
    """Open every store and build what stands in front of them.

    Raises:
        KVError: a store could not be opened; those that were are closed again.
    """
    extensions = extensions or Extensions()
    stores: dict[str, KVStore] = {}
    try:
        await _open_stores(settings, extensions, stores)
        router = Router(stores, _routes(settings, extensions))
        limits = settings.limits
        admission = hot_keys = None
        if settings.layers:
            admission = Admission(router, inflight_calls_max=limits.inflight_calls_max, inflight_keys_max=limits.inflight_keys_max)
            hot_keys = HotKeys(admission)
        gateway = Gateway(
            hot_keys or router,
            router,
            clock=clock,
            limits=Limits(
                keys_per_call_max=limits.keys_per_call_max,
                skew_ahead_millis_max=limits.skew_ahead_millis_max,
                create_on_put=settings.create_on_put,
            ),
        )
        await gateway.start(deadline=asyncio.get_running_loop().time() + START_SECONDS)
    except BaseException:
        for opened in stores.values():
            await opened.close()
        raise
    metrics = FetchMetrics()
    flags = extensions.flags or ConfiguredFlags(settings.fetcher.flags)
    features = _features(settings, gateway, metrics, flags, extensions)
    return Composed(gateway, router, admission, hot_keys, flags, features, metrics)


async def _open_stores(settings: Settings, extensions: Extensions, stores: dict[str, KVStore]) -> None:
    """Open them into ``stores``. Beside a deployment's own store, only those that a route names."""
    routed = {route.store for route in settings.routes}
    places = settings.inflight_calls_max_of_store()
    for name, store in settings.stores.items():
        if extensions.store is None or name in routed:
            stores[name] = _within(settings, extensions, await open_store(store.url, clock=clock), name, places)
    if extensions.store is not None:
        places = max(1, settings.limits.inflight_calls_max // 2) if stores else None
        stores[API_STORE] = _within(settings, extensions, extensions.store, API_STORE, places)
    if not stores:
        raise FailedPrecondition("no store is configured, and gen_kv_store of the Api gives none")


def _within(settings: Settings, extensions: Extensions, store: KVStore, name: str, places: int | None) -> KVStore:
    store = layered(store, name, places) if settings.layers else store
    return store if extensions.around_store is None else extensions.around_store(store, name)


def _routes(settings: Settings, extensions: Extensions) -> list[Route]:
    if extensions.store is None:
        return settings.route_table()
    return [*(Route(route.datasets, route.store) for route in settings.routes), Route("*", API_STORE)]


def _features(settings: Settings, gateway: Gateway, metrics: FetchMetrics, flags: FlagStore, extensions: Extensions) -> Features:
    """The fetcher reads through the gateway as everybody does, so its reads are bounded, shared and measured like all others."""
    fetcher = Fetcher(
        gateway,
        clock=clock,
        registry=extensions.registry,
        log=extensions.log,
        flags=flags,
        settings=settings.fetcher.settings(),
        metrics=metrics,
        models=extensions.models,
        lists=gateway,
    )
    return Features(fetcher, FeatureLimits(rows_per_call_max=settings.fetcher.rows_per_call_max))

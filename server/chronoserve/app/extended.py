"""What the fetcher has beside its stores, as the configuration and the deployment's Api say: sources, models, log, metrics out."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from chronoserve import __version__
from chronoserve.api import Api
from chronoserve.api.online import Parts
from chronoserve.api.user_store import UserStore
from chronoserve.app.api_class import load_api
from chronoserve.app.compose import START_SECONDS, Composed, Extensions, clock
from chronoserve.app.extension_settings import ExternalSettings, KVLogSettings, ResponseLogSettings, TracingSettings
from chronoserve.app.settings import Settings
from chronoserve.fetcher.external import ExternalRegistry, Handler
from chronoserve.fetcher.model_http import HttpModel, ModelBackends
from chronoserve.fetcher.ports import ModelBackend
from chronoserve.fetcher.sources import HttpSource
from chronoserve.ingest.response_log.files import FileSink
from chronoserve.ingest.response_log.kafka import KafkaSink, connect
from chronoserve.ingest.response_log.others import FunctionSink, KVSink, Put
from chronoserve.ingest.response_log.queue import QueuedResponseLog
from chronoserve.ingest.response_log.sink import Sink
from chronoserve.model.dataset import Kind
from chronoserve.model.errors import FailedPrecondition, KVError, Unavailable, UnknownDataset
from chronoserve.service.gateway import Gateway, NamedPut
from chronoserve.wire.chronon_metrics import ChrononMetrics
from chronoserve.wire.external import GrpcSource, Target
from chronoserve.wire.fetch_exposition import FetchObserved
from chronoserve.wire.statsd import StatsdSocket

if TYPE_CHECKING:
    from chronoserve.wire.tracing import Tracing

log = structlog.get_logger("chronoserve")


class Extended:
    """Built before the stores are opened; ``start`` it when they are, ``close`` it before they are closed."""

    def __init__(self, settings: Settings) -> None:
        """On the event loop.

        Raises:
            KVError: what the configuration names is not there: a class, a driver, a folder, a host.
        """
        self._settings = settings
        self.api: Api = load_api(settings.api, settings.api_conf)
        self.registry = _registry(self.api, settings)
        self._backends = ModelBackends(
            {
                name: HttpModel(backend.endpoint(), timeout_seconds=backend.timeout_seconds)
                for name, backend in settings.model_backends.items()
            }
        )
        self._puts = _GatewayPuts()
        self.log = _response_log(self.api, settings.response_log, self._puts)
        self.tracing = _tracing(settings.tracing)
        if self.tracing is not None:
            self.registry.wrap(self.tracing.source)
        store = self.api.gen_kv_store()
        self.extensions = Extensions(
            registry=self.registry,
            log=self.log,
            flags=self.api.gen_flag_store(),
            models=self._models(),
            store=None if store is None else UserStore(store),
            around_store=None if self.tracing is None else self.tracing.store,
        )
        self._statsd: ChrononMetrics | None = None

    def _models(self) -> ModelBackend | None:
        return self.api.gen_model_backend() or (self._backends if self._settings.model_backends else None)

    def observed(self, composed: Composed) -> FetchObserved:
        """What there is to show of the fetcher."""
        return FetchObserved(composed.fetch_metrics, self.registry, self.log)

    async def start(self, composed: Composed) -> None:
        """Begin to log and to send metrics; the deployment's Api gets its parts. Raises KVError."""
        gateway = composed.gateway
        self._puts.gateway = gateway
        if self._settings.response_log is not None and self._settings.response_log.kv is not None and not self.api.logs_responses:
            await _make_dataset(gateway, self._settings.response_log.kv)
        if self.log is not None:
            self.log.start()
        if self.tracing is not None:
            composed.fetch_metrics.listeners += (self.tracing.heard,)
        if self._settings.statsd is not None:
            agent = await asyncio.to_thread(StatsdSocket, self._settings.statsd.host, self._settings.statsd.port)
            self._statsd = ChrononMetrics(self.observed(composed), agent, clock=clock)
            self._statsd.start()
            self._statsd.built("chronoserve", __version__)
        self.api.bind(
            Parts(
                gateway=gateway,
                clock=clock,
                settings=self._settings.fetcher.settings(),
                registry=self.registry,
                log=self.log,
                flags=composed.flags,
                models=self.extensions.models,
                metrics=composed.fetch_metrics,
            )
        )

    async def close(self, seconds: float) -> None:
        """Write what is still to be logged, within the time given; let go of sources, models and agents."""
        if self.log is not None:
            await self.log.close(seconds)
        if self._statsd is not None:
            await self._statsd.close()
        if self.tracing is not None:
            await self.tracing.close()
        await self.registry.close()
        await self._backends.close()


class _GatewayPuts:
    """Writes of the log through the gateway, which is there once the stores are open."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None

    async def __call__(self, puts: Sequence[Put], deadline: float) -> Sequence[KVError | None]:
        if self.gateway is None:
            raise Unavailable("the stores are not open yet")
        return await self.gateway.multi_put([NamedPut(*put) for put in puts], deadline=deadline)


def _registry(api: Api, settings: Settings) -> ExternalRegistry:
    """The deployment's handlers, and those of the configuration beside them."""
    registry = api.registry
    for name, source in settings.external_sources.items():
        registry.add(name, _handler(source), policy=source.policy())
    for name, source in settings.external_factories.items():
        registry.add_factory(name, _shared(_handler(source)), policy=source.policy())
    return registry


def _shared(handler: Handler) -> Callable[[object], Handler]:
    """A factory with one handler for all its sources: they share its connections, and the request says who is asked for."""
    return lambda _: handler


def _handler(source: ExternalSettings) -> Handler:
    if not source.grpc:
        return HttpSource(source.endpoint())
    return GrpcSource(Target(url=source.url, headers=source.headers, ca_file=source.ca_file, response_bytes_max=source.response_bytes_max))


def _response_log(api: Api, settings: ResponseLogSettings | None, puts: _GatewayPuts) -> QueuedResponseLog | None:
    if api.logs_responses:
        if settings is not None:
            log.warning("log_response of the Api takes the place of response_log in the configuration", api=type(api).__name__)
        return QueuedResponseLog(FunctionSink(api.log_response), clock=clock, limits=settings.limits() if settings else None)
    return None if settings is None else QueuedResponseLog(_sink(settings, puts), clock=clock, limits=settings.limits())


def _sink(settings: ResponseLogSettings, puts: _GatewayPuts) -> Sink:
    if settings.files is not None:
        return FileSink(settings.files.settings(), clock=clock)
    if settings.kafka is not None:
        kafka = settings.kafka.settings()
        return KafkaSink(kafka, connect(kafka.options))
    assert settings.kv is not None, "verified"
    return KVSink(settings.kv.dataset, puts, clock=clock)


async def _make_dataset(gateway: Gateway, settings: KVLogSettings) -> None:
    """The dataset of the log, where there is none yet.

    Raises:
        FailedPrecondition: there is one that would keep only the newest row of a key.
        KVError: it cannot be made.
    """
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    try:
        (dataset,) = await gateway.describe(settings.dataset, deadline=deadline)
    except UnknownDataset:
        dataset = await gateway.create(settings.dataset, Kind.TIMED, settings.ttl_hours * 3_600_000, deadline=deadline)
    if not dataset.timed:
        raise FailedPrecondition(f"response_log.kv.dataset: {settings.dataset} keeps only the newest row of a key; name a TIMED dataset")


def _tracing(settings: TracingSettings | None) -> "Tracing | None":
    if settings is None:
        return None
    try:
        from chronoserve.wire.tracing import open_tracing
    except ModuleNotFoundError as missing:
        raise FailedPrecondition("tracing needs OpenTelemetry: pip install 'chronoserve[otel]'") from missing
    return open_tracing(endpoint=settings.endpoint, headers=settings.headers, ratio=settings.ratio, service=settings.service)

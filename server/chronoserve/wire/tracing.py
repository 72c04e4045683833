"""OpenTelemetry spans of gRPC calls, of the stores' reads and writes, and of external sources. Needs the extra ``otel``.

This module is imported only where tracing is configured; without it nothing is wrapped, and nothing is spent.
Names follow the semantic conventions (``rpc.*``, ``db.*``); no span has a key, a value or a caller's identity.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode

from chronoserve import __version__
from chronoserve.fetcher.external import OUTGOING_HEADERS, Answer, Handler, Row
from chronoserve.fetcher.observe import Call, Phase
from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model.confs import ExternalSource
from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRow, RowStatus
from chronoserve.wire.status import code

CONTEXT_HEADERS = frozenset({"traceparent", "tracestate"})
"""What is taken of a caller's metadata. Not its baggage, which would go on to external sources."""
FLUSH_SECONDS = 5.0

UnaryHandler = Callable[[bytes, Any], Awaitable[bytes]]


class Tracing:
    """One process's tracer and what it wraps."""

    def __init__(self, processor: SpanProcessor, *, ratio: float, service: str = "chronoserve") -> None:
        """``ratio``: share of the calls that begin a trace; calls that come with one follow its decision."""
        resource = Resource.create({SERVICE_NAME: service, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self.tracer = self._provider.get_tracer("chronoserve", __version__)

    def around(self, name: str, handler: UnaryHandler) -> UnaryHandler:
        """A unary handler with a server span, which continues the caller's trace."""
        attributes = {"rpc.system.name": "grpc", "rpc.method": name}

        async def traced(data: bytes, context: Any) -> bytes:
            carrier = {key: value for key, value in context.invocation_metadata() if key in CONTEXT_HEADERS}
            parent = extract(carrier) if carrier else None
            with self.tracer.start_as_current_span(
                name, parent, SpanKind.SERVER, attributes, record_exception=False, set_status_on_exception=False
            ) as span:
                try:
                    reply = await handler(data, context)
                except KVError as error:
                    _failed(span, "rpc.response.status_code", code(error).name, error.reason)
                    raise
                span.set_attribute("rpc.response.status_code", "OK")
                return reply

        return traced

    def store(self, store: KVStore, name: str) -> KVStore:
        """A store with a client span for each batch that a caller sends it, waiting and retries included."""
        return TracedStore(store, name, self.tracer)

    def source(self, handler: Handler) -> Handler:
        """A handler of external sources with a client span, whose context goes out with the request."""
        return TracedSource(handler, self.tracer)

    def heard(self, call: Call, rows: Sequence[FeatureRow], seconds: float) -> None:
        """A fetch has ended: its phases and statuses go to the call's span. A listener of the fetcher."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        span.set_attribute("chronoserve.fetch.kind", call.kind.kind)
        span.set_attribute("chronoserve.fetch.rows", len(rows))
        for phase in Phase:
            if call.seconds[phase]:
                span.set_attribute(f"chronoserve.fetch.{phase.name.lower()}_seconds", call.seconds[phase])
        for status in (RowStatus.DEGRADED, RowStatus.ERROR):
            if count := sum(row.status is status for row in rows):
                span.set_attribute(f"chronoserve.fetch.rows_{status.name.lower()}", count)

    async def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._provider.force_flush(int(FLUSH_SECONDS * 1000))
        self._provider.shutdown()


class TracedStore(Layer):
    """Spans around another store."""

    def __init__(self, store: KVStore, name: str, tracer: trace.Tracer) -> None:
        super().__init__(store)
        self._name = name
        self._tracer = tracer
        self._attributes = {"db.system.name": store.capability.engine, "db.namespace": name}

    def _span(self, operation: str, datasets: set[str], size: int) -> Any:
        attributes: dict[str, str | int] = {**self._attributes, "db.operation.name": operation, "db.operation.batch.size": size}
        if len(datasets) == 1:
            (attributes["db.collection.name"],) = datasets
        return self._tracer.start_as_current_span(
            f"{operation} {self._name}", None, SpanKind.CLIENT, attributes, record_exception=False, set_status_on_exception=False
        )

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        with self._span("multi_get", {dataset.name for dataset, _, _ in requests}, len(requests)) as span:
            try:
                results = await self.store.multi_get(requests, deadline=deadline)
            except KVError as error:
                _failed(span, "db.response.status_code", error.reason, error.reason)
                raise
            _count_errors(span, results)
            return results

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        with self._span("multi_put", {put.dataset.name for put in requests}, len(requests)) as span:
            try:
                results = await self.store.multi_put(requests, deadline=deadline)
            except KVError as error:
                _failed(span, "db.response.status_code", error.reason, error.reason)
                raise
            _count_errors(span, results)
            return results


class TracedSource:
    """A span around a handler of external sources."""

    def __init__(self, handler: Handler, tracer: trace.Tracer) -> None:
        self._handler = handler
        self._tracer = tracer

    async def fetch(self, source: ExternalSource, rows: Sequence[Row], *, deadline: float) -> Sequence[Answer | None]:
        name = source.meta_data.name
        attributes: dict[str, str | int] = {"chronoserve.source": name, "chronoserve.source.rows": len(rows)}
        with self._tracer.start_as_current_span(
            f"external {name}", None, SpanKind.CLIENT, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            carrier: dict[str, str] = {}
            inject(carrier)
            token = OUTGOING_HEADERS.set(carrier)
            try:
                return await self._handler.fetch(source, rows, deadline=deadline)
            except Exception as error:
                _failed(span, "error.type", type(error).__name__, type(error).__name__)
                raise
            finally:
                OUTGOING_HEADERS.reset(token)

    async def close(self) -> None:
        if (close := getattr(self._handler, "close", None)) is not None:
            await close()


def open_tracing(*, endpoint: str | None, headers: Mapping[str, str], ratio: float, service: str) -> Tracing:
    """Tracing with spans sent by OTLP over HTTP. ``endpoint`` None: as the environment says (OTEL_EXPORTER_OTLP_ENDPOINT)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - not needed by tests
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(headers) or None)
    return Tracing(BatchSpanProcessor(exporter), ratio=ratio, service=service)


def _failed(span: Span, attribute: str, value: str, description: str) -> None:
    span.set_attribute(attribute, value)
    span.set_status(StatusCode.ERROR, description)


def _count_errors(span: Span, results: Sequence[object]) -> None:
    if span.is_recording() and (errors := sum(isinstance(result, KVError) for result in results)):
        span.set_attribute("chronoserve.store.errors", errors)

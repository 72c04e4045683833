"""Spans: of a call, of the stores and of external sources, with what the conventions name and nothing of keys or values."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chronoserve.fetcher.endpoint import Endpoint
from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.observe import Call, FetchMetrics, Phase
from chronoserve.fetcher.sources import HttpSource
from chronoserve.model.errors import CorruptValue, Unavailable
from chronoserve.model.features import FeatureRow, RowStatus
from chronoserve.wire.seam import Deadlines, Seam
from chronoserve.wire.tracing import Tracing
from tests.unit.fetcher.sources import source
from tests.unit.layers.stores import ScriptedStore, read, write
from tests.unit.wire.context import Context

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """What was recorded, by name."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(SimpleSpanProcessor(self.exporter), ratio=1.0)

    def __getitem__(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return found

    def attributes(self, name: str) -> Mapping[str, Any]:
        return dict(self[name].attributes or {})


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    asyncio.run(made.tracing.close())


async def test_a_call_continues_its_caller_s_trace(spans: Spans) -> None:
    async def handler(data: bytes, context: Any) -> bytes:
        return data

    seam = Seam(deadlines=Deadlines(), identify=None, around=spans.tracing.around)
    call: Any = seam.unary("MultiGet", handler).unary_unary
    assert await call(b"x", Context(metadata=(("traceparent", PARENT), ("authorization", "Bearer s3cret"), ("baggage", "user=5")))) == b"x"
    span = spans["MultiGet"]
    assert span.kind is SpanKind.SERVER
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == PARENT[3:35]
    assert f"{span.parent.span_id:016x}" == PARENT[36:52]
    assert spans.attributes("MultiGet") == {"rpc.system.name": "grpc", "rpc.method": "MultiGet", "rpc.response.status_code": "OK"}


async def test_a_call_that_fails_says_how(spans: Spans) -> None:
    async def handler(data: bytes, context: Any) -> bytes:
        raise CorruptValue("user=secret")

    with pytest.raises(CorruptValue):
        await spans.tracing.around("MultiGet", handler)(b"", Context())
    span = spans["MultiGet"]
    assert spans.attributes("MultiGet")["rpc.response.status_code"] == "DATA_LOSS"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "CORRUPT_VALUE")
    assert "secret" not in span.to_json()
    assert span.parent is None


async def test_calls_that_are_not_sampled_are_not_recorded() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter), ratio=0.0)

    async def handler(data: bytes, context: Any) -> bytes:
        return data

    traced = tracing.around("Get", handler)
    await traced(b"", Context())
    assert exporter.get_finished_spans() == ()
    await traced(b"", Context(metadata=(("traceparent", PARENT),)))
    assert len(exporter.get_finished_spans()) == 1, "its caller has decided"
    await tracing.close()


async def test_stores_have_spans_with_sizes_and_errors(spans: Spans) -> None:
    store = spans.tracing.store(ScriptedStore([CorruptValue("secret"), b""], [None, None], Unavailable("away")), "hot")
    deadline = asyncio.get_running_loop().time() + 5
    await store.multi_get(read(b"secret", b"b"), deadline=deadline)
    await store.multi_put([write(b"secret"), write(b"b")], deadline=deadline)
    found = spans.attributes("multi_get hot")
    assert found["db.namespace"] == "hot"
    assert found["db.operation.batch.size"] == 2
    assert found["chronoserve.store.errors"] == 1
    assert "db.collection.name" in found
    assert spans["multi_put hot"].kind is SpanKind.CLIENT
    spans.exporter.clear()
    with pytest.raises(Unavailable):
        await store.multi_get(read(b"secret"), deadline=deadline)
    assert spans.attributes("multi_get hot")["db.response.status_code"] == "STORE_UNAVAILABLE"
    assert "secret" not in spans["multi_get hot"].to_json()


async def test_a_fetch_tells_its_phases_to_the_span_of_its_call(spans: Spans) -> None:
    metrics = FetchMetrics()
    metrics.listeners = (spans.tracing.heard,)

    async def handler(data: bytes, context: Any) -> bytes:
        call = Call(metrics.joins, ["team/a.v1"])
        call.lap(Phase.STORE)
        metrics.finish(call, [FeatureRow(RowStatus.OK, {}, {}, {}), FeatureRow(RowStatus.DEGRADED, {}, {}, {})])
        return b""

    await spans.tracing.around("FetchJoins", handler)(b"", Context())
    found = spans.attributes("FetchJoins")
    assert found["chronoserve.fetch.rows"] == 2
    assert found["chronoserve.fetch.rows_degraded"] == 1
    assert found["chronoserve.fetch.store_seconds"] > 0
    assert "chronoserve.fetch.decode_seconds" not in found
    metrics.finish(Call(metrics.joins), [])


async def test_the_trace_goes_on_to_external_sources(spans: Spans) -> None:
    heard: list[str] = []

    async def page(request: web.Request) -> web.Response:
        heard.append(request.headers["traceparent"])
        return web.json_response({"results": [{"features": {}}]})

    app = web.Application()
    app.router.add_post("/geo", page)
    async with TestServer(app) as server:
        registry = ExternalRegistry()
        registry.add("geo", HttpSource(Endpoint(url=str(server.make_url("/geo")))))
        registry.wrap(spans.tracing.source)
        registry.add("broken", broken)

        async def handler(data: bytes, context: Any) -> bytes:
            deadline = asyncio.get_running_loop().time() + 5
            assert await registry.fetch(source("geo"), [{"user": "secret"}], deadline=deadline) == [{}]
            await registry.fetch(source("broken"), [{"user": "secret"}], deadline=deadline)
            return b""

        await spans.tracing.around("FetchJoins", handler)(b"", Context())
        await registry.close()
    call, asked = spans["FetchJoins"], spans["external geo"]
    assert call.context is not None
    assert asked.context is not None
    assert asked.parent is not None
    assert asked.parent.span_id == call.context.span_id
    (carried,) = heard
    assert carried.startswith(f"00-{asked.context.trace_id:032x}-{asked.context.span_id:016x}-")
    assert spans.attributes("external geo") == {"chronoserve.source": "geo", "chronoserve.source.rows": 1}
    assert spans["external broken"].status.description == "ValueError"
    assert not any("secret" in span.to_json() for span in spans.exporter.get_finished_spans())


async def broken(rows: Sequence[object]) -> list[object]:
    raise ValueError("secret")

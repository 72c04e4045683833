"""What is built from the configuration and the deployment's Api, and how it is taken down again."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chronoserve.api import Api, ExternalRegistry, GetRequest, KVStore, LoggedResponse, PutRequest, TimedValue
from chronoserve.app import extended as module
from chronoserve.app.compose import Composed, compose
from chronoserve.app.deployment_flags import deployment_overrides
from chronoserve.app.extended import Extended
from chronoserve.app.settings import Settings
from chronoserve.ingest.response_log.files import FileSink
from chronoserve.ingest.response_log.kafka import KafkaSink
from chronoserve.ingest.response_log.others import FunctionSink, KVSink
from chronoserve.model import values
from chronoserve.model.errors import FailedPrecondition, InvalidRequest
from chronoserve.service.gateway import NamedPut
from tests.unit.response_log.rows import eventually, row

MEMORY = {"stores": {"default": {"url": "memory://"}}}


class Store(KVStore):
    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], list[TimedValue]] = {}

    async def multi_get(self, requests: Sequence[GetRequest]) -> Any:
        return [self.rows.get((request.dataset, request.key_bytes)) for request in requests]

    async def multi_put(self, requests: Sequence[PutRequest]) -> Any:
        for put in requests:
            self.rows.setdefault((put.dataset, put.key_bytes), []).append(TimedValue(put.value_bytes, put.ts_millis))
        return [True] * len(requests)


class Deployment(Api):
    """A module of its own would be found by name; here it is put in its place."""

    store: KVStore | None = None
    logged: list[LoggedResponse]

    def gen_kv_store(self) -> KVStore | None:
        return self.store

    def external_registry(self) -> ExternalRegistry:
        registry = ExternalRegistry()
        registry.add("geo", self._geo)
        return registry

    async def _geo(self, rows: Sequence[object]) -> list[dict[str, object]]:
        return [{} for _ in rows]


class Logging(Deployment):
    def log_response(self, response: LoggedResponse) -> None:
        self.logged.append(response)


def settings(**tables: Any) -> Settings:
    made = msgspec.convert({**MEMORY, **tables}, Settings)
    made.verify()
    return made


@asynccontextmanager
async def started(chosen: Settings) -> AsyncIterator[tuple[Extended, Composed]]:
    extended = Extended(chosen)
    composed = await compose(chosen, extended.extensions)
    await extended.start(composed)
    yield extended, composed
    await extended.close(5)
    await composed.close()


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    made = Deployment()
    monkeypatch.setattr(module, "load_api", lambda *_: made)
    return made


def sink(extended: Extended) -> object:
    assert extended.log is not None
    return extended.log._sink


async def test_sources_of_the_configuration_join_those_of_the_api(deployment: Deployment) -> None:
    sources = {"risk": {"url": "http://127.0.0.1:1/", "timeout_seconds": 0.25, "calls_max": 3}, "score": {"url": "grpc://127.0.0.1:1"}}
    factories = {"lookup": {"url": "http://127.0.0.1:1/"}}
    async with started(settings(external_sources=sources, external_factories=factories)) as (extended, composed):
        assert set(extended.registry.sources) == {"contextual", "geo", "risk", "score"}
        assert extended.registry.sources["risk"].policy.timeout_seconds == 0.25
        assert extended.registry.sources["risk"].policy.calls_max == 3
        assert deployment.build_fetcher().metrics is composed.fetch_metrics
    with pytest.raises(InvalidRequest, match="geo has a handler already"):
        Extended(settings(external_sources={"geo": {"url": "http://127.0.0.1:1/"}}))


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ({"files": {"path": "{folder}/log"}}, FileSink),
        ({"kafka": {"topic": "t", "options": {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}}}, KafkaSink),
        ({"kv": {"dataset": "LOG"}}, KVSink),
    ],
)
async def test_the_log_goes_where_the_configuration_says(table: dict[str, Any], kind: type, tmp_path: Path) -> None:
    if "files" in table:
        table = {"files": {"path": str(tmp_path / "log")}}
    async with started(settings(response_log=table)) as (extended, _):
        assert isinstance(sink(extended), kind)


async def test_an_api_that_logs_takes_the_configured_log_s_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = Logging()
    made.logged = []
    monkeypatch.setattr(module, "load_api", lambda *_: made)
    async with started(settings(response_log={"files": {"path": str(tmp_path / "log")}})) as (extended, _):
        assert isinstance(sink(extended), FunctionSink)
        assert extended.log is not None
        extended.log.offer(row())
    assert made.logged == [row()]
    assert not (tmp_path / "log").exists()


async def test_the_log_s_dataset_is_made_and_written() -> None:
    async with started(settings(response_log={"kv": {"dataset": "LOG", "ttl_hours": 2}})) as (extended, composed):
        assert extended.log is not None
        log = extended.log
        log.offer(row())
        await eventually(lambda: log.metrics.written == 1)
        (dataset,) = await composed.gateway.describe("LOG", deadline=asyncio.get_running_loop().time() + 5)
        assert dataset.timed
        assert dataset.properties.ttl_millis == 2 * 3_600_000


async def test_a_dataset_that_would_forget_rows_is_refused_before_a_port_opens(deployment: Deployment) -> None:
    deployment.store = Store()
    with pytest.raises(FailedPrecondition, match="LOG keeps only the newest row of a key"):
        async with started(settings(response_log={"kv": {"dataset": "LOG"}})):
            pass
    async with started(settings(response_log={"kv": {"dataset": "LOG_STREAMING"}})):
        pass


async def test_an_api_s_store_has_what_no_route_sends_elsewhere(deployment: Deployment) -> None:
    deployment.store = store = Store()
    stores = {"hot": {"url": "memory://"}, "unused": {"url": "no-such-engine://x"}}
    routes = [{"datasets": "*_STREAMING", "store": "hot"}]
    async with started(settings(stores=stores, routes=routes, create_on_put=True)) as (_, composed):
        assert set(composed.router.stores) == {"hot", "api"}
        deadline = asyncio.get_running_loop().time() + 5
        puts = [NamedPut("A_STREAMING", b"k", b"1", 5), NamedPut("A_BATCH", b"k", b"2", 5)]
        assert await composed.gateway.multi_put(puts, deadline=deadline) == [None, None]
        assert store.rows == {("A_BATCH", b"k"): [(b"2", 5)]}
        found = await composed.gateway.multi_get(
            [GetRequest(b"k", "A_STREAMING", 0), GetRequest(b"k", "A_BATCH", 0)],  # type: ignore[list-item]
            deadline=deadline,
        )
        assert [values.decode(each) for each in found if isinstance(each, bytes)] == [[(b"1", 5)], [(b"2", 5)]]


async def test_without_any_store_there_is_nothing_to_serve(deployment: Deployment) -> None:
    chosen = settings(stores={}, api="a:B")
    extended = Extended(chosen)
    with pytest.raises(FailedPrecondition, match="gen_kv_store of the Api gives none"):
        await compose(chosen, extended.extensions)
    await extended.close(0)


async def test_traces_go_around_stores_and_sources(deployment: Deployment) -> None:
    tracing = {"endpoint": "http://127.0.0.1:1/v1/traces", "ratio": 0.0}
    async with started(settings(tracing=tracing)) as (extended, composed):
        assert extended.tracing is not None
        assert type(composed.router.stores["default"]).__name__ == "TracedStore"
        assert type(extended.registry.sources["geo"].handler).__name__ == "TracedSource"
        assert extended.tracing.heard in composed.fetch_metrics.listeners


async def test_traces_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "chronoserve.wire.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.propagate", None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'chronoserve\[otel\]'"):
        Extended(settings(tracing={}))


async def test_models_are_the_api_s_or_the_configuration_s(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = {"ranking": {"url": "http://127.0.0.1:1/"}}
    assert Extended(settings()).extensions.models is None
    assert type(Extended(settings(model_backends=backends)).extensions.models).__name__ == "ModelBackends"
    own: Any = object()
    monkeypatch.setattr(deployment, "gen_model_backend", lambda: own)
    assert Extended(settings(model_backends=backends)).extensions.models is own


def test_flags_and_teams_make_the_api_s_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teams = tmp_path / "teams.json"
    teams.write_text('{"default": {"common_env": {"CHRONON_ONLINE_ARGS": "-Zhost=h -Zport=1 --x", "GEO_OF_TEAMS": "t"}}}')
    monkeypatch.setenv("GEO_OF_TEAMS", "mine")
    monkeypatch.delenv("CHRONON_ONLINE_ARGS", raising=False)
    found = deployment_overrides("a:B", ["port=2", "empty=", "expr=a=b"], teams)
    assert found == {"api": "a:B", "api_conf": {"host": "h", "port": "2", "empty": "", "expr": "a=b"}}
    assert deployment_overrides(None, [], None) == {}
    with pytest.raises(InvalidRequest, match="got 'secret' without one"):
        deployment_overrides(None, ["secret"], None)

"""Chronon's metric names over StatsD: what arrives at an agent."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.observe import Call, FetchMetrics, Phase
from chronoserve.ingest.response_log.queue import QueuedResponseLog
from chronoserve.model.errors import CorruptValue, InvalidRequest, UnknownConf
from chronoserve.model.features import FeatureRow, RowStatus
from chronoserve.wire import chronon_metrics
from chronoserve.wire.chronon_metrics import SAMPLE, ChrononMetrics
from chronoserve.wire.fetch_exposition import FetchObserved
from chronoserve.wire.statsd import DATAGRAM_BYTES_MAX, StatsdSocket, changes, datagrams, event, line
from tests.unit.fetcher.sources import source
from tests.unit.response_log.rows import ScriptedSink, row

NOW = 1_700_000_000_000


class Agent:
    """A StatsD agent's socket."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)
        self.host: str = address if isinstance(address, str) else address[0]
        self.port: int = 0 if isinstance(address, str) else self._socket.getsockname()[1]

    def lines(self) -> list[str]:
        """Everything that has arrived since."""
        found: list[str] = []
        while True:
            try:
                found += self._socket.recv(65536).decode().split("\n")
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent(("127.0.0.1", 0))
    yield made
    made.close()


def exporter(agent: Agent, observed: FetchObserved) -> ChrononMetrics:
    return ChrononMetrics(observed, StatsdSocket(agent.host, agent.port), clock=lambda: NOW)


def fetch(metrics: FetchMetrics, *names: str, error: CorruptValue | UnknownConf | None = None, kind: str = "join") -> None:
    call = Call(metrics.joins if kind == "join" else metrics.group_bys, names)
    call.lap(Phase.STORE)
    call.lap(Phase.DERIVE)
    status = RowStatus.OK if error is None else RowStatus.ERROR
    metrics.finish(call, [FeatureRow(status, {"a": 1, "b": 2} if error is None else None, {}, {}, error) for _ in names])


async def test_counters_are_exact_and_go_out_when_they_have_grown(agent: Agent) -> None:
    metrics = FetchMetrics()
    exported = exporter(agent, FetchObserved(metrics))
    exported.start()
    for _ in range(3):
        fetch(metrics, "team/a.v1", "team/b.v1")
    fetch(metrics, "team.g.v1", kind="group_by")
    exported.flush()
    counts = [each for each in agent.lines() if "|c" in each]
    assert counts == [
        "ai.zipline.join.fetch.join_request.count:3|c|#join:team/a.v1,team:team,environment:join.fetch",
        "ai.zipline.join.fetch.join_request.count:3|c|#join:team/b.v1,team:team,environment:join.fetch",
        "ai.zipline.group_by.fetch.group_by_request.count:1|c|#group_by:team.g.v1,team:team,environment:group_by.fetch",
    ]
    exported.flush()
    assert agent.lines() == []
    await exported.close()
    fetch(metrics, "team/a.v1")
    assert metrics.listeners == ()


async def test_distributions_of_one_call_in_ten_have_their_rate(agent: Agent) -> None:
    metrics = FetchMetrics()
    exported = exporter(agent, FetchObserved(metrics))
    exported.start()
    for _ in range(2 * SAMPLE):
        fetch(metrics, "team/a.v1", "team/a.v1", "team/b.v1")
    found = [each for each in agent.lines() if "|d" in each]
    tags = "|d|@0.1|#join:team/a.v1,join:team/b.v1,environment:join.fetch"
    names = [each.partition(":")[0].removeprefix("ai.zipline.join.fetch.") for each in found]
    assert all(each.endswith(tags) for each in found), found
    assert sorted(set(names)) == [
        "derivation.latency.millis",
        "internal.latency.millis",
        "multi_get.latency.millis",
        "overall.latency.millis",
        "response.keys.count",
    ]
    assert names.count("overall.latency.millis") == 2
    assert names.count("response.keys.count") == 6
    assert "ai.zipline.join.fetch.response.keys.count:2" + tags in found
    await exported.close()


async def test_failures_are_named_and_names_that_callers_made_up_are_not(agent: Agent) -> None:
    metrics = FetchMetrics()
    exported = exporter(agent, FetchObserved(metrics))
    exported.start()
    fetch(metrics, "made/up", error=UnknownConf("no such join"))
    fetch(metrics, "team/a.v1", error=CorruptValue("broken"))
    exported.flush()
    found = agent.lines()
    assert not any("made/up" in each for each in found)
    assert "ai.zipline.join.fetch.fetch_invalid_join_failure.count:1|c|#exception:UNKNOWN_CONF,environment:join.fetch" in found
    assert "ai.zipline.join.fetch.fetch_join_failure.count:1|c|#exception:CORRUPT_VALUE,environment:join.fetch" in found
    assert "ai.zipline.join.fetch.exception:1|c|#exception:CORRUPT_VALUE,environment:join.fetch" in found
    await exported.close()


async def test_parts_sources_caches_and_the_log(agent: Agent) -> None:
    metrics = FetchMetrics()
    registry = ExternalRegistry()

    async def handler(rows: Sequence[object]) -> list[object]:
        return [{"x": 1, "y": 2}, None]

    registry.add("geo.v1", handler)
    await registry.fetch(source("geo.v1"), [{}, {}], deadline=asyncio.get_running_loop().time() + 5)
    log = QueuedResponseLog(ScriptedSink(), clock=lambda: 0)
    log.offer(row())
    part = metrics.part("team.g.v1", None)
    part.seen(NOW - 60_000, NOW - 1_500)
    part.misses += 1
    metrics.cache("batch_ir").hits += 5
    exported = exporter(agent, FetchObserved(metrics, registry, log))
    exported.flush()
    found = {each.removeprefix("ai.zipline.join.fetch.") for each in agent.lines()}
    assert found == {
        "group_by_request.count:2|c|#group_by:team.g.v1,environment:join.fetch",
        "batch.response.freshness.millis:60000|d|#group_by:team.g.v1,environment:join.fetch",
        "batch.response.freshness.minutes:1|d|#group_by:team.g.v1,environment:join.fetch",
        "streaming.response.freshness.millis:1500|d|#group_by:team.g.v1,environment:join.fetch",
        "streaming.response.freshness.minutes:0|d|#group_by:team.g.v1,environment:join.fetch",
        "batch_cache.hits:5|c|#environment:join.fetch",
        "response.successes:1|c|#group_by:ext_geo_v1,environment:join.fetch",
        "response.failures:1|c|#group_by:ext_geo_v1,environment:join.fetch",
        "response.value_count:2|c|#group_by:ext_geo_v1,environment:join.fetch",
        "logging_request.count:1|c|#environment:join.fetch",
    }
    await exported.close()


async def test_it_flushes_by_itself_and_tells_of_fetchers(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronon_metrics, "FLUSH_SECONDS", 0.001)
    metrics = FetchMetrics()
    exported = exporter(agent, FetchObserved(metrics))
    exported.start()
    exported.built("trainer", "1.0")
    fetch(metrics, "team/a.v1")
    found: list[str] = []
    async with asyncio.timeout(10):
        while not any("join_request.count" in each for each in found):
            await asyncio.sleep(0.001)
            found += agent.lines()
    assert "_e{27,11}:caller_name_fetcher_version|trainer 1.0|#environment:fetcher" in found
    await exported.close()


def test_lines_have_no_more_than_the_agent_reads() -> None:
    assert line("n", 1.5, "d", [("a", "x,y|z #"), ("b", None), ("c", "")]) == b"n:1.5|d|#a:x_y_z__"
    assert line("n", 2.0, "c") == b"n:2|c"
    assert line("n", 0.1234567891, "d", rate=0.1) == b"n:0.123457|d|@0.1"
    assert event("é", "t") == "_e{2,1}:é|t".encode()


def test_datagrams_are_full_and_not_too_large() -> None:
    lines = [b"x" * 100] * 40
    packed = list(datagrams(lines))
    assert all(len(each) <= DATAGRAM_BYTES_MAX for each in packed)
    assert len(packed) == 3
    assert b"\n".join(packed).split(b"\n") == lines
    assert list(datagrams([])) == []


def test_what_has_not_changed_is_left_out() -> None:
    before = {"a": 1}
    assert list(changes({"a": 3, "b": 2, "c": 0}, before)) == [("a", 2), ("b", 2)]
    assert list(changes({"a": 3, "b": 2, "c": 0}, before)) == []


def test_an_agent_that_is_away_costs_nothing_but_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = StatsdSocket(str(tmp_path / "none.sock"), 0)
    away.send([b"a:1|c"])
    assert away.lost == 1
    away.close()

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InvalidRequest, match="is not known here"):
        StatsdSocket("agent.example", 8125)


def test_a_unix_socket_is_an_agent_too(tmp_path: Path) -> None:
    agent = Agent(str(tmp_path / "agent.sock"))
    client = StatsdSocket(agent.host, agent.port)
    client.send([b"a:1|c"])
    assert agent.lines() == ["a:1|c"]
    client.close()
    agent.close()

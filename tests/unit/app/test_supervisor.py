"""The supervisor's judgement: what it makes of its workers' answers and deaths, without any process."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chronoserve.app import supervisor as module
from chronoserve.app.questions import END
from chronoserve.app.settings import load
from chronoserve.app.supervisor import DEATHS_MAX, DEATHS_WINDOW_SECONDS, Supervisor, socket_directory
from tests.server.inside.serving import descriptors

METRICS = b"""# HELP calls_total Calls
# TYPE calls_total counter
calls_total{method="Get",status="OK"} %d.0
# HELP seconds Time
# TYPE seconds histogram
seconds_bucket{le="0.1"} 1.0
seconds_bucket{le="+Inf"} 2.0
seconds_count 2.0
seconds_sum 0.5
"""

Answer = Callable[[bytes], bytes | None]


@asynccontextmanager
async def workers(*answers: Answer | None) -> Any:
    """A supervisor whose workers are sockets that answer so; None: nobody listens."""
    settings = load(None, {"stores": {"m": {"url": "lmdb:///x"}}, "workers": len(answers)})
    with socket_directory() as directory:
        supervisor = Supervisor(settings, Path(directory))
        servers = [
            await asyncio.start_unix_server(_speak(answer), str(worker.socket))
            for worker, answer in zip(supervisor.workers, answers, strict=True)
            if answer is not None
        ]
        yield supervisor
        for server in servers:
            server.close()
            await server.wait_closed()


def _speak(answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = answer((await reader.readline()).strip())
        if found is None:
            await reader.read()
        else:
            writer.write(found)
        writer.close()

    return speak


def ready(question: bytes) -> bytes:
    return b"{}" if question == b"ready" else METRICS % 1 + END


async def test_it_is_ready_when_every_worker_is() -> None:
    async with workers(ready, ready) as supervisor:
        assert await supervisor.unready() == {}
        assert await supervisor.serves()


async def test_each_worker_that_is_not_ready_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    down = msgspec.json.encode({"main": "the store is away"})
    async with workers(lambda _: down, None, lambda _: b'{"ma', lambda _: None, lambda _: b"", lambda _: b"[1]", ready) as supervisor:
        assert await supervisor.unready() == {
            "worker 0": "main: the store is away",
            **{f"worker {n}": "does not answer" for n in range(1, 6)},
        }


async def test_too_many_deaths_in_a_short_time_make_it_not_ready_for_as_long() -> None:
    async with workers(ready, ready) as supervisor:
        now = time.monotonic()
        supervisor.workers[1].deaths.extend([now - 1] * (DEATHS_MAX - 1))
        assert await supervisor.unready() == {}
        supervisor.workers[1].deaths.append(now)
        assert "died 5 times" in (await supervisor.unready())["worker 1"]
        supervisor.workers[1].deaths.clear()
        supervisor.workers[1].deaths.extend([now - DEATHS_WINDOW_SECONDS - 1] * DEATHS_MAX)
        assert await supervisor.unready() == {}


async def test_metrics_of_all_workers_are_merged_with_their_labels() -> None:
    async with workers(lambda _: METRICS % 3 + END, lambda _: METRICS % 4 + END) as supervisor:
        families = {family.name: family for family in text_string_to_metric_families((await supervisor.scrape()).decode())}
        assert families["calls"].type == "counter"
        assert families["seconds"].type == "histogram"
        assert {sample.labels["worker"]: sample.value for sample in families["calls"].samples} == {"0": 3.0, "1": 4.0}
        assert len(families["seconds"].samples) == 8
        assert all(sample.labels["worker"] in "01" for sample in families["seconds"].samples)


async def test_a_worker_that_dies_over_its_metrics_does_not_spoil_the_others() -> None:
    cuts = [b"", METRICS % 5, (METRICS % 5)[:-20], (METRICS % 5)[:40]]
    async with workers(lambda _: METRICS % 3 + END, None, *((lambda _, cut=cut: cut) for cut in cuts)) as supervisor:
        families = list(text_string_to_metric_families((await supervisor.scrape()).decode()))
        assert {sample.labels["worker"] for family in families for sample in family.samples} == {"0"}


async def test_questions_leave_no_descriptor_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    async with workers(ready, lambda _: None) as supervisor:
        await supervisor.unready()
        before = descriptors()
        for _ in range(10):
            await supervisor.unready()
        await asyncio.sleep(0)
        assert descriptors() <= before + 1


@pytest.mark.parametrize(
    ("codes", "expected"), [([0, 0], 0), ([0, -signal.SIGTERM], 0), ([0, 1], 1), ([-signal.SIGKILL, 0], 1), ([0, -signal.SIGSEGV], 1)]
)
async def test_its_exit_code_is_0_only_if_every_worker_drained_or_never_served(
    codes: list[int], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with workers(None, None) as supervisor:
        for worker, code in zip(supervisor.workers, codes, strict=True):
            monkeypatch.setattr(worker, "run", _ends_with(code))
        assert await supervisor.run() == expected


def _ends_with(code: int) -> Callable[[asyncio.Event], Awaitable[int]]:
    async def run(_: asyncio.Event) -> int:
        return code

    return run


async def test_who_was_told_to_stop_before_it_served_says_so() -> None:
    async with workers(ready, None) as supervisor:
        serves = asyncio.create_task(supervisor.serves())
        await asyncio.sleep(0)
        supervisor._stop()
        assert not await serves
        assert await supervisor.unready() == {"server": "draining"}
        supervisor._stop()


async def test_a_server_whose_workers_never_serve_gives_up() -> None:
    """A port that is taken stays taken: the exit code says so sooner than an operator would look."""
    async with workers(ready, None) as supervisor:
        supervisor.workers[1].deaths.extend([time.monotonic()] * DEATHS_MAX)
        assert not await supervisor.serves()
        assert supervisor._stopping.is_set()

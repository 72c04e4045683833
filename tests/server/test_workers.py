"""Several workers on one address: both serve, one that dies is replaced, and none outlives its supervisor."""

import json
import os
import signal
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chronoserve.v1 import kv_pb2
from tests.server.conftest import StartServer
from tests.server.running import RunningServer, alive, children, eventually, kv_stub

SECONDS = 20
CONNECTIONS = 24
"""The kernel sends each connection to one of two workers by a hash of its addresses: with so many, both get some."""


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> RunningServer:
    started = start_server("--workers", "2")
    with connected(started.address) as channel:
        stub = kv_stub(channel)
        stub.Create(kv_pb2.CreateRequest(dataset="D"), timeout=SECONDS)
        stub.Put(kv_pb2.PutRequest(dataset="D", key_bytes=b"k", value_bytes=b"v"), timeout=SECONDS)
    return started


def connected(address: str) -> grpc.Channel:
    """A connection that no other channel shares."""
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


def read(address: str) -> bytes:
    """The value, over a new connection; a connection that a dying worker had taken is tried again."""
    with connected(address) as channel:
        request = kv_pb2.GetRequest(dataset="D", key_bytes=b"k")
        (found,) = kv_stub(channel).Get(request, timeout=SECONDS, wait_for_ready=True).values
        return bytes(found.bytes)


def served(server: RunningServer) -> dict[str, float]:
    """Get calls that each worker has answered."""
    families = text_string_to_metric_families(server.get("/metrics")[1])
    samples = [sample for family in families for sample in family.samples if sample.name == "chronoserve_calls_total"]
    return {sample.labels["worker"]: sample.value for sample in samples if sample.labels["method"] == "Get"}


def is_ready(server: RunningServer) -> bool:
    return server.get("/readyz")[0] == 200


def test_both_workers_serve_on_a_port_that_the_system_chose(server: RunningServer) -> None:
    assert not server.address.endswith(":0")
    assert server.serving["workers"] == len(children(server.process.pid)) == 2
    assert is_ready(server)
    assert {read(server.address) for _ in range(CONNECTIONS)} == {b"v"}
    counted = served(server)
    assert set(counted) == {"0", "1"}
    assert sum(counted.values()) == CONNECTIONS
    assert all(counted.values()), counted


def test_every_sample_of_the_merged_metrics_names_its_worker_and_appears_once(server: RunningServer) -> None:
    families = list(text_string_to_metric_families(server.get("/metrics")[1]))
    samples = [sample for family in families for sample in family.samples]
    assert len({family.name for family in families}) == len(families)
    assert {sample.labels.get("worker") for sample in samples} == {"0", "1"}
    assert len({(sample.name, *sorted(sample.labels.items())) for sample in samples}) == len(samples)


def test_a_killed_worker_is_replaced_while_the_other_serves(server: RunningServer) -> None:
    victim, other = children(server.process.pid)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not alive(victim), "the worker's end")
    assert read(server.address) == b"v"
    eventually(lambda: len(children(server.process.pid)) == 2 and is_ready(server), "a new worker")
    assert other in children(server.process.pid)
    assert victim not in children(server.process.pid)
    (death,) = server.events("a worker died")
    assert (death["pid"], death["exit_code"]) == (victim, -signal.SIGKILL)
    assert {read(server.address) for _ in range(CONNECTIONS)} == {b"v"}


def test_while_a_worker_is_missing_the_server_is_not_ready_and_says_which(server: RunningServer) -> None:
    victim = children(server.process.pid)[0]
    os.kill(victim, signal.SIGSTOP)  # it is there and does not answer
    try:
        status, body = server.get("/readyz")
        assert status == 503
        assert list(json.loads(body)["reasons"].values()) == ["does not answer"]
        assert server.get("/healthz")[0] == 200
    finally:
        os.kill(victim, signal.SIGCONT)
    eventually(lambda: is_ready(server), "the worker to answer again")


def test_the_workers_drain_with_their_supervisor(server: RunningServer) -> None:
    workers = children(server.process.pid)
    assert server.stop() == 0
    assert not any(map(alive, workers))
    assert len(server.events("stopped")) == 2


def test_workers_end_with_a_supervisor_that_was_killed(start_server: StartServer) -> None:
    server = start_server("--workers", "2")
    workers = children(server.process.pid)
    server.process.kill()
    server.process.wait()
    eventually(lambda: not any(map(alive, workers)), "the workers' end")
    assert len(server.events("the supervisor is gone")) == 2


def test_five_deaths_make_the_server_not_ready(start_server: StartServer) -> None:
    """Whatever kills them will kill the next one too: somebody has to look.

    Most of these die before they have read their settings, which once took the supervisor with them.
    """
    server = start_server("--workers", "2")
    for death in range(1, 6):
        eventually(lambda: len(children(server.process.pid)) == 2, "both workers")
        os.kill(max(children(server.process.pid)), signal.SIGKILL)
        eventually(lambda count=death: len(server.events("a worker died")) == count, f"death {death}")  # type: ignore[misc]
    status, body = server.get("/readyz")
    assert status == 503
    assert "died 5 times" in body
    server.kill()


def test_the_supervisor_does_not_show_its_workers_settings_to_other_users(start_server: StartServer) -> None:
    server = start_server("--workers", "2")
    for worker in children(server.process.pid):
        assert b"lmdb:" not in Path(f"/proc/{worker}/cmdline").read_bytes()
    server.kill()

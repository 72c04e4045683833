"""``chronoserve bench``: a closed loop against a running server."""

import pytest

from tests.unit.app.shell import RunningServer, run_process

QUICK = ["--seconds", "0.3", "--callers", "4", "--keys", "3", "--json"]


@pytest.mark.parametrize("mode", ["unary", "stream"])
def test_a_server_is_measured(server: RunningServer, mode: str) -> None:
    answer = run_process("bench", "--server", server.address, "--mode", mode, *QUICK)
    assert answer.code == 0, answer.err
    (found,) = answer.objects
    assert (found["mode"], found["errors"], found["failures"]) == (mode, 0, {})
    assert found["calls_per_s"] > 0
    assert 0 < found["p50_us"] <= found["p99_us"] <= found["max_us"]


def test_another_dataset_is_only_read(server: RunningServer) -> None:
    place = ["--server", server.address]
    run_process("kv", "create", "BENCH_OTHER", *place)
    empty = run_process("bench", "--dataset", "BENCH_OTHER", *place, *QUICK)
    assert (empty.code, "has no keys to read" in empty.err) == (1, True)
    run_process("kv", "put", "BENCH_OTHER", "k", "v", "--ts", "5", *place)
    assert run_process("bench", "--dataset", "BENCH_OTHER", *place, *QUICK).objects[0]["errors"] == 0
    assert run_process("kv", "scan", "BENCH_OTHER", *place).out == "k\t5\tv\n"


def test_a_server_that_is_not_there_is_an_error() -> None:
    answer = run_process("bench", "--server", "127.0.0.1:1", *QUICK)
    assert answer.code == 1
    assert "Traceback" not in answer.err

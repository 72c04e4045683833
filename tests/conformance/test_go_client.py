"""clients/go on a real server: its own tests, and the line of its README."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import REQUIRED
from tests.unit.app.shell import RunningServer, run_process

FOLDER = Path(__file__).parents[2] / "clients" / "go"
SECONDS = 240
"""The first build compiles grpc-go."""


@pytest.fixture(scope="module")
def go() -> str:
    found = shutil.which("go")
    if not found:
        (pytest.fail if REQUIRED & {"all", "go"} else pytest.skip)("go is not installed: see go.dev")
    return str(found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    shop = tmp_path_factory.mktemp("go") / "shop"
    assert run_process("quickstart", "--no-stay", "--dir", shop).code == 0
    running = RunningServer(shop)
    yield running
    running.stop()


def called(go: str, *words: str) -> str:
    done = subprocess.run(
        [go, *words],
        cwd=FOLDER,
        env={**os.environ, "GOFLAGS": "-mod=readonly"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(go: str) -> None:
    called(go, "vet", "./...")
    called(go, "test", "./...")


def test_the_line_of_the_readme_reads_and_fetches(go: str, server: RunningServer) -> None:
    (line,) = [line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("go run")]
    words = [word.replace("127.0.0.1:50051", server.address) for word in shlex.split(line)]
    key = "joins/quickstart/training_set.v1"
    value, miss, row, *features = [shown.split("\t") for shown in called(go, *words[1:]).splitlines()]
    assert value[:2] == [key, "value"]
    assert miss == [f"{key} that is not there", "miss"]
    assert row == ["quickstart/training_set.v1", "ROW_STATUS_OK", ""]
    assert len(features) == 20
    assert ["quickstart_purchases_v1_price_sum_3d", "424.75"] in features
    assert ["quickstart_returns_v1_refund_sum_6h", "<nil>"] in features

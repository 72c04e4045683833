"""A server for the verbs that talk to one, and both places that ``kv`` can go to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.app.shell import RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(params=["server", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The words that send ``kv`` to a server, or to a store of its own."""
    if request.param == "store":
        return ["--store", f"lmdb://{tmp_path}/store"]
    running: RunningServer = request.getfixturevalue("server")
    return ["--server", running.address]


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses: the server lives longer than one test."""
    return "".join(letter if letter.isalnum() else "_" for letter in request.node.name)

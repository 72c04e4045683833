"""Servers for the tests: one that a module shares, and as many of its own as a test wants."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from chronoserve.v1 import kv_pb2
from chronoserve.wire import transports
from tests.server.running import RunningServer, kv_stub

StartServer = Callable[..., RunningServer]
LOOPBACK = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")


@pytest.fixture(scope="module", params=["grpcio", "native"])
def transport(request: pytest.FixtureRequest) -> str:
    """Every server is tested on both transports; on the native one where it is built."""
    if request.param == "native" and transports.native_module() is None:
        pytest.skip("the native transport is not built: make native")
    return str(request.param)


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[StartServer]:
    """Starts servers on free ports of the loopback with a store of their own, unless told otherwise; they end with the module."""
    started: list[RunningServer] = []

    def start(*words: str, environment: dict[str, str] | None = None, config: str = "") -> RunningServer:
        """``config`` is the text of a configuration file; without it and without --store, the store is LMDB in a fresh folder."""
        folder = tmp_path_factory.mktemp("server")
        given = ["--transport", transport, *words, *(LOOPBACK if "--listen" not in words else ())]
        if config:
            (folder / "server.toml").write_text(config)
            given += ["--config", str(folder / "server.toml")]
        elif "--store" not in words:
            given += ["--store", f"lmdb://{folder}/store"]
        started.append(RunningServer(*given, environment=environment))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> RunningServer:
    """One server for the tests of a module; each uses a dataset of its own."""
    return start_server()


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address, options=[("grpc.max_receive_message_length", -1)]) as opened:
        yield opened


@pytest.fixture(scope="module")
def kv(channel: Any) -> Any:
    return kv_stub(channel)


@pytest.fixture
def dataset(request: pytest.FixtureRequest, kv: Any) -> str:
    """A LATEST dataset that no other test uses."""
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[:200]
    kv.Create(kv_pb2.CreateRequest(dataset=name, properties={"kind": "DATASET_KIND_LATEST"}), timeout=10)
    return name


@pytest.fixture(scope="session")
def folder_of_sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For Unix sockets."""
    return tmp_path_factory.mktemp("s")

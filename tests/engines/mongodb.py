"""MongoDB's wire protocol by FerretDB, built from the Go module proxy: no MongoDB server is to be had from a registry."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.engines.engine import CACHE, Engine, Process, free_port, listens

MODULE = "github.com/FerretDB/FerretDB"
VERSION = "v1.24.0"
VERSION_FILES = {"version": VERSION, "commit": "unknown", "branch": "unknown", "package": "unknown"}
"""FerretDB embeds these; they are made when it is released, are not in its module, and without them it ends at once."""

BINARY = CACHE / f"ferretdb-{VERSION}" / "ferretdb"
BUILD_SECONDS = 1800
READY_SECONDS = 60


def _module_folder() -> Path:
    """Where the Go command unpacked the module; read-only. `go install` does not do: the list of versions is not readable."""
    command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    found = subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECONDS)
    return Path(json.loads(found.stdout)["Dir"])


def _build(source: Path, binary: Path) -> None:
    """Build on one core and politely: other engines are in use on the machine meanwhile."""
    command = ["nice", "go", "build", "-p", "1", "-trimpath", "-buildvcs=false", "-o", str(binary), "./cmd/ferretdb"]
    subprocess.run(command, check=True, cwd=source, timeout=BUILD_SECONDS)


class MongoDB(Engine):
    """FerretDB on SQLite files. A write is on disk when it is acknowledged."""

    name = "mongodb"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._port = free_port()
        self._process: Process | None = None

    @classmethod
    def install(cls) -> None:
        if cls.installed():
            return
        BINARY.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=BINARY.parent) as scratch:
            source = Path(scratch) / "source"
            shutil.copytree(_module_folder(), source, copy_function=shutil.copyfile)
            for folder, _, _ in os.walk(source):
                Path(folder).chmod(0o755)
            for name, text in VERSION_FILES.items():
                (source / "build" / "version" / f"{name}.txt").write_text(text)
            built = Path(scratch) / "ferretdb"
            _build(source, built)
            built.rename(BINARY)

    @classmethod
    def installed(cls) -> bool:
        return BINARY.exists()

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self._port}/chronoserve"

    def start(self) -> None:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        self._process = Process(
            [
                BINARY,
                "--handler=sqlite",
                f"--sqlite-url=file:{data}/",
                f"--state-dir={data}",
                f"--listen-addr=127.0.0.1:{self._port}",
                "--debug-addr=-",
                "--telemetry=disable",
                "--log-level=warn",
            ],
            log=self.directory / "ferretdb.log",
        )
        self._process.wait_until(lambda: listens(self._port), seconds=READY_SECONDS)

    def processes(self) -> list[Process]:
        return [self._process] if self._process else []

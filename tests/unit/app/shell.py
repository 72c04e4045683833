"""The command line as tests use it: in this process, or as a real one."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from chronoserve.app.cli import main
from tests.engines.engine import Process

COMMAND = [sys.executable, "-P", "-m", "chronoserve"]
SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def run(*words: str | Path, input_text: str | None = None) -> Answer:
    """``chronoserve`` with these words, in this process; whatever it raises is raised here."""
    found = CliRunner().invoke(main, [str(word) for word in words], input=input_text)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Answer(found.exit_code, found.stdout, found.stderr)


def run_process(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> Answer:
    """The same as a process of its own, with pipes."""
    command = [*COMMAND, *map(str, words)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


class RunningServer:
    """``chronoserve serve`` on free ports of the loopback."""

    def __init__(self, directory: Path, words: Sequence[str] = ()) -> None:
        self._log = directory / "server.log"
        url = f"lmdb://{directory}/store"
        serve = [*COMMAND, "serve", "--store", url, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *words]
        self._process = Process(serve, log=self._log)
        self._process.wait_until(lambda: bool(self._serving()), seconds=SECONDS)
        serving = self._serving()
        self.address: str = serving["listen"][0]
        self.http: str = serving["http"][0]

    def _serving(self) -> dict[str, Any]:
        for line in self._log.read_text().splitlines():
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == "serving":
                return entry
        return {}

    def stop(self) -> None:
        self._process.stop()

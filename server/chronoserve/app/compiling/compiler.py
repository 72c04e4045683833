"""One run of compile.py as a process of its own: never asked anything, never left behind."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from chronoserve.app.compiling.environment import Environment

MODULE = "ai.chronon.repo.compile"
PASSED_ON = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
"""Unbuffered, so that what it prints and what it logs stay in their order."""


@dataclass(frozen=True, slots=True)
class Ran:
    """``output``: everything that it said. ``code``: its exit code; negative for the signal that ended it."""

    output: str
    code: int


@dataclass(frozen=True, slots=True)
class Compiler:
    """compile.py for one repository, writing below ``output``."""

    environment: Environment
    root: Path
    output: Path
    force_overwrite: bool = False
    keep_env: bool = False
    keep_sample_percent: bool = False

    def run(self, input_path: str, *, seconds: float) -> Ran:
        """Compile a file or folder, relative to the root.

        Raises:
            TimeoutError: it took longer than ``seconds``, and was ended.
        """
        with _terminable(), _process(self._command(input_path), self.root) as process:
            try:
                output, _ = process.communicate(self._answers(), timeout=seconds)
            except subprocess.TimeoutExpired as late:
                raise TimeoutError from late
        return Ran(output, process.returncode)

    def _command(self, input_path: str) -> Sequence[str]:
        places = ["--chronon_root", str(self.root), "--output_root", str(self.output), "--conf", input_path]
        return [str(self.environment.python), "-m", MODULE, *places, *(["--force-overwrite"] if self.force_overwrite else [])]

    def _answers(self) -> str:
        """To its two questions, whether to update what confs say of environments, and whether a log that is no longer sampled ends.

        ``--yes`` is not used: it answers both, and Chronon's older versions do not know it.
        """
        return f"{'n' if self.keep_env else 'y'}\n{'n' if self.keep_sample_percent else 'y'}\n"


@contextmanager
def _process(command: Sequence[str], root: Path) -> Iterator["subprocess.Popen[str]"]:
    """In a session of its own, all of which ends with the context."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, **PASSED_ON, "PYTHONPATH": path}
    process = subprocess.Popen(  # noqa: S603 - what the user installed
        command,
        cwd=root,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that the process and the copy are taken away."""

    def unwind(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

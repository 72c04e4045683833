"""Where chronon-ai is installed: a virtual environment of its own, given, or made below the cache from a lock with hashes.

The lock leaves out the PySpark and sqlglot that chronon-ai asks for: its notebooks and its lineage use them, compile.py does
not. So nothing has to agree with the Spark of a cluster, and the environment takes seconds and 30 MB instead of 340.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from chronoserve.model.errors import FailedPrecondition, Unavailable

VARIABLE = "CHRONOSERVE_CHRONON_ENV"
LOCK = "chronon.lock"
READY = ".ready"
INSTALL_SECONDS = 600
ASKED_SECONDS = 60
SAID_CHARS = 600
"""How much of the end of a failed installation's output is shown."""
REMEDY = "`chronoserve compile --install` installs one"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that has chronon-ai in it. ``version``: of chronon-ai."""

    directory: Path
    version: str

    @property
    def python(self) -> Path:
        return interpreter(self.directory)


def interpreter(directory: Path) -> Path:
    return directory / "bin" / "python"


def default_directory() -> Path:
    """Below the cache; another lock has another place."""
    cache = os.environ.get("CHRONOSERVE_CACHE")
    base = Path(cache) if cache else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chronoserve"
    return base / f"chronon-{hashlib.sha256(_lock_text()).hexdigest()[:12]}"


def find(given: Path | None) -> Environment:
    """The environment that was given, that the variable names, or that was installed, in this order.

    Raises:
        FailedPrecondition: there is none, or no chronon-ai in it.
    """
    named = os.environ.get(VARIABLE)
    if given is not None:
        return _examined(given, "--environment")
    if named:
        return _examined(Path(named), VARIABLE)
    if not is_chosen():
        raise FailedPrecondition(
            f"compile.py of chronon-ai is not installed: {REMEDY}; --environment DIR or {VARIABLE} name a virtual environment that has it"
        )
    return _examined(default_directory(), "the cache")


def is_chosen() -> bool:
    """Whether one was installed, or the variable names one, which need not be right."""
    return bool(os.environ.get(VARIABLE)) or (default_directory() / READY).exists()


def _examined(directory: Path, source: str) -> Environment:
    if not interpreter(directory).exists():
        raise FailedPrecondition(f"{directory} ({source}) is no virtual environment, it has no bin/python: {REMEDY}")
    version = _version(directory)
    if version is None:
        raise FailedPrecondition(
            f"{directory} ({source}) has no chronon-ai: `{interpreter(directory)} -m pip install chronon-ai`, or {REMEDY}"
        )
    return Environment(directory.absolute(), version)


def _version(directory: Path) -> str | None:
    """Asked of the environment itself: packages may be in more places than its own folder. None also where it does not answer."""
    program = "from importlib.metadata import version; print(version('chronon-ai'))"
    try:
        asked = subprocess.run([interpreter(directory), "-c", program], capture_output=True, text=True, check=False, timeout=ASKED_SECONDS)  # noqa: S603 - what the user named
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def install() -> Environment:
    """The environment of the lock, made where it is not there yet.

    Raises:
        Unavailable: it cannot be made; the text ends with what was said.
    """
    directory = default_directory()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _alone(directory.with_suffix(".lock")):
        if not (directory / READY).exists():
            _run([sys.executable, "-m", "venv", "--clear", str(directory)])
            with as_file(files(__package__).joinpath(LOCK)) as lock:
                pip = [str(interpreter(directory)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
                _run([*pip, "--require-hashes", "--requirement", str(lock)])
            (directory / READY).touch()
    return _examined(directory, "the cache")


def _lock_text() -> bytes:
    return files(__package__).joinpath(LOCK).read_bytes()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two installations at once make one environment."""
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL)  # noqa: S603 - ours
    except subprocess.TimeoutExpired as late:
        raise Unavailable(f"installing chronon-ai took more than {INSTALL_SECONDS} s: try again, or give --environment") from late
    if done.returncode != 0:
        raise Unavailable(f"chronon-ai cannot be installed: {(done.stderr or done.stdout).strip()[-SAID_CHARS:]}")

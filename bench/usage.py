"""What a command uses, and everything that it starts: CPU time and memory, from samples and from the kernel's own count."""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.1
TOLD_LINES = 15
"""So many of its last lines are shown of a command that failed."""

_TICK = os.sysconf("SC_CLK_TCK")
_KIB = 1024


class CommandFailed(RuntimeError):
    """A command ended with another exit code than 0."""


@dataclass(slots=True)
class Usage:
    """``memory_bytes``: at its highest, of all processes at one time; pages that several share count once for each."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    wall_seconds: float = 0.0

    def sample(self, root: int) -> None:
        found = [each for each in _processes() if root in each.ancestors]
        self.cpu_seconds = max(self.cpu_seconds, sum(each.cpu_seconds for each in found))
        self.memory_bytes = max(self.memory_bytes, sum(each.memory_bytes for each in found))

    def count(self, ended: resource.struct_rusage) -> None:
        """What the kernel counted of the command and of children that it waited for: no less than that was used."""
        self.cpu_seconds = max(self.cpu_seconds, ended.ru_utime + ended.ru_stime)
        self.memory_bytes = max(self.memory_bytes, ended.ru_maxrss * _KIB)


@dataclass(frozen=True, slots=True)
class _Process:
    """``ancestors``: itself among them. ``cpu_seconds``: with those of children that ended."""

    ancestors: frozenset[int]
    cpu_seconds: float
    memory_bytes: int


def of_command(command: Sequence[str | Path], environment: Mapping[str, str]) -> Usage:
    """Run it to its end. Raises CommandFailed, with its last lines."""
    usage, began = Usage(), time.perf_counter()
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        process = subprocess.Popen([*map(str, command)], env=dict(environment), stdout=told, stderr=subprocess.STDOUT)
        while True:
            usage.sample(process.pid)
            pid, status, ended = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(SAMPLE_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
        usage.count(ended)
        usage.wall_seconds = time.perf_counter() - began
        if process.returncode:
            told.seek(0)
            last = "".join(told.readlines()[-TOLD_LINES:])
            raise CommandFailed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{last}")
    return usage


def _processes() -> list[_Process]:
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
    return [_process(pid, stats) for pid in stats]


def _process(pid: int, stats: Mapping[int, list[str]]) -> _Process:
    """From /proc/<pid>/stat behind the name: state, parent, …, user, system, children's user, children's system at 11-14, pages at 21."""
    fields = stats[pid]
    ancestors = set()
    while pid in stats and pid not in ancestors:
        ancestors.add(pid)
        pid = int(stats[pid][1])
    ticks = sum(int(field) for field in fields[11:15])
    return _Process(frozenset(ancestors), ticks / _TICK, int(fields[21]) * resource.getpagesize())

"""What the processes of a server cost, from /proc; and where things run: the server on core 0, all others on core 1."""

import os
import platform
import subprocess
from pathlib import Path

SERVER_CORE = 0
CLIENT_CORE = 1
CORES_MIN = 2

_USER_TICKS, _SYSTEM_TICKS = 11, 12
"""Fields of /proc/PID/stat after the command's name."""
_MICROS_OF_TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")


def pinned(core: int, command: list[str | Path]) -> list[str | Path]:
    return ["taskset", "-c", str(core), *command]


def use_all_cores() -> None:
    """This process and those that it starts from now on, wherever it was kept before."""
    os.sched_setaffinity(0, range(os.cpu_count() or CORES_MIN))


def family(pid: int) -> list[int]:
    """A process and all its descendants that are alive."""
    children = [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    return [pid, *(descendant for child in children for descendant in family(child))]


def cpu_us(pid: int) -> float:
    """User and system time of a process and its descendants so far, in microseconds; the kernel counts in steps of 10 ms."""
    ticks = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return ticks * _MICROS_OF_TICK


def _mib(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def resident_mib(pid: int) -> float:
    """Memory of the largest process of the family now: that of one worker."""
    return max(_mib(member, "VmRSS") for member in family(pid))


def resident_peak_mib(pid: int) -> float:
    """As ``resident_mib``, at its highest since the processes began."""
    return max(_mib(member, "VmHWM") for member in family(pid))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _first_line(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.splitlines()[0]


def here() -> dict[str, str | int | float]:
    """The machine and how busy it is: figures of two runs compare only where this agrees."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def describe() -> dict[str, str | int | float]:
    """As ``here``, and the Go that builds the peers."""
    return {**here(), "go": _first_line("go", "version")}

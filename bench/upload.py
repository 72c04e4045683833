"""What an upload costs: events of many keys, twenty windowed aggregations, on the embedded engine and on PySpark.

    python -m bench.upload                      # 1 M, 3 M and 10 M events, both engines; writes bench/results/upload.json
    python -m bench.upload --rows 1000000 --engine duckdb

CPU seconds and memory are those of the job and of everything that it started, sampled. Each run is a process of its own.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.engines.environments import ROOT, Spark

RESULTS = Path(__file__).parent / "results" / "upload.json"
DS = "2024-03-31"
END_MILLIS = 1_711_929_600_000
DAYS = 35
DAY_MILLIS = 86_400_000
EVENTS_OF_KEY = 100
"""10 M events are of 100 k keys."""
SIZES = (1_000_000, 3_000_000, 10_000_000)
SEED = 8461
GIB = 1 << 30
SAMPLE_SECONDS = 0.1
MEMORY_BYTES_MAX = 1.5 * GIB
TIMES_SPARK_MIN = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """One upload, measured."""

    engine: str
    rows: int
    keys: int
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int

    @property
    def us_of_row(self) -> float:
        return 1e6 * self.cpu_seconds / self.rows


def conf() -> dict[str, object]:
    """Twenty columns: sums, counts, averages, extremes and the last value, over up to thirty days."""

    def windows(*days: int) -> list[dict[str, int]]:
        return [{"length": length, "timeUnit": 1} for length in days]

    operations = {"SUM": 7, "COUNT": 6, "AVERAGE": 8, "MAX": 1, "MIN": 0}
    aggregations = [{"inputColumn": "amount", "operation": number, "windows": windows(1, 7, 30)} for number in operations.values()]
    aggregations += [{"inputColumn": "item", "operation": 3, "windows": windows(7, 30)}]
    aggregations += [{"inputColumn": "quantity", "operation": 7, "windows": windows(1, 7, 30)}]
    return {
        "metaData": {"name": "bench.events.v1", "online": 1, "outputNamespace": "bench", "team": "bench"},
        "sources": [{"events": {"table": "bench.events", "topic": "events", "query": {
            "selects": {"user": "user", "amount": "amount", "item": "item", "quantity": "quantity"}, "timeColumn": "ts", "setups": [],
        }}}],
        "keyColumns": ["user"],
        "aggregations": aggregations,
    }  # fmt: skip


def write_events(root: Path, rows: int) -> None:
    """A partition a day."""
    chance = np.random.default_rng(SEED)
    keys, a_day = rows // EVENTS_OF_KEY, rows // DAYS
    for back in range(DAYS):
        end = END_MILLIS - back * DAY_MILLIS
        table = pa.table({
            "user": pa.array(chance.integers(0, keys, a_day)),
            "amount": pa.array(chance.normal(50, 20, a_day)),
            "item": pa.array(chance.integers(0, 5_000, a_day)).cast(pa.string()),
            "quantity": pa.array(chance.integers(1, 9, a_day)),
            "ts": pa.array(end - 1 - chance.integers(0, DAY_MILLIS, a_day)),
        })  # fmt: skip
        day = np.datetime64(end - 1, "ms").astype("datetime64[D]")
        folder = root / "bench.db" / "events" / f"ds={day}"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part-0.parquet")


def measured(engine: str, rows: int, root: Path) -> Run:
    """Run the verb. Raises RuntimeError where it fails."""
    path = root / "production" / "group_bys" / "bench" / "events.v1"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(conf()))
    output = root / f"out-{engine}"
    python = sys.executable if engine == "duckdb" else str(Spark.python())
    words = ["upload", "--conf", path, "--ds", DS, "--warehouse", root, "--output", output, "--engine", engine]
    began = time.perf_counter()
    code, usage = _ended([python, "-P", "-m", "chronoserve", *map(str, words)], _environment(engine))
    if code:
        raise RuntimeError(f"the upload on {engine} ended with exit code {code}")
    shutil.rmtree(output)
    wall = time.perf_counter() - began
    return Run(engine, rows, rows // EVENTS_OF_KEY, round(usage.cpu_seconds, 2), round(wall, 2), usage.memory_bytes)


def _environment(engine: str) -> Mapping[str, str]:
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "8"}
    confs = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    submit = f"--master local[2] --driver-memory 3g {confs} pyspark-shell"
    spark = {"PYSPARK_PYTHON": str(Spark.python()), "PYSPARK_SUBMIT_ARGS": submit}
    return {**os.environ, "PYTHONPATH": str(ROOT / "server"), **(spark if engine == "spark" else {})}


@dataclass(slots=True)
class Usage:
    """What a process and all that it started have used so far; a sample now and then finds it."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0

    def sample(self, root: int) -> None:
        found = [each for each in _processes() if root in each.ancestors]
        self.cpu_seconds = max(self.cpu_seconds, sum(each.cpu_seconds for each in found))
        self.memory_bytes = max(self.memory_bytes, sum(each.memory_bytes for each in found))


@dataclass(frozen=True, slots=True)
class Process:
    """``ancestors``: itself among them. ``cpu_seconds``: with those of children that ended."""

    ancestors: frozenset[int]
    cpu_seconds: float
    memory_bytes: int


def _processes() -> list[Process]:
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
    return [_process(pid, stats) for pid in stats]


def _process(pid: int, stats: Mapping[int, list[str]]) -> Process:
    """From /proc/<pid>/stat behind the name: state, parent, …, user, system, children's user, children's system at 11-14, pages at 21."""
    fields = stats[pid]
    ancestors = set()
    while pid in stats and pid not in ancestors:
        ancestors.add(pid)
        pid = int(stats[pid][1])
    ticks = sum(int(field) for field in fields[11:15])
    return Process(frozenset(ancestors), ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * resource.getpagesize())


def _ended(command: list[str], environment: Mapping[str, str]) -> tuple[int, Usage]:
    """Exit code, and what was used."""
    usage = Usage()
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            usage.sample(process.pid)
            time.sleep(SAMPLE_SECONDS)
    return process.returncode, usage


def report(runs: list[Run]) -> list[str]:
    """A line a run, and the bars that can be judged."""
    lines = [
        f"{run.engine:<7} {run.rows:>11,} rows {run.keys:>8,} keys {run.cpu_seconds:>8.1f} s CPU {run.us_of_row:>6.2f} µs a row "
        f"{run.wall_seconds:>8.1f} s {run.memory_bytes / GIB:>5.2f} GiB"
        for run in runs
    ]
    most = max((run.memory_bytes for run in runs if run.engine == "duckdb"), default=0)
    lines.append(f"memory of duckdb: {most / GIB:.2f} GiB, at most {MEMORY_BYTES_MAX / GIB:.1f}")
    by_engine = {(run.engine, run.rows): run for run in runs}
    for (engine, rows), run in by_engine.items():
        if engine == "spark" and (embedded := by_engine.get(("duckdb", rows))):
            lines.append(
                f"{rows:,} rows: spark needs {run.cpu_seconds / embedded.cpu_seconds:.2f} times the CPU, at least {TIMES_SPARK_MIN}"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="repeatable")
    parser.add_argument("--engine", action="append", choices=["duckdb", "spark"], help="repeatable")
    given = parser.parse_args()
    engines = given.engine or ["duckdb", *(["spark"] if Spark.installed() else [])]
    runs: list[Run] = []
    for rows in given.rows or SIZES:
        with tempfile.TemporaryDirectory(prefix="bench-upload-") as folder:
            write_events(Path(folder), rows)
            for engine in engines:
                runs.append(measured(engine, rows, Path(folder)))
                print(report(runs[-1:])[0], flush=True)
    print("\n".join(report(runs)[len(runs) :]))
    if not given.rows:
        RESULTS.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Bulk loads beside bare clients that write the same bytes in the same run: ``python -m bench.bulk``, and part of ``make bench``.

The load is the whole of ``chronoserve load``: start, judging the table, reading, writing, and the serving info at the end. Of a
bare client only the time in its writes counts. Redis keeps nothing on disk; LMDB is synced by both.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from bench import machine, tools
from bench.bars import Bar, at_least, at_most
from tests.engines.engine import Process, free_port, listens

ROWS, ROWS_QUICK = 5_000_000, 100_000
VALUE_BYTES = 200
GROUP_ROWS = 50_000
SHARE_MIN = 0.6
MIB_MAX = 300.0
GROWTH_MIB_MAX = 40.0
"""Between the memory at a third of the load and at its end: flat."""
SAMPLE_SECONDS = 0.1
READY_SECONDS = 30.0
DAY, NEXT_DAY = "2023-11-30", "2023-12-01"
GROUP_BY, TABLE = "bench.bulk.v1", "bench.bench_bulk_v1_upload"
REDIS, LMDB = "redis", "lmdb"
OURS = "chronoserve load"
BARE = {REDIS: ("redis-py", "hiredis"), LMDB: ("lmdb",)}
"""The first is what the load is judged by; hiredis packed by hand is shown beside it."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BulkRun:
    """One writer's run. ``cpu_seconds``: of the writer and of the store together. ``mib``: of its own memory, at its highest."""

    store: str
    writer: str
    rows: int
    seconds: float
    cpu_seconds: float
    mib: float = 0.0
    growth_mib: float = 0.0

    @property
    def rows_a_second(self) -> float:
        return self.rows / self.seconds


def write_table(warehouse: Path, rows: int) -> None:
    """An upload table of so many rows with values of VALUE_BYTES that do not compress; keys in no order, as Spark leaves them."""
    folder = warehouse / "bench.db" / TABLE.partition(".")[2]
    folder.mkdir(parents=True)
    made = random.Random(8461)
    schema = pa.schema([("key_bytes", pa.binary()), ("value_bytes", pa.binary()), ("ds", pa.string())])
    info = json.dumps({"groupBy": {"metaData": {"name": GROUP_BY}}, "batchEndDate": NEXT_DAY}).encode()
    with pq.ParquetWriter(folder / "part-0.parquet", schema) as writer:
        for at in range(0, rows, GROUP_ROWS):
            count = min(GROUP_ROWS, rows - at)
            keys = [b"\x02\x14%010d" % (number * 2_654_435_761 % 10**10) for number in range(at, at + count)]
            content = made.randbytes(count * VALUE_BYTES)
            found = [content[begin : begin + VALUE_BYTES] for begin in range(0, len(content), VALUE_BYTES)]
            writer.write_batch(pa.record_batch([keys, found, [DAY] * count], schema=schema))
        writer.write_batch(pa.record_batch([[b"group_by_serving_info"], [info], [DAY]], schema=schema))


class Redis(Process):
    """Without persistence; every run has a fresh one."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        words = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        command: list[str | Path] = [tools.redis_server(), "--port", str(self.port), *words]
        super().__init__(command, log=directory / "redis.log", cwd=directory)
        self.wait_until(lambda: listens(self.port), seconds=READY_SECONDS)

    def cpu_seconds(self) -> float:
        return machine.cpu_us(self._process.pid) / 1e6


class Memory(threading.Thread):
    """A process's own memory over time: what is mapped from files is the kernel's to take back, so it does not count."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.samples: list[float] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_SECONDS):
            try:
                lines = self._status.read_text().splitlines()
            except OSError:  # the process has just ended
                return
            self.samples += [int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")]

    @property
    def peak(self) -> float:
        return max(self.samples, default=0.0)

    @property
    def growth(self) -> float:
        """From the highest in the second third of the time to the highest in the last one."""
        third = len(self.samples) // 3
        return max(self.samples[2 * third :], default=0.0) - max(self.samples[third : 2 * third], default=0.0)


class Trial:
    """One warehouse with its table, loaded into each store by each writer."""

    def __init__(self, directory: Path, rows: int, tell: Tell) -> None:
        self._directory = directory
        self._rows = rows
        self._tell = tell
        self._warehouse = directory / "warehouse"
        tell(f"writing an upload of {rows:,} rows of {VALUE_BYTES} B")
        write_table(self._warehouse, rows)

    def run(self, stores: tuple[str, ...]) -> list[BulkRun]:
        return [self._written(store, writer) for store in stores for writer in (*BARE[store], OURS)]

    def _written(self, store: str, writer: str) -> BulkRun:
        self._tell(f"{writer} into {store}")
        folder = Path(tempfile.mkdtemp(dir=self._directory))
        redis = Redis(folder) if store == REDIS else None
        place = str(redis.port) if redis else str(folder)
        try:
            if writer == OURS:
                return self._loaded(store, f"redis://127.0.0.1:{place}" if redis else f"lmdb://{folder}/store", folder, redis)
            command = [sys.executable, "-m", "bench.bulk_bare", writer, str(self._warehouse), place]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=tools.ROOT).stdout)
            cpu = said["cpu_seconds"] + (redis.cpu_seconds() if redis else 0.0)
            return BulkRun(store, writer, said["rows"], said["seconds"], cpu)
        finally:
            if redis:
                redis.kill()
            shutil.rmtree(folder)

    def _loaded(self, store: str, url: str, folder: Path, redis: Redis | None) -> BulkRun:
        where = ["--warehouse", str(self._warehouse), "--store", url, "--checkpoints", str(folder)]
        words = ["load", TABLE, "--partition", DAY, *where, "--verify", "0"]
        began = time.perf_counter()
        process = subprocess.Popen([tools.chronoserve(), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        memory = Memory(process.pid)
        memory.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        memory.ended.set()
        memory.join()
        if process.returncode:
            raise RuntimeError(f"the load into {store} failed with {process.returncode}")
        cpu = used.ru_utime + used.ru_stime + (redis.cpu_seconds() if redis else 0.0)
        return BulkRun(store, OURS, self._rows + 1, seconds, cpu, memory.peak, memory.growth)


COLUMNS = ("store", "writer", "rows", "rows a second", "rows a CPU second", "memory MiB", "growth MiB")


def rows(runs: list[BulkRun]) -> list[tuple[str, ...]]:
    return [
        (
            run.store,
            run.writer,
            f"{run.rows:,}",
            f"{run.rows_a_second:,.0f}",
            f"{run.rows / run.cpu_seconds:,.0f}",
            *((f"{run.mib:.0f}", f"{run.growth_mib:+.0f}") if run.mib else ("", "")),
        )
        for run in runs
    ]


def judge(runs: list[BulkRun]) -> list[Bar]:
    judged: list[Bar] = []
    for ours in (run for run in runs if run.writer == OURS):
        bare = [run for run in runs if run.store == ours.store and run.writer != OURS]
        name = f"bulk load into {ours.store}, rows a second against {{}}"
        judged.append(at_least(name.format(bare[0].writer), ours.rows_a_second / bare[0].rows_a_second, SHARE_MIN, "{:.0%}"))
        shares = [(run.writer, ours.rows_a_second / run.rows_a_second) for run in bare[1:]]
        judged += [Bar(name.format(f"{writer} packed by hand"), f"{share:.0%}", "no bar", held=None) for writer, share in shares]
        cpu = (ours.rows / ours.cpu_seconds) / (bare[0].rows / bare[0].cpu_seconds)
        judged.append(Bar(f"bulk load into {ours.store}, rows a CPU second against {bare[0].writer}", f"{cpu:.0%}", "no bar", held=None))
        judged.append(at_most(f"bulk load into {ours.store}, memory", ours.mib, MIB_MAX, "{:.0f} MiB"))
        judged.append(at_most(f"bulk load into {ours.store}, growth of memory", ours.growth_mib, GROWTH_MIB_MAX, "{:.0f} MiB"))
    return judged


@click.command(help=__doc__)
@click.option("--rows", "count", type=click.IntRange(min=1_000), default=ROWS, show_default=True)
@click.option("--store", "stores", type=click.Choice([REDIS, LMDB]), multiple=True, default=(REDIS, LMDB), show_default=True)
def main(*, count: int, stores: tuple[str, ...]) -> None:
    from bench import report  # noqa: PLC0415 - it knows this module

    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="chronoserve-bulk-") as directory:
        runs = Trial(Path(directory), count, lambda line: console.print(f"[dim]{line}[/dim]", highlight=False)).run(stores)
    found = report.Report(machine.describe(), {"rows": count, "stores": list(stores)}, bulk=runs, bars=judge(runs))
    report.show(found, console)
    console.print_json(data=[{**{name: getattr(run, name) for name in BulkRun.__slots__}} for run in runs])


if __name__ == "__main__":
    main()

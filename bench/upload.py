"""What an upload costs: events of many keys, twenty windowed aggregations, on the embedded engine and on PySpark.

    python -m bench.upload                                    # 1 M, 3 M and 10 M events, both engines, three rounds
    python -m bench.upload --rows 1000000 --engine duckdb     # a part of it, which is only shown

Each upload is the whole verb in a process of its own; CPU seconds and memory are those of the job and of everything that it
started. A complete run is kept in bench/results/upload.json, drawn in docs/upload.svg, and written into the README and
docs/operating/uploading.md; --publish writes these again from what was kept.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bench import machine, upload_report, usage
from bench.upload_report import DUCKDB, SPARK, Report, Run
from tests.engines.environments import ROOT, Spark

DS = "2024-03-31"
END_MILLIS = 1_711_929_600_000
DAYS = 35
DAY_MILLIS = 86_400_000
EVENTS_OF_KEY = 100
"""10 M events are of 100 k keys."""
SIZES = (1_000_000, 3_000_000, 10_000_000)
ROUNDS = 3
SEED = 8461
SECONDS_OF_MILLION = {DUCKDB: 1.0, SPARK: 3.0}
SECONDS_OF_RUN = {DUCKDB: 1.0, SPARK: 18.0}
"""About what a run takes on two cores: to say how long all of it will."""


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


def write_conf(root: Path) -> Path:
    path = root / "production" / "group_bys" / "bench" / "events.v1"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(conf()))
    return path


def measured(engine: str, rows: int, root: Path, path: Path) -> Run:
    """Run the verb. Raises CommandFailed, or RuntimeError where the table lacks a key."""
    output = root / f"out-{engine}"
    python = sys.executable if engine == DUCKDB else str(Spark.python())
    words: list[str | Path] = ["upload", "--conf", path, "--ds", DS, "--warehouse", root, "--output", output, "--engine", engine]
    used = usage.of_command([python, "-P", "-m", "chronoserve", *words], _environment(engine))
    written, keys = ds.dataset(output, format="parquet").count_rows(), rows // EVENTS_OF_KEY
    if written != keys + 1:
        raise RuntimeError(f"the upload on {engine} has {written} rows where {keys} keys and the serving info belong")
    shutil.rmtree(output)
    return Run(engine, rows, keys, round(used.cpu_seconds, 2), round(used.wall_seconds, 2), used.memory_bytes)


def _environment(engine: str) -> Mapping[str, str]:
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "8"}
    confs = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    submit = f"--master local[2] --driver-memory 3g {confs} pyspark-shell"
    spark = {"PYSPARK_PYTHON": str(Spark.python()), "PYSPARK_SUBMIT_ARGS": submit}
    return {**os.environ, "PYTHONPATH": str(ROOT / "server"), **(spark if engine == SPARK else {})}


def expected_minutes(sizes: tuple[int, ...], engines: tuple[str, ...], rounds: int) -> float:
    of_round = sum(SECONDS_OF_RUN[engine] + SECONDS_OF_MILLION[engine] * rows / 1e6 for rows in sizes for engine in engines)
    return (rounds * of_round + sum(sizes) / 1e6) / 60


@click.command(help=__doc__)
@click.option("--rows", "sizes", type=click.IntRange(min=EVENTS_OF_KEY * DAYS), multiple=True, help="Repeatable; default: all sizes.")
@click.option("--engine", "engines", type=click.Choice([DUCKDB, SPARK]), multiple=True, help="Repeatable; default: both.")
@click.option("--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True)
@click.option("--publish", is_flag=True, help="Measure nothing: write plot and documents again from bench/results/upload.json.")
@click.option("--strict", is_flag=True, help="Exit with 1 where a bar is missed.")
def main(*, sizes: tuple[int, ...], engines: tuple[str, ...], rounds: int, publish: bool, strict: bool) -> None:
    if publish:
        upload_report.publish(upload_report.kept())
        return
    complete = not sizes and not engines
    sizes, engines = sizes or SIZES, engines or (DUCKDB, SPARK)
    if SPARK in engines and not Spark.installed():
        raise click.ClickException("PySpark is not there: make engines ONLY=spark, or give --engine duckdb")
    click.echo(f"{rounds} rounds of {len(sizes) * len(engines)} uploads: about {expected_minutes(sizes, engines, rounds):.0f} minutes")
    report = Report(machine.here(), rounds)
    for rows in sizes:
        _measure(report, rows, engines)
    click.echo("\n".join(upload_report.lines(report)))
    if complete:
        upload_report.keep(report)
        upload_report.publish(report)
    sys.exit(1 if strict and any(bar.held is False for bar in report.bars) else 0)


def _measure(report: Report, rows: int, engines: tuple[str, ...]) -> None:
    """Rounds interleave the engines."""
    with tempfile.TemporaryDirectory(prefix="bench-upload-") as folder:
        root = Path(folder)
        write_events(root, rows)
        path = write_conf(root)
        for _ in range(report.rounds):
            for engine in engines:
                report.runs.append(measured(engine, rows, root, path))
                click.echo(upload_report.line(report.runs[-1]))


if __name__ == "__main__":
    main()

"""What is shown and kept of uploads: lines and bars, bench/results/upload.json, the plot, and the blocks of the documents."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bench.bars import Bar, at_least, at_most

DUCKDB, SPARK = "duckdb", "spark"
LABELS = {DUCKDB: "embedded (DuckDB)", SPARK: "PySpark local[2]"}
COLOURS = {DUCKDB: "#1f6feb", SPARK: "#d4a72c"}
GIB = 1 << 30
MEMORY_GIB_MAX = 1.5
TIMES_SPARK_MIN = 2.0
GROWTH_MAX = 1.25
"""Of what a row costs, from one size to the next: near linear."""

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "upload.json"
PLOT = ROOT / "docs" / "upload.svg"
README, OPERATING = ROOT / "README.md", ROOT / "docs" / "operating" / "uploading.md"
BEGIN, END = "<!-- uploads -->", "<!-- /uploads -->"


@dataclass(frozen=True, slots=True)
class Run:
    """One upload, measured; or the medians of several."""

    engine: str
    rows: int
    keys: int
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int

    @property
    def us_of_row(self) -> float:
        return 1e6 * self.cpu_seconds / self.rows

    @property
    def gib(self) -> float:
        return self.memory_bytes / GIB


@dataclass(slots=True)
class Report:
    """All runs, in the order in which they were made."""

    machine: dict[str, Any]
    rounds: int
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    runs: list[Run] = field(default_factory=list)

    def of(self, engine: str, rows: int) -> list[Run]:
        return [run for run in self.runs if (run.engine, run.rows) == (engine, rows)]

    @property
    def sizes(self) -> list[int]:
        return sorted({run.rows for run in self.runs})

    @property
    def medians(self) -> dict[tuple[str, int], Run]:
        """By engine and rows, as far as they were measured. Memory is that of the worst round."""
        engines = list(dict.fromkeys(run.engine for run in self.runs))
        return {(engine, rows): _median(found) for rows in self.sizes for engine in engines if (found := self.of(engine, rows))}

    def times_spark(self, rows: int) -> float | None:
        """How many times the CPU of the embedded engine PySpark needs, round by round; None where one of them was not measured."""
        pairs = zip(self.of(SPARK, rows), self.of(DUCKDB, rows), strict=False)
        ratios = [spark.cpu_seconds / embedded.cpu_seconds for spark, embedded in pairs]
        return median(ratios) if ratios else None

    @property
    def bars(self) -> list[Bar]:
        return [*self._memory_bars(), *self._spark_bars(), *self._growth_bars()]

    def _memory_bars(self) -> list[Bar]:
        most = max((run.gib for run in self.runs if run.engine == DUCKDB), default=None)
        return [] if most is None else [at_most(f"memory of {LABELS[DUCKDB]}, the largest of all runs", most, MEMORY_GIB_MAX, "{:.2f} GiB")]

    def _spark_bars(self) -> list[Bar]:
        """The largest size has the bar."""
        found = [(rows, times) for rows in self.sizes if (times := self.times_spark(rows)) is not None]
        name = "{:,} events: CPU of PySpark local[2] against ours"
        beside = [Bar(name.format(rows), f"{times:.2f} x", "no bar", held=None) for rows, times in found[:-1]]
        judged = [at_least(name.format(rows), times, TIMES_SPARK_MIN, "{:.2f} x") for rows, times in found[-1:]]
        return beside + judged + self._further_bars()

    def _further_bars(self) -> list[Bar]:
        """What an event more costs, from the smallest size to the largest: starting the JVM is in neither."""
        ours, theirs = (self._us_of_further(engine) for engine in (DUCKDB, SPARK))
        if ours is None or theirs is None:
            return []
        return [Bar("each further event: CPU of PySpark local[2] against ours", f"{theirs / ours:.2f} x", "no bar", held=None)]

    def _us_of_further(self, engine: str) -> float | None:
        found = [run for (name, _), run in self.medians.items() if name == engine]
        return 1e6 * (found[-1].cpu_seconds - found[0].cpu_seconds) / (found[-1].rows - found[0].rows) if len(found) > 1 else None

    def _growth_bars(self) -> list[Bar]:
        found = [run for (engine, _), run in self.medians.items() if engine == DUCKDB]
        return [
            at_most(f"CPU a row of {more.rows:,} events against {less.rows:,}", more.us_of_row / less.us_of_row, GROWTH_MAX, "{:.2f} x")
            for less, more in pairwise(found)
        ]


def _median(runs: Sequence[Run]) -> Run:
    one = runs[0]
    cpu, wall = (round(median(figures), 2) for figures in zip(*((run.cpu_seconds, run.wall_seconds) for run in runs), strict=True))
    return Run(one.engine, one.rows, one.keys, cpu, wall, max(run.memory_bytes for run in runs))


def line(run: Run) -> str:
    return (
        f"{run.engine:<7} {run.rows:>11,} rows {run.keys:>8,} keys {run.cpu_seconds:>8.1f} s CPU {run.us_of_row:>6.2f} µs a row "
        f"{run.wall_seconds:>8.1f} s {run.gib:>5.2f} GiB"
    )


VERDICTS = {True: "held", False: "MISSED", None: ""}


def lines(report: Report) -> list[str]:
    """The medians, then the bars."""
    bars = [f"{bar.name}: {bar.figure} ({bar.bar}) {VERDICTS[bar.held]}".rstrip() for bar in report.bars]
    return ["medians, memory of the worst round:", *map(line, report.medians.values()), *bars]


def keep(report: Report) -> None:
    document = {**asdict(report), "bars": [asdict(bar) for bar in report.bars]}
    RESULTS.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def kept() -> Report:
    """What the last complete run has left."""
    found = json.loads(RESULTS.read_text())
    return Report(found["machine"], found["rounds"], found["started"], [Run(**run) for run in found["runs"]])


def publish(report: Report) -> None:
    """The plot, and what stands between the marks in the README and in the page on uploads."""
    plot(report, PLOT)
    for path, block in ((README, summary(report)), (OPERATING, details(report))):
        before, begin, rest = path.read_text().partition(BEGIN)
        assert begin, f"{path.name} has no place for uploads"
        path.write_text(f"{before}{BEGIN}\n{block}\n{END}{rest.partition(END)[2]}")


def summary(report: Report) -> str:
    """For the README: the largest size in a sentence."""
    rows = report.sizes[-1]
    ours, times = report.medians[DUCKDB, rows], report.times_spark(rows)
    beside = f", {times:.1f} times less CPU than the same job on PySpark `local[2]`" if times is not None else ""
    return (
        f"An upload of {rows / 1e6:.0f} M events of {ours.keys // 1000} k keys with twenty windowed aggregations takes "
        f"{ours.cpu_seconds:.1f} s of CPU\nand {ours.gib:.2f} GiB without the JVM{beside}:\n"
        "[what it costs](docs/operating/uploading.md#what-it-costs), by `python -m bench.upload`."
    )


def details(report: Report) -> str:
    of = report.machine
    where = f"{of['processor']}, {of['cores']} cores, Python {of['python']}"
    head = (
        f"Medians of {report.rounds} rounds on {report.started[:10]}: {where}.\nEvents of a hundred to a key, twenty windowed "
        "aggregations, from Parquet to the table written, start-up included."
    )
    table = ["| events | engine | CPU s | CPU µs an event | s | GiB |", "|---|---|---|---|---|---|"]
    table += [_row(run) for run in report.medians.values()]
    bars = ["| figure | measured | bar | |", "|---|---|---|---|"]
    bars += [f"| {bar.name} | {bar.figure} | {bar.bar} | {VERDICTS[bar.held]} |" for bar in report.bars]
    return "\n".join([head, "", *table, "", "![CPU seconds and memory by events](../upload.svg)", "", *bars])


def _row(run: Run) -> str:
    figures = f"{run.cpu_seconds:.1f} | {run.us_of_row:.2f} | {run.wall_seconds:.1f} | {run.gib:.2f}"
    return f"| {run.rows / 1e6:.0f} M | {LABELS[run.engine]} | {figures} |"


def plot(report: Report, path: Path) -> None:
    """CPU seconds and memory against rows, a line an engine."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only complete runs draw

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "chronoserve"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of its canvas

    figure, (cpu, memory) = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
    for engine, label in LABELS.items():
        runs = [run for (name, _), run in report.medians.items() if name == engine]
        millions, style = [run.rows / 1e6 for run in runs], {"marker": "o", "color": COLOURS[engine], "label": label}
        cpu.plot(millions, [run.cpu_seconds for run in runs], **style)
        memory.plot(millions, [run.gib for run in runs], **style)
    memory.axhline(MEMORY_GIB_MAX, color="#8a8f98", linestyle=":", label="bar of the embedded engine")
    for axis, what in ((cpu, "CPU seconds"), (memory, "memory, GiB")):
        axis.set_title(what, fontsize=10)
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(b=False)
        axis.legend(fontsize=8, frameon=False)
    figure.supxlabel("million events, a hundred to a key, twenty windowed aggregations", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)

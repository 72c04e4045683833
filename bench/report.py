"""What is shown and kept: tables on the terminal, JSON and Markdown in ``bench/results``, the plot of the docs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import bulk as loading
from bench import features as fetching
from bench import servers
from bench.bars import SIZES, Bar
from bench.grid import PIPELINED, STREAM, STREAMS, UNARY, Point, Sample, Samples, middle, unary
from bench.trials import GhzRun, Overload, Restarts

VERDICTS = {True: "held", False: "MISSED", None: ""}
PLOTTED = (servers.GO, servers.OURS, servers.LMDB, servers.NAIVE)
COLOURS = ("#8a8f98", "#1f6feb", "#58a6ff", "#d4a72c")


@dataclass(slots=True)
class Report:
    """All of one run. ``settings``: what it was asked to do."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    samples: Samples = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    features: fetching.Features | None = None
    ghz: list[GhzRun] = field(default_factory=list)
    overload: Overload | None = None
    restarts: Restarts | None = None
    bulk: list[loading.BulkRun] = field(default_factory=list)

    @property
    def missed(self) -> int:
        return sum(bar.held is False for bar in self.bars)


CALLS = {UNARY: "MultiGet", STREAM: "StreamMultiGet", PIPELINED: f"StreamMultiGet, {STREAMS} streams,"}


def _row(point: Point, sample: Sample) -> tuple[str, ...]:
    call = f"{CALLS[point.mode]} of {point.keys}"
    figures = (f"{sample.cpu_us:.1f}", f"{1e6 / sample.cpu_us:,.0f}", f"{sample.p50_us / 1000:.2f}", f"{sample.p99_us / 1000:.2f}")
    return (call, str(point.callers), servers.LABELS[point.server], *figures)


COLUMNS = ("call", "callers", "server", "CPU µs a call", "calls a CPU second", "p50 ms", "p99 ms")
GHZ_COLUMNS = ("server", "calls", "CPU µs a call", "p50 ms", "p99 ms")
FEATURES_TITLE = "FetchJoins from the memory store, CPU µs a row; the JVM's recorded figures carried by the Go peer's MultiGet of 10"
BAR_COLUMNS = ("figure", "measured", "bar", "")


def _rows(samples: Samples) -> list[tuple[str, ...]]:
    return [_row(point, middle(rounds)) for point, rounds in sorted(samples.items())]


def _ghz_rows(runs: Sequence[GhzRun]) -> list[tuple[str, ...]]:
    return [
        (servers.LABELS[run.server], f"{run.calls:,}", f"{run.cpu_us:.1f}", f"{run.p50_us / 1000:.2f}", f"{run.p99_us / 1000:.2f}")
        for run in runs
    ]


def _bar_rows(bars: Sequence[Bar]) -> list[tuple[str, ...]]:
    return [(bar.name, bar.figure, bar.bar, VERDICTS[bar.held]) for bar in bars]


def _tables(report: Report) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    tables = [
        ("Closed loop, values of 200 B, medians", COLUMNS, _rows(report.samples)),
        (FEATURES_TITLE, fetching.COLUMNS, fetching.rows(report.features) if report.features else []),
        ("ghz through reflection, MultiGet of 10", GHZ_COLUMNS, _ghz_rows(report.ghz)),
        ("Bulk loads, values of 200 B", loading.COLUMNS, loading.rows(report.bulk)),
        ("Bars", BAR_COLUMNS, _bar_rows(report.bars)),
    ]
    return [table for table in tables if table[2]]


def show(report: Report, console: Console) -> None:
    for title, columns, rows in _tables(report):
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number and column != "server" else "left")
        for row in rows:
            table.add_row(*row, style="red" if row[-1] == VERDICTS[False] else None)
        console.print(table)


def markdown(report: Report) -> str:
    of = report.machine
    where = f"{of['processor']}, {of['cores']} cores, Linux {of['kernel']}, Python {of['python']}, {of['go']}"
    lines = [f"Measured on {report.started:%Y-%m-%d}: {where}."]
    for title, columns, rows in _tables(report):
        lines += ["", f"**{title}**", "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> str:
    document = {
        "started": report.started.isoformat(timespec="seconds"),
        "machine": report.machine,
        "settings": report.settings,
        "bars": [asdict(bar) for bar in report.bars],
        "closed_loop": [
            {**asdict(point), "median": asdict(middle(rounds)), "rounds": [asdict(each) for each in rounds]}
            for point, rounds in sorted(report.samples.items())
        ],
        "features": asdict(report.features) if report.features else None,
        "ghz": [asdict(run) for run in report.ghz],
        "overload": asdict(report.overload) if report.overload else None,
        "restarts": asdict(report.restarts) if report.restarts else None,
        "bulk": [asdict(run) for run in report.bulk],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def plot(report: Report, path: Path) -> None:
    """Calls for each CPU second by size of call, one group of bars a size."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only complete runs draw

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "chronoserve"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of its canvas

    figure, axes = plt.subplots(1, len(SIZES), figsize=(10, 2.6), layout="constrained")
    for axis, keys in zip(axes, SIZES, strict=True):
        names = [name for name in PLOTTED if unary(name, keys) in report.samples][::-1]
        rates = [1e6 / middle(report.samples[unary(name, keys)]).cpu_us for name in names]
        drawn = axis.barh([servers.LABELS[name] for name in names], rates, color=[COLOURS[PLOTTED.index(name)] for name in names])
        axis.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize=8)
        axis.set_title(f"MultiGet of {keys}", fontsize=10)
        axis.set_xlim(0, max(rates) * 1.25)
        axis.locator_params(axis="x", nbins=4)
        axis.spines[["top", "right"]].set_visible(b=False)
        axis.tick_params(labelsize=8, labelleft=axis is axes[0])
    figure.supxlabel("calls for each second of server CPU, 50 callers, values of 200 B: more is better", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def keep(report: Report, folder: Path) -> Path:
    """Write the report into ``folder`` under its date and as the latest one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.started:%Y-%m-%d}.json"
    for each in (path, folder / "latest.json"):
        each.write_text(as_json(report))
    (folder / "latest.md").write_text(markdown(report))
    return path

"""``python -m bench.run``: all servers side by side on one Redis, in one run; ``make bench``.

Each server has core 0 for itself, Redis and the client share core 1. Variants are interleaved in rounds and the medians
compared. A complete run is kept in ``bench/results`` and drawn in ``docs/benchmark.svg``; a quick or partial one is
kept in ``build/bench`` only.
"""

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console

from bench import bars, bulk, dataset, features, grid, machine, report, servers, summary, tools, trials
from bench.client import LoadClient
from bench.report import Report

FEATURES, GHZ, OVERLOAD, RESTARTS, BULK = "features", "ghz", "overload", "restarts", "bulk"
EXPERIMENTS = (*bars.COMPARISONS, FEATURES, GHZ, OVERLOAD, RESTARTS, BULK)

PIPE_COLUMNS = 140
"""Width of the tables where no terminal sets one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to run, and for how long."""

    experiments: list[str]
    rounds: int
    seconds: float
    overload_seconds: float
    overload_connections: int
    restarts: int
    bulk_rows: int


class Bench:
    """One run: the experiments that were asked for, into one report."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self.report = Report(machine.describe(), asdict(settings))

    def _tell(self, line: str) -> None:
        self._console.print(f"[dim]{line}[/dim]", highlight=False)

    def run(self, directory: Path) -> None:
        self._tell("building the load client and the peers")
        client = LoadClient(tools.load_client())
        redis = servers.Redis(directory)
        fleet = servers.Fleet(directory, redis)
        try:
            dataset.load_peers(redis.port)
            self._closed_loops(fleet, client)
            if FEATURES in self._settings.experiments:
                self._features(features.Trial(fleet, redis.url, client, directory, self._tell))
            self._ghz(fleet, directory)
            fleet.release()
            self._trials(fleet, client)
        finally:
            fleet.release()
            redis.stop()
        self._bulk(directory)

    def _bulk(self, directory: Path) -> None:
        """On all cores: a load and its store share them as they would elsewhere."""
        if BULK in self._settings.experiments:
            machine.use_all_cores()
            self.report.bulk = bulk.Trial(directory / "bulk", self._settings.bulk_rows, self._tell).run((bulk.REDIS, bulk.LMDB))
            self.report.bars += bulk.judge(self.report.bulk)

    def _closed_loops(self, fleet: servers.Fleet, client: LoadClient) -> None:
        names = [name for name in self._settings.experiments if name in bars.COMPARISONS]
        points = [point for name in names for point in bars.COMPARISONS[name].points]
        self.report.samples = grid.run(fleet, client, points, rounds=self._settings.rounds, seconds=self._settings.seconds, tell=self._tell)
        self.report.bars += bars.judge(names, self.report.samples)

    def _features(self, trial: features.Trial) -> None:
        found = self.report.features = trial.run(self._settings.rounds, self._settings.seconds)
        self.report.bars += features.judge(found)

    def _ghz(self, fleet: servers.Fleet, directory: Path) -> None:
        if GHZ in self._settings.experiments:
            for name in (servers.OURS, servers.GO):
                self._tell(f"ghz: {name}")
                self.report.ghz.append(trials.ghz(fleet, directory, name, self._settings.seconds))

    def _trials(self, fleet: servers.Fleet, client: LoadClient) -> None:
        if OVERLOAD in self._settings.experiments:
            seconds, connections = self._settings.overload_seconds, self._settings.overload_connections
            self.report.overload = trials.overload(fleet, client, seconds, self._tell, connections=connections)
            self.report.bars += trials.overload_bars(self.report.overload)
        if RESTARTS in self._settings.experiments:
            count = self._settings.restarts
            self.report.restarts = trials.restarts(fleet, client, self._tell, count=count)
            self.report.bars += trials.restart_bars(self.report.restarts)


@click.command(help=__doc__)
@click.option("--only", type=click.Choice(EXPERIMENTS), multiple=True, help="Repeatable; default: all.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.5), default=5.0, show_default=True, help="Of each round of each variant.")
@click.option("--overload-seconds", type=click.FloatRange(min=1.0), default=60.0, show_default=True)
@click.option("--overload-connections", type=click.IntRange(min=1), default=grid.CONNECTIONS, show_default=True)
@click.option("--quick", is_flag=True, help="One short round of everything, to see that it works; its figures mean little.")
@click.option("--strict", is_flag=True, help="Exit with 1 where a bar is missed.")
def main(
    *, only: tuple[str, ...], rounds: int, seconds: float, overload_seconds: float, overload_connections: int, quick: bool, strict: bool
) -> None:
    wanted = [name for name in EXPERIMENTS if not only or name in only]
    settings = Settings(
        experiments=wanted,
        rounds=1 if quick else rounds,
        seconds=1.0 if quick else seconds,
        overload_seconds=5.0 if quick else overload_seconds,
        overload_connections=overload_connections,
        restarts=2 if quick else trials.RESTARTS,
        bulk_rows=bulk.ROWS_QUICK if quick else bulk.ROWS,
    )
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    servers.leave_the_servers_core()
    bench = Bench(settings, console)
    with tempfile.TemporaryDirectory(prefix="chronoserve-bench-") as directory:
        bench.run(Path(directory))
    report.show(bench.report, console)
    complete = not quick and not only
    path = report.keep(bench.report, tools.HERE / "results" if complete else tools.ROOT / "build" / "bench")
    if complete:
        report.plot(bench.report, tools.ROOT / "docs" / "benchmark.svg")
        summary.write(summary.kept())
    console.print(f"{path}: {len(bench.report.bars)} bars, {bench.report.missed} missed")
    sys.exit(1 if strict and bench.report.missed else 0)


if __name__ == "__main__":
    main()

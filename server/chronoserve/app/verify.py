"""``chronoserve verify``: recordings of Chronon's JVM replayed, or live traffic at its HTTP service, and every value compared."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chronoserve.app import logs
from chronoserve.app.connection import Place, place_from, place_options
from chronoserve.app.replay.outcome import Outcome, Tally, Verdict
from chronoserve.app.terminal import Item, Screen, seconds_text
from chronoserve.model.errors import KVError
from chronoserve_client import ChronoserveError

if TYPE_CHECKING:
    from chronoserve.app.replay.worlds import OpenFace

DIFFERENCES_SHOWN_MAX = 20
"""Cases of one file that are shown without --json; all of them are counted."""
PROCESS, GRPC, HTTP = "process", "grpc", "http"
NAMES = 2
"""Columns that are no numbers."""
COLUMNS = ("recording", "through", "cases", "equal", "noted", "different", "not covered", "time")
STYLES = {Verdict.EQUAL: "green", Verdict.NOTED: "yellow", Verdict.DIFFERENT: "red"}


@click.command()
@click.option(
    "--against",
    "sources",
    multiple=True,
    required=True,
    metavar="FILE|URL",
    help="A recording (JSON lines, gzip or not), repeatable; or the http:// address of a feature service.",
)
@click.option(
    "--through",
    type=click.Choice([PROCESS, GRPC, HTTP]),
    multiple=True,
    default=[PROCESS],
    show_default=True,
    help="How worlds are replayed: in this process, or through a server that is started for it. Repeatable.",
)
@click.option(
    "-f",
    "--file",
    "rows",
    type=click.File("rb"),
    metavar="FILE",
    help='With a URL: what to ask for, one {"name": …, "keys": {…}} a line; - is standard input.',
)
@click.option("--group-bys", is_flag=True, help="With a URL: the names are those of group bys.")
@click.option("--http", "http_url", metavar="URL", help="Our side is asked over HTTP here; a recording's puts still go to --server.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a case, then one with the sum.")
@place_options
def verify(*, sources: Sequence[str], through: Sequence[str], rows: Any, group_bys: bool, http_url: str | None, json_lines: bool,
           **given: Any) -> None:  # fmt: skip
    """Compare our answers with Chronon's, value by value and type by type.

    A recording is replayed on fresh stores: puts in the order of the file, each request where it stands; with --server on
    whatever that server's store holds, and in its own time. Differences that are meant have the number of a note in
    docs/parity.md. The exit code is 0 only if something was compared and nothing differs without such a note. Records of
    kinds that are not replayed yet are counted and named, never taken for equal.
    """
    logs.configure("error")
    screen = Screen(json_lines=json_lines)
    place = place_from(given)
    live = [source for source in sources if source.startswith(("http://", "https://"))]
    if live and (len(sources) > 1 or rows is None):
        raise click.UsageError("a feature service is compared by itself, with -f FILE for what to ask it")
    if not live and (rows is not None or group_bys):
        raise click.UsageError("-f and --group-bys belong to a feature service: --against http://…")
    try:
        if live:
            done = asyncio.run(_live(screen, live[0], place, http_url, rows, group_bys=group_bys))
        else:
            done = asyncio.run(_replay_all(screen, [Path(source) for source in sources], _ways(through, place, http_url)))
    except (ChronoserveError, KVError) as error:
        screen.fail(error.message, reason=error.reason)
        done = False
    if not done:
        click.get_current_context().exit(1)


# recordings


def _ways(through: Sequence[str], place: Place, http_url: str | None) -> list[tuple[str, "OpenFace"]]:
    """Through a running server where one is named, else as ``through`` says. Raises click.UsageError."""
    from chronoserve.app.replay import ways

    context = click.get_current_context()
    named = {name for name in ("server", "through") if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    if place.store is not None or len(named) > 1 or (http_url is not None and "server" not in named):
        raise click.UsageError("a recording is replayed --through fresh servers, or through a running --server, over its --http if given")
    if "server" in named:
        return [ways.running(place.server, http_url)]
    return [(way, ways.FRESH[way]) for way in dict.fromkeys(through)]


async def _replay_all(screen: Screen, paths: Sequence[Path], ways: Sequence[tuple[str, "OpenFace"]]) -> bool:
    """Whether everything is as it should be."""
    rows: list[Item] = []
    notes: Counter[int] = Counter()
    good = True
    for way, open_face in ways:
        for path in paths:
            began = time.perf_counter()
            tally = await _replay(screen, path, open_face, singles=way == PROCESS)
            if _nothing_to_ask(tally, way):
                continue
            rows.append(_sum(path.name, way, tally, time.perf_counter() - began))
            good = good and tally.good
            notes.update(tally.notes)
            _show_skipped(screen, path, tally)
    _show_sums(screen, rows)
    _show_notes(screen, notes)
    return good and bool(rows)


def _nothing_to_ask(tally: Tally, way: str) -> bool:
    """Records that stand alone are compared in process; a server is not asked about them."""
    return way != PROCESS and not tally.cases and not tally.skipped


async def _replay(screen: Screen, path: Path, open_face: "OpenFace", *, singles: bool) -> Tally:
    from chronoserve.app.replay.file import replay

    tally = Tally()
    shown = Shown(screen)
    async for outcome in replay(path, open_face, tally.skipped, worlds_only=not singles):
        tally.add(outcome)
        shown.show(outcome)
    shown.end()
    return tally


class Shown:
    """Shows each case: all of them with --json, else those that are not equal, up to a number."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._left = DIFFERENCES_SHOWN_MAX
        self._hidden = 0

    def show(self, outcome: Outcome) -> None:
        if self._screen.json_lines:
            self._screen.tell(outcome.record(), "")
        elif outcome.verdict is Verdict.DIFFERENT and self._left:
            self._left -= 1
            self._show_difference(outcome)
        elif outcome.verdict is Verdict.DIFFERENT:
            self._hidden += 1

    def _show_difference(self, outcome: Outcome) -> None:
        place = f"{outcome.world}, {outcome.id}" if outcome.world else outcome.id
        self._screen.say(f"{place} is different", style=STYLES[Verdict.DIFFERENT])
        for difference, note in zip(outcome.differences, outcome.notes or [None] * len(outcome.differences), strict=True):
            self._screen.say(f"  {difference}{f'  (note P{note})' if note is not None else ''}")

    def end(self) -> None:
        if self._hidden:
            self._screen.say(f"… and {self._hidden} more cases; --json shows them all")


def _sum(name: str, way: str, tally: Tally, seconds: float) -> Item:
    record = {"recording": name, "through": way, **tally.record(), "seconds": round(seconds, 3)}
    counts = [str(tally.counts[verdict]) for verdict in Verdict]
    row = (name, way, str(tally.cases), *counts, str(tally.skipped.total()), seconds_text(seconds))
    worst = next((verdict for verdict in reversed(Verdict) if tally.counts[verdict]), Verdict.DIFFERENT)
    return Item({"summary": record}, [row], style=STYLES[worst])


def _show_sums(screen: Screen, items: Sequence[Item]) -> None:
    """The table; in a pipe too it is for people, and --json has the numbers for programs."""
    if screen.terminal or screen.json_lines:
        screen.show(COLUMNS, items)
        return
    rows = [COLUMNS, *(row for item in items for row in item.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        screen.say("  ".join(cell.ljust(width) if at < NAMES else cell.rjust(width) for at, (cell, width) in enumerate(cells)).rstrip())


def _show_notes(screen: Screen, counts: Mapping[int, int]) -> None:
    from chronoserve.app.replay.notes import NOTES

    titles = {note.number: note.title for note in NOTES}
    for number, count in sorted(counts.items()):
        screen.say(f"P{number}, {count} cases: {titles[number]}")


def _show_skipped(screen: Screen, path: Path, tally: Tally) -> None:
    from chronoserve.app.replay.recording import LATER

    for kind, count in sorted(tally.skipped.items()):
        screen.note(f"{path.name}: {count} {kind} records are not covered: {LATER[kind]}")


# a feature service


async def _live(screen: Screen, url: str, place: Place, http_url: str | None, rows: Iterable[bytes], *, group_bys: bool) -> bool:
    from chronoserve.app.replay import live

    tally = Tally()
    shown = Shown(screen)
    began = time.perf_counter()
    async with live.comparison(url, place, http_url, group_bys=group_bys) as compare:
        async for outcome in compare(rows):
            tally.add(outcome)
            shown.show(outcome)
    shown.end()
    _show_sums(screen, [_sum(url, HTTP, tally, time.perf_counter() - began)])
    return tally.good

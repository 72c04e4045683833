"""``chronoserve stats``: series of a join's statistics, of its log's, of its consistency; and how its distributions drift."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click

from chronoserve.app import logs
from chronoserve.app.compose import clock
from chronoserve.app.connection import Place, place_from, place_options
from chronoserve.app.feature_keys import Keys, from_json, from_lines, plain, shown
from chronoserve.app.fetch import name_of, run_on
from chronoserve.app.kv_client import KVClient
from chronoserve.app.local_conf import ClientReads
from chronoserve.app.notation import reads, show_time, time_millis
from chronoserve.app.terminal import Item, Screen
from chronoserve.fetcher.stats import DRIFT, Series, StatsOf, StatsRequest, fetch_series

COLUMNS = ("metric", "time", "value")
OF = {"join": StatsOf.JOIN, "log": StatsOf.LOG, "consistency": StatsOf.CONSISTENCY}
SECONDS = 100.0
"""As long as Chronon waits for statistics."""


@click.command()
@click.argument("name")
@click.option(
    "--of", "of", type=click.Choice(list(OF)), default="join", show_default=True, help="Of the join, its log, or its consistency."
)
@click.option("--drift", is_flag=True, help="How far each distribution moved from one time to the next (PSI).")
@click.option("--from", "start", metavar="TIME", callback=reads(time_millis), help="From this time on.  [default: all]")
@click.option("--to", "end", metavar="TIME", callback=reads(time_millis), help="Up to this time.  [default: now]")
@click.option("--metric", help="Only metrics whose name has this in it.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a metric.")
@place_options
def stats(
    *, name: str, of: str, drift: bool, start: int | None, end: int | None, metric: str | None, json_lines: bool, **given: Any
) -> None:
    """Show what the offline jobs found out about a join (team/join.v1), metric by metric over time.

    Their datasets hold a value for each time: they are to be TIMED (`kv create CHRONON_STATS_BATCH --kind timed`).
    """
    request = StatsRequest(name + DRIFT if drift and not name.endswith(DRIFT) else name, start, end)
    _run(Screen(json_lines=json_lines), place_from(given), OF[of], request, metric)


def of_key_json(
    *, name: str | None, keys: Sequence[str], file: IO[bytes] | None, conf: Path | None, json_lines: bool, **given: Any
) -> None:
    """Chronon's ``fetch --type join-stats``: startTs, endTs and statsKey are in the key JSON, as texts."""
    for ours in ("kind", "at", "interval", "loop"):
        given.pop(ours)
    place = place_from(given)
    try:
        maps = [each for text in keys for each in from_json(text)] + [each for _, each in from_lines(file or ())]
        requests = [_request(name or name_of(conf), each) for each in maps or [{}]]
    except (ValueError, TypeError, AssertionError) as wrong:
        raise click.UsageError(f'join-stats takes a name and {{"startTs": "…", "endTs": "…"}}: {wrong}') from wrong
    for request, wanted in requests:
        _run(Screen(json_lines=json_lines), place, StatsOf.JOIN, request, wanted)


def _request(name: str, keys: Keys) -> tuple[StatsRequest, str | None]:
    start, end, wanted = (keys.get(key) for key in ("startTs", "endTs", "statsKey"))
    request = StatsRequest(name, None if start is None else int(str(start)), None if end is None else int(str(end)))
    return request, None if wanted is None else str(wanted)


def _run(screen: Screen, place: Place, of: StatsOf, request: StatsRequest, metric: str | None) -> None:
    logs.configure("error")
    if not asyncio.run(run_on(screen, place, lambda client: _show(screen, client, of, request, metric))):
        click.get_current_context().exit(1)


async def _show(screen: Screen, client: KVClient, of: StatsOf, request: StatsRequest, metric: str | None) -> bool:
    deadline = asyncio.get_running_loop().time() + SECONDS
    found = await fetch_series(ClientReads(client), of, request, clock=clock, deadline=deadline)
    screen.show(COLUMNS, [_item(name, found) for name in found if metric is None or metric in name])
    if not found:
        screen.note("no points in this time")
    return True


def _item(name: str, found: Series) -> Item:
    points = [{"millis": point.millis, "value": plain(point.value)} for point in found[name]]
    rows = [(name, show_time(point.millis), shown(point.value)) for point in found[name]]
    return Item({"metric": name, "points": points}, rows)

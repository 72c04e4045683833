"""``chronoserve explain``: where each feature of one fetch came from, how fresh it is, and how long each phase took."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from chronoserve.app import logs
from chronoserve.app.compose import clock
from chronoserve.app.connection import place_from
from chronoserve.app.feature_names import JOIN, named
from chronoserve.app.feature_table import Answered, heading, newest_of, record, show, span, types_of
from chronoserve.app.fetch import Asked, run_on
from chronoserve.app.kv_client import KVClient
from chronoserve.app.notation import Notation, reads, show_time, time_millis
from chronoserve.app.terminal import Item, Screen, seconds_text
from chronoserve_client import ChronoserveError, Explained, ExplainedRead, Fetch, RowStatus, Unavailable

READ_COLUMNS = ("part", "dataset", "key", "since", "values", "newest", "age")
FEATURE_COLUMNS = ("feature", "part")
PHASE_COLUMNS = ("phase", "time")


@click.command()
@named
@click.option("-k", "--key-json", "keys", multiple=True, metavar="NAME=VALUE", help="A key, repeatable; or a JSON object of all.")
@click.option("--at", "--at-millis", "at", metavar="TIME", callback=reads(time_millis), help="Answer as of this time.  [default: now]")
def explain(*, kind: str, name: str, keys: Sequence[str], at: int | None, json_lines: bool, **given: Any) -> None:
    """Fetch one row and show its plan: the reads, what each gave, the part of each feature, the time of each phase."""
    logs.configure("error")
    screen = Screen(json_lines=json_lines)
    asked = Asked(kind=kind, name=name, keys=keys, file=None, at=at, conf=None)
    if not asyncio.run(run_on(screen, place_from(given), lambda client: _explain(screen, client, asked))):
        click.get_current_context().exit(1)


async def _explain(screen: Screen, client: KVClient, asked: Asked) -> bool:
    key_schema, types = await _schema(client, asked)
    maps = asked.maps(key_schema)
    if len(maps) != 1:
        raise click.UsageError("one row is explained at a time")
    request = Fetch(asked.name, maps[0], asked.at)
    call = client.explain_join if asked.kind == JOIN else client.explain_group_by
    found = await call(request.name, request.keys, request.at)
    answered = Answered(request, found.row, types, clock())
    if screen.json_lines:
        screen.tell(_record(answered, found), "")
    else:
        _show(screen, answered, found)
    return found.row.status is not RowStatus.ERROR


async def _schema(client: KVClient, asked: Asked) -> tuple[str | None, dict[str, str]]:
    try:
        schema = await (client.join_schema(asked.name) if asked.kind == JOIN else client.group_by_schema(asked.name))
    except ChronoserveError as unknown:
        if isinstance(unknown, Unavailable):
            raise
        return None, {}
    return schema.key_schema, types_of(schema.value_schema)


def _show(screen: Screen, answered: Answered, found: Explained) -> None:
    if not screen.terminal:
        screen.say(heading(answered))
    show(screen, [answered])
    screen.show(READ_COLUMNS, [_read(answered, read) for read in found.reads])
    screen.show(FEATURE_COLUMNS, [Item({}, [(feature, part)]) for feature, part in found.feature_parts.items()])
    screen.show(PHASE_COLUMNS, [Item({}, [(phase, seconds_text(time.total_seconds()))]) for phase, time in found.phases.items()])


def _read(answered: Answered, read: ExplainedRead) -> Item:
    newest = read.newest or (newest_of(read.freshness) if read.freshness else 0)
    count = f"error: {read.error.message}" if read.error else "cached" if read.cached else str(read.values)
    times = (show_time(newest), span(answered.at - newest)) if newest else ("", "")
    since = show_time(read.after) if read.after else ""
    return Item({}, [(read.part, read.dataset, Notation().show(read.key), since, count, *times)], "red" if read.error else "")


def _record(answered: Answered, found: Explained) -> dict[str, object]:
    reads_made = [
        {
            "part": read.part,
            "dataset": read.dataset,
            "key": Notation().show(read.key),
            "after_ts_millis": read.after,
            "values": read.values,
            "newest_millis": read.newest,
            "cached": read.cached,
            "error": None if read.error is None else {"reason": read.error.reason, "message": read.error.message},
        }
        for read in found.reads
    ]
    phases = {phase: time / timedelta(seconds=1) for phase, time in found.phases.items()}
    return {**record(answered), "reads": reads_made, "feature_parts": dict(found.feature_parts), "phase_seconds": phases}

"""``chronoserve fetch``: features of a join or a group by, from a server or straight from a store."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from chronoserve.app import logs
from chronoserve.app.connection import Place, place_from, place_options, tell_failure
from chronoserve.app.feature_keys import Keys, from_json, from_lines, from_pairs, is_json
from chronoserve.app.feature_table import Answered, show, types_of
from chronoserve.app.kv_client import KVClient
from chronoserve.app.notation import reads, time_millis
from chronoserve.app.terminal import Screen
from chronoserve.model.errors import KVError
from chronoserve_client import ChronoserveError, FeatureRow, Fetch, RowStatus, Unavailable

JOIN, GROUP_BY, STATS = "join", "group-by", "join-stats"
ROWS_PER_CALL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to fetch: keys as pairs by name, as JSON, or as lines of a file."""

    kind: str
    name: str
    keys: Sequence[str]
    file: IO[bytes] | None
    at: int | None
    conf: Path | None

    def maps(self, key_schema: str | None) -> list[Keys]:
        """Key maps in their order. Raises click.UsageError."""
        try:
            found = [each for text in self.keys if is_json(text) for each in from_json(text)]
            pairs = [text for text in self.keys if not is_json(text)]
            found += [from_pairs(pairs, key_schema)] if pairs else []
            found += [keys for _, keys in from_lines(self.file)] if self.file is not None else []
        except (ValueError, UnicodeDecodeError) as wrong:
            raise click.UsageError(str(wrong)) from wrong
        if not found:
            raise click.UsageError('say for which keys: -k NAME=VALUE, -k \'{"name": "value"}\' or -f FILE')
        return found


@click.group(invoke_without_command=True)
@click.option("--type", "kind", type=click.Choice([JOIN, GROUP_BY, STATS]), default=JOIN, show_default=True)
@click.option("--name", help="As in `fetch join NAME`.")
@click.option("--key-json", "-k", "keys", multiple=True, metavar="JSON", help="An object, or a list of objects.")
@click.option("--key-json-file", "-f", "file", type=click.File("rb"), help="One object a line.")
@click.option("--conf-path", "conf", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Fetch this local conf.")
@click.option("--at-millis", "at", type=int, help="Answer as of this time.")
@click.option("--interval", type=click.FloatRange(0), default=1.0, metavar="SECONDS", show_default=True)
@click.option("--loop", is_flag=True, help="Fetch again and again.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a row.")
@place_options
@click.pass_context
def fetch(context: click.Context, /, **given: Any) -> None:
    """Fetch features: `fetch join NAME -k user_id=5` or `fetch group-by NAME -k …`.

    Without a subcommand the options are those of Chronon's own fetch: --type, --name, --key-json and so on.
    """
    if context.invoked_subcommand is None:
        if given["kind"] == STATS:
            from chronoserve.app.stats import of_key_json

            of_key_json(**given)
        else:
            _fetch(**given)


def _verb(kind: str, text: str) -> click.Command:
    def run(**given: Any) -> None:
        _fetch(kind=kind, **given)

    conf = click.Path(path_type=Path, dir_okay=False, exists=True)
    command: Callable[..., None] = run
    for option in (
        place_options,
        click.option("--json", "json_lines", is_flag=True, help="One JSON object a row."),
        click.option("--interval", type=click.FloatRange(0), default=1.0, metavar="SECONDS", show_default=True, help="Between loops."),
        click.option("--loop", is_flag=True, help="Fetch again and again, until Ctrl-C."),
        click.option("--conf-path", "conf", type=conf, help="Use this local conf; none need be uploaded."),
        click.option("--at", "--at-millis", "at", metavar="TIME", callback=reads(time_millis), help="As of this time.  [default: now]"),
        click.option("-f", "--key-json-file", "file", type=click.File("rb"), metavar="FILE", help="Keys, one JSON object a line; or -."),
        click.option("-k", "--key-json", "keys", multiple=True, metavar="NAME=VALUE", help="A key, repeatable; or a JSON object."),
        click.argument("name", required=False),
    ):
        command = option(command)
    return fetch.command(kind, help=text)(command)


_verb(JOIN, "Features of a join, named as team/join.v1.")
_verb(GROUP_BY, "Features of a group by, named as team.group_by.v1.")


def _fetch(*, loop: bool, interval: float, json_lines: bool, name: str | None, conf: Path | None, **given: Any) -> None:
    logs.configure("error")
    screen = Screen(json_lines=json_lines)
    place = place_from(given)
    if name is None and conf is None:
        raise click.UsageError("say what to fetch: a name, or --conf-path")
    asked = Asked(name=name or name_of(conf), conf=conf, **given)
    with suppress(KeyboardInterrupt):
        done = asyncio.run(run_on(screen, place, lambda client: _rounds(screen, client, asked, interval if loop else None)))
        if not done:
            click.get_current_context().exit(1)


def name_of(conf: Path | None) -> str:
    """The name that a conf's path gives a join: ``joins/team/x.v1`` is ``team/x.v1``."""
    assert conf is not None
    return "/".join(conf.resolve().parts[-2:])


async def run_on(screen: Screen, place: Place, body: Callable[[KVClient], Awaitable[bool]]) -> bool:
    """The verb on an open client of the place; whether all was done. Errors are told."""
    try:
        async with place.open(may_be_new=False) as client:
            return await body(client)
    except (ChronoserveError, KVError) as error:
        tell_failure(screen, error, place.asked_server)
        return False


async def _rounds(screen: Screen, client: KVClient, asked: Asked, interval: float | None) -> bool:
    source = await _source(client, asked)
    requests = [Fetch(asked.name, keys, asked.at) for keys in asked.maps(source.key_schema)]
    while True:
        done = await _round(screen, source, requests)
        if interval is None:
            return done
        await asyncio.sleep(interval)


async def _round(screen: Screen, source: "Source", requests: Sequence[Fetch]) -> bool:
    from chronoserve.app.compose import clock

    answered = []
    for part in _parts(requests):
        rows = await source.fetch(part)
        answered += [Answered(request, row, source.types, clock()) for request, row in zip(part, rows, strict=True)]
    show(screen, answered)
    for each in answered:
        if each.row.status is RowStatus.MISSING:
            screen.note("no data for these keys")
    return all(each.row.status is not RowStatus.ERROR for each in answered)


def _parts(requests: Sequence[Fetch]) -> Iterator[Sequence[Fetch]]:
    for at in range(0, len(requests), ROWS_PER_CALL):
        yield requests[at : at + ROWS_PER_CALL]


@dataclass(frozen=True, slots=True)
class Source:
    """Who is asked, and what is known of it. ``types``: by feature."""

    fetch: Callable[[Sequence[Fetch]], Awaitable[list[FeatureRow]]]
    key_schema: str | None
    types: dict[str, str]


async def _source(client: KVClient, asked: Asked) -> Source:
    if asked.conf is not None and asked.kind == JOIN:
        from chronoserve.app.local_conf import local_join

        local = local_join(client, asked.conf)
        return Source(local.fetch, None, local.types)
    fetch_rows = client.fetch_joins if asked.kind == JOIN else client.fetch_group_bys
    try:
        schema = await (client.join_schema(asked.name) if asked.kind == JOIN else client.group_by_schema(asked.name))
    except ChronoserveError as unknown:
        if isinstance(unknown, Unavailable):
            raise
        return Source(lambda requests: fetch_rows(requests, freshness=True), None, {})  # the rows will say what is wrong
    return Source(lambda requests: fetch_rows(requests, freshness=True), schema.key_schema, types_of(schema.value_schema))

"""``chronoserve list``: which joins and group bys are online."""

import asyncio
from typing import Any

import click

from chronoserve.app import logs
from chronoserve.app.connection import place_from, place_options
from chronoserve.app.fetch import run_on
from chronoserve.app.kv_client import KVClient
from chronoserve.app.terminal import Item, Screen

JOINS, GROUP_BYS = "joins", "group-bys"


@click.command("list")
@click.argument("what", type=click.Choice([JOINS, GROUP_BYS]), required=False)
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line.")
@place_options
def list_names(*, what: str | None, json_lines: bool, **given: Any) -> None:
    """List the joins whose conf is uploaded, and the group bys that have been uploaded; or one kind of the two."""
    logs.configure("error")
    screen = Screen(json_lines=json_lines)
    kinds = [what] if what else [JOINS, GROUP_BYS]
    if not asyncio.run(run_on(screen, place_from(given), lambda client: _show(screen, client, kinds))):
        click.get_current_context().exit(1)


async def _show(screen: Screen, client: KVClient, kinds: list[str]) -> bool:
    items = []
    for kind in kinds:
        names = client.list_joins() if kind == JOINS else client.list_group_bys()
        singular = kind.removesuffix("s")
        items += [Item({"kind": singular, "name": name}, [(singular, name)]) async for name in names]
    screen.show(("kind", "name"), items)
    if not items:
        screen.note("nothing is online")
    return True

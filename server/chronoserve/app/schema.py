"""``chronoserve schema``: what a join or a group by wants as keys and answers as features."""

import asyncio
import json
from typing import Any

import click

from chronoserve.app import logs
from chronoserve.app.connection import place_from
from chronoserve.app.feature_names import JOIN, named
from chronoserve.app.fetch import run_on
from chronoserve.app.kv_client import KVClient
from chronoserve.app.notation import show_time
from chronoserve.app.terminal import Item, Screen
from chronoserve.codec.avro import type_of
from chronoserve.model.types import short_name
from chronoserve_client import GroupBySchema, JoinSchema, ValueInfo

COLUMNS = ("", "name", "type", "from", "needs")


@click.command()
@named
@click.option("--avro", is_flag=True, help="Print the two Avro schemas as they are.")
def schema(*, kind: str, name: str, avro: bool, json_lines: bool, **given: Any) -> None:
    """Show the keys and features of a join (team/join.v1) or a group by (team.group_by.v1), with their types."""
    logs.configure("error")
    screen = Screen(json_lines=json_lines)
    if not asyncio.run(run_on(screen, place_from(given), lambda client: _show(screen, client, kind, name, avro=avro))):
        click.get_current_context().exit(1)


async def _show(screen: Screen, client: KVClient, kind: str, name: str, *, avro: bool) -> bool:
    found: JoinSchema | GroupBySchema = await (client.join_schema(name) if kind == JOIN else client.group_by_schema(name))
    if avro:
        screen.say(found.key_schema)
        screen.say(found.value_schema)
    if screen.json_lines:
        screen.tell(_record(found), "")
    elif not avro:
        screen.show(COLUMNS, _items(found))
        screen.note(_about(found))
    return True


def _items(found: JoinSchema | GroupBySchema) -> list[Item]:
    infos = {info.name: info for info in found.value_infos} if isinstance(found, JoinSchema) else {}
    keys = [Item({}, [("key", field.name, short_name(field.type), "", "")], "cyan") for field in type_of(found.key_schema).fields]
    values = [
        Item({}, [("feature", field.name, short_name(field.type), *_origin(infos.get(field.name)))])
        for field in type_of(found.value_schema).fields
    ]
    return keys + values


def _origin(info: ValueInfo | None) -> tuple[str, str]:
    return (info.group, ", ".join(info.left_keys)) if info is not None else ("", "")


def _about(found: JoinSchema | GroupBySchema) -> str:
    if isinstance(found, JoinSchema):
        return f"schema hash {found.schema_hash}"
    return f"schema hash {found.schema_hash}, batch data until {show_time(found.batch_end)}"


def _record(found: JoinSchema | GroupBySchema) -> dict[str, object]:
    shared = {
        "name": found.name,
        "schema_hash": found.schema_hash,
        "key_schema": json.loads(found.key_schema),
        "value_schema": json.loads(found.value_schema),
    }
    if isinstance(found, GroupBySchema):
        return {**shared, "batch_end_millis": found.batch_end}
    infos = [
        {"name": info.name, "group": info.group, "prefix": info.prefix, "left_keys": list(info.left_keys), "type": info.type}
        for info in found.value_infos
    ]
    return {**shared, "value_infos": infos}

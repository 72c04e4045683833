"""``chronoserve partition``: has a partition landed? The sensor of schedulers that have none of their own."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import click

from chronoserve.app.terminal import Screen
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, KVError
from chronoserve.model.partitions import PartitionSpec
from chronoserve.warehouse.port import split_name

LANDED, NOT_YET, UNKNOWN = 0, 1, 2
TEMPLATE = re.compile(r"\{\{\s*(?:ds|macros\.ds_add\(\s*ds\s*,\s*(?P<days>[+-]?[0-9]{1,5})\s*\))\s*\}\}", re.ASCII)
"""What Chronon's compiler writes for Airflow: the day of the run, or one so many days from it."""


@click.command()
@click.argument("specs", nargs=-1, metavar="[TABLE/ds=DATE]...")
@click.option(
    "--conf",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="A compiled conf: all that it depends on, for the day --ds.",
)
@click.option(
    "--warehouse", envvar="CHRONOSERVE_WAREHOUSE", required=True, metavar="URL", help="/dir, s3://…, hive://host, iceberg://NAME?…"
)
@click.option("--end", metavar="DATE", help="The source ends here: later days have nothing to wait for.")
@click.option("--ds", metavar="DATE", help="The day of the run.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line.")
@click.pass_context
def partition(
    ctx: click.Context, /, *, specs: Sequence[str], conf: Path | None, warehouse: str, end: str | None, ds: str | None, json_lines: bool
) -> None:
    """Exit code 0 where every partition is there, 1 where one is not yet, 2 where it cannot be known."""
    if not specs and conf is None:
        raise click.UsageError("name a partition, or a conf with --conf")
    if conf is not None and ds is None:
        raise click.UsageError("--conf depends on other partitions every day: give the day as --ds")
    screen = Screen(json_lines=json_lines)
    wanted = [(spec, end) for spec in specs]
    try:
        wanted += dependencies(conf, ds) if conf is not None and ds is not None else []
    except KVError as broken:
        screen.fail(broken.message, reason=broken.reason, place=str(conf))
        ctx.exit(UNKNOWN)
    ctx.exit(max((_told(screen, spec, last, ds, warehouse) for spec, last in wanted), default=LANDED))


def dependencies(conf: Path, ds: str) -> list[tuple[str, str | None]]:
    """The partitions that a conf depends on for a day, each with the last day of its source if that has one.

    Raises:
        InvalidRequest: the file is no compiled conf, or a dependency has a template that only Airflow can fill in.
    """
    PartitionSpec().day(ds)
    try:
        found = json.loads(conf.read_text(encoding="utf-8"))["metaData"].get("dependencies") or ()
        given = [json.loads(each) if each.startswith("{") else {"spec": each} for each in found]
        return [(_filled(str(each["spec"]), ds), each.get("end")) for each in given]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
        raise InvalidRequest(f"{conf.name} is no compiled conf, or its dependencies are none: compile it again") from broken


def _filled(spec: str, ds: str) -> str:
    """A dependency of one day. Airflow's days have dashes, whatever those of the partitions look like."""
    filled = TEMPLATE.sub(lambda found: PartitionSpec().shift(ds, int(found["days"] or 0)), spec)
    if "{{" in filled:
        raise InvalidRequest(f"{spec} has a template that only Airflow fills in: name the partition itself")
    return filled


def _told(screen: Screen, spec: str, end: str | None, ds: str | None, warehouse: str) -> int:
    """One partition's exit code, after it has been told."""
    if end and ds and ds > end:
        screen.tell({"spec": spec, "landed": True, "ended": True}, f"{spec}: the source ended on {end}")
        return LANDED
    try:
        landed = _landed(spec, warehouse)
    except FailedPrecondition as not_there:
        screen.note(not_there.message)
        landed = False
    except KVError as unknown:
        screen.fail(unknown.message, reason=unknown.reason, place=spec)
        return UNKNOWN
    screen.tell({"spec": spec, "landed": landed}, f"{spec}: {'landed' if landed else 'not yet'}")
    return LANDED if landed else NOT_YET


def _landed(spec: str, url: str) -> bool:
    """Whether some file or snapshot has the partition.

    Raises:
        FailedPrecondition: there is no such table yet.
        KVError: it cannot be known.
    """
    from chronoserve.warehouse.places import open_warehouse

    name, conditions = split_name(spec)
    if not conditions:
        raise InvalidRequest(f"{spec} names no partition: give it as namespace.table/ds=2024-01-31")
    table = open_warehouse(url).table(name)
    first = conditions[0]
    if first.column in table.partition_columns():
        if first.value not in table.partitions(first.column):
            return False
        if len(conditions) == 1:
            return True
    return any(batch.num_rows for batch in table.read([first.column], conditions))

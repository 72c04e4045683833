"""``chronoserve partition``: has a partition landed? The sensor of schedulers that have none of their own."""

import click

from chronoserve.app.terminal import Screen
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, KVError
from chronoserve.warehouse.port import split_name

NOT_YET, UNKNOWN = 1, 2


@click.command()
@click.argument("spec", metavar="TABLE/ds=DATE")
@click.option(
    "--warehouse", envvar="CHRONOSERVE_WAREHOUSE", required=True, metavar="URL", help="/dir, s3://…, hive://host, iceberg://NAME?…"
)
@click.option("--end", metavar="DATE", help="The source ends here: later days have nothing to wait for.")
@click.option("--ds", metavar="DATE", help="The day that --end is compared with.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line.")
@click.pass_context
def partition(ctx: click.Context, /, spec: str, warehouse: str, end: str | None, ds: str | None, *, json_lines: bool) -> None:
    """Exit code 0 where the partition is there, 1 where it is not yet, 2 where it cannot be known."""
    screen = Screen(json_lines=json_lines)
    if end and ds and ds > end:
        screen.tell({"spec": spec, "landed": True, "ended": True}, f"{spec}: the source ended on {end}")
        return
    try:
        landed = _landed(spec, warehouse)
    except FailedPrecondition as not_there:
        screen.note(not_there.message)
        landed = False
    except KVError as unknown:
        screen.fail(unknown.message, reason=unknown.reason, place=spec)
        ctx.exit(UNKNOWN)
    screen.tell({"spec": spec, "landed": landed}, f"{spec}: {'landed' if landed else 'not yet'}")
    ctx.exit(0 if landed else NOT_YET)


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

"""``chronoserve load``: partitions of upload tables into the online store, each as a whole or not at all."""

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import Iterable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chronoserve.app import load_alone, load_online
from chronoserve.app.bulk_meter import BulkMeter
from chronoserve.app.collector import settle_garbage_collector
from chronoserve.app.compose import Composed, clock, compose
from chronoserve.app.settings import load as settings_of
from chronoserve.app.terminal import Screen
from chronoserve.ingest.source import Row
from chronoserve.ingest.upload_table import UploadTable, dataset_of, kind_of
from chronoserve.model import naming
from chronoserve.model.dataset import DATASET_NAME
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.partitions import PartitionSpec
from chronoserve.service.bulk import BulkLoader, Load, Progress
from chronoserve_client import BulkProgress, BulkResult

SAMPLE_SEED = 8461
CHECKPOINTS = ".chronoserve-loads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One table of a call."""

    table: str
    dataset: str
    partition: str


@click.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--conf",
    "confs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Compiled group bys whose upload tables are loaded; repeatable.",
)
@click.option("--partition", required=True, metavar="DATE", help="The day of the upload.")
@click.option(
    "--warehouse", envvar="CHRONOSERVE_WAREHOUSE", required=True, metavar="URL", help="/dir, s3://…, hive://host, iceberg://NAME?…"
)
@click.option(
    "--store", required=True, metavar="URL", help="redis://host, lmdb:///dir, …; a server with a warehouse loads by `kv bulk-put`."
)
@click.option("--dataset", metavar="NAME", help="Where a single TABLE goes.  [default: from its name]")
@click.option("--rate", "rows_a_second_max", type=click.FloatRange(min=0), default=0, metavar="ROWS/S", help="At most; 0: as it goes.")
@click.option(
    "--verify",
    "samples",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="KEYS",
    help="Keys that are read back and compared.",
)
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="CHRONOSERVE_CHECKPOINTS",
    default=Path(CHECKPOINTS),
    show_default=True,
    help="Folder from which a load that was broken off goes on.",
)
@click.option("--partition-column", envvar="PARTITION_COLUMN", default="ds", show_default=True)
@click.option("--partition-format", envvar="PARTITION_FORMAT", default="yyyy-MM-dd", show_default=True)
@click.option("--force", is_flag=True, help="Also an upload older than the one that is online.")
@click.option("--dry-run", is_flag=True, help="Judge the tables; write nothing.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line.")
def load(*, json_lines: bool, **given: Any) -> None:  # fmt: skip
    """Load the upload of one day. TABLE is namespace.table; several are loaded side by side.

    A table is read and judged whole before a row is written, and its serving info is written last: readers see the old
    upload or the new one. A load that was broken off, in whatever way, goes on where it was when it is started again.
    """
    screen = Screen(json_lines=json_lines)
    settle_garbage_collector()
    sys.exit(0 if asyncio.run(_Run(screen, **given).run()) else 1)


class _Run:
    """One call of the verb."""

    def __init__(self, screen: Screen, **given: Any) -> None:
        self._screen = screen
        self._given = given
        self._spec = PartitionSpec(given["partition_column"], given["partition_format"])
        self._spec.day(given["partition"])

    async def run(self) -> bool:
        """Whether every table is online as a whole now.

        Raises:
            KVError: the warehouse or the store cannot be opened.
        """
        from chronoserve.warehouse.places import open_warehouse

        self._warehouse = open_warehouse(self._given["warehouse"])
        wanted = list(self._wanted())
        if self._given["dry_run"]:
            return all([await asyncio.to_thread(self._judge, each) for each in wanted])
        composed = await compose(settings_of(None, {"stores": {"default": {"url": self._given["store"]}}}))
        try:
            return all(await asyncio.gather(*(self._reported(composed, each, alone=len(wanted) == 1) for each in wanted)))
        finally:
            await composed.close()

    def _wanted(self) -> Iterable[Wanted]:
        partition, dataset = self._given["partition"], self._given["dataset"]
        tables = [*self._given["tables"], *map(_upload_table, self._given["confs"])]
        if not tables:
            raise InvalidRequest("name a table, or a group by with --conf")
        if dataset and len(tables) > 1:
            raise InvalidRequest("--dataset is for a single table")
        if dataset and not DATASET_NAME.fullmatch(dataset):  # before files are named after it
            raise InvalidRequest(f"--dataset {dataset!r} is no name of a dataset: it has letters, digits, _, . and -, 200 at most")
        return (Wanted(table=table, dataset=dataset or dataset_of(table), partition=partition) for table in tables)

    def _source(self, wanted: Wanted) -> UploadTable:
        return UploadTable.of(self._warehouse, wanted.table, dataset=wanted.dataset, partition=wanted.partition, spec=self._spec)

    def _judge(self, wanted: Wanted) -> bool:
        try:
            judged = self._source(wanted).judge()
        except KVError as refused:
            self._screen.fail(refused.message, reason=refused.reason, place=wanted.table)
            return False
        record = {"table": wanted.table, "dataset": wanted.dataset, "rows": judged.rows, "rows_without_key": judged.rows_without_key}
        self._screen.tell(record, f"{wanted.table} → {wanted.dataset}: {judged.rows} rows, whole; nothing was written")
        return True

    async def _reported(self, composed: Composed, wanted: Wanted, *, alone: bool) -> bool:
        """Load one table; its failure does not stop the others."""
        try:
            with load_alone.alone(self._given["checkpoints"], self._given["store"], wanted.dataset):
                await self._expect_newer(composed, wanted)
                done = await self._load(composed, wanted, alone=alone)
                await self._verify(composed, wanted)
        except KVError as failed:
            self._screen.fail(failed.message, reason=failed.reason, place=wanted.table)
            return False
        return done

    async def _load(self, composed: Composed, wanted: Wanted, *, alone: bool) -> bool:
        """Whether no row was refused. A checkpoint of rows that are no longer there is worth nothing: the load begins anew."""
        checkpoint = Checkpoint.of(self._given["checkpoints"], self._given["store"], wanted)
        await composed.gateway.create(wanted.dataset, kind_of(wanted.dataset), 0, deadline=load_online.deadline())
        try:
            progress = await self._continued(composed, wanted, checkpoint, alone=alone)
        except InvalidRequest as stale:
            if stale.field != "resume_token":
                raise
            checkpoint.clear()
            progress = await self._continued(composed, wanted, checkpoint, alone=alone)
        checkpoint.clear()
        return not progress.rows_refused

    async def _continued(self, composed: Composed, wanted: Wanted, checkpoint: "Checkpoint", *, alone: bool) -> Progress:
        """Load from the checkpoint on; how it ended. A load alone has a meter, several have a line each at their end."""
        loader = BulkLoader(composed.gateway, roots=None, clock=clock, warehouse=lambda: self._warehouse, partitions=self._spec)
        work = Load(wanted.table, wanted.dataset, wanted.partition, checkpoint.token(), self._given["rows_a_second_max"])
        meter = BulkMeter(self._screen)
        async with aclosing(loader.run(work)) as running:
            with meter if alone else nullcontext():
                async for progress in running:
                    if not progress.done:
                        checkpoint.keep(progress.resume_token)
                    if alone:
                        meter.show(_shown(progress))
        if alone:
            meter.finish()
        else:
            text = f"{wanted.table} → {wanted.dataset}: {progress.rows_written} rows written, {progress.rows_refused} refused"
            record = {"table": wanted.table, "rows_written": progress.rows_written, "rows_refused": progress.rows_refused}
            self._screen.tell(record, text)
        return progress

    async def _expect_newer(self, composed: Composed, wanted: Wanted) -> None:
        if not self._given["force"]:
            end = self._spec.end_millis(wanted.partition)
            await load_online.expect_newer(composed.gateway, wanted.dataset, wanted.partition, end)

    async def _verify(self, composed: Composed, wanted: Wanted) -> None:
        """Read keys back. Raises FailedPrecondition where one lacks what was written."""
        rows = await asyncio.to_thread(_sample, self._source(wanted), self._given["samples"])
        end = self._spec.end_millis(wanted.partition)
        count = await load_online.expect_written(composed.gateway, wanted.dataset, rows, end)
        self._screen.note(f"{wanted.dataset}: {count} keys read back and equal")


def _sample(source: UploadTable, count: int) -> list[Row]:
    """So many rows, each as likely as any other; the last of a key's rows stands for it."""
    if not count:
        return []
    chooser = random.Random(SAMPLE_SEED)  # noqa: S311 - a sample, no secret
    kept: dict[bytes, Row] = {}
    for rows in source.batches(0):
        for row in rows:
            if row.key in kept or len(kept) < count:
                kept[row.key] = row
            elif chooser.random() < count / source.judge().rows:
                del kept[chooser.choice(list(kept))]
                kept[row.key] = row
    return list(kept.values())


def _upload_table(conf: Path) -> str:
    try:
        meta_data = json.loads(conf.read_text(encoding="utf-8"))["metaData"]
        return naming.upload_table(meta_data.get("outputNamespace", "default"), meta_data["name"])
    except (ValueError, KeyError, TypeError, OSError) as broken:
        raise InvalidRequest(f"{conf.name} is no compiled group by: compile it first") from broken


def _shown(progress: Progress) -> BulkProgress:
    result = BulkResult(progress.rows_written, progress.rows_refused, ()) if progress.done else None
    return BulkProgress(progress.rows, progress.rows_total, progress.bytes, progress.rows_a_second, progress.resume_token, result)


class Checkpoint:
    """Where a load stands, in a file, so that it survives the death of its process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, folder: Path, store: str, wanted: Wanted) -> "Checkpoint":
        """The load's own: another store, table or day has another. The store's URL may hold a secret, so only its hash is used."""
        identity = hashlib.blake2b(f"{store}|{wanted.table}|{wanted.dataset}|{wanted.partition}".encode(), digest_size=8).hexdigest()
        return cls(folder / f"{wanted.dataset}-{identity}")

    def token(self) -> str:
        """Empty where the load has not begun."""
        return self._path.read_text(encoding="ascii") if self._path.exists() else ""

    def keep(self, token: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(token, encoding="ascii")
        fresh.replace(self._path)

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

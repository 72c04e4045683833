"""``chronoserve upload``: a group by's upload table for one day, made without the JVM, and loaded into a store if asked."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chronoserve.app import logs
from chronoserve.app.terminal import Screen, seconds_text
from chronoserve.app.upload_meter import UploadMeter
from chronoserve.app.upload_target import DELTA, ICEBERG, PARQUET, Wanted, properties_of, target_of
from chronoserve.model.confs import GroupBy
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, KVError
from chronoserve.model.partitions import PartitionSpec

if TYPE_CHECKING:
    from chronoserve.upload.build import Upload
    from chronoserve.upload.plan import UploadPlan
    from chronoserve.upload.table import UploadTarget
    from chronoserve.warehouse.port import Warehouse

CONF_BYTES_MAX = 64 << 20
DUCKDB, SPARK = "duckdb", "spark"


@click.command()
@click.option(
    "--conf",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="A compiled group by, as production/group_bys/<team>/<name>.",
)
@click.option("--ds", required=True, metavar="DATE", help="The day whose end the upload reflects.")
@click.option(
    "--warehouse", envvar="CHRONOSERVE_WAREHOUSE", required=True, metavar="URL", help="/dir, s3://…, hive://host, iceberg://NAME?…"
)
@click.option("--output", metavar="URL", help="Warehouse that the upload table is written to.  [default: --warehouse]")
@click.option("--engine", type=click.Choice([DUCKDB, SPARK]), default=DUCKDB, show_default=True, help="spark: on a cluster, by PySpark.")
@click.option("--format", "table_format", type=click.Choice([PARQUET, DELTA, ICEBERG]), help="Of the table.  [default: parquet]")
@click.option("--partitioned", is_flag=True, help="A new table keeps each day's upload, as a partition.  [default: the last, as Chronon's]")
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(min=64),
    default=512,
    show_default=True,
    metavar="MB",
    help="For sorting rows by key; what is more goes to disk.",
)
@click.option("--partition-column", envvar="PARTITION_COLUMN", default="ds", show_default=True)
@click.option("--partition-format", envvar="PARTITION_FORMAT", default="yyyy-MM-dd", show_default=True)
@click.option("--bulk-load", is_flag=True, help="Load the table into --store when it is written.")
@click.option("--store", metavar="URL", help="With --bulk-load: redis://host, lmdb:///dir, …")
@click.option("--dry-run", is_flag=True, help="Look for everything that can be refused; read and write nothing.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line.")
@click.pass_context
def upload(context: click.Context, /, *, json_lines: bool, **given: Any) -> None:  # fmt: skip
    """Write the upload table of one group by for one day, as Chronon's group-by-upload does.

    The table is replaced as a whole, or the day's partition of one that has partitions: readers see the upload that was there
    before, or the new one.
    """
    if given["bulk_load"] != bool(given["store"]):
        raise click.UsageError("--bulk-load and --store URL go together")
    logs.configure("warning")
    screen = Screen(json_lines=json_lines)
    job = UploadJob.of(**{name: given[name] for name in JOB_OPTIONS})
    if given["dry_run"]:
        made = job.prepared()
        screen.tell({"table": job.table, "ds": job.ds}, f"{job.table} for {job.ds} can be made: {describe(made)}; nothing was written")
        return
    done = job.run(UploadMeter(screen, job.table))
    read = f" from {done.rows_read}" if done.rows_read is not None else ""
    text = f"{done.table}: {done.rows} rows{read} in {seconds_text(done.seconds)}"
    screen.tell(
        {"table": done.table, "ds": job.ds, "rows": done.rows, "rows_read": done.rows_read, "seconds": round(done.seconds, 3)}, text
    )
    if given["bulk_load"]:
        context.exit(bulk_load(job, given["store"], json_lines=json_lines))


JOB_OPTIONS = ("conf", "ds", "warehouse", "output", "engine", "table_format", "partitioned", "memory_mb", "partition_column",
               "partition_format")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """What a job has written. ``rows``: of the table, the serving info among them; ``rows_read``: of the sources; None where Spark
    reads them.
    """

    table: str
    rows: int
    rows_read: int | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadJob:
    """One upload with everything that it needs."""

    group_by: GroupBy
    text: str
    ds: str
    spec: PartitionSpec
    warehouse: "Warehouse"
    target: "UploadTarget"
    table: str
    output: str
    engine: str
    memory_mb: int

    @classmethod
    def of(cls, *, conf: Path, ds: str, warehouse: str, output: str | None, engine: str, table_format: str | None,
           memory_mb: int, partition_column: str, partition_format: str, partitioned: bool = False) -> "UploadJob":  # fmt: skip
        """Raises KVError where the conf, the day or a place is none."""
        from chronoserve.codec import confs
        from chronoserve.upload.plan import upload_table
        from chronoserve.warehouse.places import open_warehouse

        spec = PartitionSpec(partition_column, partition_format)
        spec.day(ds)
        text = _read(conf)
        group_by = confs.group_by(text)
        table = upload_table(group_by)
        source = open_warehouse(warehouse)
        place = open_warehouse(output) if output else source
        wanted = Wanted(
            table=table, table_format=table_format, column=partition_column, day=ds, partitioned=partitioned,
            properties=properties_of(group_by, conf),
        )  # fmt: skip
        return cls(
            group_by=group_by, text=text, ds=ds, spec=spec, warehouse=source, table=table, output=output or warehouse, engine=engine,
            memory_mb=memory_mb, target=target_of(place, wanted),
        )  # fmt: skip

    def prepared(self) -> "Upload":
        """The upload, looked through for all that can be refused before a row is read. Raises KVError."""
        from chronoserve.upload.build import Upload

        made = Upload(self._plan())
        made.prepare()
        return made

    def _plan(self) -> "UploadPlan":
        from chronoserve.upload.plan import planned

        return planned(self.group_by, self.ds, self.warehouse, self.spec)

    def run(self, meter: UploadMeter) -> Done:
        """Make the table. Raises KVError; then the table is as it was."""
        began = time.monotonic()
        if self.engine == SPARK:
            return Done(self.table, self._on_spark(), None, time.monotonic() - began)
        made = self.prepared()
        rows = self._embedded(made, meter)
        return Done(self.table, rows, made.rows_read, time.monotonic() - began)

    def _embedded(self, made: "Upload", meter: UploadMeter) -> int:
        from chronoserve.upload.engine import DuckDB
        from chronoserve.upload.rows import table_rows
        from chronoserve.upload.serving_info import serving_info

        info = serving_info(made, self.text, self.warehouse)
        with tempfile.TemporaryDirectory(prefix="chronoserve-upload-") as spill, meter:
            engine = DuckDB(Path(spill), memory_bytes=self.memory_mb << 20)
            return self.target.replace(meter.watched(table_rows(made, engine, info), lambda: made.rows_read))

    def _on_spark(self) -> int:
        from chronoserve.upload.serving_info import serving_info
        from chronoserve.upload.spark import SparkUpload, spark_session, write

        made = SparkUpload(self._plan(), spark_session(), self.warehouse)
        made.prepare()
        return write(made.frame(serving_info(made, self.text, self.warehouse)), self.target)


def describe(made: "Upload") -> str:
    """An upload in a few words."""
    plan = made.plan
    kind = f"{plan.accuracy.name} {plan.model.value}" if plan.aggregations else "no aggregations"
    return f"{kind}, keys {', '.join(made.key_type.names)}, {len(plan.sources)} source{'s' * (len(plan.sources) != 1)}"


def bulk_load(job: UploadJob, store: str, *, json_lines: bool) -> int:
    """The exit code of the load, which is the verb ``load``."""
    from chronoserve.app.load import load

    words = [job.table, "--partition", job.ds, "--warehouse", job.output, "--store", store]
    spec = ["--partition-column", job.spec.column, "--partition-format", job.spec.format]
    return exit_code(load, [*words, *spec, *(["--json"] if json_lines else [])])


def exit_code(command: click.Command, words: list[str]) -> int:
    """Run another verb with these words; errors are told as the command line tells them."""
    try:
        command.main(words, standalone_mode=False)
    except SystemExit as ended:
        return int(ended.code or 0)
    except KVError as error:
        click.secho(f"error: {error.message}", fg="red", err=True)
        return 1
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    return 0


def _read(conf: Path) -> str:
    if conf.stat().st_size > CONF_BYTES_MAX:
        raise FailedPrecondition(f"{conf.name} has more than {CONF_BYTES_MAX >> 20} MiB: it is no compiled group by")
    try:
        return conf.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise InvalidRequest(f"{conf.name} cannot be read as text: compile it again") from unreadable

"""A PySpark job that loads an upload table: ``spark-submit load_spark.py --table NS.TABLE --partition DAY --store URL``.

Executors write their partitions through the same loader and back ends as ``chronoserve load``; the driver judges the table
before, and writes its serving info when all of them have ended well: readers see the old upload or the new one. Executors need
chronoserve in their Python. A task that Spark tries again, or twice, writes the same rows with the same times.
"""

import asyncio
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from chronoserve.app import load_online
from chronoserve.app.compose import clock, compose
from chronoserve.app.settings import load as settings_of
from chronoserve.ingest.source import ROWS_PER_BATCH, Row, Rows
from chronoserve.ingest.upload_table import DAY, KEY, TIME, VALUE, Judged, UploadTable, dataset_of, kind_of
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model.errors import CorruptValue, FailedPrecondition, KVError
from chronoserve.model.naming import SERVING_INFO_KEY
from chronoserve.model.partitions import PartitionSpec
from chronoserve.service.bulk import BulkLoader, Progress
from chronoserve.warehouse.port import line_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from chronoserve.service.gateway import Gateway

ONE_MACHINE = ("lmdb", "memory")
"""Stores that live in files or in the memory of one machine."""
SAMPLES = 100
KINDS = {kind.__name__: kind for kind in KVError.__subclasses__()}
OURS = re.compile(rf"{re.escape(KVError.__module__)}\.(\w+): (.*)")
CAUSE = re.compile(r"Caused by: [\w.$]+: (.*)")
"""Of a Java trace: why, without whose class said so."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows go, as executors are told. ``millis``: the time of rows without one."""

    store: str
    dataset: str
    millis: int

    def expect_shared(self) -> None:
        """Raises FailedPrecondition where executors on other machines could not write there."""
        if StoreURL.parse(self.store).scheme in ONE_MACHINE:
            raise FailedPrecondition(
                f"{StoreURL.parse(self.store).scheme}:// is on one machine, and Spark's executors are on many: use `chronoserve load` there"
            )

    async def write(self, rows: Iterator[Rows]) -> Progress:
        """Raises KVError where not all of them could be written."""
        async with self.opened() as gateway:
            return await self.write_through(gateway, rows)

    async def write_through(self, gateway: "Gateway", rows: Iterator[Rows]) -> Progress:
        return await BulkLoader(gateway, roots=[], clock=clock).write(rows, self.dataset, self.millis)

    def opened(self) -> "_Opened":
        return _Opened(self.store)


class _Opened:
    """A gateway to one store, as a context."""

    def __init__(self, store: str) -> None:
        self._store = store

    async def __aenter__(self) -> "Gateway":
        self._composed = await compose(settings_of(None, {"stores": {"default": {"url": self._store}}}))
        return self._composed.gateway

    async def __aexit__(self, *_: object) -> None:
        await self._composed.close()


class SparkTable:
    """A table that Spark reads; here for its name and its state, which ``UploadTable`` asks for."""

    format = "spark"

    def __init__(self, name: str) -> None:
        self.name = name

    def schema(self, conditions: object = ()) -> "pa.Schema":
        raise FailedPrecondition(f"{self.name} is read by Spark")

    def partition_columns(self) -> tuple[str, ...]:
        return ()

    def partitions(self, column: str) -> list[str]:
        raise FailedPrecondition(f"{self.name} is read by Spark, and its {column} with it")

    def fingerprint(self, conditions: object = ()) -> str:
        return self.name

    def read(self, columns: object = None, conditions: object = ()) -> Iterator["pa.RecordBatch"]:
        raise FailedPrecondition(f"{self.name} is read by Spark")


class Job:
    """One load."""

    def __init__(self, spark: "SparkSession", table: str, partition: str, place: Place, spec: PartitionSpec) -> None:
        self._upload = UploadTable(SparkTable(table), dataset=place.dataset, partition=partition, spec=spec)
        self._table = table
        self._partition = partition
        self._place = place
        self._spark = spark
        self._day_column = spec.column

    def run(self, *, force: bool) -> tuple[int, int]:
        """Rows written and rows refused. Raises KVError where nothing, or not the serving info, was written."""
        with told(f"{self._table}/{self._partition}"):
            return self._run(force=force)

    def _run(self, *, force: bool) -> tuple[int, int]:
        frame = self._frame()
        judged = self._judged(frame)
        asyncio.run(self._prepare(force=force))
        written, refused = self._spark.sparkContext.accumulator(0), self._spark.sparkContext.accumulator(0)
        place = self._place

        def load_partition(found: Iterable[Any]) -> None:
            progress = asyncio.run(place.write(batches(found)))
            written.add(progress.rows_written)
            refused.add(progress.rows_refused)

        data = frame.where((frame[KEY].isNotNull()) & (frame[KEY] != bytearray(SERVING_INFO_KEY)))
        data.foreachPartition(load_partition)
        sample = [row_of(each) for each in data.limit(SAMPLES).collect()]
        asyncio.run(self._finish(judged, sample))
        return judged.rows - refused.value, refused.value

    def _frame(self) -> "DataFrame":
        """The partition's columns. Raises FailedPrecondition where the table or a column is not there."""
        from pyspark.errors import AnalysisException

        columns = [KEY, VALUE, *([TIME] if self._upload.carries_time else [])]
        try:
            table = self._spark.table(self._table)
            day = self._day_column if self._day_column in table.columns else DAY
            return table.where(table[day] == self._partition).select(*columns)
        except AnalysisException as missing:
            why = str(missing).partition("\n")[0][:200]
            raise FailedPrecondition(f"{self._table}/{self._partition}: Spark cannot read it ({why}); has its upload run?") from missing

    def _judged(self, frame: "DataFrame") -> Judged:
        """The whole partition, read once, before a row of it is written."""
        from pyspark.sql import functions as f

        expected = {KEY: "binary", VALUE: "binary", TIME: "bigint"}
        for name, kind in frame.dtypes:
            if kind != expected[name]:
                place = f"{self._table}/{self._partition}"
                raise FailedPrecondition(f"{place}: its column {name} is {kind} and must be {expected[name]}: upload it again")
        without_value = f.count(f.when(f.col(KEY).isNotNull() & f.col(VALUE).isNull(), 1))
        (counted,) = frame.agg(f.count(f.lit(1)), f.count(f.when(f.col(KEY).isNull(), 1)), without_value).collect()
        infos = frame.where(f.col(KEY) == f.lit(bytearray(SERVING_INFO_KEY))).select(VALUE).limit(2).collect()
        judged = self._upload.judged(counted[0], counted[1], [None if row[0] is None else bytes(row[0]) for row in infos])
        if counted[2]:
            raise FailedPrecondition(f"{self._table}/{self._partition} has {counted[2]} rows without {VALUE}: upload it again")
        return judged

    async def _prepare(self, *, force: bool) -> None:
        async with self._place.opened() as gateway:
            await gateway.create(self._place.dataset, kind_of(self._place.dataset), 0, deadline=load_online.deadline())
            if not force:
                await load_online.expect_newer(gateway, self._place.dataset, self._partition, self._place.millis)

    async def _finish(self, judged: Judged, sample: list[Row]) -> None:
        """Every executor has ended well: look at some of what they wrote, then let readers have it."""
        async with self._place.opened() as gateway:
            await load_online.expect_written(gateway, self._place.dataset, sample, self._place.millis)
            if judged.serving_info is not None:
                await self._place.write_through(gateway, iter([Rows([SERVING_INFO_KEY], [judged.serving_info], after_all=True)]))


@contextmanager
def told(place: str) -> Iterator[None]:
    """What Spark raises for a job of its own, as one of our errors: an executor's, or that a file of ``place`` cannot be read."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as failed:
        text = str(failed)
        ours = OURS.search(text)
        if ours is not None and ours[1] in KINDS:
            raise KINDS[ours[1]](ours[2]) from failed
        cause = (CAUSE.findall(text) or [text.strip().splitlines()[-1]])[-1]
        raise CorruptValue(f"{place}: Spark cannot read it ({line_of(ValueError(cause))}); write the partition again") from failed


def batches(found: Iterable[Any]) -> Iterator[Rows]:
    """Spark's rows, as many at a time as a load reads elsewhere."""
    rest = iter(found)
    while rows := [row_of(each) for each in islice(rest, ROWS_PER_BATCH)]:
        keys, values, times = zip(*rows, strict=True)
        yield Rows(keys, values, times if any(time is not None for time in times) else None)


def row_of(found: Any) -> Row:
    """Spark hands over binary columns as bytearrays."""
    return Row(bytes(found[0]), bytes(found[1]), found[2] if len(found) > len((KEY, VALUE)) else None)


@click.command(help=__doc__)
@click.option("--table", required=True, metavar="NAME", help="As Spark knows it: namespace.table in its catalog, or parquet.`/path`.")
@click.option("--partition", required=True, metavar="DATE", help="The day of the upload.")
@click.option("--store", required=True, metavar="URL", help="A store that every executor reaches: redis://host, cassandra://host, …")
@click.option("--dataset", metavar="NAME", help="Where it goes.  [default: from the table's name]")
@click.option("--partition-column", envvar="PARTITION_COLUMN", default="ds", show_default=True)
@click.option("--partition-format", envvar="PARTITION_FORMAT", default="yyyy-MM-dd", show_default=True)
@click.option("--force", is_flag=True, help="Also an upload older than the one that is online.")
def main(*, table: str, partition: str, store: str, dataset: str | None, partition_column: str, partition_format: str, force: bool) -> None:
    try:
        spec = PartitionSpec(partition_column, partition_format)
        place = Place(store, dataset or dataset_of(table), spec.end_millis(partition))
        place.expect_shared()
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.appName(f"chronoserve load {place.dataset}").getOrCreate()
        written, refused = Job(spark, table, partition, place, spec).run(force=force)
    except KVError as failed:
        click.secho(f"error: {failed.message}", fg="red", err=True)
        sys.exit(1)
    click.echo(f"{table} → {place.dataset}: {written} rows written, {refused} refused")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    from chronoserve.app import load_spark  # noqa: PLW0406 - the module that executors know

    load_spark.main()

"""Uploads on a cluster: Spark runs the queries natively and brings rows of a key together, our aggregation runs in its executors.

Executors need this package and pyarrow. Nothing is collected in the driver but the serving info.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pyarrow as pa

from chronoserve.model.errors import CorruptValue, FailedPrecondition, InvalidRequest, KVError, Unsupported
from chronoserve.model.types import StructType
from chronoserve.sql.types import shape, spark_name
from chronoserve.upload import arrow
from chronoserve.upload.gather import Gather
from chronoserve.upload.hive import HiveTarget
from chronoserve.upload.plan import TIME, SourcePlan, UploadPlan, quoted
from chronoserve.upload.rows import data_rows, info_row
from chronoserve.upload.schemas import KEY_BYTES, UploadSchemas
from chronoserve.upload.table import DAY_COLUMN, DayPartition, DeltaTarget, ParquetTarget, UploadTarget, file_schema
from chronoserve.warehouse.iceberg import IcebergWarehouse
from chronoserve.warehouse.places import FolderWarehouse
from chronoserve.warehouse.port import Warehouse, line_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROW: Final = "__row"
OUTPUT: Final = "key_bytes binary, value_bytes binary, key_json string, value_json string, ds string"
SESSION: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}
"""What the queries' meaning hangs on; everything else is the cluster's own."""


def spark_session() -> "SparkSession":
    """The session of ``spark-submit``, or a local one. Raises FailedPrecondition where there is no PySpark."""
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - large, and only this engine needs it
    except ModuleNotFoundError as missing:
        hint = "pip install 'chronoserve[spark]', or start this with spark-submit"
        raise FailedPrecondition(f"the engine spark needs PySpark 3.5: {hint}") from missing
    session = SparkSession.builder.getOrCreate()
    for name, value in SESSION.items():
        session.conf.set(name, value)
    return session


class SparkUpload(UploadSchemas):
    """One group by's upload; types are those that Spark gives the queries.

    Raises:
        InvalidRequest: Spark refuses a query, or Chronon refuses the conf.
        Unsupported: an aggregation needs a library that is not there.
    """

    def __init__(self, plan: UploadPlan, session: "SparkSession", warehouse: Warehouse) -> None:
        self._session = session
        self._frames = [_queried(session, _table(session, warehouse, source), source, plan) for source in plan.sources]
        super().__init__(plan, [_struct(frame) for frame in self._frames])

    def frame(self, info: str) -> "DataFrame":
        """The upload table's rows, the serving info among them."""
        schemas = self._for_executors()
        rows = self._rows()
        if self.plan.aggregations:
            ordered = rows.repartition(*map(quoted, self.sort_keys)).sortWithinPartitions(*map(quoted, self.sort_keys), ROW)
            made = ordered.mapInArrow(lambda batches: data_rows(schemas, Gather(schemas).rows(batches)), OUTPUT)
        else:
            made = rows.mapInArrow(lambda batches: data_rows(schemas, Gather(schemas).plain_rows(batches)), OUTPUT)
        last = [tuple(row.values()) for row in info_row(self, info).to_pylist()]
        return made.union(self._session.createDataFrame(last, OUTPUT))

    def _rows(self) -> "DataFrame":
        """Keys and inputs of all sources' rows that count, with their number and, where keys need them, their bytes."""
        from pyspark.sql import functions  # noqa: PLC0415 - as above

        names = list(dict.fromkeys((*self.key_type.names, *self.inputs)))
        typed = [f"cast({quoted(name)} as {spark_name(shape(self.type_of(name)))}) as {quoted(name)}" for name in names]
        united = reduce(lambda one, other: one.unionByName(other), (frame.selectExpr(*typed) for frame in self._frames))
        kept = united.where(" or ".join(f"{quoted(key)} is not null" for key in self.key_type.names))
        if self.plan.needs_time:
            kept = kept.where(f"{TIME} is not null")
        numbered = kept.withColumn(ROW, functions.monotonically_increasing_id())
        return self._with_key_bytes(numbered) if self.plan.aggregations and self.sort_keys == [KEY_BYTES] else numbered

    def _with_key_bytes(self, rows: "DataFrame") -> "DataFrame":
        from pyspark.sql.types import BinaryType, StructField  # noqa: PLC0415 - as above
        from pyspark.sql.types import StructType as SparkStruct  # noqa: PLC0415

        schemas = self._for_executors()
        with_bytes = SparkStruct([*rows.schema.fields, StructField(KEY_BYTES, BinaryType())])

        def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            gather = Gather(schemas)
            for batch in batches:
                yield pa.RecordBatch.from_arrays([*batch.columns, gather.key_bytes(batch)], names=[*batch.schema.names, KEY_BYTES])

        return rows.mapInArrow(add, with_bytes)

    def _for_executors(self) -> UploadSchemas:
        """The schemas without what cannot travel: tables, frames, what was compiled."""
        found = copy.copy(self)
        found.__class__ = UploadSchemas  # type: ignore[assignment]  # it has the same fields and two more, which go
        found.__dict__ = {name: value for name, value in self.__dict__.items() if name not in ("_session", "_frames", "values")}
        found.plan = replace(self.plan, sources=())
        return found


def write(frame: "DataFrame", target: UploadTarget) -> int:
    """The table, written by the executors and replaced in one step; how many rows it has.

    Raises:
        KVError: a row was refused, or a table cannot be read or written.
    """
    try:
        match target:
            case ParquetTarget():
                return _write_parquet(frame, target)
            case HiveTarget():
                return _write_for_hive(frame, target)
            case DeltaTarget():
                return _write_delta(frame, target)
            case _:
                raise Unsupported("the engine spark writes Parquet, Hive's tables and Delta: give --format, or use the engine duckdb")
    except _errors() as failed:
        raise of_spark(failed) from failed


def _write_parquet(frame: "DataFrame", target: ParquetTarget) -> int:
    beside = target.beside()
    rows = _write_files(frame, beside, target.partition)
    target.adopt(beside)
    return rows


def _write_for_hive(frame: "DataFrame", target: HiveTarget) -> int:
    fresh = target.fresh()
    rows = _write_files(frame, fresh.url, target.partition)
    target.publish(fresh)
    return rows


def _write_files(frame: "DataFrame", folder: str, partition: DayPartition | None) -> int:
    frame.select(*file_schema(partition).names).write.parquet(folder)
    return int(frame.sparkSession.read.parquet(folder).count())


def _write_delta(frame: "DataFrame", target: DeltaTarget) -> int:
    spark, partition = frame.sparkSession, target.partition
    if partition is None:
        frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(target.location)
        return int(spark.read.format("delta").load(target.location).count())
    only = f"{partition.column} = '{partition.day}'"
    days = frame.withColumnRenamed(DAY_COLUMN, partition.column).write.format("delta").partitionBy(partition.column)
    days.mode("overwrite").option("replaceWhere", only).save(target.location)
    return int(spark.read.format("delta").load(target.location).where(only).count())


def of_spark(failed: Exception) -> KVError:
    """Our error for one of Spark's: the first line of what it says, without its Java trace."""
    text = str(failed)
    for kind in (InvalidRequest, Unsupported, CorruptValue):
        at = text.find(f"{kind.__module__}.{kind.__name__}: ")
        if at >= 0:
            return kind(text[at:].partition(": ")[2].splitlines()[0])
    return InvalidRequest(f"Spark refuses it: {line_of(failed)}")


def _errors() -> tuple[type[Exception], ...]:
    from py4j.protocol import Py4JJavaError  # noqa: PLC0415 - as above
    from pyspark.errors import PySparkException  # noqa: PLC0415

    return (PySparkException, Py4JJavaError)


def _table(session: "SparkSession", warehouse: Warehouse, source: SourcePlan) -> "DataFrame":
    """A source's table as Spark reads it: by its place, or by its name in the catalog."""
    name = source.table.name
    if isinstance(warehouse, FolderWarehouse):
        folder = warehouse.place(name)
        place = folder if "://" not in warehouse.url else warehouse.url.rstrip("/") + folder.removeprefix(warehouse.root)
        return session.read.format(source.table.format).load(place)
    return session.table(f"{warehouse.catalog.name}.{name}" if isinstance(warehouse, IcebergWarehouse) else name)


def _queried(session: "SparkSession", table: "DataFrame", source: SourcePlan, plan: UploadPlan) -> "DataFrame":
    view = f"chronoserve_{uuid4().hex}"
    table.createOrReplaceTempView(view)
    try:
        return session.sql(statement(source, view, plan))
    except _errors() as refused:
        raise InvalidRequest(f"{source.table.name}: Spark refuses the query: {line_of(refused)}", field="query") from refused


def statement(source: SourcePlan, view: str, plan: UploadPlan) -> str:
    """The query of a source as Spark SQL. Wheres are conditions each by itself; partitions compare as texts."""
    columns = ["*"] if source.selects is None else [f"{text} as {quoted(name)}" for name, text in source.selects]
    if source.day_end_time is not None:
        pattern = plan.spec.format.replace("'", "\\'")
        columns.append(f"(unix_timestamp({quoted(source.day_end_time)}, '{pattern}') + 86400) * 1000 - 1 as {quoted(TIME)}")
    bounds = [f"cast({quoted(each.column)} as string) {each.operator} '{each.value}'" for each in source.conditions]
    conditions = [*(["1 = 0"] if source.empty else []), *bounds, *(f"({where})" for where in source.wheres)]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(columns)} FROM {view}{where}"  # noqa: S608 - the conf's own SQL is what is to be run


def _struct(frame: "DataFrame") -> StructType:
    from pyspark.sql.pandas.types import to_arrow_schema  # noqa: PLC0415 - as above

    return arrow.struct_of(to_arrow_schema(frame.schema))

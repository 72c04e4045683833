"""Run by PySpark's own Python over a Hive metastore: ``read TABLE…`` tells the rows of tables, ``upload CONF WAREHOUSE DS`` makes one."""

import json
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from chronoserve.app.terminal import Screen
from chronoserve.app.upload import UploadJob
from chronoserve.app.upload_meter import UploadMeter


def session(uri: str, directory: str) -> SparkSession:
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.sql.shuffle.partitions", "1").config("spark.driver.bindAddress", "127.0.0.1")
    builder = builder.config("spark.hadoop.hive.metastore.uris", uri).config("spark.sql.warehouse.dir", f"file://{directory}/warehouse")
    return builder.enableHiveSupport().getOrCreate()


def read(spark: SparkSession, *tables: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for table in tables:
        rows = spark.table(table).select("key_bytes", "value_bytes", "ds").collect()
        found[table] = [[bytes(row[0]).hex(), bytes(row[1]).hex(), row[2]] for row in rows]
    return {**found, "partitions": [list(row) for row in spark.sql(f"show partitions {tables[-1]}").collect()]}


def upload(uri: str, conf: str, warehouse: str, ds: str) -> dict[str, Any]:
    job = UploadJob.of(
        conf=Path(conf), ds=ds, warehouse=warehouse, output=uri.replace("thrift", "hive"), engine="spark", table_format=None, memory_mb=64,
        partition_column="ds", partition_format="yyyy-MM-dd",
    )  # fmt: skip
    return {"rows": job.run(UploadMeter(Screen(json_lines=True), job.table)).rows}


if __name__ == "__main__":
    what, uri, directory, *rest = sys.argv[1:]
    spark = session(uri, directory)
    print(json.dumps(read(spark, *rest) if what == "read" else upload(uri, *rest)))

"""Run by PySpark's own Python: the uploads of a recording on the Spark engine, one JSON object a line.

Arguments: the recording, a folder for tables, how many uploads at most (0: all), and for a g recording the folder of its csv files.
"""

import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from chronoserve.app.replay.tables import MemoryWarehouse
from chronoserve.codec import confs
from chronoserve.model.errors import KVError
from chronoserve.model.partitions import PartitionSpec
from chronoserve.upload.plan import planned
from chronoserve.upload.serving_info import serving_info
from chronoserve.upload.spark import SparkUpload, of_spark, spark_session
from chronoserve.warehouse.places import open_warehouse


def records(path: str) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def written(memory: MemoryWarehouse, name: str, root: Path) -> None:
    """A recorded table in Hive layout."""
    table = memory.table(name)
    namespace, _, short = name.partition(".")
    found = pa.Table.from_batches(table.parts, table.declared)
    pq.write_to_dataset(found, root / f"{namespace}.db" / short, partition_cols=[table.partition_column])


def made(session: SparkSession, record: dict[str, Any], root: Path) -> dict[str, Any]:
    warehouse = open_warehouse(str(root))
    answer = {"world": record.get("world"), "group_by": record["group_by"], "end_ds": record["end_ds"]}
    try:
        plan = planned(confs.group_by(record["conf_json"]), record["end_ds"], warehouse, PartitionSpec())
        upload = SparkUpload(plan, session, warehouse)
        upload.prepare()
        info = serving_info(upload, record["conf_json"], warehouse)
        rows = upload.frame(info).select("key_bytes", "value_bytes").collect()
    except KVError as refused:
        return {**answer, "error": refused.message}
    except Exception as failed:  # noqa: BLE001 - what Spark raises while it runs is an answer too
        return {**answer, "error": of_spark(failed).message}
    values: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        values[bytes(row.key_bytes).hex()].append(bytes(row.value_bytes).hex())
    return {**answer, "rows": values}


def main(path: str, folder: str, most: int, csv: str = "") -> None:
    root = Path(folder)
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
    builder.config("spark.sql.shuffle.partitions", "1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    session = spark_session()
    memory, waiting, done = MemoryWarehouse(), "", 0
    for file in sorted(Path(csv).glob("*.csv")) if csv else ():
        memory.add_csv(file)
        written(memory, f"data.{file.stem}", root)
    for record in records(path):
        if record["kind"] != "rows" and waiting:
            written(memory, waiting, root)
            waiting = ""
        match record["kind"]:
            case "table":
                memory.begin(record)
                waiting = record["name"]
            case "rows":
                memory.add(record)
            case "upload":
                print(json.dumps(made(session, record, root)), flush=True)
                done += 1
                if done == most:
                    return
            case _:
                pass


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])

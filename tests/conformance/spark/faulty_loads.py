"""Run by PySpark's own Python: the Spark load job over tables with faults; one JSON object a line, what was said of each.

Arguments: a store, then folders of tables. Delta is not Spark's own: its tables are read as what they are elsewhere.
"""

import json
import sys

from pyspark.sql import SparkSession

from chronoserve.app.load_spark import Job, Place
from chronoserve.model.errors import KVError
from chronoserve.model.partitions import PartitionSpec

DS = "2023-11-30"
DATASET = "TEAM_GB_V1_BATCH"


def main(store: str, *folders: str) -> None:
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
    spark = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.task.maxFailures", "1").getOrCreate()
    spec = PartitionSpec()
    for folder in folders:
        place = Place(store, DATASET, spec.end_millis(DS))
        answer = {"kind": "", "said": ""}
        try:
            Job(spark, f"parquet.`{folder}`", DS, place, spec).run(force=False)
        except KVError as refused:
            answer = {"kind": type(refused).__name__, "said": refused.message}
        print(json.dumps({"folder": folder, **answer}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Records what Spark answers to the expressions of ``expressions.txt``; ``test_recorded.py`` replays it.

    python -m venv /some/where && /some/where/bin/pip install pyspark==3.5.3    # and a JDK of 8 to 17
    cd tests/unit/sql && TZ=UTC /some/where/bin/python record_spark.py          # a few minutes; overwrites spark_3_5.jsonl.gz

Spark runs as Chronon's fetcher runs it: sessions in UTC, the legacy time parser, no adaptive execution, code generated
rather than interpreted. An expression is spliced into ``<expression> as out``, evaluated on the rows of ``inputs.json``.
Values are written in the notation of golden/README.md; dates as days, timestamps as microseconds, intervals as texts.
"""

import datetime as dt
import gzip
import importlib
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BATCH = 20
CONF = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.legacy.timeParserPolicy": "LEGACY",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.optimizer.excludedRules": "org.apache.spark.sql.catalyst.optimizer.ConvertToLocalRelation",
}
NUMBERS = {"int": "IntegerType", "long": "LongType", "short": "ShortType", "byte": "ByteType", "float": "FloatType", "double": "DoubleType"}
ATOMS = {**NUMBERS, "string": "StringType", "binary": "BinaryType", "bool": "BooleanType"}
TAGS = {name: tag for tag, name in NUMBERS.items()}


class Recorder:
    """A Spark session with the input rows in a table."""

    def __init__(self, columns: list[list[Any]], rows: list[list[Any]]) -> None:
        self.types = importlib.import_module("pyspark.sql.types")
        builder = importlib.import_module("pyspark.sql").SparkSession.builder.master("local[1]")
        for name, value in CONF.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("OFF")
        self.table = self.loaded(columns, rows).coalesce(1).cache()
        self.single = [self.table.where(f"row__ = {index}") for index in range(len(rows))]

    def loaded(self, columns: list[list[Any]], rows: list[list[Any]]) -> Any:
        """The table. A map comes in as two arrays, so that its entries keep their order."""
        fields, selected = [self.types.StructField("row__", self.types.IntegerType())], ["row__"]
        for name, kind in columns:
            if isinstance(kind, dict) and "map" in kind:
                for side, inner in zip(("k", "v"), kind["map"], strict=True):
                    fields.append(self.types.StructField(f"{name}_{side}", self.types.ArrayType(self.type_of(inner))))
                selected.append(f"map_from_arrays({name}_k, {name}_v) as {name}")
            else:
                fields.append(self.types.StructField(name, self.type_of(kind)))
                selected.append(name)
        values = [(index, *self.flat(columns, row)) for index, row in enumerate(rows)]
        return self.session.createDataFrame(values, self.types.StructType(fields)).selectExpr(*selected)

    def flat(self, columns: list[list[Any]], row: list[Any]) -> Iterator[Any]:
        for (_, kind), value in zip(columns, row, strict=True):
            if isinstance(kind, dict) and "map" in kind:
                pairs = None if value is None else value["map"]
                yield None if pairs is None else [untagged(key) for key, _ in pairs]
                yield None if pairs is None else [untagged(held) for _, held in pairs]
            else:
                yield untagged(value)

    def type_of(self, kind: Any) -> Any:
        if isinstance(kind, str):
            return getattr(self.types, ATOMS[kind])()
        if "list" in kind:
            return self.types.ArrayType(self.type_of(kind["list"]))
        return self.types.StructType([self.types.StructField(name, self.type_of(inner)) for name, inner in kind["fields"]])

    # recording

    def record(self, expressions: list[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(expressions), BATCH):
            good: list[str] = []
            for text in expressions[start : start + BATCH]:
                try:
                    self.table.selectExpr(f"{text} as out")
                except Exception as error:  # noqa: BLE001 - whatever Spark refuses it with
                    yield {"expression": text, "error": first_line(error)}
                else:
                    good.append(text)
            yield from self.evaluated(good)

    def evaluated(self, texts: list[str]) -> Iterator[dict[str, Any]]:
        if not texts:
            return
        try:
            kinds, rows = self.collected(self.table, texts)
        except Exception as error:  # noqa: BLE001 - one of them fails on one of the rows
            if len(texts) > 1:
                for text in texts:
                    yield from self.evaluated([text])
            else:
                yield from self.row_by_row(texts[0], first_line(error))
            return
        for index, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
            yield {"expression": text, "spark_type": kind.simpleString(), "results": [{"value": tagged(row[index], kind)} for row in rows]}

    def row_by_row(self, text: str, message: str) -> Iterator[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        kind = None
        for table in self.single:
            try:
                kinds, rows = self.collected(table, [text])
            except Exception as error:  # noqa: BLE001 - this row fails
                results.append({"error": first_line(error)})
            else:
                kind = kinds[0]
                results.append({"value": tagged(rows[0][0], kind)})
        if kind is None:
            yield {"expression": text, "error": message}
        else:
            yield {"expression": text, "spark_type": kind.simpleString(), "results": results}

    def collected(self, table: Any, texts: list[str]) -> tuple[list[Any], list[Any]]:
        """The types, and the rows with dates and timestamps as numbers, which Python's own have not the range of."""
        found = table.selectExpr(*[f"{text} as out{index}" for index, text in enumerate(texts)])
        kinds = [field.dataType for field in found.schema.fields]
        return kinds, found.selectExpr(*[as_number(f"out{index}", kind) for index, kind in enumerate(kinds)]).collect()


def as_number(column: str, kind: Any) -> str:
    name = type(kind).__name__
    if name == "DateType":
        return f"datediff({column}, date'1970-01-01') as {column}"
    if name == "TimestampType":
        return f"unix_micros({column}) as {column}"
    return f"cast({column} as string) as {column}" if "Interval" in name else column


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120]


def untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, inside),) = value.items()
    if tag in ("float", "double"):
        return float(inside.replace("Infinity", "inf"))
    if tag == "bytes":
        return bytearray.fromhex(inside)
    return tuple(untagged(item) for item in inside) if tag == "struct" else inside


def tagged(value: Any, kind: Any) -> Any:
    name = type(kind).__name__
    if value is None or name in ("StringType", "BooleanType"):
        return value
    if name in ("DateType", "TimestampType"):
        return {"int" if name == "DateType" else "long": value if isinstance(value, int) else since_epoch(value)}
    if name in ("DoubleType", "FloatType"):
        return {TAGS[name]: floating(value)}
    if name in TAGS:
        return {TAGS[name]: value}
    if name == "BinaryType":
        return {"bytes": bytes(value).hex()}
    if name == "ArrayType":
        return [tagged(item, kind.elementType) for item in value]
    if name == "MapType":
        return {"map": [[tagged(key, kind.keyType), tagged(held, kind.valueType)] for key, held in value.items()]}
    if name == "StructType":
        return {"map": [[field.name, tagged(value[index], field.dataType)] for index, field in enumerate(kind.fields)]}
    return {"other": f"Decimal:{value:f}"} if isinstance(value, Decimal) else {"text": str(value)}


def since_epoch(value: dt.date) -> int:
    """Days or microseconds of what is inside of arrays and structs, where Spark hands over Python's own dates and times."""
    if isinstance(value, dt.datetime):
        return (value - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)  # noqa: DTZ001 - as the session, in UTC
    return (value - dt.date(1970, 1, 1)).days


def floating(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def main() -> None:
    inputs = json.loads((HERE / "inputs.json").read_text(encoding="utf-8"))
    expressions = [line for line in (HERE / "expressions.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    recorder = Recorder(inputs["columns"], inputs["rows"])
    with gzip.open(HERE / "spark_3_5.jsonl.gz", "wt", encoding="utf-8", compresslevel=9) as out:
        for record in recorder.record(expressions):
            out.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

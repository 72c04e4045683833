"""A small warehouse, and confs over it."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chronoserve.codec import confs
from chronoserve.model.confs import GroupBy
from chronoserve.model.partitions import PartitionSpec
from chronoserve.upload.build import Upload
from chronoserve.upload.engine import DuckDB
from chronoserve.upload.gather import Uploaded
from chronoserve.upload.plan import planned
from chronoserve.warehouse.places import open_warehouse

DS = "2024-03-10"
SUM, COUNT, LAST, HISTOGRAM = 7, 6, 3, 17
DAY = 86_400_000


def millis(day: str, hour: int = 0) -> int:
    return int(dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC).timestamp() * 1000) + hour * 3_600_000


def write(root: Path, table: str, partitions: Mapping[str, Sequence[Mapping[str, Any]]], schema: pa.Schema, *, column: str = "ds") -> None:
    """``partitions``: rows by day, in Hive layout."""
    namespace, _, name = table.partition(".")
    for day, rows in partitions.items():
        folder = root / f"{namespace}.db" / name / f"{column}={day}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows), schema), folder / "part-0.parquet")


def events(table: str = "shop.events", *, topic: str | None = None, cumulative: bool = False, **query: Any) -> dict[str, Any]:
    given = {"selects": {"user": "user", "vl": "vl"}, "timeColumn": "ts", "setups": [], **query}
    source = {"table": table, "query": {name: value for name, value in given.items() if value is not None}, "isCumulative": int(cumulative)}
    return {"events": source if topic is None else {**source, "topic": topic}}


def entities(table: str = "shop.users", **query: Any) -> dict[str, Any]:
    given = {"setups": [], **query}
    return {"entities": {"snapshotTable": table, "query": {name: value for name, value in given.items() if value is not None}}}


def conf(*sources: Mapping[str, Any], keys: Sequence[str] = ("user",), aggregations: Any = "count", **more: Any) -> str:
    """A compiled group by; by default it counts ``vl`` over three days."""
    counted = [{"inputColumn": "vl", "operation": COUNT, "windows": [{"length": 3, "timeUnit": 1}]}]
    found = {
        "metaData": {"name": "team.gb.v1", "online": 1, "outputNamespace": "out", "team": "team"},
        "sources": list(sources),
        "keyColumns": list(keys),
        "aggregations": counted if aggregations == "count" else aggregations,
        **more,
    }
    return json.dumps({name: value for name, value in found.items() if value is not None})


def group_by(text: str) -> GroupBy:
    return confs.group_by(text)


def upload(root: Path, text: str, *, ds: str = DS) -> Upload:
    return Upload(planned(confs.group_by(text), ds, open_warehouse(str(root)), PartitionSpec()))


def rows(root: Path, text: str, *, ds: str = DS, memory_bytes: int = 64 << 20) -> list[Uploaded]:
    return list(upload(root, text, ds=ds).rows(DuckDB(root, memory_bytes=memory_bytes, threads=1)))


def outputs(root: Path, text: str, *, ds: str = DS) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Values by key."""
    return {tuple(row.keys): tuple(row.values) for row in rows(root, text, ds=ds)}

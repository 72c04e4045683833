"""Source tables as recordings have them (k, h; the csv files of g), as a warehouse in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads

from chronoserve.codec.tagged import type_from, untag
from chronoserve.model.errors import FailedPrecondition
from chronoserve.upload import arrow
from chronoserve.warehouse.parquet import expression
from chronoserve.warehouse.port import Condition, missing_column, split_name


@dataclass(slots=True)
class MemoryTable:
    """One table; its rows are in the order in which they were added."""

    name: str
    declared: pa.Schema
    partition_column: str
    parts: list[pa.RecordBatch] = field(default_factory=list)

    @property
    def format(self) -> str:
        return "parquet"

    def schema(self, conditions: Sequence[Condition] = ()) -> pa.Schema:
        return self.declared

    def partition_columns(self) -> tuple[str, ...]:
        return (self.partition_column,)

    def partitions(self, column: str) -> list[str]:
        return sorted({str(value) for part in self.parts for value in part.column(column).to_pylist() if value is not None})

    def fingerprint(self, conditions: Sequence[Condition] = ()) -> str:
        return str(sum(part.num_rows for part in self.parts))

    def read(self, columns: Sequence[str] | None = None, conditions: Sequence[Condition] = ()) -> Iterator[pa.RecordBatch]:
        for column in [*(columns or ()), *(each.column for each in conditions)]:
            if column not in self.declared.names:
                raise missing_column(self.name, column, self.declared.names)
        wanted = self.declared.names if columns is None else list(columns)
        table = pads.dataset(pa.Table.from_batches(self.parts, self.declared))
        yield from (batch for batch in table.to_batches(columns=wanted, filter=expression(conditions), use_threads=False) if batch.num_rows)


class MemoryWarehouse:
    """The tables of one world."""

    def __init__(self) -> None:
        self._tables: dict[str, MemoryTable] = {}

    def table(self, name: str) -> MemoryTable:
        clean, _ = split_name(name)
        if clean not in self._tables:
            raise FailedPrecondition(f"the recording has no table {clean}")
        return self._tables[clean]

    def begin(self, record: dict[str, Any]) -> None:
        """A ``table`` record: name, columns, partition column."""
        fields = [pa.field(name, arrow.arrow_type(type_from(known))) for name, known in record["columns"]]
        self._tables[record["name"]] = MemoryTable(record["name"], pa.schema(fields), record["partition_column"])
        self._types = [type_from(known) for _, known in record["columns"]]
        self._last = self._tables[record["name"]]

    def add(self, record: dict[str, Any]) -> None:
        """A ``rows`` record: rows of the table that began last, or of the one that it names."""
        table = self._last
        columns = zip(*([untag(value) for value in row] for row in record["rows"]), strict=True)
        arrays = [arrow.array(column, known) for column, known in zip(columns, self._types, strict=True)]
        table.parts.append(pa.RecordBatch.from_arrays(arrays, schema=table.declared))

    def add_csv(self, path: Path) -> None:
        """A file of the quickstart as its loader makes a table of it: ``data.<file>``, partitioned by ds (spec/integration.md §9.2)."""
        with path.open(encoding="utf-8") as lines:
            names = lines.readline().rstrip("\n").split(",")
        long = [name for name in names if name == "ts" or name.endswith(("_price", "_amt"))]
        types = {name: pa.int64() if name in long else pa.string() for name in names}
        table = pacsv.read_csv(path, convert_options=pacsv.ConvertOptions(column_types=types, strings_can_be_null=True))
        self._tables[f"data.{path.stem}"] = MemoryTable(f"data.{path.stem}", table.schema, "ds", table.to_batches())

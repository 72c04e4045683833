"""The port that brings the rows of a key together, and its embedded implementation: DuckDB sorts, on disk where memory ends."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from chronoserve.model.errors import FailedPrecondition, KVError
from chronoserve.warehouse.port import needs

ROW = "__row"
"""The row's number in the order of the sources: equal keys keep it."""
BATCH_ROWS = 16_384


class Engine(Protocol):
    """Brings rows of equal keys together."""

    def sorted(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows by ``keys``, those with equal keys in the order in which they came. Nulls are equal to each other."""


@dataclass(frozen=True, slots=True)
class DuckDB:
    """Sorts in ``memory_bytes`` and in files below ``spill``."""

    spill: Path
    memory_bytes: int = 512 << 20
    threads: int = 2

    def sorted(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """As the port has it.

        Raises:
            FailedPrecondition: DuckDB is not installed, or the disk is full.
            KVError: whatever ``batches`` raises.
        """
        try:
            import duckdb  # noqa: PLC0415 - large, and only this engine needs it
        except ModuleNotFoundError as missing:
            raise needs("duckdb") from missing
        source = _Numbered(batches)
        reader = pa.RecordBatchReader.from_batches(schema.append(pa.field(ROW, pa.int64())), iter(source))
        columns = ", ".join(map(_quoted, schema.names))
        order = ", ".join([*(f"{_quoted(key)} NULLS FIRST" for key in keys), ROW])
        with duckdb.connect(config=self._config()) as connection:
            try:
                connection.register("incoming", reader)
                yield from connection.sql(f"SELECT {columns} FROM incoming ORDER BY {order}").to_arrow_reader(BATCH_ROWS)  # noqa: S608 - columns of our own plan, quoted
            except (duckdb.Error, pa.ArrowException) as failed:
                if source.failure is not None:
                    raise source.failure from None
                raise FailedPrecondition(f"DuckDB cannot sort the rows: {str(failed).splitlines()[0]}") from failed

    def _config(self) -> dict[str, str | bool | int | float | list[str]]:
        return {
            "memory_limit": f"{self.memory_bytes >> 20}MiB",
            "temp_directory": str(self.spill),
            "threads": self.threads,
            "preserve_insertion_order": False,
        }


class _Numbered:
    """Batches with their rows' numbers; remembers what went wrong, because DuckDB tells only of its own errors."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = batches
        self.failure: KVError | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        at = 0
        try:
            for batch in self._batches:
                numbers = pa.array(np.arange(at, at + batch.num_rows))
                at += batch.num_rows
                yield pa.RecordBatch.from_arrays([*batch.columns, numbers], names=[*batch.schema.names, ROW])
        except KVError as failure:
            self.failure = failure
            raise


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

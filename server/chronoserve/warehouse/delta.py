"""Delta tables through deltalake: the snapshot's files, never the folder's, because overwritten files stay there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from chronoserve.model.errors import FailedPrecondition
from chronoserve.warehouse.parquet import expression
from chronoserve.warehouse.port import BATCH_ROWS, Condition, line_of, missing_column, naming, needs


@dataclass(frozen=True, slots=True)
class DeltaTable:
    """One snapshot of a table."""

    name: str
    _table: Any

    @classmethod
    def open(cls, name: str, location: str, *, version: int | None = None) -> "DeltaTable":
        """``version`` None: the newest. Raises FailedPrecondition where there is no Delta table or no such version."""
        try:
            import deltalake  # noqa: PLC0415 - large, and only Delta tables need it
            from deltalake.exceptions import DeltaError  # noqa: PLC0415
        except ModuleNotFoundError as missing:
            raise needs("deltalake") from missing
        try:
            return cls(name, deltalake.DeltaTable(location, version=version))
        except (DeltaError, OSError, ValueError) as wrong:
            which = "" if version is None else f", version {version},"
            raise FailedPrecondition(f"{name}{which} is no readable Delta table: {line_of(wrong)}") from wrong

    @property
    def format(self) -> str:
        return "delta"

    def schema(self, conditions: Sequence[Condition] = ()) -> pa.Schema:
        return self._dataset().schema

    def partition_columns(self) -> tuple[str, ...]:
        return tuple(self._table.metadata().partition_columns)

    def partitions(self, column: str) -> list[str]:
        return sorted({str(each[column]) for each in self._table.partitions() if each.get(column) is not None})

    def fingerprint(self, conditions: Sequence[Condition] = ()) -> str:
        return f"{self._table.metadata().id}@{self._table.version()}"

    def read(self, columns: Sequence[str] | None = None, conditions: Sequence[Condition] = ()) -> Iterator[pa.RecordBatch]:
        dataset = self._dataset()
        for column in [*(columns or ()), *(each.column for each in conditions)]:
            if column not in dataset.schema.names:
                raise missing_column(self.name, column, dataset.schema.names)
        with naming(self.name, f"reading version {self._table.version()}"):
            scanner = dataset.scanner(
                columns=None if columns is None else list(columns), filter=expression(conditions), batch_size=BATCH_ROWS, use_threads=False
            )
            yield from (batch for batch in scanner.to_batches() if batch.num_rows)

    def _dataset(self) -> Any:
        from deltalake.exceptions import DeltaError  # noqa: PLC0415 - as above

        try:
            return self._table.to_pyarrow_dataset()
        except DeltaError as unsupported:
            raise FailedPrecondition(f"{self.name} uses a Delta feature that deltalake cannot read: {unsupported}") from unsupported

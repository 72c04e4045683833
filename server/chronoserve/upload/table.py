"""Where an upload is written: a folder of Parquet, a Delta table, an Iceberg table. Each replaces the table as a whole.

A table that is partitioned by the day keeps the other days: there the day's partition is what is replaced. Readers see what
was there before, or the new upload: Parquet by the rename of its one file, the others by their own commits.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition
from chronoserve.upload import files
from chronoserve.upload.rows import SCHEMA
from chronoserve.warehouse.port import line_of, naming, needs

WRITING: Final = ".writing"
"""How a file ends that is not whole yet; its name begins with ``_``, so that no reader takes it for data."""
BESIDE: Final = ".new"
"""How a folder ends that will change places with the table's; its name begins with ``_`` as well."""
DAY_COLUMN: Final = "ds"
GENERATED: Final = {"chronon_generated": "true", "chronon_table_type": "upload"}
"""What Chronon sets on upload tables (spec/integration.md §7.1)."""


@dataclass(frozen=True, slots=True)
class DayPartition:
    """The partition of an upload's day, in a table that keeps each day's."""

    column: str
    day: str

    @property
    def folder(self) -> str:
        """As Hive names it."""
        return f"{self.column}={quote(self.day, safe='')}"

    @property
    def schema(self) -> pa.Schema:
        """The upload's columns with the day's under its own name."""
        return SCHEMA.set(len(SCHEMA) - 1, pa.field(self.column, pa.string()))


class UploadTarget(Protocol):
    """A table that uploads replace."""

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        """Write ``rows`` in place of what the table held of them; how many. Raises what ``rows`` does, and then nothing has changed.

        Raises:
            FailedPrecondition: the place cannot be written.
        """


@dataclass(frozen=True, slots=True)
class ParquetTarget:
    """A table folder, on any file system that Arrow knows."""

    table: str
    filesystem: fs.FileSystem
    folder: str
    partition: DayPartition | None = None

    @property
    def place(self) -> str:
        """The folder that is replaced."""
        return self.folder if self.partition is None else f"{self.folder}/{self.partition.folder}"

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        with naming(self.table, "writing its folder"):
            self.filesystem.create_dir(self.place, recursive=True)
        fresh = f"{self.place}/_{uuid4().hex}{WRITING}"
        try:
            count = files.write(self.table, self.filesystem, fresh, rows, file_schema(self.partition))
            self._sweep(fresh)
            self._publish(fresh)
        except BaseException:
            with suppress(OSError):
                self.filesystem.delete_file(fresh)
            raise
        files.local_names(self.filesystem, self.place)
        return count

    def beside(self) -> str:
        """A new name beside the place, which readers of it do not look at, for files that ``adopt`` makes the table's."""
        return f"{self._parent}/_{self._name}.{uuid4().hex}{BESIDE}"

    def adopt(self, folder: str) -> None:
        """Files that were written into ``folder``, a name of ``beside``, become the table's.

        Raises:
            FailedPrecondition: the file system cannot exchange folders in one step.
        """
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            raise FailedPrecondition(f"{self.table} is on an object store, where folders cannot be exchanged: write it as Delta")
        with naming(self.table, "replacing its folder"):
            if self.filesystem.get_file_info(self.place).type != fs.FileType.Directory:
                self.filesystem.create_dir(self._parent, recursive=True)
                self.filesystem.move(folder, self.place)
            else:
                self._exchange(folder)
        files.local_names(self.filesystem, self._parent)

    @property
    def _parent(self) -> str:
        return self.place.rpartition("/")[0]

    @property
    def _name(self) -> str:
        return self.place.rpartition("/")[2]

    def _exchange(self, fresh: str) -> None:
        try:
            files.exchange(self.place, fresh)
        except OSError as cannot:
            self.filesystem.delete_dir(fresh)
            why = f"its file system cannot exchange folders in one step ({cannot.strerror})"
            raise FailedPrecondition(f"{self.table}: {why}: delete its files first, or write it as Delta") from cannot
        self.filesystem.delete_dir(fresh)

    def _sweep(self, fresh: str) -> None:
        """What uploads left that were killed a day before ``fresh`` was written, or earlier."""
        files.sweep(self.table, self.filesystem, fresh, self.place, lambda name: name.endswith(WRITING))
        beside = f"_{self._name}."
        files.sweep(self.table, self.filesystem, fresh, self._parent, lambda name: name.startswith(beside) and name.endswith(BESIDE))

    def _publish(self, fresh: str) -> None:
        """The new file under the place's name for it. Files of another writer make room for it: the folder is exchanged whole."""
        with naming(self.table, "replacing its file"):
            others = [path for path in files.data_files(self.filesystem, self.place) if path != f"{self.place}/{files.FILE}"]
            if not others:
                self.filesystem.move(fresh, f"{self.place}/{files.FILE}")
                return
            if not isinstance(self.filesystem, fs.LocalFileSystem):
                raise FailedPrecondition(
                    f"{self.table} holds files of another writer, which cannot be replaced in one step: delete them first"
                )
            beside = self.beside()
            self.filesystem.create_dir(beside)
            self.filesystem.move(fresh, f"{beside}/{files.FILE}")
            self._exchange(beside)
            files.local_names(self.filesystem, self._parent)


@dataclass(frozen=True, slots=True)
class DeltaTarget:
    """A Delta table at a path or URL; older uploads stay readable as its versions."""

    table: str
    location: str
    partition: DayPartition | None = None

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        try:
            from deltalake import write_deltalake  # noqa: PLC0415 - large, and only Delta tables need it
            from deltalake.exceptions import DeltaError  # noqa: PLC0415
        except ModuleNotFoundError as missing:
            raise needs("deltalake") from missing
        counted = _Counted(rows)
        reader = pa.RecordBatchReader.from_batches(table_schema(self.partition), renamed(counted, self.partition))
        try:
            write_deltalake(self.location, reader, mode="overwrite", **self._how())
        except (DeltaError, OSError, ValueError) as failed:
            if counted.failure is not None:
                raise counted.failure from None
            raise FailedPrecondition(f"{self.table} cannot be written as Delta: {line_of(failed)}") from failed
        return counted.rows

    def _how(self) -> Mapping[str, Any]:
        from deltalake import DeltaTable  # noqa: PLC0415 - as above

        if self.partition is None:
            return {"schema_mode": "overwrite"}
        layout = {"partition_by": [self.partition.column]}
        day = self.partition.day.replace("'", "''")
        only = f"{self.partition.column} = '{day}'"
        return {**layout, "predicate": only} if DeltaTable.is_deltatable(self.location) else layout


@dataclass(frozen=True, slots=True)
class IcebergTarget:
    """A table of an Iceberg catalog; made where there is none."""

    table: str
    catalog: Any
    partition: DayPartition | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    """Of a table that is made."""

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        from pyiceberg.exceptions import CommitFailedException  # noqa: PLC0415 - large, and only Iceberg tables need it

        count = 0
        try:
            made = self._made()
            with made.transaction() as change:
                if made.current_snapshot() is not None:
                    change.delete(self._replaced())
                for group in files.grouped(renamed(rows, self.partition)):
                    change.append(group)
                    count += group.num_rows
        except (CommitFailedException, OSError) as failed:
            raise FailedPrecondition(f"{self.table} cannot be written as Iceberg: {line_of(failed)}") from failed
        return count

    def _made(self) -> Any:
        self.catalog.create_namespace_if_not_exists(self.table.rpartition(".")[0] or "default")
        schema = table_schema(self.partition)
        if self.partition is None or self.catalog.table_exists(self.table):
            return self.catalog.create_table_if_not_exists(self.table, schema=schema, properties=dict(self.properties))
        making = self.catalog.create_table_transaction(self.table, schema=schema, properties=dict(self.properties))
        with making, making.update_spec() as layout:
            layout.add_identity(self.partition.column)
        return self.catalog.load_table(self.table)

    def _replaced(self) -> Any:
        from pyiceberg import expressions as on  # noqa: PLC0415 - as above

        equal: Any = on.EqualTo
        return on.AlwaysTrue() if self.partition is None else equal(self.partition.column, self.partition.day)


def table_schema(partition: DayPartition | None) -> pa.Schema:
    """The columns of the whole table."""
    return SCHEMA if partition is None else partition.schema


def file_schema(partition: DayPartition | None) -> pa.Schema:
    """The columns of a Parquet file: one of a partition does not hold the day."""
    return SCHEMA if partition is None else SCHEMA.remove(SCHEMA.get_field_index(DAY_COLUMN))


def renamed(rows: Iterable[pa.RecordBatch], partition: DayPartition | None) -> Iterator[pa.RecordBatch]:
    """Batches with the columns of ``table_schema``."""
    schema = table_schema(partition)
    return (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in rows)


class _Counted:
    """Counts rows, and remembers what their source raised, because writers tell only of their own errors."""

    def __init__(self, rows: Iterable[pa.RecordBatch]) -> None:
        self._rows = rows
        self.rows = 0
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._rows:
                self.rows += batch.num_rows
                yield batch
        except Exception as failure:
            self.failure = failure
            raise

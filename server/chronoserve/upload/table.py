"""Where an upload is written: a folder of Parquet, a Delta table, an Iceberg table. Each replaces the table as a whole.

Readers see the upload that was there before, or the new one: Parquet by the rename of its one file, the others by their
own commits.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition
from chronoserve.upload.rows import SCHEMA
from chronoserve.warehouse.port import line_of, naming, needs

FILE = "part-00000.zstd.parquet"
"""The one file of an upload: its name stays, so that a rename replaces it."""
WRITING = ".writing"
"""How a file ends that is not whole yet; its name begins with ``_``, so that no reader takes it for data."""
DAY_NANOS = 86_400 * 10**9
ROW_GROUP_ROWS = 65_536


class UploadTarget(Protocol):
    """A table that uploads replace."""

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        """Write ``rows`` in place of what the table held; how many. Raises what ``rows`` does, and then nothing has changed.

        Raises:
            FailedPrecondition: the place cannot be written.
        """


@dataclass(frozen=True, slots=True)
class ParquetTarget:
    """An unpartitioned table folder, on any file system that Arrow knows."""

    table: str
    filesystem: fs.FileSystem
    folder: str

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        with naming(self.table, "writing its folder"):
            self.filesystem.create_dir(self.folder, recursive=True)
        fresh = f"{self.folder}/_{uuid4().hex}{WRITING}"
        try:
            count = self._write(fresh, rows)
            self._sweep(fresh)
            self._publish(fresh)
        except BaseException:
            with suppress(OSError):
                self.filesystem.delete_file(fresh)
            raise
        return count

    def adopt(self, folder: str) -> None:
        """Files that something else wrote into ``folder``, beside this one, become the table's.

        Raises:
            FailedPrecondition: the file system cannot exchange folders in one step.
        """
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            raise FailedPrecondition(f"{self.table} is on an object store, where folders cannot be exchanged: write it as Delta")
        with naming(self.table, "replacing its folder"):
            self._exchange(folder)

    def _exchange(self, fresh: str) -> None:
        aside = f"{self.folder}.{uuid4().hex}.old"
        there = self.filesystem.get_file_info(self.folder).type == fs.FileType.Directory
        if there:
            self.filesystem.move(self.folder, aside)
        self.filesystem.move(fresh, self.folder)
        if there:
            self.filesystem.delete_dir(aside)

    def _write(self, path: str, rows: Iterable[pa.RecordBatch]) -> int:
        count = 0
        try:
            with pq.ParquetWriter(path, SCHEMA, filesystem=self.filesystem, compression="zstd") as writer:
                for group in _grouped(rows):
                    writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
                    count += group.num_rows
            if isinstance(self.filesystem, fs.LocalFileSystem):
                with Path(path).open("rb") as written:
                    os.fsync(written.fileno())  # a rename must not outlive what it names
        except OSError as failed:
            raise FailedPrecondition(f"{self.table} cannot be written: {line_of(failed)}") from failed
        return count

    def _sweep(self, fresh: str) -> None:
        """What uploads left that were killed a day before ``fresh`` was written, or earlier."""
        with naming(self.table, "looking for what killed uploads have left"):
            now = self.filesystem.get_file_info(fresh).mtime_ns
            for each in self.filesystem.get_file_info(fs.FileSelector(self.folder)):
                if each.path.endswith(WRITING) and now is not None and each.mtime_ns is not None and each.mtime_ns < now - DAY_NANOS:
                    self.filesystem.delete_file(each.path)

    def _publish(self, fresh: str) -> None:
        """The new file under the table's name for it. Files of another writer make place for it: the folder is exchanged whole."""
        others = [each.path for each in self._data_files() if each.path.rpartition("/")[2] != FILE]
        with naming(self.table, "replacing its file"):
            if not others:
                self.filesystem.move(fresh, f"{self.folder}/{FILE}")
                return
            if not isinstance(self.filesystem, fs.LocalFileSystem):
                raise FailedPrecondition(
                    f"{self.table} holds files of another writer, which cannot be replaced in one step: delete them first"
                )
            beside = f"{self.folder}.{uuid4().hex}.new"
            self.filesystem.create_dir(beside)
            self.filesystem.move(fresh, f"{beside}/{FILE}")
            self._exchange(beside)

    def _data_files(self) -> list[fs.FileInfo]:
        found = self.filesystem.get_file_info(fs.FileSelector(self.folder, recursive=True))
        return [each for each in found if each.type == fs.FileType.File and not each.path.rpartition("/")[2].startswith(("_", "."))]


@dataclass(frozen=True, slots=True)
class DeltaTarget:
    """A Delta table at a path or URL; older uploads stay readable as its versions."""

    table: str
    location: str

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        try:
            from deltalake import write_deltalake  # noqa: PLC0415 - large, and only Delta tables need it
            from deltalake.exceptions import DeltaError  # noqa: PLC0415
        except ModuleNotFoundError as missing:
            raise needs("deltalake") from missing
        counted = _Counted(rows)
        reader = pa.RecordBatchReader.from_batches(SCHEMA, iter(counted))
        try:
            write_deltalake(self.location, reader, mode="overwrite", schema_mode="overwrite")
        except (DeltaError, OSError, ValueError) as failed:
            if counted.failure is not None:
                raise counted.failure from None
            raise FailedPrecondition(f"{self.table} cannot be written as Delta: {line_of(failed)}") from failed
        return counted.rows


@dataclass(frozen=True, slots=True)
class IcebergTarget:
    """A table of an Iceberg catalog; made where there is none."""

    table: str
    catalog: Any

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        from pyiceberg.exceptions import CommitFailedException  # noqa: PLC0415 - large, and only Iceberg tables need it

        namespace = self.table.rpartition(".")[0]
        self.catalog.create_namespace_if_not_exists(namespace or "default")
        count = 0
        try:
            made = self.catalog.create_table_if_not_exists(self.table, schema=SCHEMA)
            with made.transaction() as change:
                change.delete("key_bytes is not null") if made.current_snapshot() is not None else None
                for group in _grouped(rows):
                    change.append(group)
                    count += group.num_rows
        except (CommitFailedException, OSError) as failed:
            raise FailedPrecondition(f"{self.table} cannot be written as Iceberg: {line_of(failed)}") from failed
        return count


def _grouped(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of about ``ROW_GROUP_ROWS`` rows."""
    waiting: list[pa.RecordBatch] = []
    for batch in rows:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches(waiting, SCHEMA)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting, SCHEMA)


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

"""Parquet files of upload tables, and the folders that they lie in. What is not whole yet has a name that no reader takes for data."""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition
from chronoserve.upload.rows import SCHEMA
from chronoserve.warehouse.port import line_of, naming

FILE: Final = "part-00000.zstd.parquet"
"""The one file of an upload: its name stays, so that a rename replaces it."""
ROW_GROUP_ROWS: Final = 65_536
DAY_NANOS: Final = 86_400 * 10**9
EXCHANGES: Final = {"linux": ("renameat2", -100), "darwin": ("renameatx_np", -2)}
"""By platform: the call that exchanges names, and what stands for the working folder. Both take the same arguments."""
RENAME_EXCHANGE: Final = 2
"""On macOS it is called RENAME_SWAP."""


def write(table: str, filesystem: fs.FileSystem, path: str, rows: Iterable[pa.RecordBatch], schema: pa.Schema = SCHEMA) -> int:
    """One file of ``schema``'s columns, on disk when this returns; how many rows it has. Raises what ``rows`` does.

    Raises:
        FailedPrecondition: it cannot be written.
    """
    count = 0
    try:
        with pq.ParquetWriter(path, schema, filesystem=filesystem, compression="zstd") as writer:
            for group in grouped(rows):
                writer.write_table(group.select(schema.names), row_group_size=ROW_GROUP_ROWS)
                count += group.num_rows
        if isinstance(filesystem, fs.LocalFileSystem):
            on_disk(path)  # a rename must not outlive what it names
    except OSError as failed:
        raise FailedPrecondition(f"{table} cannot be written: {line_of(failed)}") from failed
    return count


def grouped(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of about ``ROW_GROUP_ROWS`` rows."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in rows:
        waiting.append(batch)
        count += batch.num_rows
        if count >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting, count = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def on_disk(path: str) -> None:
    """Wait until a local file, or the names in a local folder, are on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def exchange(one: str, other: str) -> None:
    """Two local folders change names in one step, so that no reader finds neither. Raises OSError where the system cannot."""
    name, here = EXCHANGES.get(sys.platform, ("", 0))
    rename = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if rename is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    if rename(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def data_files(filesystem: fs.FileSystem, folder: str) -> list[str]:
    """Paths below a folder that readers take for data."""
    found = filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    files = (each.path for each in found if each.type == fs.FileType.File)
    return [path for path in files if not any(part.startswith(("_", ".")) for part in path.removeprefix(folder).strip("/").split("/"))]


def sweep(table: str, filesystem: fs.FileSystem, fresh: str, folder: str, is_left: Callable[[str], bool]) -> None:
    """Remove what killed uploads have left in ``folder``: names of theirs that are a day older than ``fresh``, which is new."""
    with naming(table, "looking for what killed uploads have left"):
        now = filesystem.get_file_info(fresh).mtime_ns
        for each in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            old = now is not None and each.mtime_ns is not None and each.mtime_ns < now - DAY_NANOS
            if old and is_left(each.path.rpartition("/")[2]):
                remove(filesystem, each)


def remove(filesystem: fs.FileSystem, found: fs.FileInfo) -> None:
    if found.type == fs.FileType.Directory:
        filesystem.delete_dir(found.path)
    elif found.type == fs.FileType.File:
        filesystem.delete_file(found.path)


def local_names(filesystem: fs.FileSystem, folder: str) -> None:
    """The names in a folder, on disk where it is a local one."""
    if isinstance(filesystem, fs.LocalFileSystem) and Path(folder).is_dir():
        on_disk(folder)

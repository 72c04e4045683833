"""The reader seam of bulk loads: a source yields rows in one stable order, from a row number on, in columns.

Files of Parquet and Avro are read here; warehouse tables become further sources of the same shape.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from chronoserve.model.errors import FailedPrecondition, InvalidRequest

ROWS_PER_BATCH = 4_096
"""Rows that a source hands over at once: bounds the memory of a load."""
SUFFIXES = (".parquet", ".avro")
COLUMNS_SHOWN_MAX = 10
"""Column names that an error tells: it has to fit the metadata of a call."""
READ_BYTES = 1 << 20
"""Of a file of Parquet at once, so that a large row group is not in memory as a whole."""


class Row(NamedTuple):
    """``ts_millis`` None: the source has no time for this row."""

    key: bytes
    value: bytes
    ts_millis: int | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows one after the other, as columns of one length: a row of its own would cost as much as writing it.

    ``times`` None: no row has one. ``after_all``: not one of them may be written before all that came before is.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    times: Sequence[int | None] | None = None
    after_all: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Row]:
        return map(Row, self.keys, self.values, repeat(None) if self.times is None else self.times)

    def part(self, start: int, end: int | None = None) -> "Rows":
        """Those from number ``start`` to before ``end``."""
        if start <= 0 and (end is None or end >= len(self)):
            return self
        times = None if self.times is None else self.times[start:end]
        return Rows(self.keys[start:end], self.values[start:end], times, self.after_all)


class Source(Protocol):
    """Rows of one bulk load."""

    def count(self) -> int:
        """How many rows there are; 0 where only reading them tells. Blocking."""

    def fingerprint(self) -> str:
        """Changes when the rows do: a load is resumed only on the rows it began with."""

    def batches(self, start: int) -> Iterator[Rows]:
        """Rows from number ``start`` on, in batches of at most ROWS_PER_BATCH. Blocking: run it in a thread.

        Raises:
            InvalidRequest: the content is not what a source must have; the message names the file and the column.
        """


def from_row(batches: Iterator[Rows], start: int) -> Iterator[Rows]:
    """What ``batches`` has from row number ``start`` on, in parts of at most ROWS_PER_BATCH."""
    at = 0
    for rows in batches:
        for begin in range(max(0, start - at), len(rows), ROWS_PER_BATCH):
            yield rows.part(begin, begin + ROWS_PER_BATCH)
        at += len(rows)


@dataclass(frozen=True, slots=True)
class FileSource:
    """One or more files, read in the order of their names."""

    files: Sequence[Path]

    def count(self) -> int:
        return sum(_parquet(file).metadata.num_rows for file in self.files if file.suffix == ".parquet")

    def fingerprint(self) -> str:
        stats = [(file.name, file.stat()) for file in self.files]
        return "-".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)

    def batches(self, start: int) -> Iterator[Rows]:
        return from_row((rows for file in self.files for rows in _batches(file)), start)


def open_source(table: str, partition: str, roots: Sequence[Path] | None) -> FileSource:
    """The files that ``table`` names: a file, or a folder with an optional ``ds=<partition>`` folder in it. Blocking.

    Raises:
        InvalidRequest: there is nothing to read.
        FailedPrecondition: the place, or a file that a link there leads to, is not below one of ``roots`` (None: any place).
    """
    place = table.removeprefix("file://")
    if not place:
        raise InvalidRequest("source_offline_table is empty; name a file or a folder", field="source_offline_table")
    try:
        files = _files(Path(place), partition, None if roots is None else [root.resolve() for root in roots])
    except (OSError, ValueError, RuntimeError) as unusable:  # a name that is no path, a loop of links, a folder that is closed to us
        raise InvalidRequest("source_offline_table cannot be read", field="source_offline_table") from unusable
    if not files:
        raise InvalidRequest("there is no .parquet or .avro file at source_offline_table", field="source_offline_table")
    if unknown := [file.name for file in files if file.suffix not in SUFFIXES]:
        raise InvalidRequest(f"{unknown[0]} is neither a .parquet nor an .avro file", field="source_offline_table")
    return FileSource(files)


def _files(table: Path, partition: str, roots: Sequence[Path] | None) -> list[Path]:
    path = table.resolve()
    _expect_below(path, roots)
    if not path.is_dir():
        return [path] if path.is_file() else []
    folder = path / f"ds={partition}" if partition and (path / f"ds={partition}").is_dir() else path
    files = sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    for file in files:
        _expect_below(file.resolve(), roots)
    return files


def _expect_below(path: Path, roots: Sequence[Path] | None) -> None:
    if roots is not None and not any(path.is_relative_to(root) for root in roots):
        raise FailedPrecondition("source_offline_table is not below a folder that bulk_roots of the configuration allows")


def _parquet(file: Path) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - large, and only loads of Parquet need it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise FailedPrecondition("reading Parquet needs pyarrow: pip install 'chronoserve[lake]'") from missing
    try:
        return pq.ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as broken:
        raise InvalidRequest(f"{file.name} is not a readable Parquet file", field="source_offline_table") from broken


def _batches(file: Path) -> Iterator[Rows]:
    return _parquet_batches(file) if file.suffix == ".parquet" else _avro_batches(file)


def _parquet_batches(file: Path) -> Iterator[Rows]:
    table = _parquet(file)
    names = table.schema_arrow.names
    _expect_columns(file, names)
    columns = ["key_bytes", "value_bytes", *(["ts"] if "ts" in names else [])]
    batches = table.iter_batches(batch_size=ROWS_PER_BATCH, columns=columns, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (ValueError, OSError) as broken:  # ArrowInvalid is a ValueError
            raise InvalidRequest(f"{file.name} is not a readable Parquet file", field="source_offline_table") from broken
        if batch is None:
            return
        yield _rows(file, *(batch.column(name).to_pylist() for name in columns))


def _avro_batches(file: Path) -> Iterator[Rows]:
    records = _avro_records(file)
    while some := list(islice(records, ROWS_PER_BATCH)):
        keys, found = ([record[name] for record in some] for name in ("key_bytes", "value_bytes"))
        yield _rows(file, keys, found, [record.get("ts") for record in some])


def _avro_records(file: Path) -> Iterator[dict[str, Any]]:
    import fastavro  # noqa: PLC0415 - only loads of Avro need it

    try:
        with file.open("rb") as stream:
            reader: Any = fastavro.reader(stream)
            _expect_columns(file, [column["name"] for column in reader.writer_schema["fields"]])
            yield from reader
    except InvalidRequest:
        raise
    except Exception as broken:  # fastavro has no error of its own for damaged files: they raise what the damage leads to
        raise InvalidRequest(f"{file.name} is not a readable Avro file of records", field="source_offline_table") from broken


def _expect_columns(file: Path, names: Sequence[str]) -> None:
    for name in ("key_bytes", "value_bytes"):
        if names.count(name) != 1:
            shown = ", ".join(str(each)[:50] for each in names[:COLUMNS_SHOWN_MAX])
            raise InvalidRequest(f"{file.name} has {names.count(name)} columns {name}; it has {shown}", field="source_offline_table")


def _rows(file: Path, keys: list[Any], found: list[Any], times: list[Any] | None = None) -> Rows:
    if not set(map(type, keys)) | set(map(type, found)) <= {bytes}:
        raise InvalidRequest(f"{file.name}: key_bytes and value_bytes must be binary and not null", field="source_offline_table")
    if times is not None and not set(map(type, times)) <= {int, type(None)}:
        raise InvalidRequest(f"{file.name}: ts must be epoch milliseconds as an integer", field="source_offline_table")
    return Rows(keys, found, times)

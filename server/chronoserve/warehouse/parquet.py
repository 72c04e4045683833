"""Parquet files in Hive layout: ``<table>/ds=2023-11-30/part-0.parquet``, on any file system that Arrow knows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition
from chronoserve.warehouse.port import BATCH_ROWS, Condition, missing_column, naming

READ_BYTES = 1 << 20
"""Of one column at once."""
COMPARED = {"==": pc.equal, ">=": pc.greater_equal, "<=": pc.less_equal}
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a table with the values of its partition."""

    path: str
    size: int
    changed: str
    partition: Mapping[str, str]


def _holds(value: str, condition: Condition) -> bool:
    match condition.operator:
        case "==":
            return value == condition.value
        case ">=":
            return value >= condition.value
        case "<=":
            return value <= condition.value


class Partitions(Protocol):
    """The partitions of a table, where a metastore knows them: each has a folder wherever it says."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def values(self) -> Sequence[Mapping[str, str]]:
        """Of every partition, its columns' values."""

    def places(self, conditions: Sequence[Condition]) -> Sequence[tuple[str, Mapping[str, str]]]:
        """Folder and values of each partition that fulfils the conditions; the same answer as long as the table is open."""


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """``root``: the table's folder. ``known``: where its partitions are; None: the folders below the root say by their names."""

    name: str
    filesystem: fs.FileSystem
    root: str
    known: Partitions | None = None

    @property
    def format(self) -> str:
        return "parquet"

    def files(self, conditions: Sequence[Condition] = ()) -> list[DataFile]:
        """The data files of partitions that fulfil the conditions, in the order of their paths.

        Names that begin with ``_`` or ``.`` are not data.
        """
        found: list[DataFile] = []
        with naming(self.name, "listing its files"):
            for root, given in self._roots(conditions):
                for info in self.filesystem.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True)):
                    folders = info.path.removeprefix(root).strip("/").split("/")
                    if info.type == fs.FileType.File and not any(part.startswith(("_", ".")) for part in folders):
                        found.append(DataFile(info.path, info.size or 0, str(info.mtime_ns), {**given, **_values(folders[:-1])}))
        return sorted((file for file in found if fulfils(file.partition, conditions)), key=lambda file: file.path)

    def _roots(self, conditions: Sequence[Condition]) -> Sequence[tuple[str, Mapping[str, str]]]:
        return [(self.root, {})] if self.known is None else self.known.places(conditions)

    def partition_columns(self) -> tuple[str, ...]:
        if self.known is not None:
            return self.known.columns
        return next((tuple(file.partition) for file in self.files()), ())

    def partitions(self, column: str) -> list[str]:
        values = [file.partition for file in self.files()] if self.known is None else self.known.values()
        return sorted({each[column] for each in values if column in each})

    def fingerprint(self, conditions: Sequence[Condition] = ()) -> str:
        return "-".join(f"{file.path.rpartition('/')[2]}:{file.size}:{file.changed}" for file in self.files(conditions))

    def schema(self, conditions: Sequence[Condition] = ()) -> pa.Schema:
        """The columns of the newest partition that fulfils the conditions, or of the newest where none does: no other is looked at.

        A partition's files are looked at together; those of others are held against them when they are read.

        Raises:
            FailedPrecondition: the table has no data files, or those of that partition disagree.
        """
        files = self._newest(conditions) or self._newest(())
        if not files:
            raise FailedPrecondition(f"{self.name} has no data files; has its job run?")
        return self._schema_of(files)

    def _newest(self, conditions: Sequence[Condition]) -> list[DataFile]:
        """The files of the newest partition that has some."""
        if self.known is None:
            return newest(self.files(conditions))
        chosen = (each for each in self.known.values() if fulfils(each, conditions))
        for values in sorted(chosen, key=lambda each: tuple(each.values()), reverse=True):
            files = self.files([Condition(column, "==", value) for column, value in values.items()])
            if files:
                return files
        return []

    def read(self, columns: Sequence[str] | None = None, conditions: Sequence[Condition] = ()) -> Iterator[pa.RecordBatch]:
        chosen = self.files(conditions)
        if not chosen:
            return
        whole = self._schema_of(newest(chosen))
        for column in [*(columns or ()), *(each.column for each in conditions)]:
            if column not in whole.names:
                raise missing_column(self.name, column, whole.names)
        wanted = list(columns) if columns is not None else whole.names
        for file in chosen:
            yield from self._read_file(file, whole, wanted, [each for each in conditions if each.column not in file.partition])

    def _read_file(self, file: DataFile, whole: pa.Schema, wanted: list[str], conditions: list[Condition]) -> Iterator[pa.RecordBatch]:
        """One file's rows in the table's types; what it lacks is null. A few pages are in memory, and never a whole row group."""
        with naming(self.name, f"reading {_place(file)}"), self.filesystem.open_input_file(file.path) as opened:
            parquet = pq.ParquetFile(opened, buffer_size=READ_BYTES, pre_buffer=False)
            names = parquet.schema_arrow.names
            asked = (
                dict.fromkeys([*(name for name in wanted if name not in file.partition), *(each.column for each in conditions)])
                or names[:1]
            )
            groups = [number for number in range(parquet.num_row_groups) if _may_hold(parquet.metadata.row_group(number), conditions)]
            columns = [name for name in asked if name in names] or names[:1]  # of no column there would be no rows
            for found in parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns, use_threads=False):
                batch = _fulfilling(_in_types(found, list(asked), whole), conditions)
                if batch.num_rows:
                    yield _with_partition(batch, file.partition, wanted, whole)

    def _schema_of(self, files: Sequence[DataFile]) -> pa.Schema:
        """The columns of all these files together, then the partition columns."""
        schemas: list[pa.Schema] = []
        for file in files:
            with naming(self.name, f"reading the schema of {_place(file)}"):
                found = pads.ParquetFileFormat().inspect(file.path, filesystem=self.filesystem)
                if not any(found.equals(each) for each in schemas):
                    schemas.append(found)
        try:
            whole = pa.unify_schemas(schemas)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as drift:
            folder = _place(files[0]).rpartition("/")[0] or "its folder"
            raise FailedPrecondition(f"{self.name}: the files of {folder} disagree on a type ({drift}); rewrite the older ones") from drift
        keys = self.known.columns if self.known is not None else tuple(files[0].partition)
        kept = [field for field in whole if field.name not in keys]
        return pa.schema([*kept, *(pa.field(key, pa.string()) for key in keys)])


def fulfils(partition: Mapping[str, str], conditions: Sequence[Condition]) -> bool:
    """Whether a partition's values do; conditions on other columns are not judged here."""
    return all(_holds(partition[each.column], each) for each in conditions if each.column in partition)


def newest(files: Sequence[DataFile]) -> list[DataFile]:
    """Those of the partition whose values, as texts, are the largest; all where there are no partitions."""
    last = max((tuple(file.partition.values()) for file in files), default=())
    return [file for file in files if tuple(file.partition.values()) == last]


def _in_types(batch: pa.RecordBatch, names: Sequence[str], schema: pa.Schema) -> pa.RecordBatch:
    """The columns ``names`` in the types of ``schema``, wider where Spark widens what it reads. Raises TypeError where one drifted."""
    arrays = []
    for name in names:
        kind = schema.field(name).type
        if name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, kind))
            continue
        column = batch.column(name)
        if not column.type.equals(kind) and not _widens(column.type, kind):
            raise TypeError(f"{name} is {column.type} here and {kind} in the newest partition that is read")
        arrays.append(column if column.type.equals(kind) else column.cast(kind))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([schema.field(name) for name in names]))


def _widens(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of one type is the same value of the other: Spark's readers of Parquet widen these."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_signed_integer(found) and pa.types.is_signed_integer(wanted):
        return bool(found.bit_width < wanted.bit_width)
    texts = (pa.types.is_string, pa.types.is_large_string), (pa.types.is_binary, pa.types.is_large_binary)
    alike = any(any(one(found) for one in kinds) and any(one(wanted) for one in kinds) for kinds in texts)
    return alike or (pa.types.is_float32(found) and pa.types.is_float64(wanted))


def _fulfilling(batch: pa.RecordBatch, conditions: Sequence[Condition]) -> pa.RecordBatch:
    for each in conditions:
        batch = batch.filter(COMPARED[each.operator](batch.column(each.column), pa.scalar(each.value)))
    return batch


def _may_hold(group: "pq.RowGroupMetaData", conditions: Sequence[Condition]) -> bool:
    """Whether, by its statistics, some row of a row group may fulfil the conditions."""
    bounds = {group.column(at).path_in_schema: group.column(at).statistics for at in range(group.num_columns)} if conditions else {}
    return all(_within(bounds.get(each.column), each) for each in conditions)


def _within(bounds: "pq.Statistics | None", condition: Condition) -> bool:
    if bounds is None or not bounds.has_min_max or not isinstance(bounds.min, str):
        return True
    above = condition.operator != "<=" and bounds.max < condition.value
    below = condition.operator != ">=" and bounds.min > condition.value
    return not above and not below


def _place(file: DataFile) -> str:
    """A file by partition and name: no more of its path than a message may show."""
    return "/".join([*(f"{key}={value}" for key, value in file.partition.items()), file.path.rpartition("/")[2]])


def _values(folders: Sequence[str]) -> dict[str, str]:
    """``ds=2023-11-30`` folders as a mapping."""
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return {key: unquote(value) for key, _, value in pairs}


def _with_partition(batch: pa.RecordBatch, partition: Mapping[str, str], wanted: Sequence[str], whole: pa.Schema) -> pa.RecordBatch:
    arrays = [batch.column(name) if name not in partition else _constant(partition[name], batch.num_rows) for name in wanted]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([whole.field(name) for name in wanted]))


def _constant(value: str, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string()) if value == HIVE_NULL else pa.repeat(pa.scalar(value, pa.string()), rows)


def expression(conditions: Sequence[Condition]) -> pc.Expression | None:
    """The conditions for an Arrow scanner; None where there are none."""
    found: pc.Expression | None = None
    for each in conditions:
        column, value = pc.field(each.column), pc.scalar(each.value)
        one = {"==": column == value, ">=": column >= value, "<=": column <= value}[each.operator]
        found = one if found is None else found & one
    return found

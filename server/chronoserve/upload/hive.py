"""Upload tables of a Hive metastore. Files go into a folder of their own; then the metastore is told where the table, or the day's
partition of it, lies. Who asks the metastore sees the upload that was there before, or the new one, and a reader who had begun
with the old one ends with it: its files go when they are a day old.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition, KVError
from chronoserve.upload import files
from chronoserve.upload.table import GENERATED, DayPartition, file_schema
from chronoserve.warehouse.metastore import HiveWarehouse
from chronoserve.warehouse.places import filesystem_of
from chronoserve.warehouse.port import naming

TYPES: Final = {"key_bytes": "binary", "value_bytes": "binary", "key_json": "string", "value_json": "string", "ds": "string"}
"""Of an upload's columns, in Hive's words (spec/integration.md §7.2)."""
SERDE: Final = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
INPUT: Final = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
OUTPUT: Final = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
UPLOAD: Final = "upload"
"""The last part of an upload's folder: Hive looks into none whose own name begins with ``_``."""
VERSION: Final = re.compile(r"/_[0-9a-f]{32}/upload/*$")
STATISTICS: Final = ("numRows", "rawDataSize", "totalSize", "numFiles", "COLUMN_STATS_ACCURATE", "spark.sql.statistics.")
"""Parameters, by their beginnings, that tell of files which are no longer a table's: queries would be answered from them."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new folder for one upload, inside ``place``, where readers by path do not see it."""

    place: str
    url: str

    @classmethod
    def inside(cls, place: str) -> "Fresh":
        """``place``: the URL of a table's or partition's folder, or of an upload's folder in one."""
        natural = VERSION.sub("", place).rstrip("/")
        return cls(natural, f"{natural}/_{uuid4().hex}/{UPLOAD}")

    @property
    def version(self) -> str:
        return self.url.removesuffix(f"/{UPLOAD}")


@dataclass(frozen=True, slots=True)
class HiveTarget:
    """A table of Parquet files; made where there is none."""

    table: str
    warehouse: HiveWarehouse
    partition: DayPartition | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    """Of the conf's: set on the table with Chronon's own."""

    def replace(self, rows: Iterable[pa.RecordBatch]) -> int:
        fresh = self.fresh()
        filesystem, folder = filesystem_of(fresh.url)
        try:
            with naming(self.table, "making a folder"):
                filesystem.create_dir(folder, recursive=True)
            count = files.write(self.table, filesystem, f"{folder}/{files.FILE}", rows, file_schema(self.partition))
            self.publish(fresh)
        except BaseException:
            self.discard(fresh)
            raise
        return count

    def fresh(self) -> Fresh:
        """Where the next upload's files belong. Raises FailedPrecondition where the table is none that uploads can be written to."""
        with self.warehouse.client(self.table) as client:
            found = self.warehouse.found(client, self.table)
            if found is None:
                return Fresh.inside(self._in_table(self._default_place(client)))
            self._expect_fits(found)
            known = self._known_partition(client)
            return Fresh.inside(self._in_table(found.sd.location) if known is None else known.sd.location)

    def publish(self, fresh: Fresh) -> None:
        """The files in ``fresh`` become the table's, or the partition's, in one step. Raises FailedPrecondition."""
        with self.warehouse.client(self.table) as client:
            found = self.warehouse.found(client, self.table)
            if found is None:
                self._make(client, VERSION.sub("", fresh.url) if self.partition else fresh.url)
            elif self.partition is None:
                self._move(client, found, fresh.url)
            if self.partition is not None:
                self._add(client, found, fresh.url)
        self._sweep(fresh)

    def discard(self, fresh: Fresh) -> None:
        """Remove an upload's folder that the metastore does not know. Where it cannot be asked, a later upload removes it."""
        filesystem, version = filesystem_of(fresh.version)
        with suppress(KVError, OSError):
            if self._location() != fresh.url and filesystem.get_file_info(version).type == fs.FileType.Directory:
                filesystem.delete_dir(version)

    # what there is

    @property
    def _names(self) -> tuple[str, str]:
        namespace, _, name = self.table.rpartition(".")
        return namespace or "default", name

    def _in_table(self, location: str) -> str:
        natural = VERSION.sub("", location).rstrip("/")
        return natural if self.partition is None else f"{natural}/{self.partition.folder}"

    def _default_place(self, client: Any) -> str:
        """Where Hive puts a new table. Raises FailedPrecondition where there is no such database."""
        namespace, name = self._names
        return f"{self.warehouse.database(client, namespace).locationUri.rstrip('/')}/{name}"

    def _known_partition(self, client: Any) -> Any:
        from hive_metastore.ttypes import NoSuchObjectException  # noqa: PLC0415 - large, and only metastores need it

        if self.partition is None:
            return None
        try:
            return client.get_partition(*self._names, [self.partition.day])
        except NoSuchObjectException:
            return None

    def _location(self) -> str | None:
        """Where the metastore sees the table, or the partition."""
        with self.warehouse.client(self.table) as client:
            found = self.warehouse.found(client, self.table)
            place = found if self.partition is None or found is None else self._known_partition(client)
            return None if place is None else str(place.sd.location)

    def _expect_fits(self, found: Any) -> None:
        """Raises FailedPrecondition where a table is of another format, or of other columns."""
        remedy = "drop it, or give another --output"
        format_ = str((found.parameters or {}).get("spark.sql.sources.provider") or found.sd.inputFormat)
        if "parquet" not in format_.lower():
            raise FailedPrecondition(f"{self.table} is no table of Parquet files ({format_}): {remedy}")
        columns = {column.name: column.type for column in (*found.sd.cols, *(found.partitionKeys or ()))}
        day = {} if self.partition is None else {self.partition.column: "string"}
        expected = {name: kind for name, kind in TYPES.items() if not day or name != "ds"} | day
        for name, kind in expected.items():
            if columns.get(name) != kind:
                raise FailedPrecondition(f"{self.table}: its column {name} is {columns.get(name, 'missing')} and must be {kind}: {remedy}")

    # what is told to the metastore

    def _make(self, client: Any, location: str) -> None:
        from hive_metastore import ttypes  # noqa: PLC0415 - as above

        namespace, name = self._names
        keys = [] if self.partition is None else [ttypes.FieldSchema(name=self.partition.column, type="string")]
        table = ttypes.Table(
            dbName=namespace, tableName=name, sd=self._storage(location), partitionKeys=keys, tableType="MANAGED_TABLE",
            parameters={**self.properties, **GENERATED},
        )  # fmt: skip
        try:
            client.create_table(table)
        except ttypes.AlreadyExistsException as meanwhile:
            raise FailedPrecondition(f"{self.table} was made by another job meanwhile: upload again") from meanwhile
        except ttypes.InvalidObjectException as refused:
            raise FailedPrecondition(f"the metastore refuses {self.table}: {refused.message}") from refused

    def _storage(self, location: str) -> Any:
        from hive_metastore import ttypes  # noqa: PLC0415 - as above

        columns = [ttypes.FieldSchema(name=name, type=TYPES[name]) for name in file_schema(self.partition).names]
        serde = ttypes.SerDeInfo(serializationLib=SERDE, parameters={"serialization.format": "1"})
        return ttypes.StorageDescriptor(
            cols=columns, location=location, inputFormat=INPUT, outputFormat=OUTPUT, serdeInfo=serde, parameters={}, bucketCols=[],
            sortCols=[], numBuckets=-1, compressed=False,
        )  # fmt: skip

    def _move(self, client: Any, table: Any, location: str) -> None:
        table.sd.location = location
        if "path" in (table.sd.serdeInfo.parameters or {}):
            table.sd.serdeInfo.parameters["path"] = location  # Spark's own tables have it in both
        table.parameters = {**_without_statistics(table.parameters), **self.properties, **GENERATED}
        client.alter_table(*self._names, table)

    def _add(self, client: Any, table: Any, location: str) -> None:
        from hive_metastore import ttypes  # noqa: PLC0415 - as above

        assert self.partition is not None
        namespace, name = self._names
        known = self._known_partition(client)
        if known is not None:
            known.sd.location, known.parameters = location, _without_statistics(known.parameters)
            client.alter_partition(namespace, name, known)
            return
        storage = self._storage(location) if table is None else table.sd
        storage.location = location
        try:
            client.add_partition(ttypes.Partition(values=[self.partition.day], dbName=namespace, tableName=name, sd=storage, parameters={}))
        except ttypes.AlreadyExistsException as meanwhile:
            raise FailedPrecondition(f"{self.table}/{self.partition.day} was added by another job meanwhile: upload again") from meanwhile

    def _sweep(self, fresh: Fresh) -> None:
        """Uploads' folders that are neither the table's nor younger than a day."""
        filesystem, place = filesystem_of(fresh.place)
        current = fresh.version.rpartition("/")[2]
        version = f"{place}/{current}"
        files.sweep(self.table, filesystem, version, place, lambda name: name != current and bool(VERSION.fullmatch(f"/{name}/{UPLOAD}")))


def _without_statistics(parameters: Mapping[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in (parameters or {}).items() if not name.startswith(STATISTICS)}

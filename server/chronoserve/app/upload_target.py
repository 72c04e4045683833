"""Where ``chronoserve upload`` writes: which kind of table, and whether it keeps each day's upload as a partition."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chronoserve.model.confs import GroupBy
from chronoserve.model.errors import InvalidRequest

if TYPE_CHECKING:
    from chronoserve.upload.table import DayPartition, UploadTarget
    from chronoserve.warehouse.iceberg import IcebergWarehouse
    from chronoserve.warehouse.metastore import HiveWarehouse
    from chronoserve.warehouse.places import FolderWarehouse
    from chronoserve.warehouse.port import Warehouse

PARQUET, DELTA, ICEBERG = "parquet", "delta", "iceberg"
TEAMS = "teams.json"
LEVELS = 4
"""Of a conf's path below its repository: production/group_bys/team/name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A table to write. ``table_format`` None: as it is, or Parquet; ``partitioned``: a new one has the day's column as partition."""

    table: str
    table_format: str | None
    column: str
    day: str
    partitioned: bool
    properties: Mapping[str, str]

    def partition(self, there: tuple[str, ...] | None) -> "DayPartition | None":
        """The day's partition, or None where the table has no partitions. ``there``: those of the table that there is, None: none is.

        Raises:
            InvalidRequest: the table's layout is not what was asked for, or none of uploads'.
        """
        from chronoserve.upload.table import DayPartition

        if there is None:
            return DayPartition(self.column, self.day) if self.partitioned else None
        if there == (self.column,):
            return DayPartition(self.column, self.day)
        if there:
            raise InvalidRequest(
                f"{self.table} is partitioned by {', '.join(there)}: an upload's is by {self.column}, or not at all; give another --output",
                field="output",
            )
        if self.partitioned:
            raise InvalidRequest(f"{self.table} is there and has no partitions: leave out --partitioned, or drop it", field="partitioned")
        return None


def target_of(place: "Warehouse", wanted: Wanted) -> "UploadTarget":
    """Where a table is written.

    Raises:
        InvalidRequest: format or layout do not fit the place, or the table that is there.
        KVError: the place cannot be asked.
    """
    from chronoserve.warehouse.iceberg import IcebergWarehouse
    from chronoserve.warehouse.metastore import HiveWarehouse
    from chronoserve.warehouse.places import FolderWarehouse

    match place:
        case IcebergWarehouse():
            return _in_catalog(place, wanted)
        case HiveWarehouse():
            return _in_metastore(place, wanted)
        case FolderWarehouse():
            return _in_folder(place, wanted)
        case _:
            raise InvalidRequest("uploads are written to folders, Hive metastores and Iceberg catalogs: give --output", field="output")


def properties_of(group_by: GroupBy, conf: Path) -> Mapping[str, str]:
    """What the conf says that its tables have; else its team in the repository's teams.json. Raises InvalidRequest, UnknownConf."""
    from chronoserve.config import teams

    meta = group_by.meta_data
    if meta.table_properties is not None:
        return meta.table_properties
    above = conf.resolve().parents
    path = above[LEVELS - 1] / TEAMS if len(above) >= LEVELS else Path(TEAMS)
    return (teams.load(path).table_properties(meta.team or "") or {}) if path.is_file() else {}


def _in_catalog(place: "IcebergWarehouse", wanted: Wanted) -> "UploadTarget":
    from chronoserve.upload.table import GENERATED, IcebergTarget

    if wanted.table_format not in (None, ICEBERG):
        raise InvalidRequest(f"an Iceberg catalog takes Iceberg tables, not {wanted.table_format}", field="format")
    there = place.table(wanted.table).partition_columns() if place.has(wanted.table) else None
    return IcebergTarget(wanted.table, place.catalog, wanted.partition(there), {**wanted.properties, **GENERATED})


def _in_metastore(place: "HiveWarehouse", wanted: Wanted) -> "UploadTarget":
    from chronoserve.upload.hive import HiveTarget
    from chronoserve.upload.table import DeltaTarget
    from chronoserve.warehouse.delta import DeltaTable
    from chronoserve.warehouse.iceberg import IcebergTable

    if wanted.table_format in (DELTA, ICEBERG):
        hint = "through their catalog: --output iceberg://NAME?type=hive&uri=…" if wanted.table_format == ICEBERG else "into a folder"
        raise InvalidRequest(f"a Hive metastore gets Parquet tables here; {wanted.table_format} is written {hint}", field="format")
    found = place.described(wanted.table)
    if found is None:
        return HiveTarget(wanted.table, place, wanted.partition(None), wanted.properties)
    match place.table(wanted.table):
        case IcebergTable():
            raise InvalidRequest(f"{wanted.table} is an Iceberg table: --output iceberg://NAME?type=hive&uri=…", field="output")
        case DeltaTable() as delta:
            return DeltaTarget(wanted.table, found.sd.location, wanted.partition(delta.partition_columns()))
        case _:
            keys = tuple(key.name for key in found.partitionKeys or ())
            return HiveTarget(wanted.table, place, wanted.partition(keys), wanted.properties)


def _in_folder(place: "FolderWarehouse", wanted: Wanted) -> "UploadTarget":
    from chronoserve.upload.table import DeltaTarget, ParquetTarget
    from chronoserve.warehouse.delta import DeltaTable
    from chronoserve.warehouse.iceberg import IcebergTable
    from chronoserve.warehouse.parquet import ParquetTable

    if wanted.table_format == ICEBERG:
        raise InvalidRequest("Iceberg tables are written through their catalog: --output iceberg://NAME?…", field="format")
    folder = place.place(wanted.table)
    there = place.table(wanted.table) if place.has(wanted.table) else None
    if isinstance(there, IcebergTable):
        raise InvalidRequest(f"{wanted.table} is an Iceberg table: write it through its catalog, or give another --output", field="output")
    if isinstance(there, DeltaTable) and wanted.table_format == PARQUET:
        raise InvalidRequest(f"{wanted.table} is a Delta table: leave out --format parquet, or give another --output", field="format")
    if isinstance(there, DeltaTable) or wanted.table_format == DELTA:
        location = folder if "://" not in place.url else place.url.rstrip("/") + folder.removeprefix(place.root)
        return DeltaTarget(wanted.table, location, wanted.partition(there.partition_columns() if isinstance(there, DeltaTable) else None))
    layout = there.partition_columns() if isinstance(there, ParquetTable) and there.files() else None
    return ParquetTarget(wanted.table, place.filesystem, folder, wanted.partition(layout))

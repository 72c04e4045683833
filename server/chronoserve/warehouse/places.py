"""From a URL to a warehouse, and from a table's folder to its format.

/dir, file:///dir, s3://bucket/dir    tables in folders, as Hive lays them out
hive://host:9083                      a Hive metastore
iceberg://NAME?type=sql&uri=…         an Iceberg catalog; parameters are pyiceberg's
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition, InvalidRequest
from chronoserve.warehouse.delta import DeltaTable
from chronoserve.warehouse.iceberg import IcebergTable, IcebergWarehouse
from chronoserve.warehouse.metastore import HiveWarehouse
from chronoserve.warehouse.parquet import ParquetTable, Partitions
from chronoserve.warehouse.port import Table, Warehouse, split_name

DEFAULT_NAMESPACE = "default"
_HADOOP_S3 = re.compile(r"^s3[an]://")
"""What Hadoop, and so a metastore, calls S3."""


def open_warehouse(url: str) -> Warehouse:
    """The warehouse that a URL names; nothing is read before a table is asked for.

    Raises:
        InvalidRequest: the URL is of no kind that there is.
        FailedPrecondition: a package or the catalog is missing.
    """
    parts = urlsplit(url)
    if parts.scheme == "hive":
        if not parts.hostname:
            raise InvalidRequest("a Hive metastore is named as hive://host:9083")
        return HiveWarehouse(parts.hostname, parts.port or 9083, located, lambda url: filesystem_of(url)[1])
    if parts.scheme == "iceberg":
        if not parts.netloc:
            raise InvalidRequest("an Iceberg catalog is named as iceberg://NAME?type=sql&uri=…; NAME is its name on Spark's side")
        return IcebergWarehouse.open(parts.netloc, dict(parse_qsl(parts.query)))
    return FolderWarehouse(*filesystem_of(url), url)


def filesystem_of(url: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URL or path and the path on it. Hadoop writes local URLs with one slash. Raises InvalidRequest."""
    try:
        if "://" not in url:
            return fs.LocalFileSystem(), str(fs.LocalFileSystem().normalize_path(url.removeprefix("file:"))).rstrip("/")
        found, path = fs.FileSystem.from_uri(_HADOOP_S3.sub("s3://", url))
    except (ValueError, OSError, TypeError) as unknown:
        raise InvalidRequest(f"{urlsplit(url).scheme}:// is no place of tables that can be read here") from unknown
    return found, path.rstrip("/")


@dataclass(frozen=True, slots=True)
class FolderWarehouse:
    """``<root>/<namespace>.db/<table>``, as Spark and Hive lay tables out; the namespace ``default`` lies in the root itself."""

    filesystem: fs.FileSystem
    root: str
    url: str = ""
    """As it was named."""

    def table(self, name: str) -> Table:
        clean, _ = split_name(name)
        places = self._places(clean)
        for place in places:
            if self.filesystem.get_file_info(place).type == fs.FileType.Directory:
                return located(clean, self.filesystem, place, None)
        tried = " or ".join(place.removeprefix(self.root).strip("/") for place in places)
        raise FailedPrecondition(f"the warehouse has no table {clean} (looked for {tried}); has its job run?")

    def has(self, name: str) -> bool:
        """Whether there is a folder of the table's."""
        return bool(self.filesystem.get_file_info(self.place(name)).type == fs.FileType.Directory)

    def place(self, name: str) -> str:
        """The folder of a table: where it lies, or where a new one belongs. Raises InvalidRequest where the name is none."""
        places = self._places(split_name(name)[0])
        there = (place for place in places if self.filesystem.get_file_info(place).type == fs.FileType.Directory)
        return next(there, places[0])

    def _places(self, name: str) -> list[str]:
        namespace, _, table = name.rpartition(".")
        if not table or any(part in ("", ".", "..") or "/" in part or "\\" in part for part in (namespace or "x", table)):
            raise InvalidRequest(f"{name!r} is no name of a table: give it as namespace.table")
        inside = [f"{self.root}/{namespace}.db/{table}", f"{self.root}/{namespace}/{table}"]
        return [f"{self.root}/{table}", *inside] if namespace in ("", DEFAULT_NAMESPACE) else inside


def located(name: str, filesystem: fs.FileSystem | None, location: str, partitions: Partitions | None) -> Table:
    """The table at a place, in the format that its folder shows.

    ``filesystem`` None: ``location`` is a URL. ``partitions``: where a metastore knows them.
    """
    url = location
    if filesystem is None:
        filesystem, location = filesystem_of(url)
    if is_delta(filesystem, location):
        return DeltaTable.open(name, url)
    if _is_directory(filesystem, f"{location}/metadata") and not partitions:
        return IcebergTable.of_folder(name, url)
    return ParquetTable(name, filesystem, location, partitions)


def is_delta(filesystem: fs.FileSystem, folder: str) -> bool:
    """Whether a folder is a Delta table's."""
    return _is_directory(filesystem, f"{folder}/_delta_log")


def _is_directory(filesystem: fs.FileSystem, path: str) -> bool:
    return bool(filesystem.get_file_info(path).type == fs.FileType.Directory)

"""Tables of a Hive metastore, over its Thrift protocol. Where a partition lies is asked, never guessed."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition, Unavailable
from chronoserve.warehouse.iceberg import IcebergTable
from chronoserve.warehouse.parquet import Partitions, fulfils
from chronoserve.warehouse.port import Condition, Table, needs, split_name

TIMEOUT_MILLIS = 30_000
ALL_PARTITIONS = -1


class Locate(Protocol):
    """``places.located``: the table at a place."""

    def __call__(self, name: str, filesystem: fs.FileSystem | None, location: str, partitions: Partitions | None) -> Table: ...


class MetastorePartitions:
    """Of one table, as they were when they were first asked for: an answer is kept as long as the table is open.

    ``columns`` in their order, with Hive's types.
    """

    def __init__(self, warehouse: "HiveWarehouse", table: str, columns: Mapping[str, str]) -> None:
        self._warehouse = warehouse
        self._table = table
        self._types = columns
        self._names: list[dict[str, str]] | None = None
        self._places: dict[tuple[Condition, ...], list[tuple[str, Mapping[str, str]]]] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._types)

    def values(self) -> Sequence[Mapping[str, str]]:
        if self._names is None:
            with self._warehouse.client(self._table) as client:
                names = client.get_partition_names(*_name_of(self._table), ALL_PARTITIONS)
            self._names = [_values_of(name) for name in names]
        return self._names

    def places(self, conditions: Sequence[Condition]) -> Sequence[tuple[str, Mapping[str, str]]]:
        asked = tuple(each for each in conditions if each.column in self._types)
        if asked not in self._places:
            self._places[asked] = self._asked(asked)
        return self._places[asked]

    def _asked(self, conditions: Sequence[Condition]) -> list[tuple[str, Mapping[str, str]]]:
        with self._warehouse.client(self._table) as client:
            found = client.get_partitions_by_filter(*_name_of(self._table), self._filter(conditions), ALL_PARTITIONS)
        each_of = ((self._warehouse.path(each.sd.location), dict(zip(self._types, each.values, strict=True))) for each in found)
        return [(place, values) for place, values in each_of if fulfils(values, conditions)]

    def _filter(self, conditions: Sequence[Condition]) -> str:
        """For the metastore; it compares texts as we do, and columns of other types, or values with quotes, not at all here."""
        texts = [each for each in conditions if self._types[each.column] == "string" and '"' not in each.value]
        return " and ".join(f'{each.column} {"=" if each.operator == "==" else each.operator} "{each.value}"' for each in texts)


def _name_of(table: str) -> tuple[str, str]:
    namespace, _, name = table.rpartition(".")
    return namespace or "default", name


def _values_of(name: str) -> dict[str, str]:
    """``ds=2023-11-30/name=team%2Fjoin.v1`` as a mapping."""
    pairs = (part.partition("=") for part in name.split("/"))
    return {column: unquote(value) for column, _, value in pairs}


@dataclass(frozen=True, slots=True)
class HiveWarehouse:
    """One metastore. Each question opens a connection of its own, because loads take hours and metastores drop idle ones."""

    host: str
    port: int
    located: Locate
    path: Callable[[str], str]
    """Of a URL, on its file system."""

    def table(self, name: str) -> Table:
        clean, _ = split_name(name)
        namespace, _, table = clean.rpartition(".")
        with self.client(clean) as client:
            found = client.get_table(namespace or "default", table)
            if (found.parameters or {}).get("table_type", "").upper() == "ICEBERG":
                return IcebergTable.of_folder(clean, found.parameters["metadata_location"])
        keys = {key.name: key.type for key in found.partitionKeys or ()}
        return self.located(clean, None, found.sd.location, MetastorePartitions(self, clean, keys) if keys else None)

    def described(self, name: str) -> Any:
        """As ``found``, over a connection of its own."""
        with self.client(name) as client:
            return self.found(client, name)

    def found(self, client: Any, name: str) -> Any:
        """The metastore's description of a table; None where it has none."""
        from hive_metastore.ttypes import NoSuchObjectException  # noqa: PLC0415 - large, and only metastores need it

        namespace, _, table = split_name(name)[0].rpartition(".")
        try:
            return client.get_table(namespace or "default", table)
        except NoSuchObjectException:
            return None

    def database(self, client: Any, namespace: str) -> Any:
        """Raises FailedPrecondition where the metastore has no such database."""
        from hive_metastore.ttypes import NoSuchObjectException  # noqa: PLC0415 - as above

        try:
            return client.get_database(namespace)
        except NoSuchObjectException as missing:
            raise FailedPrecondition(f"the metastore has no database {namespace}: CREATE DATABASE {namespace}, then again") from missing

    @contextmanager
    def client(self, table: str) -> Iterator[Any]:
        """A connected client.

        Raises:
            FailedPrecondition: the metastore knows no such table.
            Unavailable: it cannot be reached.
        """
        try:
            from hive_metastore.ThriftHiveMetastore import Client  # noqa: PLC0415 - large, and only metastores need it
            from hive_metastore.ttypes import MetaException, NoSuchObjectException  # noqa: PLC0415
            from thrift.protocol.TBinaryProtocol import TBinaryProtocol  # noqa: PLC0415
            from thrift.Thrift import TException  # noqa: PLC0415
            from thrift.transport.TSocket import TSocket  # noqa: PLC0415
            from thrift.transport.TTransport import TBufferedTransport, TTransportException  # noqa: PLC0415
        except ModuleNotFoundError as missing:
            raise needs("pyiceberg[hive]") from missing
        logging.getLogger("thrift").setLevel(logging.CRITICAL)  # it tells of what it raises as well, with a trace
        socket = TSocket(self.host, self.port)
        socket.setTimeout(TIMEOUT_MILLIS)
        transport = TBufferedTransport(socket)
        try:
            transport.open()
            yield Client(TBinaryProtocol(transport))
        except NoSuchObjectException as missing:
            raise FailedPrecondition(f"the metastore has no table {table}; has its job run?") from missing
        except (MetaException, TTransportException, OSError) as down:
            raise Unavailable(f"the Hive metastore at {self.host}:{self.port} does not answer ({type(down).__name__})") from down
        except TException as failed:
            raise Unavailable(f"the Hive metastore cannot answer for {table} ({type(failed).__name__})") from failed
        finally:
            transport.close()

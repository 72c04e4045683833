"""Tables of a Hive metastore, over its Thrift protocol. Where a partition lies is asked, never guessed."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pyarrow import fs

from chronoserve.model.errors import FailedPrecondition, Unavailable
from chronoserve.warehouse.iceberg import IcebergTable
from chronoserve.warehouse.port import Table, needs, split_name

TIMEOUT_MILLIS = 30_000
ALL_PARTITIONS = -1

Partitions = tuple[tuple[str, ...], Sequence[tuple[str, Mapping[str, str]]]]


class Locate(Protocol):
    """``places.located``: the table at a place."""

    def __call__(self, name: str, filesystem: fs.FileSystem | None, location: str, partitions: Partitions | None) -> Table: ...


@dataclass(frozen=True, slots=True)
class HiveWarehouse:
    """One metastore. Each question opens a connection of its own, because loads take hours and metastores drop idle ones."""

    host: str
    port: int
    located: Locate

    def table(self, name: str) -> Table:
        clean, _ = split_name(name)
        namespace, _, table = clean.rpartition(".")
        with self.client(clean) as client:
            found = client.get_table(namespace or "default", table)
            if (found.parameters or {}).get("table_type", "").upper() == "ICEBERG":
                return IcebergTable.of_folder(clean, found.parameters["metadata_location"])
            keys = tuple(key.name for key in found.partitionKeys or ())
            if not keys:
                return self.located(clean, None, found.sd.location, None)
            partitions = client.get_partitions(namespace or "default", table, ALL_PARTITIONS)
        places = [(each.sd.location, dict(zip(keys, each.values, strict=True))) for each in partitions]
        return self.located(clean, None, found.sd.location, (keys, places))

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

"""A running Hive metastore with a database ``ns``, and what tests tell it over Thrift."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hive_metastore import ttypes
from hive_metastore.ThriftHiveMetastore import Client
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport

from tests.engines.hive import HiveMetastore


@contextmanager
def client(metastore: HiveMetastore) -> Iterator[Any]:
    transport = TBufferedTransport(TSocket("127.0.0.1", metastore.port))
    transport.open()
    yield Client(TBinaryProtocol(transport))
    transport.close()


def make_database(metastore: HiveMetastore, name: str) -> None:
    with client(metastore) as made:
        made.create_database(ttypes.Database(name=name, locationUri=f"file://{metastore.directory}/warehouse/{name}.db"))


def described(metastore: HiveMetastore, namespace: str, table: str) -> Any:
    with client(metastore) as made:
        return made.get_table(namespace, table)


def storage(location: Path, columns: dict[str, str]) -> Any:
    return ttypes.StorageDescriptor(
        cols=[ttypes.FieldSchema(name=name, type=kind) for name, kind in columns.items()],
        location=f"file://{location}",
        inputFormat="org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        outputFormat="org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        serdeInfo=ttypes.SerDeInfo(serializationLib="org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe", parameters={}),
        parameters={},
    )

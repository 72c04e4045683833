"""BulkPut of warehouse tables over gRPC: the server's own warehouse, by the settings of its configuration or its environment."""

import json
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoserve.v1 import kv_pb2
from tests.server.conftest import StartServer
from tests.server.running import RunningServer, kv_stub
from tests.unit.app.faults import IN_FOLDERS

SECONDS = 20.0
ROWS = 9_000
TABLE, DATASET = "ns.team_gb_v1_upload", "TEAM_GB_V1_BATCH"
DAY, BATCH_END = "20231130", 1_701_388_800_000
INFO_KEY = b"group_by_serving_info"


def info(end: str = "20231201") -> bytes:
    return json.dumps({"groupBy": {"metaData": {"name": "team.gb.v1"}}, "batchEndDate": end}).encode()


def upload(warehouse: Path, day: str = DAY, rows: int = ROWS) -> None:
    """An upload table whose partitions are a column ``day`` in the form yyyyMMdd."""
    keys = [INFO_KEY, *(b"k%d" % n for n in range(rows))]
    found = [info(), *(b"v%d" % n for n in range(rows))]
    folder = warehouse / "ns.db" / "team_gb_v1_upload"
    folder.mkdir(parents=True)
    columns = {"key_bytes": pa.array(keys, pa.binary()), "value_bytes": pa.array(found, pa.binary()), "day": [day] * len(keys)}
    pq.write_table(pa.table(columns), folder / "part-0.parquet")


def bulk_put(kv: Any, table: str = TABLE, partition: str = DAY) -> list[Any]:
    request = kv_pb2.BulkPutRequest(source_offline_table=table, destination_online_dataset=DATASET, partition=partition)
    return list(kv.BulkPut(request, timeout=SECONDS))


def newest(kv: Any, key: bytes) -> tuple[bytes, int] | None:
    reply = kv.Get(kv_pb2.GetRequest(dataset=DATASET, key_bytes=key), timeout=SECONDS)
    return (reply.values[-1].bytes, reply.values[-1].millis) if reply.values else None


@pytest.fixture(params=["file", "environment"])
def server(request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path) -> RunningServer:
    """A server with a warehouse whose partitions are days of another form in another column."""
    upload(tmp_path / "lake")
    if request.param == "file":
        url = f"[warehouse]\nurl = \"{tmp_path}/lake\"\npartition_column = 'day'\npartition_format = 'yyyyMMdd'\n"
        return start_server(config=f"[stores.m]\nurl = 'memory://'\n{url}")
    names = {"CHRONOSERVE_WAREHOUSE": f"{tmp_path}/lake", "PARTITION_COLUMN": "day", "PARTITION_FORMAT": "yyyyMMdd"}
    return start_server("--store", "memory://", environment=names)


def test_a_table_is_loaded_by_its_name_and_an_upload_that_is_not_whole_is_not(server: RunningServer, tmp_path: Path) -> None:
    with grpc.insecure_channel(server.address) as channel:
        kv = kv_stub(channel)
        kv.Create(kv_pb2.CreateRequest(dataset=DATASET), timeout=SECONDS)
        for table, partition, said in (
            (TABLE, "20231129", "has no rows"),
            (TABLE, "2023-11-30", "no day in the form yyyyMMdd"),
            (TABLE, "", "one partition at a time"),
            ("ns.absent_upload", DAY, "no table ns.absent_upload"),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                bulk_put(kv, table, partition)
            assert said in str(refused.value.details())
            assert str(tmp_path) not in str(refused.value.details())
        assert newest(kv, b"k0") is None
        progress = bulk_put(kv)
        assert progress[-1].done
        assert progress[-1].rows == ROWS + 1
        assert newest(kv, b"k%d" % (ROWS - 1)) == (b"v%d" % (ROWS - 1), BATCH_END)
        assert newest(kv, INFO_KEY) == (info(), BATCH_END)


def test_every_fault_of_a_table_is_named_with_its_day_and_remedy_and_nothing_is_online(start_server: StartServer, tmp_path: Path) -> None:
    """Each fault in a namespace of its own: the same tables that ``load`` is tested with."""
    lake = tmp_path / "lake"
    lake.mkdir()
    for make in IN_FOLDERS:
        make(tmp_path / make.__name__)
        (lake / f"{make.__name__}.db").symlink_to(tmp_path / make.__name__ / "ns.db")
    server = start_server("--store", "memory://", "--warehouse", str(lake))
    with grpc.insecure_channel(server.address) as channel:
        kv = kv_stub(channel)
        kv.Create(kv_pb2.CreateRequest(dataset=DATASET), timeout=SECONDS)
        for make, said in IN_FOLDERS.items():
            table = f"{make.__name__}.team_gb_v1_upload"
            with pytest.raises(grpc.RpcError) as refused:
                bulk_put(kv, table, "2023-11-30")
            assert refused.value.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.DATA_LOSS), make
            details = str(refused.value.details())
            assert f"{table}/2023-11-30" in details
            assert said in details
            assert str(tmp_path) not in details
            assert [newest(kv, key) for key in (b"k0", b"k7", INFO_KEY)] == [None] * 3


def test_a_server_without_a_warehouse_says_so(start_server: StartServer) -> None:
    with grpc.insecure_channel(start_server("--store", "memory://").address) as channel:
        kv = kv_stub(channel)
        kv.Create(kv_pb2.CreateRequest(dataset=DATASET), timeout=SECONDS)
        with pytest.raises(grpc.RpcError) as refused:
            bulk_put(kv, partition="2023-11-30")
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "warehouse" in str(refused.value.details())


def test_no_secret_of_the_warehouse_is_logged(start_server: StartServer) -> None:
    words = ("--store", "memory://", "--warehouse", "iceberg://lake?type=sql&uri=postgresql://u:s3cret@h/db")
    server = start_server(*words)
    assert "s3cret" not in server.log
    assert "iceberg://lake" in server.log
    assert "s3cret" not in server.get("/config")[1]

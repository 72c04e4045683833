"""Uploads of Spark's, as tables, loaded through each store by BulkPut, and fetched over gRPC: every answer is the JVM's.

The recording is ``g_quickstart``; its upload rows become Parquet tables of a warehouse, and everything else goes the way that it
goes in ``make golden``.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoserve.app.connection import Server
from chronoserve.app.replay.faces import Answers, RecordedPut, Response
from chronoserve.app.replay.file import replay
from chronoserve.app.replay.grpc_face import GrpcAnswers
from chronoserve.app.replay.outcome import Verdict
from chronoserve.app.replay.server import RunningServer as Target
from chronoserve.app.terminal import Screen
from chronoserve.app.upload import UploadJob
from chronoserve.app.upload_meter import UploadMeter
from chronoserve.model.features import FeatureRequest
from chronoserve.model.partitions import DAY_MILLIS, EPOCH_ORDINAL, PartitionSpec
from chronoserve_client import AsyncClient
from tests.conformance.conftest import running_engine
from tests.conformance.stores import Store
from tests.engines.engine import Engine
from tests.recordings import GOLDEN
from tests.server.running import RunningServer
from tests.unit.upload import shop

RECORDING = "g_quickstart.jsonl.gz"
REQUESTS, UPLOADS = 295, 13
DAYS = PartitionSpec()


def day_before(batch_end: int) -> str:
    return DAYS.of(date.fromordinal(EPOCH_ORDINAL + batch_end // DAY_MILLIS - 1))


class LoadedFace:
    """One running server. Rows of batch datasets wait for the next request, and are then loaded as one table a day."""

    def __init__(self, server: RunningServer, warehouse: Path, stack: AsyncExitStack, answers: GrpcAnswers) -> None:
        self._warehouse = warehouse
        self._stack = stack
        self._answers = answers
        self._target = Target(Server(target=server.address))
        self._client: AsyncClient = Server(target=server.address).client()
        self._tables: dict[tuple[str, int], list[RecordedPut]] = {}
        self.loads = 0

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        for put in puts:
            if put.dataset.endswith("_BATCH"):
                self._tables.setdefault((put.dataset, put.millis), []).append(put)
        others = [put for put in puts if not put.dataset.endswith("_BATCH")]
        if others:
            await self._target.put(others)

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        if self._tables:
            for (dataset, batch_end), rows in self._tables.items():
                await self._load(dataset, day_before(batch_end), rows)
            self._tables.clear()
            self._answers.forget_schemas()
        return await self._answers.fetch(api, requests, guide)

    async def _load(self, dataset: str, day: str, rows: Sequence[RecordedPut]) -> None:
        """The table as Spark leaves it: not partitioned, with the whole of the last upload, and nothing of the one before."""
        name = f"{dataset.removesuffix('_BATCH').lower()}_upload"
        folder = self._warehouse / name
        folder.mkdir(exist_ok=True)
        columns = {
            "key_bytes": pa.array([row.key for row in rows], pa.binary()),
            "value_bytes": pa.array([row.value for row in rows], pa.binary()),
            "ds": [day] * len(rows),
        }
        pq.write_table(pa.table(columns), folder / "part-0.parquet")
        await self._client.create(dataset)
        progress = [each async for each in self._client.bulk_put(f"default.{name}", dataset, partition=day)]
        assert progress[-1].result is not None
        assert progress[-1].result.rows_written == len(rows)
        self.loads += 1

    async def close(self) -> None:
        await self._client.aclose()
        await self._target.stop()
        await self._stack.aclose()


@pytest.fixture
def store_url(store_line: Store, engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> str:
    engine = running_engine(store_line.engine, engines, tmp_path_factory) if store_line.engine else None
    return (engine.url if engine else store_line.url.format(directory=tmp_path)) + store_line.options


async def test_a_loaded_row_is_fetched_as_the_jvm_fetched_it(store_url: str, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    warehouse.mkdir()
    words = ("--store", store_url, "--warehouse", str(warehouse), "--listen", "127.0.0.1:0", "--http", "off")
    server = RunningServer(*words)
    faces: list[LoadedFace] = []

    async def open_face() -> LoadedFace:
        stack = AsyncExitStack()
        answers = await stack.enter_async_context(GrpcAnswers.to(Server(target=server.address)))
        faces.append(LoadedFace(server, warehouse, stack, answers))
        return faces[-1]

    try:
        verdicts: Counter[Verdict] = Counter()
        async for outcome in replay(GOLDEN / RECORDING, open_face, Counter(), worlds_only=True):
            assert outcome.verdict is Verdict.EQUAL, (outcome.id, [str(each) for each in outcome.differences][:5])
            verdicts[outcome.verdict] += 1
    finally:
        server.kill()
    assert verdicts == Counter({Verdict.EQUAL: REQUESTS})
    assert sum(face.loads for face in faces) == UPLOADS


KEYS = pa.schema([("user", pa.string()), ("shop", pa.int64())])
FEATURES = pa.schema([
    ("truth", pa.bool_()), ("whole", pa.int32()), ("long", pa.int64()), ("single", pa.float32()), ("real", pa.float64()),
    ("text", pa.string()), ("raw", pa.binary()), ("longs", pa.list_(pa.int64())), ("texts", pa.list_(pa.string())),
    ("nested", pa.list_(pa.list_(pa.float64()))), ("by_name", pa.map_(pa.string(), pa.int64())),
    ("place", pa.struct([("city", pa.string()), ("at", pa.struct([("lat", pa.float64()), ("floor", pa.int32())]))])),
    ("places", pa.list_(pa.struct([("city", pa.string()), ("visits", pa.int64())]))),
])  # fmt: skip
"""Every type that a table's column may have and Chronon stores, and what they nest."""
ROWS: list[dict[str, Any]] = [
    {
        "user": "ann", "shop": 2**53 + 1, "truth": True, "whole": 2**31 - 1, "long": -(2**63), "single": 0.375, "real": 0.1,
        "text": "Zürich \u0000 🛒", "raw": bytes(range(256)), "longs": [1, 2**63 - 1], "texts": ["", "a"], "nested": [[0.5], []],
        "by_name": [("b", 2), ("a", -1)], "place": {"city": "Ghent", "at": {"lat": -0.0, "floor": None}},
        "places": [{"city": None, "visits": 1}, {"city": "Rome", "visits": 2**40}],
    },
    {
        "user": "bob", "shop": -1, "truth": False, "whole": -(2**31), "long": 2**63 - 1, "single": float("inf"), "real": 5e-324,
        "text": "", "raw": b"", "longs": [], "texts": [], "nested": [], "by_name": [], "place": {"city": "", "at": None}, "places": [],
    },
    {"user": "cid", "shop": 0},
    {"user": "dan", "shop": 0, "real": float("nan"), "longs": [0]},
]  # fmt: skip


async def test_values_of_every_type_are_fetched_as_they_were_in_the_table(store_url: str, tmp_path: Path) -> None:
    """From a table by our own upload and BulkPut: nulls, extremes, empty lists and texts, what nests; an absent key has none."""
    lake = tmp_path / "lake"
    names = [*KEYS.names, *FEATURES.names]
    found = [{name: row.get(name) for name in names} for row in ROWS]
    shop.write(lake, "shop.users", {shop.DS: found}, pa.schema([*KEYS, *FEATURES]))
    conf = tmp_path / "production" / "group_bys" / "team" / "types.v1"
    conf.parent.mkdir(parents=True)
    meta = {"name": "team.types.v1", "online": 1, "outputNamespace": "out", "team": "team"}
    conf.write_text(shop.conf(shop.entities(), keys=KEYS.names, aggregations=None, metaData=meta))
    job = UploadJob.of(
        conf=conf, ds=shop.DS, warehouse=str(lake), output=None, engine="duckdb", table_format=None, memory_mb=64, partition_column="ds",
        partition_format="yyyy-MM-dd",
    )  # fmt: skip
    assert job.run(UploadMeter(Screen(json_lines=True), job.table)).rows == len(ROWS) + 1
    server = RunningServer("--store", store_url, "--warehouse", str(lake), "--listen", "127.0.0.1:0", "--http", "off")
    try:
        async with Server(target=server.address).client() as client:
            await client.create("TEAM_TYPES_V1_BATCH")
            progress = [each async for each in client.bulk_put(job.table, "TEAM_TYPES_V1_BATCH", partition=shop.DS)]
            assert progress[-1].result is not None
            assert progress[-1].result.rows_written == len(ROWS) + 1
            requests = [("team/types.v1", {name: row[name] for name in KEYS.names}) for row in [*ROWS, {"user": "eve", "shop": 1}]]
            rows = await client.fetch_group_bys(requests)
    finally:
        server.kill()
    *present, absent = rows
    for row, answer in zip(found, present, strict=True):
        pairs = row["by_name"]
        expected = {name: row[name] for name in FEATURES.names} | {"by_name": None if pairs is None else dict(pairs)}
        assert repr(plain(dict(answer.features))) == repr(plain(expected)), row["user"]
    assert absent.status.name == "MISSING"


def plain(value: Any) -> Any:
    """Whose names are in one order."""
    if isinstance(value, dict):
        return {name: plain(value[name]) for name in sorted(value)}
    return [plain(each) for each in value] if isinstance(value, list) else value

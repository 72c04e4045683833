"""Uploads of Spark's, as tables, loaded through each store by BulkPut, and fetched over gRPC: every answer is the JVM's.

The recording is ``g_quickstart``; its upload rows become Parquet tables of a warehouse, and everything else goes the way that it
goes in ``make golden``.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoserve.app.connection import Server
from chronoserve.app.replay.faces import Answers, RecordedPut, Response
from chronoserve.app.replay.file import replay
from chronoserve.app.replay.grpc_face import GrpcAnswers
from chronoserve.app.replay.outcome import Verdict
from chronoserve.app.replay.server import RunningServer as Target
from chronoserve.model.features import FeatureRequest
from chronoserve.model.partitions import DAY_MILLIS, EPOCH_ORDINAL, PartitionSpec
from chronoserve_client import AsyncClient
from tests.conformance.conftest import running_engine
from tests.conformance.stores import Store
from tests.engines.engine import Engine
from tests.recordings import GOLDEN
from tests.server.running import RunningServer

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

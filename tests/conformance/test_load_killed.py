"""Loads that die at fifty random places: readers see the old upload or the new one, and in the end all is as if nothing had happened."""

import asyncio
import gzip
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoserve.app.compose import Composed, clock, compose
from chronoserve.app.settings import load as settings_of
from chronoserve.model import values
from chronoserve.model.errors import UnknownDataset
from chronoserve.model.features import FeatureRequest
from chronoserve.model.naming import SERVING_INFO_KEY, batch_dataset
from chronoserve.model.partitions import PartitionSpec
from chronoserve.service.bulk import BulkLoader, Load
from chronoserve.warehouse.places import open_warehouse
from tests.conformance.conftest import running_engine
from tests.engines.engine import Engine
from tests.recordings import GOLDEN

GROUP_BY, TABLE = "quickstart.purchases.v1", "default.quickstart_purchases_v1_upload"
DATASET = batch_dataset(GROUP_BY)
DAYS, FIRST_DAY = PartitionSpec(), "2023-11-28"
KILLS = 50
SECONDS = 30.0
LOOKS = 20

Rows = dict[bytes, bytes]
Answers = list[Any]


@dataclass(frozen=True)
class Get:
    key_bytes: bytes
    dataset: str = DATASET
    after_ts_millis: int = 0


def uploads() -> list[Rows]:
    """The two uploads of the recording, by key."""
    found: dict[str, Rows] = {}
    with gzip.open(GOLDEN / "g_quickstart.jsonl.gz", "rt") as lines:
        for record in map(json.loads, lines):
            if record["kind"] == "upload_row" and record["group_by"] == GROUP_BY:
                found.setdefault(record["ds"], {})[bytes.fromhex(record["key_bytes"])] = bytes.fromhex(record["value_bytes"])
    return list(found.values())


class Tables:
    """A warehouse whose one table is, for each day, one of the two uploads in turn, with that day's own end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._uploads = uploads()
        self.users = sorted(set(self._uploads[0]) & set(self._uploads[1]) - {SERVING_INFO_KEY})
        (folder / TABLE.removeprefix("default.")).mkdir(parents=True)

    def rows(self, number: int) -> Rows:
        rows = self._uploads[number % 2]
        info = json.loads(rows[SERVING_INFO_KEY])
        return {**rows, SERVING_INFO_KEY: json.dumps({**info, "batchEndDate": self.day(number + 1)}).encode()}

    def day(self, number: int) -> str:
        return DAYS.shift(FIRST_DAY, number)

    def write(self, number: int) -> None:
        rows = self.rows(number)
        columns = {"key_bytes": list(rows), "value_bytes": list(rows.values()), "ds": [self.day(number)] * len(rows)}
        pq.write_table(pa.table(columns), self.folder / TABLE.removeprefix("default.") / "part-0.parquet")


class Reader:
    """Reads and fetches without a pause while loads live and die, and knows what each answer may be."""

    def __init__(self, composed: Composed, tables: Tables, answers: list[Answers]) -> None:
        self._composed = composed
        self._tables = tables
        self._answers = answers
        self.loading = 0
        self.rounds = 0
        self.mixed_keys = 0

    async def read(self) -> None:
        """One look: what is online belongs to the upload under way or to the one before, and after the new info to the new one.

        The fetcher may know the old info for a millisecond longer, and what was true then; each answer is one upload's all the same.
        """
        number = self.loading
        old, new = (self._tables.rows(number - 1) if number else {}), self._tables.rows(number)
        info = (await stored(self._composed, [SERVING_INFO_KEY]))[0]
        assert info in (old.get(SERVING_INFO_KEY), new[SERVING_INFO_KEY])
        whole = info == new[SERVING_INFO_KEY]
        found = await stored(self._composed, self._tables.users)
        news = [value == new[key] for key, value in zip(self._tables.users, found, strict=True)]
        assert all(news) or not whole, "the serving info came before a row"
        assert all(value in (old.get(key), new[key]) for key, value in zip(self._tables.users, found, strict=True))
        if info is not None:
            before, after = self._answers[(number - 1) % 2], self._answers[number % 2]
            answers = await fetched(self._composed, self._tables.users)
            assert all(answer in pair for answer, pair in zip(answers, zip(before, after, strict=True), strict=True))
        self.rounds += 1
        self.mixed_keys += any(news) and not whole


async def stored(composed: Composed, keys: list[bytes]) -> list[bytes | None]:
    deadline = asyncio.get_running_loop().time() + SECONDS
    found = []
    for result in await composed.gateway.multi_get([Get(key) for key in keys], deadline=deadline):
        if isinstance(result, UnknownDataset):
            return [None] * len(keys)
        assert isinstance(result, bytes)
        newest = values.latest(result)
        found.append(None if newest is None else newest.bytes)
    return found


async def fetched(composed: Composed, users: list[bytes]) -> Answers:
    """``users``: the key of a user is its id as an Avro string in a union."""
    requests = [FeatureRequest(GROUP_BY, {"user_id": key[2:].decode()}, None) for key in users]
    deadline = asyncio.get_running_loop().time() + SECONDS
    return [row.features for row in await composed.features.fetcher.fetch_group_bys(requests, deadline=deadline)]


async def opened(url: str) -> Composed:
    return await compose(settings_of(None, {"stores": {"default": {"url": url}}, "fetcher": {"serving_info_fresh_millis": 1}}))


async def undisturbed(composed: Composed, tables: Tables, number: int) -> None:
    tables.write(number)
    deadline = asyncio.get_running_loop().time() + SECONDS
    await composed.gateway.create(DATASET, None, 0, deadline=deadline)
    loader = BulkLoader(composed.gateway, roots=None, clock=clock, warehouse=lambda: open_warehouse(str(tables.folder)))
    assert [progress async for progress in loader.run(Load(TABLE, DATASET, tables.day(number)))][-1].rows_refused == 0


async def content(composed: Composed) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    token = b""
    while True:
        page = await composed.gateway.scan(DATASET, token, deadline=asyncio.get_running_loop().time() + SECONDS)
        found.update(page.entries)
        token = page.next_token
        if not token:
            return found


class MortalLoader:
    """``chronoserve load`` into one store, in processes that die after so many seconds."""

    def __init__(self, tables: Tables, url: str, checkpoints: Path) -> None:
        self._tables = tables
        self._where = ["--warehouse", str(tables.folder), "--store", url, "--checkpoints", str(checkpoints), "--verify", "0"]
        command = [sys.executable, "-m", "tests.conformance.mortal_loader"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def load(self, number: int, seconds: float, *, of_writes: bool) -> tuple[int, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [TABLE, "--partition", self._tables.day(number), *self._where]
        self._process.stdin.write(json.dumps({"words": words, "seconds": seconds, "of_writes": of_writes}) + "\n")
        self._process.stdin.flush()
        code, lived = json.loads(self._process.stdout.readline())
        return code, lived

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(params=["lmdb", "redis"])
def url(request: pytest.FixtureRequest, engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> str:
    """A store of its own: other tests load the same group bys, for other days, into the engine's usual database."""
    if request.param == "lmdb":
        return f"lmdb://{tmp_path}/store"
    return f"{running_engine('redis', engines, tmp_path_factory).url.rpartition('/')[0]}/7"


@pytest.fixture
def loader(url: str, tmp_path: Path) -> Iterator[MortalLoader]:
    made = MortalLoader(Tables(tmp_path / "warehouse"), url, tmp_path / "checkpoints")
    yield made
    made.close()


@pytest.fixture
async def online(url: str) -> AsyncIterator[Composed]:
    composed = await opened(url)
    yield composed
    await composed.close()


async def reading(reader: Reader, ended: asyncio.Event) -> None:
    while not ended.is_set():
        await reader.read()
        await asyncio.sleep(0)


async def in_the_end(composed: Composed, users: list[bytes]) -> Answers:
    """What is fetched when the fetcher has looked at the serving info again, which it does a millisecond later at the latest."""
    for _ in range(LOOKS):
        found = await fetched(composed, users)
    return found


async def test_readers_see_the_old_upload_or_the_new_one_wherever_the_load_dies(loader: MortalLoader, online: Composed) -> None:
    tables, chooser = loader._tables, random.Random(50)
    alone = await opened("memory://")
    answers: list[Answers] = []
    for number in range(2):
        await undisturbed(alone, tables, number)
        answers.append(await fetched(alone, tables.users))
    assert answers[0] != answers[1]
    reader = Reader(online, tables, answers)
    kills, whole_seconds = 0, SECONDS
    for number in count():
        tables.write(number)
        reader.loading = number
        ended = asyncio.Event()
        task = asyncio.create_task(reading(reader, ended))
        code = 1
        while code:
            seconds = chooser.uniform(0.0005, whole_seconds) if number and kills < KILLS else SECONDS
            code, lived = await asyncio.to_thread(loader.load, number, seconds, of_writes=bool(kills % 2))
            assert code <= 0, "a load that lives ends well"
            kills += code < 0
        whole_seconds = lived
        ended.set()
        await task
        assert await in_the_end(online, tables.users) == answers[number % 2]
        if number and kills >= KILLS:
            break
    assert await stored(online, [SERVING_INFO_KEY]) == [tables.rows(number)[SERVING_INFO_KEY]]
    for each in range(2, number + 1):
        await undisturbed(alone, tables, each)
    assert await content(online) == await content(alone)
    assert reader.rounds > kills
    await alone.close()

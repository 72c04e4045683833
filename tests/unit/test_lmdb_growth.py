"""The map grows while it is used; where it or the disk cannot, writes are refused and reads go on (R29)."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chronoserve.kvstore.backends.lmdb.rows import Verdict
from chronoserve.kvstore.backends.lmdb.store import LMDBStore
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import FailedPrecondition, Throttled
from tests.unit.lmdb_child import a_put, deadline, opened, put, start, value_of

MIB = 1 << 20
BIG = b"x" * 30_000


def map_bytes(store: LMDBStore) -> int:
    return int(store._writer.environment._env.info()["map_size"])


async def a_dataset(store: LMDBStore, name: str = "D") -> Dataset:
    return await store.create(name, Properties(Kind.LATEST), deadline=deadline())


async def fill(store: LMDBStore, dataset: Dataset, *, rows_max: int = 2000) -> int:
    """Rows that were written until one was refused for want of space."""
    for n in range(rows_max):
        (result,) = await put(store, [a_put(dataset, b"%d" % n, BIG)])
        if result is not None:
            assert isinstance(result, Throttled), result
            return n
    raise AssertionError("the store does not fill up")


async def assert_served(store: LMDBStore, dataset: Dataset, rows: int) -> None:
    results = await store.multi_get([(dataset, b"%d" % n, 0) for n in range(rows)], deadline=deadline())
    assert results == [values.encode(BIG, 1)] * rows


async def test_the_map_doubles_as_often_as_it_takes(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store?map_size_mib=1"
    async with opened(url) as store:
        dataset = await a_dataset(store)
        assert await put(store, [a_put(dataset, b"huge", b"x" * 15 * MIB)]) == [None], "one value of many times the map"
        assert map_bytes(store) == 16 * MIB
    async with opened(url) as store:
        theirs = (await store.load_datasets(deadline=deadline()))["D"]
        (found,) = await store.multi_get([(theirs, b"huge", 0)], deadline=deadline())
        assert found == values.encode(b"x" * 15 * MIB, 1)
        assert await put(store, [a_put(theirs, b"more", b"v")]) == [None]


async def test_reads_go_on_while_the_map_grows(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}/store?map_size_mib=1") as store:
        dataset = await a_dataset(store)
        assert await put(store, [a_put(dataset, b"k", b"v")]) == [None]

        async def write(worker: int) -> None:
            for n in range(40):
                assert await put(store, [a_put(dataset, b"%d-%d" % (worker, n), BIG)]) == [None]

        writing = asyncio.gather(*(write(worker) for worker in range(4)))
        while not writing.done():
            assert await store.multi_get([(dataset, b"k", 0)] * 20, deadline=deadline()) == [values.encode(b"v", 1)] * 20
            await asyncio.sleep(0)
        await writing
        assert map_bytes(store) >= 5 * MIB


async def test_two_processes_grow_one_map(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store?map_size_mib=1"
    rows = 600
    async with opened(url) as store:
        mine = await a_dataset(store, "MINE")
        with start("rows", url, "THEIRS", rows) as other:
            for first in range(0, rows, 10):
                puts = [a_put(mine, b"%d" % n, value_of(n)) for n in range(first, first + 10)]
                assert await put(store, puts) == [None] * 10
                assert await store.multi_get([(mine, b"0", 0)], deadline=deadline()) == [values.encode(value_of(0), 1)]
            said, _ = await asyncio.to_thread(other.communicate)
        assert said.startswith("done")
        assert int(said.split()[1]) > MIB
        theirs = (await store.load_datasets(deadline=deadline()))["THEIRS"]
        for dataset in (mine, theirs):
            results = await store.multi_get([(dataset, b"%d" % n, 0) for n in range(rows)], deadline=deadline())
            assert results == [values.encode(value_of(n), 1) for n in range(rows)]
        assert await store.verify(deadline=deadline()) == Verdict(rows=2 * rows)


async def test_a_reader_adopts_the_map_that_another_process_has_grown(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store?map_size_mib=1"
    async with opened(url) as store:
        dataset = await a_dataset(store)
        before = map_bytes(store)
        with start("rows", url, "D", 600) as other:
            await asyncio.to_thread(other.communicate)
        results = await store.multi_get([(dataset, b"%d" % n, 0) for n in range(600)], deadline=deadline())
        assert results == [values.encode(value_of(n), 1) for n in range(600)]
        assert map_bytes(store) > before


async def test_at_its_largest_map_the_store_refuses_writes_and_serves_reads(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store?map_size_mib=1&map_size_max_gib="
    async with opened(url + "0.005") as store:
        dataset = await a_dataset(store)
        rows = await fill(store, dataset)
        await assert_served(store, dataset, rows)
        assert map_bytes(store) == 5 * MIB
        assert await store.verify(deadline=deadline()) == Verdict(rows=rows)
    async with opened(url + "0.02") as store:
        dataset = (await store.load_datasets(deadline=deadline()))["D"]
        assert await put(store, [a_put(dataset, b"again", BIG)]) == [None]
        await assert_served(store, dataset, rows)


@pytest.mark.parametrize("limit", ["file", "address"])
async def test_a_limit_of_the_process_refuses_writes_until_it_is_raised(limit: str, tmp_path: Path) -> None:
    with start("fill", f"lmdb://{tmp_path}/store?map_size_mib=1", limit, {"file": 4, "address": 40}[limit]) as other:
        said, _ = await asyncio.to_thread(other.communicate)
    refused, read, again, verdict = said.splitlines()
    assert refused.split()[:2] == ["refused", "Throttled"]
    assert read == "read True 50"
    assert again == "again None"
    assert verdict == "verdict 0 0 0"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB, where the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def take_the_rest(disk: Path) -> None:
    """Leave no page free."""
    with (disk / "rest").open("wb", buffering=0) as rest, suppress(OSError):
        while rest.write(bytes(4096)):
            pass


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


async def test_a_full_disk_refuses_writes_until_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 * MIB))
    url = f"lmdb://{small_disk}/store?map_size_mib=16"
    async with opened(url) as store:
        dataset = await a_dataset(store)
        rows = await fill(store, dataset)
        take_the_rest(small_disk)
        await assert_served(store, dataset, rows)
    async with opened(url) as store:
        dataset = (await store.load_datasets(deadline=deadline()))["D"]
        await assert_served(store, dataset, rows)
        (refused,) = await put(store, [a_put(dataset, b"again", BIG)])
        assert isinstance(refused, Throttled)
        ballast.unlink()
        assert await put(store, [a_put(dataset, b"again", BIG)]) == [None]
        assert await store.verify(deadline=deadline()) == Verdict(rows=rows + 1)


async def test_a_new_store_on_a_full_disk_says_so(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(8 * MIB - 4096))
    with pytest.raises(FailedPrecondition, match="is full"):
        async with opened(f"lmdb://{small_disk}/store"):
            raise AssertionError("opened without space")
    assert not (small_disk / "store" / "lock.mdb").exists()


async def test_a_read_only_disk_is_served_and_refuses_writes(small_disk: Path) -> None:
    url = f"lmdb://{small_disk}/store"
    async with opened(url) as store:
        assert await put(store, [a_put(await a_dataset(store), b"0", BIG)]) == [None]
    make_read_only(small_disk)
    async with opened(url) as store:
        dataset = (await store.load_datasets(deadline=deadline()))["D"]
        await assert_served(store, dataset, 1)
        (refused,) = await put(store, [a_put(dataset, b"1", BIG)])
        assert isinstance(refused, Throttled)
        assert "read-only" in refused.message
    with pytest.raises(FailedPrecondition, match="no store yet"):
        async with opened(f"lmdb://{small_disk}/other"):
            raise AssertionError("made a store on a read-only disk")

"""Many processes on one store: who sees what, who writes when, and what a dead or forked one leaves behind."""

import asyncio
import subprocess
from pathlib import Path

from chronoserve.kvstore.backends.lmdb.rows import Verdict
from chronoserve.model.dataset import Kind, Properties
from chronoserve.testing.conformance import eventually
from tests.unit.lmdb_child import a_put, deadline, machine_clock, opened, put, start


async def said_by(process: "subprocess.Popen[str]") -> list[str]:
    said, _ = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    return said.splitlines()


async def test_processes_that_create_at_once_agree_on_every_dataset(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store"
    processes = [start("create", url, first) for first in (100, 200, 300)]
    lines = [line for process in processes for line in await said_by(process)]
    assert len(lines) == 60
    prefix_of = dict(line.split() for line in lines)
    assert sorted(set(lines)) == sorted(f"{name} {prefix}" for name, prefix in prefix_of.items()), "one id for a name"
    assert len(set(prefix_of.values())) == 40, "one name for an id"
    async with opened(url) as store:
        datasets = await store.load_datasets(deadline=deadline())
        assert {name: store._spaces[dataset].prefix.hex() for name, dataset in datasets.items()} == prefix_of


async def test_a_write_that_was_acknowledged_is_seen_whoever_else_writes(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store"
    processes = [start("bump", url, 40) for _ in range(3)]
    for process in processes:
        assert await said_by(process) == ["done"]
    async with opened(url) as store:
        assert await store.verify(deadline=deadline()) == Verdict(rows=1)


async def test_a_process_that_always_writes_leaves_turns_to_others(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store"
    async with opened(url) as store:
        dataset = await store.create("D", Properties(Kind.LATEST), deadline=deadline())
        with start("write", url) as greedy:
            assert greedy.stdout
            await asyncio.to_thread(greedy.stdout.readline)
            results = [await store.multi_put([a_put(dataset, b"%d" % n, b"v")], deadline=deadline(5.0)) for n in range(20)]
            greedy.kill()
        assert results == [[None]] * 20


async def test_the_reader_slot_of_a_killed_process_is_freed(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}/store?sweep_seconds=0.05") as store:
        with start("read", f"lmdb://{tmp_path}/store") as reader:
            assert reader.stdout
            await asyncio.to_thread(reader.stdout.readline)
            environment = store._writer.environment
            assert str(reader.pid) in environment._env.readers()
            reader.kill()

        async def freed() -> bool:
            return str(reader.pid) not in environment._env.readers()

        await eventually(freed, "freeing of the slot")


async def test_a_fork_is_refused_what_it_inherited_and_can_open_another_store(tmp_path: Path) -> None:
    lines = await said_by(start("fork", f"lmdb://{tmp_path}/store"))
    assert lines == ["read Internal", "write Internal", "open FailedPrecondition", "own None", "parent 0 True False"]


async def test_processes_sweep_side_by_side(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store?sweep_seconds=0.02"
    async with opened(url) as store:
        dataset = await store.create("D", Properties(Kind.LATEST, 1), deadline=deadline())
        with start("read", url) as other:
            assert other.stdout
            await asyncio.to_thread(other.stdout.readline)
            expires_at = machine_clock() + 1
            puts = [a_put(dataset, b"%d" % n, b"v", expires_at=expires_at) for n in range(3000)]
            assert await put(store, puts) == [None] * 3000

            async def swept() -> bool:
                return await store.verify(deadline=deadline()) == Verdict()

            await eventually(swept, "the end of the sweep")
            other.kill()

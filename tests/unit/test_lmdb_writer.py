"""Group commit: what callers get while batches wait, are committed, or cannot be."""

import asyncio
import errno
import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pytest

from chronoserve.kvstore.backends.lmdb import writer as lmdb_writer
from chronoserve.kvstore.backends.lmdb.store import LMDBStore
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import DeadlinePassed, Internal, KVError, Throttled, Unavailable, WriteOutcomeUnknown
from chronoserve.testing.conformance import eventually
from tests.unit.lmdb_child import a_put, deadline, opened, put


async def a_dataset(store: LMDBStore) -> Dataset:
    return await store.create("D", Properties(Kind.LATEST), deadline=deadline())


async def one_put(store: LMDBStore, dataset: Dataset, key: bytes, seconds: float = 60.0) -> KVError | None:
    (result,) = await store.multi_put([a_put(dataset, key, b"v")], deadline=deadline(seconds))
    return result


async def found(store: LMDBStore, dataset: Dataset, *keys: bytes) -> list[bool]:
    return [bool(result) for result in await store.multi_get([(dataset, key, 0) for key in keys], deadline=deadline())]


def transactions(store: LMDBStore) -> int:
    return int(store._writer.environment._env.info()["last_txnid"])


async def all_wait(store: LMDBStore, batches: int) -> None:
    async def waiting() -> bool:
        return len(store._writer._waiting) == batches

    await eventually(waiting, f"{batches} waiting batches")


@contextmanager
def turn_of_another(directory: Path) -> Iterator[None]:
    """Another process's turn: no batch can begin meanwhile."""
    with (directory / "turn.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def held_commit(store: LMDBStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Transactions that have begun do not end meanwhile; the event is set when the first has."""
    begun, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
    environment = store._writer.environment
    write = environment.write

    def slowly(work: Callable[..., Any]) -> Any:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(60.0)
        return write(work)

    monkeypatch.setattr(environment, "write", slowly)
    try:
        yield begun
    finally:
        go_on.set()


async def test_callers_that_wait_share_a_transaction(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        before = transactions(store)
        with turn_of_another(tmp_path):
            puts = [asyncio.create_task(one_put(store, dataset, b"%d" % n)) for n in range(100)]
            await all_wait(store, 100)
        assert await asyncio.gather(*puts) == [None] * 100
        assert transactions(store) == before + 1


async def test_a_group_has_a_bound_that_a_single_batch_may_exceed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_writer, "GROUP_BYTES_MAX", 1000)
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        before = transactions(store)
        with turn_of_another(tmp_path):
            calls = [asyncio.create_task(put(store, [a_put(dataset, b"big", b"x" * 5000)]))]
            await all_wait(store, 1)
            calls += [asyncio.create_task(put(store, [a_put(dataset, b"%d" % n, b"x" * 250)])) for n in range(4)]
            await all_wait(store, 5)
        assert await asyncio.gather(*calls) == [[None]] * 5
        assert transactions(store) == before + 3
        assert await found(store, dataset, b"big", b"0", b"3") == [True] * 3


async def test_reads_do_not_wait_for_another_process_that_writes(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        assert await one_put(store, dataset, b"k") is None
        with turn_of_another(tmp_path):
            waiting = asyncio.create_task(one_put(store, dataset, b"other"))
            await all_wait(store, 1)
            assert await found(store, dataset, b"k", b"other") == [True, False]
        assert await waiting is None


async def test_a_batch_that_was_not_begun_by_its_deadline_is_certainly_not_applied(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        with turn_of_another(tmp_path):
            assert isinstance(await one_put(store, dataset, b"late", 0.05), DeadlinePassed)
        assert await one_put(store, dataset, b"next") is None
        assert await found(store, dataset, b"late", b"next") == [False, True]
        assert isinstance(await one_put(store, dataset, b"late", -1.0), DeadlinePassed)


async def test_a_batch_in_commit_at_its_deadline_is_of_unknown_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        loop = asyncio.get_running_loop()
        with held_commit(store, monkeypatch) as begun:
            call = asyncio.create_task(one_put(store, dataset, b"k", 0.1))
            await begun.wait()
            assert isinstance(await call, WriteOutcomeUnknown)
            asked = loop.time()
            (result,) = await store.delete([(dataset, b"k")], deadline=deadline(0.05))
            assert isinstance(result, DeadlinePassed)
            assert loop.time() - asked < 1.0
        assert await one_put(store, dataset, b"next") is None
        assert await found(store, dataset, b"k") == [True], "it was applied after all"


async def test_a_cancelled_call_takes_its_waiting_batch_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        with turn_of_another(tmp_path):
            call = asyncio.create_task(one_put(store, dataset, b"taken back"))
            await all_wait(store, 1)
            call.cancel()
            await asyncio.wait([call])
            assert (len(store._writer._waiting), store._writer._waiting_bytes) == (0, 0)
        with held_commit(store, monkeypatch) as begun:
            call = asyncio.create_task(one_put(store, dataset, b"begun"))
            await begun.wait()
            call.cancel()
            await asyncio.wait([call])
        assert await one_put(store, dataset, b"next") is None
        assert await found(store, dataset, b"taken back", b"begun") == [False, True]


async def test_the_queue_is_bounded_in_batches_and_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        for bound, value in (("WAITING_BATCHES_MAX", 2), ("WAITING_BYTES_MAX", 500)):
            with monkeypatch.context() as patch, turn_of_another(tmp_path):
                patch.setattr(lmdb_writer, bound, value)
                waiting = [asyncio.create_task(one_put(store, dataset, b"%d" % n)) for n in range(2)]
                await all_wait(store, 2)
                refused = await one_put(store, dataset, b"refused")
                assert isinstance(refused, Throttled)
                assert refused.retry_after
            assert await asyncio.gather(*waiting) == [None, None]
        assert await found(store, dataset, b"refused") == [False]


async def test_a_batch_larger_than_the_queue_is_taken_when_it_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_writer, "WAITING_BYTES_MAX", 100)
    async with opened(f"lmdb://{tmp_path}") as store:
        assert await one_put(store, await a_dataset(store), b"k") is None


async def test_close_commits_what_was_accepted_and_refuses_what_comes_later(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}"
    async with opened(url) as store:
        dataset = await a_dataset(store)
        with turn_of_another(tmp_path):
            call = asyncio.create_task(one_put(store, dataset, b"accepted"))
            await all_wait(store, 1)
            closing = asyncio.create_task(store.close())
            await asyncio.sleep(0)
        await closing
        assert await call is None
        assert isinstance(await one_put(store, dataset, b"late"), Unavailable)
        for refused in (store.multi_get([(dataset, b"accepted", 0)], deadline=deadline()), store.load_datasets(deadline=deadline())):
            with pytest.raises(Unavailable):
                await refused
    async with opened(url) as store:
        dataset = (await store.load_datasets(deadline=deadline()))["D"]
        assert await found(store, dataset, b"accepted", b"late") == [True, False]


async def test_close_does_not_wait_for_ever_for_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_writer, "CLOSE_SECONDS_MAX", 0.05)
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        writer = store._writer
        with turn_of_another(tmp_path):
            call = asyncio.create_task(one_put(store, dataset, b"k", 1.0))
            await all_wait(store, 1)
            await store.close()
            assert isinstance(await call, DeadlinePassed)
        await asyncio.to_thread(writer._thread.join)
        writer.environment.close()


class FailingCommit:
    """A transaction whose commit fails after it was written down, as on a failing disk."""

    def __init__(self, txn: "lmdb.Transaction[bytes]", error: lmdb.Error) -> None:
        self._txn = txn
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._txn, name)

    def commit(self) -> None:
        self._txn.abort()
        raise self._error


def fail_next_commit(store: LMDBStore, *, panic: bool) -> None:
    """It fails with EIO; with ``panic`` the environment is unusable from then on, as LMDB makes it, until it is opened again."""
    environment = store._writer.environment
    begin, failed = environment._begin, threading.Event()

    def failing(*arguments: Any, **options: Any) -> Any:
        if failed.is_set() and panic:
            raise lmdb.PanicError("mdb_txn_begin", -30795)
        txn = begin(*arguments, **options)
        if not options.get("write") or failed.is_set():
            return txn
        failed.set()
        error = lmdb.Error("mdb_txn_commit")
        error.__dict__["code"] = errno.EIO
        return FailingCommit(txn, error)

    environment._begin = failing


async def test_a_commit_that_failed_before_the_root_is_not_applied(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        fail_next_commit(store, panic=False)
        assert isinstance(await one_put(store, dataset, b"k"), Throttled)
        assert await one_put(store, dataset, b"next") is None
        assert await found(store, dataset, b"k", b"next") == [False, True]


async def test_after_a_commit_that_failed_at_the_root_the_outcome_is_unknown_and_the_files_are_opened_again(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        assert await one_put(store, dataset, b"before") is None
        broken = store._writer.environment._env
        fail_next_commit(store, panic=True)
        assert isinstance(await one_put(store, dataset, b"k"), WriteOutcomeUnknown)
        assert await found(store, dataset, b"before") == [True]
        assert store._writer.environment._env is not broken
        assert await one_put(store, dataset, b"next") is None
        assert await found(store, dataset, b"before", b"next") == [True, True]


async def test_a_defect_in_one_write_is_an_internal_error_and_the_writer_lives(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        stranger = Dataset("STRANGER", Properties(Kind.LATEST))
        assert isinstance(await one_put(store, stranger, b"k"), Internal)
        assert await one_put(store, dataset, b"k") is None

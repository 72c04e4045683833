"""Another process on an LMDB store, for the tests: ``python -m tests.unit.lmdb_child ROLE URL [ARGUMENTS]``.

It speaks on stdout, a line for each thing that has happened.
"""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from itertools import count, islice
from pathlib import Path
from typing import cast

from chronoserve.kvstore.backends.lmdb.store import LMDBStore
from chronoserve.kvstore.port import PutRequest, PutResult
from chronoserve.kvstore.registry import Clock, open_store
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import KVError

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60.0
HOUR_MILLIS = 3_600_000


def machine_clock() -> int:
    return time.time_ns() // 1_000_000


def deadline(seconds: float = SECONDS_MAX) -> float:
    return asyncio.get_running_loop().time() + seconds


@asynccontextmanager
async def opened(url: str, clock: Clock = machine_clock) -> AsyncIterator[LMDBStore]:
    store = cast("LMDBStore", await open_store(url, clock=clock))
    try:
        yield store
    finally:
        await store.close()


def a_put(dataset: Dataset, key: bytes, value: bytes, millis: int = 1, *, expires_at: int = 0) -> PutRequest:
    return PutRequest(dataset, key, values.encode(value, millis), millis, millis.to_bytes(16, "big"), expires_at, replayable=True)


async def put(store: LMDBStore, puts: Iterable[PutRequest]) -> list[PutResult]:
    return await store.multi_put(list(puts), deadline=deadline())


def value_of(number: int) -> bytes:
    """What the writers write under ``number``: from a byte to three pages."""
    return b"%d-" % number * (1 + number * 7919 % 2000)


def say(*words: object) -> None:
    """One write for a line, so that a killed process has said it or not."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def start(role: str, url: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.unit.lmdb_child", role, url, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def write_until_killed(url: str) -> None:
    """Four writers with batches of mixed datasets: ``acked FIRST LAST`` for each that is acknowledged."""
    numbers = count()
    async with opened(url) as store:
        datasets = [
            await store.create("A_BATCH", Properties(Kind.LATEST), deadline=deadline()),
            await store.create("B_STREAMING", Properties(Kind.TIMED), deadline=deadline()),
            await store.create("C_BATCH", Properties(Kind.LATEST, HOUR_MILLIS), deadline=deadline()),
        ]

        async def write() -> None:
            while True:
                batch = list(islice(numbers, 10))
                expires_at = machine_clock() + HOUR_MILLIS
                puts = [a_put(datasets[n % 3], b"%d" % n, value_of(n), n + 1, expires_at=expires_at * (n % 3 == 2)) for n in batch]
                assert await put(store, puts) == [None] * 10
                say("acked", batch[0], batch[-1])

        await asyncio.gather(*(write() for _ in range(4)))


async def write_rows(url: str, name: str, rows: str) -> None:
    """Batches of ten rows into the dataset ``name``; ``done`` at the end, with the size of the map."""
    async with opened(url) as store:
        dataset = await store.create(name, Properties(Kind.LATEST), deadline=deadline())
        for first in range(0, int(rows), 10):
            puts = [a_put(dataset, b"%d" % n, value_of(n)) for n in range(first, first + 10)]
            assert await put(store, puts) == [None] * 10
        say("done", store._writer.environment._env.info()["map_size"])


async def create_many(url: str, first: str) -> None:
    """Twenty datasets, ten of them the same for everyone; says each one's id."""
    async with opened(url) as store:
        for n in [*range(10), *range(int(first), int(first) + 10)]:
            dataset = await store.create(f"D_{n}", Properties(Kind.LATEST), deadline=deadline())
            say(dataset.name, store._spaces[dataset].prefix.hex())


async def bump(url: str, rounds: str) -> None:
    """Ever newer values under one key, each read back at once."""
    async with opened(url) as store:
        dataset = await store.create("BUMP", Properties(Kind.LATEST), deadline=deadline())
        for n in range(int(rounds)):
            millis = machine_clock() + n
            assert await put(store, [a_put(dataset, b"k", b"v", millis)]) == [None]
            (found,) = await store.multi_get([(dataset, b"k", 0)], deadline=deadline())
            assert values.decode(cast("bytes", found))[0].millis >= millis
        say("done")


def address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


async def fill(url: str, limit: str, limit_mib: str) -> None:
    """Writes until a limit of this process refuses, reads what was written, and writes again without the limit."""
    number = {"file": resource.RLIMIT_FSIZE, "address": resource.RLIMIT_AS}[limit]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with opened(url) as store:
        dataset = await store.create("D", Properties(Kind.LATEST), deadline=deadline())
        in_use = address_space_bytes() if limit == "address" else 0
        resource.setrlimit(number, (in_use + (int(limit_mib) << 20), resource.RLIM_INFINITY))
        written: dict[bytes, bytes] = {}
        refusal: PutResult = None
        for n in range(10_000):
            write = a_put(dataset, b"%d" % n, b"x" * 30_000)
            (refusal,) = await put(store, [write])
            if refusal is not None:
                break
            written[write.key] = write.timed_value
        say("refused", type(refusal).__name__, str(refusal).replace(" ", "_"))
        sample = dict(islice(written.items(), 50))
        found = await store.multi_get([(dataset, key, 0) for key in sample], deadline=deadline())
        say("read", found == list(sample.values()), len(found))
        resource.setrlimit(number, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (again,) = await put(store, [a_put(dataset, b"again", b"x" * 30_000)])
        say("again", again)
        say("verdict", *(await store.verify(deadline=deadline()))[1:])


async def read_and_wait(url: str) -> None:
    """Holds a snapshot until it is killed."""
    async with opened(url) as store:
        environment = store._writer.environment
        snapshot = environment._begin(environment.tables.records)
        say("reading", snapshot.id())
        await asyncio.sleep(SECONDS_MAX)


def use_after_fork(url: str) -> None:
    """What a forked child gets from the store that it inherited, and from one of its own beside it."""
    store, dataset = asyncio.run(_open_and_put(url))
    child = os.fork()
    if not child:
        asyncio.run(_in_the_fork(store, dataset, url))
        return
    _, status = os.waitpid(child, 0)
    asyncio.run(_in_the_parent(store, dataset, status))


async def _open_and_put(url: str) -> tuple[LMDBStore, Dataset]:
    store = cast("LMDBStore", await open_store(url, clock=machine_clock))
    dataset = await store.create("D", Properties(Kind.LATEST), deadline=deadline())
    assert await put(store, [a_put(dataset, b"k", b"v")]) == [None]
    return store, dataset


async def _in_the_parent(store: LMDBStore, dataset: Dataset, status: int) -> None:
    found = await store.multi_get([(dataset, b"k", 0), (dataset, b"absent", 0)], deadline=deadline())
    say("parent", status, *map(bool, found))
    await store.close()


async def _in_the_fork(store: LMDBStore, dataset: Dataset, url: str) -> None:
    try:
        await store.multi_get([(dataset, b"k", 0)], deadline=deadline())
    except KVError as error:
        say("read", type(error).__name__)
    (result,) = await put(store, [a_put(dataset, b"k", b"w", 2)])
    say("write", type(result).__name__)
    try:
        await open_store(url, clock=machine_clock)
    except KVError as error:
        say("open", type(error).__name__)
    async with opened(url + "-of-the-child") as own:
        mine = await own.create("D", Properties(Kind.LATEST), deadline=deadline())
        say("own", *await put(own, [a_put(mine, b"mine", b"v")]))


ROLES: dict[str, Callable[..., Coroutine[None, None, None] | None]] = {
    "write": write_until_killed,
    "rows": write_rows,
    "create": create_many,
    "bump": bump,
    "fill": fill,
    "read": read_and_wait,
    "fork": use_after_fork,
}

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    running = ROLES[name](*words)
    if running is not None:
        asyncio.run(running)

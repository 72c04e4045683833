"""What is in the directory, what the URL says, and the store's own operations beside the port's."""

import asyncio
import json
import stat
from pathlib import Path

import lmdb
import pytest
import xxhash

from chronoserve.kvstore.backends.lmdb import store as backend
from chronoserve.kvstore.backends.lmdb.rows import KEY_BYTES_MAX, NEVER_BYTES, SWEEP_ROWS_MAX, Keyspace, Verdict
from chronoserve.kvstore.backends.lmdb.store import LMDBStore
from chronoserve.kvstore.registry import StoreURL, open_store
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import AnswerTooLarge, DeadlinePassed, FailedPrecondition, InvalidRequest
from chronoserve.testing.clock import ManualClock
from chronoserve.testing.conformance import eventually
from tests.unit.lmdb_child import a_put, deadline, machine_clock, opened, put


async def a_dataset(store: LMDBStore, kind: Kind = Kind.LATEST, ttl_millis: int = 0) -> Dataset:
    return await store.create(f"D_{kind.name}", Properties(kind, ttl_millis), deadline=deadline())


def rows(directory: Path, table: str) -> list[tuple[bytes, bytes]]:
    """A table's rows as any program with LMDB finds them."""
    with lmdb.open(str(directory), max_dbs=4, readonly=True) as env:
        handle = env.open_db(table.encode(), create=False)
        with env.begin(handle) as txn:
            return list(txn.cursor())


async def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "store"
    async with opened(f"lmdb://{directory}") as store:
        latest, timed = await a_dataset(store), await a_dataset(store, Kind.TIMED, 1000)
        assert await put(store, [a_put(latest, b"k", b"v", 7), a_put(timed, b"k", b"w", 8, expires_at=9)]) == [None, None]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {
        "data.mdb": 0o600,
        "lock.mdb": 0o600,
        "turn.lock": 0o600,
    }
    assert (b"layout", b"1") in rows(directory, "meta")
    described = {name: json.loads(sealed[8:]) for name, sealed in rows(directory, "datasets")}
    assert described == {
        b"D_LATEST": {"id": 1, "kind": "LATEST", "ttl_millis": 0},
        b"D_TIMED": {"id": 2, "kind": "TIMED", "ttl_millis": 1000},
    }
    timed_key = bytes.fromhex("00000002 0001") + b"k" + (8).to_bytes(8, "big") + (8).to_bytes(16, "big")
    expected = [
        (bytes.fromhex("00000001") + b"k", NEVER_BYTES + (7).to_bytes(8, "big") + values.encode(b"v", 7)),
        (timed_key, (9).to_bytes(8, "big") + (8).to_bytes(8, "big") + values.encode(b"w", 8)),
    ]
    assert rows(directory, "records") == [(key, xxhash.xxh3_64_digest(key + body) + body) for key, body in expected]
    assert rows(directory, "expiry") == [((9).to_bytes(8, "big") + timed_key, b"")]


async def test_a_directory_of_another_layout_is_refused(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}"):
        pass
    with lmdb.open(str(tmp_path), max_dbs=4) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(meta, write=True) as txn:
            txn.put(b"layout", b"2")
    with pytest.raises(FailedPrecondition, match=r"layout 2 .* reads layout 1: load the data"):
        await open_store(f"lmdb://{tmp_path}", clock=machine_clock)


async def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "other")) as env, env.begin(write=True) as txn:
        txn.put(b"meta", b"not a table")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "data.mdb").write_bytes(b"junk" * 4096)
    (tmp_path / "file").write_bytes(b"")
    for name, reason in (("other", "something else"), ("junk", "not of LMDB 0.9"), ("file", "cannot be opened")):
        with pytest.raises(FailedPrecondition, match=reason) as refusal:
            await open_store(f"lmdb://{tmp_path / name}", clock=machine_clock)
        assert str(tmp_path) not in refusal.value.message


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("lmdb:///var/lib/store", "/var/lib/store"),
        ("lmdb:///with%20space", "/with space"),
        ("lmdb:///./data/store", "data/store"),
        ("lmdb://./data/store", "data/store"),
        ("lmdb://../store", "../store"),
        ("lmdb:///../store", "../store"),
    ],
)
def test_urls_name_directories(url: str, directory: str) -> None:
    assert backend.directory_of(StoreURL.parse(url)) == Path(directory)


@pytest.mark.parametrize(
    "url",
    [
        "lmdb://",
        "lmdb:///",
        "lmdb://host/dir",
        "lmdb://user@/dir?map_size=1",
        "lmdb:///dir?sync=maybe",
        "lmdb:///dir?map_size_mib=0",
        "lmdb:///dir?map_size_mib=2048&map_size_max_gib=1",
        "lmdb:///dir?sweep_seconds=0",
    ],
)
async def test_a_wrong_url_is_refused_before_anything_is_made(url: str) -> None:
    with pytest.raises(InvalidRequest):
        await open_store(url, clock=machine_clock)


async def test_stores_of_one_process_share_a_directory_with_equal_options_only(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store"
    async with opened(url) as one, opened(f"lmdb://{tmp_path}/./store") as two:
        dataset = await a_dataset(one)
        assert await put(one, [a_put(dataset, b"k", b"v")]) == [None]
        await one.close()
        theirs = (await two.load_datasets(deadline=deadline()))[dataset.name]
        assert await two.multi_get([(theirs, b"k", 0)], deadline=deadline()) == [values.encode(b"v", 1)]
        with pytest.raises(FailedPrecondition, match="other options"):
            await open_store(url + "?sync=false", clock=machine_clock)
    async with opened(url + "?sync=false") as store:
        assert not store.capability.durable
        assert "power cut" in store.capability.durability


async def test_keys_of_the_largest_size_live_and_expire(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(f"lmdb://{tmp_path}", clock) as store:
        for kind in Kind:
            dataset = await a_dataset(store, kind, 10)
            key = b"\xff" * KEY_BYTES_MAX
            assert await put(store, [a_put(dataset, key, b"v", expires_at=clock() + 10)]) == [None]
            page = await store.scan(dataset, b"", keys_max=1, bytes_max=1, deadline=deadline())
            assert page.entries == [(key, values.encode(b"v", 1))]
            assert await store.scan(dataset, page.next_token, keys_max=1, bytes_max=1, deadline=deadline()) == ([], b"")
            assert await store.verify(deadline=deadline()) == Verdict(rows=1)
            clock.advance(10)
            assert await store.sweep(deadline=deadline()) == 1


async def test_the_sweep_takes_what_has_expired_and_nothing_else(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(f"lmdb://{tmp_path}", clock) as store:
        latest, timed = await a_dataset(store), await a_dataset(store, Kind.TIMED)
        count = SWEEP_ROWS_MAX + 100
        for dataset in (latest, timed):
            puts = [a_put(dataset, b"%d" % n, b"v", expires_at=clock() + 100 + n % 2) for n in range(count)]
            puts += [a_put(dataset, b"for ever", b"v"), a_put(dataset, b"0", b"renewed", 2, expires_at=clock() + 200)]
            assert await put(store, puts) == [None] * len(puts)
        assert await store.sweep(deadline=deadline()) == 0
        clock.advance(100)
        assert await store.sweep(deadline=deadline()) == count // 2 * 2 - 1, "the LATEST value of 0 was replaced by a longer lived one"
        assert await store.verify(deadline=deadline()) == Verdict(rows=count // 2 * 2 + 4)
        clock.advance(1)
        assert await store.sweep(deadline=deadline()) == count // 2 * 2
        clock.advance(99)
        assert await store.sweep(deadline=deadline()) == 2
        assert await store.verify(deadline=deadline()) == Verdict(rows=2)


async def test_the_sweeper_comes_by_itself(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(f"lmdb://{tmp_path}?sweep_seconds=0.02", clock) as store:
        dataset = await a_dataset(store)
        count = 2 * SWEEP_ROWS_MAX + 1
        assert await put(store, [a_put(dataset, b"%d" % n, b"v", expires_at=clock() + 1) for n in range(count)]) == [None] * count
        assert await store.verify(deadline=deadline()) == Verdict(rows=count)
        clock.advance(1)

        async def swept() -> bool:
            return await store.verify(deadline=deadline()) == Verdict()

        await eventually(swept, "the sweep")


async def test_expiry_entries_follow_their_rows(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(f"lmdb://{tmp_path}", clock) as store:
        latest, timed = await a_dataset(store), await a_dataset(store, Kind.TIMED)
        for n in range(5):
            expires_at = (clock() + 1000 + n) * (n != 3)
            await put(store, [a_put(dataset, b"k", b"%d" % n, n, expires_at=expires_at) for dataset in (latest, timed)])
        assert await store.verify(deadline=deadline()) == Verdict(rows=6)
        assert await store.delete([(latest, b"k"), (timed, b"k")], deadline=deadline()) == [None, None]
        assert await store.verify(deadline=deadline()) == Verdict()
        assert await store.sweep(deadline=deadline()) == 0


async def test_long_scans_let_the_loop_run_and_keep_their_deadline(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        dataset = await a_dataset(store)
        count = 3 * backend.STRETCH_KEYS_MAX
        assert await put(store, [a_put(dataset, b"%06d" % n, b"v") for n in range(count)]) == [None] * count
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        page = await store.scan(dataset, b"", keys_max=count + 1, bytes_max=1 << 20, deadline=deadline())
        ticking.cancel()
        assert (len(page.entries), page.next_token) == (count, b"")
        assert ticks >= 3
        with pytest.raises(DeadlinePassed):
            await store.scan(dataset, b"", keys_max=count, bytes_max=1 << 20, deadline=deadline(-1.0))


async def test_a_token_of_another_dataset_is_refused(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}") as store:
        latest, timed = await a_dataset(store), await a_dataset(store, Kind.TIMED)
        puts = [a_put(dataset, key, b"v") for dataset in (latest, timed) for key in (b"a", b"b")]
        assert await put(store, puts) == [None] * 4
        tokens = [(await store.scan(one, b"", keys_max=1, bytes_max=1, deadline=deadline())).next_token for one in (latest, timed)]
        for dataset, token in ((latest, tokens[1]), (timed, tokens[0]), (timed, tokens[1] + b"x"), (timed, tokens[1][:-1])):
            with pytest.raises(InvalidRequest):
                await store.scan(dataset, token, keys_max=1, bytes_max=1, deadline=deadline())


def test_one_key_is_never_the_beginning_of_another_among_timed_rows() -> None:
    space = Keyspace.of(1, timed=True)
    bases = [space.base(key) for key in (b"k", b"k:1", b"k\x00", b"k\x00\x01", b"\x00\x01k", b"")]
    assert not [1 for one in bases for other in bases if one is not other and other.startswith(one)]


async def test_what_is_beyond_the_bytes_of_a_batch_is_refused_item_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "ANSWER_BYTES_MAX", 10_000)
    async with opened(f"lmdb://{tmp_path}") as store:
        latest, timed = await a_dataset(store), await a_dataset(store, Kind.TIMED)
        value = b"v" * 900
        for n in range(100):
            await put(store, [a_put(latest, b"%d" % n, value, 1), a_put(timed, b"t", value, n + 1)])
        few = await store.multi_get([(latest, b"%d" % n, 0) for n in range(10)], deadline=deadline())
        assert few == [values.encode(value, 1)] * 10
        for keys in ([b"%d" % n for n in range(100)], [b"7"] * 100):
            results = await store.multi_get([(latest, key, 0) for key in keys], deadline=deadline())
            answered = [result for result in results if isinstance(result, bytes)]
            assert len(answered) == 10
            assert results[:10] == answered
            assert all(isinstance(result, AnswerTooLarge) and "fewer keys" in result.message for result in results[10:])
        (too_many,) = await store.multi_get([(timed, b"t", 0)], deadline=deadline())
        assert isinstance(too_many, AnswerTooLarge)
        (late,) = await store.multi_get([(timed, b"t", 95)], deadline=deadline())
        assert isinstance(late, bytes)
        (last_page,) = (await store.scan(timed, b"", keys_max=10, bytes_max=1, deadline=deadline())).entries
        assert len(last_page[1]) > 90_000, "a scan has a bound of its own"

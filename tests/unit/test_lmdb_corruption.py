"""A damaged row is an error in its own place, never a wrong value (R16)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chronoserve.kvstore.backends.lmdb.rows import Verdict
from chronoserve.kvstore.backends.lmdb.store import LMDBStore
from chronoserve.kvstore.port import GetRequest, PutRequest
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import CorruptValue
from tests.unit.lmdb_child import a_put, deadline, machine_clock, opened, put

MARK = b"the value that will be damaged"
HEADER_BYTES = 24


async def filled(store: LMDBStore, kind: Kind, *more: PutRequest, expires_at: int = 0) -> Dataset:
    """A dataset with the key ``k1``, to be damaged, among its neighbours: all written at once, so to one place."""
    dataset = await store.create(kind.name, Properties(kind), deadline=deadline())
    puts = [a_put(dataset, b"k0", b"zero"), a_put(dataset, b"k1", MARK, expires_at=expires_at), a_put(dataset, b"k2", b"two")]
    if kind is Kind.TIMED:
        puts.append(a_put(dataset, b"k1", b"later", 2))
    puts += more
    assert await put(store, puts) == [None] * len(puts)
    return dataset


def where(directory: Path) -> int:
    """Offset of the marked row's value in the file."""
    data = (directory / "data.mdb").read_bytes()
    assert data.count(MARK) == 1, "written once, so there is one copy of its page"
    return data.index(values.encode(MARK, 1))


@contextmanager
def flipped(directory: Path, offset: int, bit: int = 0) -> Iterator[None]:
    """One bit of the file is wrong meanwhile; the map shows it at once."""
    with (directory / "data.mdb").open("r+b", buffering=0) as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1 << bit]))
        yield
        file.seek(offset)
        file.write(byte)


@pytest.mark.parametrize("kind", Kind)
async def test_every_flipped_byte_of_a_row_is_noticed_and_its_neighbours_are_served(kind: Kind, tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}/store") as store:
        dataset = await filled(store, kind, expires_at=machine_clock() + 3_600_000)
        requests: list[GetRequest] = [(dataset, key, 0) for key in (b"k0", b"k1", b"k2", b"k1", b"absent")]
        good = await store.multi_get(requests, deadline=deadline())
        start = where(tmp_path / "store") - HEADER_BYTES
        for n in range(HEADER_BYTES + len(values.encode(MARK, 1))):
            with flipped(tmp_path / "store", start + n, n % 8):
                results = await store.multi_get(requests, deadline=deadline())
            assert [type(result) for result in results] == [bytes, CorruptValue, bytes, CorruptValue, bytes]
            assert results[::2] == good[::2]
        assert await store.multi_get(requests, deadline=deadline()) == good


async def test_damage_is_noticed_in_batches_of_mixed_kinds(tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}/store") as store:
        timed = await store.create("OTHER", Properties(Kind.TIMED), deadline=deadline())
        dataset = await filled(store, Kind.LATEST, a_put(timed, b"k", b"v"))
        with flipped(tmp_path / "store", where(tmp_path / "store")):
            results = await store.multi_get([(timed, b"k", 0), (dataset, b"k1", 0), (dataset, b"k1", 9)], deadline=deadline())
        assert results[0] == values.encode(b"v", 1)
        assert [type(result) for result in results[1:]] == [CorruptValue, CorruptValue]


@pytest.mark.parametrize("kind", Kind)
async def test_damage_is_counted_and_ends_when_the_key_is_deleted(kind: Kind, tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}/store") as store:
        dataset = await filled(store, kind)
        rows = (await store.verify(deadline=deadline())).rows
        with flipped(tmp_path / "store", where(tmp_path / "store") + 3):
            assert await store.verify(deadline=deadline()) == Verdict(rows=rows, damaged=1)
            with pytest.raises(CorruptValue):
                await store.scan(dataset, b"", keys_max=9, bytes_max=1 << 20, deadline=deadline())
            assert await store.delete([(dataset, b"k1")], deadline=deadline()) == [None]
            assert await store.multi_get([(dataset, b"k1", 0)], deadline=deadline()) == [b""]
            assert (await store.verify(deadline=deadline())).damaged == 0
            page = await store.scan(dataset, b"", keys_max=9, bytes_max=1 << 20, deadline=deadline())
            assert [key for key, _ in page.entries] == [b"k0", b"k2"]


@pytest.mark.parametrize("kind", Kind)
async def test_a_damaged_row_is_repaired_by_writing_it_again(kind: Kind, tmp_path: Path) -> None:
    async with opened(f"lmdb://{tmp_path}/store") as store:
        dataset = await filled(store, kind)
        (good,) = await store.multi_get([(dataset, b"k1", 0)], deadline=deadline())
        # Byte 18 of the row is in its time, which now looks far ahead: it must not win over the repair.
        with flipped(tmp_path / "store", where(tmp_path / "store") - 6, 5):
            assert await put(store, [a_put(dataset, b"k1", MARK)]) == [None]
            assert await store.multi_get([(dataset, b"k1", 0)], deadline=deadline()) == [good]


async def test_a_damaged_dataset_is_unknown_and_the_others_are_served(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store"
    async with opened(url) as store:
        await store.create("DAMAGED", Properties(Kind.LATEST, 987_654_321), deadline=deadline())
        whole = await store.create("WHOLE", Properties(Kind.LATEST), deadline=deadline())
        assert await put(store, [a_put(whole, b"k", b"v")]) == [None]
    data = (tmp_path / "store" / "data.mdb").read_bytes()
    offsets = [n for n in range(len(data)) if data.startswith(b"987654321", n)]
    with (tmp_path / "store" / "data.mdb").open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(b"187654321")
    async with opened(url) as store:
        datasets = await store.load_datasets(deadline=deadline())
        assert set(datasets) == {"WHOLE"}
        assert await store.multi_get([(datasets["WHOLE"], b"k", 0)], deadline=deadline()) == [values.encode(b"v", 1)]
        with pytest.raises(CorruptValue):
            await store.create("DAMAGED", Properties(Kind.LATEST), deadline=deadline())
        assert (await store.create("NEXT", Properties(Kind.LATEST), deadline=deadline())).name == "NEXT"

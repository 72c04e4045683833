"""BulkPut: files of two formats, loads that break anywhere and go on, and folders that nothing escapes from."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.ingest import source
from chronoserve.ingest.source import ROWS_PER_BATCH, open_source
from chronoserve.kvstore.backends.memory import MemoryStore
from chronoserve.kvstore.layers.chaos import Chaos
from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import PutRequest, PutResult
from chronoserve.kvstore.router import Route, Router
from chronoserve.model import values
from chronoserve.model.dataset import Kind
from chronoserve.model.errors import (
    CorruptValue,
    DeadlinePassed,
    FailedPrecondition,
    InvalidRequest,
    KVError,
    PermissionDenied,
    Throttled,
    Unavailable,
    UnknownDataset,
)
from chronoserve.service import bulk
from chronoserve.service.access import Caller, Policy, Rule, Verb
from chronoserve.service.bulk import BulkLoader, Load, Progress
from chronoserve.service.gateway import Gateway, Limits
from chronoserve.testing.clock import ManualClock

START = 1_700_000_000_000
PARTITION = "2023-11-13"
END_OF_PARTITION = 1_699_920_000_000

Row = tuple[bytes, bytes, int | None]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PAUSE_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROWS_PER_BATCH", 20)


def write_parquet(path: Path, rows: Sequence[Row], **columns: Any) -> None:
    keys, found, times = zip(*rows, strict=True) if rows else ((), (), ())
    table = pa.table(
        {
            "key_bytes": pa.array(keys, pa.binary()),
            "value_bytes": pa.array(found, pa.binary()),
            "ts": pa.array(times, pa.int64()),
            **columns,
        }
    )
    pq.write_table(table, path, row_group_size=33)


def write_avro(path: Path, rows: Sequence[Row], codec: str = "null") -> None:
    schema = {
        "type": "record",
        "name": "Row",
        "fields": [
            {"name": "key_bytes", "type": "bytes"},
            {"name": "value_bytes", "type": "bytes"},
            {"name": "ts", "type": ["null", "long"]},
        ],
    }
    records = ({"key_bytes": key, "value_bytes": value, "ts": ts} for key, value, ts in rows)
    with path.open("wb") as stream:
        fastavro.writer(stream, schema, records, codec=codec)


WRITERS: dict[str, Callable[[Path, Sequence[Row]], None]] = {
    "parquet": write_parquet,
    "avro": write_avro,
    "avro-deflate": lambda path, rows: write_avro(path, rows, "deflate"),
}


class Failing(Layer):
    """Fails the calls that the test names, in the way it names."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.fates: list[Callable[[Sequence[PutRequest]], list[PutResult] | KVError] | None] = []
        self.sizes: list[int] = []

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        self.sizes.append(len(requests))
        fate = self.fates.pop(0) if self.fates else None
        if fate is None:
            return await super().multi_put(requests, deadline=deadline)
        outcome = fate(requests)
        if isinstance(outcome, KVError):
            raise outcome
        applied = [put for put, result in zip(requests, outcome, strict=True) if result is None]
        await super().multi_put(applied, deadline=deadline)
        return outcome


class Bench:
    """A loader over a gateway over a memory store that can be made to fail."""

    def __init__(self, *, roots: Sequence[Path] | None = None, keys_per_call_max: int = 10_000) -> None:
        self.clock = ManualClock(START)
        self.memory = MemoryStore(self.clock)
        self.store = Failing(self.memory)
        self.use(self.store, roots, keys_per_call_max)

    def use(self, store: Layer, roots: Sequence[Path] | None = None, keys_per_call_max: int = 10_000) -> None:
        router = Router({"main": store}, [Route("*", "main")])
        self.gateway = Gateway(router, router, clock=self.clock, limits=Limits(keys_per_call_max=keys_per_call_max))
        self.loader = BulkLoader(self.gateway, roots=roots, clock=self.clock)

    async def create(self, name: str = "D", kind: Kind = Kind.TIMED) -> None:
        await self.gateway.create(name, kind, 0, deadline=asyncio.get_running_loop().time() + 5)

    async def load(self, path: Path | str, *, batches: int | None = None, caller: Caller | None = None, **more: Any) -> Progress:
        """Run a load, to the end or for so many batches; the last progress."""
        last = None
        seen = 0
        async for progress in self.loader.run(Load(str(path), "D", **more), caller):
            last = progress
            seen += 1
            if seen == batches:
                break
        assert last is not None
        return last

    async def content(self) -> dict[bytes, list[tuple[bytes, int]]]:
        dataset = self.memory._catalog.datasets["D"]
        keys = list(self.memory._rows[dataset])
        results = await self.memory.multi_get([(dataset, key, 0) for key in keys], deadline=0)
        assert all(isinstance(result, bytes) for result in results)
        return {key: sorted(map(tuple, values.decode(result)), key=_order) for key, result in zip(keys, results, strict=True)}  # type: ignore[arg-type]


def rows(count: int, *, keys: int | None = None) -> list[Row]:
    return [(b"k%05d" % (n % (keys or count)), b"v%d" % n, START - count + n if n % 3 else None) for n in range(count)]


def expected(loaded: Sequence[Row], default: int) -> dict[bytes, list[tuple[bytes, int]]]:
    found: dict[bytes, list[tuple[bytes, int]]] = {}
    for key, value, ts in loaded:
        found.setdefault(key, []).append((value, default if ts is None else ts))
    return {key: sorted(row, key=_order) for key, row in found.items()}


def _order(value: tuple[bytes, int]) -> tuple[int, bytes]:
    return value[1], value[0]


@pytest.mark.parametrize("form", WRITERS)
async def test_every_row_of_a_file_is_written_with_its_time_or_the_partition_s_end(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{form.partition('-')[0]}"
    WRITERS[form](path, rows(95))
    bench = Bench()
    await bench.create()
    progress = await bench.load(path, partition=PARTITION)
    assert (progress.done, progress.rows, progress.rows_written, progress.rows_refused) == (True, 95, 95, 0)
    assert progress.rows_total == (95 if form == "parquet" else 0)
    assert await bench.content() == expected(rows(95), END_OF_PARTITION)


async def test_a_folder_is_read_in_the_order_of_its_names_and_a_partition_s_folder_is_preferred(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [(b"k", b"first", 7)])
    write_avro(tmp_path / "b.avro", [(b"k", b"second", 7)])
    (tmp_path / "notes.txt").write_text("not a row")
    bench = Bench()
    await bench.create(kind=Kind.LATEST)
    assert (await bench.load(tmp_path)).rows == 2
    assert await bench.content() == {b"k": [(b"second", 7)]}
    (tmp_path / f"ds={PARTITION}").mkdir()
    write_parquet(tmp_path / f"ds={PARTITION}" / "x.parquet", [(b"p", b"v", None)])
    assert (await bench.load(tmp_path, partition=PARTITION)).rows == 1
    assert (await bench.content())[b"p"] == [(b"v", END_OF_PARTITION)]


@pytest.mark.parametrize("form", ["parquet", "avro"])
@pytest.mark.parametrize("batches", range(1, 6))
async def test_a_load_broken_after_any_batch_goes_on_from_its_token(form: str, batches: int, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{form}"
    WRITERS[form](path, rows(95))
    bench = Bench()
    await bench.create()
    broken = await bench.load(path, batches=batches)
    bench.clock.advance(1_000_000)
    rest = await bench.load(path, resume_token=broken.resume_token)
    assert (rest.rows, rest.done) == (95, True)
    assert rest.rows_written == 95 - broken.rows
    assert await bench.content() == expected(rows(95), START), "rows without a time keep the time that the load began with"


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_fails_in_a_load_every_row_is_there_once_in_the_end(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows(200, keys=150))
    bench = Bench()
    await bench.create()
    bench.use(Chaos(bench.memory, seed=seed, call_failures=0.4, item_failures=0.5))
    load, done = Load(str(path), "D"), False
    while not done:
        with contextlib.suppress(Unavailable):
            async for progress in bench.loader.run(load):
                load, done = replace(load, resume_token=progress.resume_token), progress.done
                assert progress.rows_refused == 0
    assert await bench.content() == expected(rows(200, keys=150), START)


@pytest.mark.parametrize("error", [Throttled("busy"), Unavailable("away"), DeadlinePassed("late")], ids=lambda error: type(error).__name__)
async def test_a_row_that_failed_in_passing_is_written_again_and_not_counted_as_refused(error: KVError, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows(20))
    for fate in (lambda puts: [error if n % 2 else None for n in range(len(puts))], lambda _: error):
        bench = Bench()
        await bench.create()
        bench.store.fates = [fate, fate]
        progress = await bench.load(path)
        assert (progress.rows_written, progress.rows_refused) == (20, 0)
        assert await bench.content() == expected(rows(20), START)


async def test_the_last_row_of_a_key_stays_the_last_when_an_earlier_one_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, [(b"k", b"first", 7), (b"other", b"x", 7), (b"k", b"last", 7)])
    bench = Bench()
    await bench.create(kind=Kind.LATEST)
    bench.store.fates = [lambda _: [Throttled("busy"), None, None]]
    await bench.load(path)
    assert await bench.content() == {b"k": [(b"last", 7)], b"other": [(b"x", 7)]}
    assert bench.store.sizes == [3, 2]


async def test_a_row_that_can_never_be_written_is_reported_and_the_rest_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, [(b"", b"v", 1), (b"k", b"v", -1), (b"ok", b"v", 1), (b"x", b"v", START * 2), *[(b"", b"v", 1)] * 15])
    bench = Bench()
    await bench.create()
    bench.store.fates = [lambda puts: [CorruptValue("broken")]]
    progress = await bench.load(path)
    assert (progress.rows, progress.rows_written, progress.rows_refused) == (19, 0, 19)
    assert len(progress.errors) == bulk.ERRORS_SHOWN_MAX
    assert {type(error) for error in progress.errors} == {InvalidRequest, CorruptValue}


async def test_an_error_of_the_whole_load_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows(50))
    bench = Bench()
    await bench.create()
    bench.store.fates = [None, lambda puts: [None] * 5 + [FailedPrecondition("disk full: free some space")] * (len(puts) - 5)]
    with pytest.raises(FailedPrecondition):
        await bench.load(path)
    batches = 3  # which are written side by side: each must find the store away at every try
    bench.store.fates = [lambda _: Unavailable("away") for _ in range(bulk.ATTEMPTS_MAX * batches)]
    with pytest.raises(Unavailable, match="resume_token"):
        await bench.load(path)


async def test_batches_are_no_larger_than_a_call_may_be(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows(50))
    bench = Bench(keys_per_call_max=7)
    await bench.create()
    assert (await bench.load(path)).rows_written == 50
    assert max(bench.store.sizes) == 7


@pytest.mark.parametrize(
    "token",
    ["x", "..", "a.1.2", "{of}.1", "{of}.1.2.3", "{of}.-1.5", "{of}.1.²", "{of}.1.٣", "{of}.1." + "9" * 5000, "{of}.1.2\n", "{of} .1.2"],
)
async def test_a_token_that_is_not_of_this_load_is_refused(token: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows(50))
    bench = Bench()
    await bench.create()
    good = (await bench.load(path, batches=1)).resume_token
    with pytest.raises(InvalidRequest) as caught:
        await bench.load(path, resume_token=token.replace("{of}", good.partition(".")[0]))
    assert caught.value.field == "resume_token"


async def test_a_token_is_refused_for_another_dataset_partition_or_content(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows(50))
    bench = Bench()
    await bench.create()
    await bench.create("OTHER")
    token = (await bench.load(path, batches=1)).resume_token
    for load in (Load(str(path), "OTHER", "", token), Load(str(path), "D", PARTITION, token)):
        with pytest.raises(InvalidRequest):
            await anext(bench.loader.run(load))
    write_parquet(path, rows(51))
    with pytest.raises(InvalidRequest):
        await bench.load(path, resume_token=token)


async def test_who_may_load_needs_no_other_permission_and_others_may_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows(5))
    bench = Bench()
    await bench.create()
    admin = Caller("admin", Policy([Rule(("admin",), frozenset({Verb.ADMIN}), ("D",))]))
    writer = Caller("writer", Policy([Rule(("writer",), frozenset({Verb.WRITE, Verb.READ}), ("*",))]))
    with pytest.raises(PermissionDenied):
        await bench.load(path, caller=writer)
    assert not await bench.content()
    assert (await bench.load(path, caller=admin)).rows_written == 5


async def test_an_unknown_dataset_is_not_loaded_and_the_file_not_looked_at(tmp_path: Path) -> None:
    with pytest.raises(UnknownDataset):
        await Bench().load(tmp_path / "there is none.parquet")


# where rows may come from


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A folder that may be read, beside one that may not."""
    for name in ("allowed", "secret", "allowed-not"):
        (tmp_path / name).mkdir()
        write_parquet(tmp_path / name / "rows.parquet", rows(3))
    return tmp_path / "allowed"


def test_what_lies_in_a_root_is_opened(allowed: Path) -> None:
    for place in (allowed, allowed / "rows.parquet", f"file://{allowed}", f"{allowed}/../allowed/./rows.parquet"):
        assert open_source(str(place), "", [allowed]).count() == 3


@pytest.mark.parametrize(
    "place",
    [
        "/",
        "/etc",
        "/etc/passwd",
        "{root}/..",
        "{root}/../secret",
        "{root}/../secret/rows.parquet",
        "{root}-not",
        "{root}-not/rows.parquet",
        ".",
    ],
)
def test_what_lies_elsewhere_is_refused_whether_it_exists_or_not(place: str, allowed: Path) -> None:
    for form in ("{}", "file://{}", "{}/no/such"):
        with pytest.raises(FailedPrecondition) as caught:
            open_source(form.format(place.replace("{root}", str(allowed))), "", [allowed])
        assert str(allowed) not in caught.value.message


def test_no_root_means_no_place(allowed: Path) -> None:
    with pytest.raises(FailedPrecondition):
        open_source(str(allowed), "", [])
    assert open_source(str(allowed), "", None).count() == 3


def test_links_lead_nowhere_else(allowed: Path) -> None:
    secret = allowed.parent / "secret"
    (allowed / "file.parquet").symlink_to(secret / "rows.parquet")
    for place in (allowed, allowed / "file.parquet"):
        with pytest.raises(FailedPrecondition):
            open_source(str(place), "", [allowed])
    (allowed / "file.parquet").unlink()
    (allowed / "folder").symlink_to(secret)
    with pytest.raises(FailedPrecondition):
        open_source(str(allowed / "folder"), "", [allowed])
    (allowed / f"ds={PARTITION}").symlink_to(secret)
    with pytest.raises(FailedPrecondition):
        open_source(str(allowed), PARTITION, [allowed])


def test_a_link_within_a_root_and_a_root_that_is_a_link_are_fine(allowed: Path) -> None:
    (allowed / "link.parquet").symlink_to(allowed / "rows.parquet")
    (allowed.parent / "alias").symlink_to(allowed)
    assert open_source(str(allowed.parent / "alias"), "", [allowed.parent / "alias"]).count() == 6


@pytest.mark.parametrize(
    "name", ["", "no\x00name", "x" * 5000, "loop", "nothing", "empty", "notes.txt", "fifo.avro", "s3://bucket/table", "file://"]
)
def test_a_source_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "rows.parquet", rows(1))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    os.mkfifo(tmp_path / "fifo.avro")
    place = name if name in ("", "s3://bucket/table", "file://") else str(tmp_path / name)
    with contextlib.chdir(tmp_path), pytest.raises(InvalidRequest) as caught:
        open_source(place, "", None)
    assert caught.value.field == "source_offline_table"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("partition", ["../secret", "2023-13-01", "yesterday", "2023-11-13/../..", "20231113x"])
async def test_a_partition_is_a_date(partition: str, allowed: Path) -> None:
    bench = Bench()
    await bench.create()
    for token in ("", "abc.1.2"):
        with pytest.raises(InvalidRequest) as caught:
            await bench.load(allowed, partition=partition, resume_token=token)
        assert caught.value.field == "partition"


# files that are not what they should be


def read_all(path: Path) -> int:
    return sum(map(len, open_source(str(path), "", None).batches(0)))


@pytest.mark.parametrize(
    "columns",
    [
        {"key_bytes": pa.array(["text"])},
        {"value_bytes": pa.array([None], pa.binary())},
        {"ts": pa.array(["2023"])},
        {"ts": pa.array([0], pa.timestamp("ms"))},
    ],
    ids=["key of text", "value of null", "time of text", "time of another type"],
)
def test_a_column_of_the_wrong_type_is_named(columns: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, [(b"k", b"v", 1)], **columns)
    with pytest.raises(InvalidRequest, match=r"rows\.parquet"):
        read_all(path)


def test_a_missing_column_is_named_and_a_wide_table_does_not_overflow_the_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({f"column_{n}_{'x' * 500}": [1] for n in range(300)}), path)
    with pytest.raises(InvalidRequest, match="key_bytes") as caught:
        read_all(path)
    assert len(caught.value.message) < 2000
    twice = pa.Table.from_arrays([pa.array([b"k"])] * 3, names=["key_bytes", "key_bytes", "value_bytes"])
    pq.write_table(twice, path)
    with pytest.raises(InvalidRequest, match="2 columns key_bytes"):
        read_all(path)


@pytest.mark.parametrize("schema", ['"bytes"', '{"type": "array", "items": "bytes"}', '{"type": "record", "name": "R", "fields": []}'])
def test_an_avro_file_of_something_else_is_refused(schema: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.avro"
    parsed = json.loads(schema)
    record: Any = b"x" if parsed == "bytes" else [b"x"] if parsed.get("type") == "array" else {}
    with path.open("wb") as stream:
        fastavro.writer(stream, parsed, [record])
    with pytest.raises(InvalidRequest, match=r"rows\.avro"):
        read_all(path)


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("good")
    found = {}
    for form, write in WRITERS.items():
        path = folder / f"{form}.{form.partition('-')[0]}"
        write(path, rows(60))
        found[path.name] = path.read_bytes()
    return found


@given(st.data())
def test_a_damaged_file_is_refused_as_one_or_read(good_files: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(good_files)))
    content = bytearray(good_files[name])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)) | st.just(len(content)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            opened = open_source(str(path), "", None)
            opened.count()
            read_all(path)
        except InvalidRequest as refused:
            assert name in refused.message  # noqa: PT017 - it may be raised, or not


def test_the_batches_of_the_product_are_larger_than_those_of_these_tests() -> None:
    assert ROWS_PER_BATCH == 4_096

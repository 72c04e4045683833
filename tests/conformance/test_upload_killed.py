"""Uploads that die at many places: whoever reads the table sees what was there before or the whole new upload, and the next one succeeds.

Steps are the deterministic deaths: before or after each call of the uploading thread. The kernel's are anywhere, in Arrow's and
Delta's own code too.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pytest

from chronoserve.model.errors import FailedPrecondition
from chronoserve.upload.files import FILE
from chronoserve.warehouse.places import open_warehouse
from tests.unit.upload.shop import DS, conf, events, millis, write

EVENTS = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("ts", pa.int64())])
TABLE, USERS = "out.team_gb_v1_upload", 300
DAY_BEFORE = "2024-03-09"
NAME = "production/group_bys/team/gb.v1"
STEPS, TIMES = 16, 8
CHANCES = random.Random(1106)

Row = tuple[bytes, bytes, str]
Rows = frozenset[Row]
Read = Callable[[], Rows]


@dataclass(frozen=True)
class Kind:
    """One kind of table. ``readers``: of the folder that is given, beside our own."""

    words: tuple[str, ...] = ()
    iceberg: bool = False
    others: bool = False
    """Another writer's files are in the folder before each upload."""
    readers: tuple[Callable[[Path], Rows], ...] = ()

    @property
    def partitioned(self) -> bool:
        return "--partitioned" in self.words


def of_arrow(table: pa.Table) -> Rows:
    columns = (table.column(name).to_pylist() for name in ("key_bytes", "value_bytes", "ds"))
    return frozenset(zip(*columns, strict=True))


def by_arrow(folder: Path) -> Rows:
    return of_arrow(pads.dataset(folder, partitioning=pads.partitioning(pa.schema([("ds", pa.string())]), flavor="hive")).to_table())


def by_duckdb(folder: Path) -> Rows:
    """As an analyst asks: a pattern of files."""
    asked = f"select key_bytes, value_bytes, ds::varchar from read_parquet('{folder}/**/*.parquet', hive_partitioning=true)"
    with duckdb.connect() as asking:
        return frozenset(asking.execute(asked).fetchall())


def by_delta(folder: Path) -> Rows:
    return of_arrow(deltalake.DeltaTable(str(folder)).to_pyarrow_table())


KINDS = {
    "parquet": Kind(readers=(by_arrow, by_duckdb)),
    "parquet-partitioned": Kind(("--partitioned",), readers=(by_arrow, by_duckdb)),
    "parquet-of-another-writer": Kind(others=True, readers=(by_arrow,)),
    "delta": Kind(("--format", "delta"), readers=(by_delta,)),
    "delta-partitioned": Kind(("--format", "delta", "--partitioned"), readers=(by_delta,)),
    "iceberg": Kind(iceberg=True),
    "iceberg-partitioned": Kind(("--partitioned",), iceberg=True),
}


@dataclass
class Shop:
    """A warehouse of events that change with each round, and a table that is uploaded from them."""

    root: Path
    kind: Kind
    round: int = 0

    def __post_init__(self) -> None:
        path = self.root / NAME
        path.parent.mkdir(parents=True)
        path.write_text(conf(events()))

    def next(self) -> None:
        self.round += 1
        found = [{"user": f"u{user}", "vl": 1, "ts": millis(DS, 1 + hour)} for user in range(USERS) for hour in range(1 + self.round % 7)]
        before = [{"user": f"u{user}", "vl": 1, "ts": millis(DAY_BEFORE)} for user in range(USERS)]
        write(self.root / "warehouse", "shop.events", {DS: found, DAY_BEFORE: before}, EVENTS)

    def words(self, output: str = "made", ds: str = DS) -> list[str]:
        place = ["--conf", str(self.root / NAME), "--warehouse", str(self.root / "warehouse"), "--output", self.url(output)]
        return [*place, "--ds", ds, "--json", *self.kind.words]

    def url(self, output: str = "made") -> str:
        if not self.kind.iceberg:
            return str(self.root / output)
        return f"iceberg://spark?type=sql&uri=sqlite:///{self.root}/{output}.db&warehouse=file://{self.root}/{output}"

    @property
    def folder(self) -> Path:
        return self.root / "made" / "out.db" / "team_gb_v1_upload"

    def rows(self, output: str = "made") -> Rows:
        """What our own reader finds; nothing where there is no table yet, or an empty one."""
        try:
            table = open_warehouse(self.url(output)).table(TABLE)
            batches = [pa.Table.from_batches([batch]) for batch in table.read(["key_bytes", "value_bytes", "ds"])]
        except FailedPrecondition as missing:
            if "gone" in missing.message:
                return self.rows(output)  # it was exchanged under the reader, who is told to try again
            if "no table" in missing.message or "no data files" in missing.message:
                return frozenset()
            raise
        counted = sum(batch.num_rows for batch in batches)
        found = of_arrow(pa.concat_tables(batches)) if batches else frozenset()
        assert len(found) == counted, "a row is there twice"
        return found

    def looks(self) -> Sequence[Read]:
        """Other readers fail where a folder has no data file yet, as it has before the first upload."""
        there = self.folder.exists() and any(self.folder.rglob("*.parquet"))
        return [self.rows, *(partial(read, self.folder) for read in self.kind.readers if there)]

    def measured(self, mortal: "Mortal") -> tuple[int, int, float]:
        """Steps of a whole upload over another one, those after its last row, and its seconds."""
        assert mortal.upload(self.words())[0] == 0
        self.seed()
        _, steps, lived = mortal.upload(self.words())
        self.seed()
        _, last_steps, _ = mortal.upload(self.words(), published=True)
        self.seed()
        return steps, last_steps, lived

    def seed(self) -> None:
        """Files as Spark leaves them, with the rows that the table has."""
        if self.kind.others:
            (written,) = self.folder.glob("part-*")
            written.rename(self.folder / "part-00000-0d2f-c000.snappy.parquet")
            (self.folder / "_SUCCESS").touch()


class Mortal:
    """``chronoserve upload`` in processes that die."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.conformance.mortal_uploader"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def upload(self, words: list[str], **death: Any) -> tuple[int, int, float]:
        """``death``: as ``mortal_uploader`` has it; what is not given is never."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        given = {"words": words, "step": 0, "published": False, "own": False, "seconds": 0.0, **death}
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        code, steps, lived = json.loads(self._process.stdout.readline())
        return code, steps, lived

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    made = Mortal()
    yield made
    made.close()


class Watcher:
    """A reader who looks all the time."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seen: set[Rows] = set()
        self.failed: list[BaseException] = []

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        try:
            while not self._ended.is_set():
                self.seen.add(self._shop.rows())
        except BaseException as failed:  # noqa: BLE001 - it is the test's
            self.failed.append(failed)


@pytest.mark.parametrize("name", KINDS)
def test_readers_see_the_old_upload_or_the_new_one_wherever_the_upload_dies(name: str, mortal: Mortal, tmp_path: Path) -> None:
    shop = Shop(tmp_path, KINDS[name])
    shop.next()
    other_days: Rows = frozenset()
    if shop.kind.partitioned:
        assert mortal.upload(shop.words(ds=DAY_BEFORE))[0] == 0
        other_days = shop.rows()
        assert len(other_days) == USERS + 1
    steps, last_steps, lived = shop.measured(mortal)
    old = shop.rows()
    kills = died = 0
    while kills < STEPS + TIMES:
        shop.next()
        assert mortal.upload(shop.words("undisturbed"))[0] == 0
        new = other_days | shop.rows("undisturbed")
        assert len(new) == len(other_days) + USERS + 1
        code = 1
        with Watcher(shop) as watcher:
            while code and kills < STEPS + TIMES:
                code, _, _ = mortal.upload(shop.words(), **death(kills, steps, last_steps, lived))
                assert code <= 0, "an upload that lives ends well"
                kills, died = kills + 1, died + (code < 0)
                for look in shop.looks():
                    assert look() in (old, new)
            if code:
                assert mortal.upload(shop.words())[0] == 0
        assert not watcher.failed, watcher.failed
        assert watcher.seen <= {old, new}
        for look in shop.looks():
            assert look() == new
        old = new
        shop.seed()
    assert died > (STEPS + TIMES) // 2


def death(kills: int, steps: int, last_steps: int, lived: float) -> dict[str, Any]:
    """Half of the steps are after the last row, while the table is published, and spread evenly over that."""
    if kills >= STEPS:
        return {"seconds": CHANCES.uniform(0.0005, lived / 2)}
    if kills % 2:
        return {"step": CHANCES.randint(1, steps), "published": False}
    first, end = (1 + (kills // 2 + more) * last_steps * 2 // STEPS for more in (0, 1))
    return {"step": CHANCES.randrange(first, max(first + 1, end)), "published": True}


def test_a_run_that_is_killed_with_its_job_leaves_the_table_as_it_was_and_the_next_succeeds(tmp_path: Path) -> None:
    """``run`` dies by the kernel's clock, which ``exec`` keeps; what it has started dies with it."""
    shop = Shop(tmp_path, KINDS["parquet"])
    shop.next()
    words = ["run", "--mode", "upload", "--conf", NAME, "--ds", DS, "--output", shop.url()]
    command = [sys.executable, "-P", "-m", "chronoserve", *words]
    env = {**os.environ, "CHRONOSERVE_WAREHOUSE": str(shop.root / "warehouse")}
    assert subprocess.run(command, cwd=shop.root, env=env, check=False, capture_output=True).returncode == 0
    old = shop.rows()
    for _ in range(4):
        shop.next()
        begun = subprocess.Popen(
            command, cwd=shop.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: signal.setitimer(signal.ITIMER_REAL, CHANCES.uniform(0.5, 3.0)) and None,
        )  # fmt: skip
        begun.wait()
        os.killpg(begun.pid, signal.SIGKILL) if begun.returncode else None
        found = shop.rows()
        assert subprocess.run(command, cwd=shop.root, env=env, check=False, capture_output=True).returncode == 0
        assert found in (old, shop.rows())
        old = shop.rows()


def test_no_step_of_an_exchange_shows_anything_else_and_what_is_left_is_hidden_and_goes_after_a_day(mortal: Mortal, tmp_path: Path) -> None:
    """Each step of ours after the last row: where files of another writer make room, a folder takes the place of another."""
    shop = Shop(tmp_path, KINDS["parquet-of-another-writer"])
    shop.next()
    shop.measured(mortal)
    rows = shop.rows()
    left: list[Path] = []
    code, step = -1, 0
    while code:
        step += 1
        code, _, _ = mortal.upload(shop.words(), step=step, published=True, own=True)
        assert shop.rows() == rows
        left += kept_aside(shop, tmp_path / "left" / str(step))
        if (shop.folder / FILE).exists():
            shop.seed()
    assert {path.suffix for path in left} == {".writing", ".new"}
    for path in left:
        os.utime(path.rename((shop.folder if path.suffix == ".writing" else shop.folder.parent) / path.name), (1, 1))
    assert mortal.upload(shop.words())[0] == 0
    assert [path.name for path in shop.folder.parent.iterdir()] == [shop.folder.name]
    assert [path.name for path in shop.folder.iterdir()] == [FILE]
    assert shop.rows() == rows


def kept_aside(shop: Shop, place: Path) -> list[Path]:
    """What an upload has left, so that the next one takes the same steps."""
    place.mkdir(parents=True)
    left = [*shop.folder.glob("_*.writing"), *shop.folder.parent.glob("_*.new")]
    return [path.rename(place / path.name) for path in left]

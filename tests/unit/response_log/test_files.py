"""Files of logged rows: the layout and columns of Chronon's log table, complete when they are there, and a disk that fails."""

import errno
import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from chronoserve.ingest.response_log import files
from chronoserve.ingest.response_log.files import FILES_MAX, FileSettings, FileSink, Format
from chronoserve.model.errors import FailedPrecondition, Unavailable
from chronoserve.testing.clock import ManualClock
from tests.unit.response_log.rows import control, row

DAY_MILLIS = 86_400_000
NOON = 1_709_294_400_000  # 2024-03-01T12:00:00Z
FORMATS: list[Format] = ["parquet", "avro"]


def sink(path: Path, clock: ManualClock, **settings: Any) -> FileSink:
    return FileSink(FileSettings(path=path, **settings), clock=clock)


def named(path: Path) -> list[str]:
    """The files that readers see, without the parts that are random."""
    return sorted(str(file.parent.relative_to(path)) for file in path.rglob("part-*") if file.is_file())


def hidden(path: Path) -> list[Path]:
    """Files that are not complete."""
    return list(path.rglob(".part-*"))


def read(path: Path) -> list[dict[str, Any]]:
    """All rows as the offline half sees them: partition columns from the path."""
    rows: list[dict[str, Any]] = []
    for file in sorted(path.rglob("part-*")):
        if file.suffix == ".parquet":
            rows += pq.ParquetFile(file).read().to_pylist()
        else:
            with file.open("rb") as stream:
                rows += [record for record in fastavro.reader(stream) if isinstance(record, dict)]
    return rows


def expected(*logged: Any) -> list[dict[str, Any]]:
    return [
        {"key_base64": each.key_base64, "value_base64": each.value_base64, "ts_millis": each.ts_millis, "schema_hash": each.schema_hash}
        for each in logged
    ]


@pytest.mark.parametrize("format_", FORMATS)
async def test_rows_are_partitioned_by_day_and_join(tmp_path: Path, format_: Format) -> None:
    clock = ManualClock(NOON)
    made = sink(tmp_path, clock, format=format_)
    assert await made.write([control(), row(0), row(1, name="team/other.v1"), row(2)]) == []
    clock.advance(DAY_MILLIS)
    assert await made.write([row(3)]) == []
    assert named(tmp_path) == [], "nothing is there before it is complete"
    await made.close(seconds=5)
    assert named(tmp_path) == [
        "ds=2024-03-01/name=SCHEMA_PUBLISH_EVENT",
        "ds=2024-03-01/name=team%2Fjoin.v1",
        "ds=2024-03-01/name=team%2Fother.v1",
        "ds=2024-03-02/name=team%2Fjoin.v1",
    ]
    by_key = sorted(read(tmp_path), key=lambda each: str(each["key_base64"]))
    assert by_key == sorted(expected(control(), row(0), row(1), row(2), row(3)), key=lambda each: str(each["key_base64"]))
    assert not hidden(tmp_path)


async def test_a_reader_of_partitioned_tables_sees_every_column(tmp_path: Path) -> None:
    made = sink(tmp_path, ManualClock(NOON))
    await made.write([row(0), control()])
    await made.close(seconds=5)
    table = ds.dataset(tmp_path, partitioning="hive").to_table().to_pylist()
    assert set(table[0]) == {"key_base64", "value_base64", "name", "ts_millis", "schema_hash", "ds"}
    assert {(each["name"], each["ds"]) for each in table} == {("team/join.v1", "2024-03-01"), ("SCHEMA_PUBLISH_EVENT", "2024-03-01")}


async def test_files_are_finished_by_time_and_by_size(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    made = sink(tmp_path, clock, roll_seconds=60, roll_bytes=100_000)
    await made.write([row(0)])
    clock.advance(59_000)
    await made.settle(now_millis=clock())
    assert named(tmp_path) == []
    clock.advance(1_000)
    await made.settle(now_millis=clock())
    assert len(named(tmp_path)) == 1
    await made.write([row(1, size=80_000)])
    assert len(named(tmp_path)) == 2
    await made.close(seconds=5)
    assert len(named(tmp_path)) == 2
    assert len(read(tmp_path)) == 2


async def test_one_file_takes_many_batches(tmp_path: Path) -> None:
    made = sink(tmp_path, ManualClock(NOON))
    rows = [row(at, size=2_000) for at in range(3_000)]
    for at in range(0, 3_000, 100):
        await made.write(rows[at : at + 100])
    await made.close(seconds=5)
    assert len(named(tmp_path)) == 1
    assert read(tmp_path) == expected(*rows)


async def test_many_joins_do_not_open_many_files(tmp_path: Path) -> None:
    made = sink(tmp_path, ManualClock(NOON))
    await made.write([row(at, name=f"team/join{at}.v1") for at in range(FILES_MAX + 5)])
    assert len(hidden(tmp_path)) == FILES_MAX
    await made.close(seconds=5)
    assert len(read(tmp_path)) == FILES_MAX + 5


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b", "..", "a\x00b", "ü/é"])
async def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    made = sink(tmp_path / "log", ManualClock(NOON))
    await made.write([row(0, name=name)])
    await made.close(seconds=5)
    (folder,) = named(tmp_path)
    assert Path(folder).parent == Path("log/ds=2024-03-01")


class Disk:
    """An encoder whose blocks fail while it is full."""

    full = False

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def block(self, columns: files.Columns) -> None:
        if Disk.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._file.write(json.dumps(columns["ts_millis"]).encode())

    def finish(self) -> None:
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> type[Disk]:
    monkeypatch.setattr(files, "_parquet_encoder", lambda: Disk)
    monkeypatch.setattr(files, "BLOCK_ROWS", 2)
    monkeypatch.setattr(Disk, "full", False)
    return Disk


async def test_a_full_disk_refuses_what_it_was_given_and_counts_what_it_lost(tmp_path: Path, disk: type[Disk]) -> None:
    made = sink(tmp_path, ManualClock(NOON))
    await made.write([row(0)])
    disk.full = True
    with pytest.raises(Unavailable, match="No space left on device"):
        await made.write([row(1)])
    assert made.lost == 1, "row 0 was in the file that broke"
    disk.full = False
    assert await made.write([row(1)]) == []
    await made.close(seconds=5)
    assert len(named(tmp_path)) == 1
    assert not hidden(tmp_path)


async def test_rows_of_a_full_file_that_cannot_be_finished_are_lost_once(
    tmp_path: Path, disk: type[Disk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_ROWS", 100)
    made = sink(tmp_path, ManualClock(NOON), roll_bytes=50)
    assert await made.write([row(0)]) == []
    disk.full = True
    assert await made.write([row(1, size=100)]) == []
    assert made.lost == 2


async def test_one_join_s_trouble_is_not_another_s(tmp_path: Path, disk: type[Disk], monkeypatch: pytest.MonkeyPatch) -> None:
    made = sink(tmp_path, ManualClock(NOON))
    (tmp_path / "ds=2024-03-01").mkdir()
    (tmp_path / "ds=2024-03-01" / "name=bad").write_text("a file where a folder should be")
    assert await made.write([row(0, name="bad"), row(1)]) == [row(0, name="bad")]
    await made.close(seconds=5)
    assert "ds=2024-03-01/name=team%2Fjoin.v1" in named(tmp_path)


async def test_a_file_that_cannot_be_finished_is_lost_and_told(tmp_path: Path, disk: type[Disk]) -> None:
    made = sink(tmp_path, ManualClock(NOON))
    await made.write([row(0)])
    disk.full = True
    with pytest.raises(Unavailable):
        await made.close(seconds=5)
    assert made.lost == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match="folder cannot be made"):
        sink(tmp_path / "file" / "log", ManualClock(NOON))

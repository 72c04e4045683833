"""``chronoserve kv bulk-put``: files into a dataset, with progress and a token to go on with."""

from pathlib import Path

import fastavro
import pytest

from chronoserve.app import kv
from chronoserve.ingest.source import ROWS_PER_BATCH
from chronoserve.model.errors import Unavailable
from chronoserve.service import bulk
from chronoserve.service.gateway import Gateway
from tests.unit.app.shell import run

ROWS = ROWS_PER_BATCH + 500
SCHEMA = {
    "type": "record",
    "name": "row",
    "fields": [{"name": "key_bytes", "type": "bytes"}, {"name": "value_bytes", "type": "bytes"}, {"name": "ts", "type": ["null", "long"]}],
}


def write(file: Path, rows: int = ROWS, *, empty_key_at: int = -1) -> Path:
    records = [
        {"key_bytes": b"" if number == empty_key_at else b"k%06d" % number, "value_bytes": b"v%d" % number, "ts": 5}
        for number in range(rows)
    ]
    with file.open("wb") as stream:
        fastavro.writer(stream, fastavro.parse_schema(SCHEMA), records)
    return file


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.avro")


def test_a_file_is_loaded(place: list[str], dataset: str, source: Path) -> None:
    run("kv", "create", dataset, *place)
    found = run("kv", "bulk-put", source, dataset, *place)
    assert found.code == 0
    assert found.out.startswith(f"{ROWS} rows written, 0 refused, ")
    assert "rows/s" in found.err
    assert run("kv", "get", dataset, f"k{ROWS - 1:06}", *place).out == f"5\tv{ROWS - 1}\n"


def test_progress_is_objects_with_json(place: list[str], dataset: str, source: Path) -> None:
    run("kv", "create", dataset, *place)
    *_, last = run("kv", "bulk-put", source, dataset, "--json", *place).objects
    assert (last["done"], last["rows_written"], last["rows_refused"]) == (True, ROWS, 0)


def test_a_refused_row_is_exit_code_1(place: list[str], dataset: str, tmp_path: Path) -> None:
    run("kv", "create", dataset, *place)
    found = run("kv", "bulk-put", write(tmp_path / "bad.avro", 10, empty_key_at=3), dataset, *place)
    assert found.code == 1
    assert found.out.startswith("9 rows written, 1 refused")
    assert "error: key_bytes is empty" in found.err


def test_what_cannot_be_loaded_is_an_error(place: list[str], dataset: str, tmp_path: Path) -> None:
    run("kv", "create", dataset, *place)
    found = run("kv", "bulk-put", tmp_path / "nothing", dataset, *place)
    assert (found.code, "no .parquet or .avro file" in found.err) == (1, True)


def test_a_load_that_is_broken_off_says_how_to_go_on(tmp_path: Path, dataset: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = ["--store", f"lmdb://{tmp_path}/store"]
    run("kv", "create", dataset, *place)
    written = Gateway.put_complete
    batches = iter(range(100))

    async def fail_from_the_second_on(self: Gateway, requests: object, **options: object) -> object:
        if next(batches):
            raise Unavailable("the store is away")
        return await written(self, requests, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as away:
        away.setattr(bulk, "PAUSE_SECONDS", 0)
        away.setattr(Gateway, "put_complete", fail_from_the_second_on)
        broken = run("kv", "bulk-put", source, dataset, *place)
    assert broken.code == 1
    _, _, token = broken.err.partition("--resume ")
    assert token.split()[0].endswith(f".{ROWS_PER_BATCH}")
    resumed = run("kv", "bulk-put", source, dataset, "--resume", token.split()[0], *place)
    assert resumed.out.startswith(f"{ROWS - ROWS_PER_BATCH} rows written")
    assert run("kv", "scan", dataset, *place).err == f"{ROWS} keys\n"


def test_a_path_of_this_machine_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "here.avro", 1)
    assert kv._source_path("here.avro") == str(tmp_path / "here.avro")
    assert kv._source_path("/only/at/the/server.avro") == "/only/at/the/server.avro"

"""Uploads that are damaged, incomplete or half written, through ``load`` to its end: table, day and remedy are named, nothing is online."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.app.faults import FAULTS
from tests.unit.app.shell import run, run_process
from tests.unit.app.test_cli_load import DATASET, DS, TABLE
from tests.unit.upload import shop


@pytest.mark.parametrize("make", FAULTS, ids=lambda make: make.__name__)
def test_a_fault_is_named_with_its_remedy_and_nothing_is_online(make: Callable[[Path], str], tmp_path: Path) -> None:
    url = make(tmp_path / "lake")
    store = f"lmdb://{tmp_path / 'store'}"
    answer = run("load", TABLE, "--partition", DS, "--warehouse", url, "--store", store, "--checkpoints", str(tmp_path / "loads"))
    assert answer.code == 1
    assert TABLE in answer.err
    assert FAULTS[make] in answer.err, answer.err
    assert f"{TABLE}/{DS}" in answer.err
    assert str(tmp_path) not in answer.err.replace(url, "")
    assert "Traceback" not in answer.err
    assert run("kv", "scan", DATASET, "--store", store).err == "0 keys\n"


EVENTS = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("ts", pa.int64())])
UPLOADED = "out.team_gb_v1_upload"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)


def drifted(path: Path) -> None:
    day = path.parent.name.removeprefix("ds=")
    other = pa.schema([("user", pa.string()), ("vl", pa.string()), ("ts", pa.int64())])
    shop.write(path.parents[3], "shop.events", {day: [{"user": "a", "vl": "x", "ts": shop.millis(day)}]}, other)


def away(path: Path) -> None:
    path.parents[1].rename(path.parents[2] / "elsewhere")


@pytest.mark.parametrize(("fault", "said", "verb"), [
    (cut, ("ds=2024-03-09", "write the partition again"), ("upload",)),
    (cut, ("ds=2024-03-09", "write the partition again"), ("run", "--mode", "upload")),
    (damaged, ("ds=2024-03-09", "write the partition again"), ("upload",)),
    (drifted, ("ds=2024-03-09", "rewrite the older"), ("upload",)),
    (away, ("has its job run?",), ("upload",)),
])  # fmt: skip
def test_a_fault_of_a_source_is_named_and_neither_table_nor_store_has_changed(
    fault: Callable[[Path], None], said: tuple[str, ...], verb: tuple[str, ...], tmp_path: Path
) -> None:
    """The old upload is online, and stays there."""
    days = ("2024-03-09", shop.DS)
    shop.write(tmp_path / "lake", "shop.events", {day: [{"user": "u", "vl": 1, "ts": shop.millis(day)}] for day in days}, EVENTS)
    conf = tmp_path / "production" / "group_bys" / "team" / "gb.v1"
    conf.parent.mkdir(parents=True)
    conf.write_text(shop.conf(shop.events()))
    store = f"lmdb://{tmp_path / 'store'}"
    words = ["--conf", str(conf), "--ds", shop.DS, "--warehouse", str(tmp_path / "lake"), "--bulk-load", "--store", store]
    first = run("upload", *words)
    assert first.code == 0, first.err
    online, table = scanned(store), written(tmp_path)
    fault(tmp_path / "lake" / "shop.db" / "events" / "ds=2024-03-09" / "part-0.parquet")
    again = run_process(*verb, *words, cwd=tmp_path) if len(verb) > 1 else run(*verb, *words)
    assert again.code == 1
    assert "shop.events" in again.err
    for text in said:
        assert text in again.err
    assert "Traceback" not in again.err
    assert scanned(store) == online
    assert written(tmp_path) == table


def scanned(store: str) -> list[object]:
    found = run("kv", "scan", DATASET, "--store", store, "--json").out
    return [json.loads(line) for line in found.splitlines()]


def written(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "lake" / "out.db" / "team_gb_v1_upload").iterdir()}

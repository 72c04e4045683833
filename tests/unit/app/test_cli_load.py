"""``chronoserve load``: whole uploads through any format, broken off anywhere and taken up again."""

import json
import random
import signal
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoserve.app.load_alone import alone
from tests.unit.app.shell import COMMAND, Answer, run

DS = "2023-11-30"
BATCH_END = 1_701_388_800_000
DATASET = "TEAM_GB_V1_BATCH"
TABLE = "ns.team_gb_v1_upload"


def info(end: str = "2023-12-01", name: str = "team.gb.v1") -> bytes:
    return json.dumps({"groupBy": {"metaData": {"name": name}}, "batchEndDate": end}).encode()


def upload(warehouse: Path, rows: int, *, table: str = "team_gb_v1_upload", serving_info: bytes | None = None, tag: str = "v") -> None:
    keys = [f"k{n}".encode() for n in range(rows)]
    found = [f"{tag}{n}".encode() for n in range(rows)]
    at = rows // 3
    keys.insert(at, b"group_by_serving_info")
    found.insert(at, info() if serving_info is None else serving_info)
    columns = {"key_bytes": pa.array(keys, pa.binary()), "value_bytes": pa.array(found, pa.binary()), "ds": [DS] * len(keys)}
    folder = warehouse / "ns.db" / table
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "part-0.snappy.parquet", row_group_size=1000)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    upload(tmp_path / "warehouse", 50)
    return tmp_path


def options(place: Path, *more: str) -> list[str]:
    where = ["--warehouse", str(place / "warehouse"), "--store", f"lmdb://{place / 'store'}", "--checkpoints", str(place / "loads")]
    return ["--partition", DS, *where, *more]


def load(place: Path, *more: str, tables: tuple[str, ...] = (TABLE,)) -> Answer:
    return run("load", *tables, *options(place, *more))


def read(place: Path, *keys: str, dataset: str = DATASET) -> list[list[tuple[str, int]]]:
    answer = run("kv", "multi-get", "--store", f"lmdb://{place / 'store'}", "--json", *[word for key in keys for word in (dataset, key)])
    return [[(each["value"], each["ts"]) for each in found.get("values", [])] for found in answer.objects]


def value(place: Path, key: str, dataset: str = DATASET) -> tuple[str, int] | None:
    answer = run("kv", "get", dataset, key, "--store", f"lmdb://{place / 'store'}", "--json")
    found = answer.objects[0]["values"] if answer.out else []
    return (found[-1]["value"], found[-1]["ts"]) if found else None


def test_a_whole_upload_is_loaded_read_back_and_counted(place: Path) -> None:
    answer = load(place)
    assert answer.code == 0, answer.err
    assert "51 rows written, 0 refused" in answer.out
    assert "51 keys read back and equal" in answer.err
    assert value(place, "k7") == ("v7", BATCH_END)
    assert value(place, "group_by_serving_info") == (info().decode(), BATCH_END)
    assert not list((place / "loads").iterdir()), "a finished load leaves no checkpoint"


def test_a_dry_run_writes_nothing(place: Path) -> None:
    answer = load(place, "--dry-run")
    assert answer.code == 0
    assert "51 rows, whole; nothing was written" in answer.out
    assert not (place / "store").exists()


def test_several_tables_at_once_and_one_that_fails(place: Path) -> None:
    upload(place / "warehouse", 20, table="team_other_v1_upload", serving_info=info(name="team.other.v1"))
    upload(place / "warehouse", 20, table="team_broken_v1_upload", serving_info=b"{")
    answer = load(place, tables=(TABLE, "ns.team_other_v1_upload", "ns.team_broken_v1_upload"))
    assert answer.code == 1
    assert "ns.team_broken_v1_upload" in answer.err
    assert value(place, "k3") == ("v3", BATCH_END)
    assert value(place, "k3", "TEAM_OTHER_V1_BATCH") == ("v3", BATCH_END)


def test_a_group_by_names_its_table(place: Path) -> None:
    conf = place / "gb.v1"
    conf.write_text(json.dumps({"metaData": {"name": "team.gb.v1", "outputNamespace": "ns"}}))
    assert load(place, "--conf", str(conf), tables=()).code == 0
    assert value(place, "k3") == ("v3", BATCH_END)


def test_an_older_upload_is_not_loaded_over_a_newer_one(place: Path) -> None:
    assert load(place).code == 0
    folder = place / "warehouse" / "ns.db" / "team_gb_v1_upload"
    table = pq.read_table(folder / "part-0.snappy.parquet")
    older = [info("2023-11-30") if key == b"group_by_serving_info" else b"old" for key in table.column("key_bytes").to_pylist()]
    columns = {"key_bytes": table.column("key_bytes"), "value_bytes": pa.array(older, pa.binary()), "ds": ["2023-11-29"] * len(table)}
    pq.write_table(pa.table(columns), folder / "part-0.snappy.parquet")
    words = [word if word != DS else "2023-11-29" for word in options(place)]
    refused = run("load", TABLE, *words)
    assert refused.code == 1
    assert "newer upload" in refused.err
    assert value(place, "k7") == ("v7", BATCH_END)
    assert run("load", TABLE, *words, "--force").code == 0
    assert value(place, "k7") == ("v7", BATCH_END), "newest wins, whatever is loaded later"


def test_a_table_written_again_meanwhile_is_loaded_from_its_start(place: Path) -> None:
    (place / "loads").mkdir()
    assert load(place).code == 0
    upload(place / "warehouse", 5000)
    killed_after(place, 1)
    upload(place / "warehouse", 40, tag="new")
    answer = load(place)
    assert answer.code == 0, answer.err
    assert "41 rows written" in answer.out


def test_a_load_beside_another_of_the_same_dataset_is_refused(place: Path) -> None:
    upload(place / "warehouse", 20, table="team_other_v1_upload", serving_info=info(name="team.other.v1"))
    with alone(place / "loads", f"lmdb://{place / 'store'}", DATASET):
        refused = load(place)
        assert refused.code == 1
        assert f"{DATASET} is being loaded by another process" in refused.err
        assert load(place, tables=("ns.team_other_v1_upload",)).code == 0
    assert value(place, "k7") is None
    assert load(place).code == 0


def test_checkpoints_that_cannot_be_kept_are_a_refusal(place: Path) -> None:
    (place / "file").write_text("no folder")
    refused = load(place, "--checkpoints", str(place / "file" / "below"))
    assert refused.code == 1
    assert "name another folder by --checkpoints" in refused.err
    assert value(place, "k7") is None


def killed_after(place: Path, lines: int) -> bool:
    """Start a load and kill it after so many lines of progress; whether it was still at it."""
    command = [*COMMAND, "load", TABLE, *options(place, "--json", "--rate", "20000", "--verify", "0")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return process.returncode == -signal.SIGKILL


def test_a_load_that_is_killed_goes_on_and_ends_equal(tmp_path: Path) -> None:
    rows = 12_000
    upload(tmp_path / "warehouse", rows)
    chooser = random.Random(7)
    for _ in range(3):
        assert killed_after(tmp_path, 1)
        assert value(tmp_path, "group_by_serving_info") is None, "what is not whole is not online"
        assert (tmp_path / "loads").exists()
    answer = load(tmp_path, "--json", "--verify", str(rows + 1))
    assert answer.code == 0, answer.err
    last = answer.objects[-1]
    assert last["done"]
    assert last["rows"] == rows + 1
    assert last["rows_written"] < rows + 1, "it did not begin anew"
    for n in chooser.sample(range(rows), 20):
        assert value(tmp_path, f"k{n}") == (f"v{n}", BATCH_END)
    assert value(tmp_path, "group_by_serving_info") == (info().decode(), BATCH_END)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a table"),
        ((TABLE, "ns.b_upload", "--dataset", "X"), "single table"),
        (("ns.nothing_upload",), "no table ns.nothing_upload"),
        ((TABLE, "--dataset", "../x"), "no name of a dataset"),
    ],
)
def test_what_cannot_be_loaded_says_why(place: Path, words: tuple[str, ...], said: str) -> None:
    answer = run("load", *words, *options(place))
    assert answer.code == 1
    assert said in answer.err


def test_every_hour_of_statistics_is_kept(place: Path) -> None:
    folder = place / "warehouse" / "ns.db" / "team_j_v1_daily_stats_upload"
    folder.mkdir(parents=True)
    hours = [BATCH_END - hour * 3_600_000 for hour in range(3)]
    columns = {"key_bytes": [b"team/j.v1"] * 3, "value_bytes": [b"a", b"b", b"c"], "ts": hours, "ds": [DS] * 3}
    pq.write_table(pa.table(columns), folder / "part-0.parquet")
    answer = load(place, tables=("ns.team_j_v1_daily_stats_upload",))
    assert answer.code == 0, answer.err
    found = run("kv", "get", "CHRONON_STATS_BATCH", "team/j.v1", "--store", f"lmdb://{place / 'store'}", "--json").objects
    assert [each["ts"] for each in found[0]["values"]] == sorted(hours)

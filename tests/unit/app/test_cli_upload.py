"""``chronoserve upload``, ``run`` without a jar, and ``quickstart``."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.app.shell import run, run_process
from tests.unit.upload.shop import DS, conf, events, millis, write

EVENTS = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("ts", pa.int64())])
NAME = "production/group_bys/team/gb.v1"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A conf, and a warehouse beside it."""
    found = [{"user": "ann", "vl": vl, "ts": millis(DS, vl)} for vl in range(4)]
    write(tmp_path / "warehouse", "shop.events", {DS: found}, EVENTS)
    path = tmp_path / NAME
    path.parent.mkdir(parents=True)
    path.write_text(conf(events()))
    return tmp_path


def words(repo: Path, *more: str | Path) -> list[str | Path]:
    return ["upload", "--conf", repo / NAME, "--ds", DS, "--warehouse", repo / "warehouse", *more]


def test_an_upload_is_loaded_and_fetched(repo: Path) -> None:
    store = f"lmdb://{repo}/store"
    answer = run_process(*words(repo, "--bulk-load", "--store", store), cwd=repo)
    assert answer.code == 0, answer.err
    assert "out.team_gb_v1_upload: 2 rows from 4" in answer.out
    fetched = run_process("fetch", "group-by", "team/gb.v1", "-k", "user=ann", "--store", store, cwd=repo)
    assert fetched.out.split()[:2] == ["vl_count_3d", "4"]


def test_json_says_what_was_written(repo: Path) -> None:
    (found,) = run(*words(repo, "--json")).objects
    assert {name: found[name] for name in ("table", "ds", "rows", "rows_read")} == {
        "table": "out.team_gb_v1_upload", "ds": DS, "rows": 2, "rows_read": 4,
    }  # fmt: skip


def test_a_dry_run_writes_nothing(repo: Path) -> None:
    answer = run(*words(repo, "--dry-run"))
    assert answer.code == 0
    assert "nothing was written" in answer.out
    assert not (repo / "warehouse" / "out.db").exists()


@pytest.mark.parametrize(("more", "said"), [
    (["--ds", "March"], "no day"),
    (["--format", "iceberg"], "iceberg://"),
    (["--output", "hive://127.0.0.1:1"], "does not answer"),
    (["--output", "hive://127.0.0.1:1", "--format", "delta"], "Parquet"),
])  # fmt: skip
def test_what_cannot_be_is_told_with_what_can(repo: Path, more: list[str], said: str) -> None:
    answer = run(*words(repo, *more))
    assert answer.code == 1
    assert said in answer.err


def test_a_load_needs_a_store(repo: Path) -> None:
    assert run(*words(repo, "--bulk-load")).code == 2


def test_a_delta_table_stays_one(repo: Path) -> None:
    assert run(*words(repo, "--format", "delta")).code == 0
    assert run(*words(repo)).code == 0
    assert (repo / "warehouse" / "out.db" / "team_gb_v1_upload" / "_delta_log" / "00000000000000000001.json").exists()
    assert "Delta table" in run(*words(repo, "--format", "parquet")).err


def test_run_uploads_without_a_jar(repo: Path) -> None:
    env = {"CHRONOSERVE_WAREHOUSE": str(repo / "warehouse")}
    job = ("run", "--mode", "upload", "--conf", NAME, "--ds", DS, "--bulk-load", "--online-args", f"-Zstore=lmdb://{repo}/store")
    done = run_process(*job, cwd=repo, env=env)
    assert done.code == 0, done.err
    written = run_process(
        "run", "--mode", "metadata-upload", "--conf", NAME, "--store", f"lmdb://{repo}/store", "--online-jar", "x.jar", cwd=repo
    )
    assert written.code == 0, written.err
    fetch = (
        "run",
        "--mode",
        "fetch",
        "--type",
        "group-by",
        "--name",
        "team/gb.v1",
        "-k",
        '{"user":"ann"}',
        "--store",
        f"lmdb://{repo}/store",
    )
    assert run_process(*fetch, cwd=repo).out.splitlines()[-1].split()[:2] == ["vl_count_3d", "4"]


@pytest.mark.parametrize(("more", "said"), [
    (["--mode", "streaming", "--conf", NAME], "not native yet"),
    (["--mode", "upload", "--conf", NAME, "--start-ds", DS], "one day"),
    (["--mode", "fetch", "--online-args", "-Zstore"], "-Zkey=value"),
])  # fmt: skip
def test_run_says_what_it_cannot_do_without_a_jar(repo: Path, more: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)
    answer = run("run", *more)
    assert answer.code == 1
    assert said in answer.err


def test_render_shows_the_verb(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)
    answer = run("run", "--mode", "upload", "--conf", NAME, "--ds", DS, "--render")
    assert answer.out == f"chronoserve upload --conf {NAME} --ds {DS}\n"


def test_the_quickstart_ends_with_features_and_commands_that_work(tmp_path: Path) -> None:
    answer = run_process("quickstart", "--no-stay", "--json", "--dir", tmp_path, cwd=tmp_path)
    assert answer.code == 0, answer.err
    *steps, row = answer.objects
    assert [step["step"] for step in steps] == ["tables", "confs", "upload", "upload", "upload", "load", "metadata", "server", "FetchJoins"]
    assert (row["status"], len(row["features"]), len(row["freshness"])) == ("OK", 20, 3)
    assert row["features"]["quickstart_purchases_v1_price_count_30d"] > 10
    again = run_process("fetch", "join", "quickstart/training_set.v1", "-k", "user_id=42", "--at", "2024-04-01T09:30:00Z", "--json",
                        "--store", f"lmdb://{tmp_path}/store", cwd=tmp_path)  # fmt: skip
    assert json.loads(again.out)["features"] == row["features"]

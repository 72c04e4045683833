"""``chronoserve upload``, ``run`` without a jar, and ``quickstart``."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from chronoserve.app.upload_target import properties_of
from chronoserve.warehouse.places import open_warehouse
from chronoserve.warehouse.port import Condition
from tests.unit.app.shell import run, run_process
from tests.unit.upload.shop import DS, conf, events, group_by, millis, write

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


@pytest.mark.parametrize("more", [(), ("--format", "delta")])
def test_a_partitioned_table_keeps_each_day_and_is_loaded_by_day(repo: Path, more: tuple[str, ...]) -> None:
    """The day's column has the name and form that the team's tables have."""
    spec = ("--partition-column", "day", "--partition-format", "yyyyMMdd")
    days = ("20240309", "20240310")
    write(repo / "warehouse", "shop.events", {day: [{"user": "ann", "vl": 1, "ts": millis(DS)}] for day in days}, EVENTS, column="day")
    for day in (*days, days[0]):
        answer = run("upload", "--conf", repo / NAME, "--ds", day, "--warehouse", repo / "warehouse", "--partitioned", *spec, *more)
        assert answer.code == 0, answer.err
    table = open_warehouse(str(repo / "warehouse")).table("out.team_gb_v1_upload")
    assert table.partition_columns() == ("day",)
    assert table.partitions("day") == list(days)
    for day in days:
        (found,) = {row["day"] for batch in table.read(["day"], [Condition("day", "==", day)]) for row in batch.to_pylist()}
        assert found == day
        store = f"lmdb://{repo}/store"
        loaded = run("load", "out.team_gb_v1_upload", "--partition", day, "--warehouse", repo / "warehouse", "--store", store, *spec)
        assert loaded.code == 0, loaded.err


def test_a_table_without_partitions_is_loaded_by_ds_whatever_partitions_are_called(repo: Path) -> None:
    spec = ("--partition-column", "day")
    write(repo / "warehouse", "shop.events", {DS: [{"user": "ann", "vl": 1, "ts": millis(DS)}]}, EVENTS, column="day")
    (repo / "warehouse" / "shop.db" / "events" / f"ds={DS}").rename(repo / "elsewhere")
    answer = run(*words(repo, "--bulk-load", "--store", f"lmdb://{repo}/store", *spec))
    assert answer.code == 0, answer.err
    assert "2 rows written" in answer.out


def test_a_layout_that_is_not_the_table_s_is_refused(repo: Path) -> None:
    assert run(*words(repo)).code == 0
    assert "leave out --partitioned" in run(*words(repo, "--partitioned")).err
    folder = repo / "warehouse" / "out.db" / "team_gb_v1_upload"
    (folder / "hr=03").mkdir()
    next(folder.glob("*.parquet")).rename(folder / "hr=03" / "part-0.parquet")
    answer = run(*words(repo))
    assert answer.code == 1
    assert "is partitioned by hr: an upload's is by ds, or not at all" in answer.err
    assert (folder / "hr=03" / "part-0.parquet").exists()


def test_an_iceberg_table_in_a_folder_is_not_written_over(repo: Path) -> None:
    uri = f"sqlite:///{repo}/catalog.db"
    catalog = load_catalog("spark", type="sql", uri=uri, warehouse=f"file://{repo}/ice")
    catalog.create_namespace("out")
    made = catalog.create_table("out.team_gb_v1_upload", pa.schema([("key_bytes", pa.binary())]))
    metadata = Path(made.metadata_location.removeprefix("file://"))
    place = repo / "warehouse" / "out.db" / "team_gb_v1_upload"
    shutil.copytree(metadata.parents[1], place)
    (place / "metadata" / metadata.name).rename(place / "metadata" / "v1.metadata.json")
    (place / "metadata" / "version-hint.text").write_text("1")
    answer = run(*words(repo))
    assert answer.code == 1
    assert "is an Iceberg table: write it through its catalog" in answer.err


@pytest.mark.parametrize(("meta", "teams", "expected"), [
    ({"tableProperties": {"a": "conf"}}, {"default": {"table_properties": {"a": "default"}}}, {"a": "conf"}),
    ({}, {"default": {"table_properties": {"a": "default"}}, "team": {"table_properties": {"b": "team"}}}, {"b": "team"}),
    ({}, {"default": {"table_properties": {"a": "default"}}, "team": {}}, {"a": "default"}),
    ({}, None, {}),
])  # fmt: skip
def test_a_table_s_properties_are_the_conf_s_or_its_team_s(
    meta: dict[str, object], teams: dict[str, object] | None, expected: dict[str, str], repo: Path
) -> None:
    found = json.loads(conf(events()))
    found["metaData"] |= meta
    if teams is not None:
        (repo / "teams.json").write_text(json.dumps(teams))
    assert dict(properties_of(group_by(json.dumps(found)), repo / NAME)) == expected

"""``chronoserve metadata-upload``: a folder of confs becomes entries of the store, told file by file."""

import json
from pathlib import Path

from chronoserve.codec import strings
from tests.recordings import GOLDEN
from tests.unit.app.shell import run

PRODUCTION = GOLDEN / "quickstart" / "production"
JOIN = PRODUCTION / "joins" / "quickstart" / "training_set.v2"
KEY = "joins/quickstart/training_set.v2"


def stored(dataset: str, key: str, place: list[str]) -> str:
    found = run("kv", "get", dataset, key, "--json", *place)
    assert found.code == 0, found.err
    return str(found.objects[0]["values"][-1]["value"])


def test_confs_and_lists_are_written(place: list[str]) -> None:
    answer = run("metadata-upload", PRODUCTION, "--json", *place)
    assert (answer.code, answer.err) == (0, "")
    *files, total = answer.objects
    assert total == {"accepted": 9, "refused": 0, "skipped": 0, "written": 9 + 4, "failed": 0}
    assert {file["key"] for file in files} >= {KEY, "staging_queries/team_a/s.v1"}
    assert json.loads(stored("ZIPLINE_METADATA", KEY, place)) == json.loads(JOIN.read_text())
    team = strings.decode(stored("CHRONON_ENTITY_BY_TEAM", "group_bys/quickstart", place).encode())
    assert "group_bys/quickstart/purchases.v1" in team


def test_one_file_more_leaves_the_others_on_the_list(place: list[str]) -> None:
    assert run("metadata-upload", PRODUCTION / "joins" / "quickstart" / "training_set.v1", *place).code == 0
    assert run("metadata-upload", JOIN, *place).code == 0
    team = strings.decode(stored("CHRONON_ENTITY_BY_TEAM", "joins/quickstart", place).encode())
    assert {"joins/quickstart/training_set.v1", KEY} <= set(team)
    assert run("metadata-upload", JOIN, "--replace-lists", *place).code == 0
    assert strings.decode(stored("CHRONON_ENTITY_BY_TEAM", "joins/quickstart", place).encode()) == [KEY]


def test_a_refused_file_is_named_and_the_rest_written(tmp_path: Path, place: list[str]) -> None:
    folder = tmp_path / "confs" / "joins" / "team"
    folder.mkdir(parents=True)
    tree = json.loads(JOIN.read_text())
    (folder / "good.v1").write_text(json.dumps(tree))
    (folder / "bad.v1").write_text(json.dumps({**tree, "novelty": 1}))
    (folder / "notes.txt").write_text("nothing")
    answer = run("metadata-upload", tmp_path / "confs", *place)
    assert answer.code == 1
    assert "bad.v1" in answer.err
    assert "novelty" in answer.err
    assert "1 confs accepted, 1 refused, 1 other files; 2 entries written" in answer.out
    assert run("metadata-upload", tmp_path / "confs", "--lenient", *place).code == 0


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    answer = run("metadata-upload", PRODUCTION, "--dry-run", "--store", f"lmdb://{store}")
    assert answer.code == 0
    assert "would be written" in answer.out
    assert not store.exists()


def test_one_end_point_alone(place: list[str], tmp_path: Path) -> None:
    url = ["--store", f"lmdb://{tmp_path}/other"]
    assert run("metadata-upload", JOIN, "--end-point-name", "ZIPLINE_METADATA", *url).code == 0
    assert [line.split("\t")[0] for line in run("kv", "describe", *url).out.splitlines()] == ["ZIPLINE_METADATA"]


def test_nothing_to_upload_is_not_done(tmp_path: Path, place: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run("metadata-upload", tmp_path / "empty", *place).code == 1
    missing = run("metadata-upload", tmp_path / "missing", *place)
    assert missing.code == 1
    assert "no file or folder" in missing.err

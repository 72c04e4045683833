"""``chronoserve compile`` against a compile.py of a few lines: what it must bear that the real one seldom does."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from chronoserve.app.compiling import environment as environments
from chronoserve.model.errors import FailedPrecondition
from tests.unit.app.compiling.fake import environment, repository
from tests.unit.app.shell import COMMAND, Answer, run

CONF = json.dumps({"metaData": {"name": "shop.a.v1", "online": 0}})
SOURCE = "staging_queries/shop/a.py"
KEY = "staging_queries/shop/a.v1"
WRITES = f"write('StagingQuery', 'staging_queries', 'shop', 'a.v1', {CONF!r})\n"
SECONDS = 30.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo", SOURCE)


def compiled(root: Path, body: str, *words: str) -> Answer:
    made = environment(root.parent / "environment", body)
    return run("compile", "--chronon-root", root, "--environment", made, *words)


def error(answer: Answer) -> str:
    (line,) = answer.err.splitlines()
    assert answer.code == 1
    return line


def test_confs_are_named_and_counted(root: Path) -> None:
    answer = compiled(root, WRITES)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [f"{KEY}\tnew\t", f"1 new; chronon-ai 0.0.0, {root}/production"]
    assert (root / "production" / KEY).read_text() == CONF


def test_what_changed_is_shown(root: Path) -> None:
    before = root / "production" / KEY
    before.parent.mkdir(parents=True)
    before.write_text(CONF.replace("shop.a.v1", "shop.a.v0"))
    answer = compiled(root, WRITES, "--json")
    conf, total = answer.objects
    assert conf["outcome"] == "changed"
    assert conf["changes"] == [{"field": "metaData.name", "before": '"shop.a.v0"', "after": '"shop.a.v1"'}]
    assert conf["before"] != conf["digest"]
    assert total["confs"] == {"changed": 1}
    assert total["failed"] == 0


def test_a_conf_left_empty_is_a_failure_and_the_former_stays(root: Path) -> None:
    before = root / "production" / KEY
    before.parent.mkdir(parents=True)
    before.write_text(CONF)
    body = "write('StagingQuery', 'staging_queries', 'shop', 'a.v1', '')\nraise AssertionError(\"Serialization can't be reversed\")\n"
    said = error(compiled(root, body))
    assert KEY in said
    assert "can't be reversed" in said
    assert before.read_text() == CONF


def test_an_empty_conf_with_exit_code_0_is_a_failure_too(root: Path) -> None:
    assert "could not print it whole" in error(compiled(root, "write('StagingQuery', 'staging_queries', 'shop', 'a.v1', '{')\n"))
    assert not (root / "production").exists()


def test_killed_half_way_nothing_is_written(root: Path) -> None:
    said = error(compiled(root, WRITES + "os.kill(os.getpid(), 9)\n"))
    assert "killed by signal 9, nothing was written" in said
    assert not (root / "production").exists()


def test_too_late_nothing_is_written(root: Path) -> None:
    said = error(compiled(root, WRITES + "time.sleep(60)\n", "--timeout", "1"))
    assert "more than 1 s" in said
    assert "--timeout" in said
    assert not (root / "production").exists()


def test_questions_are_answered_and_then_there_is_nothing_more_to_read(root: Path) -> None:
    answer = compiled(root, WRITES + "print(repr(sys.stdin.read()))\n", "--keep-env", "--verbose")
    assert "'n\\ny\\n'" in answer.err


def test_sigterm_ends_compile_py_and_takes_the_copy_away(root: Path, tmp_path: Path) -> None:
    made = environment(tmp_path / "environment", WRITES + f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(60)\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [*COMMAND, "compile", "--chronon-root", str(root), "--environment", str(made)]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.DEVNULL) as verb:
        end = time.monotonic() + SECONDS
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < end
            assert verb.poll() is None
        verb.send_signal(signal.SIGTERM)
        assert verb.wait(SECONDS) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert list(scratch.iterdir()) == []
    assert not (root / "production").exists()


def test_confs_after_an_end_were_not_reached(root: Path) -> None:
    (root / "staging_queries/shop/b.py").write_text("")
    answer = compiled(root, WRITES + "raise ValueError('team till does not exist in /repo/teams.json')\n", "--json")
    outcomes = {each["conf"]: each["outcome"] for each in answer.objects[:-1]}
    assert outcomes == {KEY: "new", "staging_queries": "failed", "staging_queries/shop/b.py": "not reached"}
    assert answer.code == 1


def test_a_holder_of_a_former_version_is_stale(root: Path) -> None:
    join = {"metaData": {"name": "shop.j.v1"}, "joinParts": [{"groupBy": {"metaData": {"name": "shop.g.v1"}}}]}
    for key, tree in {"joins/shop/j.v1": join, "group_bys/shop/g.v1": {"metaData": {"name": "shop.g.v1", "online": 1}}}.items():
        path = root / "production" / key
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(tree))
    conf = json.dumps({"metaData": {"name": "shop.g.v1"}})
    body = f"""
    write('GroupBy', 'group_bys', 'shop', 'g.v1', {conf!r})
    raise AssertionError("… Detected dependencies are as follows: ['shop.j.v1']")
    """
    answer = compiled(root, body, "--json")
    outcomes = {each["conf"]: each["outcome"] for each in answer.objects[:-1]}
    assert outcomes == {"group_bys/shop/g.v1": "changed", "joins/shop/j.v1": "stale"}
    assert "shop.g.v1" in answer.err


def test_nothing_in_a_file(root: Path) -> None:
    assert "nothing was compiled" in error(compiled(root, "", "--input-path", SOURCE))


@pytest.mark.parametrize(
    ("given", "why"),
    [("nowhere.py", "there is no"), ("teams.json", "not below"), ("staging_queries/shop/a.txt", "no Python file")],
)
def test_inputs_that_are_none(root: Path, given: str, why: str) -> None:
    (root / "staging_queries/shop/a.txt").write_text("")
    assert why in error(compiled(root, "", "--input-path", given))


def test_a_folder_without_teams_json(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    assert "has no teams.json" in error(compiled(tmp_path / "repo", ""))


def test_an_environment_that_is_none(root: Path, tmp_path: Path) -> None:
    said = error(run("compile", "--chronon-root", root, "--environment", tmp_path))
    assert "no virtual environment" in said
    assert "--install" in said


def test_errors_are_objects_with_json(root: Path, tmp_path: Path) -> None:
    said = json.loads(error(run("compile", "--chronon-root", root, "--environment", tmp_path, "--json")))
    assert said["error"]["reason"] == "FAILED_PRECONDITION"


def test_where_the_environment_is_looked_for(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRONOSERVE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FailedPrecondition, match="compile --install"):
        environments.find(None)
    made = environment(tmp_path / "environment", WRITES)
    monkeypatch.setenv(environments.VARIABLE, str(made))
    assert environments.find(None).directory == made
    (made / "packages" / "chronon_ai-0.0.0.dist-info" / "METADATA").unlink()
    (made / "packages" / "chronon_ai-0.0.0.dist-info").rmdir()
    with pytest.raises(FailedPrecondition, match="has no chronon-ai"):
        environments.find(None)


def test_the_lock_has_hashes_and_no_index() -> None:
    lines = (Path(environments.__file__).parent / environments.LOCK).read_text().splitlines()
    assert all("==" in line or "--hash=sha256:" in line for line in lines)
    assert any(line.startswith("chronon-ai==") for line in lines)


@pytest.mark.parametrize("name", ["../../../elsewhere", "sub/a.v1", ".."])
def test_a_name_that_is_no_file_of_the_teams_folder_is_written_nowhere(root: Path, name: str) -> None:
    said = f"print('StagingQuery Team - shop', 'StagingQuery Name - {name}', 'Writing StagingQuery to - x', sep='\\n')\n"
    makes = f"path = Path(given.output_root, 'staging_queries', 'shop', {name!r})\npath.parent.mkdir(parents=True, exist_ok=True)\n"
    before = sorted(root.rglob("*"))
    answer = compiled(root, f"{said}{makes}path.is_dir() or path.write_text({CONF!r})\n")
    assert (answer.code, "names have no /" in answer.err) == (1, True)
    assert sorted(root.rglob("*")) == before

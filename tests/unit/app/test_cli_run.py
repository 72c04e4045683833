"""``chronoserve run`` against the recorded calls of run.py: what it starts, with which environment, and how it ends."""

import json
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import GOLDEN
from tests.unit.app.shell import Answer, run_process

QUICKSTART = GOLDEN / "quickstart"
CASES: list[dict[str, Any]] = json.loads((QUICKSTART / "run_commands.json").read_text())
RECORDED_VARIABLES = re.compile(
    "APP_NAME|CHRONON_.*|DRIVER_MEMORY|EXECUTOR_.*|HADOOP_DIR|JOB_MODE|MAX_EXECUTORS|PARALLELISM|PARTITION_.*|SPARK_SUBMIT_PATH|VERSION"
)

STUB = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps({"program": os.path.basename(sys.argv[0]), "argv": sys.argv[1:], "env": dict(os.environ)}) + "\\n")
sys.exit(int(os.environ.get("STUB_EXIT", "0")))
"""
BASH_STUB = """#!/usr/bin/env bash
exec python3 "$(dirname "$0")/../stub.py" "$(basename "$0")" "$@"
"""


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A configuration repository whose scripts, and whose ``java``, write down how they were called."""
    root = tmp_path / "repo"
    shutil.copytree(QUICKSTART, root)
    scripts = root / "scripts"
    scripts.mkdir()
    (root / "online.jar").touch()
    (root / "stub.py").write_text(STUB.replace("sys.argv[0]", "sys.argv[1]").replace("sys.argv[1:]", "sys.argv[2:]"))
    for name in ("spark_submit.sh", "spark_streaming.sh"):
        executable(scripts / name, BASH_STUB)
    executable(scripts / "render_info.py", STUB)
    executable(scripts / "java", STUB)
    executable(scripts / "yarn_list.py", "import os\nprint(os.environ.get('FAKE_APPS', ''))\n")
    executable(scripts / "fetch_online_jar.py", "#!/usr/bin/env python3\nprint('fetched-online.jar')\n")
    return root


def call(repo: Path, *arguments: str, **extra: str) -> tuple[Answer, list[dict[str, Any]]]:
    calls = repo / "calls.jsonl"
    inherited = {name: "" for name in os.environ if RECORDED_VARIABLES.fullmatch(name)}
    assert not inherited, "this shell sets variables that the recordings depend on"
    path = f"{repo / 'scripts'}{os.pathsep}{os.environ['PATH']}"
    answer = run_process("run", *arguments, cwd=repo, env={"PATH": path, "CALLS": str(calls), **extra})
    return answer, [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case["args"])[:60])
def test_recorded_call(case: dict[str, Any], repo: Path) -> None:
    answer, calls = call(repo, *case["args"], **case["env_in"])

    assert answer.code == case["exit_code"], answer.err
    assert [{"program": each["program"], "argv": each["argv"]} for each in calls] == (case.get("calls") or [])
    printed = [line for line in answer.out.splitlines() if line in case["commands_printed"]]
    assert printed == case["commands_printed"], answer.out
    for each in calls if case.get("env_seen_by_submit") else []:
        seen = {name: value for name, value in each["env"].items() if RECORDED_VARIABLES.fullmatch(name)}
        assert seen == case["env_seen_by_submit"]


def test_a_failing_job_fails_the_run(repo: Path) -> None:
    answer, _ = call(repo, *CASES[0]["args"], STUB_EXIT="3")
    assert answer.code == 3


def test_a_submit_script_that_is_missing_fails_the_run(repo: Path) -> None:
    answer, calls = call(repo, *CASES[0]["args"], "--spark-submit-path", "scripts/nowhere.sh")
    assert answer.code == 127
    assert not calls


def test_a_job_that_runs_twice_on_the_cluster_is_not_started_again(repo: Path) -> None:
    case = next(case for case in CASES if "FAKE_APPS" in case["env_in"])
    twice = "\n".join([case["env_in"]["FAKE_APPS"]] * 2)
    answer, calls = call(repo, *case["args"], **{**case["env_in"], "FAKE_APPS": twice})
    assert answer.code == 1
    assert "runs 2 times" in answer.err
    assert not calls


def test_render_prints_the_command_and_starts_nothing(repo: Path) -> None:
    answer, calls = call(repo, *CASES[0]["args"], "--render")
    assert answer.code == 0
    assert not calls
    assert answer.out.split() == CASES[0]["commands_printed"][0].split()


def test_days_are_split_into_ranges_that_cover_each_day_once(repo: Path) -> None:
    conf = "production/joins/quickstart/training_set.v1"
    days = ("--start-ds", "2023-11-01", "--end-ds", "2023-11-10", "--parallelism", "3")
    answer, calls = call(repo, "--conf", conf, *days, "--chronon-jar", "driver.jar")
    assert answer.code == 0
    found = sorted((each["argv"][-1], each["argv"][-2]) for each in calls)
    assert found == [
        ("--start-partition-override=2023-11-01", "--end-date=2023-11-03"),
        ("--start-partition-override=2023-11-04", "--end-date=2023-11-06"),
        ("--start-partition-override=2023-11-07", "--end-date=2023-11-10"),
    ]


def test_ranges_need_both_ends(repo: Path) -> None:
    conf = "production/joins/quickstart/training_set.v1"
    answer, calls = call(repo, "--conf", conf, "--parallelism", "3", "--chronon-jar", "driver.jar")
    assert answer.code == 1
    assert "--start-ds and --end-ds" in answer.err
    assert not calls


def test_a_mode_of_the_jar_without_a_jar_says_what_to_do(repo: Path) -> None:
    answer, calls = call(repo, "--conf", "production/joins/quickstart/training_set.v1", "--ds", "2023-12-01")
    assert answer.code == 1
    assert "--chronon-jar" in answer.err
    assert not calls


def test_values_of_the_environment_are_not_printed(repo: Path) -> None:
    answer, _ = call(repo, *CASES[24]["args"], CHRONON_ONLINE_ARGS="-Zpassword=hunter2", STUB_EXIT="0")
    assert "CHRONON_ONLINE_ARGS: from the process's environment" in answer.err
    assert "hunter2" not in answer.err

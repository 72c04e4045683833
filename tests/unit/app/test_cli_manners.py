"""What the command does where its surroundings are poor: no room, no encoding, no colours, no output, half an address."""

import os
import subprocess
from pathlib import Path

import pytest

from chronoserve.app.settings import load
from tests.unit.app.shell import COMMAND, run, run_process

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["doctor", "--store", "memory://", "--json"]])
def test_output_that_finds_no_room_is_one_line_and_a_failure(words: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_closed_standard_output_is_no_crash(tmp_path: Path) -> None:
    script = 'exec "$@" >&-'
    words = ["kv", "create", "USERS_BATCH", "--store", f"lmdb://{tmp_path}/store"]
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *COMMAND, *words], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sign_that_the_encoding_lacks_is_shown_as_its_escape(tmp_path: Path) -> None:
    place = ["--store", f"lmdb://{tmp_path}/store"]
    for words in (["create", "USERS_BATCH"], ["put", "USERS_BATCH", "key", "☃"]):
        assert run("kv", *words, *place).code == 0
    shown = run_process("kv", "get", "USERS_BATCH", "key", *place, env={"PYTHONIOENCODING": "latin-1"})
    assert (shown.code, shown.out.split("\t")[1]) == (0, "\\u2603\n")


@pytest.mark.parametrize(("name", "value", "coloured"), [("TERM", "xterm", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)])
def test_colours_are_left_out_where_they_are_not_wanted(name: str, value: str, coloured: bool) -> None:
    master, slave = os.openpty()
    environment = {key: text for key, text in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm", name: value}
    words = [*COMMAND, "kv", "get", "X", "y", "--store", "nowhere://x"]
    subprocess.run(words, stdout=slave, stderr=slave, env=environment, check=False)
    os.close(slave)
    with os.fdopen(master, "rb") as screen:
        shown = screen.read1()
    assert b"no store serves nowhere://" in shown
    assert (b"\x1b[31m" in shown) is coloured


def test_a_misspelt_engine_is_told_the_one_that_was_meant() -> None:
    assert "did you mean redis://?" in run("kv", "describe", "--store", "redsi://127.0.0.1").err


def test_a_store_without_an_engine_is_shown_as_it_was_given() -> None:
    assert "got '/data/store'" in run("kv", "describe", "--store", "/data/store").err


def test_a_server_without_a_port_is_refused() -> None:
    answer = run("kv", "describe", "--server", "127.0.0.1")
    assert answer.code == 2
    assert "--server is HOST:PORT or unix:PATH; got '127.0.0.1'" in answer.err


def test_a_server_that_is_not_there_has_its_next_step() -> None:
    answer = run("bench", "--server", "127.0.0.1:1", "--timeout", "1")
    assert answer.code == 1
    assert "`chronoserve serve` starts one" in answer.err


def test_a_file_without_stores_has_the_embedded_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "server.toml"
    file.write_text("workers = 2\n")
    assert load(file, {}).stores["default"].url == f"lmdb://{tmp_path}/chronoserve-data"


def test_settings_of_a_folder_without_teams_json_say_so(tmp_path: Path) -> None:
    assert f"there is no {tmp_path}/teams.json" in run("config", "explain", "--repo", tmp_path).err


def test_python_m_is_called_by_the_name_of_the_command() -> None:
    assert run_process("kv", "get").err.startswith("Usage: chronoserve kv get")


def test_a_server_that_did_not_start_says_why_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run("demo", "--no-stay", "--dir", tmp_path / "file" / "store")
    assert answer.code == 1
    assert answer.err.startswith("error: the server did not start: ")
    assert "{" not in answer.err


def test_a_recording_that_is_not_there_is_named_once() -> None:
    assert run("verify", "--against", "nope.jsonl").err == "error: nope.jsonl cannot be read: No such file or directory\n"

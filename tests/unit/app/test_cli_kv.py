"""``chronoserve kv``: the same verbs and output for a server and for a store's URL."""

import json
import os
import pty
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from chronoserve.app.store_features import twin
from chronoserve.model import errors
from tests.unit.app.shell import COMMAND, SECONDS, run, run_process

MILLIS = 1_700_000_000_000


def lines(*rows: Mapping[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_value_is_written_and_read_back(place: list[str], dataset: str) -> None:
    assert run("kv", "create", dataset, *place).code == 0
    assert run("kv", "put", dataset, "user_5", "42", "--ts", "2023-11-14T22:13:20Z", *place).out == "ok\n"
    found = run("kv", "get", dataset, "user_5", *place)
    assert (found.code, found.out, found.err) == (0, f"{MILLIS}\t42\n", "")


def test_json_is_one_object_a_line(place: list[str], dataset: str) -> None:
    made = run("kv", "create", dataset, "--kind", "timed", "--ttl", "90s", "--json", *place)
    assert made.objects == [{"name": dataset, "kind": "TIMED", "ttl_millis": 90_000, "store": "default"}]
    for value, ts in (("hex:00ff", MILLIS + 1), ("first", MILLIS)):
        assert run("kv", "put", dataset, "k", value, "--ts", str(ts), "--json", *place).objects[0]["ok"]
    expected = {"dataset": dataset, "key": "k", "values": [{"value": "first", "ts": MILLIS}, {"value": "hex:00ff", "ts": MILLIS + 1}]}
    assert run("kv", "get", dataset, "k", "--json", *place).objects == [expected]


def test_hex_and_base64_hold_for_keys_and_values(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, *place)
    assert run("kv", "put", dataset, "0a", "ff00", "--hex", "--ts", "7", *place).code == 0
    assert run("kv", "get", dataset, "Cg==", "--base64", *place).out == "7\t/wA=\n"


def test_after_is_inclusive(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, "--kind", "timed", *place)
    for ts in (1000, 2000, 3000):
        run("kv", "put", dataset, "k", str(ts), "--ts", str(ts), *place)
    assert run("kv", "get", dataset, "k", "--after", "1970-01-01T00:00:02Z", *place).out == "2000\t2000\n3000\t3000\n"


def test_a_miss_is_an_answer(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, *place)
    found = run("kv", "get", dataset, "nobody", *place)
    assert (found.code, found.out, found.err) == (0, "", "no value\n")
    assert run("kv", "get", dataset, "nobody", "--json", *place).objects == [{"dataset": dataset, "key": "nobody", "values": []}]
    assert run("kv", "get", dataset, "nobody", "--fail-on-miss", *place).code == 1


def test_an_unknown_dataset_is_an_error(place: list[str], dataset: str) -> None:
    run("kv", "create", "SOME_OTHER", *place)
    found = run("kv", "get", dataset, "k", *place)
    assert found.code == 1
    assert f"error: there is no dataset {dataset}" in found.err
    told = run("kv", "get", dataset, "k", "--json", *place)
    assert (told.out, json.loads(told.err)["error"]["reason"]) == ("", "UNKNOWN_DATASET")


def test_creating_it_again_with_other_properties_is_an_error(place: list[str], dataset: str) -> None:
    assert [run("kv", "create", dataset, *place).code for _ in range(2)] == [0, 0]
    found = run("kv", "create", dataset, "--kind", "timed", *place)
    assert (found.code, "exists as LATEST" in found.err) == (1, True)


def test_many_are_written_and_read_in_the_order_of_the_lines(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, *place)
    puts: list[dict[str, object]] = [
        {"dataset": dataset, "key": f"hex:{number:04x}", "value": f"v{number}", "ts": MILLIS + number} for number in range(2500)
    ]
    assert run("kv", "multi-put", "-f", "-", *place, input_text=lines(*puts)).out == "2500 written, 0 failed\n"
    gets: list[dict[str, object]] = [{"dataset": dataset, "key": put["key"]} for put in reversed(puts)]
    answers = run("kv", "multi-get", "-f", "-", "--json", *place, input_text=lines(*gets)).objects
    assert [answer["values"] for answer in answers] == [[{"value": put["value"], "ts": put["ts"]}] for put in reversed(puts)]


def test_each_line_has_its_own_outcome(place: list[str], dataset: str, tmp_path: Path) -> None:
    run("kv", "create", dataset, *place)
    good: dict[str, object] = {"dataset": dataset, "key": "k", "value": "v", "ts": "2023-11-14T22:13:20Z", "token": "hex:01"}
    bad = [{**good, "dataset": "NOT_THERE"}, {**good, "key": ""}, {**good, "tss": 5}, {**good, "value": "hex:0"}, {**good, "ts": "soon"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("no json\n\n" + lines(*bad, good))
    found = run("kv", "multi-put", "-f", file, *place)
    assert (found.code, found.out) == (1, "1 written, 6 failed\n")
    assert [f"line {number}:" in found.err for number in range(1, 10)] == [True, False, *[True] * 5, False, False]
    assert run("kv", "get", dataset, "k", *place).out == f"{MILLIS}\tv\n"


def test_a_batch_tells_values_misses_and_errors_apart(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, *place)
    run("kv", "put", dataset, "k", "v", "--ts", "5", *place)
    asked = lines({"dataset": dataset, "key": "k"}, {"dataset": dataset, "key": "none"}, {"dataset": "NOT_THERE", "key": "k"})
    found = run("kv", "multi-get", "-f", "-", "--json", *place, input_text=asked)
    value, miss, error = found.objects
    assert (value["values"], miss["values"], error["error"]["reason"]) == ([{"value": "v", "ts": 5}], [], "UNKNOWN_DATASET")
    assert found.code == 1
    plain = run("kv", "multi-get", "-f", "-", *place, input_text=asked)
    assert plain.out == f"{dataset}\tk\t5\tv\n"
    assert "line 2: no value for none" in plain.err
    assert "error: line 3: there is no dataset" in plain.err


def test_a_scan_shows_every_key_once(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, *place)
    rows = [{"dataset": dataset, "key": f"{number:04}", "value": "v", "ts": 5} for number in range(1201)]
    run("kv", "multi-put", "-f", "-", *place, input_text=lines(*rows))
    found = run("kv", "scan", dataset, *place)
    assert sorted(found.out.splitlines()) == [f"{number:04}\t5\tv" for number in range(1201)]
    assert found.err == "1201 keys\n"
    some = run("kv", "scan", dataset, "--limit", "3", *place)
    assert (len(some.out.splitlines()), some.err) == (3, "3 keys, stopped at --limit\n")


def test_a_scan_can_be_written_again(place: list[str], dataset: str) -> None:
    source = f"{dataset}_STREAMING"
    run("kv", "create", source, *place)
    for ts in (1, 2):
        run("kv", "put", source, "hex:00", f"v{ts}", "--ts", str(ts), *place)
    copied = run("kv", "scan", source, "--json", *place).out.replace(source, f"COPY_{source}")
    run("kv", "create", f"COPY_{source}", *place)
    assert run("kv", "multi-put", "-f", "-", *place, input_text=copied).code == 0
    assert run("kv", "get", f"COPY_{source}", "hex:00", *place).out == "1\tv1\n2\tv2\n"


def test_deleted_keys_are_gone(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, *place)
    run("kv", "put", dataset, "k", "v", *place)
    assert run("kv", "delete", dataset, "k", "never_there", *place).out == "2 deleted, 0 failed\n"
    assert run("kv", "get", dataset, "k", *place).out == ""


def test_datasets_and_stores_are_described(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, "--ttl", "12h", *place)
    assert run("kv", "describe", dataset, *place).out == f"{dataset}\tLATEST\t43200 s\tdefault\n"
    assert dataset in run("kv", "describe", *place).out
    store, bounds = run("kv", "capabilities", "--json", *place).objects
    assert (store["engine"], store["scan"], bounds["keys_per_call_max"]) == ("lmdb", True, 10_000)


def test_a_value_of_a_dash_is_read_from_standard_input(place: list[str], dataset: str) -> None:
    run("kv", "create", dataset, *place)
    run("kv", "put", dataset, "k", "-", "--ts", "1", *place, input_text="from a pipe")
    assert run("kv", "get", dataset, "k", *place).out == "1\tfrom a pipe\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["get", "D", "hex:0"], "KEY"),
        (["get", "D", "k", "--after", "soon"], "--after"),
        (["put", "D", "k", "v", "--idempotency-token", "hex:0"], "--idempotency-token"),
        (["create", "D", "--ttl", "7 years"], "--ttl"),
        (["get", "D", "k", "--server", "127.0.0.1:1", "--store", "memory://"], "exclude each other"),
        (["get", "D", "k", "--server", "example.org:443", "--token", "t"], "could be read on the way"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], told: str) -> None:
    place = [] if "--server" in words else ["--store", "memory://"]
    found = run("kv", *words, *place)
    assert found.code == 2
    assert told in found.err


def test_a_server_that_is_not_there_is_named(dataset: str) -> None:
    found = run("kv", "get", dataset, "k", "--server", "127.0.0.1:1")
    assert found.code == 1
    assert "Is a server running at 127.0.0.1:1?" in found.err


def test_a_misspelt_folder_is_not_made(tmp_path: Path) -> None:
    found = run("kv", "get", "D", "k", "--store", f"lmdb://{tmp_path}/typo")
    assert (found.code, "there is no store at" in found.err) == (1, True)
    assert not (tmp_path / "typo").exists()


def test_every_error_has_its_twin_in_the_client() -> None:
    kinds = [kind for kind in errors.KVError.__subclasses__() if kind.__module__ == errors.__name__]
    assert kinds, "other tests may have made errors of their own, which have no twin"
    for kind in kinds:
        assert twin(kind("text")).reason == kind.reason
    assert twin(errors.InvalidRequest("text", field="key")).field == "key"


def test_a_real_process_has_plain_lines_in_its_pipe(tmp_path: Path) -> None:
    place = ["--store", f"lmdb://{tmp_path}/store"]
    assert run_process("kv", "create", "D", *place).out == "D\tLATEST\tnever expires\tdefault\n"
    assert run_process("kv", "put", "D", "k", "v", "--ts", "5", *place).out == "ok\n"
    assert run_process("kv", "get", "D", "k", *place).out == "5\tv\n"
    assert run_process("kv", "get", "NONE", "k", *place).code == 1


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    place = ["--store", f"lmdb://{tmp_path}/store"]
    run("kv", "create", "D", *place)
    run("kv", "put", "D", "k", "[red]v[/red]", "--ts", "0", *place)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        words = [*COMMAND, "kv", "get", "D", "k", *place]
        with os.fdopen(theirs, "wb") as end:
            subprocess.run(words, stdout=end, check=True, timeout=SECONDS, env={**os.environ, "TERM": "xterm", "COLUMNS": "80"})
            shown = terminal.read(65536).decode()
    assert "time" in shown
    assert "1970-01-01T00:00:00.000Z" in shown
    assert "[red]v[/red]" in shown

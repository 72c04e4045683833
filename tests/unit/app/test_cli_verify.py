"""``chronoserve verify``: lines, sums and exit codes; and two services beside each other."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import GOLDEN, records
from tests.unit.app.features import JOIN, fill
from tests.unit.app.shell import RunningServer, run

Record = dict[str, Any]


def world_of(name: str, requests: int) -> list[Record]:
    """The first world of a recording, with so many of its requests."""
    found: list[Record] = []
    for record in records(name):
        if record["kind"] == "world" and found:
            break
        if record["kind"] != "request" or requests:
            found.append(record)
            requests -= record["kind"] == "request"
    return found


@pytest.fixture
def recording(tmp_path: Path) -> Callable[[list[Record]], Path]:
    def write(written: list[Record]) -> Path:
        path = tmp_path / "recording.jsonl.gz"
        path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in written).encode()))
        return path

    return write


def test_json_is_a_line_a_request_then_the_sum(recording: Callable[[list[Record]], Path]) -> None:
    written = world_of("f2_newer_batch", 3)
    found = run("verify", "--against", recording(written), "--json")
    assert (found.code, found.err) == (0, "")
    *lines, last = found.objects
    requests = [record for record in written if record["kind"] == "request"]
    assert [(line["world"], line["id"], line["equal"], line["diff"]) for line in lines] == [
        (request["world"], request["id"], True, []) for request in requests
    ]
    for line, request in zip(lines, requests, strict=True):
        for ours, theirs in zip(line["responses"], request["responses"], strict=True):
            assert {name: ours[name] for name in ("name", "keys", "at_millis")} == {
                name: theirs[name] for name in ("name", "keys", "at_millis")
            }
            assert ("values" in ours, "error" in ours) == ("values" in theirs, "error" in theirs)
            if "values" in theirs and theirs["values"] is not None:
                assert ours["values"].keys() == theirs["values"].keys()
    summary = last["summary"]
    assert (summary["cases"], summary["equal"], summary["noted"], summary["different"]) == (3, 3, 0, 0)


def test_a_difference_is_shown_with_both_sides_and_the_exit_code_says_so(recording: Callable[[list[Record]], Path]) -> None:
    written = world_of("b_group_by_temporal", 1)
    values = written[-1]["responses"][0]["values"]
    name = next(name for name, value in values.items() if isinstance(value, dict) and "long" in value)
    values[name] = {"int": values[name]["long"]}
    path = recording(written)
    told = run("verify", "--against", path)
    assert told.code == 1
    assert f"responses[0].values.{name}: recorded" in told.out
    line, summary = run("verify", "--against", path, "--json").objects
    assert line["equal"] is False
    assert line["diff"] == [{"place": f"responses[0].values.{name}", "expected": values[name], "got": {"long": values[name]["int"]}}]
    assert summary["summary"]["different"] == 1


def test_a_noted_difference_is_named_and_good(recording: Callable[[list[Record]], Path]) -> None:
    written = [record for record in world_of("f_e2e", 200) if record["kind"] != "request" or _null_key(record)]
    path = recording(written)
    *lines, summary = run("verify", "--against", path, "--json").objects
    assert [line["notes"] for line in lines] == [[3]]
    assert (lines[0]["equal"], lines[0]["diff"][0]["note"]) == (False, 3)
    assert summary["summary"]["noted"] == 1
    told = run("verify", "--against", path)
    assert told.code == 0
    assert "P3, 1 cases: A group-by request with a null key is answered in its place" in told.out


def _null_key(record: Record) -> bool:
    return record["api"] == "fetchGroupBys" and any(None in request["keys"].values() for request in record["requests"])


def test_records_that_stand_alone_show_what_we_make_of_them() -> None:
    found = run("verify", "--against", GOLDEN / "d_naming.jsonl", "--json")
    line = found.objects[0]
    assert (line["world"], line["id"], line["batch_dataset"]) == (None, "team.gb.v1", "TEAM_GB_V1_BATCH")
    expressions = run("verify", "--against", GOLDEN / "e_derivations.jsonl.gz", "--json").objects
    recorded = {record["id"]: record for record in records("e_derivations") if record["kind"] == "expression"}
    line = next(line for line in expressions if line["id"] == "e-2")
    assert line["results"] == recorded["e-2"]["results"]


def test_nothing_compared_is_not_good(recording: Callable[[list[Record]], Path]) -> None:
    later = run("verify", "--against", recording([{"kind": "flattened", "world": "i-1"}, {"kind": "metrics", "world": "i-1"}]))
    assert later.code == 1
    assert "1 flattened records are not covered" in later.err
    assert run("verify", "--against", recording([])).code == 1


def test_an_unknown_kind_is_different(recording: Callable[[list[Record]], Path]) -> None:
    line, _ = run("verify", "--against", recording([{"kind": "novelty", "id": "n-1"}]), "--json").objects
    assert (line["id"], line["equal"]) == ("n-1", False)


def test_many_differences_are_counted_and_a_few_shown(recording: Callable[[list[Record]], Path]) -> None:
    written = [{**record, "clean_name": "other"} for record in records("d_naming")] * 4
    found = run("verify", "--against", recording(written))
    assert found.out.count("is different") == 20
    assert "… and 16 more cases" in found.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Missing option"),
        (["--against", "http://127.0.0.1:1"], "with -f FILE"),
        (["--against", "x", "--group-bys"], "belong to a feature service"),
        (["--against", "x", "--server", "h:1", "--through", "grpc"], "or through a running --server"),
        (["--against", "x", "--store", "memory://"], "or through a running --server"),
    ],
)
def test_a_wrong_command_line_is_told(words: list[str], told: str) -> None:
    found = run("verify", *words)
    assert found.code == 2
    assert told in found.err


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\nnothing\n")
    found = run("verify", "--against", tmp_path / "x.jsonl")
    assert found.code == 1
    assert "x.jsonl, line 2 is no JSON" in found.err


# through servers


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_world_through_a_server_of_its_own(recording: Callable[[list[Record]], Path], way: str) -> None:
    found = run("verify", "--against", recording(world_of("f_e2e", 30)), "--through", way)
    assert found.code == 0, found.out
    assert way in found.out


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("verify"))
    fill(server=server.address)
    yield server
    server.stop()


def test_a_world_through_a_running_server(recording: Callable[[list[Record]], Path], running: RunningServer) -> None:
    path = recording(world_of("b_group_by_temporal", 3))
    assert run("verify", "--against", path, "--server", running.address).code == 0
    assert run("verify", "--against", path, "--server", running.address, "--http", f"http://{running.http}").code == 0


ROWS = [
    {"name": JOIN, "keys": {"user": "user_5", "item": 1005}},
    {"name": JOIN, "keys": {"user": "nobody", "item": 1}},
    {"name": "test/j_simple_4.v1", "keys": {"user": "user_0"}},
    {"name": JOIN, "keys": {}},
]


def test_a_service_beside_our_side(running: RunningServer, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    service = f"http://{running.http}"
    for ours in (["--server", running.address], ["--http", service]):
        found = run("verify", "--against", service, "-f", rows, "--json", *ours)
        assert found.code == 0, found.out
        *lines, summary = found.objects
        assert [line["id"] for line in lines] == ["line 1", "line 2", "line 3", "line 4"]
        assert summary["summary"]["equal"] == 4


def test_a_service_that_answers_otherwise_is_seen(running: RunningServer, tmp_path: Path) -> None:
    """Ours is another store, which has the confs and serving infos but a value less."""
    fill(store=f"lmdb://{tmp_path}/other")
    key = "hex:02d20f"
    assert run("kv", "delete", "TEST_DIM_NOAGG_4_V1_BATCH", key, "--store", f"lmdb://{tmp_path}/other").code == 0
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"name": JOIN, "keys": {"user": "user_5", "item": 1001}}) + "\n")
    found = run("verify", "--against", f"http://{running.http}", "-f", rows, "--store", f"lmdb://{tmp_path}/other", "--json")
    assert found.code == 1
    line, _ = found.objects
    assert "response.values.test_dim_noagg_4_v1_title" in {each["place"] for each in line["diff"]}


def test_a_line_that_is_no_request_is_told(running: RunningServer, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"name": "x"}\n')
    found = run("verify", "--against", f"http://{running.http}", "-f", rows, "--server", running.address)
    assert found.code == 1
    assert "line 1 is not" in found.err

"""``chronoserve fetch``, ``schema``, ``list``, ``explain``: the same from a server and straight from a store."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recordings import records
from tests.unit.app.features import AT, AT_MILLIS, GROUP_BY, JOIN, fill
from tests.unit.app.shell import COMMAND, SECONDS, RunningServer, run

KEYS = ["-k", "user=user_5", "-k", "item=1005"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    directory = tmp_path_factory.mktemp("features")
    running = RunningServer(directory)
    fill(server=running.address)
    fill(store=f"lmdb://{directory}/direct")
    yield {"server": ["--server", running.address], "store": ["--store", f"lmdb://{directory}/direct"]}
    running.stop()


@pytest.fixture(params=["server", "store"])
def world(request: pytest.FixtureRequest, filled: dict[str, list[str]]) -> list[str]:
    """The words that send a verb to the recorded world."""
    return filled[request.param]


def recorded() -> dict[str, object]:
    (response,) = next(record for record in records("f_e2e") if record.get("id") == "f-s-4-r9")["responses"]
    values: dict[str, object] = response["values"]
    return values


def test_a_join_is_lines_of_name_value_type_age_and_status(world: list[str]) -> None:
    found = run("fetch", "join", JOIN, *KEYS, "--at", AT, *world)
    assert (found.code, found.err) == (0, "")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in found.out.splitlines()}
    assert rows.keys() == recorded().keys()
    assert rows["test_ev_temporal_4_v1_vl_sum_1d"] == ["47", "long", "≤ 1 d", "ok"]
    assert rows["test_dim_noagg_4_v1_raw"] == ["null", "binary", "1 d", "null"]
    assert rows["test_dim_noagg_4_v1_f"] == ["29.375", "float", "1 d", "ok"]
    assert rows["test_tiled_4_v1_vl_unique_count_1d"] == ["32", "long", "10 min", "ok"]
    assert json.loads(rows["test_ev_snapshot_4_v1_st_last2"][0])[1] == {"x": 53.0, "name": "x1", "tags": []}


def test_features_come_in_the_order_of_their_schema(world: list[str]) -> None:
    found = run("fetch", "join", JOIN, *KEYS, "--at", AT, *world)
    shown = run("schema", "join", JOIN, *world)
    wanted = [line.split("\t")[1] for line in shown.out.splitlines() if line.startswith("feature")]
    assert [line.split("\t")[0] for line in found.out.splitlines()] == wanted


def test_json_is_an_object_a_row(world: list[str]) -> None:
    (found,) = run("fetch", "join", JOIN, *KEYS, "--at", AT, "--json", *world).objects
    assert found["name"] == JOIN
    assert found["keys"] == {"user": "user_5", "item": 1005}
    assert found["at_millis"] == AT_MILLIS
    assert (found["status"], found["part_errors"]) == ("OK", {})
    assert found["features"]["test_ev_temporal_4_v1_vs_count"] == 27
    assert found["types"]["test_ev_snapshot_4_v1_st_last2"] == "list_struct_point"
    assert found["freshness"]["test_tiled_4_v1"]["batch_end_millis"] == 1692057600000
    assert list(found["features"]) == list(found["types"])


def test_a_group_by_and_bytes(world: list[str]) -> None:
    (found,) = run("fetch", "group-by", GROUP_BY, "-k", "item=1001", "--at", AT, "--json", *world).objects
    assert found["status"] == "OK"
    assert found["types"]["raw"] == "binary"
    assert set(found["features"]) == {"price", "title", "qty", "tags", "attrs", "geo", "active", "raw", "f"}


@pytest.mark.parametrize(
    "keys",
    [
        ["-k", '{"user": "user_5", "item": 1005}'],
        ["--key-json", '[{"user": "user_5", "item": 1005}]'],
        ["-k", '{"user": "user_5", "item": "1005"}'],
    ],
)
def test_keys_may_be_json(world: list[str], keys: list[str]) -> None:
    (found,) = run("fetch", "join", JOIN, *keys, "--at", AT, "--json", *world).objects
    assert found["features"]["test_dim_noagg_4_v1_title"] == "alpha"


def test_many_rows_come_from_a_file_each_in_its_place(world: list[str], tmp_path: Path) -> None:
    rows = [{"user": "user_5", "item": 1005}, {"user": "nobody", "item": -1}, {}, {"user": "user_5", "item": 1005}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    words = ["fetch", "join", JOIN, "-f", str(tmp_path / "rows.jsonl"), "--at", AT]
    found = run(*words, "--json", *world)
    assert found.code == 1
    assert [each["status"] for each in found.objects] == ["OK", "MISSING", "ERROR", "OK"]
    assert found.objects[0]["features"] == found.objects[3]["features"]
    lines = run(*words, *world).out.splitlines()
    assert {line.split("\t")[0] for line in lines} == {"1", "3", "4"}
    assert "test_ev_temporal_4_v1" in {line.split("\t")[1] for line in lines if line.startswith("3\t")}


def test_chronons_own_options_do_the_same(world: list[str]) -> None:
    keys = json.dumps({"user": "user_5", "item": 1005})
    ours = run("fetch", "join", JOIN, "-k", keys, "--at", AT, *world)
    theirs = run("fetch", "--type", "join", "--name", JOIN, "--key-json", keys, "--at-millis", str(AT_MILLIS), *world)
    assert (theirs.code, theirs.out) == (0, ours.out)


def test_a_local_conf_needs_no_upload(world: list[str], tmp_path: Path) -> None:
    record = next(record for record in records("f_e2e") if record["kind"] == "join" and record["name"] == "test.j_multi_4.v1")
    conf = tmp_path / "joins" / "test" / "j_local.v1"
    conf.parent.mkdir(parents=True)
    conf.write_text(record["conf_json"])
    (found,) = run("fetch", "join", "--conf-path", conf, *KEYS, "--at", AT, "--json", *world).objects
    assert found["name"] == "test/j_local.v1"
    assert found["status"] == "OK"
    assert found["features"]["test_ev_temporal_4_v1_vs_count"] == 27
    assert found["types"]["test_dim_noagg_4_v1_f"] == "float"


def test_no_data_is_an_answer(world: list[str]) -> None:
    found = run("fetch", "join", JOIN, "-k", "user=nobody", "-k", "item=-1", "--at", AT, *world)
    assert (found.code, found.out) == (0, "")
    assert "no data for these keys" in found.err


def test_what_is_wrong_is_told(world: list[str]) -> None:
    unknown = run("fetch", "join", "test/no_such_join", "-k", "user=1", "--json", *world)
    assert unknown.code == 1
    assert unknown.objects[0]["error"]["reason"] == "UNKNOWN_CONF"
    early = run("fetch", "join", JOIN, *KEYS, "--at", "2023-08-01T00:00:00Z", "--json", *world)
    assert early.objects[0]["part_errors"]["test_ev_temporal_4_v1"]["reason"] == "TIME_BEFORE_BATCH"
    late = run("fetch", "join", JOIN, *KEYS, "--at", "2023-09-01T00:00:00Z", *world)
    assert [line.split("\t")[-1] for line in late.out.splitlines()].count("degraded") >= 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["join", JOIN], "say for which keys"),
        (["join", JOIN, "-k", "user"], "is not NAME=VALUE"),
        (["join", JOIN, "-k", "item=soon"], "the key item is a long"),
        (["join", JOIN, "-k", '{"user"'], "no JSON"),
        (["join", JOIN, "-k", "[5]"], "an object"),
        (["join"], "say what to fetch"),
        (["join", JOIN, "-k", "user=1", "--at", "soon"], "neither epoch milliseconds"),
        (["--type", "join"], "say what to fetch"),
    ],
)
def test_a_wrong_command_line_is_told(filled: dict[str, list[str]], words: list[str], told: str) -> None:
    found = run("fetch", *words, *filled["store"])
    assert found.code == 2
    assert told in found.err


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = run("fetch", "join", JOIN, *KEYS, "--server", "127.0.0.1:1")
    assert found.code == 1
    assert "Is a server running at 127.0.0.1:1?" in found.err
    assert "there is no store" in run("fetch", "join", JOIN, *KEYS, "--store", f"lmdb://{tmp_path}/nothing").err


def test_a_loop_goes_on_until_it_is_stopped(filled: dict[str, list[str]]) -> None:
    words = [*COMMAND, "fetch", "join", JOIN, *KEYS, "--at", AT, "--json", "--loop", "--interval", "0.01", *filled["store"]]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert len({process.stdout.readline() for _ in range(3)}) == 1
        process.send_signal(2)
        process.stdout.close()
        process.wait(SECONDS)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_terminal_has_a_table(filled: dict[str, list[str]]) -> None:
    master, slave = pty.openpty()
    words = [*COMMAND, "fetch", "group-by", GROUP_BY, "-k", "item=1001", "--at", AT, *filled["store"]]
    done = subprocess.run(
        words, stdout=slave, stdin=slave, stderr=subprocess.PIPE, timeout=SECONDS, check=True, env={**os.environ, "COLUMNS": "140"}
    )
    os.close(slave)
    out = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.stderr == b""
    assert "feature" in out
    assert "status" in out
    assert "test.dim_noagg_4.v1  item=1001  2023-08-16T00:00:00.000Z  OK" in out


# schema, list, explain


def test_the_schema_of_a_join(world: list[str]) -> None:
    found = run("schema", "join", JOIN, *world)
    assert found.code == 0
    rows = [line.split("\t") for line in found.out.splitlines()]
    assert [row[:3] for row in rows[:2]] == [["key", "user", "string"], ["key", "item", "long"]]
    assert ["feature", "test_ev_temporal_4_v1_vs_count", "long", "test.ev_temporal_4.v1", "user"] in rows
    (whole,) = run("schema", "join", JOIN, "--json", *world).objects
    assert whole["key_schema"]["name"] == "test_j_multi_4_v1_key"
    assert len(whole["schema_hash"]) == 10
    avro = run("schema", "join", JOIN, "--avro", *world).out.splitlines()
    assert [json.loads(line)["type"] for line in avro] == ["record", "record"]


def test_the_schema_of_a_group_by_says_until_when_its_batch_goes(world: list[str]) -> None:
    found = run("schema", "group-by", GROUP_BY, *world)
    assert "batch data until 2023-08-15T00:00:00.000Z" in found.err
    assert run("schema", "group-by", "test.nothing.v1", *world).code == 1


def test_what_is_online_is_listed(world: list[str]) -> None:
    found = run("list", *world).out.splitlines()
    assert f"join\t{JOIN}" in found
    assert f"group-by\t{GROUP_BY}" in found
    assert {each["kind"] for each in run("list", "joins", "--json", *world).objects} == {"join"}


def test_a_fetch_is_explained(world: list[str]) -> None:
    found = run("explain", "join", JOIN, *KEYS, "--at", AT, *world)
    assert found.code == 0
    rows = [line.split("\t") for line in found.out.splitlines()]
    assert ["test_tiled_4_v1", "TEST_TILED_4_V1_BATCH"] in [row[:2] for row in rows]
    assert ["test_tiled_4_v1_vd_sum_2d", "test_tiled_4_v1"] in rows
    assert {"store", "merge"} <= {row[0] for row in rows if len(row) == 2}
    (whole,) = run("explain", "join", JOIN, *KEYS, "--at", AT, "--json", *world).objects
    (read,) = (each for each in whole["reads"] if each["dataset"] == "TEST_EV_TEMPORAL_4_V1_STREAMING")
    assert read["after_ts_millis"] == 1692057600000
    assert read["values"] > 0
    assert whole["feature_parts"]["test_tiled_4_v1_vd_sum_2d"] == "test_tiled_4_v1"
    assert whole["phase_seconds"]["store"] > 0

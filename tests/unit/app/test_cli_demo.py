"""``chronoserve demo``: the recorded bytes go in and come out, and what it tells to try can be tried."""

import gzip
import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from chronoserve.app import demo
from chronoserve.model.errors import Internal
from chronoserve_client import Put, TimedValue
from tests.unit.app.shell import COMMAND, SECONDS, run, run_process

GOLDEN = Path(__file__).parents[2] / "golden" / "f_e2e.jsonl.gz"


def test_it_ends_well_and_its_commands_work(tmp_path: Path) -> None:
    answer = run_process("demo", "--dir", tmp_path / "kept", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert "482 values, from descriptors alone: equal" in answer.out
    assert "Every byte came back" in answer.out
    commands = [shlex.split(line) for line in answer.out.splitlines() if line.strip().startswith(("chronoserve kv", "chronoserve fetch"))]
    assert len(commands) == 4
    for command in commands:
        tried = run_process(*command[1:], cwd=tmp_path)
        assert tried.code == 0, tried.err
        assert tried.out


def test_json_is_an_object_a_step_and_the_store_is_gone(tmp_path: Path) -> None:
    answer = run_process("demo", "--json", env={"TMPDIR": str(tmp_path)})
    assert answer.code == 0, answer.err
    *steps, features = answer.objects
    expected = ["server", "Create", "MultiPut", "MultiPut", "MultiGet", "reflection", "MultiGet", "FetchJoins"]
    assert [step["step"] for step in steps] == expected
    assert (features["name"], features["status"], len(features["features"])) == ("test/j_multi_4.v1", "OK", 24)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that runs in the background ignores Ctrl-C, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_staying_server_ends_with_it(tmp_path: Path) -> None:
    words = [*COMMAND, "demo", "--stay", "--dir", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "until Ctrl-C" in line
            address = line.split()[2]
            assert run_process("kv", "describe", "--server", address).code == 0
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    assert run_process("kv", "describe", "--server", address).code == 1


def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    found = run_process("demo", "--dir", tmp_path / "store" / "below")
    assert found.code == 1
    assert "the server did not start" in found.err
    assert "Traceback" not in found.err


def test_it_ends_with_a_fetched_join_as_a_table(tmp_path: Path) -> None:
    answer = run_process("demo", "--no-stay", cwd=tmp_path)
    assert answer.code == 0, answer.err
    table = answer.out[answer.out.index("test/j_multi_4.v1") :].split("Try next")[0].splitlines()
    assert table[2].split() == ["feature", "value", "type", "age", "status"]
    rows = [line.split() for line in table[3:] if line.strip()]
    assert len(rows) == 24
    assert {row[-1] for row in rows} == {"ok", "null"}
    assert ["test_tiled_4_v1_vl_unique_count_1d", "32", "long", "10", "min", "ok"] in rows


def test_an_answer_that_is_not_the_jvm_s_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = demo.load_answer()
    answer["values"]["test_tiled_4_v1_vl_unique_count_1d"] = {"long": 33}
    monkeypatch.setattr(demo, "load_answer", lambda: answer)
    found = run("demo", "--no-stay")
    assert found.code == 1
    assert "1 features are not what the JVM answered: test_tiled_4_v1_vl_unique_count_1d" in found.err


def test_its_request_is_that_of_the_recording() -> None:
    answer = demo.load_answer()
    recorded = [json.loads(line) for line in gzip.decompress(GOLDEN.read_bytes()).splitlines()]
    (request,) = (each for each in recorded if each.get("id") == "f-s-4-r9")
    (asked,), (response,) = request["requests"], request["responses"]
    assert (asked["name"], asked["at_millis"], response["values"]) == (answer["name"], answer["at_millis"], answer["values"])
    assert answer["keys"].items() <= asked["keys"].items()


def test_its_bytes_are_those_of_the_recording() -> None:
    recorded = [json.loads(line) for line in gzip.decompress(GOLDEN.read_bytes()).splitlines()]
    puts = [
        {name: put[name] for name in ("dataset", "key", "value", "ts")}
        for put in recorded
        if put["kind"] == "put" and put["world"] == "f-s-4"
    ]
    packaged = gzip.decompress(files("chronoserve.app").joinpath(demo.DATA).read_bytes()).splitlines()
    assert [json.loads(line) for line in packaged] == puts


def test_every_put_has_a_token_of_its_own() -> None:
    puts = demo.load_puts()
    assert len({put.idempotency_token for put in puts}) == len(puts) == 482


def test_the_newest_is_expected_of_latest_and_all_of_streaming() -> None:
    rows = [("D", 2, b"b"), ("D", 1, b"a"), ("D_STREAMING", 2, b"b"), ("D_STREAMING", 1, b"a"), ("D_STREAMING", 1, b"a")]
    expected = demo.expect([Put(dataset, b"k", value, millis) for dataset, millis, value in rows])
    assert expected == {
        ("D", b"k"): [TimedValue(b"b", 2)],
        ("D_STREAMING", b"k"): [TimedValue(b"a", 1), TimedValue(b"a", 1), TimedValue(b"b", 2)],
    }


@pytest.mark.parametrize(
    "found", [[], [TimedValue(b"a", 1)], [TimedValue(b"b", 2), TimedValue(b"a", 1)], [TimedValue(b"x", 1), TimedValue(b"b", 2)]]
)
def test_a_difference_is_an_error(found: list[TimedValue]) -> None:
    key = ("D_STREAMING", b"k")
    with pytest.raises(Internal, match="not the 2 written"):
        demo._compare({key: found}, {key: [TimedValue(b"a", 1), TimedValue(b"b", 2)]})

"""The section "Fetch" of the README, line by line, and the client's README: the same answer in every form."""

import json
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from chronoserve.v1 import fetcher_pb2, fetcher_pb2_grpc
from tests.docs.test_examples import COMMAND, blocks

SUM = "test_ev_temporal_4_v1_vl_sum_1d"
SECONDS = 60


def commands() -> list[str]:
    """Without their remarks."""
    return [re.sub(r"\s+# .*", "", line) for line in blocks("README.md", "bash")[2].splitlines()]


def shown(word: str) -> list[str]:
    """The words of the one command that holds ``word``."""
    (line,) = (line for line in commands() if word in line)
    return shlex.split(line)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The first two lines, on ports of its own."""
    folder = tmp_path_factory.mktemp("fetch")
    demo, serve, *_ = commands()
    assert shlex.split(demo)[1:] == ["demo", "--dir", "demo-data", "--no-stay"]
    subprocess.run([*COMMAND, *shlex.split(demo)[1:]], cwd=folder, check=True, capture_output=True, timeout=SECONDS)
    words = [word.replace("$PWD", str(folder)) for word in shlex.split(serve)[1:]]
    command = [*COMMAND, *words, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "serving":
            yield event
            break
    process.terminate()
    process.stderr.read()
    assert process.wait(20) == 0
    process.stderr.close()


@pytest.mark.parametrize("verb", ["fetch", "explain"])
def test_the_command_line(serving: dict[str, Any], verb: str) -> None:
    words = shown(f" {verb} ")[1:]
    done = subprocess.run(
        [*COMMAND, *words, "--server", serving["listen"][0]], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SUM in done.stdout


def test_grpcurl(serving: dict[str, Any]) -> None:
    """As grpcurl does it: JSON into a message, a call, JSON out of its answer."""
    words = shown("grpcurl")
    assert words[-2:] == ["127.0.0.1:50051", "chronoserve.v1.Fetcher/FetchJoins"]
    request = json_format.Parse(words[words.index("-d") + 1], fetcher_pb2.FetchRequest())
    with grpc.insecure_channel(serving["listen"][0]) as channel:
        stub: Any = fetcher_pb2_grpc.FetcherStub
        answer = json_format.MessageToDict(stub(channel).FetchJoins(request, timeout=SECONDS))
    (row,) = answer["responses"]
    assert row["status"] == "ROW_STATUS_OK"
    assert row["features"][SUM] == {"intValue": "1"}


def test_curl(serving: dict[str, Any]) -> None:
    curl, url, option, body = shown("curl '")
    assert (curl, option) == ("curl", "-d")
    with urllib.request.urlopen("http://" + url.replace("127.0.0.1:9000", serving["http"][0]), body.encode(), SECONDS) as reply:
        (result,) = json.loads(reply.read())["results"]
    assert result["status"] == "Success"
    assert result["features"][SUM] == 1


def test_python(serving: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    source = blocks("README.md", "python")[1].replace('"127.0.0.1:50051"', "TARGET")
    exec(compile(source, "README.md", "exec"), {"TARGET": serving["listen"][0]})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("OK {")
    assert f"'{SUM}': 1" in first
    assert second.startswith("MISSING {")


def test_the_client_s_readme_fetches_as_it_says(serving: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "clients/python/README.md").read_text()
    ((source, printed),) = re.findall(r"```python fetch\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    exec(compile(source.replace('"127.0.0.1:50051"', "TARGET"), "README.md", "exec"), {"TARGET": serving["listen"][0]})
    assert capsys.readouterr().out == printed

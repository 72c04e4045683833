"""What the documents show is run: a reader who copies a line gets what the document promises."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chronoserve.app.settings import RuleSettings, Settings
from chronoserve.model.errors import KVError
from chronoserve.wire.status import CODES

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "chronoserve"]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The README's first line under "Serve", on ports of its own."""
    command = [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--http", "off"]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("serve"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "serving":
            yield event["listen"][0]
            break
    process.terminate()
    process.stderr.read()
    assert process.wait(20) == 0
    process.stderr.close()


def test_the_readme_s_commands_do_what_they_show(server: str) -> None:
    shown = [line.partition("#")[0] for line in blocks("README.md", "bash")[1].splitlines() if " kv " in line]
    outputs = []
    for line in shown:
        words = shlex.split(line)[1:]
        done = subprocess.run([*COMMAND, *words, "--server", server], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "hello" in outputs[-1]


def test_the_readme_s_python_runs(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = blocks("README.md", "python")[0]
    setup = "from chronoserve_client import Client\nwith Client(TARGET) as client:\n    client.create('USERS_BATCH')\n"
    for source in (setup, example.replace('"127.0.0.1:50051"', "TARGET")):
        exec(compile(source, "README.md", "exec"), {"TARGET": server})
    assert "hello" in capsys.readouterr().out


def test_the_configuration_shown_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, policy = blocks("docs/operating/configuration.md", "toml")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    settings = msgspec.convert(tomllib.loads(whole), Settings)
    settings.verify()
    shown = set(tomllib.loads(whole))
    assert shown | {"layers"} == {field.name for field in msgspec.structs.fields(Settings)}, "every setting is in the document"
    assert {field.name for field in msgspec.structs.fields(type(settings.limits))} == set(tomllib.loads(whole)["limits"])
    assert msgspec.convert(tomllib.loads(policy)["policy"], list[RuleSettings])


def test_the_defaults_shown_are_the_defaults() -> None:
    shown = tomllib.loads(blocks("docs/operating/configuration.md", "toml")[0])
    assert shown["limits"] == msgspec.to_builtins(Settings().limits)
    assert {**shown["fetcher"], "failed_reads_of": {}} == msgspec.to_builtins(Settings().fetcher)


def test_every_reason_is_documented() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE))
    assert rows == {error.reason: CODES[error].name for error in every(KVError)}


def every(base: type[KVError]) -> list[type[KVError]]:
    return [each for child in base.__subclasses__() for each in (child, *every(child)) if each.__module__ == base.__module__]

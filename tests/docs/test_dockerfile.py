"""The Dockerfile, as far as it can be tried without a builder: what it copies is there, what it calls can be called."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_examples import ROOT
from tests.unit.app.shell import run

TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("words", [words for words in instructions("COPY") if "--from" not in words])
def test_what_is_copied_is_there_and_in_the_context(words: str) -> None:
    for source in words.split()[:-1]:
        assert (ROOT / source).exists()
        assert any(source == kept or source.startswith(f"{kept}/") for kept in (line[1:] for line in IGNORED if line.startswith("!")))


def test_the_tool_that_builds_the_transport_is_the_locked_one(tmp_path: Path) -> None:
    (command,) = [word for words in instructions("RUN") for word in words.split("&&") if "awk" in word]
    target = tmp_path / "maturin.lock"
    subprocess.run(["/bin/sh", "-c", command.replace("/tmp/maturin.lock", str(target))], cwd=ROOT, check=True)
    first, *others = target.read_text().splitlines()
    assert re.fullmatch(r"maturin==[0-9.]+ \\", first)
    assert any("--hash=sha256:" in line for line in others)
    assert all(line.startswith(" ") for line in others)


def test_debians_rust_is_new_enough() -> None:
    assert all("slim-trixie" in base for base in instructions("FROM"))
    assert 'rust-version = "1.85"' in (ROOT / "native" / "Cargo.toml").read_text()


def test_the_command_takes_its_options() -> None:
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    verb, *words = json.loads(command)
    assert json.loads(entry) == ["chronoserve"]
    known = run(verb, "--help").out
    assert {word for word in words if word.startswith("--")} == {"--listen", "--http", "--store"}
    assert all(word in known for word in words if word.startswith("--"))


def test_it_does_not_run_as_root() -> None:
    (user,) = instructions("USER")
    assert int(user) > 0

"""docs/integrate.md: every block of commands, in its order, in a folder that the quickstart has filled."""

import os
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_examples import COMMAND, ROOT
from tests.engines.environments import Chronon

DOCUMENT = ROOT / "docs" / "integrate.md"
SECONDS = 120


def shell_blocks() -> Iterator[str]:
    """The blocks in the order of the page; those inside of lists are indented."""
    pieces = DOCUMENT.read_text().split("```")
    for piece in pieces[1::2]:
        if piece.startswith("bash\n"):
            yield textwrap.dedent(piece.removeprefix("bash\n"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("integrate")
    subprocess.run([*COMMAND, "quickstart", "--no-stay", "--dir", "shop"], cwd=found, check=True, capture_output=True, timeout=SECONDS)
    return found


def test_every_block_does_what_it_shows(folder: Path) -> None:
    program = shlex.join(COMMAND)
    outputs = []
    blocks = list(shell_blocks())
    assert len(blocks) == 6
    for block in [each for each in blocks if "chronoserve compile" not in each or Chronon.installed()]:
        script = f'set -e\nchronoserve() {{ {program} "$@"; }}\n{block}'
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=os.environ, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, (block, done.stderr)
        outputs.append(done.stdout)
    rows = [[line for line in output.splitlines() if line.startswith("refunded_30d")] for output in outputs]
    assert rows[0] == rows[-2] != []


def test_the_dag_file_shown_compiles() -> None:
    pieces = [piece.removeprefix("python\n") for piece in DOCUMENT.read_text().split("```")[1::2] if piece.startswith("python\n")]
    assert len(pieces) == 1
    for piece in pieces:
        compile(piece, DOCUMENT.name, "exec")

"""The blocks of docs/operating/compiling.md, and the step of docs/integrate.md, with the real chronon-ai."""

import os
import shlex
import subprocess
from pathlib import Path

from tests.conformance.conftest import installed
from tests.docs.test_examples import COMMAND, blocks
from tests.docs.test_integrate import shell_blocks
from tests.engines.environments import Chronon

SECONDS = 120


def shell(folder: Path, block: str) -> str:
    """What it prints; fails where a line of it fails."""
    script = f'set -e\nchronoserve() {{ {shlex.join(COMMAND)} "$@"; }}\n{block}'
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=os.environ, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, (block, done.stderr)
    return done.stdout


def test_every_block_does_what_it_shows(tmp_path: Path) -> None:
    installed(Chronon)
    shell(tmp_path, "chronoserve quickstart --no-stay --dir shop")
    (step,) = (block for block in shell_blocks() if "chronoserve compile" in block)
    first, second = blocks("docs/operating/compiling.md", "bash")
    shown = blocks("docs/operating/compiling.md", "text")[0]
    expected = shown.replace("…", str(tmp_path)).splitlines()
    assert shell(tmp_path, step).splitlines()[1:] == expected
    assert shell(tmp_path, first).splitlines()[1:6] == expected
    assert "4 confs accepted" in shell(tmp_path, second)
    assert (tmp_path / "shop" / "compiled.jsonl").read_text().count("\n") == 5

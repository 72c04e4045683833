"""An environment whose compile.py is a few lines of a test's own."""

import sys
import textwrap
from pathlib import Path

PRELUDE = """
import argparse, os, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("--chronon_root", "--output_root", "--conf"):
    parser.add_argument(name)
parser.add_argument("--force-overwrite", action="store_true")
given = parser.parse_args()


def write(kind, folder, team, name, text):
    print(f"{kind + ' Team':>25} - \\x1b[34m{team}\\x1b[0m")
    print(f"{kind + ' Name':>25} - \\x1b[34m{name}\\x1b[0m")
    path = Path(given.output_root) / folder / team / name
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"{'Writing ' + kind + ' to':>25} - \\x1b[34m{path}\\x1b[0m")
    path.write_text(text)

"""


def environment(folder: Path, body: str) -> Path:
    """A virtual environment, as far as ``chronoserve compile`` looks at it."""
    package = folder / "packages" / "ai" / "chronon" / "repo"
    package.mkdir(parents=True)
    (package / "compile.py").write_text(PRELUDE + textwrap.dedent(body))
    about = folder / "packages" / "chronon_ai-0.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: chronon-ai\nVersion: 0.0.0\n")
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}/packages:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder


def repository(folder: Path, *sources: str) -> Path:
    """A repository with a teams.json and empty source files."""
    folder.mkdir()
    (folder / "teams.json").write_text('{"default": {"namespace": "db", "table_properties": {}}, "shop": {}}')
    for source in sources:
        path = folder / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder

"""The real chronon-ai, and a repository in the shape of Chronon's tutorial: the one that the quickstart ships."""

import shutil
from pathlib import Path

import pytest

from tests.conformance.conftest import installed
from tests.engines.environments import Chronon
from tests.unit.app.shell import Answer, run

SHIPPED = Path(__file__).parents[3] / "server" / "chronoserve" / "app" / "quickstart_confs"


class Repository:
    """A copy of it that tests change."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def compile(self, *words: str) -> Answer:
        return run("compile", "--chronon-root", self.root, "--environment", Chronon.directory(), *words)

    def outcomes(self, *words: str) -> dict[str, str]:
        """By conf, or by source file."""
        return {each["conf"]: each["outcome"] for each in self.compile(*words, "--json").objects[:-1]}

    def replace(self, source: str, old: str, new: str) -> None:
        path = self.root / source
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def write(self, source: str, text: str) -> None:
        path = self.root / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def compiled(self) -> dict[str, str]:
        """The compiled confs by key."""
        folder = self.root / "production"
        return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    installed(Chronon)
    shutil.copytree(SHIPPED, tmp_path / "repository")
    return Repository(tmp_path / "repository")

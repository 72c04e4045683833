"""Folders that change names in one step."""

import ctypes
import errno
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chronoserve.upload import files


@pytest.mark.skipif(sys.platform not in files.EXCHANGES, reason="this system cannot")
def test_two_folders_change_names(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "said").write_text(name)
    files.exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert [(tmp_path / name / "said").read_text() for name in ("one", "other")] == ["other", "one"]
    with pytest.raises(OSError, match="No such file") as missing:
        files.exchange(str(tmp_path / "one"), str(tmp_path / "third"))
    assert missing.value.errno == errno.ENOENT


@pytest.mark.parametrize(("platform", "name", "here"), [("linux", "renameat2", -100), ("darwin", "renameatx_np", -2)])
def test_each_system_is_asked_by_its_own_call(monkeypatch: pytest.MonkeyPatch, platform: str, name: str, here: int) -> None:
    asked: list[Any] = []

    def rename(*given: Any) -> int:
        asked.append(given)
        return 0

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(**{name: rename}))
    files.exchange("/a", "/b")
    assert asked == [(here, b"/a", here, b"/b", 2)]


def test_a_system_without_such_a_call_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "sunos5")
    with pytest.raises(OSError, match="not supported"):
        files.exchange("/a", "/b")

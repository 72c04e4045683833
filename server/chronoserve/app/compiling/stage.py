"""A copy of the compiled confs to compile into: what stands in the repository is replaced by whole, readable confs or not at all."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chronoserve.codec import conf_json
from chronoserve.model.errors import FailedPrecondition, InvalidRequest

KINDS = ("staging_queries", "group_bys", "joins")
"""Folders of confs, in the order in which they are built upon."""


def is_key(key: str) -> bool:
    """Whether it is a file in a team's folder: keys come from what a compiler says, and lead nowhere else."""
    kind, *inside = key.split("/")
    return kind in KINDS and len(inside) == 2 and not {"", ".", ".."}.intersection(inside)


@dataclass(frozen=True, slots=True)
class Stage:
    """``copy``: where compile.py writes. ``place``: where its confs belong."""

    copy: Path
    place: Path

    def before(self, key: str) -> str | None:
        """The conf that stands in the repository; None where there is none."""
        return _text(self.place / key)

    def after(self, key: str) -> str | None:
        """The conf that was compiled."""
        return _text(self.copy / key)

    def publish(self, key: str) -> None:
        """Move a conf to its place at once. Raises FailedPrecondition where it cannot be written."""
        text = (self.copy / key).read_bytes()
        target = self.place / key
        fresh = target.with_name(f".{target.name}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(text)
            fresh.replace(target)
        except OSError as refused:
            raise FailedPrecondition(f"{target} cannot be written: {refused.strerror}") from refused

    def embedding(self, names: frozenset[str], among: frozenset[str]) -> Iterator[tuple[str, list[str]]]:
        """Confs of the copy called one of ``among`` that hold some of ``names``, by key, with those that they hold."""
        for kind in KINDS:
            for path in sorted((self.copy / kind).glob("*/*")):
                tree = parsed(_text(path))
                if tree is not None and name_of(tree) in among:
                    held = sorted(names & set(_names(tree)) - {name_of(tree)})
                    if held:
                        yield path.relative_to(self.copy).as_posix(), held


@contextmanager
def staged(place: Path) -> Iterator[Stage]:
    """A copy that ends with the context. Raises FailedPrecondition where the confs cannot be read."""
    with TemporaryDirectory(prefix="chronoserve-compile-") as folder:
        copy = Path(folder) / "production"
        copy.mkdir()
        try:
            for kind in KINDS:
                if (place / kind).is_dir():
                    shutil.copytree(place / kind, copy / kind)
        except (OSError, shutil.Error) as unreadable:
            raise FailedPrecondition(f"the compiled confs below {place} cannot be read: {unreadable}") from unreadable
        yield Stage(copy, place)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except UnicodeDecodeError:
        return ""


def parsed(text: str | None) -> Mapping[str, Any] | None:
    """A conf as a tree; None where it is no JSON object."""
    try:
        tree = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def name_of(tree: Mapping[str, Any]) -> str:
    meta_data = tree.get("metaData")
    return str(meta_data.get("name", "")) if isinstance(meta_data, dict) else ""


def _names(value: Any) -> Iterator[str]:
    """Of everything with metaData in it."""
    if isinstance(value, dict):
        if name := name_of(value):
            yield name
        for inside in value.values():
            yield from _names(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _names(inside)


def digest(kind: str, text: str | None) -> str | None:
    """Equal for confs that say the same; None for what is no conf that can be read."""
    if text is None:
        return None
    try:
        return conf_json.md5_digest(conf_json.normalise(kind, text))
    except InvalidRequest:
        return None


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: its path, and its JSON before and after; None where it is absent."""

    field: str
    before: str | None
    after: str | None


def changes(kind: str, before: str, after: str) -> list[Change]:
    """What ``after`` says otherwise, in the order of its fields."""
    was, now = (json.loads(conf_json.normalise(kind, text)) for text in (before, after))
    return list(_changes(was, now, ""))


def _changes(before: object, after: object, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*after, *(name for name in before if name not in after)]:
            where = f"{path}.{name}" if path else str(name)
            yield from _changes(before.get(name), after.get(name), where)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            was, now = (each[index] if index < len(each) else None for each in (before, after))
            yield from _changes(was, now, f"{path}[{index}]")
    elif before != after:
        yield Change(path, _shown(before), _shown(after))


def _shown(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)

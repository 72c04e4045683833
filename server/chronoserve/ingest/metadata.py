"""Compiled confs on their way into the store, as Chronon's directory walker does it (spec/aggregation-and-codecs.md §14).

A conf's key is the last three segments of its path. It is written as the JVM would print it, so a file with a field that
Chronon does not know is refused, with the field's name. The lists of what a team has are merged with what the store has:
Chronon replaces them, so that uploading one file there takes every other conf of the team off the list.
"""

import enum
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chronoserve.codec import conf_json, confs, strings
from chronoserve.model import naming
from chronoserve.model.errors import CorruptValue, InvalidRequest, KVError

GROUP_PUTS: Final = 50
"""Puts in one call, as Chronon batches them."""
CONF_BYTES_MAX: Final = 16 << 20


class ConfKind(enum.Enum):
    """What a conf file holds; the value is the first segment of its key."""

    JOIN = "joins"
    GROUP_BY = "group_bys"
    STAGING_QUERY = "staging_queries"


class Endpoint(enum.Enum):
    """What is written; the value is the dataset."""

    CONFS = naming.METADATA_DATASET
    TEAMS = naming.ENTITIES_BY_TEAM_DATASET


@dataclass(frozen=True, slots=True)
class Conf:
    """A conf that will be uploaded. ``text``: as the JVM would store it. ``team``: its owning team, if it has one."""

    path: Path
    kind: ConfKind
    key: str
    text: str
    team: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that looks like a conf and is not one that Chronon would take."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is no conf: not JSON, without ``metaData.name``, or outside the folders that confs are in."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class MetadataPut:
    """One entry to write; its time is when it is written."""

    dataset: str
    key: bytes
    value: bytes


def walk(root: Path) -> Iterator[Conf | Refused | Skipped]:
    """Every file below ``root``, or ``root`` itself, in the order of their paths.

    Raises:
        InvalidRequest: there is no such file or folder.
    """
    if not root.exists():
        raise InvalidRequest(f"there is no file or folder {root}")
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    for path in paths:
        yield examine(path)


def examine(path: Path) -> Conf | Refused | Skipped:
    """What one file is."""
    try:
        text = _text(path)
        name = _meta_data_name(text)
    except (OSError, ValueError, RecursionError) as unreadable:
        return Skipped(path, _why(unreadable))
    if name is None:
        return Skipped(path, "no JSON object with metaData.name")
    kind = kind_of(path)
    if kind is None:
        return Skipped(path, f"its path has none of {', '.join(f'{each.value}/' for each in ConfKind)}")
    try:
        stored = conf_json.normalise(kind.value, text, check=True)
        team = confs.meta_data(text).owning_team
    except KVError as wrong:
        return Refused(path, wrong.message)
    return Conf(path, kind, naming.conf_path_to_key(path.resolve().as_posix()), stored, team)


def _text(path: Path) -> str:
    if path.stat().st_size > CONF_BYTES_MAX:
        raise ValueError(f"larger than {CONF_BYTES_MAX >> 20} MiB")
    return path.read_text(encoding="utf-8")


def _why(unreadable: Exception) -> str:
    if isinstance(unreadable, OSError):
        return f"it cannot be read: {unreadable.strerror}"
    return "no JSON" if isinstance(unreadable, (json.JSONDecodeError, UnicodeDecodeError, RecursionError)) else str(unreadable)


def _meta_data_name(text: str) -> str | None:
    tree = json.loads(text)
    meta_data = tree.get("metaData") if isinstance(tree, dict) else None
    name = meta_data.get("name") if isinstance(meta_data, dict) else None
    return name if isinstance(name, str) else None


def kind_of(path: Path) -> ConfKind | None:
    """By the folder that the key will begin with; else by the first kind whose folder is anywhere in the path, as Chronon has it."""
    segments = path.resolve().parts
    kinds = {kind.value: kind for kind in ConfKind}
    if len(segments) >= 3 and segments[-3] in kinds:
        return kinds[segments[-3]]
    return next((kind for kind in ConfKind if kind.value in segments[:-1]), None)


def conf_puts(found: Iterable[Conf]) -> list[MetadataPut]:
    """The confs themselves."""
    return [MetadataPut(Endpoint.CONFS.value, conf.key.encode(), conf.text.encode()) for conf in found]


def team_lists(found: Iterable[Conf]) -> dict[str, list[str]]:
    """``<kind>/<team>`` to the keys of this upload, in its order. A conf without a team is on no list."""
    lists: dict[str, list[str]] = {}
    for conf in found:
        if conf.team is not None:
            lists.setdefault(f"{conf.kind.value}/{conf.team}", []).append(conf.key)
    return lists


def team_puts(lists: Mapping[str, Sequence[str]], stored: Mapping[str, bytes]) -> list[MetadataPut]:
    """The lists with what the store has in front of them. ``stored``: values by list key.

    Raises:
        CorruptValue: a stored list cannot be read.
    """
    return [
        MetadataPut(Endpoint.TEAMS.value, key.encode(), strings.encode(merged(_read(key, stored.get(key)), keys)))
        for key, keys in lists.items()
    ]


def merged(stored: Iterable[str], keys: Iterable[str]) -> list[str]:
    """Each once, the stored ones first."""
    return list(dict.fromkeys([*stored, *keys]))


def _read(key: str, value: bytes | None) -> list[str]:
    if value is None:
        return []
    try:
        return strings.decode(value)
    except CorruptValue as wrong:
        raise CorruptValue(f"the stored list {key} of {Endpoint.TEAMS.value} is no list of base64 texts") from wrong


def groups(puts: Sequence[MetadataPut], size: int = GROUP_PUTS) -> Iterator[Sequence[MetadataPut]]:
    """Puts that are written together."""
    for at in range(0, len(puts), size):
        yield puts[at : at + size]

"""A recording read from a file: which kind each record is of, and the records of one world together."""

import enum
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from chronoserve.model.errors import InvalidRequest

Record = dict[str, Any]


class Kind(enum.Enum):
    """What a record is; the letters are those of golden/README.md."""

    AGGREGATION = "a"
    SCHEMA = "c: schema"
    KEY_ENCODING = "c: key_encode"
    CAST = "c: cast_to"
    NAMING = "d"
    EXPRESSION = "e: expression"
    DERIVATION_GROUP = "e: derivation_group"
    INPUTS = "e: inputs"
    WORLD = "b, f"
    """Opens a world, or belongs to one."""
    QUICKSTART = "g"
    """A record of the one world that a g recording is."""
    TABLES = "h, k: source tables"
    UPLOAD = "k: upload"
    """An upload with its rows under ``uploads``."""
    LATER = "h, i, j"
    """Read and counted, and not replayed yet; ``LATER`` says by whom it will be."""
    UNKNOWN = "unknown"


LATER: Final = {
    "request": "keys that this way to ask has no words for",
    **dict.fromkeys(("join_backfill", "join_rows"), "point-in-time backfills: the issue on batch"),
    "incremental_table": "what no upload has kept",
    "upload_row": "rows of no upload",
    "world": "source tables of logs: the issue on consistency",
    **dict.fromkeys(("group_by", "event", "tiling", "spark_put", "stream_error"), "streaming jobs: the issue on streaming"),
    **dict.fromkeys(
        (
            "logs", "schema_group_by", "schema_table", "flattened", "flattened_properties", "flatten_error", "comparison",
            "metrics", "consistency_table", "consistency_upload", "consistency_error",
        ),
        "log flattening and consistency: the issue on consistency",
    ),
}  # fmt: skip
"""By the ``kind`` of records that are not replayed yet: what covers them."""

UPLOADS: Final = "uploads"
INCREMENTAL: Final = "incremental"
"""Members of an upload under which what belongs to it is."""

_BY_KIND: Final = {
    "schema": Kind.SCHEMA,
    "key_encode": Kind.KEY_ENCODING,
    "cast_to": Kind.CAST,
    "inputs": Kind.INPUTS,
    "expression": Kind.EXPRESSION,
    "derivation_group": Kind.DERIVATION_GROUP,
    "put": Kind.WORLD,
    "join": Kind.WORLD,
    "log": Kind.WORLD,
    "join_conf": Kind.QUICKSTART,
    "stream_put": Kind.QUICKSTART,
}


def kind_of(record: Record) -> Kind:
    """By its ``kind`` where that tells, else by what only records of one kind have."""
    kind = record.get("kind")
    match kind:
        case None if "operation" in record:
            return Kind.AGGREGATION
        case None if "clean_name" in record:
            return Kind.NAMING
        case "world" if "missing_key_is_failure" in record:
            return Kind.WORLD
        case "table" | "rows":
            return Kind.TABLES
        case "world":
            return Kind.TABLES if "end_ds" in record else Kind.LATER
        case "group_by":
            return Kind.LATER if "stream_type" in record else Kind.WORLD
        case "request":
            return Kind.WORLD if "world" in record else Kind.QUICKSTART
        case "upload":
            return Kind.UPLOAD if "world" in record else Kind.QUICKSTART
        case "upload_row":
            return Kind.LATER if "world" in record else Kind.QUICKSTART
        case _:
            return _BY_KIND.get(str(kind)) or (Kind.LATER if str(kind) in LATER else Kind.UNKNOWN)


def read(path: Path) -> Iterator[Record]:
    """Every record in order.

    Raises:
        InvalidRequest: the file cannot be read, or a line is no JSON object; the text names the line.
    """
    try:
        with _opened(path) as lines:
            yield from _records(lines, path.name)
    except (OSError, EOFError, zlib.error) as unreadable:
        raise InvalidRequest(f"{path.name} cannot be read: {getattr(unreadable, 'strerror', None) or unreadable}") from unreadable


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


def _records(lines: Iterable[bytes], name: str) -> Iterator[Record]:
    decoder = msgspec.json.Decoder()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = decoder.decode(line)
        except msgspec.DecodeError as wrong:
            raise InvalidRequest(f"{name}, line {number} is no JSON: {wrong}") from wrong
        if not isinstance(record, dict):
            raise InvalidRequest(f"{name}, line {number} is not a JSON object")
        yield record


@dataclass(slots=True)
class World:
    """One fresh store: its records in order. ``name``: None where the recording is one world without a name (g)."""

    name: str | None
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Single:
    """A record that stands by itself."""

    kind: Kind
    record: Record


def parts(records: Iterable[Record]) -> Iterator[World | Single]:
    """A recording cut into what can be replayed by itself: worlds, and records that stand alone.

    Records of a world are contiguous; a g recording is one world, whatever its length.
    """
    world: World | None = None
    for record in uploads_with_rows(records):
        kind = kind_of(record)
        name = record.get("world") if kind is Kind.WORLD else None
        if kind not in (Kind.WORLD, Kind.QUICKSTART):
            if world is not None:
                yield world
                world = None
            yield Single(kind, record)
            continue
        if world is None or world.name != name or record.get("kind") == "world":
            if world is not None:
                yield world
            world = World(name)
        world.records.append(record)
    if world is not None:
        yield world


def uploads_with_rows(records: Iterable[Record]) -> Iterator[Record]:
    """The records, those of a k upload's rows gathered under ``uploads`` of the upload before them, and its incremental table beside."""
    upload: Record | None = None
    for record in records:
        kind = record.get("kind") if "world" in record else None
        if upload is not None and kind == "upload_row":
            upload[UPLOADS].append(record)
            continue
        if upload is not None and kind == "incremental_table":
            upload[INCREMENTAL] = record
            continue
        if upload is not None:
            yield upload
        upload = {**record, UPLOADS: []} if kind_of(record) is Kind.UPLOAD else None
        if upload is None:
            yield record
    if upload is not None:
        yield upload


def requests_of(world: World) -> Sequence[Record]:
    """The requests of a world, in order."""
    return [record for record in world.records if record.get("kind") == "request"]


def aligned(request: Record) -> list[Record | None]:
    """The recorded response of each request of a call; None where Chronon drops it: fetchGroupBys has no reply for a null key."""
    responses = request["responses"]
    if len(responses) == len(request["requests"]):
        return list(responses)
    rest = iter(responses)
    return [None if _has_null_key(asked) else next(rest, None) for asked in request["requests"]]


def _has_null_key(asked: Record) -> bool:
    return any(value is None for value in (asked["keys"] or {}).values())

"""Logged rows as files of Parquet or Avro, laid out as the offline half reads its log table.

``ds=2024-03-01/name=team%2Fjoin.v1/part-<writer>-<number>.parquet``: partitioned as Chronon's table is (spec/online-fetch.md
§16.3), with path characters escaped as Hive does. ``ds`` is the UTC day on which the row was logged. A file is written under
a hidden name and takes its own once it is complete, so a reader never sees half of one. Of a process that is killed the
files begun are lost, which is at most what it logged within ``roll_seconds``.
"""

import asyncio
import contextlib
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol
from urllib.parse import quote

from chronoserve.ingest.response_log.sink import AVRO_SCHEMA
from chronoserve.model.errors import FailedPrecondition, Unavailable
from chronoserve.model.logged import LoggedResponse

Format = Literal["parquet", "avro"]

BLOCK_ROWS = 2_000
BLOCK_BYTES = 1 << 20
"""A file's rows are kept in memory until they fill a row group of Parquet, or a block of Avro, of this size."""
FILES_MAX = 64
"""Files open at once; one more and the oldest is finished."""
PARTITION_COLUMNS = frozenset({"name"})
"""Columns that the path holds, and so the files do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """A file is finished when it is ``roll_seconds`` old or holds ``roll_bytes``, before compression."""

    path: Path
    format: Format = "parquet"
    roll_seconds: float = 60.0
    roll_bytes: int = 64 << 20


Columns = dict[str, list[Any]]


class Encoder(Protocol):
    """Writes blocks of rows to one file. ``OSError`` and ``ValueError`` where that fails."""

    def block(self, columns: Columns) -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None:
        """Let go of the file, which nobody will read. Raises nothing."""


class _Part:
    """One file under way."""

    def __init__(self, target: Path, opened: Callable[[Path], Encoder], now_millis: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._hidden = target.with_name(f".{target.name}.inprogress")
        self._encoder = opened(self._hidden)
        self._waiting: list[LoggedResponse] = []
        self._waiting_bytes = 0
        self.began_millis = now_millis
        self.rows = 0
        self.bytes = 0

    def append(self, rows: Sequence[LoggedResponse]) -> None:
        self._waiting.extend(rows)
        self.rows += len(rows)
        size = sum((len(row.key_bytes) + len(row.value_bytes)) * 4 // 3 for row in rows)
        self.bytes += size
        self._waiting_bytes += size
        if len(self._waiting) >= BLOCK_ROWS or self._waiting_bytes >= BLOCK_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._encoder.block(_columns(self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0

    def finish(self) -> None:
        """The file is complete, durable and under its own name."""
        if self._waiting:
            self._flush()
        self._encoder.finish()
        descriptor = os.open(self._hidden, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._hidden.replace(self._target)

    def abandon(self) -> None:
        self._encoder.abandon()
        with contextlib.suppress(OSError):  # what cannot be removed stays hidden from readers
            self._hidden.unlink(missing_ok=True)


class FileSink:
    """Rows by day and join, one open file for each."""

    def __init__(self, settings: FileSettings, *, clock: Callable[[], int]) -> None:
        """Raises FailedPrecondition where the folder cannot be made, or the format's library is missing."""
        self.lost = 0
        self._settings = settings
        self._clock = clock
        self._opened = _parquet_encoder() if settings.format == "parquet" else _avro_encoder()
        self._parts: dict[tuple[str, str], _Part] = {}
        self._writer = secrets.token_hex(4)
        self._number = 0
        try:
            settings.path.mkdir(parents=True, exist_ok=True)
        except OSError as failed:
            raise FailedPrecondition(f"the response log's folder cannot be made: {failed.strerror}") from failed

    async def write(self, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
        return await asyncio.to_thread(self._write, rows, self._clock())

    async def settle(self, *, now_millis: int) -> None:
        oldest = now_millis - self._settings.roll_seconds * 1000
        due = [place for place, part in self._parts.items() if part.began_millis <= oldest]
        if due:
            await asyncio.to_thread(self._finish_or_fail, due)

    async def close(self, *, seconds: float) -> None:
        """It takes as long as the disk does: giving up would lose what a moment more would save."""
        await asyncio.to_thread(self._finish_or_fail, list(self._parts))

    # in a thread

    def _write(self, rows: Sequence[LoggedResponse], now_millis: int) -> list[LoggedResponse]:
        day = datetime.fromtimestamp(now_millis / 1000, UTC).date().isoformat()
        by_name = defaultdict[str, list[LoggedResponse]](list)
        for row in rows:
            by_name[row.join_name].append(row)
        refused: list[LoggedResponse] = []
        for name, group in by_name.items():
            try:
                self._append((day, name), group, now_millis)
            except (OSError, ValueError) as failed:
                self._give_up((day, name), len(group))
                refused += group
                if len(refused) == len(rows):
                    _fail(failed)
        return refused

    def _append(self, place: tuple[str, str], rows: Sequence[LoggedResponse], now_millis: int) -> None:
        part = self._parts.get(place)
        if part is None:
            if len(self._parts) >= FILES_MAX:
                self._finish([min(self._parts, key=lambda each: self._parts[each].began_millis)])
            part = self._parts[place] = _Part(self._target(*place), self._opened, now_millis)
        part.append(rows)
        if part.bytes >= self._settings.roll_bytes:
            self._finish([place])

    def _target(self, day: str, name: str) -> Path:
        self._number += 1
        folder = self._settings.path / f"ds={day}" / f"name={quote(name, safe='')}"
        return folder / f"part-{self._writer}-{self._number:06d}.{self._settings.format}"

    def _finish_or_fail(self, places: Sequence[tuple[str, str]]) -> None:
        if (failed := self._finish(places)) is not None:
            _fail(failed)

    def _finish(self, places: Sequence[tuple[str, str]]) -> Exception | None:
        """Finish these files; the error of one that could not be, whose rows are lost."""
        failure: Exception | None = None
        for place in places:
            try:
                self._parts[place].finish()
                del self._parts[place]
            except (OSError, ValueError) as failed:
                self._give_up(place, 0)
                failure = failed
        return failure

    def _give_up(self, place: tuple[str, str], rows_refused: int) -> None:
        """A file that could not be written to is of no use; ``rows_refused`` of its rows will be written to another."""
        part = self._parts.pop(place, None)
        if part is not None:
            self.lost += part.rows - rows_refused
            part.abandon()


def _fail(failed: Exception) -> NoReturn:
    reason = failed.strerror if isinstance(failed, OSError) and failed.strerror else type(failed).__name__
    raise Unavailable(f"the response log's files cannot be written: {reason}") from failed


def _columns(rows: Sequence[LoggedResponse]) -> Columns:
    return {
        "key_base64": [row.key_base64 for row in rows],
        "value_base64": [row.value_base64 for row in rows],
        "ts_millis": [row.ts_millis for row in rows],
        "schema_hash": [row.schema_hash for row in rows],
    }


def _parquet_encoder() -> Callable[[Path], Encoder]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - large, and only this format needs it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise FailedPrecondition(
            "a response log of Parquet needs pyarrow: pip install 'chronoserve[lake]', or format = \"avro\""
        ) from missing
    text, number = pa.string(), pa.int64()
    schema = pa.schema([("key_base64", text), ("value_base64", text), ("ts_millis", number), ("schema_hash", text)])

    class ParquetEncoder:
        def __init__(self, path: Path) -> None:
            self._file = path.open("wb")
            self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")

        def block(self, columns: Columns) -> None:
            self._writer.write_table(pa.table(columns, schema=schema))

        def finish(self) -> None:
            self._writer.close()
            self._file.close()

        def abandon(self) -> None:
            with contextlib.suppress(OSError, ValueError):  # the disk that failed fails again
                self.finish()
            with contextlib.suppress(OSError):
                self._file.close()

    return ParquetEncoder


def _avro_encoder() -> Callable[[Path], Encoder]:
    from fastavro.write import Writer  # noqa: PLC0415 - only this format needs it

    fields = [field for field in AVRO_SCHEMA["fields"] if field["name"] not in PARTITION_COLUMNS]  # type: ignore[index]

    class AvroEncoder:
        def __init__(self, path: Path) -> None:
            self._file = path.open("wb")
            self._writer: Any = Writer(self._file, {**AVRO_SCHEMA, "fields": fields}, codec="deflate")

        def block(self, columns: Columns) -> None:
            for cells in zip(*columns.values(), strict=True):
                self._writer.write(dict(zip(columns, cells, strict=True)))
            self._writer.flush()

        def finish(self) -> None:
            self._writer.flush()
            self._file.close()

        def abandon(self) -> None:
            with contextlib.suppress(OSError):  # the disk that failed fails again
                self._file.close()

    return AvroEncoder

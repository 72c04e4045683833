"""BulkPut: rows of files into a dataset, with progress that a broken load is continued from."""

import asyncio
import hashlib
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from chronoserve.ingest.source import SUFFIXES, Rows, Source, open_source
from chronoserve.ingest.upload_table import UploadTable
from chronoserve.kvstore.port import PutRequest
from chronoserve.kvstore.registry import Clock
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import (
    CorruptValue,
    DeadlinePassed,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    KVError,
    Throttled,
    Unavailable,
    WriteOutcomeUnknown,
)
from chronoserve.model.partitions import PartitionSpec
from chronoserve.service.access import Caller, Verb
from chronoserve.service.bulk_reads import read_ahead
from chronoserve.service.bulk_writes import Batch, Completion, Puts, Writes
from chronoserve.service.gateway import Gateway, NamedPut
from chronoserve.warehouse.port import Warehouse

ATTEMPTS_MAX = 6
"""Tries for the rows of a batch that failed in a way that another try may mend: every put of a load can be replayed."""
PAUSE_SECONDS = 0.05
"""Pause before the second try; each further one doubles it."""
BATCHES_A_SECOND = 10
"""Of a load whose rate is bounded."""
ERRORS_SHOWN_MAX = 10
BATCH_SECONDS = 30.0
"""Time limit for one batch of rows."""
TOKEN = re.compile(r"(?P<identity>[0-9a-f]+)\.(?P<default_millis>[0-9]{1,18})\.(?P<row>[0-9]{1,18})", re.ASCII)
TABLE_NAME = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+=[^/]+)*", re.ASCII)
"""``namespace.table``: what a source is where it is no path."""
DAYS = PartitionSpec()
PASSING = (Unavailable, Throttled, DeadlinePassed, WriteOutcomeUnknown, Internal)
"""Errors that another try may mend."""
OF_THE_ROW = (InvalidRequest, CorruptValue)
"""Errors of one row, which the others need not wait for."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to load where. ``partition`` is a date or empty; ``resume_token`` comes from the progress of a broken load.

    ``rows_a_second_max`` bounds the rate, so that a load leaves the store time for reads; 0: as fast as it goes.
    """

    source_table: str
    dataset: str
    partition: str = ""
    resume_token: str = ""
    rows_a_second_max: float = 0.0


@dataclass(slots=True)
class Progress:
    """``rows`` count from the start of the source, ``bytes`` and ``rows_a_second`` from the start of this call."""

    rows: int = 0
    bytes: int = 0
    rows_a_second: float = 0.0
    rows_total: int = 0
    resume_token: str = ""
    done: bool = False
    rows_refused: int = 0
    rows_written: int = 0
    errors: list[KVError] = field(default_factory=list)

    def advanced(self, first: "Position", batch: Batch, refused: list[KVError], *, seconds: float) -> "Progress":
        """The same, after a batch more; ``seconds`` since this call began, which was at ``first``."""
        self.rows += len(batch)
        self.rows_refused += len(refused)
        self.rows_written += len(batch) - len(refused)
        self.errors += refused[: ERRORS_SHOWN_MAX - len(self.errors)]
        self.bytes += batch.size_bytes
        self.rows_a_second = (self.rows - first.row) / max(seconds, 1e-9)
        self.resume_token = Position(first.identity, self.rows, first.default_millis).token()
        return self


@dataclass(frozen=True, slots=True)
class Position:
    """Where a load stands: it is continued only on the rows, and with the default time, that it began with."""

    identity: str
    row: int
    default_millis: int

    def token(self) -> str:
        return f"{self.identity}.{self.default_millis}.{self.row}"

    @classmethod
    def begin(cls, load: Load, identity: str, default_millis: int) -> "Position":
        """From ``load.resume_token``, or the start. Raises InvalidRequest where the token is of another load."""
        if not load.resume_token:
            return cls(identity, 0, default_millis)
        found = TOKEN.fullmatch(load.resume_token)
        if found is None or found["identity"] != identity:
            raise InvalidRequest("resume_token is of another source, dataset or partition, or the source has changed", field="resume_token")
        return cls(identity, int(found["row"]), int(found["default_millis"]))


class Pace:
    """At most so many rows a second, in batches of a tenth of a second; 0: as fast as it goes."""

    def __init__(self, rows_a_second_max: float) -> None:
        self._rate = rows_a_second_max
        self._due = 0.0
        self.rows_max = max(1, round(rows_a_second_max / BATCHES_A_SECOND)) if rows_a_second_max else sys.maxsize

    async def wait(self, rows: int) -> None:
        """Until ``rows`` more may be written. What was not used of the rate is not made up for later."""
        if self._rate:
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, self._due - now))
            self._due = max(self._due, now) + rows / self._rate


class BulkLoader:
    """Loads files into datasets. Every row becomes a put with a fixed time, so loading a row again changes nothing."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        roots: Sequence[Path] | None,
        clock: Clock,
        warehouse: Callable[[], Warehouse] | None = None,
        partitions: PartitionSpec = DAYS,
    ) -> None:
        """``roots``: folders that files must lie in; None: any place. ``warehouse`` opens the tables' warehouse; None: there is none."""
        self._gateway = gateway
        self._roots = roots
        self._clock = clock
        self._warehouse = warehouse
        self._partitions = partitions

    async def run(self, load: Load, caller: Caller | None = None) -> AsyncGenerator[Progress]:
        """The same ``Progress``, brought up to date after each batch, and once more when it is done.

        Raises:
            InvalidRequest, FailedPrecondition, UnknownDataset, PermissionDenied: nothing was written by this call.
            KVError: a batch could not be written; continue with the last ``resume_token``.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        dataset = await self._gateway.authorize(load.dataset, Verb.ADMIN, deadline=began + BATCH_SECONDS, caller=caller)
        source, identity, rows_total = await asyncio.to_thread(self._open, load)
        first = Position.begin(load, identity, self._partitions.end_millis(load.partition) if load.partition else self._clock())
        progress = Progress(rows=first.row, rows_total=rows_total, resume_token=load.resume_token)
        written = self._written(source.batches(first.row), dataset, first.default_millis, Pace(load.rows_a_second_max))
        async with aclosing(written) as batches:
            async for batch, refused in batches:
                yield progress.advanced(first, batch, refused, seconds=loop.time() - began)
        progress.done = True
        yield progress

    async def write(self, rows: Iterator[Rows], dataset_name: str, default_millis: int, caller: Caller | None = None) -> Progress:
        """Rows that come from elsewhere, as a part of a table that other processes load the rest of: all of them, or an error.

        Raises:
            UnknownDataset, PermissionDenied: nothing was written.
            KVError: a batch could not be written; write all of them again.
        """
        dataset = await self._gateway.authorize(
            dataset_name, Verb.ADMIN, deadline=asyncio.get_running_loop().time() + BATCH_SECONDS, caller=caller
        )
        progress, first = Progress(), Position("", 0, default_millis)
        async with aclosing(self._written(rows, dataset, default_millis, Pace(0.0))) as batches:
            async for batch, refused in batches:
                progress.advanced(first, batch, refused, seconds=0.0)
        progress.done = True
        return progress

    async def _written(
        self, source: Iterator[Rows], dataset: Dataset, default_millis: int, pace: Pace
    ) -> AsyncGenerator[tuple[Batch, list[KVError]]]:
        """Each batch when it is written, in their order, with the errors of its rows."""
        async with Writes(self._write) as writes, aclosing(read_ahead(self._batches(source, dataset, default_millis, pace))) as batches:
            async for batch in batches:
                while writes.must_wait(batch):
                    yield await writes.oldest()
                await pace.wait(len(batch))
                writes.begin(batch)
            while writes:
                yield await writes.oldest()

    def _batches(self, source: Iterator[Rows], dataset: Dataset, default_millis: int, pace: Pace) -> Iterator[Batch]:
        """The rows, complete, no more in a batch than a call may have. Blocking."""
        capability = self._gateway.router.owner(dataset).capability
        completion = Completion(dataset, capability, self._gateway.limits, default_millis=default_millis, now=self._clock)
        size = min(self._gateway.limits.keys_per_call_max, pace.rows_max)
        for rows in source:
            for at in range(0, len(rows), size):
                yield completion.batch(rows.part(at, at + size))

    def _open(self, load: Load) -> tuple[Source, str, int]:
        """The source with its identity and its number of rows. Blocking."""
        if load.partition:
            self._partitions.day(load.partition)
        source = self._table(load) if _names_table(load.source_table) else open_source(load.source_table, load.partition, self._roots)
        return source, _identity(source, load), source.count()

    def _table(self, load: Load) -> Source:
        """An upload table. Raises KVError where it cannot be loaded."""
        if self._warehouse is None:
            raise FailedPrecondition(f"{load.source_table} names a table, and this process has no warehouse: configure [warehouse] url")
        if not load.partition:
            raise InvalidRequest("a table is loaded one partition at a time: name the day of the upload", field="partition")
        where, spec = self._warehouse(), self._partitions
        return UploadTable.of(where, load.source_table, dataset=load.dataset, partition=load.partition, spec=spec)

    async def _write(self, puts: Puts) -> list[KVError]:
        """Write one batch; the errors of rows that can never be written.

        The caller may load, which was checked when the load began, and needs no other permission for it.

        Raises:
            Unavailable: some rows could not be written within ATTEMPTS_MAX tries.
            KVError: no row can be written, as the error says.
        """
        refused: list[KVError] = []
        loop = asyncio.get_running_loop()
        for attempt in range(ATTEMPTS_MAX):
            try:
                results = await self._put(puts, loop.time() + BATCH_SECONDS)
            except PASSING as passing:
                results = [passing] * len(puts)
            if not any(results):
                return refused
            again = _to_write_again(puts, results)
            refused += [error for error in results if isinstance(error, OF_THE_ROW)]
            if not again:
                return refused
            puts = again
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
        raise Unavailable(f"{len(puts)} rows could not be written; call again with the last resume_token", retry_after=1.0)

    async def _put(self, puts: Puts, deadline: float) -> Sequence[KVError | None]:
        if isinstance(puts[0], NamedPut):
            return await self._gateway.multi_put(cast("Sequence[NamedPut]", puts), deadline=deadline)
        return await self._gateway.put_complete(cast("Sequence[PutRequest]", puts), deadline=deadline)


def _to_write_again(puts: Puts, results: Sequence[KVError | None]) -> Puts:
    """The rows that failed in passing, and those that follow one of them with its key: the last row of a key must stay the last.

    Raises:
        KVError: the error of a row that is neither passing nor the row's own.
    """
    again: list[PutRequest | NamedPut] = []
    keys: set[bytes] = set()
    for put, error in zip(puts, results, strict=True):
        if isinstance(error, PASSING):
            keys.add(put.key)
        elif error is not None and not isinstance(error, OF_THE_ROW):
            raise error
        if put.key in keys and not isinstance(error, OF_THE_ROW):
            again.append(put)
    return again


def _names_table(source: str) -> bool:
    return TABLE_NAME.fullmatch(source) is not None and not source.endswith(SUFFIXES)


def _identity(source: Source, load: Load) -> str:
    text = f"{source.fingerprint()}|{load.dataset}|{load.partition}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

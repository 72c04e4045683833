"""The writer of an embedded store: one thread a process, that commits all waiting batches in one transaction.

An fsync costs as much as thousands of rows, so callers share it. A batch is *waiting* until its transaction begins and
can be taken back for certain; from then on it is the writer's.
"""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from chronoserve.kvstore.backends.lmdb import rows as lmdb_rows
from chronoserve.kvstore.backends.lmdb.environment import Environment, Settings, T, Work
from chronoserve.kvstore.backends.lmdb.rows import Tables, Txn
from chronoserve.kvstore.registry import Clock
from chronoserve.model.errors import DeadlinePassed, FailedPrecondition, Internal, KVError, Throttled, Unavailable, WriteOutcomeUnknown

WAITING_BYTES_MAX = 256 << 20
WAITING_BATCHES_MAX = 10_000
GROUP_BYTES_MAX = 8 << 20
"""What one transaction takes at most, unless it is a single batch: so one group is a fraction of a second."""
CLOSE_SECONDS_MAX = 10.0

log = structlog.get_logger("chronoserve.lmdb")


@dataclass(slots=True, eq=False)
class Batch:
    """Work that goes into one transaction as a whole. Where it raises a KVError it has not written anything."""

    work: Work[Any]
    size_bytes: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class GroupWriter:
    """Takes batches from any event loop of this process; sweeps expired rows when it is due."""

    def __init__(self, environment: Environment, *, clock: Clock, sweep_seconds: float) -> None:
        self.environment = environment
        self.sweep_seconds = sweep_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[Batch, None] = {}
        self._waiting_bytes = 0
        self._refusal: KVError | None = None
        self._thread = threading.Thread(target=self._run, name="chronoserve-lmdb-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work[T], *, size_bytes: int, deadline: float) -> T:
        """What ``work`` answers once it is committed. A cancelled call's batch is taken back, or committed unheard.

        Raises:
            WriteOutcomeUnknown: the deadline came during the commit, or the disk failed.
            KVError: certainly not applied.
        """
        loop = asyncio.get_running_loop()
        if deadline <= loop.time():
            raise DeadlinePassed("the deadline had passed before the write began")
        batch = Batch(work, size_bytes, loop, loop.create_future())
        self._enqueue(batch)
        timer = loop.call_at(deadline, self._give_up, batch)
        try:
            answer: T = await batch.answer
        finally:
            timer.cancel()
            self._take_back(batch)
        return answer

    def _enqueue(self, batch: Batch) -> None:
        with self._changed:
            if self._refusal:
                raise self._refusal
            full = self._waiting_bytes + batch.size_bytes > WAITING_BYTES_MAX or len(self._waiting) == WAITING_BATCHES_MAX
            if full and self._waiting:
                raise Throttled("too many writes are waiting for the disk", retry_after=0.1)
            self._waiting[batch] = None
            self._waiting_bytes += batch.size_bytes
            self._changed.notify()

    def _take_back(self, batch: Batch) -> bool:
        """Whether the batch was still waiting; it is no longer."""
        with self._changed:
            if batch not in self._waiting:
                return False
            self._discard(batch)
            return True

    def _discard(self, batch: Batch) -> None:
        del self._waiting[batch]
        self._waiting_bytes -= batch.size_bytes

    def _give_up(self, batch: Batch) -> None:
        if self._take_back(batch):
            error: KVError = DeadlinePassed("the deadline passed before the write's turn came")
        else:
            error = WriteOutcomeUnknown("the deadline passed while the write was being committed")
        if not batch.answer.done():
            batch.answer.set_exception(error)

    def _run(self) -> None:
        sweep_at = time.monotonic() + self.sweep_seconds
        while self._wait(until=sweep_at):
            if self._waiting:
                self._write_group()
            if time.monotonic() >= sweep_at:
                sweep_at = time.monotonic() + (0 if self._sweep() else self.sweep_seconds)

    def _wait(self, *, until: float) -> bool:
        """Until there is something to do; False where that is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._refusal, timeout=max(0.0, until - time.monotonic()))
            return bool(self._waiting) or not self._refusal

    def _write_group(self) -> None:
        try:
            with self.environment.turn():
                group = self._next_group()
                answers = self._commit(group)
        except Unavailable as error:
            group = self._next_group()
            answers = [error] * len(group)
        for loop in {batch.loop for batch in group}:
            mine = [(batch.answer, answer) for batch, answer in zip(group, answers, strict=True) if batch.loop is loop]
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(_settle, mine)

    def _next_group(self) -> list[Batch]:
        """The batches that waited longest; what is in it can no longer be taken back."""
        group: list[Batch] = []
        size = 0
        with self._changed:
            for batch in self._waiting:
                size += batch.size_bytes
                if group and size > GROUP_BYTES_MAX:
                    break
                group.append(batch)
            for batch in group:
                self._discard(batch)
        return group

    def _commit(self, group: list[Batch]) -> list[Any]:
        """Each batch's answer, or the error that is everyone's."""
        if not group:
            return []
        try:
            return self.environment.write(lambda txn, tables: [_answer(batch, txn, tables) for batch in group])
        except KVError as error:
            return [error] * len(group)
        except Exception as defect:
            log.exception("lmdb_write_failed", batches=len(group))
            unexplained = Internal("the store could not apply the write; see the server's log")
            unexplained.__cause__ = defect
            return [unexplained] * len(group)

    def _sweep(self) -> bool:
        """Take away some of what has expired, if this process may write; whether there is more."""
        environment, floor = self.environment, lmdb_rows.floor_of(self._clock())
        environment.reap_readers()
        try:
            if environment.readonly or not environment.read(partial(lmdb_rows.is_sweep_due, floor=floor)):
                return False
            with environment.turn():
                return environment.write(partial(lmdb_rows.sweep, floor=floor)) == lmdb_rows.SWEEP_ROWS_MAX
        except Exception:
            # Reads leave out what has expired all the same, and the thread is needed for writes.
            log.exception("lmdb_sweep_failed")
            return False

    def disown(self) -> None:
        """Refuse everything: this is a fork's copy, without its thread, and perhaps with its lock taken for ever."""
        self._changed = threading.Condition()
        self._refusal = Internal("an embedded store cannot be used across a fork: open it in each process")
        self.environment.disown()

    def close(self) -> None:
        """Commit what was accepted, then close the files. Blocks for up to ``CLOSE_SECONDS_MAX``."""
        with self._changed:
            self._refusal = Unavailable("the store is closed")
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS_MAX)
        if self._thread.is_alive():
            # Another process does not give up its turn. The files stay open for the thread; waiting calls end at their deadlines.
            log.warning("lmdb_close_incomplete", waiting=len(self._waiting))
        else:
            self.environment.close()


def _answer(batch: Batch, txn: Txn, tables: Tables) -> Any:
    try:
        return batch.work(txn, tables)
    except KVError as refusal:
        return refusal


def _settle(answers: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


class Sharing:
    """The writers of this process by directory: LMDB's locks forbid opening the same files twice in one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writers: dict[Path, GroupWriter] = {}
        self._uses: Counter[Path] = Counter()
        self._inherited: dict[Path, GroupWriter] = {}

    def acquire(self, directory: Path, settings: Settings, *, clock: Clock, sweep_seconds: float) -> GroupWriter:
        """The writer for ``directory``; opens the files on first use. Blocks while it does.

        Raises:
            FailedPrecondition: the directory cannot be used, or is in use with other settings.
        """
        path = directory.resolve()
        with self._lock:
            if path in self._inherited:
                raise FailedPrecondition("this process was forked while the store was open: fork first and open then, or spawn")
            writer = self._writers.get(path)
            if writer is None:
                writer = self._writers[path] = GroupWriter(Environment(path, settings), clock=clock, sweep_seconds=sweep_seconds)
            elif (writer.environment.settings, writer.sweep_seconds) != (settings, sweep_seconds):
                raise FailedPrecondition("this process has the directory open with other options: use the same URL for both")
            self._uses[path] += 1
            return writer

    def release(self, directory: Path) -> None:
        """The counterpart of ``acquire``: the last one closes the files. Blocks while it does."""
        path = directory.resolve()
        with self._lock:
            self._uses[path] -= 1
            if not self._uses[path]:
                self._writers.pop(path).close()

    def after_fork(self) -> None:
        """In the child: what was inherited is refused, and kept so that no destructor ever touches its files."""
        inherited = self._inherited | self._writers
        for writer in inherited.values():
            writer.disown()
        # A lock that another thread held at the fork is never released here.
        self._lock, self._writers, self._uses, self._inherited = threading.Lock(), {}, Counter(), inherited


sharing = Sharing()
os.register_at_fork(after_in_child=sharing.after_fork)

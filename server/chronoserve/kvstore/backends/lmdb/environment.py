"""One LMDB environment of this process: its files, its map, and the locks that let many processes share them.

- The *turn*, an flock on ``turn.lock``: one process at a time writes or grows the map. Only writer threads wait for it.
- ``_writing``: this process is inside a write transaction.
- ``_reading``: this process has a read transaction open. Reads are short, so waiting for it is too.

The map is replaced, and with it every pointer into it, only with the last two held, and always taken in this order.
LMDB's own writer lock is then never waited for while either is held, so a read on an event loop never waits for another
process.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import lmdb

from chronoserve.kvstore.backends.lmdb.rows import LAYOUT, Tables, Txn
from chronoserve.model.errors import CorruptValue, FailedPrecondition, Internal, KVError, Throttled, Unavailable, WriteOutcomeUnknown

T = TypeVar("T")
Work = Callable[[Txn, Tables], T]
"""Reads or writes in one transaction. It may run again after the map has grown, so it keeps nothing outside of it."""

ATTEMPTS_MAX = 64
"""Times that one transaction is begun anew after the map was changed: doubling needs far fewer."""

LOCK_FILE_ROW_BYTES = 64
LOCK_FILE_HEADER_ROWS = 16
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""LMDB says EIO where the disk took only a part of what it wrote, and it never reads through a call that could say so."""
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
LAYOUT_KEY = b"layout"
TABLE_NAMES = tuple(name.encode() for name in Tables._fields)
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the files are opened; the first to open them in a process decides for it."""

    map_bytes: int = 64 << 20
    """The map to begin with. It doubles when full."""
    map_bytes_max: int = 1 << 40
    """Address space, not disk: the file takes only what is used."""
    readers_max: int = 1024
    """Reader slots for all processes together; a process takes one for each thread that reads."""
    sync: bool = True
    readahead: bool = True


class Environment:
    """The open files. Reads from any thread, writes from one at a time."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Open or make the store in ``directory``; may wait for another process's turn.

        Raises:
            FailedPrecondition: the directory cannot be used as it is; the message says what to do.
        """
        self.settings: Final = settings
        self.readonly = False
        self._directory = directory
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._turn: int | None = None
        try:
            self._open_turn()
            with self.turn():
                if not self.readonly:
                    _allocate_lock_file(self._directory / "lock.mdb", settings.readers_max)
                self._attach()
        except (OSError, lmdb.Error) as exc:
            self._close_turn()
            raise _refused_open(exc) from exc
        except KVError:
            self._close_turn()
            raise

    def _open_turn(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._turn = os.open(self._directory / "turn.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            if exc.errno != errno.EROFS:
                raise
            self.readonly = True

    def _close_turn(self) -> None:
        if self._turn is not None:
            os.close(self._turn)
            self._turn = None

    def _attach(self) -> None:
        """Open LMDB itself. Where this fails nothing is open and the next read or write tries again."""
        self._begin: Callable[..., Txn] = _detached
        self._env = lmdb.open(
            str(self._directory),
            map_size=self.settings.map_bytes,
            max_dbs=len(TABLE_NAMES),
            max_readers=self.settings.readers_max,
            max_spare_txns=1,
            mode=0o600,
            create=not self.readonly,
            readonly=self.readonly,
            sync=self.settings.sync,
            readahead=self.settings.readahead,
            writemap=False,  # a full disk would be a SIGBUS, and a stray pointer a damaged file
            lib_version=0,  # the format of LMDB 1.0 is another one
        )
        try:
            self.tables = _find_tables(self._env) or _lay_out(self._env)
            self._env.reader_check()
        except BaseException:
            self._env.close()
            raise
        self._begin = self._env.begin

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have this process's turn to write: waits, in the calling thread, until no other process has it.

        Raises:
            Unavailable: the file system has no locks.
        """
        if self._turn is None:
            yield
            return
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
        except OSError as exc:
            raise Unavailable("the store's directory does not support file locks: use a local disk") from exc
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def read(self, work: Work[T]) -> T:
        """What ``work`` finds in one snapshot. Waits for no other process.

        Raises:
            KVError: no snapshot could be had, or the files are damaged where ``work`` looked.
        """
        for _ in range(ATTEMPTS_MAX):
            with self._reading:
                try:
                    txn = self._begin(self.tables.records)
                except lmdb.Error as exc:
                    refusal = exc
                else:
                    return self._look(txn, work)
            self._mend(refusal)
        raise Unavailable("the store's map does not settle; try again", retry_after=RETRY_SECONDS)

    def _look(self, txn: Txn, work: Work[T]) -> T:
        try:
            return work(txn, self.tables)
        except lmdb.Error as exc:
            raise refused(exc) from exc
        finally:
            txn.abort()

    def write(self, work: Work[T]) -> T:
        """What ``work`` answers, once all that it did is on disk. Call it in your ``turn``.

        Raises:
            WriteOutcomeUnknown: the disk failed while the new root of the tree was written.
            KVError: nothing was applied.
        """
        if self.readonly:
            raise _read_only()
        for _ in range(ATTEMPTS_MAX):
            try:
                with self._writing:
                    return self._commit(work)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as exc:
                self._mend(exc)
        raise Unavailable("the store's map does not settle; try again", retry_after=RETRY_SECONDS)

    def _commit(self, work: Work[T]) -> T:
        txn = self._begin(self.tables.records, write=True)
        try:
            answer = work(txn, self.tables)
        except BaseException:
            txn.abort()
            raise
        try:
            txn.commit()
        except lmdb.Error as exc:
            if self._is_panicked():
                raise WriteOutcomeUnknown("the disk failed in the midst of a commit: see the system's log") from exc
            raise
        return answer

    def _is_panicked(self) -> bool:
        """Whether a failed commit got as far as the root: LMDB then refuses all further transactions, else none."""
        try:
            self._begin(write=True).abort()
        except lmdb.PanicError:
            return True
        return False

    def _grow(self) -> None:
        """Double the map. The turn is held, so no two processes grow at once; the next commit tells the others."""
        with self._writing, self._reading:
            size = self._env.info()["map_size"]
            if size >= self.settings.map_bytes_max:
                raise Throttled("the store has reached map_size_max_gib: delete data or raise it; reads go on", retry_after=RETRY_SECONDS)
            self._remap(min(2 * size, self.settings.map_bytes_max))

    def _remap(self, size: int) -> None:
        try:
            self._env.set_mapsize(size)
        except lmdb.Error as exc:
            self._reattach()
            raise Throttled(
                "the store's map cannot grow: raise the limit on address space; reads go on", retry_after=RETRY_SECONDS
            ) from exc

    def _reattach(self) -> None:
        self._env.close()
        try:
            self._attach()
        except lmdb.Error as exc:
            raise Unavailable("the store's files cannot be opened again: see the system's log", retry_after=RETRY_SECONDS) from exc

    def _mend(self, refusal: lmdb.Error) -> None:
        """Do what lets the refused transaction begin anew. Raises a KVError where nothing does."""
        if isinstance(refusal, lmdb.MapResizedError):
            with self._writing, self._reading:
                self._remap(0)
        elif isinstance(refusal, lmdb.PanicError):
            with self._writing, self._reading:
                self._reattach()
        elif not (isinstance(refusal, lmdb.ReadersFullError) and self._env.reader_check()):
            raise refused(refusal) from refusal

    def reap_readers(self) -> None:
        """Free the reader slots of processes that died: their snapshots keep old pages from being used again."""
        with self._reading, suppress(lmdb.Error):
            self._env.reader_check()

    def close(self) -> None:
        """Close the files; nothing may be under way."""
        with self._writing, self._reading:
            self._begin = _closed
            self._env.close()
            self._close_turn()

    def disown(self) -> None:
        """Refuse everything from now on: the files were inherited by a fork, and their locks were not."""
        self._reading = threading.Lock()
        self._begin = _inherited


def _detached(*_: object, **__: object) -> NoReturn:
    raise lmdb.PanicError("not open")


def _closed(*_: object, **__: object) -> NoReturn:
    raise Unavailable("the store is closed")


def _inherited(*_: object, **__: object) -> NoReturn:
    raise Internal("an embedded store cannot be used across a fork: open it in each process")


def _allocate_lock_file(path: Path, readers_max: int) -> None:
    """Give a new lock file its disk blocks: LMDB writes to it through a map, and on a full disk that is a SIGBUS.

    One that exists is left alone, because other processes have mapped it with the size that it has.
    """
    if path.exists():
        return
    try:
        path.touch(mode=0o600)
        path.write_bytes(bytes((readers_max + LOCK_FILE_HEADER_ROWS) * LOCK_FILE_ROW_BYTES))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _find_tables(env: lmdb.Environment) -> Tables | None:
    """The tables of a store; None in new files.

    Raises:
        FailedPrecondition: the files are of another layout or another program.
    """
    with env.begin() as txn:
        if not txn.stat()["entries"]:
            return None
    # Without a transaction given, each handle gets its own and stays; one opened in a read transaction would end with it.
    try:
        meta = env.open_db(TABLE_NAMES[0], create=False)
    except (lmdb.NotFoundError, lmdb.IncompatibleError) as exc:
        raise FailedPrecondition("the directory holds an LMDB environment of something else: name another directory") from exc
    with env.begin(meta) as txn:
        layout = txn.get(LAYOUT_KEY)
    if layout != LAYOUT:
        raise FailedPrecondition(
            f"the directory has layout {(layout or b'?').decode('ascii', 'replace')} and this version reads layout {LAYOUT.decode()}: "
            "load the data into a new directory, or use the version that wrote it"
        )
    return Tables(meta, *(env.open_db(name, create=False) for name in TABLE_NAMES[1:]))


def _lay_out(env: lmdb.Environment) -> Tables:
    with env.begin(write=True) as txn:
        tables = Tables(*(env.open_db(name, txn=txn) for name in TABLE_NAMES))
        txn.put(LAYOUT_KEY, LAYOUT, db=tables.meta)
    return tables


def _read_only() -> Throttled:
    return Throttled("the store's disk is read-only: reads go on, writes begin once it is writable and the server restarted")


def refused(exc: lmdb.Error) -> KVError:
    """Why LMDB refused, for an operation that was not applied."""
    if exc.code in FULL:
        return Throttled("the store's disk is full or fails: free space, or see the system's log; reads go on", retry_after=RETRY_SECONDS)
    if exc.code in READ_ONLY:
        return _read_only()
    if isinstance(exc, lmdb.TxnFullError):
        return Throttled("too many changed pages for one transaction: send smaller batches")
    if isinstance(exc, lmdb.ReadersFullError):
        return Throttled("every reader slot is taken: raise readers_max, or end programs that read the store", retry_after=RETRY_SECONDS)
    if isinstance(exc, lmdb.CorruptedError | lmdb.PageNotFoundError):
        return CorruptValue("the store's files are damaged: restore them or load the data into a new directory")
    return Internal(f"LMDB refused with code {exc.code}")


def _refused_open(exc: OSError | lmdb.Error) -> FailedPrecondition:
    code = exc.errno if isinstance(exc, OSError) else exc.code
    if code in READ_ONLY:
        return FailedPrecondition("the store's directory cannot be written: give this user the right to, or name another directory")
    if code in FULL:
        return FailedPrecondition("the disk of the store's directory is full or fails: free space or name another directory")
    if code == errno.ENOENT:
        return FailedPrecondition("the disk of the store's directory is read-only and there is no store yet: name another directory")
    if isinstance(exc, lmdb.InvalidError | lmdb.VersionMismatchError):
        return FailedPrecondition("the directory holds files that are not of LMDB 0.9: name another directory")
    return FailedPrecondition(f"the store's directory cannot be opened ({os.strerror(code) if code and code > 0 else type(exc).__name__})")

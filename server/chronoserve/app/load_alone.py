"""One load of a dataset at a time on a machine: two would write one checkpoint, and judge a table that an upload of the other replaces."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chronoserve.model.errors import FailedPrecondition


@contextmanager
def alone(folder: Path, store: str, dataset: str) -> Iterator[None]:
    """While this lasts, no other load into the dataset begins that keeps its checkpoints in ``folder``. Its end, however, frees it.

    Raises:
        FailedPrecondition: another one is under way, or the folder cannot be written; nothing has been done.
    """
    path = folder / f"{dataset}-{hashlib.blake2b(store.encode(), digest_size=8).hexdigest()}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path)
    except OSError as closed:
        raise FailedPrecondition(f"{folder} cannot be written: {closed.strerror}; name another folder by --checkpoints") from closed
    if descriptor is None:
        raise FailedPrecondition(f"{dataset} is being loaded by another process: start this load again when that one has ended")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is free: whoever opened it already finds that it is no longer the file of that name
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """The lock's file, open and locked; None where another holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still the one of that name, which an earlier holder takes away."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

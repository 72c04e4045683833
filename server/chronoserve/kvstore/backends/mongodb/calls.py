"""Calls of the MongoDB driver: bounded by a deadline and by the store's end, and failing with our errors.

The driver's and the engine's own texts name hosts and keys, so none of them is passed on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pymongo
from bson.errors import BSONError
from pymongo.errors import (
    ConfigurationError,
    DocumentTooLarge,
    InvalidOperation,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from chronoserve.kvstore.port import remaining
from chronoserve.model.errors import (
    CorruptValue,
    DeadlinePassed,
    FailedPrecondition,
    InvalidRequest,
    KVError,
    Throttled,
    Unavailable,
    WriteOutcomeUnknown,
)

DUPLICATE_KEY = 11000

LATE = "MongoDB did not answer before the deadline"
UNREACHABLE = "no MongoDB server that can serve this is reachable: check that it runs and listens where the URL says"
UNCONFIRMED = "MongoDB was sent the write and did not confirm it: read before you write it again"

HAND_OVER_SECONDS = 0.002
"""The driver gives up so long before the deadline, and says why; at the deadline we do."""

WRITES = frozenset({"insert", "update", "delete"})

_sent: ContextVar[bool] = ContextVar("sent", default=False)
"""Whether this task's write command has begun to leave the process."""

REFUSALS: dict[int, tuple[type[KVError], str]] = {
    13: (FailedPrecondition, "MongoDB does not let this user do it: grant readWrite on the database"),
    18: (FailedPrecondition, "MongoDB refuses the user or password in the store's URL: correct them"),
    85: (FailedPrecondition, "an index of chronoserve's exists with other options: drop it"),
    86: (FailedPrecondition, "an index of chronoserve's exists with other fields: drop it"),
    121: (FailedPrecondition, "a validator of the collection refuses chronoserve's documents: remove it"),
    462: (Throttled, "MongoDB limits the rate of commands: try again later"),
    10058: (Unavailable, "MongoDB is choosing a primary: try again"),
    10107: (Unavailable, "MongoDB is choosing a primary: try again"),
    10334: (InvalidRequest, "the value with its key is larger than a MongoDB document of 16 MiB"),
    13435: (Unavailable, "MongoDB is choosing a primary: try again"),
    16500: (Throttled, "the engine limits the rate of commands: try again later"),
}
"""Codes with which the engine refuses a command or an operation before it does any of it."""


class SentWrites(CommandListener):
    """Tells ``Calls.writing`` when a command begins to leave: the driver's exceptions do not say whether one did."""

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in WRITES:
            _sent.set(True)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """The caller has the reply."""

    def failed(self, event: CommandFailedEvent) -> None:
        """The caller has the exception."""


class Calls:
    """The calls of one store. The driver ends a call at its deadline, but closing it leaves those under way waiting."""

    def __init__(self, reachable: Callable[[], bool] = lambda: True) -> None:
        """``reachable``: whether the driver knows a server that answers; it looks for one until after the deadline."""
        self._reachable = reachable
        self._under_way: set[asyncio.Timeout] = set()
        self._ended = False

    def end(self) -> None:
        """Let no more begin, and interrupt those under way."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for call in self._under_way:
            if not call.expired():
                call.reschedule(now)

    @asynccontextmanager
    async def reading(self, deadline: float) -> AsyncIterator[None]:
        """What the driver does in here ends by ``deadline`` and fails with a KVError; nothing of it writes values."""
        try:
            async with self._bounded(deadline):
                yield
        except TimeoutError as error:
            raise self._interrupted() from error
        except PyMongoError as error:
            raise read_failure(error, late=remaining(deadline) <= HAND_OVER_SECONDS) from error
        except BSONError as error:
            raise CorruptValue("MongoDB answered with a document that is not BSON") from error

    @asynccontextmanager
    async def writing(self, deadline: float) -> AsyncIterator[None]:
        """As ``reading``, for one write command of a client with ``SentWrites``: unknown where it was sent and not refused."""
        _sent.set(False)
        try:
            async with self._bounded(deadline):
                yield
        except TimeoutError as error:
            raise (WriteOutcomeUnknown(UNCONFIRMED) if _sent.get() else self._interrupted()) from error
        except PyMongoError as error:
            raise write_failure(error, sent=_sent.get(), late=remaining(deadline) <= HAND_OVER_SECONDS) from error

    @asynccontextmanager
    async def _bounded(self, deadline: float) -> AsyncIterator[None]:
        """Raises TimeoutError at ``deadline`` or where ``end`` is called."""
        seconds = remaining(deadline) - HAND_OVER_SECONDS
        if self._ended:
            raise self._interrupted()
        if seconds <= 0:
            raise DeadlinePassed(LATE)
        async with asyncio.timeout_at(deadline) as call:
            self._under_way.add(call)
            try:
                # the engine learns the time that is left and gives up too
                with pymongo.timeout(seconds):
                    yield
            finally:
                self._under_way.discard(call)

    def _interrupted(self) -> KVError:
        if self._ended:
            return Unavailable("the store is closed")
        return DeadlinePassed(LATE) if self._reachable() else Unavailable(UNREACHABLE)


def refusal(code: int) -> KVError:
    """The error of an operation that was certainly not applied."""
    kind, message = REFUSALS.get(code, (Unavailable, f"MongoDB refused with its error code {code}; see the engine's log"))
    return kind(message)


def read_failure(error: PyMongoError, *, late: bool) -> KVError:
    """``late``: the deadline has passed."""
    code = _code(error)
    if code in REFUSALS:
        return refusal(code)
    if isinstance(error, ServerSelectionTimeoutError):
        return Unavailable(UNREACHABLE)
    if late:
        return DeadlinePassed(LATE)
    if isinstance(error, InvalidOperation):
        return Unavailable("the store is closed")
    if isinstance(error, DocumentTooLarge):
        return refusal(10334)
    if isinstance(error, ConfigurationError):
        return FailedPrecondition("the MongoDB driver cannot use the store's URL or this server: check the name in the URL and the version")
    if code:
        return refusal(code)
    return Unavailable("the connection to MongoDB broke before it answered: try again")


def write_failure(error: PyMongoError, *, sent: bool, late: bool) -> KVError:
    """A write that was sent is unknown unless the engine says that it refused it: any other end may come half way."""
    if not sent or _code(error) in REFUSALS:
        return read_failure(error, late=late)
    return WriteOutcomeUnknown(UNCONFIRMED)


def _code(error: PyMongoError) -> int:
    """The engine's error code; 0 where the engine did not speak."""
    details = getattr(error, "details", None)
    return int(details.get("code") or 0) if isinstance(details, dict) else 0

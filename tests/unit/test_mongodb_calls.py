"""What becomes of the driver's exceptions, of deadlines, and of calls under way when the store is closed."""

import asyncio

import pytest
from bson.errors import InvalidBSON
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    DocumentTooLarge,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.monitoring import CommandStartedEvent

from chronoserve.kvstore.backends.mongodb.calls import Calls, SentWrites, read_failure, refusal, write_failure
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

SECRET = "mongodb://user:secret@host:27017"


def failed(code: int) -> OperationFailure:
    return OperationFailure(SECRET, code, {"code": code, "errmsg": SECRET})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failed(13), FailedPrecondition),
        (failed(18), FailedPrecondition),
        (failed(16500), Throttled),
        (failed(8), Unavailable),
        (NotPrimaryError(SECRET, {"code": 10107}), Unavailable),
        (NotPrimaryError(SECRET, {"code": 11602}), Unavailable),
        (ServerSelectionTimeoutError(SECRET), Unavailable),
        (AutoReconnect(SECRET), Unavailable),
        (NetworkTimeout(SECRET), Unavailable),
        (InvalidOperation(SECRET), Unavailable),
        (ConfigurationError(SECRET), FailedPrecondition),
        (DocumentTooLarge(SECRET), InvalidRequest),
    ],
)
def test_a_failed_read_is_never_a_miss_and_never_tells_secrets(error: PyMongoError, expected: type[KVError]) -> None:
    ours = read_failure(error, late=False)
    assert type(ours) is expected
    assert "host" not in ours.message
    assert "secret" not in ours.message


def test_after_the_deadline_a_failed_read_says_so_unless_the_engine_is_away_or_refuses() -> None:
    assert isinstance(read_failure(NetworkTimeout(SECRET), late=True), DeadlinePassed)
    assert isinstance(read_failure(ServerSelectionTimeoutError(SECRET), late=True), Unavailable)
    assert isinstance(read_failure(failed(13), late=True), FailedPrecondition)


@pytest.mark.parametrize(
    "error", [AutoReconnect(""), NetworkTimeout(""), failed(1), failed(11602), failed(50), NotPrimaryError("", {"code": 91})]
)
def test_a_write_that_was_sent_and_not_refused_is_unknown(error: PyMongoError) -> None:
    assert isinstance(write_failure(error, sent=True, late=False), WriteOutcomeUnknown)
    assert not isinstance(write_failure(error, sent=False, late=False), WriteOutcomeUnknown)


@pytest.mark.parametrize("code", [13, 16500, 10107, 13435, 121])
def test_a_write_that_the_engine_refused_is_certainly_not_applied(code: int) -> None:
    assert not isinstance(write_failure(failed(code), sent=True, late=False), WriteOutcomeUnknown)
    assert not isinstance(refusal(code), WriteOutcomeUnknown)


def started(command: str) -> CommandStartedEvent:
    return CommandStartedEvent({command: 1}, "database", 1, ("host", 1), 1)


async def send(calls: Calls, command: str, answer: asyncio.Future[None], seconds: float = 60.0) -> None:
    """What the driver does with a command, as far as ``Calls`` sees it."""
    async with calls.writing(asyncio.get_running_loop().time() + seconds):
        SentWrites().started(started(command))
        await answer


def broken() -> asyncio.Future[None]:
    answer = asyncio.get_running_loop().create_future()
    answer.set_exception(AutoReconnect(""))
    return answer


async def test_only_a_write_command_that_begins_to_leave_makes_the_outcome_unknown() -> None:
    with pytest.raises(WriteOutcomeUnknown):
        await send(Calls(), "insert", broken())
    with pytest.raises(Unavailable):
        await send(Calls(), "saslStart", broken())


async def test_nothing_begins_after_its_deadline() -> None:
    calls = Calls()
    for bounded in (calls.reading, calls.writing):
        with pytest.raises(DeadlinePassed):
            async with bounded(asyncio.get_running_loop().time()):
                raise AssertionError("it began")


async def test_a_call_that_the_driver_does_not_end_is_ended_at_its_deadline() -> None:
    calls = Calls()
    loop = asyncio.get_running_loop()
    with pytest.raises(DeadlinePassed):
        async with calls.reading(loop.time() + 0.05):
            await loop.create_future()
    with pytest.raises(WriteOutcomeUnknown):
        await send(calls, "update", loop.create_future(), seconds=0.05)


async def test_a_call_for_which_no_server_was_found_says_so() -> None:
    with pytest.raises(Unavailable, match="reachable"):
        async with Calls(lambda: False).reading(asyncio.get_running_loop().time() + 0.05):
            await asyncio.get_running_loop().create_future()


async def test_the_end_interrupts_calls_under_way_and_lets_none_begin() -> None:
    calls = Calls()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 60

    async def read() -> None:
        async with calls.reading(deadline):
            await loop.create_future()

    under_way = [asyncio.create_task(read()), asyncio.create_task(send(calls, "update", loop.create_future()))]
    await asyncio.sleep(0)
    calls.end()
    calls.end()
    first, second = await asyncio.gather(*under_way, return_exceptions=True)
    assert isinstance(first, Unavailable)
    assert isinstance(second, WriteOutcomeUnknown)
    with pytest.raises(Unavailable):
        await read()


async def test_cancelling_a_call_is_no_error_of_the_store() -> None:
    calls = Calls()
    loop = asyncio.get_running_loop()

    async def read() -> None:
        async with calls.reading(loop.time() + 60):
            await loop.create_future()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_reply_that_is_no_bson_is_corrupt() -> None:
    with pytest.raises(CorruptValue):
        async with Calls().reading(asyncio.get_running_loop().time() + 10):
            raise InvalidBSON("")

"""The pipelined Redis connection over a transport that only writes down what it is given."""

import asyncio

import pytest

from chronoserve.kvstore.backends.redis import connection as redis_connection
from chronoserve.kvstore.backends.redis.connection import Connection, Outcome, Refusal, pack, refused
from chronoserve.model.errors import (
    AnswerTooLarge,
    CorruptValue,
    DeadlinePassed,
    Internal,
    KVError,
    Throttled,
    Unavailable,
    WriteOutcomeUnknown,
)


class Wire(asyncio.Transport):
    """The socket's side: ``written`` has one entry for each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True


class Bench:
    def __init__(self) -> None:
        self.wire = Wire()
        self.lost: list[Connection] = []
        self.connection = Connection(self.lost.append)
        self.connection.connection_made(self.wire)

    def send(self, *words: bytes, seconds: float = 5.0, replies: int = 1, write: bool = False) -> asyncio.Future[Outcome]:
        deadline = asyncio.get_running_loop().time() + seconds
        return self.connection.send(pack(*words), replies, deadline, write=write)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def tick() -> None:
    await asyncio.sleep(0)


async def failure(future: asyncio.Future[Outcome]) -> KVError:
    outcome = await asyncio.wait_for(future, 5.0)
    assert isinstance(outcome, KVError)
    return outcome


async def test_callers_of_one_tick_share_one_write(bench: Bench) -> None:
    first, second = bench.send(b"GET", b"a"), bench.send(b"GET", b"b")
    assert bench.wire.written == []
    await tick()
    assert bench.wire.written == [pack(b"GET", b"a") + pack(b"GET", b"b")]
    bench.connection.data_received(b"$1\r\n1\r\n$1")
    bench.connection.data_received(b"\r\n2\r\n")
    assert [await first, await second] == [[b"1"], [b"2"]]


async def test_a_call_of_several_commands_gets_all_their_replies(bench: Bench) -> None:
    several, next_one = bench.send(b"X", replies=3), bench.send(b"Y")
    await tick()
    bench.connection.data_received(b"$-1\r\n*2\r\n:1\r\n$0\r\n\r\n-ERR no\r\n+OK\r\n")
    nil, array, error = await several  # type: ignore[misc]
    assert (nil, array, error.code, await next_one) == (None, [1, b""], "ERR", [b"OK"])


async def test_the_reply_of_a_cancelled_call_is_thrown_away(bench: Bench) -> None:
    gone, waiting = bench.send(b"GET", b"a"), bench.send(b"GET", b"b")
    await tick()
    gone.cancel()
    bench.connection.data_received(b"$1\r\n1\r\n$1\r\n2\r\n")
    assert await waiting == [b"2"]


async def test_what_nobody_waits_for_any_more_is_not_sent(bench: Bench) -> None:
    bench.send(b"SET", b"a", b"1", write=True).cancel()
    waiting = bench.send(b"GET", b"b")
    await tick()
    assert bench.wire.written == [pack(b"GET", b"b")]
    bench.connection.data_received(b"$1\r\n2\r\n")
    assert await waiting == [b"2"]


async def test_deadlines_are_kept_and_late_replies_thrown_away(bench: Bench) -> None:
    read, write = bench.send(b"GET", b"a", seconds=0.02), bench.send(b"SET", b"a", b"1", seconds=0.01, write=True)
    patient = bench.send(b"GET", b"b")
    assert isinstance(await failure(write), WriteOutcomeUnknown)
    assert isinstance(await failure(read), DeadlinePassed)
    bench.connection.data_received(b"$1\r\n1\r\n+OK\r\n$1\r\n2\r\n")
    assert await patient == [b"2"]
    with pytest.raises(DeadlinePassed):
        bench.send(b"GET", b"a", seconds=0.0)


async def test_a_write_that_the_socket_never_got_is_not_of_unknown_outcome(bench: Bench) -> None:
    bench.connection.pause_writing()
    late, lost = bench.send(b"SET", b"a", b"1", seconds=0.01, write=True), bench.send(b"SET", b"b", b"1", write=True)
    assert isinstance(await failure(late), DeadlinePassed)
    bench.connection.connection_lost(None)
    assert isinstance(await failure(lost), Unavailable)
    assert bench.wire.written == []


async def test_writing_goes_on_when_the_socket_takes_more(bench: Bench) -> None:
    bench.connection.pause_writing()
    bench.send(b"GET", b"a")
    await tick()
    assert bench.wire.written == []
    bench.connection.resume_writing()
    assert bench.wire.written == [pack(b"GET", b"a")]


async def test_a_lost_connection_fails_what_is_pending_and_tells_once(bench: Bench) -> None:
    read, write = bench.send(b"GET", b"a"), bench.send(b"SET", b"a", b"1", write=True)
    await tick()
    unsent = bench.send(b"SET", b"b", b"1", write=True)
    bench.connection.connection_lost(ConnectionResetError())
    bench.connection.abort("again")
    assert [type(await failure(future)) for future in (read, write, unsent)] == [Unavailable, WriteOutcomeUnknown, Unavailable]
    assert bench.lost == [bench.connection]
    await asyncio.wait_for(bench.connection.wait_closed(), 5.0)
    with pytest.raises(Unavailable):
        bench.send(b"GET", b"a")


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"+OK\r\n+OK\r\n"], ids=["no reply", "one reply too many"])
async def test_a_server_that_talks_nonsense_is_hung_up_on(bench: Bench, data: bytes) -> None:
    bench.send(b"GET", b"a")
    await tick()
    bench.connection.data_received(data)
    assert bench.wire.aborted
    assert bench.lost == [bench.connection]


async def test_a_silent_server_is_given_up_after_a_deadline_passed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "SILENT_SECONDS_MAX", 0.05)
    hasty, patient = bench.send(b"GET", b"a", seconds=0.01), bench.send(b"GET", b"b")
    assert isinstance(await failure(hasty), DeadlinePassed)
    assert isinstance(await failure(patient), Unavailable)
    assert bench.wire.aborted


async def test_a_slow_server_that_still_answers_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "SILENT_SECONDS_MAX", 0.5)
    patient = [bench.send(b"GET", b"a") for _ in range(10)]
    for future in patient[:-1]:
        assert isinstance(await failure(bench.send(b"GET", b"b", seconds=0.06)), DeadlinePassed)
        bench.connection.data_received(b"$1\r\n1\r\n")
        assert await future == [b"1"]
    assert not bench.wire.aborted


async def test_what_waits_has_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "PENDING_CALLS_MAX", 2)
    bench.send(b"GET", b"a")
    await tick()
    bench.send(b"GET", b"a")
    with pytest.raises(Throttled):
        bench.send(b"GET", b"a")
    monkeypatch.setattr(redis_connection, "PENDING_CALLS_MAX", 10)
    monkeypatch.setattr(redis_connection, "UNSENT_BYTES_MAX", 10)
    with pytest.raises(Throttled):
        bench.send(b"GET", b"a")
    await tick()
    bench.send(b"GET", b"a")


def test_an_error_reply_becomes_an_error_that_quotes_no_key() -> None:
    assert isinstance(refused(Refusal("LOADING Redis is loading the dataset in memory")), Unavailable)
    assert isinstance(refused(Refusal("OOM command not allowed when used memory > 'maxmemory'.")), Throttled)
    assert isinstance(refused(Refusal("WRONGTYPE Operation against a key")), CorruptValue)
    unknown = refused(Refusal("ERR unknown command 'secret key'"))
    assert isinstance(unknown, Internal)
    assert "secret" not in unknown.message


CHUNK = b"v" * (1 << 20)


def begun(bench: Bench, mebibytes: int) -> None:
    """A reply that says it is larger than a call may have, and so much of it."""
    bench.connection.data_received(b"$%d\r\n" % (1 << 30))
    for _ in range(mebibytes):
        bench.connection.data_received(CHUNK)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "REPLIES_BYTES_MAX", 8 << 20)


def test_the_last_resort_is_beyond_what_a_call_may_have() -> None:
    assert redis_connection.REPLIES_BYTES_MAX == 128 << 20


@pytest.mark.usefixtures("small")
async def test_a_reply_beyond_the_last_resort_ends_the_connection_and_says_to_each_what_is_so(bench: Bench) -> None:
    large, read, write = bench.send(b"MGET", b"a"), bench.send(b"GET", b"b"), bench.send(b"SET", b"c", b"d", write=True)
    await tick()
    unsent = bench.send(b"SET", b"e", b"f", write=True)
    begun(bench, 7)
    assert bench.lost == []
    bench.connection.data_received(CHUNK)
    assert bench.lost == [bench.connection]
    assert bench.wire.aborted
    failures = [await failure(future) for future in (large, read, write, unsent)]
    assert [type(error) for error in failures] == [AnswerTooLarge, Unavailable, WriteOutcomeUnknown, Unavailable]
    with pytest.raises(Unavailable):
        bench.send(b"GET", b"b")


@pytest.mark.usefixtures("small")
async def test_a_reply_that_nobody_waits_for_is_not_held_beyond_the_last_resort_either(bench: Bench) -> None:
    gone, waiting = bench.send(b"MGET", b"a"), bench.send(b"GET", b"b")
    await tick()
    gone.cancel()
    begun(bench, 8)
    assert bench.wire.aborted
    assert type(await failure(waiting)) is Unavailable


@pytest.mark.usefixtures("small")
async def test_large_replies_one_after_the_other_keep_the_connection(bench: Bench) -> None:
    calls = [bench.send(b"GET", b"%d" % n) for n in range(4)]
    await tick()
    for _ in calls:
        bench.connection.data_received(b"$%d\r\n" % (7 << 20))
        for _ in range(7):
            bench.connection.data_received(CHUNK)
        bench.connection.data_received(b"\r\n")
    assert [[len(reply) for reply in await call] for call in calls] == [[7 << 20]] * 4  # type: ignore[union-attr]
    assert not bench.wire.aborted

"""The way of requests to Cassandra's driver and back, with a session that answers when it is told to."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import OverloadedErrorMessage, ServerError

from chronoserve.kvstore.backends.cassandra import courier
from chronoserve.kvstore.backends.cassandra.courier import Answer, Courier, Failure, Fate, opening_error, read_error, write_error
from chronoserve.model.errors import (
    DeadlinePassed,
    FailedPrecondition,
    KVError,
    PermissionDenied,
    Throttled,
    Unauthenticated,
    Unavailable,
    WriteOutcomeUnknown,
)


class Response:
    """A driver's future; ``answer`` is what the driver's thread would call."""

    answer: Callable[[Any], None]

    def __init__(self) -> None:
        self.attempted_hosts = ["a node"]
        self.pages_left = 0
        self.turned = 0

    def add_callbacks(self, callback: Callable[..., None], errback: Callable[..., None], callback_args: Any, errback_args: Any) -> None:
        self.answer = lambda outcome: callback(outcome, *callback_args)

    @property
    def has_more_pages(self) -> bool:
        return self.pages_left > 0

    def start_fetching_next_page(self) -> None:
        self.pages_left -= 1
        self.turned += 1


class Session:
    """A driver's session that keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, Response]] = []

    def execute_async(self, statement: Any, values: Any, timeout: float | None) -> Response:
        assert timeout is None
        self.sent.append((statement, Response()))
        return self.sent[-1][1]

    def answer(self, place: int, outcome: Any) -> None:
        self.sent[place][1].answer(outcome)

    def answer_all(self) -> None:
        for _, response in self.sent:
            response.answer(None)


class Bench:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.session = Session()
        self.courier = Courier(self.session, self.loop)

    async def start(self, size: int, seconds: float = 10.0) -> "asyncio.Task[list[Answer]]":
        requests = [(f"q{n}", ()) for n in range(size)]
        task = asyncio.create_task(self.courier.run(requests, self.loop.time() + seconds))
        await asyncio.sleep(0)
        return task


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_answers_stand_in_the_order_of_requests(bench: Bench) -> None:
    task = await bench.start(3)
    for place in (2, 0, 1):
        bench.session.answer(place, [(place,)])
    assert await task == [[(0,)], [(1,)], [(2,)]]


async def test_the_loop_is_woken_once_for_a_burst_of_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await bench.start(40)
    woken = 0
    deliver = bench.courier._deliver

    def counted() -> None:
        nonlocal woken
        woken += 1
        deliver()

    monkeypatch.setattr(bench.courier, "_deliver", counted)
    driver = threading.Thread(target=bench.session.answer_all)
    driver.start()
    driver.join()  # the loop does not run meanwhile, as when it is busy
    assert await task == [None] * 40
    assert woken == 1


async def test_a_call_has_a_bounded_number_of_requests_under_way(bench: Bench) -> None:
    most = courier.REQUESTS_PER_CALL_MAX
    task = await bench.start(most + 2)
    assert len(bench.session.sent) == most
    bench.session.answer(5, None)
    await asyncio.sleep(0)
    assert [statement for statement, _ in bench.session.sent[most:]] == [f"q{most}"]
    for place in [*range(5), *range(6, most + 1)]:
        bench.session.answer(place, None)
    await asyncio.sleep(0)
    bench.session.answer(most + 1, None)
    assert await task == [None] * (most + 2)


async def test_beyond_the_bound_of_the_process_requests_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "REQUESTS_INFLIGHT_MAX", 3)
    task = await bench.start(5)
    other = await bench.start(1)
    assert await other == [Fate.REFUSED]
    for place in range(3):
        bench.session.answer(place, None)
    assert await task == [None, None, None, Fate.REFUSED, Fate.REFUSED]
    again = await bench.start(1)
    bench.session.answer(3, None)
    assert await again == [None]


async def test_pages_are_joined(bench: Bench) -> None:
    task = await bench.start(1)
    response = bench.session.sent[0][1]
    response.pages_left = 2
    for page in range(3):
        response.answer([(page,)])
        await asyncio.sleep(0)
    assert await task == [[(0,), (1,), (2,)]]
    assert response.turned == 2


async def test_a_read_that_lacks_pages_at_the_deadline_is_unanswered(bench: Bench) -> None:
    task = await bench.start(1, seconds=0.02)
    bench.session.sent[0][1].pages_left = 1
    bench.session.answer(0, [(0,)])
    assert await task == [Fate.UNANSWERED]


async def test_nothing_is_sent_after_the_deadline(bench: Bench) -> None:
    assert await (await bench.start(2, seconds=-1.0)) == [Fate.NOT_SENT] * 2
    assert bench.session.sent == []


async def test_the_deadline_tells_sent_from_unsent(bench: Bench) -> None:
    most = courier.REQUESTS_PER_CALL_MAX
    answers = await (await bench.start(most + 1, seconds=0.02))
    assert answers == [Fate.UNANSWERED] * most + [Fate.NOT_SENT]


async def test_a_cancelled_call_sends_no_more_and_drops_its_answers(bench: Bench) -> None:
    task = await bench.start(courier.REQUESTS_PER_CALL_MAX + 1)
    sent = len(bench.session.sent)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for place in range(sent):
        bench.session.answer(place, [("late",)])
    other = await bench.start(1)
    bench.session.answer(sent, [("its own",)])
    assert await other == [[("its own",)]]
    assert len(bench.session.sent) == sent + 1
    assert bench.courier._inflight == 0


async def test_an_error_of_the_driver_says_whether_the_request_was_sent(bench: Bench) -> None:
    task = await bench.start(2)
    bench.session.sent[0][1].attempted_hosts.clear()
    error = NoHostAvailable("nobody", {})
    bench.session.answer(0, error)
    bench.session.answer(1, error)
    assert await task == [Failure(error, sent=False), Failure(error, sent=True)]


UNSENT = [
    (NoHostAvailable("nobody", {}), False, Unavailable),
    (cassandra.Unavailable("too few"), True, Unavailable),
    (OverloadedErrorMessage(0, "busy", None), True, Throttled),
    (cassandra.Unauthorized("no"), True, PermissionDenied),
    (cassandra.AuthenticationFailed("who"), True, Unauthenticated),
    (cassandra.InvalidRequest("no such table"), True, FailedPrecondition),
]
PERHAPS_APPLIED = [
    NoHostAvailable("broke after sending", {}),
    cassandra.WriteTimeout("late", write_type=cassandra.WriteType.SIMPLE),
    cassandra.WriteFailure("failed", write_type=cassandra.WriteType.SIMPLE),
    cassandra.OperationTimedOut(),
    ConnectionShutdown("gone"),
    ServerError(0, "a defect", None),
]


@pytest.mark.parametrize(("error", "sent", "kind"), UNSENT)
def test_what_no_node_acted_on_was_certainly_not_applied(error: Exception, sent: bool, kind: type[KVError]) -> None:
    for told in (read_error(Failure(error, sent)), write_error(Failure(error, sent))):
        assert type(told) is kind
        assert told.__cause__ is error


@pytest.mark.parametrize("error", PERHAPS_APPLIED)
def test_what_broke_after_sending_may_have_been_applied(error: Exception) -> None:
    assert type(write_error(Failure(error, sent=True))) is WriteOutcomeUnknown
    assert type(read_error(Failure(error, sent=True))) is Unavailable


def test_fates_become_errors() -> None:
    assert [type(write_error(fate)) for fate in (Fate.NOT_SENT, Fate.REFUSED, Fate.UNANSWERED)] == [
        DeadlinePassed,
        Throttled,
        WriteOutcomeUnknown,
    ]
    assert [type(read_error(fate)) for fate in (Fate.NOT_SENT, Fate.REFUSED, Fate.UNANSWERED)] == [
        DeadlinePassed,
        Throttled,
        DeadlinePassed,
    ]


def test_opening_names_the_reason_below_no_host_available() -> None:
    assert type(opening_error(NoHostAvailable("", {"h": cassandra.AuthenticationFailed("who")}))) is Unauthenticated
    assert type(opening_error(NoHostAvailable("", {"h": OSError("refused")}))) is Unavailable
    assert type(opening_error(cassandra.Unauthorized("no"))) is PermissionDenied

"""Requests to the driver and answers from its thread; and what the store may say of a request that failed."""

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cassandra
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, SyntaxException

from chronoserve.kvstore.port import ANSWER_BYTES_MAX, too_much
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

REQUESTS_PER_CALL_MAX = 64
"""Requests that one call has under way at once; to send so many keeps the loop busy for some 5 ms."""
REQUESTS_INFLIGHT_MAX = 16 << 10
"""Requests under way at once, abandoned ones included; half of what one connection takes before the driver would block."""

Row = tuple[Any, ...]

Request = tuple[Any, Sequence[Any] | None]
"""A prepared statement and its values, or a bound statement and None."""


class Fate(enum.Enum):
    """Why there is no answer to a request."""

    NOT_SENT = enum.auto()
    """Time ran out before its turn."""
    REFUSED = enum.auto()
    """Too many requests were under way."""
    UNANSWERED = enum.auto()
    """It was sent, and time ran out."""
    TOO_LARGE = enum.auto()
    """The pages of the call have more bytes than it may have; the next ones were not asked for."""


class Failure(NamedTuple):
    """The driver's error. ``sent``: some node may have received the request."""

    error: Exception
    sent: bool


Answer = list[Row] | None | Fate | Failure
"""Rows of a read; None for a write that was applied."""


def read_error(answer: Fate | Failure) -> KVError:
    """Why a read was not answered; a write, too, of which it does not matter whether it was applied."""
    if isinstance(answer, Failure):
        return _refusal(answer) or _caused(Unavailable("Cassandra did not complete the request; trying again may help"), answer)
    if answer is Fate.REFUSED:
        return Throttled(f"{REQUESTS_INFLIGHT_MAX} requests to Cassandra are under way; slow down or add workers")
    if answer is Fate.TOO_LARGE:
        return too_much()
    return DeadlinePassed("Cassandra did not answer in time")


def write_error(answer: Fate | Failure) -> KVError:
    """What is known of a write that was not acknowledged: anything but WriteOutcomeUnknown means certainly not applied."""
    if answer is Fate.UNANSWERED:
        return WriteOutcomeUnknown("Cassandra did not acknowledge the write in time; it may have been applied")
    if isinstance(answer, Failure):
        return _refusal(answer) or _caused(WriteOutcomeUnknown("Cassandra did not acknowledge the write; it may have been applied"), answer)
    return read_error(answer)


def opening_error(error: Exception) -> KVError:
    """What kept the store from being opened."""
    reasons = error.errors if isinstance(error, NoHostAvailable) else None
    for reason in (*reasons.values(), error) if isinstance(reasons, dict) else (error,):
        if known := _refusal(Failure(reason, sent=True)):
            return known
    return Unavailable("no Cassandra node of the store's URL answers; check its hosts, ports, local_dc and TLS options")


def _refusal(failure: Failure) -> KVError | None:
    """The error where it is certain that no node has acted on the request, else None."""
    match failure.error:
        case NoHostAvailable() if not failure.sent:
            return _caused(Unavailable("no Cassandra node is connected; the store keeps dialling them, so try again"), failure)
        case cassandra.Unavailable() | IsBootstrappingErrorMessage():
            return _caused(Unavailable("too few replicas are up for the consistency asked for; bring nodes back or lower it"), failure)
        case OverloadedErrorMessage():
            return _caused(Throttled("Cassandra is overloaded and refused the request; try again later"), failure)
        case cassandra.Unauthorized():
            return _caused(PermissionDenied("the Cassandra role may not do this; grant it SELECT and MODIFY on the keyspace"), failure)
        case cassandra.AuthenticationFailed():
            return _caused(Unauthenticated("Cassandra did not accept the user name and password of the store's URL"), failure)
        case cassandra.InvalidRequest() | SyntaxException():
            message = "Cassandra refused a statement; compare the keyspace's tables with docs/reference/stores/cassandra.md"
            return _caused(FailedPrecondition(message), failure)
    return None


def _caused(error: KVError, failure: Failure) -> KVError:
    error.__cause__ = failure.error
    return error


@dataclass(slots=True, eq=False)
class Flight:
    """The requests of one call. It has landed when each is answered, the time is up or the caller is gone."""

    requests: Sequence[Request]
    landed: asyncio.Future[None]
    answers: list[Answer]
    futures: dict[int, Any] = field(default_factory=dict)
    """The driver's futures by the place of their request, as long as they are under way."""
    pages: dict[int, list[Row]] = field(default_factory=dict)
    """Rows of reads of which more pages are to come."""
    page_bytes: int = 0
    """Of all pages that were not the last of their read."""
    sent: int = 0

    def land(self) -> None:
        if not self.landed.done():
            self.landed.set_result(None)


class Courier:
    """Sends requests through a driver's session and brings their answers to the event loop.

    The driver answers on its own thread. Answers are queued there, and the loop is woken once for as many as have come
    by the time it runs. The driver keeps no timers: one timer a call costs less than one a request, and what comes
    too late is dropped here. The driver never reuses a stream whose answer has not come.
    """

    def __init__(self, session: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._session = session
        self._loop = loop
        self._arrivals: deque[tuple[Flight, int, Any]] = deque()
        self._woken = False
        self._inflight = 0

    async def run(self, requests: Sequence[Request], deadline: float) -> list[Answer]:
        """One answer for each request, in order. Nothing is sent at or after ``deadline``; cancelling drops what comes."""
        flight = Flight(requests, self._loop.create_future(), [Fate.NOT_SENT] * len(requests))
        if not requests or self._loop.time() >= deadline:
            return flight.answers
        timer = self._loop.call_at(deadline, flight.land)
        try:
            self._send(flight)
            await flight.landed
        finally:
            timer.cancel()
        return flight.answers

    def _send(self, flight: Flight) -> None:
        """Send as many of the flight's requests as it may have under way."""
        while flight.sent < len(flight.requests) and len(flight.futures) < REQUESTS_PER_CALL_MAX:
            if self._inflight >= REQUESTS_INFLIGHT_MAX:
                flight.answers[flight.sent :] = [Fate.REFUSED] * (len(flight.requests) - flight.sent)
                flight.sent = len(flight.requests)
            else:
                self._send_next(flight)
        if not flight.futures:
            flight.land()

    def _send_next(self, flight: Flight) -> None:
        place = flight.sent
        statement, values = flight.requests[place]
        future = self._session.execute_async(statement, values, timeout=None)
        flight.sent += 1
        flight.answers[place] = Fate.UNANSWERED
        flight.futures[place] = future
        self._inflight += 1
        whose = (flight, place)
        future.add_callbacks(self._arrive, self._arrive, callback_args=whose, errback_args=whose)

    def _arrive(self, outcome: Any, flight: Flight, place: int) -> None:
        """Called by the driver, on a thread of its own or within ``_send_next``."""
        self._arrivals.append((flight, place, outcome))
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop was closed before the store: nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Cleared first: an answer that is queued from here on wakes the loop again, at worst for nothing.
        self._woken = False
        while self._arrivals:
            flight, place, outcome = self._arrivals.popleft()
            self._inflight -= 1
            future = flight.futures.pop(place)
            if flight.landed.done():
                continue
            if isinstance(outcome, Exception):
                flight.answers[place] = Failure(outcome, sent=bool(future.attempted_hosts))
            elif outcome is not None and future.has_more_pages:
                self._turn_page(flight, place, future, outcome)
            else:
                flight.answers[place] = flight.pages.pop(place) + outcome if place in flight.pages else outcome
            self._send(flight)

    def _turn_page(self, flight: Flight, place: int, future: Any, rows: list[Row]) -> None:
        flight.page_bytes += sum([len(column) for row in rows for column in row if isinstance(column, bytes)])
        if flight.page_bytes > ANSWER_BYTES_MAX:
            flight.answers[place] = Fate.TOO_LARGE
            flight.pages.pop(place, None)
            return
        flight.pages.setdefault(place, []).extend(rows)
        flight.futures[place] = future
        self._inflight += 1
        future.start_fetching_next_page()

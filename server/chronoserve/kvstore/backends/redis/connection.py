"""A pipelined Redis connection: what callers hand over in one tick of the loop leaves in one write.

Replies come back in the order of the commands, so a call is matched to its replies by position alone. A caller that
stopped waiting (cancelled, out of time) keeps its position: its replies are read and thrown away, never given to another.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import chain
from math import inf
from typing import Any, TypeAlias, cast

import hiredis

from chronoserve.kvstore.port import ANSWER_BYTES_MAX, too_much
from chronoserve.model.errors import (
    CorruptValue,
    DeadlinePassed,
    FailedPrecondition,
    Internal,
    KVError,
    Throttled,
    Unavailable,
    WriteOutcomeUnknown,
)

PENDING_CALLS_MAX = 10_000
"""Calls of one connection that wait for their replies or to be written; more are refused as Throttled."""

UNSENT_BYTES_MAX = 64 << 20
"""Bytes that wait for a server which does not take them; more are refused as Throttled."""

REPLIES_BYTES_MAX = 2 * ANSWER_BYTES_MAX
"""Bytes that the replies of one call may have. They cannot be skipped on the way, so a connection that brings more is given up:
the last resort, for stores ask in portions."""

SILENT_SECONDS_MAX = 1.0
"""A connection that owes an answer past its deadline and has been silent for this long is given up."""

NOTHING = object()
"""What the parser answers while a reply is incomplete: nil and false are replies."""


class Refusal(Exception):
    """An error reply; it is handed on as a value. ``code`` is its first word, as in ``MOVED 3999 127.0.0.1:6381``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.code = text.partition(" ")[0]


Reply: TypeAlias = Any
"""bytes, int, None, a list of replies, or a Refusal."""

Outcome: TypeAlias = list[Reply] | KVError
"""One reply for each command of a call, or why there are none."""

Pending = tuple[asyncio.Future[Outcome], int, float, bool, bytes]
"""(where the outcome goes, replies expected, deadline, is it a write, its commands)."""

REFUSALS: dict[str, tuple[type[KVError], str]] = {
    "LOADING": (Unavailable, "Redis is loading its data; try again shortly"),
    "BUSY": (Unavailable, "Redis is busy with a script; try again shortly"),
    "MASTERDOWN": (Unavailable, "this Redis replica has lost its primary; try again shortly"),
    "CLUSTERDOWN": (Unavailable, "the Redis cluster is not whole; see CLUSTER INFO on its nodes"),
    "MOVED": (Unavailable, "the Redis cluster is moving this key; try again shortly"),
    "ASK": (Unavailable, "the Redis cluster is moving this key; try again shortly"),
    "TRYAGAIN": (Unavailable, "the Redis cluster is moving this key; try again shortly"),
    "READONLY": (Unavailable, "this Redis server is a replica; the store URL must name the primary"),
    "NOREPLICAS": (Unavailable, "Redis has fewer replicas than min-replicas-to-write asks for"),
    "MISCONF": (Unavailable, "Redis refuses writes because it cannot save to disk; see its log"),
    "OOM": (Throttled, "Redis has no memory left: raise maxmemory or delete data"),
    "NOAUTH": (FailedPrecondition, "Redis wants credentials; put user and password into the store URL"),
    "WRONGPASS": (FailedPrecondition, "Redis refused the credentials; check user and password in the store URL"),
    "NOPERM": (FailedPrecondition, "this Redis user may not run the commands of the store; see docs/reference/stores/redis.md"),
    "NOSCRIPT": (Unavailable, "Redis has forgotten the store's scripts, which it was just given; look for SCRIPT FLUSH"),
    "WRONGTYPE": (CorruptValue, "the Redis key of this item holds another type; something else wrote it"),
}
"""What an error reply means, by its code. All of them say that the command had no effect."""


def refused(refusal: Refusal) -> KVError:
    """The error for an error reply. The reply's own text may quote keys, so of an unknown one only the code is told."""
    kind, message = REFUSALS.get(refusal.code, (Internal, f"Redis refused a command with {refusal.code[:40]}"))
    return kind(message)


_pack = cast("Callable[[tuple[bytes | str | int, ...]], bytes]", hiredis.pack_command)  # its stub knows tuples of one word


def pack(*words: bytes | str | int) -> bytes:
    """A command as Redis reads it."""
    return _pack(words)


class Connection(asyncio.Protocol):
    """One socket. ``send`` may be called from when it is connected until ``on_lost`` was called, which happens once."""

    def __init__(self, on_lost: Callable[["Connection"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=NOTHING)
        self._unsent: list[Pending] = []
        self._unsent_bytes = 0
        self._sent: deque[Pending] = deque()
        self._replies: list[Reply] = []
        self._replies_bytes = 0
        self._flush_planned = False
        self._paused = False
        self._heard = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self.received = 0
        """Bytes that have come so far."""
        self.ended = False
        self._closed: asyncio.Future[None] = self._loop.create_future()

    def send(self, commands: bytes, replies: int, deadline: float, *, write: bool) -> asyncio.Future[Outcome]:
        """Queue packed commands that will bring ``replies`` replies.

        The future ends with the outcome and never with an exception, so it may be dropped or cancelled at will. A write
        whose bytes were not yet given to the socket fails as certainly not applied, afterwards as WriteOutcomeUnknown.

        Raises:
            DeadlinePassed: there is no time left.
            Throttled: too much waits on this connection already.
            Unavailable: the connection has ended.
        """
        if deadline <= self._loop.time():
            raise DeadlinePassed("no time was left to ask Redis")
        if self.ended:
            raise Unavailable("the connection to Redis was lost; try again")
        if len(self._unsent) + len(self._sent) >= PENDING_CALLS_MAX or self._unsent_bytes >= UNSENT_BYTES_MAX:
            raise Throttled("too many calls wait for Redis; try again shortly")
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._unsent.append((future, replies, deadline, write, commands))
        self._unsent_bytes += len(commands)
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self._flush)
        if deadline < self._timer_at:
            self._set_timer(deadline)
        return future

    def abort(self, why: str) -> None:
        """End it now; what is pending fails with ``why``."""
        self._end(why)
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Until the socket is gone."""
        await asyncio.shield(self._closed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection to Redis was lost; try again")
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self.received += len(data)
        self._replies_bytes += len(data)
        sent, replies, gets = self._sent, self._replies, self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not NOTHING:
                replies.append(reply)
                if len(replies) == sent[0][1]:
                    future = sent.popleft()[0]
                    if not future.done():
                        future.set_result(replies)
                    replies = self._replies = []
                    self._replies_bytes = 0
            if self._replies_bytes > REPLIES_BYTES_MAX and sent:
                self._give_up_the_first()
        except (hiredis.ProtocolError, IndexError):
            self.abort("Redis sent something that is not a reply; check that the store URL names a Redis server")

    def _give_up_the_first(self) -> None:
        future, *_ = self._sent[0]
        if not future.done():
            future.set_result(too_much())
        self.abort("another call's answer was too large for the connection to Redis; try again")

    def _flush(self) -> None:
        """Write what waits in one piece. Calls that nobody waits for any more are not sent at all."""
        self._flush_planned = False
        if self._paused or self.ended:
            return
        wanted = [pending for pending in self._unsent if not pending[0].done()]
        self._unsent.clear()
        self._unsent_bytes = 0
        if not wanted:
            return
        if not self._sent:
            self._heard = self._loop.time()  # nothing was owed until now: silence counts from here
        self._sent.extend(wanted)
        self._transport.write(b"".join([pending[4] for pending in wanted]))

    def _set_timer(self, when: float) -> None:
        """One timer serves all calls: it is set for the earliest deadline, usually once a deadline and not once a call."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = None if when == inf else self._loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        now = self._loop.time()
        for pending in self._sent:
            _expire(pending, now, sent=True)
        for pending in self._unsent:
            _expire(pending, now, sent=False)
        wake_at = min((deadline for future, _, deadline, _, _ in chain(self._sent, self._unsent) if not future.done()), default=inf)
        if any(deadline <= now for _, _, deadline, _, _ in self._sent):
            give_up_at = self._heard + SILENT_SECONDS_MAX
            if now >= give_up_at:
                self.abort("Redis does not answer; try again")
                return
            wake_at = min(wake_at, give_up_at)
        self._set_timer(wake_at)

    def _end(self, why: str) -> None:
        if self.ended:
            return
        self.ended = True
        self._set_timer(inf)
        for future, _, _, write, _ in self._sent:
            if not future.done():
                future.set_result(_unknown() if write else Unavailable(why))
        for future, *_ in self._unsent:
            if not future.done():
                future.set_result(Unavailable(why))
        self._sent.clear()
        self._unsent.clear()
        self._on_lost(self)


def _expire(pending: Pending, now: float, *, sent: bool) -> None:
    future, _, deadline, write, _ = pending
    if deadline <= now and not future.done():
        future.set_result(_unknown() if write and sent else DeadlinePassed("Redis did not answer in time"))


def _unknown() -> WriteOutcomeUnknown:
    return WriteOutcomeUnknown("Redis was sent this write and did not confirm it: it may have been applied or not")

"""How calls end when the server does, so that a caller who waits for answers loses none.

When grpc core is told to stop it sends GOAWAY, but it also cancels the calls that have arrived and that no handler has
taken yet, and those that arrive before their client has read the GOAWAY (grpc/grpc#41785). So before it is told, replies
are held for a moment: callers who wait for an answer send nothing new, and what has arrived reaches its handler. Then
GOAWAY goes out, ahead of the held replies on the same connection, and the next call takes another one.

What remains open is a caller that sends without waiting, and only within one round trip of the GOAWAY: its call was not
processed and may be sent again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from chronoserve.model.errors import Unavailable

QUIET_SECONDS = 0.02
QUIET_TIMES = 3
"""No new call for so many times that long: everybody who waits for an answer has sent what there was to send."""
LAG_SECONDS = 0.02
"""A wait that took this much longer says nothing: the process had no time to take what had arrived."""
GOODBYE_SECONDS_MAX = 0.4
"""Where calls never cease, GOAWAY goes out after this long."""
HOLD_SECONDS_MAX = 0.5
"""Replies are held for this long at most, and for no more than half of the time that their call has left."""

Arrived = TypeVar("Arrived")


class Draining:
    """Whether the server is about to stop. One a process."""

    def __init__(self) -> None:
        self.began = False
        self._released = asyncio.Event()
        self._idle: set[Messages] = set()

    def begin(self) -> None:
        """Hold replies from now on."""
        self.began = True

    def release(self) -> None:
        """Let the held replies go, and end the streams that wait for a message."""
        self._released.set()
        for messages in list(self._idle):
            messages.end()

    async def hold(self, context: Any) -> None:
        """Wait for ``release``, as far as the call's time allows."""
        remaining = context.time_remaining()
        patience = HOLD_SECONDS_MAX if remaining is None else min(HOLD_SECONDS_MAX, remaining / 2)
        if patience <= 0 or self._released.is_set():
            return
        try:
            async with asyncio.timeout(patience):
                await self._released.wait()
        except TimeoutError:
            return

    async def quiet(self, calls: Callable[[], int]) -> None:
        """Wait until the number of calls under way, whose replies are held, does not grow any more."""
        loop = asyncio.get_running_loop()
        end = loop.time() + GOODBYE_SECONDS_MAX
        times = 0
        while times < QUIET_TIMES and loop.time() < end:
            before, began = calls(), loop.time()
            await asyncio.sleep(QUIET_SECONDS)
            punctual = loop.time() - began < QUIET_SECONDS + LAG_SECONDS
            times = times + 1 if punctual and calls() == before else 0

    def waits(self, messages: "Messages") -> None:
        """``messages`` has nothing to do until its client sends something."""
        self._idle.add(messages)

    def works(self, messages: "Messages") -> None:
        self._idle.discard(messages)


class Messages(AsyncIterator[bytes]):
    """The messages of a stream until the server drains: then it ends between two of them, and says so."""

    def __init__(self, messages: AsyncIterator[bytes], draining: Draining) -> None:
        self._messages = messages
        self._draining = draining
        self._reader: asyncio.Task[Any] | None = None
        self._ended = False

    def end(self) -> None:
        """Stop waiting for a message."""
        self._ended = True
        if self._reader is not None:
            self._reader.cancel()

    async def __anext__(self) -> bytes:
        """The next message. Raises Unavailable while the server drains: what has no answer was not processed."""
        return await self._wait(self._messages.__anext__())

    async def take(self, count_max: int) -> list[bytes]:
        """What has come already, so many messages at most and at least one; none: there are no more. Raises as ``__anext__`` does.

        A transport that knows only of the next message gives them one by one.
        """
        take = getattr(self._messages, "take", None)
        if take is not None:
            taken: list[bytes] = await self._wait(take(count_max))
            return taken
        try:
            return [await self.__anext__()]
        except StopAsyncIteration:
            return []

    async def _wait(self, arrival: Awaitable[Arrived]) -> Arrived:
        if self._draining.began:
            if isinstance(arrival, Coroutine):
                arrival.close()
            raise _drained()
        self._reader = asyncio.current_task()
        self._draining.waits(self)
        try:
            return await arrival
        except asyncio.CancelledError:
            if self._ended and self._reader is not None and not self._reader.uncancel():
                raise _drained() from None
            raise
        finally:
            self._draining.works(self)


def _drained() -> Unavailable:
    return Unavailable("the server is stopping; messages without an answer were not processed: open the stream again")

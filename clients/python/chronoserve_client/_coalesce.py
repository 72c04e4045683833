"""Single gets that are asked for in the same tick of the loop go out together, as one MultiGet.

Nobody waits for company: what is there when the loop comes round is sent. Each caller has its own result, error,
timeout and cancellation; a group whose callers have all gone is cancelled.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from chronoserve.v1 import kv_pb2
from chronoserve_client import _errors
from chronoserve_client._errors import InvalidRequest
from chronoserve_client._values import GetResult, TimedValue

KEYS_MAX = 1000
"""Keys in one MultiGet of ours."""

CLOSED = "the client was closed"

Send = Callable[[Sequence[kv_pb2.GetRequest], float], Awaitable[list[GetResult]]]


@dataclass(slots=True, eq=False)
class _Waiter:
    request: kv_pb2.GetRequest
    seconds: float
    future: asyncio.Future[tuple[TimedValue, ...]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    timer: asyncio.TimerHandle | None = None

    def settle(self, result: GetResult) -> None:
        if self.future.done():
            return
        if result.error is None:
            self.future.set_result(result.values)
        else:
            self.future.set_exception(result.error)

    def expire(self) -> None:
        self.settle(GetResult(error=_errors.late(self.seconds, write=False)))


class Coalescer:
    """Belongs to one client and to the loop that it runs on."""

    def __init__(self, send: Send) -> None:
        """``send``: makes the call; gets the requests and a timeout in seconds."""
        self._send = send
        self._waiting: list[_Waiter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, request: kv_pb2.GetRequest, seconds: float) -> tuple[TimedValue, ...]:
        """The values of one key, within ``seconds``.

        Raises:
            ChronoserveError: as if the key had been asked for alone.
        """
        waiter = _Waiter(request, seconds)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(waiter)
        return await waiter.future

    async def aclose(self) -> None:
        """End every group; callers get Unavailable."""
        self._flush()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _flush(self) -> None:
        waiting = [waiter for waiter in self._waiting if not waiter.future.done()]
        self._waiting = []
        for start in range(0, len(waiting), KEYS_MAX):
            task = _Group(waiting[start : start + KEYS_MAX], self._send).task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class _Group:
    """Callers that share a call, which lasts as long as the most patient of them."""

    def __init__(self, waiters: list[_Waiter], send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._send = send
        self._callers = len(waiters)
        self._deadline = loop.time() + max(waiter.seconds for waiter in waiters)
        self.task = loop.create_task(self._exchange(waiters), name="chronoserve_client group of gets")
        # not in the task itself: one that is cancelled before its first step never runs a line
        self.task.add_done_callback(partial(_settle_rest, waiters))
        for waiter in waiters:
            waiter.future.add_done_callback(partial(self._left, waiter))
            if loop.time() + waiter.seconds < self._deadline:
                waiter.timer = loop.call_later(waiter.seconds, waiter.expire)

    def _left(self, waiter: _Waiter, _: object) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        self._callers -= 1
        if not self._callers:
            self.task.cancel()

    async def _exchange(self, waiters: list[_Waiter]) -> None:
        """Settle every waiter. What a call refuses as a whole is asked again in halves, so that one bad or huge item stays alone."""
        seconds = max(0.0, self._deadline - asyncio.get_running_loop().time())
        try:
            results = await self._send([waiter.request for waiter in waiters], seconds)
        except InvalidRequest as error:
            if len(waiters) > 1:
                half = len(waiters) // 2
                await self._exchange(waiters[:half])
                await self._exchange(waiters[half:])
                return
            results = [GetResult(error=error)]
        except Exception as error:  # noqa: BLE001 whatever it is, the callers must hear it: nobody else awaits this task
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(_own(error))
            return
        for waiter, result in zip(waiters, results, strict=True):
            waiter.settle(result)


def _settle_rest(waiters: list[_Waiter], _: object) -> None:
    for waiter in waiters:
        waiter.settle(GetResult(error=_errors.interrupted(CLOSED, write=False)))


def _own(error: Exception) -> Exception:
    """A copy for one caller: an exception raised in several tasks would collect the tracebacks of all of them."""
    mine = copy.copy(error)
    mine.__cause__ = error.__cause__
    return mine

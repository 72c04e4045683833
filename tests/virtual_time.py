"""An event loop whose clock jumps to the next timer when nothing else is left to do: hours of deadlines in milliseconds."""

import asyncio
import functools
import heapq
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TURNS_MAX = 1000
"""Turns of the loop within which something that needs no time must have happened."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For tests without sockets and threads: what they wait for would look like nothing left to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        self._forget_cancelled()
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]

    def _forget_cancelled(self) -> None:
        """asyncio would drop these timers too, but then wait in real time for the one behind them."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an async test on such a loop and fails it if it leaves a task behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(_without_leftovers(test(*args, **kwargs)))

    return run


async def _without_leftovers(test: Awaitable[None]) -> None:
    await test
    await turns(3)  # tasks that are about to end
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"left behind: {left}"


async def turns(count: int) -> None:
    """Let everything that is ready run, ``count`` times; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until ``condition`` holds; no time passes."""
    for _ in range(TURNS_MAX):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


def now() -> float:
    return asyncio.get_running_loop().time()

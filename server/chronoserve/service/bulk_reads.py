"""A blocking iterator read in a thread, one step ahead of whoever writes what it yields."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

T = TypeVar("T")


async def read_ahead(items: Iterator[T]) -> AsyncGenerator[T]:
    """What ``items`` yields. While one item is with the caller the next one is made: files are never read on the loop.

    A step cannot be broken off: closed in its midst, this waits for it, so that no thread reads on unheard.
    """
    loop = asyncio.get_running_loop()
    step: asyncio.Future[T | None] = loop.run_in_executor(None, next, items, None)
    try:
        while (item := await asyncio.shield(step)) is not None:
            step = loop.run_in_executor(None, next, items, None)
            yield item
    finally:
        await asyncio.wait([step])
        step.exception()  # an error that nobody waited for is nobody's

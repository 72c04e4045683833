"""Logged rows and a sink for tests."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from chronoserve.model.errors import KVError
from chronoserve.model.logged import LoggedResponse
from chronoserve.model.naming import SCHEMA_PUBLISH_EVENT


def row(at: int = 0, *, name: str = "team/join.v1", millis: int = 1_700_000_000_000, size: int = 10) -> LoggedResponse:
    return LoggedResponse(b"key%d" % at, b"v" * size, name, millis + at, "hash")


def control(schema_hash: str = "hash") -> LoggedResponse:
    return LoggedResponse(schema_hash.encode(), b'{"join_name": "j"}', SCHEMA_PUBLISH_EVENT, 1_700_000_000_000, None)


class ScriptedSink:
    """Takes what it gets unless its script says otherwise: an error to raise, or the positions of rows to refuse."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.batches: list[list[LoggedResponse]] = []
        self.settled = 0
        self.closed_with: float | None = None
        self.lost = 0

    @property
    def taken(self) -> list[LoggedResponse]:
        return [row for batch in self.batches for row in batch]

    async def write(self, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
        step = self.script.pop(0) if self.script else []
        if callable(step):
            step = await step()
        if isinstance(step, KVError):
            raise step
        self.batches.append([row for at, row in enumerate(rows) if at not in step])
        return [row for at, row in enumerate(rows) if at in step]

    async def settle(self, *, now_millis: int) -> None:
        self.settled += 1
        step = self.script.pop(0) if self.script and isinstance(self.script[0], tuple) else ()
        for error in step:
            raise error

    async def close(self, *, seconds: float) -> None:
        self.closed_with = seconds


async def eventually(condition: Callable[[], bool]) -> None:
    """Let virtual time pass until ``condition`` holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")

"""Logged rows into a dataset of the KV store, or to a function of the user's."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from chronoserve.ingest.response_log.sink import as_json
from chronoserve.model.errors import Internal, KVError
from chronoserve.model.logged import LoggedResponse

PUT_SECONDS = 5.0


class Put(NamedTuple):
    """One write of the KV store, as the gateway takes it."""

    dataset: str
    key: bytes
    value: bytes
    ts_millis: int | None
    token: bytes


Puts = Callable[[Sequence[Put], float], Awaitable[Sequence[KVError | None]]]
"""Applies the writes by the deadline; one outcome for each, or a KVError for all."""


class KVSink:
    """A value for each row: its key is the join's name, a zero byte and the row's key bytes; the value is the row as JSON.

    The dataset should be of kind TIMED, so that the rows of a key are kept beside each other until its ttl. Rows of a time in
    the future are written with the store's time; what the row says of itself is in its JSON.
    """

    def __init__(self, dataset: str, puts: Puts, *, clock: Callable[[], int]) -> None:
        self.lost = 0
        self._dataset = dataset
        self._puts = puts
        self._clock = clock

    async def write(self, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
        outcomes = await self._puts([self._put(row) for row in rows], asyncio.get_running_loop().time() + PUT_SECONDS)
        refused = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is not None]
        if len(refused) == len(rows) and (first := next(filter(None, outcomes), None)) is not None:
            raise first
        return refused

    def _put(self, row: LoggedResponse) -> Put:
        key = row.join_name.encode() + b"\0" + row.key_bytes
        millis = row.ts_millis if 0 <= row.ts_millis <= self._clock() else None
        return Put(self._dataset, key, as_json(row), millis, b"")

    async def settle(self, *, now_millis: int) -> None:
        """Nothing is under way between batches."""

    async def close(self, *, seconds: float) -> None:
        """The store is the server's."""


Function = Callable[[LoggedResponse], Awaitable[None] | None]
"""What a user gives: called for each row, in order, off the request's path."""


class FunctionSink:
    """Calls the user's function; a plain one runs in a thread, an ``async`` one on the loop."""

    def __init__(self, function: Function) -> None:
        self.lost = 0
        self._function = function
        self._asynchronous = inspect.iscoroutinefunction(function)

    async def write(self, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
        """The rows that the function raised for. Raises Internal where it raised for each."""
        refused, causes = await self._each(rows) if self._asynchronous else await asyncio.to_thread(self._each_plainly, rows)
        if refused and len(refused) == len(rows):
            raise Internal(f"log_response raised {', '.join(sorted(causes))}")
        return refused

    async def _each(self, rows: Sequence[LoggedResponse]) -> tuple[list[LoggedResponse], set[str]]:
        refused: list[LoggedResponse] = []
        causes: set[str] = set()
        for row in rows:
            try:
                called = self._function(row)
                if called is not None:
                    await called
            except Exception as raised:  # noqa: BLE001 - whatever the user's code raises: the row is refused, and the queue counts it
                refused.append(row)
                causes.add(type(raised).__name__)
        return refused, causes

    def _each_plainly(self, rows: Sequence[LoggedResponse]) -> tuple[list[LoggedResponse], set[str]]:
        refused: list[LoggedResponse] = []
        causes: set[str] = set()
        for row in rows:
            try:
                self._function(row)
            except Exception as raised:  # noqa: BLE001 - as above
                refused.append(row)
                causes.add(type(raised).__name__)
        return refused, causes

    async def settle(self, *, now_millis: int) -> None:
        """What the function holds is its own business."""

    async def close(self, *, seconds: float) -> None:
        """Likewise."""

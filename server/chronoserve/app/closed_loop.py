"""A closed loop of reads in raw bytes: each caller sends its next call when the last one is answered."""

import asyncio
import itertools
import math
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc

MULTI_GET = "/chronoserve.v1.KVStore/MultiGet"
STREAM_MULTI_GET = "/chronoserve.v1.KVStore/StreamMultiGet"
CALL_SECONDS = 5.0
PAUSE_SECONDS = 0.01
"""Pause of a caller after a failure: a server that refuses is not asked in a tight loop."""

Channel = Any
"""grpc.aio.Channel."""


class Question(NamedTuple):
    """A serialised MultiGetRequest; ``answer``: the bytes that must come back, None where that is not known."""

    request: bytes
    answer: bytes | None


@dataclass(slots=True)
class Tally:
    """What the callers saw. ``wrong``: answers that were not the right bytes; ``failures`` by status name."""

    seconds: float = 0.0
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    wrong: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def percentile(self, percent: float) -> float:
        """Seconds; NaN where no call was answered."""
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


@dataclass(frozen=True, slots=True)
class Load:
    """``callers`` ask ``questions`` in turn for ``seconds``, spread over the channels, on open streams if ``streaming``."""

    questions: Sequence[Question]
    callers: int
    seconds: float
    streaming: bool
    metadata: Any = None

    async def run(self, channels: Sequence[Channel]) -> Tally:
        """Load the server; the calls under way at the end are waited for."""
        tally = Tally()
        questions = itertools.cycle(self.questions)
        began = time.perf_counter()
        caller = self._call_on_stream if self.streaming else self._call
        async with asyncio.TaskGroup() as group:
            for channel, _ in zip(itertools.cycle(channels), range(self.callers), strict=False):
                group.create_task(caller(channel, questions, began + self.seconds, tally))
        tally.seconds = time.perf_counter() - began
        return tally

    async def _call(self, channel: Channel, questions: Iterator[Question], end: float, tally: Tally) -> None:
        call = channel.unary_unary(MULTI_GET)

        async def ask(request: bytes) -> bytes:
            return bytes(await call(request, timeout=CALL_SECONDS, metadata=self.metadata))

        while time.perf_counter() < end:
            await self._ask(ask, questions, end, tally)

    async def _call_on_stream(self, channel: Channel, questions: Iterator[Question], end: float, tally: Tally) -> None:
        while time.perf_counter() < end:
            async with AsyncExitStack() as stack:
                call = channel.stream_stream(STREAM_MULTI_GET)(metadata=self.metadata, timeout=self.seconds + CALL_SECONDS)
                stack.callback(call.cancel)

                async def ask(request: bytes, call: Any = call) -> bytes:
                    await call.write(request)
                    reply = await call.read()
                    if reply is grpc.aio.EOF:  # type: ignore[attr-defined]  # its stubs forgot it
                        raise ConnectionResetError("the server ended the stream")
                    return bytes(reply)

                await self._ask(ask, questions, end, tally)

    async def _ask(self, ask: Callable[[bytes], Awaitable[bytes]], questions: Iterator[Question], end: float, tally: Tally) -> None:
        """Ask until ``end``, or until one call fails: a stream is of no use after that."""
        try:
            while (began := time.perf_counter()) < end:
                request, answer = next(questions)
                reply = await ask(request)
                tally.latencies.append(time.perf_counter() - began)
                tally.wrong += answer is not None and reply != answer
        except grpc.aio.AioRpcError as failed:
            tally.failures[failed.code().name] += 1
            await asyncio.sleep(PAUSE_SECONDS)
        except ConnectionResetError:
            tally.failures["STREAM_ENDED"] += 1
            await asyncio.sleep(PAUSE_SECONDS)

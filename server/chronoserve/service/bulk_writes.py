"""What a bulk load does with its rows: completed by whole columns, written several batches at a time, each key in its order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import repeat, starmap
from types import TracebackType
from typing import Self

import xxhash

from chronoserve.ingest.source import Rows
from chronoserve.kvstore.port import Capability, PutRequest
from chronoserve.model import values
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import KVError
from chronoserve.service.gateway import Limits, NamedPut

UNDER_WAY_MAX = 4
"""Batches that are written at once: an engine that commits or answers in groups takes them together."""
UNDER_WAY_BYTES_MAX = 32 << 20

Puts = Sequence[PutRequest | NamedPut]


@dataclass(frozen=True, slots=True)
class Batch:
    """``puts``: complete and checked, or named ones where the gateway has to tell which rows cannot be written."""

    puts: Puts
    keys: frozenset[bytes]
    size_bytes: int
    after_all: bool

    def __len__(self) -> int:
        return len(self.puts)


class Heads(dict[int, bytes]):
    """For each length of value, what stands before it in its travelling form; behind it stands ``tail``, its time."""

    def __init__(self, millis: int) -> None:
        super().__init__()
        self.tail = values.encode(b"", millis)[2:]

    def __missing__(self, value_bytes: int) -> bytes:
        field = b"\n" + values.varint(value_bytes) if value_bytes else b""
        head = self[value_bytes] = b"\n" + values.varint(len(field) + value_bytes + len(self.tail)) + field
        return head


class Completion:
    """Rows of one load become writes. Rows of one time, as uploads have them, share all but key and value."""

    def __init__(self, dataset: Dataset, capability: Capability, limits: Limits, *, default_millis: int, now: Callable[[], int]) -> None:
        self._dataset = dataset
        self._capability = capability
        self._skew = limits.skew_ahead_millis_max
        self._default_millis = default_millis
        self._now = now
        self._heads = Heads(default_millis)

    def batch(self, rows: Rows) -> Batch:
        """The rows as they can be written: where one of them cannot be, as they came, for the gateway to say why."""
        now = self._now()
        size = sum(map(len, rows.keys)) + sum(map(len, rows.values))
        sound = len(rows) > 0 and self._is_sound(rows, now)
        puts: Puts = list(self._complete(rows, now)) if sound else [self._named(*row) for row in rows]
        return Batch(puts, frozenset(rows.keys), size, rows.after_all)

    def _is_sound(self, rows: Rows, now: int) -> bool:
        """Whether the gateway would take every row: its own rules, asked of whole columns."""
        capability, latest = self._capability, now + self._skew
        times = [self._default_millis, *(millis for millis in rows.times or () if millis is not None)]
        return (
            min(map(len, rows.keys)) > 0
            and max(map(len, rows.keys)) <= capability.key_bytes_max
            and max(map(len, rows.values)) <= capability.value_bytes_max
            and min(times) >= 0
            and max(times) <= latest
        )

    def _complete(self, rows: Rows, now: int) -> "starmap[PutRequest]":
        dataset, default = self._dataset, self._default_millis
        if rows.times is None:
            heads, tail = self._heads, self._heads.tail
            times: Sequence[int] | repeat[int] = repeat(default)
            timed = [heads[len(value)] + value + tail for value in rows.values]
        else:
            times = [default if millis is None else millis for millis in rows.times]
            timed = list(map(values.encode, rows.values, times))
        nonces = [xxhash.xxh3_128_digest(b"v" + value) for value in rows.values] if dataset.timed else repeat(b"")
        ttl = dataset.properties.ttl_millis
        fixed = (nonces, repeat(now + ttl if ttl else 0), repeat(False))
        return starmap(PutRequest, zip(repeat(dataset), rows.keys, timed, times, *fixed, strict=False))

    def _named(self, key: bytes, value: bytes, millis: int | None) -> NamedPut:
        return NamedPut(self._dataset.name, key, value, self._default_millis if millis is None else millis)


Write = Callable[[Puts], Awaitable[list[KVError]]]
"""Writes them and answers the errors of those that can never be written. Raises KVError where the load cannot go on."""


class Writes:
    """The batches under way, heard of in the order in which they began.

    A key is in one of them at a time, so the last row of a key stays the last one, whatever fails and is written again.
    Left while some are under way it gives them up and waits for their ends.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._under_way: deque[tuple[Batch, asyncio.Task[list[KVError]]]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        tasks = [task for _, task in self._under_way]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._under_way)

    def must_wait(self, batch: Batch) -> bool:
        """Whether ``batch`` may only begin after the oldest one has ended."""
        if not self._under_way:
            return False
        size_bytes = batch.size_bytes + sum(each.size_bytes for each, _ in self._under_way)
        full = len(self._under_way) == UNDER_WAY_MAX or size_bytes > UNDER_WAY_BYTES_MAX
        return full or batch.after_all or not all(batch.keys.isdisjoint(each.keys) for each, _ in self._under_way)

    def begin(self, batch: Batch) -> None:
        self._under_way.append((batch, asyncio.get_running_loop().create_task(self._written(batch))))

    async def _written(self, batch: Batch) -> list[KVError]:
        return await self._write(batch.puts)

    async def oldest(self) -> tuple[Batch, list[KVError]]:
        """The batch that began first and its rows' errors, when it has ended. Raises KVError where it could not be written."""
        batch, task = self._under_way[0]
        refused = await asyncio.shield(task)
        self._under_way.popleft()
        return batch, refused

"""Metadata kept in memory: one loader a key, refreshed while it is used, the last good kept when that fails (spec/online-fetch.md §5).

An entry passes through three ages. Fresh: it is used. Due: it is used, and reloaded meanwhile. Stale (nobody asked for a
while): it is reloaded first, and used after all if that fails. Ages are jittered, so that entries which were loaded together
do not come due together.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from chronoserve.fetcher.ports import Clock
from chronoserve.model.errors import DeadlinePassed, Internal, KVError, Unavailable, UnknownConf

log = structlog.get_logger("chronoserve.fetcher")

T = TypeVar("T")

GONE_MILLIS = 60_000
"""A value that was there and is missing now is kept this long: a load that replaces a whole dataset has such a gap."""
LOAD_SECONDS = 5.0
"""What a load has before it is given up."""
STALE_SECONDS = 0.1
"""How long a stale value waits for its reload before it is used after all."""


@dataclass(slots=True)
class Entry(Generic[T]):
    """``value`` is the same object as long as what is stored does not change. Times are epoch milliseconds."""

    value: T | KVError
    due_at: int
    stale_at: int
    loaded_at: int
    digest: bytes = b""
    missing_since: int = 0

    def age(self, now: int) -> str:
        """``fresh``, ``due`` or ``stale``. A clock that was set back makes everything due."""
        if now < self.loaded_at:
            return "due"
        return "fresh" if now < self.due_at else "due" if now < self.stale_at else "stale"


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """What a loader found under a key: ``value`` is None where the stored text is the one with the digest that it was given."""

    value: T | KVError | None
    digest: bytes = b""


Loader = Callable[[Sequence[tuple[str, bytes]], float], Awaitable[Sequence[Loaded[T]]]]
"""Of (key, digest of what is known) pairs and a deadline; one answer for each. It raises nothing but KVError and cancellation."""


@dataclass(slots=True)
class _Flight:
    """One load under way. ``waiters``: callers who need it; a load that was begun for callers ends with the last of them."""

    task: "asyncio.Task[None]"
    background: bool
    waiters: int = field(default=0)


class Kept(Generic[T]):
    """Values by key. ``fresh_millis`` and ``failure_millis``: how long a value and a failure are used before they are loaded again."""

    def __init__(
        self, load: Loader[T], clock: Clock, *, fresh_millis: int, stale_factor: float, failure_millis: int, entries_max: int, seed: int = 0
    ) -> None:
        self._load = load
        self._clock = clock
        self._fresh_millis = fresh_millis
        self._stale_factor = stale_factor
        self._failure_millis = failure_millis
        self._entries_max = entries_max
        self._entries: dict[str, Entry[T]] = {}
        self._flights: dict[str, _Flight] = {}
        self._random = random.Random(seed)  # noqa: S311 - spreads reloads in time

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, key: str) -> Entry[T] | None:
        """What is known of the key, whatever its age."""
        return self._entries.get(key)

    def due_at(self, key: str) -> int:
        """Until when the key's value may be used without asking here; 0 where nothing is known of it."""
        entry = self._entries.get(key)
        return 0 if entry is None else entry.due_at

    def hint(self, key: str, at_least_millis: int) -> None:
        """Something newer seems to be stored: reload in the background what is older than ``at_least_millis``."""
        entry = self._entries.get(key)
        if entry is not None and key not in self._flights and not 0 <= self._clock() - entry.loaded_at < at_least_millis:
            self._begin([key], background=True)

    async def get(self, keys: Sequence[str], *, deadline: float) -> list[T | KVError]:
        """The value of each key, in order, or why there is none; absent and stale ones are loaded, all together."""
        now = self._clock()
        wanted: list[str] = []
        due: list[str] = []
        for key in dict.fromkeys(keys):
            entry = self._entries.get(key)
            age = "stale" if entry is None else entry.age(now)
            if age == "stale":
                wanted.append(key)
            elif age == "due":
                due.append(key)
        if due:
            self._begin(due, background=True)
        if wanted:
            self._begin(wanted, background=False)
            await self._wait(wanted, deadline)
        return [self._known(key) for key in keys]

    def _known(self, key: str) -> T | KVError:
        entry = self._entries.get(key)
        return DeadlinePassed(f"the configuration of {key} could not be read in time") if entry is None else entry.value

    def _begin(self, keys: Iterable[str], *, background: bool) -> None:
        """Load those of the keys that nobody is loading, in one task."""
        mine = [key for key in keys if key not in self._flights]
        if not mine:
            return
        flight = _Flight(asyncio.ensure_future(self._fly(mine)), background)
        for key in mine:
            self._flights[key] = flight

    async def _wait(self, keys: Sequence[str], deadline: float) -> None:
        """Until the loads of absent keys end, or the deadline; for a stale last good value not longer than a moment."""
        loop = asyncio.get_running_loop()
        absent = [key for key in keys if not self._usable(key)]
        if absent:
            await self._flown(absent, deadline)
        stale = [key for key in keys if key in self._flights and key not in absent]
        if stale:
            await self._flown(stale, min(deadline, loop.time() + STALE_SECONDS))
            for key in stale:
                if key in self._flights and (entry := self._entries.get(key)) is not None:
                    entry.stale_at = self._clock() + self._fresh_millis

    def _usable(self, key: str) -> bool:
        entry = self._entries.get(key)
        return entry is not None and not isinstance(entry.value, KVError)

    async def _flown(self, keys: Sequence[str], until: float) -> None:
        """Until the loads under way for the keys have ended, or that time. A load that its last waiter abandons is cancelled."""
        flights = list({id(flight): flight for key in keys if (flight := self._flights.get(key)) is not None}.values())
        if not flights:
            return
        for flight in flights:
            flight.waiters += 1
        try:
            await asyncio.wait([flight.task for flight in flights], timeout=max(0.0, until - asyncio.get_running_loop().time()))
        except asyncio.CancelledError:
            for flight in flights:
                if flight.waiters == 1 and not flight.background:
                    flight.task.cancel()
            raise
        finally:
            for flight in flights:
                flight.waiters -= 1

    async def _fly(self, keys: list[str]) -> None:
        try:
            await self._reload(keys)
        finally:
            for key in keys:
                self._flights.pop(key, None)

    async def _reload(self, keys: list[str]) -> None:
        entries = self._entries
        known = [(key, entry.digest if (entry := entries.get(key)) is not None else b"") for key in keys]
        found: Sequence[Loaded[T]]
        until = asyncio.get_running_loop().time() + LOAD_SECONDS
        try:
            async with asyncio.timeout_at(until):
                found = await self._load(known, until)
        except TimeoutError:
            found = [Loaded(Unavailable("the store did not answer a question for configuration in time"))] * len(keys)
        except KVError as error:
            found = [Loaded(error)] * len(keys)
        except Exception:
            log.exception("configuration could not be loaded")
            found = [Loaded(Internal("configuration could not be loaded: a defect of this server, which its log shows"))] * len(keys)
        now = self._clock()
        for key, loaded in zip(keys, found, strict=True):
            entry = self._settled(entries.pop(key, None), loaded, now)
            entries[key] = entry
        while len(entries) > self._entries_max:
            del entries[next(iter(entries))]

    def _settled(self, before: Entry[T] | None, loaded: Loaded[T], now: int) -> Entry[T]:
        """The entry after a load."""
        good = before is not None and not isinstance(before.value, KVError)
        if loaded.value is None and before is not None:
            return self._entry(before.value, before.digest, now)
        assert loaded.value is not None
        if not isinstance(loaded.value, KVError):
            return self._entry(loaded.value, loaded.digest, now)
        missing_since = 0
        if isinstance(loaded.value, UnknownConf) and before is not None:
            missing_since = before.missing_since or now
        if good and before is not None and not (missing_since and now - missing_since >= GONE_MILLIS):
            return self._failed(before.value, before.digest, now, missing_since)
        return self._failed(loaded.value, b"", now, missing_since)

    def _entry(self, value: T | KVError, digest: bytes, now: int) -> Entry[T]:
        due = self._jittered(self._fresh_millis)
        return Entry(value, now + due, now + int(due * self._stale_factor), now, digest)

    def _failed(self, value: T | KVError, digest: bytes, now: int, missing_since: int) -> Entry[T]:
        """After a failure: used for a moment, then loaded again. A last good value is due then, a failure is stale."""
        wait = self._jittered(self._failure_millis)
        stale = wait if isinstance(value, KVError) else int(wait * self._stale_factor)
        return Entry(value, now + wait, now + stale, now, digest, missing_since)

    def _jittered(self, millis: int) -> int:
        return max(1, round(millis * self._random.uniform(0.75, 1.0)))

    async def close(self) -> None:
        """End the loads under way."""
        tasks = {flight.task for flight in self._flights.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""Reads that wait to depart go out together, and each distinct key is read once.

Callers of one loop tick board one *flight*: a single ``multi_get`` of the store below. While ``inflight_batches_max``
flights are under way the next one keeps boarding, so batches grow with load and nothing ever waits for company.

Only a flight that has not departed is joined. Joining one under way would be cheaper still, but its answer may be older
than a write that the joining caller has already seen acknowledged (docs/decisions/0004-single-flight.md).
"""

import asyncio
from collections.abc import Sequence
from itertools import chain

import structlog

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore, is_too_much
from chronoserve.model.errors import DeadlinePassed, Internal, KVError, Unavailable

log = structlog.get_logger("chronoserve.kvstore")

FLIGHT_KEYS_MAX = 10_000
"""Keys that board one flight before the next one opens."""


class Caller:
    """One call that waits for its flight."""

    __slots__ = ("answer", "deadline", "flight", "requests")

    def __init__(self, requests: Sequence[GetRequest], deadline: float, answer: "asyncio.Future[list[GetResult]]") -> None:
        self.requests = requests
        self.deadline = deadline
        self.answer = answer
        self.flight: Flight | None = None

    def land(self, results: list[GetResult]) -> None:
        if not self.answer.done():
            self.answer.set_result(results)


class Flight:
    """The callers of one read of the store. It ends early when none of them waits any longer."""

    __slots__ = ("begun", "callers", "task", "timer", "waiting")

    def __init__(self, callers: list[Caller]) -> None:
        self.callers = callers
        self.waiting = len(callers)
        self.begun = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        for caller in callers:
            caller.flight = self

    def leave(self) -> None:
        """A caller does not wait any longer: it was cancelled, or its deadline has passed."""
        self.waiting -= 1
        if not self.waiting:
            self.end()

    def end(self) -> None:
        """Stop the read. One that has not begun finds that nobody waits: a task cancelled before its first step never runs."""
        self.waiting = 0
        if self.begun and self.task is not None:
            self.task.cancel()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer each caller at its own deadline; one timer serves them all."""
        now = loop.time()
        nearest = 0.0
        for caller in self.callers:
            if caller.answer.done():
                continue
            if caller.deadline <= now:
                caller.land([DeadlinePassed("the store did not answer in time")] * len(caller.requests))
                self.leave()
            elif not nearest or caller.deadline < nearest:
                nearest = caller.deadline
        if nearest:
            self.timer = loop.call_at(nearest, self.watch, loop)

    def land(self, results: list[GetResult]) -> None:
        """Hand out results that align with the callers' requests, one caller after the other."""
        if len(self.callers) == 1:
            self.callers[0].land(results)
            return
        at = 0
        for caller in self.callers:
            end = at + len(caller.requests)
            caller.land(results[at:end])
            at = end

    def land_one(self, caller: Caller, results: list[GetResult]) -> None:
        """Answer one of several callers, who waits no longer then: when those behind have left, there is nothing to read."""
        if not caller.answer.done():
            caller.land(results)
            self.waiting -= 1

    def land_distinct(self, answers: dict[GetRequest, GetResult]) -> None:
        for caller in self.callers:
            caller.land(list(map(answers.__getitem__, caller.requests)))

    def crash(self, error: KVError) -> None:
        for caller in self.callers:
            caller.land([error] * len(caller.requests))


class Coalesce(Layer):
    """Shares reads between callers that arrive together; writes pass."""

    def __init__(self, store: KVStore) -> None:
        super().__init__(store)
        self._boarding: list[Caller] = []
        self._departure: asyncio.Handle | None = None
        self._gives_up_at = 0.0
        """When those who board without room are looked at next; 0 while they are about to depart."""
        self._flights: set[Flight] = set()
        self._closed = False

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise Unavailable("the store is closed")
        caller = Caller(requests, deadline, loop.create_future())
        self._boarding.append(caller)
        if self._departure is None:
            self._departure = loop.call_soon(self._depart, loop)
        elif deadline < self._gives_up_at:
            self._departure.cancel()
            self._give_up_at(deadline, loop)
        try:
            return await caller.answer
        except asyncio.CancelledError:
            if caller.flight is not None and caller.answer.cancelled():
                caller.flight.leave()
            raise

    def _depart(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start flights with those who have boarded and still wait, as long as there is room in the air."""
        self._departure = None
        self._gives_up_at = 0.0
        waiting = [caller for caller in self._boarding if not caller.answer.done()]
        at = 0
        while at < len(waiting) and len(self._flights) < self.capability.inflight_batches_max:
            first, keys = at, 0
            while at < len(waiting) and (keys := keys + len(waiting[at].requests)) <= FLIGHT_KEYS_MAX:
                at += 1
            at = max(at, first + 1)
            flight = Flight(waiting[first:at])
            self._flights.add(flight)
            flight.watch(loop)
            flight.task = loop.create_task(self._fly(flight))
        self._boarding = waiting[at:]
        if self._boarding:
            self._give_up_at(min(caller.deadline for caller in self._boarding), loop)

    def _give_up_at(self, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self._gives_up_at = deadline
        self._departure = loop.call_at(deadline, self._give_up, loop)

    def _give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer those whose time ran out before there was room, then see whether there is room now."""
        now = loop.time()
        for caller in self._boarding:
            if caller.deadline <= now:
                caller.land([DeadlinePassed("the store was too busy to be asked in time")] * len(caller.requests))
        self._depart(loop)

    async def _fly(self, flight: Flight) -> None:
        flight.begun = True
        try:
            if flight.waiting <= 0:
                return
            if not await self._fly_together(flight):
                await self._fly_alone(flight)
        except KVError as error:
            flight.crash(error)
        except asyncio.CancelledError:
            flight.crash(Unavailable("the read was cancelled"))
            raise
        except Exception as defect:
            log.exception("a store failed during a read", error=type(defect).__name__)
            flight.crash(Internal("the store failed during the read; the server's log has the details"))
        finally:
            self._landed(flight)

    async def _fly_together(self, flight: Flight) -> bool:
        """Whether the callers have landed: they have not where their answers are too large together, which one alone may not be."""
        callers = flight.callers
        requests = callers[0].requests if len(callers) == 1 else list(chain.from_iterable(caller.requests for caller in callers))
        distinct = dict.fromkeys(requests)
        deadline = max(caller.deadline for caller in callers)
        unique = len(distinct) == len(requests)
        results = await self.store.multi_get(requests if unique else list(distinct), deadline=deadline)
        if len(callers) > 1 and results and is_too_much(results[-1]):  # whatever else was refused, so was the last
            self._land_complete(flight, dict(zip(distinct, results, strict=True)))
            return False
        if unique:
            flight.land(results)
        else:
            flight.land_distinct(dict(zip(distinct, results, strict=True)))
        return True

    @staticmethod
    def _land_complete(flight: Flight, answers: dict[GetRequest, GetResult]) -> None:
        """Answer the callers for all of whose requests there was room."""
        for caller in flight.callers:
            found = [answers[request] for request in caller.requests]
            if not any(map(is_too_much, found)):
                flight.land_one(caller, found)

    async def _fly_alone(self, flight: Flight) -> None:
        """One caller after the other, each by its own deadline: none is refused for what others ask for."""
        for caller in flight.callers:
            if not caller.answer.done():
                distinct = dict.fromkeys(caller.requests)
                try:
                    results = await self.store.multi_get(list(distinct), deadline=caller.deadline)
                except KVError as error:
                    results = [error] * len(distinct)
                found = dict(zip(distinct, results, strict=True))
                flight.land_one(caller, [found[request] for request in caller.requests])

    def _landed(self, flight: Flight) -> None:
        if flight.timer is not None:
            flight.timer.cancel()
        self._flights.discard(flight)
        if self._boarding and not self._closed:
            if self._departure is not None:
                self._departure.cancel()
            loop = asyncio.get_running_loop()
            self._gives_up_at = 0.0
            self._departure = loop.call_soon(self._depart, loop)

    async def close(self) -> None:
        self._closed = True
        if self._departure is not None:
            self._departure.cancel()
        for caller in self._boarding:
            caller.land([Unavailable("the store is closing")] * len(caller.requests))
        tasks = [flight.task for flight in self._flights if flight.task is not None]
        for flight in self._flights:
            flight.crash(Unavailable("the store is closing"))
            flight.end()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().close()

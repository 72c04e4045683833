"""No key is read twice for one call, hardly one twice in a tick: for stores that send together what one tick of the loop brings.

Such a store (``Capability.pipelined``) gains nothing from merging the batches of several callers, and merging costs a
task and a timer for each. So every call goes to the store as it is, without its duplicates; only a key that another call
has handed over *in this very tick* is not asked again but taken from that call's answer, unless it is one of few in a large
call. What was handed over earlier may have left already, and is never joined (docs/decisions/0004-single-flight.md).
"""

import asyncio
from collections.abc import Sequence

from chronoserve.kvstore.layers.layer import Layer
from chronoserve.kvstore.port import GetRequest, GetResult, KVStore
from chronoserve.model.errors import AnswerTooLarge, DeadlinePassed, KVError

SHARED_PART_MIN = 8
"""Keys are taken from other calls where they are more than this part of a call. Sorting answers that come from several calls costs
twice a hash for every key of the call; to read a few of them again costs less."""

Answers = dict[GetRequest, GetResult]


class Asked:
    """One call to the store: who else waits for its answers."""

    __slots__ = ("deadline", "waiting")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.waiting: list[asyncio.Future[Answers | None]] = []

    def answered(self, answers: Answers | None) -> None:
        """Hand ``answers`` to those who wait; None: the call ended without any."""
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(answers)


class Share(Layer):
    """Drops duplicate keys within a call and shares keys between the calls of one tick; writes pass."""

    def __init__(self, store: KVStore) -> None:
        super().__init__(store)
        self._this_tick: dict[GetRequest, Asked] = {}

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        asked = Asked(deadline)
        distinct = dict.fromkeys(requests, asked)
        wanted = requests if len(distinct) == len(requests) else list(distinct)
        if not self._this_tick:
            self._this_tick = distinct  # now the tick's own, and no longer just this call's
            asyncio.get_running_loop().call_soon(self._end_tick)
        else:
            common = self._this_tick.keys() & distinct.keys()
            if len(common) * SHARED_PART_MIN > len(distinct):
                return await self._shared(requests, distinct, common, asked)
            self._this_tick.update(distinct)
        results = await self._ask(wanted, asked)
        if wanted is requests and not asked.waiting:
            return results
        answers = dict(zip(wanted, results, strict=True))
        asked.answered(answers)
        return results if wanted is requests else list(map(answers.__getitem__, requests))

    def _end_tick(self) -> None:
        self._this_tick = {}

    async def _ask(self, requests: Sequence[GetRequest], asked: Asked) -> list[GetResult]:
        try:
            return await self.store.multi_get(requests, deadline=asked.deadline)
        except BaseException:
            asked.answered(None)
            raise

    async def _shared(
        self, requests: Sequence[GetRequest], own: dict[GetRequest, Asked], common: set[GetRequest], asked: Asked
    ) -> list[GetResult]:
        """Ask for what nobody has asked for in this tick, and take the rest, ``common``, from those who have.

        What costs here is the hash of a request, so each pass over all of them is one in C, and dicts are joined, which takes none.
        """
        loop = asyncio.get_running_loop()
        wanted_of: dict[Asked, list[GetRequest]] = {}
        for request in common:
            wanted_of.setdefault(self._this_tick[request], []).append(request)
            del own[request]
        waits: list[asyncio.Future[Answers | None]] = []
        for theirs in wanted_of:
            waits.append(loop.create_future())
            theirs.waiting.append(waits[-1])
        answers: Answers = {}
        if own:
            self._this_tick.update(own)
            answers = dict(zip(own, await self._ask(list(own), asked), strict=True))
            asked.answered(answers)
        for wait, wanted in zip(waits, wanted_of.values(), strict=True):
            answers.update(await self._take(wait, wanted, asked.deadline))
        return list(map(answers.__getitem__, requests))

    async def _take(self, wait: "asyncio.Future[Answers | None]", wanted: list[GetRequest], deadline: float) -> Answers:
        """The answers of another call; what that call had no time or room for, or gave up, is asked for again."""
        try:
            async with asyncio.timeout_at(deadline):
                found = await wait
        except TimeoutError:
            return dict.fromkeys(wanted, DeadlinePassed("the store did not answer in time"))
        taken = {} if found is None else {request: found[request] for request in wanted}
        again = [request for request in wanted if isinstance(taken.get(request, DeadlinePassed("")), DeadlinePassed | AnswerTooLarge)]
        if again:
            try:
                taken.update(zip(again, await self.store.multi_get(again, deadline=deadline), strict=True))
            except KVError as error:
                taken.update(dict.fromkeys(again, error))
        return taken

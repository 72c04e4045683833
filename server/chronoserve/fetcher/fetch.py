"""The fetcher: plan, one read of the store for the whole call, decode, merge, derive, answer (spec/online-fetch.md §1).

This module awaits; what it calls between two awaits is plain functions of plans, bytes and times.
"""

import asyncio
from collections.abc import Sequence

from chronoserve.fetcher.asks import Ask, Asks
from chronoserve.fetcher.batch_cache import BatchCache
from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.externals import ExternalAsks, Place, answers_of
from chronoserve.fetcher.group_rows import ask_of, group_row
from chronoserve.fetcher.join_plan import JoinPlan
from chronoserve.fetcher.join_rows import Made, PartAsk, join_row, part_asks, unplanned_row
from chronoserve.fetcher.last_good import LastGood
from chronoserve.fetcher.listing import Names, list_group_bys, list_joins
from chronoserve.fetcher.metadata import Metadata
from chronoserve.fetcher.models import run_models
from chronoserve.fetcher.observe import Call, FetchMetrics, Phase
from chronoserve.fetcher.plan import GroupByPlan
from chronoserve.fetcher.plans import Plans
from chronoserve.fetcher.ports import Clock, FlagStore, Lists, ModelBackend, Reads
from chronoserve.fetcher.resolve import Resolver
from chronoserve.fetcher.response_log import ResponseLog
from chronoserve.fetcher.row_log import publish, write_log
from chronoserve.fetcher.schemas import GroupBySchema, JoinSchema, ValueInfo, group_by_schema, join_schema
from chronoserve.fetcher.settings import FailedReadPolicy, FetchSettings
from chronoserve.fetcher.structured import structured_row
from chronoserve.fetcher.trace import Trace
from chronoserve.fetcher.tracing import trace_groups, trace_joins
from chronoserve.model import naming
from chronoserve.model.confs import Join
from chronoserve.model.errors import FailedPrecondition, KVError, UnknownDataset
from chronoserve.model.features import FeatureRequest, FeatureRow

__all__ = ["Fetcher", "GroupBySchema", "JoinSchema", "Names", "ValueInfo"]

ABSENT_STREAM_MILLIS = 1_000
"""A streaming dataset that was unknown is asked for again after this long; asking costs the store a question each time."""
ABSENT_STREAMS_MAX = 10_000

LOG_FAILED = "RESPONSE_LOG"
"""Counted among the failures of joins: a row that could not be encoded for the response log."""

Answers = list[bytes | KVError]


class Fetcher:
    """Features of joins and group bys from what the store holds. One instance a process; safe for concurrent use on one loop."""

    def __init__(
        self,
        reads: Reads,
        *,
        clock: Clock,
        registry: ExternalRegistry | None = None,
        log: ResponseLog | None = None,
        flags: FlagStore | None = None,
        settings: FetchSettings | None = None,
        metrics: FetchMetrics | None = None,
        models: ModelBackend | None = None,
        lists: Lists | None = None,
    ) -> None:
        """``lists``: for listing confs, and for knowing which datasets there are; without it every stream is read."""
        self.settings = settings or FetchSettings()
        self.metrics = metrics or FetchMetrics()
        self.registry = registry or ExternalRegistry()
        self._reads = reads
        self._clock = clock
        self._log = log
        self._models = models
        self._lists = lists
        cache_bytes = self.settings.batch_ir_cache_bytes
        cache = BatchCache(cache_bytes, self.settings.batch_ir_ttl_millis, clock, self.metrics.cache("batch_ir")) if cache_bytes else None
        self.metadata = Metadata(reads, clock, self.settings)
        self._plans = Plans(self.metadata, self.settings, flags, self.metrics, cache)
        policies = {self.settings.failed_reads, *self.settings.failed_reads_of.values()}
        self._last_good = LastGood(self.settings.last_good_bytes) if FailedReadPolicy.LAST_GOOD in policies else None
        self._absent: dict[str, int] = {}

    async def fetch_joins(
        self,
        requests: Sequence[FeatureRequest],
        *,
        deadline: float,
        trace: Trace | None = None,
        conf: Join | None = None,
        reads: Reads | None = None,
        structured: bool = False,
        with_base: bool = False,
    ) -> list[FeatureRow]:
        """One row for each request, in order. ``deadline``: absolute, of the running loop's clock.

        ``conf``: use this join for every request, whatever its name, in place of the one that was uploaded. ``reads``: read the
        data of this call through this (a policy that tells callers apart); metadata is read with the fetcher's own.
        ``structured``: structs by field name (spec/online-fetch.md §14). ``with_base``: features also hold those from before the
        derivations, as rows of the response log do (§16.1); they have no types.

        Raises:
            KVError: no row could be attempted (the store is overloaded or away, the deadline has passed).
        """
        call = Call(self.metrics.joins, [request.name for request in requests])
        try:
            made = await self._fetch_joins(call, requests, deadline, trace=trace, conf=conf, reads=reads or self._reads)
        except KVError as error:
            self.metrics.joins.failures[error.reason] += 1
            raise
        rows = [each.row for each in made]
        if with_base:
            for each in made:
                if each.row.features is not None:
                    each.row.features = {**each.base, **each.row.features}
        if structured:
            rows = [structured_row(row) for row in rows]
        self.metrics.finish(call, rows)
        return rows

    async def _fetch_joins(
        self, call: Call, requests: Sequence[FeatureRequest], deadline: float, *, trace: Trace | None, conf: Join | None, reads: Reads
    ) -> list[Made]:
        began = self._clock()
        plans = await self._join_plans(call.names, conf, began, deadline)
        asks, external = Asks(), ExternalAsks()
        asked: list[list[PartAsk]] = []
        places: list[list[Place | None]] = []
        for request, plan in zip(requests, plans, strict=True):
            if isinstance(plan, KVError) or plan.invalid is not None:
                asked.append([])
                places.append([])
            else:
                asked.append(part_asks(plan, request.keys, asks, self._streams))
                places.append([external.add(part, request.keys) for part in plan.parts.externals])
        call.lap(Phase.METADATA)
        answers = await self._answers(asks, external, reads, deadline, call)
        resolver = self._resolver(asks, answers, call)
        now = self._clock()
        made: list[Made] = []
        for at, (request, plan) in enumerate(zip(requests, plans, strict=True)):
            if isinstance(plan, KVError) or plan.invalid is not None:
                made.append(Made(unplanned_row(plan, request), {}))
            else:
                made.append(join_row(plan, request, asked[at], resolver=resolver, external=answers_of(places[at]), now=now))
            call.lap(Phase.DERIVE)
        if any(plan.conf.model_transforms is not None for plan in plans if isinstance(plan, JoinPlan)):
            await run_models(self._models, plans, made, attempts=self.settings.model_attempts, deadline=deadline)
            call.lap(Phase.EXTERNAL)
        if self._log is not None:
            self._write_log(self._log, requests, plans, made, began, fresh=conf is not None)
        if trace is not None:
            trace_joins(trace, call, plans, asked, made, reads=asks.reads, answers=answers)
        return made

    async def fetch_group_bys(
        self,
        requests: Sequence[FeatureRequest],
        *,
        deadline: float,
        trace: Trace | None = None,
        reads: Reads | None = None,
        structured: bool = False,
    ) -> list[FeatureRow]:
        """The same for group bys."""
        call = Call(self.metrics.group_bys, [request.name for request in requests])
        try:
            rows = await self._fetch_group_bys(call, requests, deadline, trace=trace, reads=reads or self._reads)
        except KVError as error:
            self.metrics.group_bys.failures[error.reason] += 1
            raise
        if structured:
            rows = [structured_row(row) for row in rows]
        self.metrics.finish(call, rows)
        return rows

    async def _fetch_group_bys(
        self, call: Call, requests: Sequence[FeatureRequest], deadline: float, *, trace: Trace | None, reads: Reads
    ) -> list[FeatureRow]:
        now = self._clock()
        found = await self._plans.group_bys(dict.fromkeys(call.names), now, deadline=deadline)
        plans = [found[name] for name in call.names]
        asks = Asks()
        asked = [self._group_ask(plan, request, asks) for plan, request in zip(plans, requests, strict=True)]
        call.lap(Phase.METADATA)
        answers = await self._answers(asks, ExternalAsks(), reads, deadline, call)
        resolver = self._resolver(asks, answers, call)
        now = self._clock()
        rows: list[FeatureRow] = []
        for request, plan, ask in zip(requests, plans, asked, strict=True):
            rows.append(group_row(plan, request, ask, resolver, now))
            call.lap(Phase.DERIVE)
        if trace is not None:
            trace_groups(trace, call, plans, asked, rows, reads=asks.reads, answers=answers)
        return rows

    # stages

    async def _join_plans(self, names: Sequence[str], conf: Join | None, now: int, deadline: float) -> list[JoinPlan | KVError]:
        if conf is not None:
            return [await self._plans.of_conf(conf, deadline=deadline)] * len(names)
        found = await self._plans.joins(dict.fromkeys(names), now, deadline=deadline)
        return [found[name] for name in names]

    def _group_ask(self, plan: GroupByPlan | KVError, request: FeatureRequest, asks: Asks) -> Ask | KVError | None:
        if isinstance(plan, KVError):
            return plan
        served = plan.served
        stream = served.sawtooth is not None and self._streams(served.streaming_dataset)
        return ask_of(plan, request.keys, asks, stream=stream)

    def _streams(self, dataset: str) -> bool:
        """Whether a streaming dataset is worth a read: not where it was unknown a moment ago and still is to this process."""
        until = self._absent.get(dataset)
        if until is None:
            return True
        if self._lists is None or self._lists.knows(dataset) or not 0 <= until - self._clock() <= ABSENT_STREAM_MILLIS:
            del self._absent[dataset]
            return True
        return False

    async def _answers(self, asks: Asks, external: ExternalAsks, reads: Reads, deadline: float, call: Call) -> Answers:
        """Everything that the call has asked for, external sources meanwhile. Raises KVError where no read could be attempted."""
        if not external:
            answers = await self._read(asks, reads, deadline)
            call.lap(Phase.STORE)
            return answers
        fetching = asyncio.ensure_future(external.fetch(self.registry, deadline=deadline))
        try:
            answers = await self._read(asks, reads, deadline)
            call.lap(Phase.STORE)
            await fetching
        except BaseException:
            fetching.cancel()
            await asyncio.wait([fetching])
            raise
        call.lap(Phase.EXTERNAL)
        return answers

    async def _read(self, asks: Asks, reads: Reads, deadline: float) -> Answers:
        answers: Answers = []
        size = self.settings.reads_per_call_max
        for at in range(0, len(asks.reads), size):
            answers += await reads.multi_get(asks.reads[at : at + size] if len(asks.reads) > size else asks.reads, deadline=deadline)
        for read, answer in zip(asks.reads, answers, strict=True):
            if isinstance(answer, bytes):
                if self._last_good is not None:
                    self._last_good.put(read, answer)
            elif isinstance(answer, UnknownDataset) and read.after_ts_millis:
                self._remember_absent(read.dataset)
        return answers

    def _remember_absent(self, dataset: str) -> None:
        if len(self._absent) >= ABSENT_STREAMS_MAX:
            self._absent.clear()
        self._absent[dataset] = self._clock() + ABSENT_STREAM_MILLIS

    def _resolver(self, asks: Asks, answers: Answers, call: Call) -> Resolver:
        return Resolver(
            asks.reads,
            answers,
            self.settings,
            call,
            repeated=asks.repeated,
            last_good=self._last_good,
            newer_batch=self._plans.newer_batch,
        )

    def _write_log(
        self,
        log: ResponseLog,
        requests: Sequence[FeatureRequest],
        plans: Sequence[JoinPlan | KVError],
        made: Sequence[Made],
        began: int,
        *,
        fresh: bool,
    ) -> None:
        for request, plan, each in zip(requests, plans, made, strict=True):
            if isinstance(plan, JoinPlan) and plan.log is not None:
                if not plan.published or fresh:
                    plan.published = True
                    publish(log, plan.log, began)
                if (
                    plan.log.threshold is not None
                    and each.loggable
                    and not write_log(log, plan.log, request, each.row, base=each.base, began=began, every=self.settings.debug)
                ):
                    self.metrics.joins.failures[LOG_FAILED] += 1

    # what can be asked

    async def join_schema(self, name: str, *, deadline: float) -> JoinSchema:
        """Raises UnknownConf, or what keeps the join's codec from being built."""
        found = await self._plans.joins([name], self._clock(), deadline=deadline)
        return join_schema(found[name])

    async def group_by_schema(self, name: str, *, deadline: float) -> GroupBySchema:
        """Raises UnknownConf where no serving info was uploaded, or what keeps a derivation from being compiled."""
        (served,) = await self.metadata.served.get([naming.batch_dataset(name)], deadline=deadline)
        return group_by_schema(served)

    async def list_joins(self, *, page_size: int = 0, token: bytes = b"", deadline: float) -> Names:
        """Joins whose conf is in ZIPLINE_METADATA, as ``team/join.v1``, a page at a time in the store's order."""
        return await list_joins(self._listed(), page_size=page_size, token=token, deadline=deadline)

    async def list_group_bys(self, *, page_size: int = 0, token: bytes = b"", deadline: float) -> Names:
        """Group bys whose serving info is in the store, by their names, a page at a time, in the order of their datasets."""
        return await list_group_bys(self._listed(), self.metadata, page_size=page_size, token=token, deadline=deadline)

    def _listed(self) -> Lists:
        if self._lists is None:
            raise FailedPrecondition("this fetcher was built without a way to list datasets: give it lists=gateway")
        return self._lists

    async def close(self) -> None:
        """End the reloads under way."""
        await self.metadata.close()

"""The use cases of fetching features: who may, how much in a call, and each row its own answer.

Between the faces (gRPC, HTTP) and the fetcher. It knows no protobuf, no JSON and no store.
"""

import asyncio
import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from chronoserve.fetcher.fetch import Fetcher, GroupBySchema, JoinSchema, Names
from chronoserve.fetcher.observe import KindMetrics
from chronoserve.fetcher.trace import Trace
from chronoserve.model import naming
from chronoserve.model.errors import DeadlinePassed, InvalidRequest, KVError, PermissionDenied
from chronoserve.model.features import FeatureRequest, FeatureRow, RowStatus
from chronoserve.service.access import Caller, Verb
from chronoserve.service.avro_rows import AvroRows, Written

ROWS_AT_ONCE = 256
"""Rows of a larger call are fetched so many at a time, and others get their turn in between: a heavy row is a millisecond."""
NAME_CHARACTERS_MAX = 200
"""A longer name is not repeated in an error."""
PAGE_NAMES_MAX = 10_000


class Target(enum.Enum):
    """What the name of a request names."""

    JOINS = "join"
    GROUP_BYS = "group by"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLimits:
    """Bounds of a call (spec/product.md §6)."""

    rows_per_call_max: int = 10_000
    keys_per_row_max: int = 1_000


Fetch = Callable[..., Awaitable[list[FeatureRow]]]
Asked = FeatureRequest | KVError
"""A request as a face has read it, or why it could not be read."""


class Features:
    """Fetches features on behalf of a caller."""

    def __init__(self, fetcher: Fetcher, limits: FeatureLimits) -> None:
        self.fetcher = fetcher
        self.limits = limits
        self._avro = AvroRows()

    async def fetch(
        self,
        target: Target,
        requests: Sequence[Asked],
        *,
        deadline: float,
        caller: Caller | None = None,
        trace: Trace | None = None,
        with_base: bool = False,
    ) -> list[FeatureRow]:
        """One row for each request, in order. What is wrong with one request is that row's error and nobody else's.

        ``with_base``: of joins also the features from before their derivations, which ``avro`` needs.

        Raises:
            InvalidRequest: more rows than a call may have.
            KVError: no row could be attempted: overload, or the deadline has passed.
        """
        self.check_rows(len(requests))
        judged = [self._judge(request, caller) for request in requests]
        if caller is not None:
            judged = await self._judge_parts(target, judged, deadline, caller)
        good = [request for request in judged if isinstance(request, FeatureRequest)]
        rows = iter(await self._fetch(self._fetcher_of(target, trace, with_base=with_base), good, deadline) if good else ())
        return [next(rows) if isinstance(request, FeatureRequest) else request for request in judged]

    def check_rows(self, rows: int) -> None:
        """Raises InvalidRequest where a call has more rows than it may; a face asks before it reads any of them."""
        if rows > self.limits.rows_per_call_max:
            raise InvalidRequest(
                f"a call has at most {self.limits.rows_per_call_max} rows, got {rows}; send several calls", field="requests"
            )

    def _fetcher_of(self, target: Target, trace: Trace | None, *, with_base: bool) -> Fetch:
        if target is Target.JOINS:
            return partial(self.fetcher.fetch_joins, trace=trace, with_base=with_base)
        return partial(self.fetcher.fetch_group_bys, trace=trace)

    async def _fetch(self, fetch: Fetch, requests: list[FeatureRequest], deadline: float) -> list[FeatureRow]:
        if len(requests) <= ROWS_AT_ONCE:
            return await fetch(requests, deadline=deadline)
        rows: list[FeatureRow] = []
        loop = asyncio.get_running_loop()
        for at in range(0, len(requests), ROWS_AT_ONCE):
            if loop.time() >= deadline:
                raise DeadlinePassed(f"time ran out after {len(rows)} of {len(requests)} rows; ask for fewer rows in a call")
            rows += await fetch(requests[at : at + ROWS_AT_ONCE], deadline=deadline)
            await asyncio.sleep(0)
        return rows

    def _judge(self, request: Asked, caller: Caller | None) -> FeatureRequest | FeatureRow:
        """The request where it may be fetched, else its row."""
        if isinstance(request, KVError):
            return failed(request)
        if not request.name:
            return failed(InvalidRequest("the request has no name", field="name"), request)
        if len(request.keys) > self.limits.keys_per_row_max:
            wrong = InvalidRequest(f"a row has at most {self.limits.keys_per_row_max} keys, got {len(request.keys)}", field="keys")
            return failed(wrong, request)
        if caller is not None and not caller.may(Verb.FETCH, request.name):
            return failed(_denied(request.name), request)
        return request

    async def _judge_parts(
        self, target: Target, judged: list[FeatureRequest | FeatureRow], deadline: float, caller: Caller
    ) -> list[FeatureRequest | FeatureRow]:
        """Refuses the requests for which the caller lacks something beyond the name that was asked for."""
        names = list(dict.fromkeys(request.name for request in judged if isinstance(request, FeatureRequest)))
        lacking = await self._lacking(target, names, deadline, caller)
        return [
            failed(_denied(request.name), request) if isinstance(request, FeatureRequest) and request.name in lacking else request
            for request in judged
        ]

    async def _lacking(self, target: Target, names: Sequence[str], deadline: float, caller: Caller) -> set[str]:
        """The names of which the caller may not fetch every group by: a join needs each of its parts."""
        if target is Target.JOINS:
            joins = await self.fetcher.metadata.joins.get(names, deadline=deadline)
            parts = [() if isinstance(join, KVError) else tuple(part.group_by.meta_data.name for part in join.join_parts) for join in joins]
        else:
            parts = [(name,) for name in names]
        every = list(dict.fromkeys(chain.from_iterable(parts)))
        own = await self._own_names(every, deadline)
        denied = {name for name, its_own in zip(every, own, strict=True) if not caller.may(Verb.FETCH, its_own)}
        return {name for name, found in zip(names, parts, strict=True) if not denied.isdisjoint(found)}

    async def _own_names(self, names: Sequence[str], deadline: float) -> list[str]:
        """Group bys as they were uploaded; of what was not, the name asked for.

        One answers to every name that sanitises as its own does: who may not fetch it by its own may not by another.
        """
        found = await self.fetcher.metadata.served.get([naming.batch_dataset(name) for name in names], deadline=deadline)
        return [name if isinstance(served, KVError) else served.name for name, served in zip(names, found, strict=True)]

    def metrics(self, target: Target) -> KindMetrics:
        """The running totals of the fetches of this kind."""
        metrics = self.fetcher.metrics
        return metrics.joins if target is Target.JOINS else metrics.group_bys

    async def avro(self, target: Target, names: Sequence[str], rows: Sequence[FeatureRow], *, deadline: float) -> list[Written]:
        """The values of rows by the value schemas of their joins or group bys, ``names``: one for each row, in order.

        Those of joins have to be fetched ``with_base``: then the bytes are those that the response log has.
        """
        schema = self.fetcher.join_schema if target is Target.JOINS else self.fetcher.group_by_schema
        return await self._avro.write(lambda asked: schema(asked, deadline=deadline), names, rows)

    async def join_schema(self, name: str, *, deadline: float, caller: Caller | None = None) -> JoinSchema:
        """Raises UnknownConf, PermissionDenied, or what keeps the join from being served."""
        await self._authorize(Target.JOINS, name, deadline, caller)
        return await self.fetcher.join_schema(name, deadline=deadline)

    async def group_by_schema(self, name: str, *, deadline: float, caller: Caller | None = None) -> GroupBySchema:
        """Raises UnknownConf or PermissionDenied."""
        await self._authorize(Target.GROUP_BYS, name, deadline, caller)
        return await self.fetcher.group_by_schema(name, deadline=deadline)

    async def _authorize(self, target: Target, name: str, deadline: float, caller: Caller | None) -> None:
        if caller is not None and (not caller.may(Verb.FETCH, name) or await self._lacking(target, [name], deadline, caller)):
            raise _denied(name)

    async def names(self, target: Target, *, page_size: int, token: bytes, deadline: float, caller: Caller | None = None) -> Names:
        """A page of what is online and the caller may fetch; such a page may be short, or empty, before the last one.

        Raises:
            InvalidRequest: ``page_size`` or ``token``.
        """
        if not 0 <= page_size <= PAGE_NAMES_MAX:
            raise InvalidRequest(f"page_size is between 0 and {PAGE_NAMES_MAX}", field="page_size")
        listed = self.fetcher.list_joins if target is Target.JOINS else self.fetcher.list_group_bys
        page = await listed(page_size=page_size, token=token, deadline=deadline)
        if caller is None:
            return page
        return Names(tuple(name for name in page.names if caller.may(Verb.FETCH, name)), page.next_token)

    async def all_names(self, target: Target, *, deadline: float, caller: Caller | None = None) -> list[str]:
        """Every page of ``names``."""
        found: list[str] = []
        token = b""
        while True:
            page = await self.names(target, page_size=0, token=token, deadline=deadline, caller=caller)
            found += page.names
            token = page.next_token
            if not token:
                return found


def failed(error: KVError, request: FeatureRequest | None = None) -> FeatureRow:
    """The row of a request that could not be attempted."""
    return FeatureRow(RowStatus.ERROR, None, {}, request.keys if request else {}, error)


def _denied(name: str) -> PermissionDenied:
    shown = name if len(name) <= NAME_CHARACTERS_MAX and name.isprintable() else "this"
    return PermissionDenied(f"the policy does not allow this identity to fetch {shown}, or a group by of it")

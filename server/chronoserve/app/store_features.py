"""The Python client's methods for features over a fetcher of this process; ``StoreClient`` has them beside those for bytes."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import chronoserve_client
from chronoserve.app.compose import Composed
from chronoserve.fetcher.trace import Trace, TracedRead
from chronoserve.model import features as model
from chronoserve.model.boxed import as_json_reads
from chronoserve.model.errors import KVError
from chronoserve.service.avro_rows import hash_of
from chronoserve.service.features import Features, Target
from chronoserve_client import (
    ChronoserveError,
    Explained,
    ExplainedRead,
    FeatureRow,
    Fetch,
    Freshness,
    GroupBySchema,
    JoinSchema,
    RowStatus,
    ValueInfo,
)


class StoreFeatures:
    """Fetches as ``chronoserve_client.AsyncClient`` does; its docstrings hold here too. Every call has ``seconds`` in all."""

    def __init__(self, composed: Composed, *, seconds: float) -> None:
        self._composed = composed
        self._features: Features = composed.features
        self._seconds = seconds

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._seconds

    async def fetch_joins(self, requests: Iterable[Fetch], *, freshness: bool = False) -> list[FeatureRow]:
        return await self._fetch(Target.JOINS, requests, freshness=freshness)

    async def fetch_group_bys(self, requests: Iterable[Fetch], *, freshness: bool = False) -> list[FeatureRow]:
        return await self._fetch(Target.GROUP_BYS, requests, freshness=freshness)

    async def _fetch(self, target: Target, requests: Iterable[Fetch], *, freshness: bool, trace: Trace | None = None) -> list[FeatureRow]:
        wanted = [asked(request) for request in requests]
        fetch = self._features.fetcher.fetch_joins if target is Target.JOINS else self._features.fetcher.fetch_group_bys
        with errors_of_the_client():
            rows = await fetch(wanted, deadline=self._deadline(), trace=trace, structured=True)
        return [client_row(row, freshness=freshness) for row in rows]

    async def join_schema(self, name: str) -> JoinSchema:
        with errors_of_the_client():
            found = await self._features.join_schema(name, deadline=self._deadline())
        infos = tuple(ValueInfo(info.name, info.group, info.prefix, tuple(info.left_keys), info.type) for info in found.value_infos)
        return JoinSchema(found.name, found.key_schema, found.value_schema, found.schema_hash, infos)

    async def group_by_schema(self, name: str) -> GroupBySchema:
        with errors_of_the_client():
            found = await self._features.group_by_schema(name, deadline=self._deadline())
        return GroupBySchema(
            name=found.name,
            key_schema=found.key_schema,
            value_schema=found.value_schema,
            schema_hash=hash_of(found),
            input_schema=found.input_schema or "",
            selected_schema=found.selected_schema or "",
            batch_end=found.batch_end_millis,
        )

    async def list_joins(self) -> AsyncIterator[str]:
        with errors_of_the_client():
            names = await self._features.all_names(Target.JOINS, deadline=self._deadline())
        for name in names:
            yield name

    async def list_group_bys(self) -> AsyncIterator[str]:
        with errors_of_the_client():
            names = await self._features.all_names(Target.GROUP_BYS, deadline=self._deadline())
        for name in names:
            yield name

    async def explain_join(self, name: str, keys: Mapping[str, object], at: int | None = None) -> Explained:
        return await self._explain(Target.JOINS, Fetch(name, keys, at))

    async def explain_group_by(self, name: str, keys: Mapping[str, object], at: int | None = None) -> Explained:
        return await self._explain(Target.GROUP_BYS, Fetch(name, keys, at))

    async def _explain(self, target: Target, request: Fetch) -> Explained:
        trace = Trace()
        (row,) = await self._fetch(target, [request], freshness=True, trace=trace)
        phases = {phase.name.lower(): timedelta(seconds=seconds) for phase, seconds in trace.seconds.items()}
        return Explained(row, tuple(map(_read, trace.reads)), phases, trace.feature_parts)


def twin(error: KVError) -> ChronoserveError:
    """The client's error of the same name: the two trees have the same classes."""
    kind: type[ChronoserveError] = getattr(chronoserve_client, type(error).__name__)
    return kind(error.message, retry_after=error.retry_after, field=getattr(error, "field", ""))


@contextmanager
def errors_of_the_client() -> Iterator[None]:
    try:
        yield
    except KVError as error:
        raise twin(error) from error


def asked(request: Fetch) -> model.FeatureRequest:
    """Integers in the boxes that a server gives them."""
    keys = {name: as_json_reads(key) if type(key) is int else key for name, key in request.keys.items()}
    return model.FeatureRequest(request.name, keys, request.at)


def client_row(row: model.FeatureRow, *, freshness: bool) -> FeatureRow:
    """An answer of the fetcher as the client has it."""
    return FeatureRow(
        status=RowStatus(row.status),
        features=row.features or {},
        error=None if row.error is None else twin(row.error),
        part_errors={stem: twin(error) for stem, error in row.part_errors.items()},
        freshness={part: _fresh(found) for part, found in row.freshness.items()} if freshness else {},
    )


def _fresh(found: model.Freshness) -> Freshness:
    return Freshness(found.batch_end_millis, found.stream_millis)


def _read(traced: TracedRead) -> ExplainedRead:
    return ExplainedRead(
        part=traced.part,
        dataset=traced.read.dataset,
        key=traced.read.key_bytes,
        after=traced.read.after_ts_millis or None,
        values=traced.values,
        newest=traced.newest_millis,
        freshness=None,
        error=None if traced.error is None else twin(traced.error),
        cached=traced.cached,
    )

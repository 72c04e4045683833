"""A world in this process: the memory store, the gateway and the fetcher, with nothing between them and the replay."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from chronoserve.app.compose import clock, compose
from chronoserve.app.replay.faces import Answers, RecordedPut, Response, Tagged
from chronoserve.app.replay.handlers import recorded_registry
from chronoserve.app.settings import LimitSettings, Settings, StoreSettings, load
from chronoserve.codec.tagged import tag
from chronoserve.fetcher.chronon import chronon_features
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.fetcher.response_log import LoggedResponse
from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRequest, FeatureRow
from chronoserve.service.gateway import Gateway, NamedPut

CALL_SECONDS = 60.0
YEARS_AHEAD_MILLIS = 100 * 366 * 86_400_000
"""Recordings may have been made on a clock that was ahead of ours."""
SETTINGS = Settings(
    stores={"default": StoreSettings("memory://")},
    create_on_put=True,
    layers=False,
    http=None,
    limits=LimitSettings(skew_ahead_millis_max=YEARS_AHEAD_MILLIS, keys_per_call_max=1_000_000, message_bytes_max=64 << 20),
)


class KeptLog:
    """A response log that keeps what it gets until it is taken."""

    def __init__(self) -> None:
        self._kept: list[LoggedResponse] = []

    def offer(self, response: LoggedResponse) -> None:
        self._kept.append(response)

    def take(self) -> list[LoggedResponse]:
        taken, self._kept = self._kept, []
        return taken


class FetcherAnswers:
    """Asks a fetcher of this process."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher

    @classmethod
    @asynccontextmanager
    async def on(cls, store: str) -> "AsyncIterator[FetcherAnswers]":
        """One on a store's URL. Raises KVError where the store cannot be opened."""
        composed = await compose(load(None, {"stores": {"default": {"url": store}}}))
        try:
            yield cls(composed.features.fetcher)
        finally:
            await composed.close()

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        """As ``Face.fetch``; everything is known here, so that no guide is needed."""
        fetch = self.fetcher.fetch_joins if api == "fetchJoin" else self.fetcher.fetch_group_bys
        try:
            rows = await fetch(requests, deadline=_deadline())
        except KVError as error:
            return Answers(call_error=error_record(error))
        return Answers([response_record(request, row) for request, row in zip(requests, rows, strict=True)])


class MemoryFace:
    """A ``Face`` on a store of its own. Its clock stands still, so that nothing it has cached grows old during the replay:
    the JVM reloads metadata 8 seconds after it was asked to, and no recording takes that long.
    """

    def __init__(self, gateway: Gateway) -> None:
        now = clock()
        self._gateway = gateway
        self._log = KeptLog()
        fetcher = Fetcher(gateway, clock=lambda: now, registry=recorded_registry(), log=self._log, lists=gateway)
        self._answers = FetcherAnswers(fetcher)

    @classmethod
    async def open(cls) -> "MemoryFace":
        return cls((await compose(SETTINGS)).gateway)

    async def close(self) -> None:
        await self._gateway.router.close()

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        results = await self._gateway.multi_put([NamedPut(*put) for put in puts], deadline=_deadline())
        for error in filter(None, results):
            raise error

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        return replace(await self._answers.fetch(api, requests, guide), log=self._log.take())


def response_record(request: FeatureRequest, row: FeatureRow) -> Response:
    """One answer in the form of the recording; ``status`` is ours. A row whose parts say why it failed has them as entries."""
    found: Response = {
        "name": request.name,
        "keys": {name: tag(value, None) for name, value in row.keys.items()},
        "at_millis": request.at_millis,
    }
    if row.error is not None and not row.part_errors:
        return {**found, "status": row.status.name, "error": error_record(row.error)}
    features = chronon_features(row)
    return {**found, "status": row.status.name, "values": None if features is None else _tagged(features, row)}


def _tagged(features: Mapping[str, object], row: FeatureRow) -> dict[str, Tagged]:
    return {name: tag(value, row.types.get(name)) for name, value in features.items()}


def error_record(error: KVError) -> dict[str, str]:
    """In the recording's members; ours has one class and one message."""
    return {"class": error.reason, "message": error.message}


def _deadline() -> float:
    return asyncio.get_running_loop().time() + CALL_SECONDS

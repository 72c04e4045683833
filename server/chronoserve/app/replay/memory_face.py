"""A world in this process: the memory store, the gateway and the fetcher, with nothing between them and the replay."""

import asyncio
from collections.abc import Mapping, Sequence

from chronoserve.app.compose import clock, compose
from chronoserve.app.replay.faces import Answers, RecordedPut, Tagged
from chronoserve.app.replay.handlers import recorded_registry
from chronoserve.app.settings import LimitSettings, Settings, StoreSettings
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
    limits=LimitSettings(skew_ahead_millis_max=YEARS_AHEAD_MILLIS, keys_per_call_max=1_000_000),
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


class MemoryFace:
    """A ``Face`` on a store of its own. Its clock stands still, so that nothing it has cached grows old during the replay:
    the JVM reloads metadata 8 seconds after it was asked to, and no recording takes that long.
    """

    def __init__(self, gateway: Gateway) -> None:
        now = clock()
        self._gateway = gateway
        self._log = KeptLog()
        self.fetcher = Fetcher(gateway, clock=lambda: now, registry=recorded_registry(), log=self._log, lists=gateway)

    @classmethod
    async def open(cls) -> "MemoryFace":
        return cls((await compose(SETTINGS)).gateway)

    async def close(self) -> None:
        await self._gateway.router.close()

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        results = await self._gateway.multi_put([NamedPut(*put) for put in puts], deadline=_deadline())
        for error in filter(None, results):
            raise error

    async def fetch(self, api: str, requests: Sequence[FeatureRequest]) -> Answers:
        fetch = self.fetcher.fetch_joins if api == "fetchJoin" else self.fetcher.fetch_group_bys
        try:
            rows = await fetch(requests, deadline=_deadline())
        except KVError as error:
            return Answers(call_error=error_record(error), log=self._log.take())
        responses = [response_record(request, row) for request, row in zip(requests, rows, strict=True)]
        return Answers(responses, log=self._log.take())

    def told(self, expected: dict[str, Tagged]) -> dict[str, Tagged]:
        return expected


def response_record(request: FeatureRequest, row: FeatureRow) -> dict[str, Tagged]:
    """One answer in the form of the recording; ``status`` is ours."""
    found: dict[str, Tagged] = {
        "name": request.name,
        "keys": {name: tag(value, None) for name, value in row.keys.items()},
        "at_millis": request.at_millis,
    }
    if row.error is not None:
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

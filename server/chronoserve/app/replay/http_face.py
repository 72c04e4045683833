"""A world through a server's HTTP face: puts by MultiPut, then Chronon's own routes and JSON."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from chronoserve.app.connection import Server
from chronoserve.app.replay.faces import Answers, CannotAsk, RecordedPut, Response, check_boxes
from chronoserve.app.replay.json_shape import features_as_recorded, from_tagged
from chronoserve.app.replay.server import ReplayServer, ReplayTarget, RunningServer
from chronoserve.codec.avro import type_of
from chronoserve.codec.tagged import tag
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.features import FeatureRequest
from chronoserve.model.types import StructType

ROUTES = {"fetchJoin": "join", "fetchGroupBys": "groupby"}
OK = 200
TIMEOUT_MILLIS = "30000"
"""A replay has time: what is compared is what is answered, not how soon."""


class FeatureService:
    """Chronon's feature service, or one that speaks as it does."""

    def __init__(self, url: str, session: aiohttp.ClientSession, parameters: Mapping[str, str] | None = None) -> None:
        """``parameters`` of every call, beyond those that Chronon's service knows."""
        self._url = url.rstrip("/")
        self._session = session
        self._parameters = parameters or {}
        self._key_types: dict[tuple[str, str], StructType | None] = {}

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        """As ``Face.fetch``: one POST for each run of requests of one name and time, as the routes want it."""
        for request in requests:
            check_boxes(request, await self._key_type(api, request.name))
        responses: list[Response] = []
        for (name, at_millis), run in groupby(requests, key=lambda request: (request.name, request.at_millis)):
            asked = list(run)
            found = await self._post(api, name, at_millis, [_json_keys(request) for request in asked])
            if isinstance(found, str):
                return Answers(call_error={"class": "HTTP", "message": found})
            guides = guide[len(responses) : len(responses) + len(asked)]
            responses += [_response(*each) for each in zip(asked, found, guides, strict=True)]
        return Answers(responses)

    def forget_schemas(self) -> None:
        """Ask for schemas again: confs may have changed."""
        self._key_types.clear()

    async def _key_type(self, api: str, name: str) -> StructType | None:
        """What the service says of the keys; None where it has no schema, or no such route: Chronon's has none."""
        key = api, name
        if key not in self._key_types:
            async with self._session.get(f"{self._url}/v1/{ROUTES[api]}/{quote(name, safe='')}/schema") as reply:
                body = await reply.read()
                self._key_types[key] = type_of(msgspec.json.decode(body)["keySchema"]) if reply.status == OK else None
        return self._key_types[key]

    async def _post(self, api: str, name: str, at_millis: int | None, keys: list[Any]) -> list[dict[str, Any]] | str:
        """The results, or why there are none for each."""
        url = f"{self._url}/v1/features/{ROUTES[api]}/{quote(name, safe='')}"
        parameters = {**self._parameters} if at_millis is None else {**self._parameters, "at_millis": str(at_millis)}
        async with self._session.post(url, data=msgspec.json.encode(keys), params=parameters) as reply:
            body = await reply.read()
            if reply.status != OK:
                return f"{reply.status}: {body[:500].decode(errors='replace')}"
        results: list[dict[str, Any]] = msgspec.json.decode(body)["results"]
        return results if len(results) == len(keys) else f"{len(results)} results for {len(keys)} key maps"


class HttpFace:
    """A ``Face``."""

    def __init__(self, target: ReplayTarget, url: str) -> None:
        self._target = target
        self._session = aiohttp.ClientSession()
        self._service = FeatureService(url, self._session, {"timeout_millis": TIMEOUT_MILLIS})

    @classmethod
    async def open(cls) -> "HttpFace":
        """On a server of its own."""
        target = await ReplayServer.start()
        return cls(target, target.http_url)

    @classmethod
    async def at(cls, server: Server, url: str) -> "HttpFace":
        """On a running server, whose HTTP port is at ``url``."""
        return cls(RunningServer(server), url)

    async def close(self) -> None:
        await self._session.close()
        await self._target.stop()

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        self._service.forget_schemas()
        await self._target.put(puts)

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        return await self._service.fetch(api, requests, guide)


def _json_keys(request: FeatureRequest) -> dict[str, Any]:
    """Raises CannotAsk."""
    try:
        return {name: from_tagged(tag(value)) for name, value in request.keys.items()}
    except (ValueError, InvalidRequest) as wrong:
        raise CannotAsk(f"{request.name}: {wrong}") from wrong


def _response(request: FeatureRequest, found: Mapping[str, Any], guide: Response | None) -> Response:
    """One of ``results`` in the form of the recording."""
    recorded = guide or {}
    keys = features_as_recorded(found["entityKeys"], recorded.get("keys"))
    response: Response = {"name": request.name, "keys": keys, "at_millis": request.at_millis, "status": found["status"]}
    if "error" in found:
        return {**response, "error": {"class": found["status"], "message": found["error"]}}
    if "features" not in found:
        return {**response, "values": None}
    return {**response, "values": features_as_recorded(found["features"], recorded.get("values"))}

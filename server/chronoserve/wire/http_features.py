"""The HTTP/JSON face of the fetcher: Chronon's feature service route for route, and what its fork and we have beyond it.

======  ====================================  ===========================================================================
POST    /v1/features/join/{name}              Chronon's, with the fork's name /v1/fetch/join/{name}
POST    /v1/features/groupby/{name}           Chronon's, with the fork's name /v1/fetch/groupby/{name}
POST    /v2/fetch/join/{name}                 the fork's: values as Base64 Avro, errors by name beside them
GET     /v1/joins                             the fork's: names of the joins that are online
GET     /v1/groupbys                          ours: the same of group bys
GET     /v1/join/{name}/schema                the fork's
GET     /v1/groupby/{name}/schema             the fork's
======  ====================================  ===========================================================================

Beyond Chronon: ``?at_millis=`` answers as of that time, ``?timeout_millis=`` is the call's deadline, and every request has its
result, in its place.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

import msgspec
import structlog
from aiohttp import web

from chronoserve.model import errors
from chronoserve.model.boxed import as_json_reads
from chronoserve.model.errors import Internal, InvalidRequest, KVError
from chronoserve.model.features import FeatureRequest, FeatureRow
from chronoserve.service.access import Caller
from chronoserve.service.features import Asked, Features, Target
from chronoserve.wire.feature_json import RowJson, avro_result
from chronoserve.wire.feature_requests import MILLIS_MAX
from chronoserve.wire.seam import MethodMetrics, Seam
from chronoserve.wire.status import CODES

log = structlog.get_logger("chronoserve.http")

Handler = Callable[[web.Request, float, Caller | None], Awaitable[Any]]
"""Answers what becomes the reply's JSON. ``float``: the call's absolute deadline."""

STATUSES: dict[type[KVError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.Unsupported: 501,
    errors.Throttled: 429,
    errors.Unavailable: 503,
    errors.DeadlinePassed: 504,
}
"""All other errors are 500, as every failed call is Chronon's; an unknown name among them."""


class HttpCall:
    """A request as the seam and the authenticator look at a call."""

    def __init__(self, request: web.Request, timeout_seconds: float | None) -> None:
        self._request = request
        self._timeout_seconds = timeout_seconds

    def time_remaining(self) -> float | None:
        return self._timeout_seconds

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return [(name.lower(), value) for name, value in self._request.headers.items()]

    def peer_identities(self) -> None:
        """Certificates of clients are asked for on the gRPC port only."""


class FeatureRoutes:
    """The routes, for ``HttpServer``."""

    def __init__(self, features: Features, seam: Seam) -> None:
        self._features = features
        self._seam = seam
        self._json = RowJson()
        self._encode = msgspec.json.Encoder().encode

    def add_to(self, router: web.UrlDispatcher) -> None:
        """A name may have its slash percent-encoded, as Chronon wants it, or not."""
        for version in ("features", "fetch"):
            router.add_post(f"/v1/{version}/join/{{name:.+}}", self._route("HTTP join", self._fetch_joins))
            router.add_post(f"/v1/{version}/groupby/{{name:.+}}", self._route("HTTP groupby", self._fetch_group_bys))
        router.add_post("/v2/fetch/join/{name:.+}", self._route("HTTP join v2", self._fetch_joins_as_avro))
        router.add_get("/v1/joins", self._route("HTTP joins", self._joins))
        router.add_get("/v1/groupbys", self._route("HTTP groupbys", self._group_bys))
        router.add_get("/v1/join/{name:.+}/schema", self._route("HTTP join schema", self._join_schema))
        router.add_get("/v1/groupby/{name:.+}/schema", self._route("HTTP groupby schema", self._group_by_schema))

    def _route(self, method: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """As the seam does for gRPC: counted, identified, with a deadline, and whatever is raised becomes a status."""
        metrics = self._seam.methods.setdefault(method, MethodMetrics())
        in_flight = self._seam.in_flight

        async def call(request: web.Request) -> web.Response:
            began = perf_counter()
            outcome = "OK"
            in_flight.enter()
            try:
                return self._reply(200, await self._handled(request, handler))
            except KVError as error:
                outcome = CODES[type(error)].name
                return self._failed(error)
            except asyncio.CancelledError:
                outcome = "CANCELLED"
                raise
            except web.HTTPException as refused:
                outcome = "INVALID_ARGUMENT"
                return self._reply(refused.status, {"errors": [refused.reason]})
            except Exception as defect:
                outcome = "INTERNAL"
                log.error("a handler failed", method=method, error=type(defect).__name__, exc_info=defect)  # noqa: TRY400 - with its trace
                return self._failed(Internal("the server failed; its log has the details"))
            finally:
                in_flight.leave()
                metrics.calls[outcome] += 1
                metrics.seconds.observe(perf_counter() - began)

        return call

    async def _handled(self, request: web.Request, handler: Handler) -> Any:
        if self._seam.draining.began:
            raise errors.Unavailable("the server is stopping; nothing was fetched, call again")
        timeout = _number(request, "timeout_millis", 1, MILLIS_MAX)
        call = HttpCall(request, None if timeout is None else timeout / 1000)
        caller = await self._seam.caller(call)
        return await handler(request, self._seam.deadline(call, self._seam.deadlines.read_default), caller)

    def _reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> web.Response:
        return web.Response(status=status, body=self._encode(content), content_type="application/json", headers=headers)

    def _failed(self, error: KVError) -> web.Response:
        headers: dict[str, str] = {}
        if error.retryable:
            headers["Retry-After"] = str(max(1, round(error.retry_after or 0)))
        if isinstance(error, errors.Unauthenticated):
            headers["WWW-Authenticate"] = "Bearer"
        return self._reply(STATUSES.get(type(error), 500), {"errors": [error.message]}, headers)

    # features

    async def _fetch_joins(self, request: web.Request, deadline: float, caller: Caller | None) -> Any:
        rows = await self._fetch(Target.JOINS, request, deadline, caller)
        return {"results": [self._json.result(row) for row in rows]}

    async def _fetch_group_bys(self, request: web.Request, deadline: float, caller: Caller | None) -> Any:
        rows = await self._fetch(Target.GROUP_BYS, request, deadline, caller)
        return {"results": [self._json.result(row) for row in rows]}

    async def _fetch_joins_as_avro(self, request: web.Request, deadline: float, caller: Caller | None) -> Any:
        rows = await self._fetch(Target.JOINS, request, deadline, caller, with_base=True)
        written = await self._features.avro(Target.JOINS, [_name(request)] * len(rows), rows, deadline=deadline)
        return {"results": [avro_result(row, data) for row, data in zip(rows, written, strict=True)]}

    async def _fetch(
        self, target: Target, request: web.Request, deadline: float, caller: Caller | None, *, with_base: bool = False
    ) -> list[FeatureRow]:
        """The rows. An unknown join fails the call, as with Chronon, and so does a name that the caller may not fetch.

        Raises:
            KVError: see STATUSES.
        """
        at_millis = _number(request, "at_millis", 0, MILLIS_MAX)
        name = _name(request)
        key_maps = _key_maps(await request.read())
        self._features.check_rows(len(key_maps))
        asked = [_asked(name, keys, at_millis) for keys in key_maps]
        rows = await self._features.fetch(target, asked, deadline=deadline, caller=caller, with_base=with_base)
        fatal = (errors.PermissionDenied, errors.UnknownConf) if target is Target.JOINS else (errors.PermissionDenied,)
        if rows and all(isinstance(row.error, fatal) for row in rows):
            assert rows[0].error is not None
            raise rows[0].error
        return rows

    # names and schemas

    async def _joins(self, _: web.Request, deadline: float, caller: Caller | None) -> Any:
        return {"joinNames": await self._features.all_names(Target.JOINS, deadline=deadline, caller=caller)}

    async def _group_bys(self, _: web.Request, deadline: float, caller: Caller | None) -> Any:
        return {"groupByNames": await self._features.all_names(Target.GROUP_BYS, deadline=deadline, caller=caller)}

    async def _join_schema(self, request: web.Request, deadline: float, caller: Caller | None) -> Any:
        found = await self._features.join_schema(_name(request), deadline=deadline, caller=caller)
        return {
            "joinName": found.name,
            "keySchema": found.key_schema,
            "valueSchema": found.value_schema,
            "schemaHash": found.schema_hash,
            "valueInfos": [
                {
                    "fullName": info.name,
                    "groupName": info.group,
                    "prefix": info.prefix,
                    "leftKeys": info.left_keys,
                    "schemaString": info.type,
                }
                for info in found.value_infos
            ],
        }

    async def _group_by_schema(self, request: web.Request, deadline: float, caller: Caller | None) -> Any:
        found = await self._features.group_by_schema(_name(request), deadline=deadline, caller=caller)
        return {
            "groupByName": found.name,
            "keySchema": found.key_schema,
            "valueSchema": found.value_schema,
            "inputSchema": found.input_schema,
            "selectedSchema": found.selected_schema,
        }


def _name(request: web.Request) -> str:
    return request.match_info["name"]


def _key_maps(body: bytes) -> list[Any]:
    """The body's objects. Raises InvalidRequest with the parser's text."""
    try:
        return msgspec.json.decode(body, type=list[dict[str, Any] | None])
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not a JSON array of objects: its text is not UTF-8", field="body") from None
    except (msgspec.DecodeError, RecursionError) as malformed:
        raise InvalidRequest(f"the body is not a JSON array of objects: {malformed}", field="body") from malformed


def _asked(name: str, keys: dict[str, Any] | None, at_millis: int | None) -> Asked:
    if keys is None:
        return InvalidRequest("null stands where an object with keys was due", field="keys")
    try:
        return FeatureRequest(name, {key: boxed(value) for key, value in keys.items()}, at_millis)
    except InvalidRequest as wrong:
        return wrong


def boxed(value: Any) -> object:
    """A key as Jackson reads it: Integer where an integer fits into 32 bits, else Long; Double for all others.

    Raises:
        InvalidRequest: an integer of more than 64 bits.
    """
    match value:
        case bool():
            return value
        case int():
            if not -(1 << 63) <= value < 1 << 63:
                raise InvalidRequest("a key is a number that does not fit into 64 bits", field="keys")
            return as_json_reads(value)
        case list():
            return [boxed(each) for each in value]
        case dict():
            return {name: boxed(each) for name, each in value.items()}
        case _:
            return value


def _number(request: web.Request, name: str, least: int, most: int) -> int | None:
    """A parameter of the query; None where it is absent. Raises InvalidRequest."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise InvalidRequest(f"{name} is a number of milliseconds between {least} and {most}", field=name)
    return int(text)

"""The HTTP routes in the test's own loop: what each error becomes, who is let in, and what happens while the server stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from chronoserve.model import errors
from chronoserve.model.errors import Unauthenticated
from chronoserve.model.features import FeatureRequest, FeatureRow, RowStatus
from chronoserve.service.access import Caller, Policy, Rule, Verb
from chronoserve.wire.http_features import FeatureRoutes
from chronoserve.wire.seam import Deadlines, Seam
from tests.unit.service.fetching import FakeFetcher, features

Client = TestClient[web.Request, web.Application]
JOIN = "/v1/features/join/team%2Fa"


@asynccontextmanager
async def routes(fetcher: FakeFetcher, *, seam: Seam | None = None, **limits: int) -> AsyncIterator[tuple[Client, Seam]]:
    seam = seam or Seam(deadlines=Deadlines(), identify=None)
    app = web.Application()
    FeatureRoutes(features(fetcher, **limits), seam).add_to(app.router)
    async with TestClient(TestServer(app)) as client:
        yield client, seam


def failing(error: BaseException) -> FakeFetcher:
    def answer(_: FeatureRequest) -> FeatureRow:
        raise error

    return FakeFetcher(answer)


@pytest.mark.parametrize(
    ("error", "status", "told", "counted"),
    [
        (errors.InvalidRequest("bad"), 400, "bad", "INVALID_ARGUMENT"),
        (errors.Throttled("busy", retry_after=2.4), 429, "busy", "RESOURCE_EXHAUSTED"),
        (errors.Unavailable("away"), 503, "away", "UNAVAILABLE"),
        (errors.DeadlinePassed("late"), 504, "late", "DEADLINE_EXCEEDED"),
        (errors.FailedPrecondition("set up first"), 500, "set up first", "FAILED_PRECONDITION"),
        (ZeroDivisionError("secret"), 500, "the server failed; its log has the details", "INTERNAL"),
    ],
    ids=repr,
)
async def test_a_call_that_fails_has_a_status_and_one_text(error: BaseException, status: int, told: str, counted: str) -> None:
    async with routes(failing(error)) as (client, seam):
        async with client.post(JOIN, data=b"[{}]") as reply:
            assert (reply.status, await reply.json()) == (status, {"errors": [told]})
            again = reply.headers.get("Retry-After")
        assert again == {429: "2", 503: "1"}.get(status)
        assert dict(seam.methods["HTTP join"].calls) == {counted: 1}
        assert seam.in_flight.calls == 0


async def test_a_caller_who_goes_away_is_counted_and_leaves_nothing_under_way() -> None:
    arrived = asyncio.Event()

    class Slow(FakeFetcher):
        async def fetch_joins(self, *_: Any, **__: Any) -> list[FeatureRow]:
            arrived.set()
            await asyncio.Event().wait()
            raise AssertionError

    async with routes(Slow()) as (client, seam):
        asking = asyncio.create_task(_status(client, "[{}]"))
        await arrived.wait()
        assert seam.in_flight.calls == 1
        asking.cancel()
    assert seam.in_flight.calls == 0
    assert sum(seam.methods["HTTP join"].calls.values()) == 1


async def test_while_the_server_stops_nothing_new_is_fetched() -> None:
    fetcher = FakeFetcher()
    async with routes(fetcher) as (client, seam):
        seam.draining.begin()
        assert await _status(client, "[{}]") == 503
    assert fetcher.calls == []


async def test_a_call_has_the_time_that_it_asks_for() -> None:
    left: list[float] = []

    class Timed(FakeFetcher):
        async def fetch_joins(self, requests: Any, *, deadline: float, **_: Any) -> list[FeatureRow]:
            left.append(deadline - asyncio.get_running_loop().time())
            return [FeatureRow(RowStatus.OK, {}, {}, {}) for _ in requests]

    async with routes(Timed()) as (client, _):
        for query in ("", "?timeout_millis=5000", "?timeout_millis=999999999"):
            assert await _status(client, "[{}]", query) == 200
    default, asked, most = left
    assert 0 < default <= 1
    assert 4 < asked <= 5
    assert 29 < most <= 30


async def test_a_body_of_too_many_rows_is_refused() -> None:
    async with routes(FakeFetcher(), rows_per_call_max=2) as (client, _):
        assert await _status(client, "[{},{},{}]") == 400
        assert await _status(client, "[{},{}]") == 200


async def test_a_key_beyond_64_bits_is_the_error_of_its_row() -> None:
    async with routes(FakeFetcher()) as (client, _), client.post(JOIN, data=b'[{"k": 9223372036854775808}, {"k": 1}]') as reply:
        found = (await reply.json())["results"]
        assert [result["status"] for result in found] == ["Failure", "Success"]


async def test_the_caller_is_who_the_header_says() -> None:
    me = Caller("me", Policy([Rule(("me",), frozenset({Verb.FETCH}), (), ("team/a",))]))

    async def identify(context: Any) -> Caller:
        if ("authorization", "Bearer mine") in context.invocation_metadata():
            return me
        raise Unauthenticated("who are you?")

    seam = Seam(deadlines=Deadlines(), identify=identify)
    async with routes(FakeFetcher(), seam=seam) as (client, _):
        mine = {"AUTHORIZATION": "Bearer mine"}
        async with client.post(JOIN, data=b"[{}]") as reply:
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        for path, status in ((JOIN, 200), ("/v1/features/join/team%2Fb", 403), ("/v1/features/groupby/team.a", 403)):
            async with client.post(path, data=b"[{}]", headers=mine) as reply:
                assert reply.status == status
        async with client.get("/v1/joins", headers=mine) as reply:
            assert await reply.json() == {"joinNames": []}


async def _status(client: Client, body: str, query: str = "") -> int:
    async with client.post(JOIN + query, data=body.encode()) as reply:
        await reply.read()
        return reply.status

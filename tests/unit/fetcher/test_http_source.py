"""The HTTP handler: Chronon's feature service as its protocol, numbers in their declared boxes, and a peer that misbehaves."""

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.fetcher.boxing import boxed, from_json, from_service
from chronoserve.fetcher.endpoint import Endpoint
from chronoserve.fetcher.external import Answer, ExternalRegistry, Policy
from chronoserve.fetcher.sources import HttpSource
from chronoserve.model.boxed import Byte, Float, Int, Short
from chronoserve.model.errors import ExternalFailed, InvalidRequest
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    DataType,
    Field,
    ListType,
    MapType,
    StructType,
)
from tests.unit.fetcher.sources import source

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asking(page: Page, **endpoint: Any) -> AsyncIterator[Callable[..., Awaitable[list[Answer]]]]:
    """``ask(rows, source)`` of a registry whose source ``geo`` is ``page`` behind a socket."""
    app = web.Application()
    app.router.add_post("/geo", page)
    async with TestServer(app) as server:
        registry = ExternalRegistry()
        registry.add("geo", HttpSource(Endpoint(url=str(server.make_url("/geo")), **endpoint)), policy=Policy(timeout_seconds=5))

        async def ask(rows: list[dict[str, object]], of: Any = None) -> list[Answer]:
            return await registry.fetch(of or source(), rows, deadline=asyncio.get_running_loop().time() + 30)

        try:
            yield ask
        finally:
            await registry.close()


def answering(body: object, status: int = 200) -> Page:
    async def page(_: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status)

    return page


def message(answer: Answer) -> str:
    assert type(answer) is ExternalFailed
    return answer.message


async def test_rows_go_out_as_a_list_of_keys_and_come_back_as_features() -> None:
    heard: list[Any] = []

    async def page(request: web.Request) -> web.Response:
        heard.extend([await request.json(), dict(request.query), request.headers["authorization"]])
        return web.json_response({"results": [{"features": {"city": "Basel"}}, {"error": "no such user"}, None, {"status": "Failure"}]})

    rows: list[dict[str, object]] = [{"user": Int(5), "raw": b"\x00\xff", "nested": [1.5, None]}, {"user": 1 << 40}, {}, {"user": None}]
    async with asking(page, headers={"authorization": "Bearer s3cret"}) as ask:
        answers = await ask(rows, source(params={"region": "eu"}))
    assert heard == [
        [{"user": 5, "raw": base64.b64encode(b"\x00\xff").decode(), "nested": [1.5, None]}, {"user": 1 << 40}, {}, {"user": None}],
        {"region": "eu", "source": "geo"},
        "Bearer s3cret",
    ]
    assert answers[0] == {"city": "Basel"}
    assert [message(answer) for answer in answers[1:]] == [
        "no such user",
        "the external source geo gave no answer for this row",
        "the external source geo gave no answer for this row",
    ]


async def test_a_key_that_json_cannot_say_costs_its_row_alone() -> None:
    async def page(request: web.Request) -> web.Response:
        return web.json_response({"results": [{"features": row} for row in await request.json()]})

    async with asking(page) as ask:
        first, second, third = await ask([{"x": 1.5}, {"x": [float("nan")]}, {"x": {"y": 2.0}}])
        (alone,) = await ask([{"x": float("inf")}])
    assert (first, third) == ({"x": 1.5}, {"x": {"y": 2.0}})
    assert "not a finite number" in message(second)
    assert "not a finite number" in message(alone)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (answering("oops", 500), "answered HTTP 500"),
        (answering("", 302), "answered HTTP 302"),
        (answering("{"), "not JSON"),
        (answering("[" * 4_000), "not JSON"),
        (answering('{"results": [{"features": {"x": 1e999}}]}'), "not JSON"),
        (answering([]), "not an object with a list of results"),
        (answering({"results": {}}), "not an object with a list of results"),
        (answering({"results": []}), "gave 0 results to 1 rows"),
        (answering({"results": [{"features": {"x": "y" * 5000}}]}), "more than 4096 bytes"),
    ],
)
async def test_a_service_that_misbehaves_is_an_error_for_the_call(page: Page, said: str) -> None:
    async with asking(page, response_bytes_max=4096) as ask:
        (answer,) = await ask([{"user": "secret"}])
    assert said in message(answer)
    assert "secret" not in message(answer)


async def test_packed_answers_are_not_unpacked() -> None:
    async def page(request: web.Request) -> web.Response:
        assert request.headers["accept-encoding"] == "identity"
        return web.Response(body=gzip.compress(b'{"results": [{"features": {}}]}'), headers={"content-encoding": "gzip"})

    async with asking(page) as ask:
        (answer,) = await ask([{}])
    assert "not JSON" in message(answer)


@pytest.mark.parametrize("result", [5, [], {"features": [1]}, {"error": 7}, {"error": ""}])
async def test_a_result_that_is_none_is_an_error_for_its_row(result: object) -> None:
    async with asking(answering({"results": [result, {"features": {}}]})) as ask:
        bad, good = await ask([{}, {}])
    assert good == {}
    assert type(bad) is ExternalFailed


async def test_redirects_are_not_followed_and_secrets_not_sent_on() -> None:
    heard: list[object] = []

    async def page(request: web.Request) -> web.Response:
        heard.append(request.path)
        raise web.HTTPTemporaryRedirect("/geo?again=1")

    async with asking(page) as ask:
        (answer,) = await ask([{}])
    assert "HTTP 307" in message(answer)
    assert heard == ["/geo"]


async def test_nobody_listens() -> None:
    registry = ExternalRegistry()
    registry.add("geo", HttpSource(Endpoint(url=f"http://127.0.0.1:{unused_port()}/geo?token=s3cret")))
    (answer,) = await registry.fetch(source(), [{}], deadline=asyncio.get_running_loop().time() + 30)
    assert message(answer).startswith("the external source geo failed: its service could not be asked: ClientConnector")
    assert "s3cret" not in message(answer)
    await registry.close()


async def test_a_service_that_says_nothing_is_given_up_and_its_connection_closed() -> None:
    gone = asyncio.Event()

    async def page(_: web.Request) -> web.Response:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/geo", page)
    async with TestServer(app, handler_cancellation=True) as server:
        registry = ExternalRegistry()
        registry.add("geo", HttpSource(Endpoint(url=str(server.make_url("/geo")))), policy=Policy(timeout_seconds=0.05))
        (answer,) = await registry.fetch(source(), [{}], deadline=asyncio.get_running_loop().time() + 30)
        assert "did not answer in time" in message(answer)
        await asyncio.wait_for(gone.wait(), 10)
        await registry.close()


@pytest.mark.parametrize("url", ["", "geo", "ftp://host/", "http://", "https:///"])
def test_a_url_is_one_of_http(url: str) -> None:
    with pytest.raises(InvalidRequest, match="begins with http"):
        Endpoint(url=url)


def same(left: object, right: object) -> bool:
    """Equal in value and in box."""
    if isinstance(left, (list, dict)) and type(left) is type(right):
        pairs = left.items() if isinstance(left, dict) else enumerate(left)
        return len(left) == len(right) and all(same(each, right[at]) for at, each in pairs)
    return type(left) is type(right) and left == right


POINT = StructType("Point", (Field("x", DOUBLE), Field("n", LONG)))

CASES: list[tuple[object, DataType | None, object]] = [
    (5, None, Int(5)),
    (1 << 40, None, 1 << 40),
    (5.0, None, 5.0),
    ([5, {"a": 5}], None, [Int(5), {"a": Int(5)}]),
    (True, INT, True),
    (None, INT, None),
    (5, BYTE, Byte(5)),
    (300, BYTE, Int(300)),
    (5, SHORT, Short(5)),
    (5, INT, Int(5)),
    (1 << 40, INT, 1 << 40),
    (19000, DATE, Int(19000)),
    (5, LONG, 5),
    (5, TIMESTAMP, 5),
    (5.0, LONG, 5),
    (5.5, LONG, 5.5),
    (5, DOUBLE, 5.0),
    (0.1, FLOAT, Float(0.10000000149011612)),
    (1e300, FLOAT, 1e300),
    (5, STRING, Int(5)),
    ("5", LONG, "5"),
    ("AAE=", BINARY, b"\x00\x01"),
    ("no base64", BINARY, "no base64"),
    (False, BOOLEAN, False),
    ([5, None], ListType(LONG), [5, None]),
    ({"a": 5}, MapType(STRING, DOUBLE), {"a": 5.0}),
    ({"x": 5, "n": 5, "more": 5}, POINT, {"x": 5.0, "n": 5, "more": Int(5)}),
    ({"x": 5}, LONG, {"x": Int(5)}),
]


@pytest.mark.parametrize(("read", "data_type", "expected"), CASES)
def test_numbers_take_their_declared_box_where_it_loses_nothing(read: object, data_type: DataType | None, expected: object) -> None:
    schema = StructType("values", (Field("v", data_type),)) if data_type else None
    (found,) = from_json({"v": read}, schema).values()
    assert same(found, expected), found


def test_values_of_a_service_that_has_types_stay_as_they_are_where_none_is_declared() -> None:
    assert same(from_service({"a": 5, "b": Float(1.5), "c": b"x"}, None), {"a": 5, "b": Float(1.5), "c": b"x"})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.recursive(
    st.sampled_from([BOOLEAN, BYTE, SHORT, INT, LONG, FLOAT, DOUBLE, STRING, DATE, TIMESTAMP]),
    lambda inner: st.builds(ListType, inner) | st.builds(lambda each: MapType(STRING, each), inner),
    max_leaves=3,
)


@given(JSON_VALUES, TYPES)
def test_boxing_never_raises_and_changes_no_number_but_a_float_s_precision(value: Any, data_type: DataType) -> None:
    found: Any = boxed(value, data_type, json=False)
    if not isinstance(value, (list, dict)) and data_type != FLOAT:
        assert found == value

"""Model back ends over HTTP: inputs out, outputs back in their declared boxes, and services that misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chronoserve.fetcher.endpoint import Endpoint
from chronoserve.fetcher.model_http import HttpModel, ModelBackends
from chronoserve.model.boxed import Float
from chronoserve.model.confs import MetaData, Model
from chronoserve.model.errors import ExternalFailed
from chronoserve.model.types import FLOAT, Field, StructType

MODEL = Model(
    meta_data=MetaData(name="team.ranking.v1"),
    output_schema=StructType("out", (Field("score", FLOAT),)),
    backend="scores",
    backend_params={"version": "7"},
)


@asynccontextmanager
async def serving(page: Callable[[web.Request], Awaitable[web.Response]], seconds: float = 10) -> AsyncIterator[ModelBackends]:
    app = web.Application()
    app.router.add_post("/score", page)
    async with TestServer(app) as server:
        made = ModelBackends({"scores": HttpModel(Endpoint(url=str(server.make_url("/score"))), timeout_seconds=seconds)})
        yield made
        await made.close()


async def run(backends: ModelBackends, model: Model = MODEL) -> Any:
    return await backends.run(model, [{"x": 1}, {"x": None}], deadline=asyncio.get_running_loop().time() + 20)


async def test_inputs_go_out_and_outputs_come_back() -> None:
    heard: list[Any] = []

    async def page(request: web.Request) -> web.Response:
        heard.extend([await request.json(), dict(request.query)])
        return web.json_response({"outputs": [{"score": 0.5}, {"score": None, "more": 1.5}]})

    async with serving(page) as backends:
        outputs = await run(backends)
    assert heard == [[{"x": 1}, {"x": None}], {"model": "team.ranking.v1", "version": "7"}]
    assert outputs == [{"score": Float(0.5)}, {"score": None, "more": 1.5}]
    assert type(outputs[0]["score"]) is Float


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "no list of outputs"),
        ({"outputs": [1, 2]}, "no list of outputs"),
        ({"outputs": [{}]}, "gave 1 outputs to 2 inputs"),
    ],
)
async def test_a_service_that_misbehaves(body: object, said: str) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps(body))

    async with serving(page) as backends:
        with pytest.raises(ExternalFailed, match=said):
            await run(backends)


async def test_a_service_that_says_nothing() -> None:
    async def page(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    async with serving(page, seconds=0.05) as backends:
        with pytest.raises(ExternalFailed, match="did not answer in time"):
            await run(backends)


async def test_a_back_end_that_is_not_configured() -> None:
    with pytest.raises(ExternalFailed, match=r"names the back end scores; configured are: none"):
        await run(ModelBackends({}))
